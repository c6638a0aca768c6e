//! The demo's images, made from Debian packages where no registry of the internet is in reach, and pushed locally.
//!
//! - `catalog`: which images there are and what is in them
//! - `rootfs`: fills a directory from packages
//! - `layer`: turns the directory into a layer, byte for byte the same every time
mod catalog;
mod layer;
mod rootfs;

use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;

use anyhow::{Context, anyhow};
use nix::fcntl::{Flock, FlockArg};
use oci_client::client::{ClientConfig, ClientProtocol, Config, ImageLayer};
use oci_client::manifest::{IMAGE_LAYER_GZIP_MEDIA_TYPE, IMAGE_MANIFEST_MEDIA_TYPE, OciImageManifest};
use oci_client::secrets::RegistryAuth;
use oci_client::{Client, Reference};

use crate::lab::{Registry, storage_dir};
use crate::step::{Progress, step};
use catalog::Image;

/// Written when all images are in the registry's storage; holds the recipe they were made by.
const STAMP: &str = "images.stamp";

/// Makes what is missing through a registry of our own that lives for this command only.
pub(crate) fn make_all() -> anyhow::Result<()> {
    if is_made() {
        say!("  All images are in {} already.", storage_dir().display());
    } else {
        let address = free_loopback_address()?;
        let mut registry = Registry::start(&storage_dir().join("registry-run"), address, &[])?;
        let made = step("images are made and pushed", |progress| {
            registry.wait_ready()?;
            ensure(&registry.address, progress)
        });
        registry.stop()?;
        made?;
    }
    for image in catalog::all() {
        say!("  docker.io/{:<22} {}", image.tags.join(" "), image.what);
    }
    Ok(())
}

/// Pushes all images into the registry at `address`, unless its storage has them whole.
pub(crate) fn ensure(address: &SocketAddr, progress: &Progress) -> anyhow::Result<()> {
    fs::create_dir_all(storage_dir()).with_context(|| format!("cannot make {}", storage_dir().display()))?;
    // One at a time: two labs share the storage.
    let lock = File::create(storage_dir().join("images.lock"))?;
    let _lock =
        Flock::lock(lock, FlockArg::LockExclusive).map_err(|(_, error)| anyhow!("cannot lock the images: {error}"))?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    if is_made() {
        let Err(error) = runtime.block_on(check(address)) else { return Ok(()) };
        say!("  The images that are kept are damaged ({error:#}): they are made anew.");
        // The registry would take what it has of a blob for the whole of it.
        fs::remove_dir_all(storage_dir().join("registry")).context("cannot remove the damaged images")?;
    }
    let images = catalog::all();
    progress.total(images.len() as u64);
    for (done, image) in images.iter().enumerate() {
        let work = storage_dir().join("work").join(image.name);
        let root = rootfs::fill(&work, &storage_dir().join("packages"), image)?;
        let layer = layer::of_directory(&root)?;
        for tag in image.tags {
            runtime
                .block_on(push(address, image, tag, &layer))
                .with_context(|| format!("cannot push {tag} to {address}"))?;
        }
        progress.done(done as u64 + 1);
    }
    fs::remove_dir_all(storage_dir().join("work")).context("cannot remove the images' working directory")?;
    fs::write(storage_dir().join(STAMP), catalog::recipe()).context("cannot write the images' stamp")
}

fn is_made() -> bool {
    let stamp = fs::read_to_string(storage_dir().join(STAMP)).unwrap_or_default();
    storage_dir().join("registry").is_dir() && stamp == catalog::recipe()
}

/// Whether the registry has every tag, and every byte of what the tags share. A machine that lost its power may have a
/// stamp and no images.
async fn check(address: &SocketAddr) -> anyhow::Result<()> {
    let client = client();
    for image in catalog::all() {
        for (number, tag) in image.tags.iter().enumerate() {
            let reference: Reference = format!("{address}/{tag}").parse()?;
            let pulled = match number {
                0 => {
                    client.pull(&reference, &RegistryAuth::Anonymous, vec![IMAGE_LAYER_GZIP_MEDIA_TYPE]).await.map(drop)
                }
                _ => client.pull_manifest_and_config(&reference, &RegistryAuth::Anonymous).await.map(drop),
            };
            pulled.with_context(|| format!("{tag} cannot be pulled"))?;
        }
    }
    Ok(())
}

fn client() -> Client {
    Client::new(ClientConfig { protocol: ClientProtocol::Http, ..Default::default() })
}

async fn push(address: &SocketAddr, image: &Image, tag: &str, layer: &layer::Layer) -> anyhow::Result<()> {
    let reference: Reference = format!("{address}/{tag}").parse()?;
    let client = client();
    let layers = [ImageLayer::oci_v1_gzip(layer.gzip.clone(), None)];
    let config = Config::oci_v1(image.config_json(tag, &layer.diff_id), None);
    let mut manifest = OciImageManifest::build(&layers, &config, None);
    manifest.media_type = Some(IMAGE_MANIFEST_MEDIA_TYPE.to_owned());
    client.push(&reference, &layers, config, &RegistryAuth::Anonymous, Some(manifest)).await?;
    Ok(())
}

fn free_loopback_address() -> anyhow::Result<SocketAddr> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("no free port on loopback")?;
    Ok(listener.local_addr()?)
}

/// The program that answers in the echo image; built beside this one.
fn echo_program() -> anyhow::Result<std::path::PathBuf> {
    let exe = std::env::current_exe()?;
    let path = exe.parent().unwrap_or(Path::new("/")).join("corten-echo");
    if !path.is_file() {
        anyhow::bail!("{} is missing: build it with cargo build --release -p corten-hack", path.display());
    }
    Ok(path)
}

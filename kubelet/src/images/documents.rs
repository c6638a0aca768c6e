//! Manifests, indexes and image configs: taken apart, and what of them is written on containerd's records. Pure.
//!
//! <https://github.com/opencontainers/image-spec>

use std::collections::HashMap;

use bytes::Bytes;
use serde::Deserialize;
use sha2::Digest;

use super::platform::Platform;
use super::{ImageConfig, ImageHandle, ImageInfo};
use crate::runtime::containerd::store::{Blob, ImageRecord};

const ID_LABEL: &str = "corten.io/image.id";
const SIZE_LABEL: &str = "corten.io/image.size";
/// More layers than the kernel's overlay can stack.
const LAYERS_MAX: usize = 500;
/// No image is as large: a manifest that says so would only make sums overflow.
const IMAGE_BYTES_MAX: u64 = 1 << 40;
/// Of an image's variables: the kernel runs no process with more.
const ENV_BYTES_MAX: usize = crate::env::PROCESS_BYTES_MAX;
/// What is shown of a digest that is none.
const DIGEST_SHOWN_CHARS: usize = 80;
const MEDIA_TYPE_BYTES_MAX: usize = 255;

/// A manifest or index with its digest.
#[derive(Clone, Debug)]
pub(super) struct Document {
    pub(super) bytes: Bytes,
    pub(super) digest: String,
    media_type: String,
}

impl Document {
    pub(super) fn of(bytes: Bytes) -> Self {
        let digest = digest_of(&bytes);
        let media_type = serde_json::from_slice::<AnyManifest>(&bytes).map(|m| m.kind()).unwrap_or_default();
        Self { bytes, digest, media_type }
    }
    pub(super) fn blob(&self) -> Blob {
        Blob { media_type: self.media_type.clone(), digest: self.digest.clone(), size_bytes: self.bytes.len() as u64 }
    }
}

pub(super) fn digest_of(bytes: &[u8]) -> String {
    digest_named(&sha2::Sha256::digest(bytes))
}

pub(super) fn digest_named(sha256: &[u8]) -> String {
    let hex: String = sha256.iter().map(|b| format!("{b:02x}")).collect();
    format!("sha256:{hex}")
}

#[derive(Debug)]
pub(super) enum Parsed {
    Manifest(Manifest),
    /// The digest of the manifest for this machine.
    Index {
        chosen: String,
    },
}

#[derive(Debug)]
pub(super) struct Manifest {
    pub(super) config: Blob,
    pub(super) layers: Vec<Blob>,
}

impl Manifest {
    /// Of the config and the layers, packed as they are in the registry.
    pub(super) fn size_bytes(&self) -> u64 {
        self.layers.iter().fold(self.config.size_bytes, |sum, layer| sum.saturating_add(layer.size_bytes))
    }
}

#[derive(Debug)]
pub(super) struct Config {
    pub(super) image: ImageConfig,
    pub(super) diff_ids: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct AnyManifest {
    #[serde(default)]
    media_type: String,
    #[serde(default)]
    schema_version: u32,
    config: Option<Descriptor>,
    #[serde(default)]
    layers: Vec<Descriptor>,
    manifests: Option<Vec<Descriptor>>,
}

impl AnyManifest {
    /// The media type may be left out of OCI documents.
    fn kind(&self) -> String {
        match (self.media_type.as_str(), &self.manifests) {
            ("", Some(_)) => "application/vnd.oci.image.index.v1+json".into(),
            ("", None) => "application/vnd.oci.image.manifest.v1+json".into(),
            (given, _) => given.into(),
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Descriptor {
    media_type: String,
    digest: String,
    size: u64,
    platform: Option<Platform>,
}

impl Descriptor {
    fn blob(self) -> Result<Blob, String> {
        check_digest(&self.digest)?;
        if self.media_type.len() > MEDIA_TYPE_BYTES_MAX {
            return Err(format!("{} has a media type of {} bytes", self.digest, self.media_type.len()));
        }
        Ok(Blob { media_type: self.media_type, digest: self.digest, size_bytes: self.size })
    }
}

/// Digests become names in containerd's store and parts of URLs.
fn check_digest(digest: &str) -> Result<(), String> {
    if super::reference::checked_digest(digest).is_ok() {
        return Ok(());
    }
    let shown: String = digest.chars().take(DIGEST_SHOWN_CHARS).collect();
    Err(format!("{shown:?} is no sha256 digest"))
}

/// Of an index, the manifest that `machine` runs is chosen.
pub(super) fn parse(document: &Document, machine: &Platform) -> Result<Parsed, String> {
    let any: AnyManifest =
        serde_json::from_slice(&document.bytes).map_err(|e| format!("its manifest cannot be read: {e}"))?;
    if any.schema_version != 2 {
        return Err(format!("manifests of schema version {} are not supported", any.schema_version));
    }
    if let Some(manifests) = any.manifests {
        let chosen = machine.choose(manifests.iter().map(|d| d.platform.as_ref()));
        let chosen = chosen.and_then(|at| manifests.into_iter().nth(at));
        let chosen = chosen.ok_or_else(|| format!("no matching manifest for {machine} in its index"))?;
        return Ok(Parsed::Index { chosen: chosen.blob()?.digest });
    }
    let config = any.config.ok_or("its manifest names no config")?;
    if any.layers.is_empty() || any.layers.len() > LAYERS_MAX {
        return Err(format!("it has {} layers: it is no container image", any.layers.len()));
    }
    let layers: Result<Vec<Blob>, String> = any.layers.into_iter().map(Descriptor::blob).collect();
    let manifest = Manifest { config: config.blob()?, layers: layers? };
    if manifest.size_bytes() > IMAGE_BYTES_MAX {
        return Err(format!("it says that it has more than {IMAGE_BYTES_MAX} bytes"));
    }
    Ok(Parsed::Manifest(manifest))
}

pub(super) fn config(bytes: &[u8], machine: &Platform) -> Result<Config, String> {
    #[derive(Deserialize)]
    struct Whole {
        #[serde(flatten)]
        platform: Platform,
        #[serde(default)]
        config: Option<Inner>,
        rootfs: RootFs,
    }
    #[derive(Deserialize)]
    struct RootFs {
        diff_ids: Vec<String>,
    }
    // Docker writes null for what is empty.
    #[derive(Default, Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Inner {
        user: Option<String>,
        env: Option<Vec<String>>,
        entrypoint: Option<Vec<String>>,
        cmd: Option<Vec<String>>,
        working_dir: Option<String>,
        volumes: Option<std::collections::BTreeMap<String, serde_json::Value>>,
        stop_signal: Option<String>,
    }
    let whole: Whole = serde_json::from_slice(bytes).map_err(|e| format!("its config cannot be read: {e}"))?;
    // Where an index named it, this is so already; an image without an index says it only here.
    if !machine.runs(&whole.platform) {
        return Err(format!("it is for {} and this machine is {machine}", whole.platform));
    }
    whole.rootfs.diff_ids.iter().try_for_each(|diff_id| check_digest(diff_id))?;
    let inner = whole.config.unwrap_or_default();
    let env_bytes: usize = inner.env.iter().flatten().map(|entry| crate::env::kernel_bytes(entry.len())).sum();
    if env_bytes > ENV_BYTES_MAX {
        return Err(format!("its environment has more than the {ENV_BYTES_MAX} bytes that the kernel takes"));
    }
    let image = ImageConfig {
        entrypoint: inner.entrypoint.unwrap_or_default(),
        cmd: inner.cmd.unwrap_or_default(),
        env: inner.env.unwrap_or_default(),
        working_dir: inner.working_dir.filter(|d| !d.is_empty()),
        user: inner.user.unwrap_or_default(),
        volumes: inner.volumes.unwrap_or_default().into_keys().collect(),
        stop_signal: inner.stop_signal.unwrap_or_default(),
    };
    Ok(Config { image, diff_ids: whole.rootfs.diff_ids })
}

/// The name of each layer's snapshot: it says what all layers up to it are.
/// <https://github.com/opencontainers/image-spec/blob/main/config.md#layer-chainid>
pub(super) fn chain_ids(diff_ids: &[String]) -> Vec<String> {
    let chained = diff_ids.iter().scan(String::new(), |parent, diff_id| {
        *parent = if parent.is_empty() { diff_id.clone() } else { digest_of(format!("{parent} {diff_id}").as_bytes()) };
        Some(parent.clone())
    });
    chained.collect()
}

/// What a manifest holds on to, in the words of containerd's garbage collector.
pub(super) fn manifest_labels(manifest: &Manifest) -> HashMap<String, String> {
    let config = [("containerd.io/gc.ref.content.config".to_owned(), manifest.config.digest.clone())];
    // Layers are unpacked; their blobs may go. So only the config is held.
    config.into()
}

pub(super) fn record_labels(handle: &ImageHandle) -> HashMap<String, String> {
    [(ID_LABEL.to_owned(), handle.id.clone()), (SIZE_LABEL.to_owned(), handle.size_bytes.to_string())].into()
}

/// The image a record belongs to, if it is one of ours.
pub(super) fn record_id(record: &ImageRecord) -> Option<&str> {
    record.labels.get(ID_LABEL).map(String::as_str)
}

/// Records that name the same image become one entry.
pub(super) fn summarise(records: &[ImageRecord]) -> Vec<ImageInfo> {
    let mut by_id: std::collections::BTreeMap<&str, ImageInfo> = std::collections::BTreeMap::new();
    for record in records {
        let Some(id) = record_id(record) else { continue };
        let size_bytes = record.labels.get(SIZE_LABEL).and_then(|s| s.parse().ok()).unwrap_or(0);
        let entry = by_id.entry(id).or_insert_with(|| ImageInfo { id: id.into(), names: Vec::new(), size_bytes });
        entry.names.push(record.name.clone());
    }
    by_id.into_values().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chain_ids_follow_the_specification() {
        let diff_ids: Vec<String> = ["sha256:a", "sha256:b", "sha256:c"].map(str::to_owned).into();
        let second = digest_of(b"sha256:a sha256:b");
        let third = digest_of(format!("{second} sha256:c").as_bytes());
        assert_eq!(chain_ids(&diff_ids), ["sha256:a".to_owned(), second, third]);
    }

    fn amd64() -> Platform {
        Platform { os: "linux".into(), architecture: "amd64".into(), variant: String::new() }
    }

    #[test]
    fn what_a_manifest_says_of_sizes_and_digests_is_bounded() {
        let digest = digest_of(b"");
        let of = |digest: &str, size: u64, media_type: &str| {
            let blob = serde_json::json!({"mediaType": media_type, "digest": digest, "size": size});
            let text = serde_json::json!({"schemaVersion": 2, "config": blob, "layers": [blob, blob]});
            let parsed = parse(&Document::of(text.to_string().into()), &amd64());
            parsed.map(|parsed| match parsed {
                Parsed::Manifest(manifest) => manifest.size_bytes(),
                Parsed::Index { .. } => 0,
            })
        };
        assert_eq!(of(&digest, 7, "m"), Ok(21));
        let cases = [
            ("sizes that overflow", of(&digest, u64::MAX, "m"), "more than"),
            ("a size that nothing has", of(&digest, 1 << 40, "m"), "more than"),
            ("a path", of("sha256:../../x", 1, "m"), "is no sha256 digest"),
            ("upper case", of(&digest.to_uppercase(), 1, "m"), "is no sha256 digest"),
            ("another hash", of(&digest.replace("256", "512"), 1, "m"), "is no sha256 digest"),
            ("a long media type", of(&digest, 1, &"m".repeat(256)), "media type"),
        ];
        for (why, got, expected) in cases {
            assert!(got.as_ref().is_err_and(|err| err.contains(expected)), "{why}: {got:?}");
        }
    }

    #[test]
    fn bad_manifests_are_refused_with_a_reason() {
        let parse = |text: &'static str| parse(&Document::of(Bytes::from_static(text.as_bytes())), &amd64());
        let cases = [
            ("not json", "{", "cannot be read"),
            ("schema 1", r#"{"schemaVersion":1}"#, "schema version 1"),
            ("no platform", r#"{"schemaVersion":2,"manifests":[]}"#, "linux/amd64"),
            ("no config", r#"{"schemaVersion":2,"layers":[]}"#, "names no config"),
            (
                "no layers",
                r#"{"schemaVersion":2,"config":{"mediaType":"c","digest":"d","size":1},"layers":[]}"#,
                "no container image",
            ),
        ];
        for (why, text, expected) in cases {
            assert!(parse(text).unwrap_err().contains(expected), "{why}");
        }
        let of = |machine: &str| {
            let platform = serde_json::json!({"os": "linux", "architecture": machine});
            serde_json::json!({"mediaType": "m", "digest": digest_of(machine.as_bytes()), "size": 1, "platform": platform})
        };
        let index = serde_json::json!({"schemaVersion": 2, "manifests": [of("arm64"), of("amd64")]});
        let parsed = super::parse(&Document::of(index.to_string().into()), &amd64());
        assert!(matches!(parsed, Ok(Parsed::Index { chosen }) if chosen == digest_of(b"amd64")));
    }

    #[test]
    fn a_config_for_another_machine_is_refused_with_both_names() {
        let text = br#"{"os":"linux","architecture":"arm64","variant":"v8","rootfs":{"diff_ids":["sha256:a"]}}"#;
        let why = config(text, &amd64()).err().unwrap();
        assert_eq!(why, "it is for linux/arm64/v8 and this machine is linux/amd64");
    }

    /// Such a config has less than the four MiB that one may have.
    #[test]
    fn an_environment_that_no_process_can_have_is_refused() {
        let of = |entries: usize| {
            let env: Vec<String> = (0..entries).map(|n| format!("{n:x}")).collect();
            let text = serde_json::json!({"config": {"Env": env}, "rootfs": {"diff_ids": []}}).to_string();
            assert!(text.len() < 4 << 20);
            config(text.as_bytes(), &amd64()).map(|config| config.image.env.len())
        };
        assert_eq!(of(100_000), Ok(100_000));
        let why = "its environment has more than the 2097152 bytes that the kernel takes";
        assert_eq!(of(460_000), Err(why.to_owned()));
    }

    #[test]
    fn nulls_in_a_config_are_nothing() {
        let text = br#"{"config":{"Cmd":null,"Env":null,"Entrypoint":["/x"],"Volumes":{"/data":{}}},"rootfs":{"diff_ids":["sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"]}}"#;
        let config = config(text, &amd64()).unwrap();
        assert_eq!((config.image.entrypoint, config.image.volumes), (vec!["/x".to_owned()], vec!["/data".to_owned()]));
        assert!(super::config(b"{}", &amd64()).is_err());
    }
}

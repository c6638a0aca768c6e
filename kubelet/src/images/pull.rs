//! Fetches an image from the first registry that has it into containerd's content store, and unpacks it.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use futures::StreamExt;
use parking_lot::Mutex;

use super::containerd::Mirror;
use super::documents::{self, Document, Parsed};
use super::platform::Platform;
use super::reference::Reference;
use super::registry::{Registry, Source};
use super::{ImageError, ImageHandle, RegistryAuth};
use crate::runtime::RuntimeError;
use crate::runtime::containerd::store::{Blob, ImageRecord, Lease, Store, Unpacked};

const LAYERS_AT_ONCE: usize = 3;
const BLOB_ATTEMPTS_MAX: u32 = 3;

/// Mirrors first, then the registry itself; at each with every secret that names it, then without one.
fn sources(reference: &Reference, mirrors: &[Mirror], auth: &[RegistryAuth]) -> Vec<Source> {
    let mut all = Vec::new();
    for mirror in mirrors.iter().filter(|m| m.registry == reference.registry) {
        all.push(Source { registry: mirror.host.clone(), plain_http: mirror.plain_http, auth: None });
    }
    let mut matching: Vec<&RegistryAuth> = auth.iter().filter(|a| applies(&a.registry, reference)).collect();
    // The longest path names the repository most closely.
    matching.sort_by_key(|a| std::cmp::Reverse(a.registry.len()));
    for auth in matching.into_iter().cloned().map(Some).chain([None]) {
        all.push(Source { registry: reference.registry.clone(), plain_http: is_loopback(&reference.registry), auth });
    }
    all
}

fn applies(secret: &str, reference: &Reference) -> bool {
    let repository = reference.repository();
    repository == secret || repository.strip_prefix(secret).is_some_and(|rest| rest.starts_with('/'))
}

/// As everywhere in this ecosystem, a registry on this machine is spoken to without TLS.
fn is_loopback(registry: &str) -> bool {
    let host = registry.rsplit_once(':').map_or(registry, |(host, _)| host);
    host == "localhost" || host.starts_with("127.")
}

/// A pull of one image.
pub(super) struct Pull<'a> {
    pub(super) store: &'a Store,
    pub(super) mirrors: &'a [Mirror],
    pub(super) machine: &'a Platform,
    pub(super) image: &'a str,
    pub(super) reference: &'a Reference,
    pub(super) auth: &'a [RegistryAuth],
}

impl Pull<'_> {
    pub(super) async fn run(&self) -> Result<ImageHandle, ImageError> {
        let mut worst: Option<ImageError> = None;
        for source in sources(self.reference, self.mirrors, self.auth) {
            match self.from(&source).await {
                Ok(handle) => return Ok(handle),
                Err(e @ (ImageError::Store { .. } | ImageError::BadImage { .. })) => return Err(e),
                Err(e) => {
                    tracing::debug!(image = self.image, registry = source.registry, why = %e, "not from here");
                    worst = Some(worse(worst, e));
                }
            }
        }
        Err(worst.unwrap_or_else(|| ImageError::NotFound {
            image: self.image.into(),
            registry: self.reference.registry.clone(),
        }))
    }

    async fn from(&self, source: &Source) -> Result<ImageHandle, ImageError> {
        let registry = Registry::new(source, self.image, self.reference)?;
        let top = registry.manifest(self.reference.version()).await?;
        let lease = self.store.lease().await.map_err(store_failed("taking a lease"))?;
        let pulled = self.all(&registry, &lease, top).await;
        self.store.release(lease).await.map_err(store_failed("releasing a lease"))?;
        pulled
    }

    async fn all(&self, registry: &Registry<'_>, lease: &Lease, top: Document) -> Result<ImageHandle, ImageError> {
        let bad = |why: String| ImageError::BadImage { image: self.image.into(), why };
        let manifest = match documents::parse(&top, self.machine).map_err(bad)? {
            Parsed::Manifest(manifest) => (top.clone(), manifest),
            Parsed::Index { chosen } => {
                let document = registry.manifest(&chosen).await?;
                match documents::parse(&document, self.machine).map_err(bad)? {
                    Parsed::Manifest(manifest) => (document, manifest),
                    Parsed::Index { .. } => return Err(bad("an index inside an index".into())),
                }
            }
        };
        let (document, manifest) = manifest;
        let config_bytes = registry.small_blob(&manifest.config).await?;
        let config = documents::config(&config_bytes, self.machine).map_err(bad)?;
        if config.diff_ids.len() != manifest.layers.len() {
            return Err(bad(format!(
                "{} layers, but its config names {}",
                manifest.layers.len(),
                config.diff_ids.len()
            )));
        }
        let chain_ids = documents::chain_ids(&config.diff_ids);
        let chain_id = chain_ids.last().cloned().unwrap_or_default();
        self.layers(registry, lease, &manifest.layers, &config.diff_ids, &chain_ids).await?;

        // From the bottom up: each document holds on to what is below it.
        let failed = store_failed("storing the image");
        let on_snapshot = [self.store.snapshot_label(&chain_id).await.map_err(&failed)?].into();
        self.write(lease, &manifest.config, on_snapshot, config_bytes).await?;
        self.write(lease, &document.blob(), documents::manifest_labels(&manifest), document.bytes.clone()).await?;
        if top.digest != document.digest {
            let labels = HashMap::from([("containerd.io/gc.ref.content.m.0".to_owned(), document.digest.clone())]);
            self.write(lease, &top.blob(), labels, top.bytes.clone()).await?;
        }
        let handle = ImageHandle {
            name: self.reference.to_string(),
            id: manifest.config.digest.clone(),
            repo_digest: format!("{}@{}", self.reference.repository(), top.digest),
            chain_id,
            size_bytes: manifest.size_bytes() + top.bytes.len() as u64,
            config: config.image,
        };
        self.name(&handle, &top).await?;
        Ok(handle)
    }

    async fn name(&self, handle: &ImageHandle, top: &Document) -> Result<(), ImageError> {
        let labels = documents::record_labels(handle);
        for name in [&handle.repo_digest, &handle.name] {
            let record = ImageRecord { name: name.clone(), target: top.blob(), labels: labels.clone() };
            self.store.name_image(&record).await.map_err(store_failed("naming the image"))?;
        }
        Ok(())
    }

    /// Fetches several at once and unpacks in order, each as soon as it and those below it are there.
    async fn layers(
        &self,
        registry: &Registry<'_>,
        lease: &Lease,
        layers: &[Blob],
        diff_ids: &[String],
        chain_ids: &[String],
    ) -> Result<(), ImageError> {
        let fetch = |at: usize| async move {
            let unpacked =
                self.store.hold_snapshot(lease, &chain_ids[at]).await.map_err(store_failed("looking for a layer"))?;
            if !unpacked {
                self.fetch_layer(registry, lease, &layers[at]).await?;
            }
            Ok((at, unpacked))
        };
        let mut fetched = futures::stream::iter(0..layers.len()).map(fetch).buffered(LAYERS_AT_ONCE);
        while let Some(result) = fetched.next().await {
            let (at, unpacked): (usize, bool) = result?;
            if unpacked {
                continue;
            }
            let parent = at.checked_sub(1).map_or("", |below| &chain_ids[below]);
            let unpacked = self
                .store
                .unpack(lease, &layers[at], parent, &chain_ids[at], &diff_ids[at])
                .await
                .map_err(store_failed("unpacking a layer"))?;
            if let Unpacked::Differs { diff_id } = unpacked {
                let why =
                    format!("layer {} unpacks to {diff_id}, but its config says {}", layers[at].digest, diff_ids[at]);
                return Err(ImageError::BadImage { image: self.image.into(), why });
            }
        }
        Ok(())
    }

    async fn fetch_layer(&self, registry: &Registry<'_>, lease: &Lease, layer: &Blob) -> Result<(), ImageError> {
        if self.store.hold_blob(lease, &layer.digest).await.map_err(store_failed("looking for a blob"))? {
            return Ok(());
        }
        let mut attempt = 1;
        loop {
            let broken = Arc::new(Mutex::new(None));
            let stream = registry.blob(layer).await;
            let result = match stream {
                Ok(stream) => {
                    let note = broken.clone();
                    let until_broken = stream.scan(layer.size_bytes, move |left, chunk| {
                        let chunk = chunk.map_err(|e| *note.lock() = Some(corten_api::error::with_causes(&e))).ok();
                        let chunk = chunk.filter(|chunk| match left.checked_sub(chunk.len() as u64) {
                            Some(rest) => {
                                *left = rest;
                                true
                            }
                            // Or the disk would fill with what the digest refuses only at its end.
                            None => {
                                *note.lock() = Some("it sends more than the manifest says".into());
                                false
                            }
                        });
                        futures::future::ready(chunk.map(Vec::from))
                    });
                    let written = self.store.write_blob(lease, layer, HashMap::new(), until_broken).await;
                    match (broken.lock().take(), written) {
                        (Some(why), _) => Err(registry.network(why)),
                        (None, Err(why)) => Err(store_failed("storing a layer")(why)),
                        (None, Ok(())) => Ok(()),
                    }
                }
                Err(e) => Err(e),
            };
            match result {
                Err(ImageError::Network { .. }) if attempt < BLOB_ATTEMPTS_MAX => attempt += 1,
                other => return other,
            }
        }
    }

    async fn write(
        &self,
        lease: &Lease,
        blob: &Blob,
        labels: HashMap<String, String>,
        bytes: Bytes,
    ) -> Result<(), ImageError> {
        let data = futures::stream::iter([bytes.to_vec()]);
        self.store.write_blob(lease, blob, labels, data).await.map_err(store_failed("storing the image"))
    }
}

/// What the user can do most about: a wrong secret before a wrong name before a network.
fn worse(have: Option<ImageError>, new: ImageError) -> ImageError {
    let weight = |e: &ImageError| match e {
        ImageError::Auth { .. } => 2,
        ImageError::NotFound { .. } => 1,
        _ => 0,
    };
    match have {
        Some(have) if weight(&have) >= weight(&new) => have,
        _ => new,
    }
}

pub(super) fn store_failed(doing: &'static str) -> impl Fn(RuntimeError) -> ImageError {
    move |why| ImageError::Store { doing, why: corten_api::error::with_causes(&why) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mirrors_come_first_and_the_closest_secret_before_others() {
        let mirrors = [
            Mirror { registry: "docker.io".into(), host: "10.0.0.1:5000".into(), plain_http: true },
            Mirror { registry: "quay.io".into(), host: "10.0.0.2:5000".into(), plain_http: true },
        ];
        let secret = |registry: &str| RegistryAuth {
            registry: registry.into(),
            username: registry.into(),
            password: String::new(),
        };
        let auth = [secret("docker.io"), secret("docker.io/team"), secret("docker.io/te"), secret("quay.io")];
        let reference = Reference::parse("team/app").unwrap();
        let who = |s: &Source| match &s.auth {
            Some(auth) => format!("{} as {}", s.registry, auth.username),
            None => s.registry.clone(),
        };
        let got: Vec<_> = sources(&reference, &mirrors, &auth).iter().map(who).collect();
        assert_eq!(got, ["10.0.0.1:5000", "docker.io as docker.io/team", "docker.io as docker.io", "docker.io"]);
    }

    #[test]
    fn the_error_a_user_can_do_most_about_is_told() {
        let network = ImageError::Network { image: "a".into(), registry: "r".into(), why: "down".into() };
        let missing = ImageError::NotFound { image: "a".into(), registry: "m".into() };
        assert!(matches!(worse(Some(missing.clone()), network.clone()), ImageError::NotFound { .. }));
        assert!(matches!(worse(Some(network), missing), ImageError::NotFound { .. }));
    }
}

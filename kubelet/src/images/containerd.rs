//! The images of a node in containerd's store: found, pulled once for all who ask, listed, removed.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use async_trait::async_trait;
use futures::FutureExt;
use futures::future::{BoxFuture, Shared};
use parking_lot::Mutex;
use tokio::sync::Semaphore;

use super::documents::{self, Document, Parsed};
use super::platform::Platform;
use super::pull::{Pull, store_failed};
use super::reference::Reference;
use super::{Ensured, ImageError, ImageHandle, ImageInfo, ImageRequest, Images, PullPolicy, RegistryAuth};
use crate::runtime::containerd::Containerd;
use crate::runtime::containerd::store::Store;

/// Pulls of different images that run at one time; more wait.
const PULLS_AT_ONCE: usize = 4;
/// Images whose config is remembered, so that starting a pod reads no documents.
const REMEMBERED_MAX: usize = 256;

/// `--registry-mirror docker.io=http://10.0.0.1:5000`: asked before the registry itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mirror {
    pub registry: String,
    /// With port if any.
    pub host: String,
    pub plain_http: bool,
}

#[derive(Debug, thiserror::Error)]
#[error("a registry mirror reads registry=http[s]://host[:port], not {0:?}")]
pub struct BadMirror(String);

impl std::str::FromStr for Mirror {
    type Err = BadMirror;
    fn from_str(text: &str) -> Result<Self, BadMirror> {
        let bad = || BadMirror(text.into());
        let (registry, url) = text.split_once('=').ok_or_else(bad)?;
        let (scheme, host) = url.split_once("://").ok_or_else(bad)?;
        let host = host.trim_end_matches('/');
        if registry.is_empty() || host.is_empty() || host.contains('/') || !matches!(scheme, "http" | "https") {
            return Err(bad());
        }
        Ok(Self { registry: registry.into(), host: host.into(), plain_http: scheme == "http" })
    }
}

type Pulling = Shared<BoxFuture<'static, Result<ImageHandle, ImageError>>>;

/// Cheap to clone; clones share pulls.
#[derive(Clone)]
pub struct ContainerdImages {
    inner: Arc<Inner>,
}

struct Inner {
    store: Store,
    mirrors: Vec<Mirror>,
    machine: Platform,
    slots: Semaphore,
    /// By image and secrets: who has other secrets asks for himself.
    pulling: Mutex<HashMap<(String, Vec<RegistryAuth>), Pulling>>,
    /// By the digest of what a name stands for.
    remembered: Mutex<HashMap<String, ImageHandle>>,
}

impl ContainerdImages {
    pub fn new(runtime: &Containerd, mirrors: Vec<Mirror>) -> Self {
        let inner = Inner {
            store: runtime.store(),
            mirrors,
            machine: Platform::of_this_machine(),
            slots: Semaphore::new(PULLS_AT_ONCE),
            pulling: Mutex::default(),
            remembered: Mutex::default(),
        };
        Self { inner: Arc::new(inner) }
    }

    async fn pull(&self, image: &str, reference: &Reference, auth: &[RegistryAuth]) -> Result<ImageHandle, ImageError> {
        let key = (reference.to_string(), auth.to_vec());
        let shared = self
            .inner
            .pulling
            .lock()
            .entry(key.clone())
            .or_insert_with(|| self.start(image, reference, auth, key))
            .clone();
        shared.await
    }

    /// In a task of its own: a pull goes on when the pod that asked first is deleted.
    fn start(
        &self,
        image: &str,
        reference: &Reference,
        auth: &[RegistryAuth],
        key: (String, Vec<RegistryAuth>),
    ) -> Pulling {
        let (this, image, reference, auth) = (self.clone(), image.to_owned(), reference.clone(), auth.to_vec());
        let task = tokio::spawn(async move {
            let _slot = this.inner.slots.acquire().await;
            let pull = Pull {
                store: &this.inner.store,
                mirrors: &this.inner.mirrors,
                machine: &this.inner.machine,
                image: &image,
                reference: &reference,
                auth: &auth,
            };
            let result = pull.run().await;
            this.inner.pulling.lock().remove(&key);
            result
        });
        let died = |e: tokio::task::JoinError| Err(ImageError::Store { doing: "pulling", why: e.to_string() });
        task.map(move |joined| joined.unwrap_or_else(died)).boxed().shared()
    }

    async fn find_reference(&self, image: &str, reference: &Reference) -> Result<Option<ImageHandle>, ImageError> {
        let store = &self.inner.store;
        let name = reference.to_string();
        let record = store.image(&name).await.map_err(store_failed("looking for an image"))?;
        let Some(record) = record else { return Ok(None) };
        let remembered = self.inner.remembered.lock().get(&record.target.digest).cloned();
        let handle = match remembered {
            Some(handle) => handle,
            None => match self.read(image, reference, &record.target.digest).await? {
                Some(handle) => handle,
                None => return Ok(None),
            },
        };
        if !store.has_snapshot(&handle.chain_id).await.map_err(store_failed("looking for an image"))? {
            return Ok(None);
        }
        self.remember(&record.target.digest, &handle);
        let repo_digest = format!("{}@{}", reference.repository(), record.target.digest);
        Ok(Some(ImageHandle { name, repo_digest, ..handle }))
    }

    /// From the documents in the store. `None`: they are not all there.
    async fn read(
        &self,
        image: &str,
        reference: &Reference,
        top_digest: &str,
    ) -> Result<Option<ImageHandle>, ImageError> {
        let bad = |why: String| ImageError::BadImage { image: image.into(), why };
        let Some(top) = self.document(top_digest).await? else { return Ok(None) };
        let manifest = match documents::parse(&top, &self.inner.machine).map_err(bad)? {
            Parsed::Manifest(manifest) => manifest,
            Parsed::Index { chosen } => match self.document(&chosen).await? {
                Some(document) => match documents::parse(&document, &self.inner.machine).map_err(bad)? {
                    Parsed::Manifest(manifest) => manifest,
                    Parsed::Index { .. } => return Err(bad("an index inside an index".into())),
                },
                None => return Ok(None),
            },
        };
        let Some(config_bytes) = self.document(&manifest.config.digest).await? else { return Ok(None) };
        let config = documents::config(&config_bytes.bytes, &self.inner.machine).map_err(bad)?;
        Ok(Some(ImageHandle {
            name: reference.to_string(),
            id: manifest.config.digest.clone(),
            repo_digest: format!("{}@{top_digest}", reference.repository()),
            chain_id: documents::chain_ids(&config.diff_ids).pop().unwrap_or_default(),
            size_bytes: manifest.size_bytes() + top.bytes.len() as u64,
            config: config.image,
        }))
    }

    async fn document(&self, digest: &str) -> Result<Option<Document>, ImageError> {
        let store = &self.inner.store;
        if !store.has_blob(digest).await.map_err(store_failed("looking for a document"))? {
            return Ok(None);
        }
        let bytes = store.read_blob(digest).await.map_err(store_failed("reading a document"))?;
        Ok(Some(Document::of(bytes.into())))
    }

    fn remember(&self, digest: &str, handle: &ImageHandle) {
        let mut remembered = self.inner.remembered.lock();
        if remembered.len() >= REMEMBERED_MAX {
            remembered.clear();
        }
        remembered.insert(digest.into(), handle.clone());
    }
}

fn parse(image: &str) -> Result<Reference, ImageError> {
    Reference::parse(image).map_err(|why| ImageError::InvalidName { image: image.into(), why: why.to_string() })
}

#[async_trait]
impl Images for ContainerdImages {
    async fn ensure(&self, request: &ImageRequest) -> Result<Ensured, ImageError> {
        let reference = parse(&request.image)?;
        if request.policy != PullPolicy::Always
            && let Some(handle) = self.find_reference(&request.image, &reference).await?
        {
            return Ok(Ensured { handle, pulled_in: None });
        }
        if request.policy == PullPolicy::Never {
            return Err(ImageError::NeverPull { image: request.image.clone() });
        }
        let begun = Instant::now();
        let handle = self.pull(&request.image, &reference, &request.auth).await?;
        Ok(Ensured { handle, pulled_in: Some(begun.elapsed()) })
    }

    async fn find(&self, image: &str) -> Result<Option<ImageHandle>, ImageError> {
        self.find_reference(image, &parse(image)?).await
    }

    async fn list(&self) -> Result<Vec<ImageInfo>, ImageError> {
        let records = self.inner.store.images().await.map_err(store_failed("listing images"))?;
        Ok(documents::summarise(&records))
    }

    async fn remove(&self, id: &str) -> Result<(), ImageError> {
        let records = self.inner.store.images().await.map_err(store_failed("listing images"))?;
        for record in records.iter().filter(|r| documents::record_id(r) == Some(id)) {
            self.inner.store.unname_image(&record.name).await.map_err(store_failed("removing an image"))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mirrors_are_read_from_the_command_line() {
        let mirror = |text: &str| text.parse::<Mirror>().ok().map(|m| (m.registry, m.host, m.plain_http));
        let is = |registry: &str, host: &str, plain| Some((registry.to_owned(), host.to_owned(), plain));
        let cases = [
            ("docker.io=http://10.0.0.1:5000", is("docker.io", "10.0.0.1:5000", true)),
            ("quay.io=https://mirror.example/", is("quay.io", "mirror.example", false)),
            ("docker.io", None),
            ("docker.io=10.0.0.1:5000", None),
            ("=http://x", None),
            ("docker.io=ftp://x", None),
            ("docker.io=http://x/path", None),
        ];
        for (text, expected) in cases {
            assert_eq!(mirror(text), expected, "{text}");
        }
    }
}

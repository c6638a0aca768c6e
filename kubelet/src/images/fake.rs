//! Images in memory: what is on the node and what a registry would give, for tests above the port.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;

use super::reference::Reference;
use super::{Ensured, ImageError, ImageHandle, ImageInfo, ImageRequest, Images, PullPolicy};

/// Cheap to clone; clones share one state.
#[derive(Clone, Default)]
pub struct FakeImages {
    shared: Arc<Mutex<Shared>>,
}

#[derive(Default)]
struct Shared {
    on_node: BTreeMap<String, ImageHandle>,
    in_registry: BTreeMap<String, ImageHandle>,
    pulls: u32,
}

impl FakeImages {
    /// The registry has this image from now on.
    pub fn publish(&self, image: &str) {
        let Ok(reference) = Reference::parse(image) else { return };
        let name = reference.to_string();
        let id = format!("sha256:{}", super::super::runtime::container_id(&name, "image", 0));
        let repo_digest = format!("{}@{id}", reference.repository());
        let handle = ImageHandle {
            name: name.clone(),
            chain_id: id.clone(),
            id,
            repo_digest,
            size_bytes: 1000,
            ..ImageHandle::default()
        };
        self.shared.lock().in_registry.insert(name, handle);
    }
    /// The image is on the node already.
    pub fn preload(&self, image: &str) {
        self.publish(image);
        let mut shared = self.shared.lock();
        shared.on_node = shared.in_registry.clone();
    }
    pub fn pulls(&self) -> u32 {
        self.shared.lock().pulls
    }
}

fn parse(image: &str) -> Result<String, ImageError> {
    let invalid =
        |why: super::reference::Invalid| ImageError::InvalidName { image: image.into(), why: why.to_string() };
    Reference::parse(image).map(|r| r.to_string()).map_err(invalid)
}

#[async_trait]
impl Images for FakeImages {
    async fn ensure(&self, request: &ImageRequest) -> Result<Ensured, ImageError> {
        let name = parse(&request.image)?;
        let mut shared = self.shared.lock();
        if request.policy != PullPolicy::Always
            && let Some(handle) = shared.on_node.get(&name)
        {
            return Ok(Ensured { handle: handle.clone(), pulled_in: None });
        }
        if request.policy == PullPolicy::Never {
            return Err(ImageError::NeverPull { image: request.image.clone() });
        }
        let missing = || ImageError::NotFound { image: request.image.clone(), registry: "fake".into() };
        let handle = shared.in_registry.get(&name).cloned().ok_or_else(missing)?;
        shared.pulls += 1;
        shared.on_node.insert(name, handle.clone());
        Ok(Ensured { handle, pulled_in: Some(Duration::from_millis(1)) })
    }

    async fn find(&self, image: &str) -> Result<Option<ImageHandle>, ImageError> {
        let name = parse(image)?;
        Ok(self.shared.lock().on_node.get(&name).cloned())
    }

    async fn list(&self) -> Result<Vec<ImageInfo>, ImageError> {
        let info = |h: &ImageHandle| ImageInfo {
            id: h.id.clone(),
            names: vec![h.name.clone(), h.repo_digest.clone()],
            size_bytes: h.size_bytes,
        };
        Ok(self.shared.lock().on_node.values().map(info).collect())
    }

    async fn remove(&self, id: &str) -> Result<(), ImageError> {
        self.shared.lock().on_node.retain(|_, handle| handle.id != id);
        Ok(())
    }
}

//! The image port: makes sure an image is on the node, and says what is in it.

pub mod auth;
pub mod containerd;
mod documents;
pub mod fake;
#[cfg(test)]
mod fuzz;
pub(crate) mod platform;
mod pull;
pub mod reference;
mod registry;

use std::time::Duration;

use async_trait::async_trait;

/// `imagePullPolicy`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PullPolicy {
    Always,
    IfNotPresent,
    Never,
}

/// Who to be at one registry, from a pull secret.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct RegistryAuth {
    /// Host with port if any, and a path prefix if the secret has one: `docker.io`, `reg.example:5000/team`.
    pub registry: String,
    pub username: String,
    pub password: String,
}

impl std::fmt::Debug for RegistryAuth {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "RegistryAuth({} as {})", self.registry, self.username)
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageRequest {
    /// As in the pod: `nginx`, `reg.example/team/app:v1`, `app@sha256:…`.
    pub image: String,
    pub policy: PullPolicy,
    /// Tried in order where the registry matches, then without.
    pub auth: Vec<RegistryAuth>,
}

/// What an image says about the process to run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ImageConfig {
    pub entrypoint: Vec<String>,
    pub cmd: Vec<String>,
    /// `NAME=value`.
    pub env: Vec<String>,
    pub working_dir: Option<String>,
    /// `user`, `uid`, `user:group`, `uid:gid`; empty means root.
    pub user: String,
    pub volumes: Vec<String>,
    /// `SIGQUIT`, `3`; empty means SIGTERM.
    pub stop_signal: String,
}

/// An image that is unpacked on the node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ImageHandle {
    /// The full reference: `docker.io/library/nginx:latest`.
    pub name: String,
    /// `sha256:…` of the image's config: what `imageID`s compare by.
    pub id: String,
    /// `docker.io/library/nginx@sha256:…` of the manifest it was pulled by: `status.containerStatuses[].imageID`.
    pub repo_digest: String,
    /// Snapshot that holds the unpacked layers.
    pub chain_id: String,
    /// Compressed bytes of manifest, config and layers.
    pub size_bytes: u64,
    pub config: ImageConfig,
}

/// An image and whether it had to be fetched, for the `Pulled` event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ensured {
    pub handle: ImageHandle,
    /// `None`: it was already present on the machine.
    pub pulled_in: Option<Duration>,
}

/// An entry for `node.status.images`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageInfo {
    pub id: String,
    /// Tags and digests.
    pub names: Vec<String>,
    pub size_bytes: u64,
}

/// The images of a node. Requests for one image at one time share one pull.
#[async_trait]
pub trait Images: Send + Sync {
    /// Brings the image to the node if the policy wants that, and unpacks it.
    async fn ensure(&self, request: &ImageRequest) -> Result<Ensured, ImageError>;

    /// The image if it is on the node; asks no registry.
    async fn find(&self, image: &str) -> Result<Option<ImageHandle>, ImageError>;

    async fn list(&self) -> Result<Vec<ImageInfo>, ImageError>;

    /// Forgets every name of the image; its bytes are freed by the runtime's garbage collector. Containers that were
    /// made from it run on. Removing what is gone is a success.
    async fn remove(&self, id: &str) -> Result<(), ImageError>;
}

/// Causes are text here: an error is shared between the callers of one pull, and sources cannot be cloned.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ImageError {
    /// Reason `InvalidImageName`.
    #[error("couldn't parse image name \"{image}\": {why}")]
    InvalidName { image: String, why: String },
    /// Reason `ErrImageNeverPull`.
    #[error("Container image \"{image}\" is not present with pull policy of Never")]
    NeverPull { image: String },
    /// Reason `ErrImagePull`, as are all below.
    #[error("{image}: not found at {registry}")]
    NotFound { image: String, registry: String },
    #[error("pull access denied for {image} at {registry}: it may not exist or may need a pull secret ({why})")]
    Auth { image: String, registry: String, why: String },
    #[error("failed to pull {image} from {registry}: {why}")]
    Network { image: String, registry: String, why: String },
    #[error("{image} cannot be used: {why}")]
    BadImage { image: String, why: String },
    #[error("the runtime's image store failed while {doing}: {why}")]
    Store { doing: &'static str, why: String },
}

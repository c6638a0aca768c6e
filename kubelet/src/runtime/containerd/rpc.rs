//! One lazily connected channel to containerd, the namespace every request names, and what its errors mean.

use std::path::{Path, PathBuf};
use std::time::Duration;

use containerd_client::Client;
use containerd_client::tonic::transport::{Channel, Endpoint};
use containerd_client::tonic::{Code, Request, Response, Status};

use crate::runtime::RuntimeError;

/// The namespace that other tools (`ctr -n k8s.io`, `crictl`) look for Kubernetes' containers in.
pub(crate) const NAMESPACE: &str = "k8s.io";
/// A request that takes longer will not be answered: containerd hangs.
const REQUEST_MAX: Duration = Duration::from_secs(120);
/// Manifests of images and lists of containers are larger than gRPC's usual limit.
pub(crate) const MESSAGE_MAX_BYTES: usize = 64 * 1024 * 1024;

/// Reconnects by itself: a request made while containerd is away fails at once, one made later works.
#[derive(Clone)]
pub(crate) struct Rpc {
    socket: PathBuf,
    channel: Channel,
}

impl Rpc {
    pub(crate) fn new(socket: &Path) -> Result<Self, RuntimeError> {
        let path = socket.to_path_buf();
        let connector = tower::service_fn(move |_: http::Uri| {
            let path = path.clone();
            async move {
                Ok::<_, std::io::Error>(hyper_util::rt::TokioIo::new(tokio::net::UnixStream::connect(path).await?))
            }
        });
        // The address is never used: the connector knows the socket.
        let endpoint = Endpoint::from_static("http://containerd.invalid");
        Ok(Self { socket: socket.into(), channel: endpoint.connect_with_connector_lazy(connector) })
    }

    pub(crate) fn client(&self) -> Client {
        Client::from(self.channel.clone())
    }

    pub(crate) fn request<T>(message: T) -> Request<T> {
        let mut request = Request::new(message);
        let namespace = containerd_client::tonic::metadata::MetadataValue::from_static(NAMESPACE);
        request.metadata_mut().insert("containerd-namespace", namespace);
        request
    }

    /// Waits for an answer, with a bound. `doing` and `id` are for the error.
    pub(crate) async fn ask<T>(
        &self,
        doing: &'static str,
        id: &str,
        answer: impl Future<Output = Result<Response<T>, Status>> + Send,
    ) -> Result<T, RuntimeError> {
        match tokio::time::timeout(REQUEST_MAX, answer).await {
            Ok(Ok(response)) => Ok(response.into_inner()),
            Ok(Err(status)) => Err(self.error(doing, id, status)),
            Err(_) => Err(RuntimeError::Timeout { after: REQUEST_MAX }),
        }
    }

    pub(crate) fn error(&self, doing: &'static str, id: &str, status: Status) -> RuntimeError {
        match status.code() {
            Code::NotFound => RuntimeError::NotFound { id: id.into() },
            Code::AlreadyExists => RuntimeError::Exists { id: id.into() },
            // A connection that broke under a request shows as Unknown or Cancelled with a transport error inside.
            Code::Unavailable => self.unavailable(status),
            Code::Unknown | Code::Cancelled if std::error::Error::source(&status).is_some() => self.unavailable(status),
            _ => RuntimeError::Refused { doing, message: status.message().to_owned() },
        }
    }

    fn unavailable(&self, status: Status) -> RuntimeError {
        RuntimeError::Unavailable { address: self.socket.display().to_string(), source: Box::new(status) }
    }
}

/// What is gone needs no removing.
pub(crate) fn gone_is_fine(result: Result<(), RuntimeError>) -> Result<(), RuntimeError> {
    match result {
        Err(RuntimeError::NotFound { .. }) => Ok(()),
        other => other,
    }
}

pub(crate) fn timestamp(at: Option<&prost_types::Timestamp>) -> jiff::Timestamp {
    at.and_then(|t| jiff::Timestamp::new(t.seconds, t.nanos).ok()).unwrap_or(jiff::Timestamp::UNIX_EPOCH)
}

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
            _ => refusal(doing, status.message().to_owned()),
        }
    }

    fn unavailable(&self, status: Status) -> RuntimeError {
        RuntimeError::Unavailable { address: self.socket.display().to_string(), source: Box::new(status) }
    }
}

type Kind = fn(&'static str, String) -> RuntimeError;

/// containerd, its shims and runc give these refusals no code of their own: only what they say tells them apart. The first
/// row all of whose texts are in the message decides.
const REFUSALS: &[(&[&str], Kind)] = &[
    // A shim ends when its last task is deleted. What is on its way to it then finds its connection closed, or its socket
    // gone already.
    (&["ttrpc: closed"], shim_gone),
    (&["start failed: dial unix", "no such file or directory"], shim_gone),
    (&["start failed: dial unix", "connection refused"], shim_gone),
    (&["process already finished"], process_over),
    (&["no such process"], process_over),
    (&["not running"], process_over),
    (&["already stopped"], process_over),
    (&["cannot kill a stopped"], process_over),
    (&["exec:"], bad_command),
    (&["executable file not found"], bad_command),
    (&["no such file or directory"], bad_command),
    (&["permission denied"], bad_command),
];

fn shim_gone(doing: &'static str, message: String) -> RuntimeError {
    RuntimeError::ShimGone { doing, message }
}
fn process_over(doing: &'static str, message: String) -> RuntimeError {
    RuntimeError::ProcessOver { doing, message }
}
fn bad_command(doing: &'static str, message: String) -> RuntimeError {
    RuntimeError::BadCommand { doing, message }
}

fn refusal(doing: &'static str, message: String) -> RuntimeError {
    let says = |texts: &[&str]| texts.iter().all(|text| message.contains(text));
    match REFUSALS.iter().find(|(texts, _)| says(texts)) {
        Some((_, kind)) => kind(doing, message),
        None => RuntimeError::Refused { doing, message },
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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn every_refusal_has_its_kind() {
        let rpc = Rpc::new(Path::new("/nowhere.sock")).unwrap();
        let kind = |message: &str| match rpc.error("making the process", "c", Status::new(Code::Unknown, message)) {
            RuntimeError::ShimGone { .. } => "shim gone",
            RuntimeError::ProcessOver { .. } => "process over",
            RuntimeError::BadCommand { .. } => "bad command",
            RuntimeError::Refused { .. } => "refused",
            other => panic!("{message}: {other:?}"),
        };
        let dial = "connection error: desc = \"transport: start failed: dial unix /run/containerd/s/1: connect:";
        let exec = "OCI runtime exec failed: exec failed: unable to start container process: exec:";
        let cases = [
            ("its last task is deleted", "ttrpc: closed: unknown".to_owned(), "shim gone"),
            ("its socket is gone", format!("{dial} no such file or directory\""), "shim gone"),
            ("nobody listens on its socket", format!("{dial} connection refused\""), "shim gone"),
            ("killed twice", "process already finished: unknown".to_owned(), "process over"),
            ("the kernel knows none", "no such process".to_owned(), "process over"),
            ("runc knows none", "container not running".to_owned(), "process over"),
            ("stopped", "cannot kill a stopped process".to_owned(), "process over"),
            ("not in PATH", format!("{exec} \"x\": executable file not found in $PATH"), "bad command"),
            ("no such path", format!("{exec} \"/x\": stat /x: no such file or directory"), "bad command"),
            ("no program", format!("{exec} \"/etc\": is a directory"), "bad command"),
            ("a directory to work in", "chdir to cwd (\"/x\"): permission denied".to_owned(), "bad command"),
            ("a device is full", "mkdir /x: no space left on device".to_owned(), "refused"),
            ("a task that runs", "task must be stopped before deletion: running".to_owned(), "refused"),
        ];
        for (why, message, expected) in cases {
            assert_eq!(kind(&message), expected, "{why}: {message}");
        }
    }
}

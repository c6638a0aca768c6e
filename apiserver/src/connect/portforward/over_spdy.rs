//! Ports forwarded over SPDY: for each TCP connection an `error` and a `data` stream with the same request id.

use std::collections::HashMap;

use corten_api::ApiError;
use tokio::task::JoinSet;

use super::{Pod, close, data, kubelets};
use crate::connect::spdy::session::{Gone, Session, SpdyStream};

/// Streams whose other half has not come yet.
const MAX_HALVES: usize = 64;

pub(super) async fn run(mut session: Session, pod: Pod) {
    let mut halves: HashMap<String, SpdyStream> = HashMap::new();
    // Dropped with the session: a client that goes away takes its connections with it.
    let mut connections = JoinSet::new();
    loop {
        let stream = tokio::select! {
            stream = session.next_stream() => stream,
            Some(_done) = connections.join_next() => continue,
        };
        let Some(stream) = stream else { return };
        // Old clients number nothing and open one pair at a time.
        let id = stream.header("requestid").or(stream.header("port")).unwrap_or_default().to_owned();
        match halves.remove(&id) {
            None if halves.len() >= MAX_HALVES => halves.clear(),
            None => drop(halves.insert(id, stream)),
            Some(other) => match paired(other, stream) {
                Some((error, data)) => drop(connections.spawn(forward(pod.clone(), error, data))),
                None => return tracing::debug!("a client opened two streams of one kind for one connection"),
            },
        }
    }
}

fn paired(one: SpdyStream, other: SpdyStream) -> Option<(SpdyStream, SpdyStream)> {
    match (one.header("streamtype"), other.header("streamtype")) {
        (Some("error"), Some("data")) => Some((one, other)),
        (Some("data"), Some("error")) => Some((other, one)),
        _ => None,
    }
}

async fn forward(pod: Pod, error: SpdyStream, stream: SpdyStream) {
    let SpdyStream { outgoing: errors, .. } = &error;
    let to_client = stream.outgoing.clone();
    let result = match stream.header("port").and_then(|p| p.parse().ok()) {
        Some(port) => join(&pod, port, stream).await,
        None => Err(ApiError::bad_request("a stream names no port to forward to")),
    };
    let told = async {
        if let Err(err) = &result {
            errors.send(err.message().to_owned().into()).await?;
        }
        to_client.close().await?;
        errors.close().await
    };
    if told.await.is_err() {
        tracing::trace!("a forwarded connection ended with its client");
    }
}

async fn join(pod: &Pod, port: u16, mut stream: SpdyStream) -> Result<(), ApiError> {
    let (input, mut output) = pod.connect(port).await?;
    let outward = async {
        while let Some(bytes) = stream.incoming.recv().await {
            if input.send(data(bytes)).await.is_err() {
                break;
            }
        }
        // Either there is nobody to tell, or the node is told.
        let _told = input.send(close()).await;
        std::future::pending::<()>().await;
    };
    let inward = async {
        loop {
            match output.message().await {
                Ok(Some(message)) => {
                    if stream.outgoing.send(message.data).await == Err(Gone) {
                        return Ok(());
                    }
                }
                Ok(None) => return Ok(()),
                Err(status) => return Err(kubelets::error_of(&pod.address.node, &status)),
            }
        }
    };
    tokio::select! {
        () = outward => Ok(()),
        result = inward => result,
    }
}

//! The scheduler's placements over one stream, many in flight.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use corten_api::ApiError;
use corten_proto::api::{BindReply, BindRequest};
use tokio::sync::{mpsc, oneshot};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;

use crate::client::{Client, retry_after, within};
use crate::endpoints::Connection;

/// Placements that wait to be sent; a scheduler that is further ahead than this waits.
const QUEUE_MAX: usize = 1024;
/// Nothing is done yet when a stream is opened: an apiserver that lives answers at once, and all placements wait for it.
const OPEN_TIMEOUT: Duration = Duration::from_secs(10);

/// Sends placements. Cheap to clone. A stream that breaks fails what was in flight (the scheduler looks at the pod
/// again) and is opened anew for what comes next.
#[derive(Clone, Debug)]
pub struct Binder {
    client: Client,
    sender: mpsc::Sender<Ask>,
}

struct Ask {
    request: BindRequest,
    reply: oneshot::Sender<Result<(), ApiError>>,
}

type Waiting = HashMap<u64, oneshot::Sender<Result<(), ApiError>>>;

impl Binder {
    pub(crate) fn start(client: Client) -> Self {
        let (sender, asks) = mpsc::channel(QUEUE_MAX);
        tokio::spawn(serve(client.clone(), asks));
        Self { client, sender }
    }

    /// Binds the pod with this `uid` to `node`. Conflict: it is bound already; NotFound: it is gone. What a busy server
    /// refuses with 429 was not done, and is sent again after the time that it says: dropped meanwhile, it is not sent.
    pub async fn bind(&self, namespace: &str, pod: &str, uid: &str, node: &str) -> Result<(), ApiError> {
        let request =
            BindRequest { id: 0, namespace: namespace.into(), pod: pod.into(), uid: uid.into(), node: node.into() };
        let mut busy = 0;
        loop {
            let Err(refusal) = self.ask(request.clone()).await else { return Ok(()) };
            self.client.heed(&refusal);
            match retry_after(&refusal) {
                Some(wait) if busy < self.client.busy_tries() => {
                    busy += 1;
                    tokio::time::sleep(wait).await;
                }
                Some(_) | None => return Err(refusal),
            }
        }
    }

    async fn ask(&self, request: BindRequest) -> Result<(), ApiError> {
        let _under_way = self.client.begin_write().await;
        let (reply, answer) = oneshot::channel();
        let closed = |_| ApiError::unavailable("the bind stream is closed");
        self.sender
            .send(Ask { request, reply })
            .await
            .map_err(|_| ApiError::unavailable("the bind stream is closed"))?;
        answer.await.map_err(closed)?
    }
}

/// Owns the stream: opens it for the first placement, and again after every break. Ends with the last [`Binder`].
async fn serve(client: Client, mut asks: mpsc::Receiver<Ask>) {
    while let Some(first) = asks.recv().await {
        if first.reply.is_closed() {
            continue;
        }
        let (requests, outgoing) = mpsc::channel(QUEUE_MAX);
        match open(&client, outgoing).await {
            Ok((replies, connection)) => {
                let mut waiting = Waiting::new();
                let stream = Stream { client: &client, connection: &connection, replies };
                let broken = exchange(first, &mut asks, &requests, stream, &mut waiting).await;
                let err = broken.map_or_else(
                    || ApiError::unavailable("the apiserver closed the bind stream"),
                    |status| client.explain(&connection, status),
                );
                for reply in waiting.into_values() {
                    // A scheduler that no longer waits has decided for itself.
                    let _ = reply.send(Err(err.clone()));
                }
            }
            Err(err) => {
                let _ = first.reply.send(Err(err));
            }
        }
    }
}

async fn open(
    client: &Client,
    outgoing: mpsc::Receiver<BindRequest>,
) -> Result<(Streaming<BindReply>, Arc<Connection>), ApiError> {
    let (mut stub, connection) = client.stub().await?;
    let mut request = tonic::Request::new(ReceiverStream::new(outgoing));
    client.mark(&mut request);
    match within(OPEN_TIMEOUT, stub.bind(request)).await {
        Ok(replies) => Ok((replies.into_inner(), connection)),
        Err(status) => Err(client.explain(&connection, status)),
    }
}

/// An open stream, and over what it goes.
struct Stream<'a> {
    client: &'a Client,
    connection: &'a Arc<Connection>,
    replies: Streaming<BindReply>,
}

/// Sends and receives until the stream ends, or its connection is left and nothing is in flight; returns why it ended.
async fn exchange(
    first: Ask,
    asks: &mut mpsc::Receiver<Ask>,
    requests: &mpsc::Sender<BindRequest>,
    mut stream: Stream<'_>,
    waiting: &mut Waiting,
) -> Option<tonic::Status> {
    let mut next_id = 0;
    let mut to_send = Some(first);
    loop {
        // Who asked and no longer waits has lost its lease: another scheduler decides now.
        if let Some(Ask { mut request, reply }) = to_send.take().filter(|ask| !ask.reply.is_closed()) {
            next_id += 1;
            request.id = next_id;
            waiting.insert(next_id, reply);
            if requests.send(request).await.is_err() {
                return None;
            }
        }
        tokio::select! {
            ask = asks.recv(), if waiting.len() < QUEUE_MAX => match ask {
                Some(ask) => to_send = Some(ask),
                None => return None,
            },
            () = stream.connection.left(), if waiting.is_empty() => return None,
            reply = stream.replies.message() => match reply {
                Ok(Some(reply)) => {
                    if let Some(err) = settle(waiting, &reply) {
                        stream.client.note(stream.connection, &err);
                    }
                }
                Ok(None) => return None,
                Err(status) => return Some(status),
            },
        }
    }
}

/// Tells who waits; returns the apiserver's refusal, if it was one.
fn settle(waiting: &mut Waiting, reply: &BindReply) -> Option<ApiError> {
    let waiter = waiting.remove(&reply.id)?;
    let refusal =
        (!reply.error_status_json.is_empty()).then(|| match serde_json::from_slice(&reply.error_status_json) {
            Ok(status) => ApiError::from_status(status),
            Err(err) => ApiError::internal(format!("cannot read the apiserver's refusal: {err}")),
        });
    // A scheduler that no longer waits has decided for itself.
    let _ = waiter.send(refusal.clone().map_or(Ok(()), Err));
    refusal
}

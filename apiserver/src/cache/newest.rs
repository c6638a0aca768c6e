//! "How new is the store?", asked once for all readers who wait at that moment.

use std::sync::Arc;

use corten_api::{ApiError, Reason};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::api_error;
use crate::storage::Storage;

/// Readers that wait at one time; more are turned away.
const WAITING_MAX: usize = 16_384;

type Reply = oneshot::Sender<Result<i64, ApiError>>;

#[derive(Clone, Debug)]
pub(super) struct Newest {
    asks: mpsc::Sender<Reply>,
}

impl Newest {
    pub(super) fn start(storage: Arc<dyn Storage>, stop: &CancellationToken) -> Self {
        let (asks, asked) = mpsc::channel(WAITING_MAX);
        let stop = stop.clone();
        tokio::spawn(async move {
            tokio::select! {
                () = answer(storage, asked) => {}
                () = stop.cancelled() => {}
            }
        });
        Self { asks }
    }
    /// The store's revision at some moment after this call.
    pub(super) async fn ask(&self) -> Result<i64, ApiError> {
        let (reply, answer) = oneshot::channel();
        self.asks.try_send(reply).map_err(|_| too_many())?;
        answer.await.map_err(|_| ApiError::unavailable("the apiserver is stopping"))?
    }
}

fn too_many() -> ApiError {
    let mut err = ApiError::new(Reason::TooManyRequests, "too many reads wait for the store, please try again later");
    err.details().retry_after_seconds = Some(1);
    err
}

/// Who asks while a request is under way may have asked too late for it, and waits for the next.
async fn answer(storage: Arc<dyn Storage>, mut asked: mpsc::Receiver<Reply>) {
    let mut waiting = Vec::new();
    while asked.recv_many(&mut waiting, WAITING_MAX).await > 0 {
        let revision = storage.current_revision().await.map_err(|err| api_error(&err));
        for reply in waiting.drain(..) {
            // A reader that has gone away needs no answer.
            drop(reply.send(revision.clone()));
        }
    }
}

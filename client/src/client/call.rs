//! One call: sent to an apiserver, and sent again where that can do no harm.

use std::sync::Arc;
use std::time::Duration;

use corten_api::{ApiError, Reason};
use corten_proto::api::resources_client::ResourcesClient;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Status;

use super::{Client, Stub};
use crate::endpoints::{Connection, Endpoints};

/// A reply with many objects may be large; one above this is refused rather than held in memory.
const MAX_MESSAGE_BYTES: usize = 32 << 20;
/// A call that is not answered by then never will be.
const CALL_TIMEOUT: Duration = Duration::from_secs(30);
/// An answer that has begun and of which nothing comes for so long never ends: a connection lives, and answers pings, whatever
/// becomes of who speaks over it.
pub(super) const SILENCE_MAX: Duration = Duration::from_secs(30);
/// What a Retry-After is taken for at most, and how much is added to it at random.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(10);
const RETRY_AFTER_SPREAD: f64 = 0.5;
/// A write that may have been done is not sent again.
const WRITE_TRIES: usize = 1;

impl Client {
    /// `tries`: how often it may be sent where nobody knows whether an earlier sending was done. (Not an `AsyncFn`: the
    /// futures of those are not `Send` for callers that are spawned.)
    pub(super) async fn call<T, F>(
        &self,
        endpoints: &Arc<Endpoints>,
        tries: usize,
        call: impl Fn(Stub) -> F,
    ) -> Result<T, ApiError>
    where
        F: Future<Output = Result<T, Failure>>,
    {
        let (mut sent, mut busy) = (0, 0);
        loop {
            let connection = endpoints.connection().await?;
            let err = match call(stub_on(&connection)).await {
                Ok(reply) => return Ok(reply),
                Err(Failure::Told(err)) if err.is_lease_lost() => {
                    self.heed(&err);
                    return Err(err);
                }
                Err(Failure::Told(err)) => match retry_after(&err) {
                    Some(wait) if busy < self.busy_tries => {
                        busy += 1;
                        tokio::time::sleep(wait).await;
                        continue;
                    }
                    Some(_) => return Err(err),
                    None if endpoints.note(&connection, &err) => err,
                    None => return Err(err),
                },
                Err(Failure::Broken(err)) => {
                    endpoints.drop_connection(&connection);
                    err
                }
            };
            sent += 1;
            if sent >= tries {
                return Err(err);
            }
        }
    }

    /// As [`Self::call`], for a write. None is sent once the term has ended that it is part of, not again either.
    pub(super) async fn write<T, F>(&self, endpoints: &Arc<Endpoints>, call: impl Fn(Stub) -> F) -> Result<T, ApiError>
    where
        F: Future<Output = Result<T, Failure>>,
    {
        let call = |stub| {
            let sent = call(stub);
            async move {
                let _under_way = self.begin_write().await;
                sent.await
            }
        };
        self.call(endpoints, WRITE_TRIES, call).await
    }
}

pub(super) fn stub_on(connection: &Connection) -> Stub {
    ResourcesClient::new(connection.channel.clone())
        .max_decoding_message_size(MAX_MESSAGE_BYTES)
        .max_encoding_message_size(MAX_MESSAGE_BYTES)
}

/// After which time a request that was refused for the server's load may be sent again. Without a Retry-After it is no
/// such refusal: evictions are refused with 429, too.
pub(crate) fn retry_after(err: &ApiError) -> Option<Duration> {
    let secs = err.status().details.as_ref()?.retry_after_seconds?;
    if !err.is(Reason::TooManyRequests) {
        return None;
    }
    let wait = Duration::from_secs(u64::try_from(secs).ok()?).min(RETRY_AFTER_MAX);
    Some(wait.mul_f64(1.0 + RETRY_AFTER_SPREAD * rand::random::<f64>()))
}

/// Either the server answered that it will not, or nobody knows.
pub(super) enum Failure {
    Told(ApiError),
    Broken(ApiError),
}

impl From<tonic::Status> for Failure {
    fn from(status: tonic::Status) -> Self {
        match serde_json::from_slice::<Status>(corten_proto::status::of_grpc(&status)) {
            Ok(told) => Self::Told(ApiError::from_status(told)),
            Err(_) => {
                Self::Broken(ApiError::unavailable(format!("the apiserver did not answer: {}", status.message())))
            }
        }
    }
}

/// One message, from the asking to its last byte.
pub(super) async fn whole<T>(answer: impl Future<Output = Result<T, tonic::Status>>) -> Result<T, tonic::Status> {
    within(CALL_TIMEOUT + SILENCE_MAX, answer).await
}

/// What comes within the time; that it did not counts as a broken connection.
pub(crate) async fn within<T>(
    longest: Duration,
    answer: impl Future<Output = Result<T, tonic::Status>>,
) -> Result<T, tonic::Status> {
    match tokio::time::timeout(longest, answer).await {
        Ok(answer) => answer,
        Err(_) => Err(tonic::Status::deadline_exceeded(format!("it was silent for {} s", longest.as_secs()))),
    }
}

pub(super) fn timed<T>(message: T) -> tonic::Request<T> {
    let mut request = tonic::Request::new(message);
    request.set_timeout(CALL_TIMEOUT);
    request
}

//! The node's Lease: the sign of life that the node lifecycle controller waits for.

use std::time::Duration;

use corten_api::node::LEASE_NAMESPACE;
use corten_api::{ApiError, Key, Reason};
use corten_client::{CancellationToken, Client};
use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use tracing::warn;

const DURATION_SECS: i32 = 40;
const RENEW_EVERY: Duration = Duration::from_secs(10);
const RETRY: Duration = Duration::from_millis(500);
/// After a refusal for the apiserver's load: all nodes may be refused then. Many tries still fit into the lease.
const BUSY_RETRY: Duration = Duration::from_secs(2);
/// Failures in a row that are nothing to speak of: an apiserver may be changing.
const QUIET_FAILURES: u32 = 4;

pub(super) fn start(client: Client, node: String, stop: &CancellationToken) {
    let stop = stop.clone();
    // The client's own retries could last longer than the lease, and nobody would be told.
    let client = client.without_busy_retries();
    tokio::spawn(async move { stop.run_until_cancelled_owned(renew_for_ever(client, node)).await });
}

async fn renew_for_ever(client: Client, node: String) {
    let mut held: Option<Lease> = None;
    let mut failures = 0;
    loop {
        match renew(&client, &node, held.take()).await {
            Ok(lease) => {
                held = Some(lease);
                failures = 0;
                tokio::time::sleep(RENEW_EVERY).await;
            }
            Err(err) => {
                failures += 1;
                if failures == QUIET_FAILURES {
                    warn!(%err, "the node's Lease cannot be renewed");
                }
                tokio::time::sleep(pause(&err)).await;
            }
        }
    }
}

fn pause(err: &ApiError) -> Duration {
    if err.is(Reason::TooManyRequests) { BUSY_RETRY } else { RETRY }
}

async fn renew(client: &Client, node: &str, held: Option<Lease>) -> Result<Lease, ApiError> {
    let key = Key::new(LEASE_NAMESPACE, node);
    let mut lease = match held {
        Some(lease) => lease,
        None => match client.get::<Lease>(&key).await {
            Ok(lease) => lease,
            Err(err) if err.is(Reason::NotFound) => return client.create(&fresh(node)).await,
            Err(err) => return Err(err),
        },
    };
    let spec = lease.spec.get_or_insert_default();
    spec.holder_identity = Some(node.into());
    spec.lease_duration_seconds = Some(DURATION_SECS);
    spec.renew_time = Some(MicroTime(Timestamp::now()));
    client.update(&lease).await
}

fn fresh(node: &str) -> Lease {
    Lease {
        metadata: ObjectMeta { name: Some(node.into()), namespace: Some(LEASE_NAMESPACE.into()), ..Default::default() },
        spec: Some(LeaseSpec {
            holder_identity: Some(node.into()),
            lease_duration_seconds: Some(DURATION_SECS),
            renew_time: Some(MicroTime(Timestamp::now())),
            ..Default::default()
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_busy_apiserver_is_asked_less_often_than_one_that_does_not_answer_but_in_time() {
        assert_eq!(pause(&ApiError::unavailable("no answer")), RETRY);
        let busy = pause(&ApiError::too_many_requests("busy", 10));
        assert!(busy > RETRY && busy.as_secs() * 4 < u64::from(DURATION_SECS.unsigned_abs()), "{busy:?}");
    }
}

//! Leadership through a Lease: one of several instances works, the others wait.
//!
//! Assumes clocks that run at about the same speed, not that show the same time: a lease is old when *we* have not
//! seen it change for its duration. A leader that cannot renew stops before anybody else may begin.
//! Shape: <https://kubernetes.io/docs/concepts/architecture/leases/#leader-election>.

use std::time::Duration;

use corten_api::{ApiError, Key, Object, Reason};
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use k8s_openapi::jiff::Timestamp;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::client::Client;

const LEASE_SECS: i32 = 6;
const RENEW_EVERY: Duration = Duration::from_secs(2);
/// A leader that could not renew for this long stops; shorter than the lease, so that two never lead.
const GIVE_UP_AFTER: Duration = Duration::from_secs(4);
const RETRY_EVERY: Duration = Duration::from_secs(1);

/// Competes for the lease `key` until `stop`, and runs `work` whenever it leads. `work` gets a token that is
/// cancelled when leadership ends, and must then return soon. On `stop` the lease is given up.
pub async fn lead<F: Future<Output = ()> + Send>(
    client: &Client,
    key: &Key,
    identity: &str,
    stop: &CancellationToken,
    mut work: impl FnMut(CancellationToken) -> F + Send,
) {
    let mut candidate = Candidate { client: client.clone(), key: key.clone(), identity: identity.into(), seen: None };
    while !stop.is_cancelled() {
        match candidate.try_hold().await {
            Ok(true) => {
                info!(lease = %key, identity, "leading");
                candidate.lead_once(stop, &mut work).await;
                info!(lease = %key, identity, "no longer leading");
            }
            Ok(false) => {}
            Err(err) => warn!(lease = %key, %err, "cannot compete for the lease"),
        }
        stop.run_until_cancelled(tokio::time::sleep(RETRY_EVERY)).await;
    }
}

struct Candidate {
    client: Client,
    key: Key,
    identity: String,
    /// The revision that the lease had when we last saw it change, and when that was.
    seen: Option<(i64, Instant)>,
}

impl Candidate {
    async fn lead_once<F: Future<Output = ()> + Send>(
        &mut self,
        stop: &CancellationToken,
        work: &mut (impl FnMut(CancellationToken) -> F + Send),
    ) {
        let leading = stop.child_token();
        let working = work(leading.clone());
        tokio::pin!(working);
        // Side by side: slow work must not delay a renewal, nor a slow apiserver the work.
        let finished = tokio::select! {
            () = &mut working => true,
            () = self.keep(&leading) => false,
        };
        leading.cancel();
        if !finished {
            working.await;
        }
        if stop.is_cancelled()
            && let Err(err) = self.release().await
        {
            warn!(lease = %self.key, %err, "cannot give the lease up; it will expire");
        }
    }

    /// Renews until the lease is lost, could be lost, or `leading` is cancelled.
    async fn keep(&mut self, leading: &CancellationToken) {
        let mut renewed = Instant::now();
        while leading.run_until_cancelled(tokio::time::sleep(RENEW_EVERY)).await.is_some() {
            match tokio::time::timeout_at(renewed + GIVE_UP_AFTER, self.try_hold()).await {
                Ok(Ok(true)) => renewed = Instant::now(),
                Ok(Ok(false)) => return,
                Ok(Err(err)) => warn!(lease = %self.key, %err, "cannot renew the lease"),
                Err(_) => return,
            }
            if renewed.elapsed() >= GIVE_UP_AFTER {
                return;
            }
        }
    }

    /// Takes or renews the lease; false while another holds it.
    async fn try_hold(&mut self) -> Result<bool, ApiError> {
        let lease: Lease = match self.client.get(&self.key).await {
            Ok(lease) => lease,
            Err(err) if err.is(Reason::NotFound) => return self.create().await,
            Err(err) => return Err(err),
        };
        if self.seen.is_none_or(|(revision, _)| revision != lease.revision()) {
            self.seen = Some((lease.revision(), Instant::now()));
        }
        let spec = lease.spec.clone().unwrap_or_default();
        let holder = spec.holder_identity.clone().unwrap_or_default();
        let duration =
            Duration::from_secs(u64::try_from(spec.lease_duration_seconds.unwrap_or(LEASE_SECS)).unwrap_or(0));
        let expired = self.seen.is_some_and(|(_, at)| at.elapsed() > duration);
        if holder != self.identity && !holder.is_empty() && !expired {
            return Ok(false);
        }
        let mut next = lease;
        next.spec = Some(self.held(&spec, holder != self.identity));
        match self.client.update(&next).await {
            Ok(lease) => {
                self.seen = Some((lease.revision(), Instant::now()));
                Ok(true)
            }
            Err(err) if err.is(Reason::Conflict) => Ok(false),
            Err(err) => Err(err),
        }
    }

    fn held(&self, before: &LeaseSpec, taken_over: bool) -> LeaseSpec {
        let now = Some(MicroTime(Timestamp::now()));
        LeaseSpec {
            holder_identity: Some(self.identity.clone()),
            lease_duration_seconds: Some(LEASE_SECS),
            renew_time: now.clone(),
            acquire_time: if taken_over { now } else { before.acquire_time.clone() },
            lease_transitions: Some(before.lease_transitions.unwrap_or(0) + i32::from(taken_over)),
            ..before.clone()
        }
    }

    async fn create(&mut self) -> Result<bool, ApiError> {
        let metadata = ObjectMeta {
            name: Some(self.key.name.clone()),
            namespace: Some(self.key.namespace.clone()),
            ..Default::default()
        };
        let lease = Lease { metadata, spec: Some(self.held(&LeaseSpec::default(), true)) };
        match self.client.create(&lease).await {
            Ok(lease) => {
                self.seen = Some((lease.revision(), Instant::now()));
                Ok(true)
            }
            Err(err) if err.is(Reason::AlreadyExists) => Ok(false),
            Err(err) => Err(err),
        }
    }

    async fn release(&self) -> Result<(), ApiError> {
        let mut lease: Lease = self.client.get(&self.key).await?;
        let spec = lease.spec.get_or_insert_default();
        if spec.holder_identity.as_deref() == Some(self.identity.as_str()) {
            spec.holder_identity = Some(String::new());
            spec.lease_duration_seconds = Some(1);
            self.client.update(&lease).await?;
        }
        Ok(())
    }
}

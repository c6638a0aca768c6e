//! ServiceCIDRs: the ranges that addresses of Services come from.
//!
//! The one named `kubernetes` is the range that the server was started with. Every apiserver makes it if it is not there, but
//! changes no range: one that was started with another range than the cluster has says so in its log. All of them are looked
//! after by every apiserver ([`step`]); the writes name the revision that was looked at, so that two do not write the same.
//! <https://kubernetes.io/docs/reference/networking/virtual-ips/#ip-address-objects>.

mod step;

use std::net::IpAddr;
use std::time::Duration;

use bytes::Bytes;
use corten_api::{ApiError, Object, Reason};
use futures::StreamExt;
use ipnet::IpNet;
use k8s_openapi::api::networking::v1::ServiceCIDR;
use k8s_openapi::jiff::Timestamp;
use serde_json::{Value, json};
use tokio::time::{sleep, timeout};

use self::step::{FINALIZER, READY, Said, Step};
use super::allocations::{IP_ADDRESSES, MANAGER, MANAGER_LABEL};
use super::system::target;
use super::{Authorized, Resources, WatchFrom, WatchOptions, WriteOptions};
use crate::patch;

const GROUP: &str = "networking.k8s.io";
const PLURAL: &str = "servicecidrs";
const STORE_PREFIX: &str = "servicecidrs";
const DEFAULT: &str = "kubernetes";
const CONTROLLER: &str = "service-cidr-controller";
/// What time alone changes, and addresses that are given back, are looked for so often; a change of a range is told.
const LOOK_EVERY: Duration = Duration::from_secs(10);
/// A range takes no more steps to be as it should: a finalizer, a condition.
const STEPS_MAX: usize = 4;

/// What differs between the default one and the command line; `None`: nothing. `configured`: the range of the command line.
fn difference(there: &ServiceCIDR, configured: &str) -> Option<String> {
    let cidrs = there.spec.as_ref().and_then(|spec| spec.cidrs.as_deref()).unwrap_or_default();
    let is_same = cidrs == [configured] || there.metadata.deletion_timestamp.is_some();
    let flag = "configure the flag to match it, or delete it";
    (!is_same).then(|| format!("the default ServiceCIDR {cidrs:?} does not match --service-cidr {configured}: {flag}"))
}

/// Says what is new, and once.
fn tell(difference: Option<String>, told: &mut Option<String>) {
    if *told != difference {
        if let Some(why) = &difference {
            tracing::warn!("{why}");
        }
        *told = difference;
    }
}

impl Resources {
    /// Where addresses of Services come from: first the range of the command line.
    pub(super) fn service_ranges(&self) -> Vec<IpNet> {
        let mut ranges = vec![self.inner.settings.service_cidr.trunc()];
        for range in step::ready(&self.service_cidrs()) {
            if !ranges.contains(&range) {
                ranges.push(range);
            }
        }
        ranges
    }

    /// As the cache has them.
    fn service_cidrs(&self) -> Vec<ServiceCIDR> {
        let Some(kind) = self.inner.cache.kind(STORE_PREFIX) else { return Vec::new() };
        let snapshot = kind.snapshot(self.inner.cache.revision());
        snapshot.items.iter().filter_map(|row| serde_json::from_slice(&row.0.object()).ok()).collect()
    }

    /// Before the first request.
    pub(super) async fn make_service_cidr(&self) -> Result<(), ApiError> {
        self.look_after_service_cidrs(&mut None).await
    }

    /// `told`: what was said last, so that it is said once.
    async fn look_after_service_cidrs(&self, told: &mut Option<String>) -> Result<(), ApiError> {
        let configured = self.inner.settings.service_cidr.trunc().to_string();
        let object = json!({"metadata": {"name": DEFAULT}, "spec": {"cidrs": [configured]}});
        self.make(&target(GROUP, PLURAL, "", ""), object).await?;
        for _ in 0..STEPS_MAX {
            self.inner.cache.catch_up().await?;
            let (all, held) = (self.service_cidrs(), self.held_addresses());
            let default = all.iter().find(|cidr| cidr.name() == DEFAULT);
            tell(default.and_then(|default| difference(default, &configured)), told);
            let now = Timestamp::now();
            let steps = all.iter().map(|cidr| (cidr, step::step(cidr, &all, &held, now)));
            let due: Vec<_> = steps.filter(|(_, step)| *step != Step::Rest).collect();
            if due.is_empty() {
                break;
            }
            for (cidr, step) in due {
                self.carry_out(cidr, step).await?;
            }
        }
        Ok(())
    }

    fn held_addresses(&self) -> Vec<IpAddr> {
        let Some(kind) = self.inner.cache.kind(IP_ADDRESSES) else { return Vec::new() };
        let snapshot = kind.snapshot(self.inner.cache.revision());
        let is_ours = |item: &crate::cache::Item| item.labels().any(|label| label == (MANAGER_LABEL, MANAGER));
        let items = snapshot.items.iter().map(|row| &row.0).filter(|item| is_ours(item));
        items.filter_map(|item| item.key().parse().ok()).collect()
    }

    async fn carry_out(&self, of: &ServiceCIDR, step: Step) -> Result<(), ApiError> {
        let mut finalizers: Vec<&str> = of.metadata.finalizers.iter().flatten().map(String::as_str).collect();
        finalizers.retain(|finalizer| *finalizer != FINALIZER);
        if step == Step::AddFinalizer {
            finalizers.push(FINALIZER);
        }
        let mut at = target(GROUP, PLURAL, "", of.name());
        let (kind, body, force) = match step {
            Step::Rest => return Ok(()),
            Step::AddFinalizer | Step::RemoveFinalizer => (patch::Kind::Merge, finalized(of, &finalizers), None),
            Step::Say(said) => {
                at.subresource = "status".into();
                (patch::Kind::Apply, conditioned(of, said), Some(true))
            }
        };
        let options = WriteOptions { field_manager: CONTROLLER.into(), force, ..WriteOptions::default() };
        match self.patch(&Authorized::own(at), kind, Bytes::from(body.to_string()), options).await {
            // Another server was quicker, most likely with the same; the next look tells.
            Err(err) if err.is(Reason::Conflict) || err.is(Reason::NotFound) => Ok(()),
            written => written.map(drop),
        }
    }
}

fn finalized(of: &ServiceCIDR, finalizers: &[&str]) -> Value {
    json!({"metadata": {"resourceVersion": of.metadata.resource_version, "finalizers": finalizers}})
}

fn conditioned(of: &ServiceCIDR, Said { status, reason, message }: Said) -> Value {
    let now = Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    let condition =
        json!({"type": READY, "status": status, "reason": reason, "message": message, "lastTransitionTime": now});
    json!({
        "apiVersion": format!("{GROUP}/v1"),
        "kind": "ServiceCIDR",
        "metadata": {"name": of.name(), "resourceVersion": of.metadata.resource_version},
        "status": {"conditions": [condition]},
    })
}

/// Looks after them for as long as the server lives.
pub(super) async fn run(resources: super::Weak) {
    let mut told = None;
    loop {
        let changes = {
            let Some(resources) = resources.upgrade() else { return };
            let options = WatchOptions { from: WatchFrom::Now, ..WatchOptions::default() };
            resources.watch(&Authorized::own(target(GROUP, PLURAL, "", "")), options).await
        };
        let mut changes = match changes {
            Ok(changes) => changes,
            Err(err) => {
                tracing::warn!(%err, "ServiceCIDRs cannot be watched; again soon");
                sleep(LOOK_EVERY).await;
                continue;
            }
        };
        loop {
            {
                let Some(resources) = resources.upgrade() else { return };
                if let Err(err) = resources.look_after_service_cidrs(&mut told).await {
                    tracing::warn!(%err, "ServiceCIDRs were not looked after; again soon");
                }
            }
            match timeout(LOOK_EVERY, changes.next()).await {
                Err(_) | Ok(Some(Ok(_))) => {}
                Ok(Some(Err(_)) | None) => break,
            }
        }
        sleep(LOOK_EVERY).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_that_the_command_line_does_not_have_is_told_of() {
        let of = |cidrs: Value, more: Value| -> ServiceCIDR {
            serde_json::from_value(json!({"metadata": more, "spec": {"cidrs": cidrs}})).unwrap()
        };
        let range = "10.96.0.0/16";
        assert_eq!(difference(&of(json!([range]), json!({})), range), None);
        for other in [json!(["10.97.0.0/16"]), json!([range, "2001:db8::/64"])] {
            assert!(difference(&of(other, json!({})), range).is_some_and(|why| why.contains("does not match")));
        }
        let going = json!({"deletionTimestamp": "2026-01-01T00:00:00Z"});
        assert_eq!(difference(&of(json!(["10.97.0.0/16"]), going), range), None);
    }
}

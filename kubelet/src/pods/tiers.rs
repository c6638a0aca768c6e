//! The cpu weights of the QoS tiers: best effort gets what is left, burstable as much as its pods ask for together.
//! Guaranteed pods stand beside the tiers, each with its own weight.
//!
//! <https://kubernetes.io/docs/tasks/administer-cluster/reserve-compute-resources/#enabling-qos-and-pod-level-cgroups>

use std::sync::Arc;

use corten_api::error::with_causes;
use corten_api::pod::Qos;
use k8s_openapi::api::core::v1::Pod;
use tokio::sync::watch;
use tracing::warn;

use crate::cgroup::{CgroupError, PodLimits, cpu_shares, tier_path};
use crate::place::{Place, PodCgroups};

/// The weights as v1 shares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Shares {
    burstable: u64,
    best_effort: u64,
}

/// What the tiers weigh with these pods, which are those that may still run something.
fn shares_of(pods: &[Arc<Pod>]) -> Shares {
    let specs = pods.iter().filter_map(|pod| pod.spec.as_ref()).filter(|spec| Qos::of(spec) == Qos::Burstable);
    let asked = specs.filter_map(|spec| corten_api::pod::requests(spec).get("cpu").copied());
    Shares { burstable: cpu_shares(asked.fold(0, i64::saturating_add)), best_effort: cpu_shares(0) }
}

/// Keeps the tiers' weights as they were last asked for. The writing is done elsewhere: the kernel may take its time.
pub(super) struct Tiers {
    wanted: watch::Sender<Shares>,
}

impl Tiers {
    pub(super) fn start(place: &Place) -> Self {
        let (wanted, asked) = watch::channel(shares_of(&[]));
        if let Some(cgroups) = &place.cgroups {
            tokio::spawn(write_all(Arc::clone(cgroups), place.facts.cgroup_root.clone(), asked));
        }
        Self { wanted }
    }

    /// Also what did not change is asked for again: it may not have been written.
    pub(super) fn weigh(&self, pods: &[Arc<Pod>]) {
        self.wanted.send_replace(shares_of(pods));
    }
}

/// Until nobody asks any more.
async fn write_all(cgroups: Arc<dyn PodCgroups>, root: String, mut asked: watch::Receiver<Shares>) {
    let mut written = None;
    loop {
        let shares = *asked.borrow_and_update();
        if written != Some(shares) {
            let (cgroups, root) = (Arc::clone(&cgroups), root.clone());
            let done = tokio::task::spawn_blocking(move || write(cgroups.as_ref(), &root, shares)).await;
            match done {
                Ok(Ok(())) => written = Some(shares),
                // Tried again when a pod comes or goes, and with the next comparison.
                Ok(Err(err)) => warn!(err = with_causes(&err), "cannot set the cpu weights of the QoS tiers"),
                Err(err) => warn!(%err, "setting the cpu weights of the QoS tiers was interrupted"),
            }
        }
        if asked.changed().await.is_err() {
            return;
        }
    }
}

fn write(cgroups: &dyn PodCgroups, root: &str, shares: Shares) -> Result<(), CgroupError> {
    for (qos, shares) in [(Qos::Burstable, shares.burstable), (Qos::BestEffort, shares.best_effort)] {
        let limits = PodLimits { cpu_shares: Some(shares), ..PodLimits::default() };
        cgroups.ensure(&tier_path(root, qos), &limits)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(resources: serde_json::Value) -> Arc<Pod> {
        let container = serde_json::json!({"name": "c", "image": "i", "resources": resources});
        Arc::new(serde_json::from_value(serde_json::json!({"spec": {"containers": [container]}})).unwrap())
    }

    #[test]
    fn tiers_weigh_what_their_pods_ask_for() {
        let asks = |cpu: &str| pod(serde_json::json!({"requests": {"cpu": cpu}}));
        let guaranteed = || {
            let all = serde_json::json!({"cpu": "4", "memory": "1Gi"});
            pod(serde_json::json!({"requests": all.clone(), "limits": all}))
        };
        let only_memory = || pod(serde_json::json!({"requests": {"memory": "1Gi"}}));
        let nothing = || pod(serde_json::json!({}));
        let cases = [
            ("no pods", vec![], 2),
            ("one", vec![asks("500m")], 512),
            ("two", vec![asks("500m"), asks("1500m")], 2048),
            ("burstable by its memory alone", vec![only_memory()], 2),
            ("guaranteed and best effort do not count", vec![guaranteed(), nothing(), asks("1")], 1024),
            ("more than the kernel knows", vec![asks("1000")], 262_144),
        ];
        for (why, pods, burstable) in cases {
            assert_eq!(shares_of(&pods), Shares { burstable, best_effort: 2 }, "{why}");
        }
    }
}

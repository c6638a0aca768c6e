//! What ReplicaSets and ReplicationControllers have in common, field by field, and the little that they have not.

use std::collections::BTreeMap;

use corten_api::Object;
use corten_api::conditions::{self, Condition as _};
use corten_api::k8s_openapi::api::apps::v1::{ReplicaSet, ReplicaSetCondition, ReplicaSetSpec, ReplicaSetStatus};
use corten_api::k8s_openapi::api::core::v1::{
    PodTemplateSpec, ReplicationController, ReplicationControllerCondition, ReplicationControllerSpec,
    ReplicationControllerStatus,
};
use corten_api::k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use corten_api::selector::{Selector, SelectorError};

use super::decide::Counts;
use super::{Failure, ReplicaOwner, controller_of, pods_by_node};
use crate::caches::Selects;
use crate::context::Context;
use crate::controller::{Loop, Setup};

const REPLICA_FAILURE: &str = "ReplicaFailure";

pub fn replica_sets(setup: &Setup) -> Loop {
    controller_of::<ReplicaSet>(setup, set_neighbours)
}

pub fn replication_controllers(setup: &Setup) -> Loop {
    controller_of(setup, |context, owner: &ReplicationController| {
        pods_by_node(context, owner.namespace(), &[owner.uid().to_owned()])
    })
}

impl Selects for ReplicaSet {
    fn selects_by(&self) -> Option<Selector> {
        self.selector().ok()
    }
}

impl Selects for ReplicationController {
    fn selects_by(&self) -> Option<Selector> {
        self.selector().ok()
    }
}

/// Active pods by node, of all ReplicaSets of the same Deployment: its new and old pods do not crowd one node.
fn set_neighbours(context: &Context, set: &ReplicaSet) -> BTreeMap<String, usize> {
    let related: Vec<String> = match set.controller() {
        Some(owner) => {
            let siblings = context.caches.of::<ReplicaSet>().controlled_by(set.namespace(), &owner.uid);
            siblings.iter().map(|s| s.uid().to_owned()).collect()
        }
        None => vec![set.uid().to_owned()],
    };
    pods_by_node(context, set.namespace(), &related)
}

/// Their types have the same fields and nothing that says so. `terminating`: the field that only one of them has.
macro_rules! replica_owner {
    ($kind:ident, $status:ident, $condition:ident, [$($terminating:ident)?], $spec:expr, $selector:expr) => {
        impl ReplicaOwner for $kind {
            fn wanted(&self) -> i32 {
                $spec(self).and_then(|s| s.replicas).unwrap_or(1)
            }
            fn min_ready_secs(&self) -> i32 {
                $spec(self).and_then(|s| s.min_ready_seconds).unwrap_or(0)
            }
            fn selector(&self) -> Result<Selector, SelectorError> {
                $selector(self)
            }
            fn template(&self) -> Option<&PodTemplateSpec> {
                $spec(self)?.template.as_ref()
            }
            #[allow(clippy::needless_update, reason = "one of the two has no more fields")]
            fn counts(&self) -> Counts {
                let status = self.status.clone().unwrap_or_default();
                Counts {
                    replicas: status.replicas,
                    fully_labeled: status.fully_labeled_replicas.unwrap_or(0),
                    ready: status.ready_replicas.unwrap_or(0),
                    available: status.available_replicas.unwrap_or(0),
                    observed_generation: status.observed_generation.unwrap_or(0),
                    $(terminating: status.$terminating.unwrap_or(0),)?
                    ..Counts::default()
                }
            }
            fn failure(&self) -> Option<&str> {
                let found = conditions::find(self.status.as_ref()?.conditions.as_ref(), REPLICA_FAILURE)?;
                Some(found.message.as_deref().unwrap_or_default())
            }
            fn set_status(&mut self, counts: Counts, failure: Option<&Failure>, now: &Time) {
                let mut list = self.status.take().and_then(|s| s.conditions).unwrap_or_default();
                match failure {
                    Some(failure) => {
                        let new = $condition {
                            type_: REPLICA_FAILURE.to_owned().into(),
                            status: "True".to_owned().into(),
                            reason: Some(failure.reason.into()),
                            message: Some(failure.message.clone()),
                            ..$condition::default()
                        };
                        conditions::set(&mut list, new, now);
                    }
                    None => list.retain(|c| c.kind() != REPLICA_FAILURE),
                }
                self.status = Some($status {
                    replicas: counts.replicas,
                    fully_labeled_replicas: Some(counts.fully_labeled),
                    ready_replicas: Some(counts.ready),
                    available_replicas: Some(counts.available),
                    observed_generation: Some(counts.observed_generation),
                    $($terminating: Some(counts.terminating),)?
                    conditions: (!list.is_empty()).then_some(list),
                });
            }
        }
    };
}

fn spec_of_replica_set(set: &ReplicaSet) -> Option<&ReplicaSetSpec> {
    Some(&set.spec)
}
fn spec_of_replication_controller(owner: &ReplicationController) -> Option<&ReplicationControllerSpec> {
    owner.spec.as_ref()
}

replica_owner!(
    ReplicaSet,
    ReplicaSetStatus,
    ReplicaSetCondition,
    [terminating_replicas],
    spec_of_replica_set,
    |set: &ReplicaSet| Selector::from_label_selector(Some(&set.spec.selector))
);
replica_owner!(
    ReplicationController,
    ReplicationControllerStatus,
    ReplicationControllerCondition,
    [],
    spec_of_replication_controller,
    |owner: &ReplicationController| Ok(Selector::from_labels(owner.spec.as_ref().and_then(|s| s.selector.as_ref())))
);

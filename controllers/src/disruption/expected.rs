//! How many pods a PodDisruptionBudget is a share of, and how many of them must be healthy.

use std::collections::BTreeMap;
use std::sync::Arc;

use corten_api::ApiError;
use corten_api::k8s_openapi::api::policy::v1::PodDisruptionBudget;
use corten_api::k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use corten_api::rollout::{Round, scaled};
use corten_api::selector::SelectorError;

use crate::pods::SeenPod;

/// What has the replicas that a pod's controller stands for: a Deployment for the pods of its ReplicaSets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scaled {
    pub uid: String,
    pub replicas: i32,
}

/// What was found out of a pod's controller. `None`: it is not there.
pub type Counted = Result<Option<Scaled>, CountError>;

#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum CountError {
    #[error("{0}")]
    Selector(SelectorError),
    #[error("found no controllers for pod {0:?}")]
    NoController(String),
    #[error("no matches for kind {kind:?} in version {version:?}")]
    NoSuchKind { kind: String, version: String },
    #[error("{0} does not implement the scale subresource")]
    NoScale(String),
    /// May be answered when it is asked again.
    #[error("{0}")]
    Unanswered(ApiError),
    #[error("invalid value for IntOrString: invalid type: string is not a percentage")]
    NoPercentage,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Expected {
    pub pods: i32,
    pub desired_healthy: i32,
    /// The pods that have no controller, where the replicas of controllers are what counts.
    pub unmanaged: Vec<String>,
}

/// Whether the replicas of controllers count, or else the pods that are there.
pub fn counts_scales(budget: &PodDisruptionBudget) -> bool {
    let Some(spec) = &budget.spec else { return false };
    spec.max_unavailable.is_some() || matches!(spec.min_available, Some(IntOrString::String(_)))
}

pub fn expected(
    budget: &PodDisruptionBudget,
    pods: &[Arc<SeenPod>],
    controllers: &BTreeMap<String, Counted>,
) -> Result<Expected, CountError> {
    let Some(spec) = &budget.spec else { return Ok(Expected::default()) };
    let of = |value: &IntOrString, total| scaled(value, total, Round::Up).ok_or(CountError::NoPercentage);
    match (&spec.max_unavailable, &spec.min_available) {
        (Some(max_unavailable), _) => {
            let (pods, unmanaged) = scale(pods, controllers)?;
            let desired_healthy = pods.saturating_sub(of(max_unavailable, pods)?).max(0);
            Ok(Expected { pods, desired_healthy, unmanaged })
        }
        (None, Some(IntOrString::Int(min))) => {
            Ok(Expected { pods: count(pods.iter()), desired_healthy: *min, unmanaged: Vec::new() })
        }
        (None, Some(percent)) => {
            let (pods, unmanaged) = scale(pods, controllers)?;
            Ok(Expected { pods, desired_healthy: of(percent, pods)?, unmanaged })
        }
        (None, None) => Ok(Expected::default()),
    }
}

/// The replicas of all that control these pods, each counted once, and the pods that nothing controls.
fn scale(pods: &[Arc<SeenPod>], controllers: &BTreeMap<String, Counted>) -> Result<(i32, Vec<String>), CountError> {
    let (mut scales, mut unmanaged) = (BTreeMap::new(), Vec::new());
    for pod in pods {
        let Some(owner) = pod.controller() else {
            unmanaged.push(pod.key.name.clone());
            continue;
        };
        match controllers.get(&owner.uid) {
            Some(Ok(Some(scaled))) => drop(scales.insert(&scaled.uid, scaled.replicas)),
            Some(Ok(None)) | None => return Err(CountError::NoController(pod.key.name.clone())),
            Some(Err(err)) => return Err(err.clone()),
        }
    }
    Ok((scales.into_values().fold(0, i32::saturating_add), unmanaged))
}

/// As many as a status can say.
pub fn count(pods: impl Iterator) -> i32 {
    i32::try_from(pods.count()).unwrap_or(i32::MAX)
}

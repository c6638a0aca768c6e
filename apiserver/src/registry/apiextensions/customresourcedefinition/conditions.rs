//! What a definition's status says of it.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, CustomResourceDefinitionCondition, CustomResourceDefinitionStatus,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

pub const NAMES_ACCEPTED: &str = "NamesAccepted";
pub const ESTABLISHED: &str = "Established";
pub const TERMINATING: &str = "Terminating";
/// Its schemas, or what else it says, cannot be served: true while that is so, and not there otherwise.
pub const NON_STRUCTURAL: &str = "NonStructuralSchema";
/// Of kinds in a group of the Kubernetes community.
pub const APPROVED: &str = "KubernetesAPIApprovalPolicyConformant";

/// One that is to be there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Condition {
    pub kind: &'static str,
    pub status: bool,
    pub reason: &'static str,
    pub message: String,
}

pub fn find<'s>(of: &'s CustomResourceDefinitionStatus, kind: &str) -> Option<&'s CustomResourceDefinitionCondition> {
    of.conditions.as_ref()?.iter().find(|condition| condition.type_ == kind)
}

pub fn holds(of: &CustomResourceDefinitionStatus, kind: &str) -> bool {
    find(of, kind).is_some_and(|condition| condition.status == "True")
}

/// Whether a condition of a definition is true.
pub fn is_true(of: &CustomResourceDefinition, kind: &str) -> bool {
    of.status.as_ref().is_some_and(|status| holds(status, kind))
}

/// Whether it is there already, whenever it came.
pub fn has(of: &CustomResourceDefinitionStatus, wanted: &Condition) -> bool {
    find(of, wanted.kind).is_some_and(|there| {
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        (there.status == "True") == wanted.status
            && text(&there.reason) == wanted.reason
            && text(&there.message) == wanted.message
    })
}

/// Takes it away, if it is there.
pub fn remove(of: &mut CustomResourceDefinitionStatus, kind: &str) {
    if let Some(all) = &mut of.conditions {
        all.retain(|condition| condition.type_ != kind);
    }
}

/// Puts it there, unless it is. Its time is that of the last change from true to false or back; `generation`: of the definition that
/// it was decided on.
pub fn set(of: &mut CustomResourceDefinitionStatus, condition: &Condition, generation: Option<i64>, now: &Time) {
    if has(of, condition) {
        return;
    }
    let all = of.conditions.get_or_insert_default();
    let status = if condition.status { "True" } else { "False" };
    let before = all.iter().position(|there| there.type_ == condition.kind);
    let since = before.map(|at| &all[at]).filter(|there| there.status == status);
    let new = CustomResourceDefinitionCondition {
        type_: condition.kind.into(),
        status: status.into(),
        reason: Some(condition.reason.into()),
        message: Some(condition.message.clone()),
        last_transition_time: since.and_then(|there| there.last_transition_time.clone()).or_else(|| Some(now.clone())),
        observed_generation: generation,
    };
    match before {
        Some(at) => all[at] = new,
        None => all.push(new),
    }
}

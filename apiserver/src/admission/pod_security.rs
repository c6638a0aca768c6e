//! Pod security: what a namespace's labels say that pods in it may be.
//!
//! Pods that may not be are refused; what would be refused by the level to warn of, in a pod or in a workload's template, is
//! told to the writer. No user, namespace or runtime class is exempt. Checks and words:
//! <https://kubernetes.io/docs/concepts/security/pod-security-standards/>.

mod checks;
mod evaluate;
mod pods;
mod policy;
mod subject;
mod words;

use std::collections::BTreeMap;

use corten_api::{ApiError, Problems};
use k8s_openapi::api::core::v1::{Namespace, Pod};
use serde::Deserialize;

use super::{AdmissionRequest, Refusal};
use crate::request::Verb;
use evaluate::{Violation, evaluate};
use policy::{Level, Policy};
use subject::Subject;

/// What is written through these is no pod that could run otherwise than before.
const IGNORED_SUBRESOURCES: &[&str] =
    &["attach", "binding", "eviction", "exec", "log", "portforward", "proxy", "status"];

/// All that is wanted of a pod's namespace: every create of a pod looks at it.
#[derive(Deserialize)]
struct Around {
    metadata: Labels,
}
#[derive(Deserialize)]
struct Labels {
    labels: Option<BTreeMap<String, String>>,
}

pub(super) fn admit(request: &mut AdmissionRequest<'_>) -> Result<(), Refusal> {
    let warnings = if request.verb == Verb::Delete {
        Vec::new()
    } else if request.is("", "namespaces") {
        on_namespace(request)?
    } else if request.is("", "pods") {
        on_pod(request)?
    } else {
        on_template(request)
    };
    request.warnings.extend(warnings);
    Ok(())
}

/// New labels must be good ones, and what they would refuse that is already there is told.
fn on_namespace(request: &AdmissionRequest<'_>) -> Result<Vec<String>, Refusal> {
    let Some(new) = request.object::<Namespace>().filter(|_| request.is_plain()) else { return Ok(Vec::new()) };
    let mut problems = Problems::default();
    let policy = Policy::of(new.metadata.labels.as_ref(), &mut problems);
    let mut old_problems = Problems::default();
    let old = request.old::<Namespace>();
    let old = old.map(|old| Policy::of(old.metadata.labels.as_ref(), &mut old_problems).enforce);
    if !problems.is_empty() && problems != old_problems {
        return Err(Refusal::Final(ApiError::invalid("", "Namespace", request.name(), problems)));
    }
    let (Some(old), new) = (old, policy.enforce) else { return Ok(Vec::new()) };
    let relaxed = new.version == old.version && new.level <= old.level;
    if new.level == Level::Privileged || relaxed {
        return Ok(Vec::new());
    }
    Ok(pods::warnings(request.name(), new, &request.view.list("", "pods", request.name())))
}

fn on_pod(request: &AdmissionRequest<'_>) -> Result<Vec<String>, Refusal> {
    let Some(pod) = request.object::<Pod>() else { return Ok(Vec::new()) };
    let ignored = IGNORED_SUBRESOURCES.contains(&request.target.subresource.as_str());
    if ignored || request.old::<Pod>().is_some_and(|old| !pods::is_significant(pod, old)) {
        return Ok(Vec::new());
    }
    let Some(policy) = policy_here(request) else {
        let why = format!("failed to lookup namespace {:?}", request.target.namespace);
        return Err(Refusal::Final(ApiError::internal(why)));
    };
    let Some(subject) = Subject::of_pod(pod) else { return Ok(Vec::new()) };
    let violations = evaluate(policy.enforce, &subject);
    if !violations.is_empty() {
        let (standard, text) = (policy.enforce.to_string(), Violation::list(&violations));
        return Err(request.forbidden(format!("violates PodSecurity {standard:?}: {text}")));
    }
    Ok(warnings(policy, &subject))
}

/// A workload may be what its pods may not: its writer is only told.
fn on_template(request: &AdmissionRequest<'_>) -> Vec<String> {
    let template = request.object.as_ref().filter(|_| request.is_plain()).and_then(|o| Subject::of_template(&**o));
    let Some(subject) = template else { return Vec::new() };
    policy_here(request).map(|policy| warnings(policy, &subject)).unwrap_or_default()
}

fn policy_here(request: &AdmissionRequest<'_>) -> Option<Policy> {
    let namespace = request.find::<Around>("", "namespaces", "", &request.target.namespace)?;
    // What is wrong with the labels was told to whom wrote them.
    Some(Policy::of(namespace.metadata.labels.as_ref(), &mut Problems::default()))
}

fn warnings(policy: Policy, subject: &Subject<'_>) -> Vec<String> {
    let violations = evaluate(policy.warn, subject);
    if violations.is_empty() {
        return Vec::new();
    }
    let (standard, text) = (policy.warn.to_string(), Violation::list(&violations));
    vec![format!("would violate PodSecurity {standard:?}: {text}")]
}

#[cfg(test)]
mod tests;

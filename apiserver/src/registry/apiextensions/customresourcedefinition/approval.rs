//! Whether a kind in a group of the Kubernetes community was approved there, as its author says.

use corten_api::Problems;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;

use super::conditions::{self, Condition};
use crate::registry::path::Path;

/// Where it was approved, or that it was not.
const ANNOTATION: &str = "api-approved.kubernetes.io";
const PROTECTED: [&str; 2] = ["k8s.io", "kubernetes.io"];
const SEE: &str = "see https://github.com/kubernetes/enhancements/pull/1111";

/// What is said of an approval.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Said<'d> {
    Nothing,
    Unapproved(&'d str),
    Approved(&'d str),
    Other(&'d str),
}

/// `None`: the group is nobody's.
fn said(of: &CustomResourceDefinition) -> Option<Said<'_>> {
    let is_protected = |root: &&str| {
        of.spec.group.strip_suffix(*root).is_some_and(|before| before.is_empty() || before.ends_with('.'))
    };
    PROTECTED.iter().find(|root| is_protected(root))?;
    let text = of.metadata.annotations.as_ref().and_then(|all| all.get(ANNOTATION)).map_or("", String::as_str);
    let is_url = text
        .split_once("://")
        .is_some_and(|(scheme, rest)| !scheme.is_empty() && !rest.is_empty() && !rest.starts_with('/'));
    Some(match text {
        "" => Said::Nothing,
        text if text.starts_with("unapproved") => Said::Unapproved(text),
        text if is_url => Said::Approved(text),
        text => Said::Other(text),
    })
}

fn missing() -> String {
    format!("protected groups must have approval annotation {ANNOTATION:?}, {SEE}")
}
fn neither() -> String {
    format!(
        "protected groups must have approval annotation {ANNOTATION:?} with either a URL or a reason starting with \"unapproved\", {SEE}"
    )
}

pub(super) fn check(of: &CustomResourceDefinition, problems: &mut Problems) {
    let at = Path::root("metadata");
    let at = at.field("annotations");
    let at = at.key(ANNOTATION);
    match said(of) {
        None | Some(Said::Unapproved(_) | Said::Approved(_)) => {}
        Some(Said::Nothing) => problems.required(at, &missing()),
        Some(Said::Other(text)) => problems.invalid(at, text, &neither()),
    }
}

/// What the status says of it; `None`: nothing is to be approved.
pub fn condition(of: &CustomResourceDefinition) -> Option<Condition> {
    let (status, reason, message) = match said(of)? {
        Said::Nothing => (false, "MissingAnnotation", missing()),
        Said::Unapproved(why) => (false, "UnapprovedAnnotation", format!("not approved: {why:?}")),
        Said::Approved(by) => (true, "ApprovedAnnotation", format!("approved in {by}")),
        Said::Other(_) => (false, "InvalidAnnotation", neither()),
    };
    Some(Condition { kind: conditions::APPROVED, status, reason, message })
}

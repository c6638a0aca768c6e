//! Nothing is made in a namespace that is not there or is going away; some namespaces never go.

use std::time::Duration;

use corten_api::ApiError;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::StatusCause;
use serde::Deserialize;

use super::{AdmissionRequest, Refusal};
use crate::request::Verb;

/// Namespaces that the cluster needs.
const IMMORTAL: &[&str] = &["default", "kube-public", "kube-system"];
/// How long a namespace may be known to another server and not yet to this one.
const PATIENCE: Duration = Duration::from_millis(50);

/// All that is wanted of a namespace: every create looks at one.
#[derive(Deserialize)]
struct Namespace {
    status: Option<Status>,
}
#[derive(Deserialize)]
struct Status {
    phase: Option<String>,
}

pub(super) fn admit(request: &mut AdmissionRequest<'_>) -> Result<(), Refusal> {
    if request.is("", "namespaces") {
        if request.verb == Verb::Delete && IMMORTAL.contains(&request.name()) {
            return Err(request.forbidden("this namespace may not be deleted"));
        }
        return Ok(());
    }
    let name = request.target.namespace.as_str();
    if name.is_empty() || request.verb != Verb::Create {
        return Ok(());
    }
    let Some(namespace) = request.find::<Namespace>("", "namespaces", "", name) else {
        let error = ApiError::not_found("", "namespaces", name);
        return Err(Refusal::NotYet { error, patience: PATIENCE });
    };
    if namespace.status.as_ref().and_then(|s| s.phase.as_deref()) == Some("Terminating") {
        return Err(Refusal::Final(terminating(request, name)));
    }
    Ok(())
}

fn terminating(request: &AdmissionRequest<'_>, namespace: &str) -> ApiError {
    let why = format!("unable to create new content in namespace {namespace} because it is being terminated");
    let mut error = ApiError::forbidden(&request.target.group, &request.target.resource, request.name(), why);
    error.details().causes = Some(vec![StatusCause {
        reason: Some("NamespaceTerminating".into()),
        message: Some(format!("namespace {namespace} is being terminated")),
        field: Some("metadata.namespace".into()),
    }]);
    error
}

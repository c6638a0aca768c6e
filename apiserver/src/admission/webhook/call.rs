//! One webhook, asked once, and what becomes of the request then.

use std::time::{Duration, Instant};

use corten_api::ApiError;
use serde_json::json;
use serde_json::value::RawValue;

use super::index::Hook;
use super::metrics::{ADMIT, Called, Metrics, Rejection, VALIDATING};
use super::response::{self, Answer, ResponseError};
use super::review;
use crate::admission::asking::Asking;
use crate::aside::{LARGE_BODY_BYTES, aside};
use crate::bounded_text::bounded;
use crate::registry::ApiResource;
use crate::told::{self, Shows};
use crate::webhook::{Failure, Share};

/// Of one answer, as many and as much of each as a client is shown.
const WARNINGS_MAX: usize = 50;
const WARNING_BYTES_MAX: usize = 256;

/// Why a call has not led to a yes.
#[derive(Debug)]
pub(super) enum CallError {
    /// It could not be asked, or has not answered: what happens then its failurePolicy says.
    Failed(Failure),
    Denied(ApiError),
    /// Nothing of the webhook's.
    Ours(ApiError),
}

impl CallError {
    fn failed(why: impl Into<String>, code: u16) -> Self {
        Self::Failed(Failure { why: why.into(), code })
    }
}

/// A webhook, and what it is asked about.
#[derive(Clone, Copy)]
pub(super) struct Call<'a> {
    pub(super) hook: &'a Hook,
    pub(super) asking: &'a Asking<'a>,
    /// In whose version.
    pub(super) resource: &'a ApiResource,
    pub(super) is_mutating: bool,
    /// In which round it is asked, and its place among those that stand to be.
    pub(super) at: (usize, usize),
}

impl Call<'_> {
    /// Its yes. `objects`: as it is to be, as it was.
    pub(super) async fn ask(
        &self,
        objects: (Option<&RawValue>, Option<&RawValue>),
        warnings: &mut Vec<String>,
    ) -> Result<Answer, CallError> {
        let Self { hook, asking, resource, is_mutating, .. } = *self;
        if asking.dry_run && !hook.takes_dry_runs {
            let why = format!("admission webhook {:?} does not support dry run", hook.name);
            return Err(CallError::Ours(ApiError::bad_request(why)));
        }
        let Some(version) = hook.review else {
            let why = "webhook does not accept known AdmissionReview versions (v1, v1beta1)";
            return Err(CallError::failed(format!("could not create admission objects: {why}"), 400));
        };
        let uid = uuid::Uuid::new_v4().to_string();
        let body = || review::text(version, &uid, asking, resource, objects).map(Into::into);
        let client = hook.client.as_ref();
        let client = client.map_err(|why| CallError::failed(format!("could not get REST client: {why}"), 500))?;
        let answer = client
            .post(asking.resolve, body, (Share::All, hook.timeout))
            .await
            .map_err(|failure| CallError::failed(format!("failed to call webhook: {}", failure.why), failure.code))?;
        if answer.is_empty() {
            let why = "failed to call webhook: 0-length response with status code: 200";
            return Err(CallError::failed(why, 503));
        }
        let read = async { response::read(&answer, version, &uid, is_mutating) };
        let answer = aside(&asking.user.name, answer.len() > LARGE_BODY_BYTES, read).await;
        let mut answer = answer.map_err(|err: ResponseError| CallError::failed(err.to_string(), 503))?;
        warnings.extend(answer.warnings.iter().take(WARNINGS_MAX).map(|text| bounded(text, WARNING_BYTES_MAX)));
        for (key, value) in std::mem::take(&mut answer.audit_annotations) {
            told::annotate(&format!("{}/{key}", hook.name), || value, Shows::Metadata);
        }
        if answer.is_allowed { Ok(answer) } else { Err(CallError::Denied(response::denial(&hook.name, answer.status))) }
    }

    /// Upstream's, for an annotation of the audit event.
    fn key(&self, of: &str) -> String {
        let (round, index) = self.at;
        format!("{of}.webhook.admission.k8s.io/round_{round}_index_{index}")
    }
    /// Tells whether it has changed the object.
    pub(super) fn note_mutation(&self, mutated: bool) {
        let Hook { configuration, name, .. } = self.hook;
        let (configuration, name) = (json!(&**configuration), json!(&**name));
        let told = || format!(r#"{{"configuration":{configuration},"webhook":{name},"mutated":{mutated}}}"#);
        told::annotate(&self.key("mutation"), told, Shows::Metadata);
    }
    /// Tells by what.
    pub(super) fn note_patch(&self, patch: &[u8]) {
        let Hook { configuration, name, .. } = self.hook;
        let told = || {
            let (configuration, name) = (json!(&**configuration), json!(&**name));
            let patch = String::from_utf8_lossy(patch);
            format!(r#"{{"configuration":{configuration},"webhook":{name},"patch":{patch},"patchType":"JSONPatch"}}"#)
        };
        told::annotate(&self.key("patch"), told, Shows::Body);
    }

    /// What the request comes to after a call that was begun then. `None`: it goes on as if nobody had been asked.
    pub(super) fn conclude<T>(
        &self,
        metrics: &Metrics,
        begun: Instant,
        outcome: Result<T, CallError>,
    ) -> Result<Option<T>, ApiError> {
        let Self { hook, asking, is_mutating, .. } = *self;
        let kind = if is_mutating { ADMIT } else { VALIDATING };
        let took: Duration = begun.elapsed();
        let (code, rejection) = match &outcome {
            Ok(_) => (200, None),
            Err(CallError::Failed(failure)) => (failure.code, (!hook.fails_open).then_some(Rejection::CallingWebhook)),
            Err(CallError::Denied(err)) => (err.code(), Some(Rejection::Said)),
            Err(CallError::Ours(_)) => (0, Some(Rejection::Internal)),
        };
        metrics.called(Called { name: &hook.name, kind, operation: asking.operation, took, code, rejection });
        match outcome {
            Ok(done) => Ok(Some(done)),
            Err(CallError::Denied(err) | CallError::Ours(err)) => Err(err),
            Err(CallError::Failed(failure)) => {
                let why = format!("failed calling webhook {:?}: {}", hook.name, failure.why);
                if hook.fails_open {
                    metrics.failed_open(&hook.name, kind);
                    let of = if is_mutating { "mutation" } else { "validating" };
                    let key = self.key(&format!("failed-open.{of}"));
                    told::annotate(&key, || hook.name.to_string(), Shows::Metadata);
                    tracing::warn!(configuration = &*hook.configuration, "{why}; the request goes on without it");
                    return Ok(None);
                }
                tracing::warn!(configuration = &*hook.configuration, "{why}; the request is refused");
                Err(ApiError::internal(why))
            }
        }
    }
}

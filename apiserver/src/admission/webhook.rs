//! Admission webhooks: who is asked over the network about writes and connections.
//!
//! - [`index`]: the configurations as they are matched, made once for each change of one
//! - `conditions`: what else is asked of a write that its rules name before a webhook is
//! - `review`, `response`: what is asked, and what of an answer counts; pure
//! - `mutating`, `validating`: who is asked when, over `call`: one webhook, asked once, over connections of [`crate::webhook`]
//!
//! A webhook that hangs holds its own requests, no longer than it may take: at most [`CALLS_MAX`] of them are under way for each. What
//! it is asked about is not written meanwhile, and no lock is held for it; but each request keeps its seats of flow control, as
//! upstream's do, so that others of the same level may have to wait.
//!
//! <https://kubernetes.io/docs/reference/access-authn-authz/extensible-admission-controllers/>

mod call;
mod conditions;
pub mod index;
mod metrics;
mod mutating;
mod response;
mod review;
#[cfg(test)]
pub(in crate::admission) mod testing;
mod validating;

use std::fmt;
use std::sync::Arc;

use corten_api::ApiError;
use k8s_openapi::api::admissionregistration::v1::{MutatingWebhookConfiguration, ValidatingWebhookConfiguration};

use self::index::Index;
use self::metrics::Metrics;
use super::asking::Asking;
use super::compiled::{Compiled, Look};
use super::rounds::Rounds;
use crate::registry::AnyObject;
use crate::webhook::{Bounds, ReviewVersion};

/// Calls of one webhook under way.
const CALLS_MAX: usize = 512;
/// Of one answer.
const ANSWER_BYTES_MAX: usize = 3 << 20;
const BOUNDS: Bounds = Bounds { calls: CALLS_MAX, bulk_calls: CALLS_MAX, answer_bytes: ANSWER_BYTES_MAX };

/// What the reviews are called that a webhook is sent.
fn api_version(version: ReviewVersion) -> &'static str {
    match version {
        ReviewVersion::V1 => "admission.k8s.io/v1",
        ReviewVersion::V1Beta1 => "admission.k8s.io/v1beta1",
    }
}

/// What tells one state of the configurations from another: how many there are of each kind, and the revision of the last written.
pub type State = [(usize, i64); 2];

/// The configurations, as they were read.
pub type Configurations = (Vec<MutatingWebhookConfiguration>, Vec<ValidatingWebhookConfiguration>);

/// The webhooks of a cluster. Cheap to ask where there are none.
#[derive(Default)]
pub struct Webhooks {
    compiled: Compiled<State, Index>,
    metrics: Metrics,
}

impl fmt::Debug for Webhooks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Webhooks").field(&self.compiled).finish()
    }
}

impl Webhooks {
    pub fn register(&self, registry: &mut prometheus_client::registry::Registry) {
        self.metrics.register(registry);
    }

    /// Those of the configurations as `look` finds them. They are read only if they are in another state than before, by one for all
    /// who want to know, and where it stalls nobody.
    pub async fn index<L>(&self, look: impl Fn() -> Option<L>) -> Option<Arc<Index>>
    where
        L: Look<State = State, Read = Configurations>,
    {
        let compile =
            |(mutating, validating): &Configurations, before: &Index| Index::compile(mutating, validating, before);
        self.compiled.of(look, compile).await
    }

    /// Asks those that change objects, one after the other. Whether one has.
    pub async fn mutate(
        &self,
        index: &Index,
        asking: &Asking<'_>,
        object: Option<&mut Box<dyn AnyObject>>,
        rounds: &mut Rounds,
        warnings: &mut Vec<String>,
    ) -> Result<bool, ApiError> {
        Box::pin(mutating::ask(&self.metrics, index, asking, object, rounds, warnings)).await
    }

    /// Asks those that judge, all at once.
    pub async fn validate(
        &self,
        index: &Index,
        asking: &Asking<'_>,
        object: Option<&dyn AnyObject>,
        warnings: &mut Vec<String>,
    ) -> Result<(), ApiError> {
        Box::pin(validating::ask(&self.metrics, index, asking, object, warnings)).await
    }
}

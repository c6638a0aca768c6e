//! PodCertificateRequest: a kubelet asks for a certificate for one of its pods; the signer answers in the status, once.

mod issued;
mod validate;

use corten_api::Problems;
use k8s_openapi::api::certificates::v1::PodCertificateRequest;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

use crate::registry::path::Path;
use crate::registry::{Cell, Column, Kind, SelectableField, cells, check, clock};

pub use validate::{expiration_secs, user_annotations};

pub const ISSUED: &str = "Issued";
pub const DENIED: &str = "Denied";
pub const FAILED: &str = "Failed";
/// A day.
const EXPIRATION_SECS: i32 = 86_400;

const COLUMNS: &[Column] = &[
    cells::NAME,
    cells::text("PodName", "The pod that gets the certificate"),
    cells::text("ServiceAccountName", "As whom it acts"),
    cells::text("NodeName", "Where it runs"),
    cells::text("SignerName", "Who is to sign"),
    cells::text("State", "Is the request Pending, Issued, Denied, or Failed?"),
];

impl Kind for PodCertificateRequest {
    const SINGULAR: &'static str = "podcertificaterequest";
    const STORE_PREFIX: &'static str = "podcertificaterequests";
    const SUBRESOURCES: &'static [&'static str] = &["status"];
    const FIELDS: &'static [SelectableField] = &[
        SelectableField::new("spec.signerName", "spec.signerName", ""),
        SelectableField::new("spec.podName", "spec.podName", ""),
        SelectableField::new("spec.nodeName", "spec.nodeName", ""),
    ];
    const UNCONDITIONAL_UPDATE: bool = false;
    const STATUS_KEEPS_METADATA: bool = true;

    strategy!(spec, status);
    fn fill_defaults(&mut self) {
        self.spec.max_expiration_seconds.get_or_insert(EXPIRATION_SECS);
    }
    fn validate(&self, problems: &mut Problems) {
        validate::spec(&self.spec, problems);
    }
    fn validate_update(&self, old: &Self, problems: &mut Problems) {
        check::immutable(problems, &Path::root("spec"), &self.spec, &old.spec);
    }
    fn validate_status(&self, old: &Self, problems: &mut Problems) {
        validate::status(self, old, clock::now().0, problems);
    }
    fn columns() -> &'static [Column] {
        COLUMNS
    }
    fn row(&self, _now_secs: i64) -> Vec<Cell> {
        let spec = &self.spec;
        let mut row = vec![cells::name(&self.metadata)];
        let texts = [&spec.pod_name, &spec.service_account_name, &spec.node_name, &spec.signer_name];
        row.extend(texts.map(|text| Cell::text(text.clone())));
        row.push(Cell::text(ending(conditions(self)).unwrap_or("Pending")));
        row
    }
}

fn conditions(request: &PodCertificateRequest) -> &[Condition] {
    request.status.as_ref().and_then(|status| status.conditions.as_deref()).unwrap_or_default()
}

/// How a request has ended; `None`: not yet.
fn ending(conditions: &[Condition]) -> Option<&'static str> {
    let is = |condition: &Condition, kind: &str| condition.type_ == kind && condition.status == "True";
    [ISSUED, DENIED, FAILED].into_iter().find(|kind| conditions.iter().any(|condition| is(condition, kind)))
}

#[cfg(test)]
mod tests;

//! CertificateSigningRequest: somebody asks a signer for a certificate; somebody else approves.
//!
//! Who asks is written by the server. A plain write changes metadata alone; `approval` is for the conditions, `status` for the
//! certificate and for conditions other than Approved and Denied.

mod validate;

use std::collections::HashMap;

use corten_api::Problems;
use k8s_openapi::api::certificates::v1::{CertificateSigningRequest, CertificateSigningRequestCondition};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use crate::registry::{Cell, Column, Kind, NameRule, SelectableField, WriteContext, cells, check};

pub const APPROVED: &str = "Approved";
pub const DENIED: &str = "Denied";
pub const FAILED: &str = "Failed";

const COLUMNS: &[Column] = &[
    cells::NAME,
    cells::AGE,
    cells::text("SignerName", "Who is to sign"),
    cells::text("Requestor", "Who asks"),
    cells::text("RequestedDuration", "How long the certificate is to be valid"),
    cells::text("Condition", "What has become of the request"),
];

impl Kind for CertificateSigningRequest {
    const SINGULAR: &'static str = "certificatesigningrequest";
    const SHORT_NAMES: &'static [&'static str] = &["csr"];
    const STORE_PREFIX: &'static str = "certificatesigningrequests";
    const SUBRESOURCES: &'static [&'static str] = &["approval", "status"];
    const FIELDS: &'static [SelectableField] = &[SelectableField::new("spec.signerName", "spec.signerName", "")];
    const NAME_RULE: NameRule = NameRule::PathSegment;

    strategy!(spec, status);
    fn prepare_create(&mut self, context: &WriteContext<'_>) {
        let user = context.user;
        let full = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        self.spec.username = full(&user.name);
        self.spec.uid = full(&user.uid);
        self.spec.groups = (!user.groups.is_empty()).then(|| user.groups.clone());
        self.spec.extra = (!user.extra.is_empty()).then(|| user.extra.clone());
    }
    fn prepare_update(&mut self, old: &Self, _: &WriteContext<'_>) {
        self.spec = old.spec.clone();
    }
    fn prepare_status(&mut self, old: &Self, context: &WriteContext<'_>) {
        if let Some(list) = &mut self.status.get_or_insert_default().conditions {
            // Whoever writes the certificate sends these along, perhaps as they were a moment ago.
            preserve(list, conditions(old), APPROVED);
            preserve(list, conditions(old), DENIED);
            set_times(list, conditions(old), &context.now);
        }
    }
    fn prepare_approval(&mut self, old: &Self, context: &WriteContext<'_>) {
        let status = self.status.get_or_insert_default();
        if let Some(list) = &mut status.conditions {
            set_times(list, conditions(old), &context.now);
        }
        status.certificate = old.status.as_ref().and_then(|status| status.certificate.clone());
    }
    fn validate(&self, problems: &mut Problems) {
        validate::spec(&self.spec, problems);
        validate::conditions(conditions(self), problems);
        validate::certificate(certificate(self), problems);
    }
    fn validate_status(&self, old: &Self, problems: &mut Problems) {
        validate::status(self, old, problems);
    }
    fn validate_approval(&self, old: &Self, problems: &mut Problems) {
        validate::conditions(conditions(self), problems);
        validate::kept(conditions(self), conditions(old), problems);
    }
    fn columns() -> &'static [Column] {
        COLUMNS
    }
    fn row(&self, now_secs: i64) -> Vec<Cell> {
        let duration = self.spec.expiration_seconds.map(|secs| cells::human_duration(secs.into()));
        vec![
            cells::name(&self.metadata),
            cells::age(&self.metadata, now_secs),
            Cell::text_or(Some(&self.spec.signer_name), cells::NONE),
            Cell::text(check::text(self.spec.username.as_ref()).to_owned()),
            Cell::text_or(duration.as_deref(), cells::NONE),
            Cell::text(condition(self)),
        ]
    }
}

pub fn conditions(request: &CertificateSigningRequest) -> &[CertificateSigningRequestCondition] {
    request.status.as_ref().and_then(|status| status.conditions.as_deref()).unwrap_or_default()
}

/// The certificate's PEM, empty where there is none yet.
pub fn certificate(request: &CertificateSigningRequest) -> &[u8] {
    let certificate = request.status.as_ref().and_then(|status| status.certificate.as_ref());
    certificate.map_or(&[], |pem| &pem.0)
}

/// The conditions of a type stay as they were, unless some were added or left out: that is told, not mended.
fn preserve(list: &mut [CertificateSigningRequestCondition], old: &[CertificateSigningRequestCondition], kind: &str) {
    let kept: Vec<_> = old.iter().filter(|condition| condition.type_ == kind).collect();
    if list.iter().filter(|condition| condition.type_ == kind).count() == kept.len() {
        let sent = list.iter_mut().filter(|condition| condition.type_ == kind);
        sent.zip(kept).for_each(|(sent, kept)| sent.clone_from(kept));
    }
}

/// Fills in the times that the writer left out. A transition was when the condition first had its status.
fn set_times(list: &mut [CertificateSigningRequestCondition], old: &[CertificateSigningRequestCondition], now: &Time) {
    let mut since = HashMap::new();
    for condition in old.iter().rev().filter(|condition| condition.last_transition_time.is_some()) {
        since.insert((&condition.type_, &condition.status), &condition.last_transition_time);
    }
    for condition in list {
        condition.last_update_time.get_or_insert_with(|| now.clone());
        if condition.last_transition_time.is_none() {
            let before = since.get(&(&condition.type_, &condition.status)).copied().cloned().flatten();
            condition.last_transition_time = before.or_else(|| Some(now.clone()));
        }
    }
}

fn condition(request: &CertificateSigningRequest) -> String {
    let has = |kind: &str| conditions(request).iter().any(|condition| condition.type_ == kind);
    let mut text = match (has(DENIED), has(APPROVED)) {
        (true, _) => "Denied",
        (false, true) => "Approved",
        (false, false) => "Pending",
    }
    .to_owned();
    if has(FAILED) {
        text.push_str(",Failed");
    }
    if !certificate(request).is_empty() {
        text.push_str(",Issued");
    }
    text
}

#[cfg(test)]
mod tests;

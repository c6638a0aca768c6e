//! ValidatingAdmissionPolicy: expressions by which writes are refused, once a binding puts them to use.

use std::collections::HashSet;

use corten_api::{Object, Problems};
use k8s_openapi::api::admissionregistration::v1::{
    AuditAnnotation, ValidatingAdmissionPolicy, ValidatingAdmissionPolicySpec, ValidatingAdmissionPolicyStatus,
    Validation,
};

use super::expressions::{Composer, Wanted, compile};
use super::policy::{self, Shared, shared};
use super::{match_resources, params};
use crate::registry::path::Path;
use crate::registry::{Cell, Column, Kind, cells, check, conditions};

pub const PLURAL: &str = "validatingadmissionpolicies";
const REASONS: &[&str] = &["Forbidden", "Invalid", "RequestEntityTooLarge"];
const ANNOTATIONS_MAX: usize = 20;
const ANNOTATION_EXPRESSION_BYTES_MAX: usize = 5 * 1024;
const COLUMNS: &[Column] = &policy::columns("Validations", "How many rules it has");

impl Kind for ValidatingAdmissionPolicy {
    const SINGULAR: &'static str = "validatingadmissionpolicy";
    const STORE_PREFIX: &'static str = PLURAL;
    const CATEGORIES: &'static [&'static str] = &["api-extensions"];
    const SUBRESOURCES: &'static [&'static str] = &["status"];
    const HAS_GENERATION: bool = true;
    const UNCONDITIONAL_UPDATE: bool = false;
    const STATUS_KEEPS_METADATA: bool = true;

    strategy!(spec, status);
    fn fill_defaults(&mut self) {
        let spec = self.spec.get_or_insert_default();
        spec.failure_policy.get_or_insert_with(|| "Fail".into());
        if let Some(constraints) = &mut spec.match_constraints {
            match_resources::fill(constraints);
        }
    }
    fn validate(&self, problems: &mut Problems) {
        let none = ValidatingAdmissionPolicySpec::default();
        validate(self.name(), self.spec.as_ref().unwrap_or(&none), problems);
    }
    /// What was compiled once is not compiled again for a label.
    fn validate_over(&self, old: &Self, problems: &mut Problems) {
        if self.spec != old.spec {
            self.validate(problems);
        }
    }
    fn validate_status(&self, _old: &Self, problems: &mut Problems) {
        let none = ValidatingAdmissionPolicyStatus::default();
        let (status, at) = (self.status.as_ref().unwrap_or(&none), Path::root("status"));
        let checking = at.field("typeChecking");
        let list = checking.field("expressionWarnings");
        let warnings = status.type_checking.iter().filter_map(|checked| checked.expression_warnings.as_ref()).flatten();
        for (i, warning) in warnings.enumerate() {
            let at = list.index(i);
            if warning.warning.is_empty() {
                problems.required(at.field("warning"), "");
            }
            if warning.field_ref.trim().is_empty() {
                problems.required(at.field("fieldRef"), "");
            }
        }
        conditions::validate(status.conditions.as_deref().unwrap_or_default(), &at.field("conditions"), problems);
    }
    fn columns() -> &'static [Column] {
        COLUMNS
    }
    fn row(&self, now_secs: i64) -> Vec<Cell> {
        let spec = self.spec.as_ref();
        let validations = spec.and_then(|spec| spec.validations.as_ref()).map_or(0, Vec::len);
        let kind = params::kind_cell(spec.and_then(|spec| spec.param_kind.as_ref()));
        vec![cells::name(&self.metadata), Cell::count(validations), kind, cells::age(&self.metadata, now_secs)]
    }
}

fn validate(name: &str, spec: &ValidatingAdmissionPolicySpec, problems: &mut Problems) {
    let at = Path::root("spec");
    let composer = policy::validate(shared!(spec), &at, problems);
    let validations = spec.validations.as_deref().unwrap_or_default();
    let annotations = spec.audit_annotations.as_deref().unwrap_or_default();
    let (list, of_annotations) = (at.field("validations"), at.field("auditAnnotations"));
    if validations.is_empty() && annotations.is_empty() {
        let why = "validations or auditAnnotations must contain at least one item";
        problems.required(list, why);
        return problems.required(of_annotations, why);
    }
    if policy::few(validations.len(), &list, problems) {
        let of_messages = composer.of_messages();
        for (i, of) in validations.iter().enumerate() {
            validation(of, &composer, &of_messages, &list.index(i), problems);
        }
    }
    if annotations.len() > ANNOTATIONS_MAX {
        let why = format!("must not have more than {ANNOTATIONS_MAX} auditAnnotations");
        return problems.invalid(of_annotations, annotations, &why);
    }
    let mut keys = HashSet::new();
    for (i, of) in annotations.iter().enumerate() {
        let at = of_annotations.index(i);
        annotation(name, of, &composer, &at, problems);
        if !keys.insert(&of.key) {
            problems.duplicate(at.field("key"), &of.key);
        }
    }
}

fn has_lines(text: &str) -> bool {
    text.contains(['\n', '\r'])
}

fn validation(
    of: &Validation,
    composer: &Composer,
    of_messages: &corten_cel::Environment,
    at: &Path<'_>,
    problems: &mut Problems,
) {
    if of.expression.trim().is_empty() {
        problems.required(at.field("expression"), "expression is not specified");
    } else if let Err(why) = composer.compile(&of.expression, Wanted::Bool) {
        problems.invalid(at.field("expression"), &of.expression, &why);
    }
    let text = check::text(of.message_expression.as_ref());
    let path = at.field("messageExpression");
    if !text.is_empty() && text.trim().is_empty() {
        problems.invalid(path, text, "must be non-empty if specified");
    } else if !text.is_empty()
        && let Err(why) = compile(text, of_messages, Wanted::Text)
    {
        problems.invalid(path, text, &why);
    }
    let message = check::text(of.message.as_ref());
    if !message.is_empty() && message.trim().is_empty() {
        problems.invalid(at.field("message"), message, "must be non-empty if specified");
    } else if has_lines(message.trim()) {
        problems.invalid(at.field("message"), message, "must not contain line breaks");
    }
    check::optional_word(problems, &at.field("reason"), of.reason.as_ref(), REASONS);
}

fn annotation(policy: &str, of: &AuditAnnotation, composer: &Composer, at: &Path<'_>, problems: &mut Problems) {
    policy::annotation_key(policy, &of.key, &at.field("key"), problems);
    let path = at.field("valueExpression");
    match of.value_expression.trim() {
        "" => problems.required(path, "valueExpression is not specified"),
        text if text.len() > ANNOTATION_EXPRESSION_BYTES_MAX => {
            problems.required(path, &format!("must not exceed {ANNOTATION_EXPRESSION_BYTES_MAX} bytes in length"));
        }
        text => {
            if let Err(why) = composer.compile(text, Wanted::TextOrNull) {
                problems.invalid(path, &of.value_expression, &why);
            }
        }
    }
}

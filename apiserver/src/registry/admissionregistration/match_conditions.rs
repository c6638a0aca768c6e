//! Conditions in CEL on which a webhook is asked: what they may name, and what is wrong with one. Pure.

use std::collections::HashSet;
use std::sync::{Arc, LazyLock};

use corten_api::Problems;
use corten_cel::{Environment, Program, Type};
use k8s_openapi::api::admissionregistration::v1::MatchCondition;

use crate::registry::check;
use crate::registry::path::Path;

const MAX: usize = 64;

/// `namespaceObject` is known though it is always null: upstream's webhooks have it so, and a stored condition may name it.
static ENVIRONMENT: LazyLock<Environment> = LazyLock::new(|| {
    Environment::default()
        .with("object", Type::Dyn)
        .with("oldObject", Type::Dyn)
        .with("namespaceObject", namespace())
        .with("request", request())
        .with("authorizer", Type::opaque("kubernetes.authorization.Authorizer"))
        .with("authorizer.requestResource", Type::opaque("kubernetes.authorization.ResourceCheck"))
});

fn object(name: &str, fields: &[(&str, Type)]) -> Type {
    Type::object(name, fields.iter().map(|(field, of)| (Arc::from(*field), of.clone())))
}

fn texts() -> Type {
    Type::list(Type::String)
}

/// An AdmissionRequest without its objects, which have variables of their own.
fn request() -> Type {
    let names = |kind: &str, last: &str| {
        object(kind, &[("group", Type::String), ("version", Type::String), (last, Type::String)])
    };
    let kind = names("kubernetes.GroupVersionKind", "kind");
    let resource = names("kubernetes.GroupVersionResource", "resource");
    let user = [
        ("username", Type::String),
        ("uid", Type::String),
        ("groups", texts()),
        ("extra", Type::map(Type::String, texts())),
    ];
    object(
        "kubernetes.AdmissionRequest",
        &[
            ("kind", kind.clone()),
            ("resource", resource.clone()),
            ("subResource", Type::String),
            ("requestKind", kind),
            ("requestResource", resource),
            ("requestSubResource", Type::String),
            ("name", Type::String),
            ("namespace", Type::String),
            ("operation", Type::String),
            ("userInfo", object("kubernetes.UserInfo", &user)),
            ("dryRun", Type::Bool),
            ("options", Type::Dyn),
        ],
    )
}

fn namespace() -> Type {
    let labels = Type::map(Type::String, Type::String);
    let metadata = [
        ("name", Type::String),
        ("generateName", Type::String),
        ("namespace", Type::String),
        ("labels", labels.clone()),
        ("annotations", labels),
        ("UID", Type::String),
        ("creationTimestamp", Type::Timestamp),
        ("deletionGracePeriodSeconds", Type::Int),
        ("deletionTimestamp", Type::Timestamp),
        ("generation", Type::Int),
        ("resourceVersion", Type::String),
        ("finalizers", texts()),
    ];
    let condition = [
        ("status", Type::String),
        ("type", Type::String),
        ("lastTransitionTime", Type::Timestamp),
        ("message", Type::String),
        ("reason", Type::String),
    ];
    let conditions = Type::list(object("kubernetes.NamespaceCondition", &condition));
    object(
        "kubernetes.Namespace",
        &[
            ("metadata", object("kubernetes.NamespaceMetadata", &metadata)),
            ("spec", object("kubernetes.NamespaceSpec", &[("finalizers", texts())])),
            ("status", object("kubernetes.NamespaceStatus", &[("conditions", conditions), ("phase", Type::String)])),
        ],
    )
}

/// What can be evaluated; or what is wrong with it, in upstream's words for its author.
pub fn compile(text: &str) -> Result<Program, String> {
    let program = corten_cel::compile(text, &ENVIRONMENT)
        .map_err(|problems| format!("compilation failed: {}", corten_cel::list_problems(&problems)))?;
    match program.output() {
        Type::Bool => Ok(program),
        other => Err(format!("must evaluate to bool but got {other}")),
    }
}

pub(super) fn validate(conditions: &[MatchCondition], list: &Path<'_>, problems: &mut Problems) {
    if conditions.len() > MAX {
        // None is compiled: whoever sends thousands is told so for the price of counting them.
        return problems.too_many(list, conditions.len(), MAX);
    }
    let mut names = HashSet::new();
    for (i, condition) in conditions.iter().enumerate() {
        let at = list.index(i);
        expression(&condition.expression, &at.field("expression"), problems);
        let name = at.field("name");
        match condition.name.as_str() {
            "" => problems.required(name, ""),
            one => check::qualified_name(problems, &name, one),
        }
        if !condition.name.is_empty() && !names.insert(&condition.name) {
            problems.duplicate(at.field("name"), &condition.name);
        }
    }
}

fn expression(text: &str, at: &Path<'_>, problems: &mut Problems) {
    match text.trim() {
        "" => problems.required(at, ""),
        text => {
            if let Err(why) = compile(text) {
                problems.invalid(at, text, &why);
            }
        }
    }
}

//! What expressions in CEL of webhooks and policies may name. Pure.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use corten_cel::{Environment, ObjectType, Type};

/// Beyond the objects and the request, which all know.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Known {
    /// `params`, which may be null all the same.
    pub params: bool,
    /// `authorizer` and `authorizer.requestResource`.
    pub authorizer: bool,
    /// What patches are made of.
    pub patches: bool,
}

impl Known {
    /// What match conditions know; of a webhook there are no params.
    pub fn of_conditions(params: bool) -> Self {
        Self { params, authorizer: true, patches: false }
    }
}

/// In place of any JSON, where the type is known.
#[derive(Clone, Debug)]
pub struct Typed {
    pub object: Type,
    pub params: Type,
}

impl Default for Typed {
    fn default() -> Self {
        Self { object: Type::Dyn, params: Type::Dyn }
    }
}

/// `namespaceObject` is known to webhooks though it is always null: upstream's have it so, and a stored condition may name it.
static BASE: LazyLock<Environment> =
    LazyLock::new(|| Environment::default().with("namespaceObject", namespace()).with("request", request()));

pub fn environment(known: Known, typed: &Typed) -> Environment {
    let mut made = BASE.clone().with("object", typed.object.clone()).with("oldObject", typed.object.clone());
    if known.params {
        made = made.with("params", typed.params.clone());
    }
    if known.authorizer {
        made = made
            .with("authorizer", Type::opaque("kubernetes.authorization.Authorizer"))
            .with("authorizer.requestResource", Type::opaque("kubernetes.authorization.ResourceCheck"));
    }
    if known.patches { made.with_mutation() } else { made }
}

/// The variables of a policy: an object of which each field is a variable of its own, so that one that nobody asks for is not
/// evaluated.
pub const VARIABLES: &str = "variables";

/// With an object of these variables.
pub fn with_variables(made: Environment, variables: &BTreeMap<Arc<str>, Type>) -> Environment {
    let all = ObjectType { name: "kubernetes.variables".into(), fields: variables.clone(), is_open: false };
    made.with(VARIABLES, Type::Object(Arc::new(all)))
}

/// With one that is a field of that object.
pub fn with_variable(made: Environment, name: &str, of: &Type) -> Environment {
    made.with(&format!("{VARIABLES}.{name}"), of.clone())
}

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

//! What an expression may name: variables with their types, types to construct, and the functions of a version.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::library::{Library, Overload, overloads};
use crate::macros::Macros;
use crate::schema::Schema;
use crate::types::{ObjectType, Type};

/// The minor version of Kubernetes whose functions are known by default.
const MINOR: u32 = 37;

/// Where an expression is compiled.
#[derive(Clone, Debug)]
pub struct Environment {
    variables: BTreeMap<Arc<str>, Variable>,
    minor: u32,
    mutation: bool,
    bind: bool,
}

#[derive(Clone, Debug)]
pub(crate) struct Variable {
    pub(crate) of: Type,
    /// How large its parts can be.
    pub(crate) schema: Option<Arc<Schema>>,
}

impl Default for Environment {
    fn default() -> Self {
        Self { variables: BTreeMap::new(), minor: MINOR, mutation: false, bind: false }
    }
}

impl Environment {
    /// With the functions that this minor version of Kubernetes has.
    #[must_use]
    pub fn of_minor(self, minor: u32) -> Self {
        Self { minor, ..self }
    }
    /// `name` may have dots: `authorizer.requestResource`.
    #[must_use]
    pub fn with(mut self, name: &str, of: Type) -> Self {
        self.variables.insert(name.into(), Variable { of, schema: None });
        self
    }
    /// Of the type that a schema gives, which also bounds what expressions cost. Variables that are to be compared need one
    /// `type_name`.
    #[must_use]
    pub fn with_schema(mut self, name: &str, type_name: &str, schema: Arc<Schema>) -> Self {
        self.variables.insert(name.into(), Variable { of: schema.to_type(type_name), schema: Some(schema) });
        self
    }
    /// As [`Self::with_schema`], of a value that may be absent: `oldSelf` with `optionalOldSelf`.
    #[must_use]
    pub fn with_optional_schema(mut self, name: &str, type_name: &str, schema: Arc<Schema>) -> Self {
        let of = Type::optional(schema.to_type(type_name));
        self.variables.insert(name.into(), Variable { of, schema: Some(schema) });
        self
    }
    /// What MutatingAdmissionPolicies have: `Object.spec{…}`, `JSONPatch{op: …}` and `jsonpatch.escapeKey`.
    #[must_use]
    pub fn with_mutation(self) -> Self {
        Self { mutation: true, ..self }
    }
    /// `cel.bind(name, value, result)`, which Kubernetes' own environments do not have.
    #[must_use]
    pub fn with_bind(self) -> Self {
        Self { bind: true, ..self }
    }
    pub(crate) fn macros(&self) -> Macros {
        Macros {
            optional: self.has(Library::Optional),
            two_variables: self.has(Library::TwoVariables),
            lists: self.has(Library::MoreLists),
            bind: self.bind,
            quoted_fields: false,
        }
    }
    fn has(&self, library: Library) -> bool {
        library.since() <= self.minor && (library != Library::JsonPatch || self.mutation)
    }
    pub(crate) fn variable(&self, name: &str) -> Option<&Variable> {
        self.variables.get(name)
    }
    /// What can be constructed. Nothing is known of the fields of an `Object`, or of the objects within it.
    pub(crate) fn object(&self, name: &str) -> Option<Arc<ObjectType>> {
        if !self.mutation {
            return None;
        }
        let text = |name: &str| (name.into(), Type::String);
        let (fields, is_open) = match name {
            "JSONPatch" => {
                (BTreeMap::from([text("op"), text("path"), text("from"), ("value".into(), Type::Dyn)]), false)
            }
            name if name == "Object" || name.starts_with("Object.") => (BTreeMap::new(), true),
            _ => return None,
        };
        Some(Arc::new(ObjectType { name: name.into(), fields, is_open }))
    }
    pub(crate) fn overloads(&self, function: &str) -> impl Iterator<Item = &'static Overload> + use<'_> {
        overloads(function).iter().filter(move |overload| self.has(overload.library))
    }
}

/// The type that a name stands for in an expression, as `int` does in `type(x) == int`.
pub(crate) fn type_named(name: &str) -> Option<Type> {
    Some(match name {
        "bool" => Type::Bool,
        "bytes" => Type::Bytes,
        "double" => Type::Double,
        "int" => Type::Int,
        "uint" => Type::Uint,
        "string" => Type::String,
        "null_type" => Type::Null,
        "list" => Type::list(Type::Dyn),
        "map" => Type::map(Type::Dyn, Type::Dyn),
        "type" => Type::Type(Arc::new(Type::Dyn)),
        "google.protobuf.Duration" => Type::Duration,
        "google.protobuf.Timestamp" => Type::Timestamp,
        "optional_type" => Type::optional(Type::Dyn),
        "net.IP" | "net.CIDR" => Type::opaque(name),
        _ => return None,
    })
}

//! Structural schemas: what the objects of a custom kind may be, and all that follows from it for a value. Pure.
//!
//! <https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/#specifying-a-structural-schema>
//!
//! - [`check`]: whether what somebody wrote is a structural schema
//! - [`prune`](mod@prune), [`fill`]: fields that nobody declared go, defaults come
//! - `reading`: what of it matters to how stored objects are read
//! - [`value`]: whether a value is as the schema wants it; `formats`, `pattern`: whether a text is; `lists`: whether items differ
//! - [`rules`]: what expressions in CEL want of a value
//! - [`embedded`]: objects within objects
//! - [`shape`]: the same as a [`Schema`](crate::schema::Schema), for server-side apply
//!
//! Walks go as deep as schemas and objects do, which came through the bounded decoder
//! ([`MAX_NESTING`](crate::decode::MAX_NESTING)); a schema cannot refer to itself. What a hostile schema could make costly has a
//! bound of its own: the number and size of a definition's patterns, and the steps of one validation.

pub mod check;
pub mod embedded;
pub mod fill;
mod formats;
mod lists;
mod pattern;
pub mod prune;
mod reading;
pub mod rules;
pub mod shape;
pub mod value;

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool,
};
use serde_json::Value;

use crate::schema::ListKind;
pub use formats::is_known as is_known_format;
pub use lists::check as check_lists;
pub use pattern::Judge as PatternJudge;
use pattern::Pattern;

/// What the server reads out of a schema. Also what stands in `allOf`, `anyOf`, `oneOf` and `not`, which say nothing but what
/// values must be.
#[derive(Clone, Debug, Default)]
pub struct Structural {
    /// `None`: any.
    pub kind: Option<SchemaType>,
    pub nullable: bool,
    pub default: Option<Value>,
    pub properties: Properties,
    pub additional: Option<Additional>,
    pub items: Option<Box<Structural>>,
    /// Fields that are not declared stay (`x-kubernetes-preserve-unknown-fields`).
    pub preserves: bool,
    /// It is an object with a kind and metadata (`x-kubernetes-embedded-resource`).
    pub embedded: bool,
    pub int_or_string: bool,
    /// As `x-kubernetes-list-type` says; `None` where it says nothing, which is the same as atomic but for repeated items.
    pub list: Option<ListKind>,
    pub map_is_atomic: bool,
    /// `None`: none, as for most.
    limits: Option<Box<Limits>>,
}

/// Declared fields, by name. Schemas have many with few fields each, so nothing is kept that is not used.
#[derive(Clone, Debug, Default)]
pub struct Properties(Box<[(Box<str>, Structural)]>);

impl Properties {
    pub fn get(&self, name: &str) -> Option<&Structural> {
        let at = self.0.binary_search_by(|(known, _)| (**known).cmp(name)).ok()?;
        self.0.get(at).map(|(_, of)| of)
    }
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Structural)> {
        self.0.iter().map(|(name, of)| (&**name, of))
    }
}

impl FromIterator<(Box<str>, Structural)> for Properties {
    fn from_iter<I: IntoIterator<Item = (Box<str>, Structural)>>(all: I) -> Self {
        let mut all: Vec<_> = all.into_iter().collect();
        all.sort_by(|(one, _), (other, _)| one.cmp(other));
        Self(all.into())
    }
}

/// As `type` says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SchemaType {
    Array,
    Boolean,
    Integer,
    Number,
    Object,
    String,
}

impl SchemaType {
    pub const ALL: [&'static str; 6] = ["array", "boolean", "integer", "number", "object", "string"];
    fn of(name: &str) -> Option<Self> {
        const KINDS: [SchemaType; 6] = [
            SchemaType::Array,
            SchemaType::Boolean,
            SchemaType::Integer,
            SchemaType::Number,
            SchemaType::Object,
            SchemaType::String,
        ];
        Self::ALL.iter().zip(KINDS).find(|(known, _)| **known == name).map(|(_, kind)| kind)
    }
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Array => "array",
            Self::Boolean => "boolean",
            Self::Integer => "integer",
            Self::Number => "number",
            Self::Object => "object",
            Self::String => "string",
        }
    }
}

/// What is known of fields that have no property of their own.
#[derive(Clone, Debug)]
pub enum Additional {
    /// `true`, or `false`.
    Any(bool),
    Schema(Box<Structural>),
}

impl Additional {
    pub fn schema(&self) -> Option<&Structural> {
        match self {
            Self::Schema(schema) => Some(schema),
            Self::Any(_) => None,
        }
    }
}

/// What a value must be beyond its type.
#[derive(Clone, Debug, Default)]
struct Limits {
    /// Only such as are known: others mean nothing.
    format: Option<String>,
    maximum: Option<f64>,
    exclusive_maximum: bool,
    minimum: Option<f64>,
    exclusive_minimum: bool,
    multiple_of: Option<f64>,
    max_length: Option<i64>,
    min_length: Option<i64>,
    pattern: Option<Arc<Pattern>>,
    max_items: Option<i64>,
    min_items: Option<i64>,
    max_properties: Option<i64>,
    min_properties: Option<i64>,
    required: Vec<String>,
    enumeration: Vec<Value>,
    all_of: Vec<Structural>,
    any_of: Vec<Structural>,
    one_of: Vec<Structural>,
    not: Option<Box<Structural>>,
}

static NO_LIMITS: LazyLock<Limits> = LazyLock::new(Limits::default);

impl Limits {
    fn says_nothing(&self) -> bool {
        let Self {
            format,
            maximum,
            exclusive_maximum: _,
            minimum,
            exclusive_minimum: _,
            multiple_of,
            max_length,
            min_length,
            pattern,
            max_items,
            min_items,
            max_properties,
            min_properties,
            required,
            enumeration,
            all_of,
            any_of,
            one_of,
            not,
        } = self;
        let no_number = maximum.is_none() && minimum.is_none() && multiple_of.is_none();
        let sizes = [max_length, min_length, max_items, min_items, max_properties, min_properties];
        let no_text = format.is_none() && pattern.is_none() && required.is_empty() && enumeration.is_empty();
        let no_schema = [all_of, any_of, one_of].into_iter().all(Vec::is_empty) && not.is_none();
        no_number && no_text && no_schema && sizes.into_iter().all(Option::is_none)
    }
}

/// Why a schema cannot be used.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum SchemaError {
    #[error("a schema of {0:?} is not supported")]
    Unsupported(&'static str),
}

impl Structural {
    pub fn of(schema: &JSONSchemaProps) -> Result<Self, SchemaError> {
        read(schema, &mut Patterns::default())
    }
    fn limits(&self) -> &Limits {
        self.limits.as_deref().unwrap_or(&NO_LIMITS)
    }
    /// The schema of a field or an entry.
    pub fn child(&self, name: &str) -> Option<&Self> {
        self.properties.get(name).or_else(|| self.additional.as_ref()?.schema())
    }
}

/// Those that have been read: one that stands in many places is one.
type Patterns = HashMap<String, Arc<Pattern>>;

fn read(schema: &JSONSchemaProps, patterns: &mut Patterns) -> Result<Structural, SchemaError> {
    for (name, is_there) in [
        ("$ref", schema.ref_path.is_some()),
        ("additionalItems", schema.additional_items.is_some()),
        ("definitions", schema.definitions.as_ref().is_some_and(|all| !all.is_empty())),
        ("dependencies", schema.dependencies.is_some()),
        ("patternProperties", schema.pattern_properties.as_ref().is_some_and(|all| !all.is_empty())),
        ("uniqueItems", schema.unique_items == Some(true)),
    ] {
        if is_there {
            return Err(SchemaError::Unsupported(name));
        }
    }
    let properties = schema.properties.iter().flatten();
    let properties = properties
        .map(|(name, of)| Ok((Box::from(name.as_str()), read(of, patterns)?)))
        .collect::<Result<_, SchemaError>>()?;
    let additional = match &schema.additional_properties {
        None => None,
        Some(JSONSchemaPropsOrBool::Bool(allowed)) => Some(Additional::Any(*allowed)),
        Some(JSONSchemaPropsOrBool::Schema(of)) => Some(Additional::Schema(Box::new(read(of, patterns)?))),
    };
    let items = match &schema.items {
        None => None,
        Some(JSONSchemaPropsOrArray::Schema(of)) => Some(Box::new(read(of, patterns)?)),
        Some(JSONSchemaPropsOrArray::Schemas(_)) => return Err(SchemaError::Unsupported("items")),
    };
    let kind = match schema.type_.as_deref().unwrap_or_default() {
        "" => None,
        name => Some(SchemaType::of(name).ok_or(SchemaError::Unsupported("type"))?),
    };
    Ok(Structural {
        kind,
        nullable: schema.nullable == Some(true),
        default: schema.default.as_ref().map(|default| default.0.clone()).filter(|default| !default.is_null()),
        properties,
        additional,
        items,
        preserves: schema.x_kubernetes_preserve_unknown_fields == Some(true),
        embedded: schema.x_kubernetes_embedded_resource == Some(true),
        int_or_string: schema.x_kubernetes_int_or_string == Some(true),
        list: list_kind(schema),
        map_is_atomic: schema.x_kubernetes_map_type.as_deref() == Some("atomic"),
        limits: Some(limits(schema, patterns)?).filter(|limits| !limits.says_nothing()).map(Box::new),
    })
}

fn list_kind(schema: &JSONSchemaProps) -> Option<ListKind> {
    Some(match schema.x_kubernetes_list_type.as_deref()? {
        "set" => ListKind::Set,
        "map" => {
            let keys = schema.x_kubernetes_list_map_keys.iter().flatten();
            ListKind::Map(keys.map(|key| Arc::from(key.as_str())).collect())
        }
        _ => ListKind::Atomic,
    })
}

fn limits(schema: &JSONSchemaProps, patterns: &mut Patterns) -> Result<Limits, SchemaError> {
    let mut all = |of: &Option<Vec<JSONSchemaProps>>| -> Result<Vec<Structural>, SchemaError> {
        of.iter().flatten().map(|schema| read(schema, patterns)).collect()
    };
    let (all_of, any_of, one_of) = (all(&schema.all_of)?, all(&schema.any_of)?, all(&schema.one_of)?);
    let not = schema.not.as_ref().map(|not| read(not, patterns)).transpose()?.map(Box::new);
    let format = schema.format.clone().filter(|format| is_known_format(format));
    Ok(Limits {
        format,
        maximum: schema.maximum,
        exclusive_maximum: schema.exclusive_maximum == Some(true),
        minimum: schema.minimum,
        exclusive_minimum: schema.exclusive_minimum == Some(true),
        multiple_of: schema.multiple_of,
        max_length: schema.max_length,
        min_length: schema.min_length,
        pattern: schema
            .pattern
            .as_deref()
            .filter(|text| !text.is_empty())
            .map(|text| patterns.entry(text.to_owned()).or_insert_with(|| Arc::new(Pattern::new(text))).clone()),
        max_items: schema.max_items,
        min_items: schema.min_items,
        max_properties: schema.max_properties,
        min_properties: schema.min_properties,
        required: schema.required.clone().unwrap_or_default(),
        enumeration: schema.enum_.iter().flatten().map(|value| value.0.clone()).collect(),
        all_of,
        any_of,
        one_of,
        not,
    })
}

#[cfg(test)]
pub(crate) mod testing {
    use super::*;

    pub(crate) fn props(json: Value) -> JSONSchemaProps {
        serde_json::from_value(json).unwrap()
    }
    pub(crate) fn schema(json: Value) -> Structural {
        Structural::of(&props(json)).unwrap()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::testing::props;
    use super::*;

    #[test]
    fn what_is_not_served_is_no_schema() {
        for (why, schema) in [
            ("$ref", json!({"$ref": "#/x"})),
            ("uniqueItems", json!({"type": "array", "uniqueItems": true})),
            ("items", json!({"type": "array", "items": [{"type": "string"}]})),
            ("type", json!({"properties": {"a": {"type": "null"}}})),
        ] {
            assert_eq!(Structural::of(&props(schema)).err(), Some(SchemaError::Unsupported(why)));
        }
    }

    #[test]
    fn a_schema_as_deep_as_a_body_may_be_is_read() {
        let deep =
            (0..45).fold(json!({"type": "string"}), |inner, _| json!({"type": "object", "properties": {"a": inner}}));
        assert!(Structural::of(&props(deep)).is_ok());
    }
}

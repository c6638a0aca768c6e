//! What is known of JSON values: types, list kinds and bounds, from the OpenAPI schema of a custom resource.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value as Json;

use crate::escape::escape;
use crate::types::Type;

/// The largest request that an apiserver takes. What a schema does not bound is bounded by it.
pub const REQUEST_BYTES_MAX: u64 = 3 * 1024 * 1024;

/// Of an object type's name, in bytes.
const NAME_MAX: usize = 512;
/// Where a longer one is cut.
const CUT: &str = "…";

/// A schema that expressions may see, with how large values of it can be.
#[derive(Clone, Debug)]
pub struct Schema {
    pub(crate) shape: Shape,
    pub(crate) nullable: bool,
    /// The most items, entries or characters.
    pub(crate) max_elements: u64,
    /// The fewest bytes of JSON.
    min_bytes: u64,
}

#[derive(Clone, Debug)]
pub(crate) enum Shape {
    /// Fields by the identifiers that expressions know them by.
    Object(BTreeMap<Arc<str>, Property>),
    Map(Box<Schema>),
    List {
        items: Box<Schema>,
        order: ListKind,
    },
    String,
    /// base64
    Bytes,
    Date,
    DateTime,
    Duration,
    Double,
    Int,
    Bool,
    IntOrString,
}

#[derive(Clone, Debug)]
pub struct Property {
    /// As the JSON has it.
    pub(crate) name: Arc<str>,
    pub(crate) schema: Schema,
}

/// `x-kubernetes-list-type`, which says when two lists are equal and what their sum is.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub enum ListKind {
    #[default]
    Atomic,
    Set,
    /// By the values of these fields.
    Map(Arc<[Arc<str>]>),
}

impl Schema {
    /// Of an OpenAPI v3 schema as a CustomResourceDefinition has it. None if expressions cannot see such values: a list of
    /// unknown items, say. `is_resource` is of a resource's root, where `apiVersion`, `kind`, `metadata.name` and
    /// `metadata.generateName` are always seen.
    pub fn of_openapi(schema: &Json, is_resource: bool) -> Option<Self> {
        let nullable = schema["nullable"] == true;
        let mut made = if schema["x-kubernetes-int-or-string"] == true {
            Self::sized(Shape::IntOrString, max_characters(schema, REQUEST_BYTES_MAX - 2), 1)
        } else {
            Self::of_type(schema, is_resource)?
        };
        made.nullable = nullable;
        Some(made)
    }
    fn sized(shape: Shape, max_elements: u64, min_bytes: u64) -> Self {
        Self { shape, nullable: false, max_elements, min_bytes }
    }
    fn of_type(schema: &Json, is_resource: bool) -> Option<Self> {
        Some(match schema["type"].as_str()? {
            "object" => return Self::of_object(schema, is_resource),
            "array" => {
                let items = Self::of_openapi(&schema["items"], is_embedded(&schema["items"]))?;
                let max = bound(schema, "maxItems").unwrap_or((REQUEST_BYTES_MAX - 2) / (items.min_bytes + 1));
                Self::sized(Shape::List { items: Box::new(items), order: list_kind(schema) }, max, 2)
            }
            "string" => Self::of_string(schema),
            "boolean" => Self::sized(Shape::Bool, 0, 4),
            "number" => Self::sized(Shape::Double, 0, 1),
            "integer" => Self::sized(Shape::Int, 0, 1),
            _ => return None,
        })
    }
    fn of_string(schema: &Json) -> Self {
        match schema["format"].as_str() {
            Some("byte") => Self::sized(Shape::Bytes, bound(schema, "maxLength").unwrap_or(REQUEST_BYTES_MAX - 2), 2),
            Some("duration") => Self::sized(Shape::Duration, 32, 3),
            Some("date") => Self::sized(Shape::Date, 12, 12),
            Some("date-time") => Self::sized(Shape::DateTime, 32, 21),
            _ => {
                let longest = schema["enum"].as_array().filter(|values| !values.is_empty()).map(|values| {
                    values.iter().filter_map(Json::as_str).map(|text| text.len() as u64).max().unwrap_or(0)
                });
                let max = max_characters(schema, longest.unwrap_or(REQUEST_BYTES_MAX - 2));
                Self::sized(Shape::String, max, 2)
            }
        }
    }
    fn of_object(schema: &Json, is_resource: bool) -> Option<Self> {
        let values = &schema["additionalProperties"];
        if values.is_object() && !is_resource {
            let values = Self::of_openapi(values, is_embedded(values))?;
            let max = bound(schema, "maxProperties").unwrap_or((REQUEST_BYTES_MAX - 2) / (values.min_bytes + 6));
            return Some(Self::sized(Shape::Map(Box::new(values)), max, 2));
        }
        let mut properties: BTreeMap<&str, Option<Self>> = BTreeMap::new();
        for (name, property) in schema["properties"].as_object().into_iter().flatten() {
            properties.insert(name, Self::of_openapi(property, is_embedded(property)));
        }
        if is_resource {
            let string = || Self::sized(Shape::String, REQUEST_BYTES_MAX - 2, 2);
            let named = |name: &str| (name.into(), Property { name: name.into(), schema: string() });
            let metadata = Shape::Object([named("name"), named("generateName")].into());
            properties.insert("apiVersion", Some(string()));
            properties.insert("kind", Some(string()));
            properties.insert("metadata", Some(Self::sized(metadata, 0, 2)));
        }
        let is_required =
            |name: &str| schema["required"].as_array().is_some_and(|all| all.iter().any(|one| one == name));
        let mut min_bytes = 2;
        let mut fields = BTreeMap::new();
        for (name, property) in properties {
            let Some(property) = property else { continue };
            if is_required(name) && schema["properties"][name]["default"].is_null() {
                min_bytes += name.len() as u64 + property.min_bytes + 4;
            }
            if let Some(escaped) = escape(name) {
                fields.insert(escaped.into(), Property { name: name.into(), schema: property });
            }
        }
        Some(Self::sized(Shape::Object(fields), 0, min_bytes))
    }

    /// The type that expressions see. Objects are called `name`, `name.field`, `name.@idx` and `name.@elem`, as messages
    /// show them.
    pub fn to_type(&self, name: &str) -> Type {
        self.named(name, &mut 0)
    }
    /// `objects` counts them. A name that would be too long has the number of its object at its end: as all names have those
    /// around them at their beginning, long names of many objects in each other would be far larger than their schema.
    fn named(&self, name: &str, objects: &mut u32) -> Type {
        let longer = |part: &str, objects: u32| match name.split_once(CUT) {
            Some((whole, _)) => format!("{whole}{CUT}{objects}"),
            None if name.len() + part.len() > NAME_MAX => format!("{name}{CUT}{objects}"),
            None => format!("{name}.{part}"),
        };
        match &self.shape {
            Shape::Object(fields) => {
                *objects += 1;
                let mut types = Vec::with_capacity(fields.len());
                for (field, property) in fields {
                    types.push((field.clone(), property.schema.named(&longer(field, *objects), objects)));
                }
                Type::object(name, types)
            }
            Shape::Map(values) => Type::map(Type::String, values.named(&longer("@elem", *objects), objects)),
            Shape::List { items, .. } => Type::list(items.named(&longer("@idx", *objects), objects)),
            Shape::String => Type::String,
            Shape::Bytes => Type::Bytes,
            Shape::Date | Shape::DateTime => Type::Timestamp,
            Shape::Duration => Type::Duration,
            Shape::Double => Type::Double,
            Shape::Int => Type::Int,
            Shape::Bool => Type::Bool,
            Shape::IntOrString => Type::Dyn,
        }
    }
    /// How often a value of this schema can stand in one request.
    pub fn cardinality_max(&self) -> u64 {
        REQUEST_BYTES_MAX / (self.min_bytes + 1)
    }
}

fn is_embedded(schema: &Json) -> bool {
    schema["x-kubernetes-embedded-resource"] == true
}

fn bound(schema: &Json, name: &str) -> Option<u64> {
    let bound = schema.get(name)?;
    bound.as_u64().or_else(|| bound.as_i64().map(|_| 0))
}

/// A character may take four bytes.
fn max_characters(schema: &Json, otherwise: u64) -> u64 {
    bound(schema, "maxLength").map_or(otherwise, |max| max.saturating_mul(4))
}

fn list_kind(schema: &Json) -> ListKind {
    match schema["x-kubernetes-list-type"].as_str() {
        Some("set") => ListKind::Set,
        Some("map") => {
            let keys = schema["x-kubernetes-list-map-keys"].as_array();
            ListKind::Map(keys.into_iter().flatten().filter_map(Json::as_str).map(Arc::from).collect())
        }
        _ => ListKind::Atomic,
    }
}

//! The types' schemas, as `k8s-openapi` describes them, made to look as Kubernetes' own documents do.

use std::collections::BTreeMap;

use k8s_openapi::api::authentication::v1::{SelfSubjectReview, TokenRequest, TokenReview};
use k8s_openapi::api::authorization::v1::{
    LocalSubjectAccessReview, SelfSubjectAccessReview, SelfSubjectRulesReview, SubjectAccessReview,
};
use k8s_openapi::api::autoscaling::v1::Scale;
use k8s_openapi::api::core::v1::Binding;
use k8s_openapi::api::policy::v1::Eviction;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1 as meta;
use k8s_openapi::apimachinery::pkg::runtime::RawExtension;
use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, SchemaGenerator};
use serde_json::{Map, Value, json};

use super::{capital, facts};
use crate::registry::ApiResource;
use crate::registry::questions::Question;
use crate::schema::{Field, ListKind, Map as SchemaMap, Node, Shape, builtin};

pub const META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1";
pub const SCALE: &str = "io.k8s.api.autoscaling.v1.Scale";
pub const BINDING: &str = "io.k8s.api.core.v1.Binding";
pub const EVICTION: &str = "io.k8s.api.policy.v1.Eviction";
pub const WATCH_EVENT: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.WatchEvent";
pub const TOKEN_REQUEST: &str = "io.k8s.api.authentication.v1.TokenRequest";
const INT_OR_STRING: &str = "io.k8s.apimachinery.pkg.util.intstr.IntOrString";
pub const QUANTITY: &str = "io.k8s.apimachinery.pkg.api.resource.Quantity";
/// Of schemas of custom kinds.
const ANY_JSON: [&str; 4] = ["JSON", "JSONSchemaPropsOrArray", "JSONSchemaPropsOrBool", "JSONSchemaPropsOrStringArray"];
const RAW_EXTENSION: &str = "io.k8s.apimachinery.pkg.runtime.RawExtension";

/// Which document the schemas are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    V2,
    V3,
}

impl Version {
    /// Where schemas stand in the document, as a JSON pointer.
    fn home(self) -> &'static str {
        match self {
            Self::V2 => "/definitions",
            Self::V3 => "/components/schemas",
        }
    }
    pub fn reference(self, schema: &str) -> Value {
        json!({ "$ref": format!("#{}/{schema}", self.home()) })
    }
}

/// The schemas of some kinds, and all that those refer to.
pub struct Schemas {
    /// The name of each kind's schema, in the order of the kinds.
    pub names: Vec<String>,
    pub by_name: BTreeMap<String, Value>,
}

pub fn of(resources: &[&ApiResource], questions: &[&Question], version: Version) -> Schemas {
    let mut generator = generator(version);
    let names: Vec<String> = resources.iter().map(|r| name_in(&r.rules().schema(&mut generator))).collect();
    let subresources: Vec<&str> = resources.iter().flat_map(|r| r.subresources()).map(AsRef::as_ref).collect();
    add_common(&mut generator, &subresources);
    for question in questions {
        add_question(&mut generator, question);
    }
    let mut by_name = refined(generator, version);
    let kinds = kinds();
    for (name, schema) in &mut by_name {
        if let Some(gvk) = short_name(name).and_then(|name| kinds.get(name.as_str())) {
            schema["x-kubernetes-group-version-kind"] = gvk.clone();
        }
    }
    for (resource, name) in resources.iter().zip(&names) {
        let gvk = |kind: String| json!([{"group": resource.group(), "version": resource.version(), "kind": kind}]);
        if let Some(schema) = by_name.get_mut(name) {
            schema["x-kubernetes-group-version-kind"] = gvk(resource.kind().into());
        }
        let mut list = list_of(name, version);
        list["x-kubernetes-group-version-kind"] = gvk(resource.names().list_kind.to_string());
        by_name.insert(format!("{name}List"), list);
    }
    by_name.insert(format!("{META}.Patch"), patch_schema());
    by_name.insert(WATCH_EVENT.into(), watch_event(version));
    Schemas { names, by_name }
}

/// What objects of all kinds have, for those that are no kinds of the registry.
pub fn common(version: Version) -> BTreeMap<String, Value> {
    let mut generator = generator(version);
    add_common(&mut generator, &[]);
    generator.subschema_for::<meta::ObjectMeta>();
    generator.subschema_for::<Quantity>();
    refined(generator, version)
}

fn generator(version: Version) -> SchemaGenerator {
    SchemaSettings::draft2020_12()
        .with(|settings| {
            settings.definitions_path = version.home().into();
            settings.meta_schema = None;
        })
        .into_generator()
}
fn refined(mut generator: SchemaGenerator, version: Version) -> BTreeMap<String, Value> {
    let mut by_name: BTreeMap<String, Value> = generator.take_definitions(false).into_iter().collect();
    for (name, schema) in &mut by_name {
        refine(name, schema, version);
    }
    by_name
}

/// What the server speaks besides its kinds.
fn add_common(generator: &mut SchemaGenerator, subresources: &[&str]) {
    fn add<T: JsonSchema>(generator: &mut SchemaGenerator) {
        generator.subschema_for::<T>();
    }
    add::<meta::ListMeta>(generator);
    add::<meta::Status>(generator);
    add::<meta::DeleteOptions>(generator);
    // Of events of watches.
    add::<RawExtension>(generator);
    for (subresource, add) in [
        ("scale", add::<Scale> as fn(&mut SchemaGenerator)),
        ("binding", add::<Binding>),
        ("eviction", add::<Eviction>),
        ("token", add::<TokenRequest>),
    ] {
        if subresources.contains(&subresource) {
            add(generator);
        }
    }
}

fn add_question(generator: &mut SchemaGenerator, question: &Question) {
    let add = match question.kind {
        "Binding" => SchemaGenerator::subschema_for::<Binding>,
        "LocalSubjectAccessReview" => SchemaGenerator::subschema_for::<LocalSubjectAccessReview>,
        "SelfSubjectAccessReview" => SchemaGenerator::subschema_for::<SelfSubjectAccessReview>,
        "SelfSubjectReview" => SchemaGenerator::subschema_for::<SelfSubjectReview>,
        "SelfSubjectRulesReview" => SchemaGenerator::subschema_for::<SelfSubjectRulesReview>,
        "SubjectAccessReview" => SchemaGenerator::subschema_for::<SubjectAccessReview>,
        _ => SchemaGenerator::subschema_for::<TokenReview>,
    };
    // Into the definitions, which is where it is taken from.
    let _reference = add(generator);
}

/// The name at the end of a `$ref`.
fn name_in(schema: &schemars::Schema) -> String {
    let reference = schema.get("$ref").and_then(Value::as_str).unwrap_or_default();
    reference.rsplit('/').next().unwrap_or_default().to_owned()
}

fn refine(name: &str, schema: &mut Value, version: Version) {
    let Some(schema) = schema.as_object_mut() else { return };
    if ANY_JSON.iter().any(|any| name.strip_suffix(any).is_some_and(|home| home.ends_with(".apiextensions.v1."))) {
        // One of several types, which only their text tells apart: documents have no words for it.
        schema.retain(|key, _| key == "description");
    }
    let shape = match (name, version) {
        (INT_OR_STRING, Version::V2) => Some(json!({"type": "string", "format": "int-or-string"})),
        (INT_OR_STRING, Version::V3) => {
            Some(json!({"oneOf": [{"type": "integer"}, {"type": "string"}], "format": "int-or-string"}))
        }
        (QUANTITY, Version::V2) => Some(json!({"type": "string"})),
        (QUANTITY, Version::V3) => Some(json!({"oneOf": [{"type": "string"}, {"type": "number"}]})),
        _ => None,
    };
    if let Some(Value::Object(shape)) = shape {
        schema.remove("x-kubernetes-int-or-string");
        schema.extend(shape);
    }
    let of = short_name(name).and_then(|name| builtin().named(&name));
    if of.and_then(Shape::as_struct).is_some_and(|of| of.atomic) {
        schema.insert("x-kubernetes-map-type".into(), "atomic".into());
    }
    if let Some((_, [group, version, kind])) = facts::OTHER_KINDS.iter().find(|(of, _)| *of == name) {
        let gvk = json!([{"group": group, "version": version, "kind": kind}]);
        schema.insert("x-kubernetes-group-version-kind".into(), gvk);
    }
    if let Some((_, discriminator, fields)) = facts::UNIONS.iter().find(|(of, ..)| *of == name) {
        schema.insert("x-kubernetes-unions".into(), union(discriminator, fields));
    }
    set_required(of, schema);
    let Some(properties) = schema.get_mut("properties").and_then(Value::as_object_mut) else { return };
    for (field, property) in properties {
        if let Some(property) = property.as_object_mut() {
            if let Some((field, shape)) = of.and_then(|of| of.field(field)) {
                add_merge_rules(field, shape, property);
            }
            let mut marks = facts::MARKS.iter().filter(|(of, marked, _)| *of == name && *marked == field.as_str());
            if let Some((_, _, (key, value))) = marks.next() {
                property.insert((*key).into(), (*value).into());
            }
            if version == Version::V3 {
                wrap_reference(property);
            }
        }
    }
}

/// `localhostProfile` is meant where the discriminator is `LocalhostProfile`.
fn union(discriminator: &str, fields: &[&str]) -> Value {
    let by: Map<String, Value> = fields.iter().map(|field| ((*field).to_owned(), capital(field).into())).collect();
    let mut union = json!({ "fields-to-discriminateBy": by });
    if !discriminator.is_empty() {
        union["discriminator"] = discriminator.into();
    }
    json!([union])
}

/// The crate's types cannot be without some fields that a request's body can, and can be without others.
fn set_required(of: Option<Shape<'_>>, schema: &mut Map<String, Value>) {
    let Some(of) = of.and_then(Shape::as_struct) else { return };
    let required: Vec<&str> = of.fields().iter().filter(|field| field.required).map(|field| &*field.name).collect();
    if required.is_empty() {
        schema.remove("required");
    } else {
        schema.insert("required".into(), json!(required));
    }
}

/// Group, version and kind of the schema's types, by their names there: wherever a kind is described, it says that it is one.
fn kinds() -> BTreeMap<&'static str, Value> {
    let of = |(api_version, kind): (&'static str, &'static str)| {
        let name = &*builtin().kind(api_version, kind)?.as_struct()?.name;
        let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
        Some((name, json!([{"group": group, "version": version, "kind": kind}])))
    };
    builtin().kinds().filter_map(of).collect()
}

/// Version 3 takes no siblings of `$ref`, so that descriptions need a wrapper.
fn wrap_reference(property: &mut Map<String, Value>) {
    if let Some(reference) = property.remove("$ref") {
        property.insert("allOf".into(), json!([{ "$ref": reference }]));
    }
}

/// The table's name of a type: `core.v1.PodSpec` for `io.k8s.api.core.v1.PodSpec`.
fn short_name(name: &str) -> Option<String> {
    const HOMES: [&str; 4] = [
        "io.k8s.api.",
        "io.k8s.apimachinery.pkg.apis.",
        "io.k8s.apiextensions-apiserver.pkg.apis.",
        "io.k8s.kube-aggregator.pkg.apis.",
    ];
    HOMES.iter().find_map(|home| name.strip_prefix(home)).map(str::to_owned)
}

/// How patches and server-side apply merge the field.
fn add_merge_rules(field: &Field, shape: Shape<'_>, property: &mut Map<String, Value>) {
    let strategy = match (field.patch.merge, field.patch.retain_keys) {
        (true, true) => Some("merge,retainKeys"),
        (true, false) => Some("merge"),
        (false, true) => Some("retainKeys"),
        (false, false) => None,
    };
    if let Some(strategy) = strategy {
        property.insert("x-kubernetes-patch-strategy".into(), strategy.into());
    }
    if let Some(key) = &field.patch.merge_key {
        property.insert("x-kubernetes-patch-merge-key".into(), (**key).into());
    }
    match shape.node() {
        Node::Map(SchemaMap { atomic: true, .. }) => {
            property.insert("x-kubernetes-map-type".into(), "atomic".into());
        }
        Node::List(list) => {
            let kind = match &list.kind {
                ListKind::Atomic => "atomic",
                ListKind::Set => "set",
                ListKind::Map(keys) => {
                    let keys: Vec<&str> = keys.iter().map(|key| &**key).collect();
                    property.insert("x-kubernetes-list-map-keys".into(), keys.into());
                    "map"
                }
            };
            property.insert("x-kubernetes-list-type".into(), kind.into());
        }
        Node::Map(_) | Node::Struct(_) | Node::Scalar(_) | Node::Any => {}
    }
}

pub fn list_of(name: &str, version: Version) -> Value {
    let kind = name.rsplit('.').next().unwrap_or(name);
    let mut metadata = version.reference(&format!("{META}.ListMeta"));
    if version == Version::V3
        && let Some(metadata) = metadata.as_object_mut()
    {
        wrap_reference(metadata);
    }
    json!({
        "description": format!("{kind}List is a list of {kind} objects."),
        "type": "object",
        "required": ["items"],
        "properties": {
            "apiVersion": {"type": "string", "description": "The version of the API that the list is in."},
            "kind": {"type": "string", "description": format!("{kind}List")},
            "metadata": metadata,
            "items": {"type": "array", "items": version.reference(name), "description": "The objects."},
        },
    })
}

fn watch_event(version: Version) -> Value {
    let mut object = version.reference(RAW_EXTENSION);
    if version == Version::V3
        && let Some(object) = object.as_object_mut()
    {
        wrap_reference(object);
    }
    json!({
        "description": "One change.",
        "type": "object",
        "required": ["object", "type"],
        "properties": {"object": object, "type": {"type": "string"}},
    })
}

fn patch_schema() -> Value {
    json!({"type": "object", "description": "A patch: its content type says in which form."})
}

//! Kinds that users define, as they are served: made of a CustomResourceDefinition.
//!
//! - [`object`]: their objects; [`rules`]: what each write does with them
//! - [`convert`]: from what is stored, and to it, where versions differ in their schemas and in nothing else; `webhook`: where a
//!   webhook converts
//! - `columns`, `json_path`: their tables; `openapi`: how they are described
//!
//! <https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/>

mod columns;
mod convert;
mod json_path;
mod object;
mod openapi;
mod preference;
mod rules;
mod webhook;

use std::borrow::Cow;
use std::sync::Arc;

use corten_api::Scope;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, CustomResourceDefinitionNames, CustomResourceDefinitionVersion, CustomResourceValidation,
    JSONSchemaProps,
};

use self::columns::Columns;
pub use self::object::CustomObject;
use self::object::Type;
pub use self::preference::by_preference;
use self::rules::{CustomRules, ScalePaths};
pub use self::webhook::ConversionWebhook;
use super::resource::CustomParts;
use super::structural::rules::ValidationRules;
use super::structural::{SchemaError, Structural, shape};
use super::{ApiResource, Conversion, Names, SelectableField};
use crate::schema::build::TooMany;

/// A kind in all its versions.
#[derive(Debug)]
pub struct CustomKind {
    /// The version that is stored, whether it is served or not.
    pub stored: Arc<ApiResource>,
    /// The one that clients prefer comes first.
    pub served: Vec<Arc<ApiResource>>,
}

/// Why a definition cannot be served. One that passed validation can.
#[derive(Debug, thiserror::Error)]
pub enum CustomKindError {
    #[error("it has no version that is stored")]
    NoStorage,
    #[error("version {version:?} has no schema")]
    NoSchema { version: String },
    #[error("its conversion cannot be read")]
    Conversion(#[source] serde_json::Error),
    #[error("the schema of version {version:?} cannot be used")]
    Schema {
        version: String,
        #[source]
        source: SchemaError,
    },
    #[error("the schema of version {version:?} cannot be used")]
    Shape {
        version: String,
        #[source]
        source: TooMany,
    },
}

/// The version that a stored object says that it is of; `None`: none, or none of this group.
pub fn version_said(of: &CustomResourceDefinition, stored: &[u8]) -> Option<String> {
    let said = convert::said(stored)?;
    let (group, version) = said.split_once('/')?;
    (group == of.spec.group).then(|| version.to_owned())
}

/// Where the objects of a definition's kind are stored.
pub fn store_prefix(of: &CustomResourceDefinition) -> String {
    format!("{}/{}", of.spec.group, of.spec.names.plural)
}

impl CustomKind {
    /// Under the names that were accepted. `terminating`: no object is made any more.
    pub fn of(crd: &CustomResourceDefinition, terminating: bool) -> Result<Self, CustomKindError> {
        let mut versions: Vec<&CustomResourceDefinitionVersion> = crd.spec.versions.iter().collect();
        versions.sort_by(|one, other| by_preference(&one.name, &other.name));
        // Objects may be stored in a version that is served no more.
        let all = versions.into_iter().map(|version| Compiled::of(crd, version)).collect::<Result<Vec<_>, _>>()?;
        let storage = all.iter().find(|compiled| compiled.version.storage).ok_or(CustomKindError::NoStorage)?;
        let versions = versions_of(crd, &all, storage)?;
        let stored = Arc::new(storage.resource(crd, &versions, terminating)?);
        let mut served = Vec::new();
        for compiled in all.iter().filter(|compiled| compiled.version.served) {
            if compiled.version.storage {
                served.push(stored.clone());
            } else {
                served.push(Arc::new(compiled.resource(crd, &versions, terminating)?));
            }
        }
        // Its objects can be deleted, whatever is served of it.
        if terminating && served.is_empty() {
            served.push(stored.clone());
        }
        Ok(Self { stored, served })
    }
    /// Of a definition that is to go and cannot be served as it is: its objects as they are stored, whatever is in them, so that they
    /// can be looked at, let go by who holds them, and deleted. None is made any more.
    pub fn unread(crd: &CustomResourceDefinition) -> Result<Self, CustomKindError> {
        let versions = &crd.spec.versions;
        let storage = versions.iter().find(|version| version.storage).or_else(|| versions.first());
        Self::unread_in(crd, &storage.ok_or(CustomKindError::NoStorage)?.name)
    }
    /// As [`unread`](Self::unread), of the objects that are stored in one version: they stay in it, and nobody converts them.
    pub fn unread_in(crd: &CustomResourceDefinition, version: &str) -> Result<Self, CustomKindError> {
        let anything = JSONSchemaProps {
            type_: Some("object".into()),
            x_kubernetes_preserve_unknown_fields: Some(true),
            ..JSONSchemaProps::default()
        };
        let version = CustomResourceDefinitionVersion {
            name: version.to_owned(),
            served: true,
            storage: true,
            schema: Some(CustomResourceValidation { open_api_v3_schema: Some(anything) }),
            ..CustomResourceDefinitionVersion::default()
        };
        let compiled = [Compiled::of(crd, &version)?];
        let versions = versions_of(crd, &compiled, &compiled[0])?;
        let stored = Arc::new(compiled[0].resource(crd, &versions, true)?);
        Ok(Self { served: vec![stored.clone()], stored })
    }
}

/// The versions of a kind, and who converts between them.
struct All {
    versions: Arc<convert::Versions>,
    webhook: Option<Arc<ConversionWebhook>>,
}

fn versions_of(
    crd: &CustomResourceDefinition,
    all: &[Compiled<'_>],
    stored: &Compiled<'_>,
) -> Result<All, CustomKindError> {
    let version = |compiled: &Compiled<'_>| (compiled.of.clone(), compiled.schema.clone());
    let versions = Arc::new(convert::Versions { all: all.iter().map(version).collect(), stored: version(stored) });
    let webhook = ConversionWebhook::of(crd, &versions).map_err(CustomKindError::Conversion)?;
    Ok(All { versions, webhook })
}

/// A version, its schema read.
struct Compiled<'d> {
    version: &'d CustomResourceDefinitionVersion,
    of: Arc<Type>,
    schema: Arc<Structural>,
    rules: Option<Arc<ValidationRules>>,
}

impl<'d> Compiled<'d> {
    fn of(
        crd: &CustomResourceDefinition,
        version: &'d CustomResourceDefinitionVersion,
    ) -> Result<Self, CustomKindError> {
        let name = || version.name.clone();
        let written = version.schema.as_ref().and_then(|schema| schema.open_api_v3_schema.as_ref());
        let written = written.ok_or_else(|| CustomKindError::NoSchema { version: name() })?;
        let schema = Structural::of(written).map_err(|source| CustomKindError::Schema { version: name(), source })?;
        let of = Type { api_version: format!("{}/{}", crd.spec.group, version.name), kind: names_of(crd).kind.clone() };
        Ok(Self {
            version,
            of: Arc::new(of),
            schema: Arc::new(schema),
            rules: ValidationRules::of(written).map(Arc::new),
        })
    }

    fn resource(
        &self,
        crd: &CustomResourceDefinition,
        all: &All,
        terminating: bool,
    ) -> Result<ApiResource, CustomKindError> {
        let Self { version, of, schema, rules } = self;
        let (arena, node) =
            shape::of(schema).map_err(|source| CustomKindError::Shape { version: version.name.clone(), source })?;
        let subresources = version.subresources.as_ref();
        let has_status = subresources.is_some_and(|subresources| subresources.status.is_some());
        let scale = subresources.and_then(|subresources| subresources.scale.as_ref()).map(ScalePaths::of);
        let mut names_of_subresources: Vec<Arc<str>> = Vec::new();
        names_of_subresources.extend(has_status.then(|| "status".into()));
        names_of_subresources.extend(scale.as_ref().map(|_| "scale".into()));
        let columns = Columns::of(version.additional_printer_columns.as_deref().unwrap_or_default());
        let conversion = match &all.webhook {
            Some(webhook) => Some(Conversion::Webhook(webhook.clone())),
            None => convert::local((of.clone(), schema.clone()), &all.versions).map(Conversion::Local),
        };
        let described = openapi::Described::of(&crd.spec.group, &of.kind, version);
        Ok(ApiResource::custom(CustomParts {
            names: names(crd, &version.name),
            scope: if crd.spec.scope == "Namespaced" { Scope::Namespaced } else { Scope::Cluster },
            store_prefix: store_prefix(crd).into(),
            subresources: names_of_subresources,
            fields: version.selectable_fields.iter().flatten().map(|field| selectable(&field.json_path)).collect(),
            columns: columns.shown().into(),
            conversion,
            schema: Arc::new(arena),
            node,
            deprecation: deprecation(crd, version),
            terminating,
            rules: Box::new(CustomRules {
                of: of.clone(),
                schema: schema.clone(),
                versions: all.versions.clone(),
                rules: rules.clone(),
                has_status,
                scale,
                columns,
                described,
            }),
        }))
    }
}

/// The names that were accepted; before any were, those that are wanted.
fn names_of(crd: &CustomResourceDefinition) -> &CustomResourceDefinitionNames {
    let accepted = crd.status.as_ref().and_then(|status| status.accepted_names.as_ref());
    accepted.filter(|names| !names.kind.is_empty()).unwrap_or(&crd.spec.names)
}

fn names(crd: &CustomResourceDefinition, version: &str) -> Names {
    let of = names_of(crd);
    let shared = |texts: &Option<Vec<String>>| texts.iter().flatten().map(|text| Arc::from(text.as_str())).collect();
    let or = |text: &Option<String>, other: String| Arc::from(text.clone().unwrap_or(other));
    Names {
        group: crd.spec.group.as_str().into(),
        version: version.into(),
        kind: of.kind.as_str().into(),
        list_kind: or(&of.list_kind, format!("{}List", of.kind)),
        plural: crd.spec.names.plural.as_str().into(),
        singular: or(&of.singular, of.kind.to_lowercase()),
        short_names: shared(&of.short_names),
        categories: shared(&of.categories),
    }
}

fn selectable(json_path: &str) -> SelectableField {
    let path: Cow<'static, str> = json_path.trim_start_matches('.').to_owned().into();
    SelectableField { name: path.clone(), path, absent: "".into() }
}

fn deprecation(crd: &CustomResourceDefinition, version: &CustomResourceDefinitionVersion) -> Option<String> {
    if version.deprecated != Some(true) {
        return None;
    }
    let called = |version: &str| format!("{}/{version} {}", crd.spec.group, crd.spec.names.kind);
    let better = crd.spec.versions.iter().filter(|other| {
        let comes_first = by_preference(&other.name, &version.name).is_lt();
        other.served && other.deprecated != Some(true) && comes_first
    });
    let best = better.map(|other| other.name.as_str()).min_by(|one, other| by_preference(one, other));
    let instead = best.map(|best| format!("; use {}", called(best))).unwrap_or_default();
    let plain = || format!("{} is deprecated{instead}", called(&version.name));
    Some(version.deprecation_warning.clone().unwrap_or_else(plain))
}

#[cfg(test)]
pub(crate) mod testing {
    use serde_json::{Value, json};

    use super::*;
    use crate::registry::check::testing::created;

    /// A definition as the store has it, its names accepted.
    pub(crate) fn definition(spec: Value) -> CustomResourceDefinition {
        let (plural, group) = (spec["names"]["plural"].as_str().unwrap(), spec["group"].as_str().unwrap());
        let json = json!({"metadata": {"name": format!("{plural}.{group}")}, "spec": spec});
        let mut crd: CustomResourceDefinition = created(&json.to_string());
        crd.status.as_mut().unwrap().accepted_names = Some(crd.spec.names.clone());
        crd
    }
    pub(crate) fn version(name: &str, storage: bool, schema: Value) -> Value {
        json!({"name": name, "served": true, "storage": storage, "schema": {"openAPIV3Schema": schema}})
    }
    /// Of `tabs.example.com`.
    pub(crate) fn tabs(versions: Vec<Value>) -> CustomResourceDefinition {
        definition(json!({
            "group": "example.com", "scope": "Namespaced",
            "names": {"plural": "tabs", "kind": "Tab", "shortNames": ["tb"]}, "versions": versions,
        }))
    }
}

#[cfg(test)]
mod tests;

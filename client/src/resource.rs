//! Kinds that are known by their names alone, and the part of an object that is the same for all of them.

use std::fmt;
use std::sync::Arc;

use corten_api::Scope;
use corten_proto::api;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::{Metadata, NamespaceResourceScope, Resource};
use serde::{Deserialize, Serialize};

/// A kind that is served in one version.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ApiResource {
    /// "" for the core.
    pub group: Arc<str>,
    pub version: Arc<str>,
    pub plural: Arc<str>,
    pub kind: Arc<str>,
    pub is_namespaced: bool,
    /// Kinds that have the same are the same objects, in other versions.
    pub stored_as: Arc<str>,
}

impl ApiResource {
    /// `v1`, `apps/v1`.
    pub fn api_version(&self) -> String {
        if self.group.is_empty() { self.version.to_string() } else { format!("{}/{}", self.group, self.version) }
    }
    pub fn scope(&self) -> Scope {
        if self.is_namespaced { Scope::Namespaced } else { Scope::Cluster }
    }
    pub(crate) fn at(&self, namespace: &str, name: &str) -> api::Resource {
        api::Resource {
            group: self.group.to_string(),
            version: self.version.to_string(),
            plural: self.plural.to_string(),
            subresource: String::new(),
            namespace: namespace.into(),
            name: name.into(),
        }
    }
}

/// As messages name it: `pods`, `deployments.apps`.
impl fmt::Display for ApiResource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&corten_api::error::qualified(&self.plural, &self.group))
    }
}

impl From<api::ServedKind> for ApiResource {
    fn from(told: api::ServedKind) -> Self {
        Self {
            group: told.group.into(),
            version: told.version.into(),
            plural: told.plural.into(),
            kind: told.kind.into(),
            is_namespaced: told.namespaced,
            stored_as: told.stored_as.into(),
        }
    }
}

/// What every object has, whatever it is. All else stays with the apiserver: a Secret's data never comes into this program.
/// <https://kubernetes.io/docs/reference/using-api/api-concepts/#metadata-only-fetches>
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct PartialObjectMetadata {
    pub metadata: ObjectMeta,
}

impl Resource for PartialObjectMetadata {
    const API_VERSION: &'static str = "meta.k8s.io/v1";
    const GROUP: &'static str = "meta.k8s.io";
    const KIND: &'static str = "PartialObjectMetadata";
    const VERSION: &'static str = "v1";
    const URL_PATH_SEGMENT: &'static str = "partialobjectmetadata";
    type Scope = NamespaceResourceScope;
}

corten_api::json_kinds!(PartialObjectMetadata);

impl Metadata for PartialObjectMetadata {
    type Ty = ObjectMeta;
    fn metadata(&self) -> &ObjectMeta {
        &self.metadata
    }
    fn metadata_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_metadata_is_read() {
        let text = r#"{"apiVersion":"v1","kind":"Secret","metadata":{"name":"s","uid":"u"},"data":{"k":"dg=="}}"#;
        let secret: PartialObjectMetadata = serde_json::from_str(text).unwrap();
        assert_eq!(serde_json::to_string(&secret).unwrap(), r#"{"metadata":{"name":"s","uid":"u"}}"#);
    }
}

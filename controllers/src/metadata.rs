//! The part of an object that is the same for all kinds: what the garbage collector and the namespace controller read.

use corten_api::Key;
use corten_api::k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};

#[derive(Clone, Debug, Default, PartialEq)]
pub struct SeenMeta {
    pub key: Key,
    pub uid: String,
    pub revision: i64,
    pub owners: Vec<OwnerReference>,
    pub finalizers: Vec<String>,
    pub deleting: bool,
}

impl SeenMeta {
    pub fn of(meta: &ObjectMeta) -> Self {
        Self {
            key: Key::new(meta.namespace.clone().unwrap_or_default(), meta.name.clone().unwrap_or_default()),
            uid: meta.uid.clone().unwrap_or_default(),
            revision: meta.resource_version.as_deref().and_then(|v| v.parse().ok()).unwrap_or(0),
            owners: meta.owner_references.clone().unwrap_or_default(),
            finalizers: meta.finalizers.clone().unwrap_or_default(),
            deleting: meta.deletion_timestamp.is_some(),
        }
    }
    pub fn has_finalizer(&self, name: &str) -> bool {
        self.finalizers.iter().any(|f| f == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_read() {
        let text = r#"{"name":"s","namespace":"n","uid":"u","resourceVersion":"7","finalizers":["f"]}"#;
        let seen = SeenMeta::of(&serde_json::from_str(text).unwrap());
        assert_eq!((seen.key.to_string(), seen.revision), ("n/s".to_owned(), 7));
        assert!(seen.has_finalizer("f") && !seen.has_finalizer("g") && !seen.deleting);
    }
}

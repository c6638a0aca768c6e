//! The cluster of tests: a few objects, and what everybody may do.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use bytes::Bytes;
use corten_api::ApiError;
use corten_api::selector::{FieldSelector, Selector};
use serde_json::Value;

use super::{ClusterView, Objects};
use crate::registry::Registry;
use crate::request::{Target, User};

/// Objects by `plural/namespace/name`, and what everybody may: `verb resource[/subresource] [namespace/]name`.
#[derive(Clone, Default)]
pub(crate) struct Cluster {
    objects: BTreeMap<String, Bytes>,
    pub(crate) grants: Vec<&'static str>,
}

impl Cluster {
    pub(crate) fn of(objects: &[(&str, Value)]) -> Self {
        Self::default().with(objects)
    }
    pub(crate) fn granting(grants: &[&'static str]) -> Self {
        Self { grants: grants.to_vec(), ..Self::default() }
    }
    /// With one more, or in the place of what is there.
    pub(crate) fn add(&mut self, key: &str, object: &Value) {
        self.objects.insert(key.to_owned(), object.to_string().into());
    }
    /// With these, too, or in the place of those there are.
    pub(crate) fn with(mut self, objects: &[(&str, Value)]) -> Self {
        self.objects.extend(objects.iter().map(|(key, object)| ((*key).to_owned(), object.to_string().into())));
        self
    }
}

/// Objects are kept without their group, so who asks for a plural in the wrong one must not find it.
fn expect_kind(group: &str, plural: &str) {
    static REGISTRY: LazyLock<Registry> = LazyLock::new(Registry::default);
    assert!(REGISTRY.find_any_version(group, plural).is_some(), "there is no kind {plural:?} in {group:?}");
}

impl Objects for Cluster {
    fn get(&self, group: &str, plural: &str, namespace: &str, name: &str) -> Option<Bytes> {
        expect_kind(group, plural);
        self.objects.get(&format!("{plural}/{namespace}/{name}")).cloned()
    }
}

fn said(may: bool, user: &User) -> Result<String, String> {
    if may { Ok("it is granted".into()) } else { Err(format!("not to {}", user.name)) }
}

impl ClusterView for Cluster {
    fn list(&self, group: &str, plural: &str, namespace: &str) -> Vec<Bytes> {
        expect_kind(group, plural);
        let prefix = if namespace.is_empty() { format!("{plural}/") } else { format!("{plural}/{namespace}/") };
        self.objects.iter().filter(|(key, _)| key.starts_with(&prefix)).map(|(_, json)| json.clone()).collect()
    }
    fn selected(&self, group: &str, plural: &str, namespace: &str, labels: &Selector) -> Vec<Bytes> {
        let has = |json: &Bytes| {
            let object: Value = serde_json::from_slice(json).unwrap();
            labels.matches_by(|label| object["metadata"]["labels"][label].as_str())
        };
        self.list(group, plural, namespace).into_iter().filter(has).collect()
    }
    fn may_and_why(
        &self,
        user: &User,
        verb: &str,
        target: &Target,
        _: &FieldSelector,
    ) -> Result<Result<String, String>, ApiError> {
        Ok(said(self.may(user, verb, target), user))
    }
    fn may_use_and_why(&self, user: &User, verb: &str, path: &str) -> Result<String, String> {
        said(self.grants.contains(&format!("{verb} {path}").as_str()), user)
    }
    fn may(&self, _user: &User, verb: &str, target: &Target) -> bool {
        let slash = |text: &str| if text.is_empty() { String::new() } else { format!("{text}/") };
        let sub = if target.subresource.is_empty() { String::new() } else { format!("/{}", target.subresource) };
        let asked = format!("{verb} {}{sub} {}{}", target.resource, slash(&target.namespace), target.name);
        self.grants.contains(&asked.as_str())
    }
}

#[test]
fn a_cluster_lists_a_namespace_or_all_of_them() {
    let cluster = Cluster::of(&[("pods/a/x", 1.into()), ("pods/b/y", 2.into()), ("podsets/a/z", 3.into())]);
    assert_eq!(cluster.list("", "pods", "a"), ["1"]);
    assert_eq!(cluster.list("", "pods", ""), ["1", "2"]);
}

#[test]
#[should_panic(expected = "there is no kind")]
fn a_cluster_has_kinds_in_their_groups_alone() {
    Cluster::default().get("apps", "pods", "a", "x");
}

//! What the apiserver must know about each kind beyond its type; the rest of the server knows only this.
//!
//! [`Kind`] is what one file in `registry/` says of its kind. [`Entry`] is the same with the type erased: the read and
//! write paths handle `&dyn Entry` and `Box<dyn AnyObject>`, so they are written once, and kinds made at run time
//! (custom resources) can be entries too. The list of all entries is [`all`]; [`Registry`] looks them up.

pub mod entry;

pub mod cells;
pub mod check;
pub mod path;
pub mod workload;

pub mod configmap;
pub mod controllerrevision;
pub mod deployment;
pub mod endpoints;
pub mod endpointslice;
pub mod event;
pub mod ipaddress;
pub mod lease;
pub mod namespace;
pub mod node;
pub mod pod;
pub mod podtemplate;
pub mod replicaset;
pub mod replicationcontroller;
pub mod secret;
pub mod service;
pub mod serviceaccount;

use std::borrow::Cow;
use std::sync::Arc;

use corten_api::{Object, Problems};
pub use entry::{AnyObject, Entry};
use k8s_openapi::api::{apps::v1 as apps, coordination::v1 as coordination, core::v1 as core};
use k8s_openapi::api::{discovery::v1 as discovery, events::v1 as events, networking::v1 as networking};

/// Every kind the server serves: the table of contents. Discovery shows them in this order.
pub fn all() -> Vec<Box<dyn Entry>> {
    vec![
        entry::of::<core::ConfigMap>(),
        entry::of::<core::Endpoints>(),
        entry::of::<core::Event>(),
        entry::of::<core::Namespace>(),
        entry::of::<core::Node>(),
        entry::of::<core::Pod>(),
        entry::of::<core::PodTemplate>(),
        entry::of::<core::ReplicationController>(),
        entry::of::<core::Secret>(),
        entry::of::<core::ServiceAccount>(),
        entry::of::<core::Service>(),
        entry::of::<apps::ControllerRevision>(),
        entry::of::<apps::Deployment>(),
        entry::of::<apps::ReplicaSet>(),
        entry::of::<coordination::Lease>(),
        entry::of::<discovery::EndpointSlice>(),
        entry::of::<events::Event>(),
        entry::of::<networking::IPAddress>(),
    ]
}

/// The kinds, found by name. Cheap to clone.
#[derive(Clone)]
pub struct Registry(Arc<[Box<dyn Entry>]>);

impl Registry {
    pub fn new(entries: Vec<Box<dyn Entry>>) -> Self {
        Self(entries.into())
    }
    /// By the names in a request's path.
    pub fn find(&self, group: &str, version: &str, plural: &str) -> Option<&dyn Entry> {
        self.iter().find(|e| e.plural() == plural && e.group() == group && e.version() == version)
    }
    pub fn iter(&self) -> impl Iterator<Item = &dyn Entry> {
        self.0.iter().map(Box::as_ref)
    }
}

impl Default for Registry {
    /// All built-in kinds.
    fn default() -> Self {
        Self::new(all())
    }
}

impl std::fmt::Debug for Registry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.iter().map(|e| (e.group(), e.version(), e.plural()))).finish()
    }
}

/// A cell of `kubectl get`'s table.
#[derive(Clone, Debug, PartialEq)]
pub enum Cell {
    Text(Cow<'static, str>),
    Int(i64),
    /// `<none>`, `<unknown>` and the like are Text; Null is for cells that JSON shows as null.
    Null,
}

/// A column of the table. <https://kubernetes.io/docs/reference/using-api/api-concepts/#receiving-resources-as-tables>
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Column {
    pub name: &'static str,
    /// `string`, `integer`, `date`.
    pub kind: &'static str,
    /// `name` for the name column, else empty.
    pub format: &'static str,
    pub description: &'static str,
    /// 0 is always shown; 1 only with `-o wide`.
    pub priority: i32,
}

/// A selectable field: its name in a field selector, where its value stands in the object's JSON *as stored*
/// (a dotted path, or several with `|` between: the first that is not empty counts), and the value of an object that
/// lacks it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field {
    pub name: &'static str,
    pub path: &'static str,
    pub absent: &'static str,
}

/// One kind's rules. The order in which the write path uses them:
/// create: decode → `fill_defaults` → `prepare_create` → admission → `validate` → store;
/// update: decode → `fill_defaults` → `prepare_update` → admission → `validate` + `validate_update` → store;
/// status: decode → `fill_defaults` → `prepare_status` → `validate_status` → store.
/// ObjectMeta (names, labels, ownerReferences, finalizers, …) is defaulted, kept and validated by the write path
/// itself, for all kinds alike; `name_rule` tells it how names of this kind look.
pub trait Kind: Object + Default + schemars::JsonSchema {
    const SINGULAR: &'static str;
    const SHORT_NAMES: &'static [&'static str] = &[];
    const CATEGORIES: &'static [&'static str] = &[];
    /// Under `/registry/`, as upstream has it: `pods`, `services/specs`, `minions`, …
    const STORE_PREFIX: &'static str;
    /// `status`, `scale`, `log`, `binding`, …; what each does is the write path's and `connect`'s business.
    const SUBRESOURCES: &'static [&'static str] = &[];
    /// Beyond `metadata.name` and `metadata.namespace`.
    const FIELDS: &'static [Field] = &[];
    /// Whether `metadata.generation` counts changes of the spec.
    const HAS_GENERATION: bool = false;
    /// Seconds after which the store forgets an object (events); `None`: never.
    const TTL_SECS: Option<u32> = None;
    /// Whether an update may make an object that is not there (Lease, Event do upstream; Pod does not).
    const CREATE_ON_UPDATE: bool = false;
    /// Whether an update need not carry a resourceVersion.
    const UNCONDITIONAL_UPDATE: bool = true;
    const NAME_RULE: NameRule = NameRule::Dns1123Subdomain;
    /// Whether all objects of a namespace, or of a selector, can be deleted with one request.
    const DELETE_COLLECTION: bool = true;

    fn fill_defaults(&mut self) {}
    /// Clears what the server owns (status), sets what it makes.
    fn prepare_create(&mut self) {}
    /// Keeps what a plain write may not touch (status).
    fn prepare_update(&mut self, _old: &Self) {}
    /// Keeps all but status (and what else a status write may touch).
    fn prepare_status(&mut self, _old: &Self) {}
    /// Whether `metadata.generation` must rise. Asked after `prepare_update`.
    fn spec_changed(&self, _old: &Self) -> bool {
        false
    }
    fn validate(&self, problems: &mut Problems);
    fn validate_update(&self, _old: &Self, _problems: &mut Problems) {}
    fn validate_status(&self, _old: &Self, _problems: &mut Problems) {}
    /// How long a delete without `gracePeriodSeconds` waits for the owner of the object (the kubelet) to end it;
    /// `None`: no grace, gone at once. `asked`: what the request says.
    fn deletion_grace_secs(&self, _asked: Option<i64>) -> Option<i64> {
        None
    }
    /// Whether the kind's own finalizers (a Namespace's `spec.finalizers`) still hold back a delete, as
    /// `metadata.finalizers` do for every kind.
    fn holds_deletion(&self) -> bool {
        false
    }
    /// What a delete that has to wait writes into the object besides `metadata.deletionTimestamp`.
    fn mark_deleting(&mut self) {}
    /// Keeps all but what the `finalize` subresource may write.
    fn prepare_finalize(&mut self, _old: &Self) {}
    fn columns() -> &'static [Column];
    /// One cell for each column. `now_secs`: Unix time, for ages.
    fn row(&self, now_secs: i64) -> Vec<Cell>;
    /// For a kind served in another version than the one stored (events.k8s.io): the stored JSON → this kind's JSON,
    /// and back. `None`: stored as served.
    fn conversion() -> Option<Conversion> {
        None
    }
    /// Reads and changes `spec.replicas` through the scale subresource; kinds with `scale` give it.
    fn scale() -> Option<ScaleAccess<Self>> {
        None
    }
}

/// How a kind's objects may be named.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NameRule {
    Dns1123Subdomain,
    Dns1123Label,
    Dns1035Label,
    /// Anything that can stand in a path segment: not ".", "..", no "/" nor "%".
    PathSegment,
}

/// Both directions of a kind that is stored as another. JSON in, JSON out.
#[derive(Clone, Copy)]
pub struct Conversion {
    pub from_stored: fn(&[u8]) -> Result<Vec<u8>, serde_json::Error>,
    pub to_stored: fn(&[u8]) -> Result<Vec<u8>, serde_json::Error>,
}

/// What the scale subresource needs of a kind.
pub struct ScaleAccess<K: ?Sized> {
    pub spec_replicas: fn(&K) -> i32,
    pub set_spec_replicas: fn(&mut K, i32),
    pub status_replicas: fn(&K) -> i32,
    /// The selector in its query form.
    pub selector: fn(&K) -> String,
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_kind_is_in_the_list_that_all_programs_follow() {
        let entries = super::all();
        let here: Vec<_> = entries.iter().map(|e| (e.group(), e.plural())).collect();
        assert_eq!(here, corten_api::kinds::SERVED);
    }
}

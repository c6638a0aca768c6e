//! What the apiserver must know about each kind beyond its type; the rest of the server knows only this.
//!
//! [`Kind`] is what one file in `registry/` says of its kind. [`ApiResource`] is the same as data, with the type erased: the
//! read and write paths handle it and `Box<dyn AnyObject>`, so they are written once. [`Registry`] says which kinds are
//! served, and may change while the server runs; those that every server has are [`builtin`].

mod object;
mod resource;
mod rules;
mod table;

pub mod access_modes;
pub mod cells;
pub mod check;
pub mod difference;
pub mod node_selector;
pub mod path;
pub mod quantities;
pub mod resource_names;
pub mod storage_class_name;
pub mod volume_source;
pub mod workload;

pub mod configmap;
pub mod controllerrevision;
pub mod deployment;
pub mod endpoints;
pub mod endpointslice;
pub mod event;
pub mod ipaddress;
pub mod lease;
pub mod limitrange;
pub mod namespace;
pub mod node;
pub mod persistentvolume;
pub mod persistentvolumeclaim;
pub mod pod;
pub mod podtemplate;
pub mod replicaset;
pub mod replicationcontroller;
pub mod resourcequota;
pub mod secret;
pub mod service;
pub mod serviceaccount;

use std::borrow::Cow;

use corten_api::{Object, Problems};
use k8s_openapi::api::{apps::v1 as apps, coordination::v1 as coordination, core::v1 as core};
use k8s_openapi::api::{discovery::v1 as discovery, events::v1 as events, networking::v1 as networking};
pub use object::AnyObject;
pub use resource::{ApiResource, Names};
pub use rules::{Rules, ScaleView};
pub use table::{Registry, Table};

/// Every kind that has a type: the table of contents. Discovery shows them in this order.
pub fn builtin() -> Vec<ApiResource> {
    vec![
        ApiResource::of::<core::ConfigMap>(),
        ApiResource::of::<core::Endpoints>(),
        ApiResource::of::<core::Event>(),
        ApiResource::of::<core::LimitRange>(),
        ApiResource::of::<core::Namespace>(),
        ApiResource::of::<core::Node>(),
        ApiResource::of::<core::PersistentVolumeClaim>(),
        ApiResource::of::<core::PersistentVolume>(),
        ApiResource::of::<core::Pod>(),
        ApiResource::of::<core::PodTemplate>(),
        ApiResource::of::<core::ReplicationController>(),
        ApiResource::of::<core::ResourceQuota>(),
        ApiResource::of::<core::Secret>(),
        ApiResource::of::<core::ServiceAccount>(),
        ApiResource::of::<core::Service>(),
        ApiResource::of::<apps::ControllerRevision>(),
        ApiResource::of::<apps::Deployment>(),
        ApiResource::of::<apps::ReplicaSet>(),
        ApiResource::of::<coordination::Lease>(),
        ApiResource::of::<discovery::EndpointSlice>(),
        ApiResource::of::<events::Event>(),
        ApiResource::of::<networking::IPAddress>(),
    ]
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
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    pub name: Cow<'static, str>,
    /// `string`, `integer`, `date`.
    pub kind: Cow<'static, str>,
    /// `name` for the name column, else empty.
    pub format: Cow<'static, str>,
    pub description: Cow<'static, str>,
    /// 0 is always shown; 1 only with `-o wide`.
    pub priority: i32,
}

/// A selectable field: its name in a field selector, where its value stands in the object's JSON *as stored*
/// (a dotted path, or several with `|` between: the first that is not empty counts), and the value of an object that
/// lacks it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SelectableField {
    pub name: Cow<'static, str>,
    pub path: Cow<'static, str>,
    pub absent: Cow<'static, str>,
}

impl SelectableField {
    pub const fn new(name: &'static str, path: &'static str, absent: &'static str) -> Self {
        Self { name: Cow::Borrowed(name), path: Cow::Borrowed(path), absent: Cow::Borrowed(absent) }
    }
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
    const FIELDS: &'static [SelectableField] = &[];
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
        let resources = super::builtin();
        let here: Vec<_> = resources.iter().map(|resource| (resource.group(), resource.plural())).collect();
        assert_eq!(here, corten_api::kinds::SERVED);
    }
}

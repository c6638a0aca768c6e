//! What the apiserver must know about each kind beyond its type; the rest of the server knows only this.
//!
//! [`Kind`] is what one file in `registry/` says of its kind. [`ApiResource`] is the same as data, with the type erased: the
//! read and write paths handle it and `Box<dyn AnyObject>`, so they are written once. [`Registry`] says which kinds are
//! served, and may change while the server runs; those that every server has are [`builtin`].
//!
//! Groups of several kinds have a room each; the core's kinds, and those that are alone in their group, stand beside the rooms.

#[macro_use]
mod strategy;

mod object;
mod part;
mod resource;
mod rules;
mod table;

pub mod access_modes;
pub mod cells;
pub mod check;
pub mod clock;
pub mod conditions;
pub mod defaults;
pub mod difference;
pub mod node_selector;
pub mod path;
pub mod quantities;
pub mod questions;
pub mod ratchet;
pub mod resource_names;
pub mod status;
pub mod storage_class_name;
pub mod structural;
pub mod subresource;
pub mod volume_source;
pub mod warnings;
pub mod workload;

pub mod admissionregistration;
pub mod apiextensions;
pub mod apiregistration;
pub mod apps;
pub mod autoscaling;
pub mod batch;
pub mod certificates;
pub mod configmap;
pub mod custom;
pub mod dra;
pub mod endpoints;
pub mod endpointslice;
pub mod event;
pub mod flowcontrol;
pub mod lease;
pub mod limitrange;
pub mod namespace;
pub mod networking;
pub mod node;
pub mod persistentvolume;
pub mod persistentvolumeclaim;
pub mod pod;
pub mod podtemplate;
pub mod policy;
pub mod rbac;
pub mod replicationcontroller;
pub mod resourcequota;
pub mod runtimeclass;
pub mod scheduling;
pub mod secret;
pub mod service;
pub mod serviceaccount;
pub mod storage;
pub mod storagemigration;
pub mod webhook_client;

use std::borrow::Cow;
use std::sync::Arc;

use corten_api::{Object, Problems};
pub use custom::ConversionWebhook;
use k8s_openapi::api;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use k8s_openapi::kube_aggregator::pkg::apis::apiregistration::v1::APIService;
pub use object::AnyObject;
pub use part::Part;
pub use resource::{ApiResource, CustomParts, Names};
pub use rules::{Rules, ScaleView};
pub use strategy::{Strategy, WriteContext};
pub use table::{Registry, Table};

/// Every kind that has a type: the table of contents. Discovery shows them in this order.
pub fn builtin() -> Vec<ApiResource> {
    vec![
        ApiResource::of::<api::core::v1::ConfigMap>(),
        ApiResource::of::<api::core::v1::Endpoints>(),
        ApiResource::of::<api::core::v1::Event>(),
        ApiResource::of::<api::core::v1::LimitRange>(),
        ApiResource::of::<api::core::v1::Namespace>(),
        ApiResource::of::<api::core::v1::Node>(),
        ApiResource::of::<api::core::v1::PersistentVolumeClaim>(),
        ApiResource::of::<api::core::v1::PersistentVolume>(),
        ApiResource::of::<api::core::v1::Pod>(),
        ApiResource::of::<api::core::v1::PodTemplate>(),
        ApiResource::of::<api::core::v1::ReplicationController>(),
        ApiResource::of::<api::core::v1::ResourceQuota>(),
        ApiResource::of::<api::core::v1::Secret>(),
        ApiResource::of::<api::core::v1::ServiceAccount>(),
        ApiResource::of::<api::core::v1::Service>(),
        ApiResource::of::<api::admissionregistration::v1::MutatingAdmissionPolicy>(),
        ApiResource::of::<api::admissionregistration::v1::MutatingAdmissionPolicyBinding>(),
        ApiResource::of::<api::admissionregistration::v1::MutatingWebhookConfiguration>(),
        ApiResource::of::<api::admissionregistration::v1::ValidatingAdmissionPolicy>(),
        ApiResource::of::<api::admissionregistration::v1::ValidatingAdmissionPolicyBinding>(),
        ApiResource::of::<api::admissionregistration::v1::ValidatingWebhookConfiguration>(),
        ApiResource::of::<CustomResourceDefinition>(),
        ApiResource::of::<APIService>(),
        ApiResource::of::<api::apps::v1::ControllerRevision>(),
        ApiResource::of::<api::apps::v1::DaemonSet>(),
        ApiResource::of::<api::apps::v1::Deployment>(),
        ApiResource::of::<api::apps::v1::ReplicaSet>(),
        ApiResource::of::<api::apps::v1::StatefulSet>(),
        // Of two versions clients prefer the first.
        ApiResource::of::<api::autoscaling::v2::HorizontalPodAutoscaler>(),
        ApiResource::of::<api::autoscaling::v1::HorizontalPodAutoscaler>(),
        ApiResource::of::<api::batch::v1::CronJob>(),
        ApiResource::of::<api::batch::v1::Job>(),
        ApiResource::of::<api::certificates::v1::CertificateSigningRequest>(),
        ApiResource::of::<api::certificates::v1::ClusterTrustBundle>(),
        ApiResource::of::<api::certificates::v1::PodCertificateRequest>(),
        ApiResource::of::<api::coordination::v1::Lease>(),
        ApiResource::of::<api::discovery::v1::EndpointSlice>(),
        ApiResource::of::<api::events::v1::Event>(),
        ApiResource::of::<api::flowcontrol::v1::FlowSchema>(),
        ApiResource::of::<api::flowcontrol::v1::PriorityLevelConfiguration>(),
        ApiResource::of::<api::networking::v1::IngressClass>(),
        ApiResource::of::<api::networking::v1::Ingress>(),
        ApiResource::of::<api::networking::v1::IPAddress>(),
        ApiResource::of::<api::networking::v1::NetworkPolicy>(),
        ApiResource::of::<api::networking::v1::ServiceCIDR>(),
        ApiResource::of::<api::node::v1::RuntimeClass>(),
        ApiResource::of::<api::policy::v1::PodDisruptionBudget>(),
        ApiResource::of::<api::rbac::v1::ClusterRoleBinding>(),
        ApiResource::of::<api::rbac::v1::ClusterRole>(),
        ApiResource::of::<api::rbac::v1::RoleBinding>(),
        ApiResource::of::<api::rbac::v1::Role>(),
        ApiResource::of::<api::resource::v1::DeviceClass>(),
        ApiResource::of::<api::resource::v1::DeviceTaintRule>(),
        ApiResource::of::<api::resource::v1::ResourceClaim>(),
        ApiResource::of::<api::resource::v1::ResourceClaimTemplate>(),
        ApiResource::of::<api::resource::v1::ResourceSlice>(),
        ApiResource::of::<api::scheduling::v1::PriorityClass>(),
        ApiResource::of::<api::storage::v1::CSIDriver>(),
        ApiResource::of::<api::storage::v1::CSINode>(),
        ApiResource::of::<api::storage::v1::CSIStorageCapacity>(),
        ApiResource::of::<api::storage::v1::StorageClass>(),
        ApiResource::of::<api::storage::v1::VolumeAttachment>(),
        ApiResource::of::<api::storage::v1::VolumeAttributesClass>(),
        ApiResource::of::<api::storagemigration::v1::StorageVersionMigration>(),
    ]
}

/// A cell of `kubectl get`'s table.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
#[serde(untagged)]
pub enum Cell {
    Text(Cow<'static, str>),
    Int(i64),
    /// Numbers with a fraction, and what is true or false.
    Json(serde_json::Value),
    /// `<none>`, `<unknown>` and the like are Text; Null is for cells that JSON shows as null.
    Null,
}

/// A column of the table. <https://kubernetes.io/docs/reference/using-api/api-concepts/#receiving-resources-as-tables>
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    pub name: Cow<'static, str>,
    /// `string`, `integer`, `boolean`, `date`.
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
    /// Whether both always have the same value: one is another name of the other, and is kept once.
    pub fn is_same_as(&self, other: &Self) -> bool {
        self.path == other.path && self.absent == other.absent
    }
}

/// One kind's rules. Every write goes: decode → `fill_defaults` → prepare → admission → validate → store; which hooks prepare
/// and validate are in which write, [`Strategy`] says.
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
    /// Whether what an object owns stays when its delete says nothing of it, and what the caller is told then ("": nothing).
    const ORPHANS_BY_DEFAULT: Option<&'static str> = None;
    /// Whether judging one object, however small, may keep a thread busy for long.
    const IS_COSTLY: bool = false;
    /// Whether all objects of a namespace, or of a selector, can be deleted with one request.
    const DELETE_COLLECTION: bool = true;
    /// Whether a write of the status leaves metadata alone, as upstream's newer kinds have it.
    const STATUS_KEEPS_METADATA: bool = false;
    /// Whether the delete of an object that goes at once is answered with the object. Else it is with a `Status`.
    const DELETE_RETURNS_OBJECT: bool = false;
    /// What whoever uses this version of the kind is told with every answer. <https://kubernetes.io/docs/reference/using-api/deprecation-policy/>
    const DEPRECATION: Option<&'static str> = None;

    fn fill_defaults(&mut self) {}
    /// What a new object is seen to be. This and the next three are written by `strategy!`, which every kind has.
    fn start_status(&mut self);
    fn keep_status(&mut self, old: &Self);
    fn keep_spec(&mut self, old: &Self);
    fn has_other_spec(&self, old: &Self) -> bool;
    /// Sets what the server makes, beyond the status of a new object.
    fn prepare_create(&mut self, _context: &WriteContext<'_>) {}
    /// Keeps what a plain write may not touch, beyond the status.
    fn prepare_update(&mut self, _old: &Self, _context: &WriteContext<'_>) {}
    /// Keeps what a write of the status may not touch, beyond the spec.
    fn prepare_status(&mut self, _old: &Self, _context: &WriteContext<'_>) {}
    /// Keeps what the `approval` subresource may not write, beyond the spec.
    fn prepare_approval(&mut self, _old: &Self, _context: &WriteContext<'_>) {}
    /// Keeps of the spec all but what a write of this part may touch.
    fn prepare_part(&mut self, _part: Part, _old: &Self) {}
    /// Whether `metadata.generation` must rise. Asked after preparing.
    fn spec_changed(&self, old: &Self) -> bool {
        self.has_other_spec(old)
    }
    fn validate(&self, problems: &mut Problems);
    fn validate_update(&self, _old: &Self, _problems: &mut Problems) {}
    /// All of an object in the place of another. A kind may leave out what was judged before and has not changed.
    fn validate_over(&self, old: &Self, problems: &mut Problems) {
        self.validate(problems);
        self.validate_update(old, problems);
    }
    fn validate_status(&self, _old: &Self, _problems: &mut Problems) {}
    fn validate_approval(&self, _old: &Self, _problems: &mut Problems) {}
    fn validate_part(&self, _part: Part, _old: &Self, _problems: &mut Problems) {}
    /// What whoever creates (`old`: `None`) or updates the object should know, though it is good. Asked after validation.
    fn warnings(&self, _old: Option<&Self>) -> Vec<String> {
        Vec::new()
    }
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
    fn columns() -> &'static [Column];
    /// One cell for each column. `now_secs`: Unix time, for ages.
    fn row(&self, now_secs: i64) -> Vec<Cell>;
    /// For a kind served in another version than the one stored (events.k8s.io): the stored JSON → this kind's JSON,
    /// and back. `None`: stored as served.
    fn conversion() -> Option<LocalConversion> {
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
    /// Anything that can stand in a path segment: not ".", "..", no "/" nor "%".
    PathSegment,
}

/// JSON in, JSON out.
pub type Convert = Arc<dyn Fn(&[u8]) -> Result<Vec<u8>, serde_json::Error> + Send + Sync>;

/// Both directions of a kind that is stored as another.
#[derive(Clone)]
pub struct LocalConversion {
    pub from_stored: Convert,
    pub to_stored: Convert,
}

/// How a kind's objects are converted between what is stored and what is served.
#[derive(Clone)]
pub enum Conversion {
    /// It is done here.
    Local(LocalConversion),
    /// Somebody else is asked, and may take his time.
    Webhook(Arc<ConversionWebhook>),
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
    use std::collections::BTreeSet;

    use crate::schema::{Shape, builtin};

    /// Kinds with metadata that nobody stores: what requests and answers are made of.
    const NOT_STORED: &[&str] = &[
        "Binding",
        "Eviction",
        "LocalSubjectAccessReview",
        "Scale",
        "SelfSubjectAccessReview",
        "SelfSubjectReview",
        "SelfSubjectRulesReview",
        "SubjectAccessReview",
        "TokenRequest",
        "TokenReview",
    ];
    /// Upstream's own past.
    const NOT_SERVED: &[&str] = &["v1,ComponentStatus"];

    #[test]
    fn every_kind_of_the_release_is_served_or_named_here() {
        let is_object = |version: &str, kind: &str| {
            let metadata = builtin().kind(version, kind).and_then(|shape| shape.child("metadata"));
            metadata.and_then(Shape::as_struct).is_some_and(|of| &*of.name == "meta.v1.ObjectMeta")
        };
        let released =
            builtin().kinds().filter(|(version, kind)| is_object(version, kind) && !NOT_STORED.contains(kind));
        let released: BTreeSet<String> = released.map(|(version, kind)| format!("{version},{kind}")).collect();
        let served = super::builtin();
        let served: BTreeSet<String> = served.iter().map(|r| format!("{},{}", r.api_version(), r.kind())).collect();
        let missing: Vec<&String> = released.difference(&served).collect();
        let expected = |kind: &&String| NOT_SERVED.iter().any(|not| kind.starts_with(not));
        assert!(missing.iter().all(expected), "{missing:?}");
        assert!(missing.len() >= NOT_SERVED.len(), "what is served now is no longer to be named here: {missing:?}");
        assert_eq!(served.difference(&released).collect::<Vec<_>>(), Vec::<&String>::new());
    }
}

//! A write or a connection on its way, as others than the server's own plugins are asked about it: webhooks and policies.

use std::sync::{Arc, OnceLock};

use corten_api::ApiError;
use corten_api::selector::Labels;
use k8s_openapi::api::core::v1::Namespace;
use serde_json::Value;

use crate::conversion::Convert;
use crate::registry::{AnyObject, ApiResource, Registry, admissionregistration, subresource};
use crate::request::{Target, User};
use crate::view::{ClusterView, Objects};
use crate::webhook::Resolve;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Operation {
    Create,
    Update,
    Delete,
    Connect,
}

impl Operation {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Create => "CREATE",
            Self::Update => "UPDATE",
            Self::Delete => "DELETE",
            Self::Connect => "CONNECT",
        }
    }
}

/// Reads an object of a subresource's own kind.
pub type Decode = fn(&[u8]) -> Result<Box<dyn AnyObject>, ApiError>;

/// What they are asked about.
pub struct Asking<'a> {
    pub user: &'a User,
    pub operation: Operation,
    /// As it was asked for.
    pub target: &'a Target,
    pub resource: &'a Arc<ApiResource>,
    /// The object's.
    pub name: &'a str,
    pub dry_run: bool,
    /// With its `kind`; of connections there are none.
    pub options: Option<Value>,
    /// As it is stored; `None`: it is made, or connected to.
    pub old: Option<&'a dyn AnyObject>,
    /// What a connection is to be, which is no object of ours.
    pub connection: Option<Value>,
    /// `None`: the object is of the resource's kind.
    pub decode: Option<Decode>,
    pub registry: &'a Registry,
    pub view: &'a dyn ClusterView,
    pub resolve: &'a dyn Resolve,
    pub convert: &'a dyn Convert,
    /// Labels of the namespace, once somebody has asked for them.
    pub namespace_labels: OnceLock<Result<Option<Labels>, ApiError>>,
}

/// Group, version and kind, or resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Names<'a> {
    pub group: &'a str,
    pub version: &'a str,
    pub name: &'a str,
}

impl Asking<'_> {
    /// Of a namespace itself it is its name.
    pub(super) fn namespace(&self) -> &str {
        if self.is_namespaces() { self.name } else { &self.target.namespace }
    }
    pub(super) fn is_namespaces(&self) -> bool {
        self.resource.plural() == "namespaces" && self.resource.group().is_empty()
    }
    /// The kind of what is written, as this version of its resource has it.
    pub(super) fn kind_in<'r>(&self, resource: &'r ApiResource) -> Names<'r> {
        let own = Names { group: resource.group(), version: resource.version(), name: resource.kind() };
        let sub = Some(&self.target.subresource).filter(|sub| !sub.is_empty());
        let other = sub.and_then(|sub| subresource::of(resource.plural(), sub).kind);
        other.map_or(own, |(group, version, name)| Names { group, version, name })
    }
    /// `None`: there is no such namespace.
    pub(super) fn namespace_labels(&self, new: Option<&dyn AnyObject>) -> Result<Option<Labels>, ApiError> {
        // What it is to be, not what it was.
        if let (true, true, Some(new)) = (self.is_namespaces(), self.target.subresource.is_empty(), new) {
            return Ok(new.meta().labels.clone());
        }
        let name = self.namespace();
        let read = || {
            let objects: &dyn Objects = self.view;
            let namespace = objects.find::<Namespace>("", "namespaces", "", name);
            let found = namespace.ok_or_else(|| ApiError::not_found("", "namespaces", name))?;
            Ok(found.metadata.labels)
        };
        self.namespace_labels.get_or_init(read).clone()
    }
}

/// Whether no webhook is asked about it: who could mend one that refuses everything would be refused, too.
pub fn is_exempt_from_webhooks(resource: &ApiResource) -> bool {
    resource.group() == admissionregistration::GROUP
}

/// The same of policies, which are asked about webhooks.
pub fn is_exempt_from_policies(resource: &ApiResource) -> bool {
    resource.group() == admissionregistration::GROUP && admissionregistration::POLICIES.contains(&resource.plural())
}

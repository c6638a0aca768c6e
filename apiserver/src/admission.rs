//! Admission: what an object may be in the light of who writes it and what else is in the cluster.
//!
//! Plugins are asked in the order of their [`Chain`]. Most are pure functions over the request and a view of the cluster; those
//! that have to ask somebody else first ([`Asks`]) are waited for. A plugin may fill in the object, and doing so twice changes
//! nothing, so a refused request may be asked again with a newer view. Those that only judge come last, once nobody changes the
//! object any more: between them and those that fill it in stand policies ([`policy`]) and [`webhook`]s, and where one has changed
//! something all are asked again.
//!
//! **While admission waits no lock is held and nothing is written.** The request keeps its seats of flow control. What a write was
//! decided on is a condition of its commit, so an object that changes meanwhile is admitted again as it is then; a client that goes
//! away takes its write with it, as the commit comes after all questions.
//!
//! Words and order: <https://kubernetes.io/docs/reference/access-authn-authz/admission-controllers/>.

pub mod asking;
mod certificates;
mod claim_resize;
pub mod compiled;
mod conditions;
mod default_class;
mod default_ingress_class;
mod default_storage_class;
mod expressions;
mod limit_ranger;
pub mod matching;
mod namespace_lifecycle;
mod node_restriction;
mod node_taint;
mod pod_resize;
mod pod_resources;
mod pod_security;
mod pod_tolerations;
mod pod_topology_labels;
pub mod policy;
mod priority;
mod question;
mod resource_claim;
pub mod resource_quota;
pub mod rounds;
mod runtime_class;
mod service_account;
mod versions;
pub mod webhook;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use corten_api::ApiError;
use futures::future::BoxFuture;
use serde::de::DeserializeOwned;

use crate::registry::{AnyObject, ApiResource};
use crate::request::{Target, User, Verb};
use crate::view::{ClusterView, Objects};

/// A write on its way. `verb` is Create, Update (patches too) or Delete.
pub struct AdmissionRequest<'a> {
    pub user: &'a User,
    pub verb: Verb,
    pub target: &'a Target,
    pub resource: &'a ApiResource,
    /// What is to be stored, defaults filled in, or a subresource's own object (a Binding, a TokenRequest); `None` for
    /// deletes, and for evictions.
    pub object: Option<&'a mut dyn AnyObject>,
    /// What is stored now; `None` for creates.
    pub old: Option<&'a dyn AnyObject>,
    pub view: &'a dyn ClusterView,
    /// What the writer is told though the write is admitted.
    pub warnings: Vec<String>,
}

impl AdmissionRequest<'_> {
    fn is(&self, group: &str, plural: &str) -> bool {
        self.target.resource == plural && self.target.group == group
    }
    /// A write to the object itself, not to one of its subresources.
    fn is_plain(&self) -> bool {
        self.target.subresource.is_empty()
    }
    /// The name of what is written: of a new object its own, whatever the path says.
    fn name(&self) -> &str {
        match &self.object {
            Some(object) if self.verb == Verb::Create && self.is_plain() => {
                object.meta().name.as_deref().unwrap_or_default()
            }
            _ => &self.target.name,
        }
    }
    /// The object as its type; `None` if it is of another.
    fn object_mut<K: 'static>(&mut self) -> Option<&mut K> {
        self.object.as_mut()?.as_any_mut().downcast_mut()
    }
    fn object<K: 'static>(&self) -> Option<&K> {
        self.object.as_ref()?.as_any().downcast_ref()
    }
    fn old<K: 'static>(&self) -> Option<&K> {
        self.old?.as_any().downcast_ref()
    }
    fn forbidden(&self, why: impl std::fmt::Display) -> Refusal {
        Refusal::Final(ApiError::forbidden(&self.target.group, &self.target.resource, self.name(), why))
    }
    /// Whether the writer's roles let him do this with an object that is in no namespace.
    fn allowed(&self, verb: &str, group: &str, resource: &str, name: &str) -> bool {
        let (group, resource, name) = (group.into(), resource.into(), name.into());
        self.view.may(self.user, verb, &Target { group, version: "*".into(), resource, name, ..Target::default() })
    }
    /// Whether the writer's roles let him do `verb` with `resource`, of the name and namespace that he writes to.
    fn may(&self, verb: &str, resource: &str) -> bool {
        let target = Target { resource: resource.into(), subresource: String::new(), ..self.target.clone() };
        self.view.may(self.user, verb, &target)
    }
    /// An object of the cluster.
    fn find<K: DeserializeOwned>(&self, group: &str, plural: &str, namespace: &str, name: &str) -> Option<K> {
        let objects: &dyn Objects = self.view;
        objects.find(group, plural, namespace, name)
    }
    /// All objects of a kind in a namespace, "": of all there are. What no longer parses is left out.
    fn list<K: DeserializeOwned>(&self, group: &str, plural: &str, namespace: &str) -> Vec<K> {
        let stored = self.view.list(group, plural, namespace);
        stored.iter().filter_map(|json| serde_json::from_slice(json).ok()).collect()
    }
}

/// Why a write is not admitted.
#[derive(Clone, Debug, PartialEq)]
pub enum Refusal {
    Final(ApiError),
    /// Something is missing that may be on its way (a new namespace's account): a caller that waits should look again
    /// whenever the cluster changes, for at most `patience`, before it gives the error.
    NotYet {
        error: ApiError,
        patience: Duration,
    },
}

impl Refusal {
    pub fn into_error(self) -> ApiError {
        match self {
            Self::Final(error) | Self::NotYet { error, .. } => error,
        }
    }
}

/// A plugin that answers at once: by the request and the view alone.
pub type Pure = fn(&mut AdmissionRequest<'_>) -> Result<(), Refusal>;

/// A plugin that asks somebody else before it answers. Whoever waits for it may go away at any time, so that its answer is not
/// heard: it keeps no promise that hangs on a write being done.
pub trait Asks: Send + Sync + fmt::Debug {
    fn admit<'a>(&'a self, request: &'a mut AdmissionRequest<'_>) -> BoxFuture<'a, Result<(), Refusal>>;
}

#[derive(Clone, Debug)]
pub enum Plugin {
    /// Costs a call.
    Pure(Pure),
    /// Costs a box, too.
    Asks(Arc<dyn Asks>),
}

/// When a plugin is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Turn {
    /// While the object is made, and again when somebody else has changed it. Such a plugin may refuse, too.
    Fill,
    /// About the object as it is to be stored.
    Judge,
}

/// In upstream's order.
const PLUGINS: &[(&str, Turn, Pure)] = &[
    ("NamespaceLifecycle", Turn::Fill, namespace_lifecycle::admit),
    ("LimitRanger", Turn::Fill, limit_ranger::fill),
    ("ServiceAccount", Turn::Fill, service_account::admit),
    ("NodeRestriction", Turn::Fill, node_restriction::admit),
    ("TaintNodesByCondition", Turn::Fill, node_taint::admit),
    ("Priority", Turn::Fill, priority::admit),
    ("DefaultTolerationSeconds", Turn::Fill, pod_tolerations::admit),
    ("DefaultStorageClass", Turn::Fill, default_storage_class::admit),
    ("RuntimeClass", Turn::Fill, runtime_class::admit),
    ("DefaultIngressClass", Turn::Fill, default_ingress_class::admit),
    ("PodTopologyLabels", Turn::Fill, pod_topology_labels::admit),
    ("LimitRanger", Turn::Judge, limit_ranger::admit),
    ("PersistentVolumeClaimResize", Turn::Judge, claim_resize::admit),
    ("PodSecurity", Turn::Judge, pod_security::admit),
    ("PodResizeValidator", Turn::Judge, pod_resize::admit),
    ("CertificateApproval", Turn::Judge, certificates::approval::admit),
    ("CertificateSigning", Turn::Judge, certificates::signing::admit),
    ("ClusterTrustBundleAttest", Turn::Judge, certificates::attest::admit),
    ("CertificateSubjectRestriction", Turn::Judge, certificates::subject::admit),
    // Upstream's validation of claims does this.
    ("ResourceClaim", Turn::Judge, resource_claim::admit),
];

/// Which plugins are asked about every write, and in which order.
#[derive(Clone, Debug)]
pub struct Chain(Arc<[(&'static str, Turn, Plugin)]>);

impl Default for Chain {
    /// The server's own.
    fn default() -> Self {
        Self(PLUGINS.iter().map(|(name, turn, plugin)| (*name, *turn, Plugin::Pure(*plugin))).collect())
    }
}

impl Chain {
    /// The same, and behind them another.
    pub fn and(&self, name: &'static str, plugin: Plugin) -> Self {
        Self(self.0.iter().cloned().chain([(name, Turn::Judge, plugin)]).collect())
    }

    /// Asks all plugins that fill in the object.
    pub async fn fill(&self, request: &mut AdmissionRequest<'_>) -> Result<(), Refusal> {
        self.ask(Turn::Fill, request).await
    }

    /// Asks all that judge it as it is then.
    pub async fn judge(&self, request: &mut AdmissionRequest<'_>) -> Result<(), Refusal> {
        self.ask(Turn::Judge, request).await
    }

    async fn ask(&self, turn: Turn, request: &mut AdmissionRequest<'_>) -> Result<(), Refusal> {
        for (name, _, plugin) in self.0.iter().filter(|(_, of, _)| *of == turn) {
            let admitted = match plugin {
                Plugin::Pure(plugin) => plugin(request),
                Plugin::Asks(plugin) => plugin.admit(request).await,
            };
            admitted.inspect_err(|refusal| tracing::debug!(plugin = name, ?refusal, "not admitted"))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;

//! What quotas count of each kind: pods by what they ask for, Services by their type, claims by their class, claims of
//! devices by theirs, and of all kinds how many there are.

use corten_api::error::qualified;
use corten_api::quantity::{Format, Quantity};
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod, Service};
use k8s_openapi::api::resource::v1::ResourceClaim;

use super::{Change, devices, pods};
use crate::registry::AnyObject;
use crate::registry::quantities::{List, get};
use crate::registry::resource_names::STORAGE;
use crate::registry::storage_class_name;

const CLAIMS: &str = "persistentvolumeclaims";
const CLAIMED_STORAGE: &str = "requests.storage";
/// Between the name of a class and what is counted of its claims.
const OF_CLASS: &str = ".storageclass.storage.k8s.io/";
const SERVICES: &str = "services";
const NODE_PORTS: &str = "services.nodeports";
const LOAD_BALANCERS: &str = "services.loadbalancers";
/// Kinds that have a name of their own in quotas, from before all had one.
const NAMED: &[&str] = &["configmaps", "replicationcontrollers", "resourcequotas", "secrets"];

/// A kind whose objects quotas count.
pub(super) struct Counted {
    /// `count/jobs.batch`
    count: String,
    what: What,
}

enum What {
    Pods,
    Services,
    Claims,
    Devices,
    /// Nothing but how many there are; with the older name of that.
    Number(Option<&'static str>),
}

pub(super) fn one() -> Quantity {
    number(1)
}
pub(super) fn number(n: usize) -> Quantity {
    Quantity::from_units(i64::try_from(n).unwrap_or(i64::MAX), Format::DecimalSi)
}

impl Counted {
    /// `None`: events, which come and go by themselves.
    pub(super) fn of(group: &str, plural: &str) -> Option<Self> {
        let what = match (group, plural) {
            ("" | "events.k8s.io", "events") => return None,
            ("", "pods") => What::Pods,
            ("", SERVICES) => What::Services,
            ("", CLAIMS) => What::Claims,
            ("resource.k8s.io", "resourceclaims") => What::Devices,
            ("", plural) => What::Number(NAMED.iter().copied().find(|name| *name == plural)),
            _ => What::Number(None),
        };
        Some(Self { count: format!("count/{}", qualified(plural, group)), what })
    }

    /// Whether a resource of a quota says something of the kind's objects.
    pub(super) fn tracks(&self, resource: &str) -> bool {
        if resource == self.count {
            return true;
        }
        match self.what {
            What::Pods => pods::tracks(resource),
            What::Services => [SERVICES, NODE_PORTS, LOAD_BALANCERS].contains(&resource),
            What::Claims => {
                let of_any = resource.split_once(OF_CLASS).map_or(resource, |(_, of_class)| of_class);
                of_any == CLAIMS || of_any == CLAIMED_STORAGE
            }
            What::Devices => resource.ends_with(devices::OF_CLASS),
            What::Number(name) => name == Some(resource),
        }
    }

    /// Whether objects count for nothing but that they are there.
    pub(super) fn is_numbered(&self) -> bool {
        matches!(self.what, What::Number(_))
    }

    /// Whether the write may be refused. All others are counted as they are: they tell of what is so already.
    pub(super) fn is_checked(&self, change: &Change<'_>) -> bool {
        let (makes, changes) = (change.old.is_none(), change.old.is_some() && change.new.is_some());
        match (change.subresource, &self.what) {
            ("", What::Pods) => makes || changes && pods::changes_scope(change.old, change.new),
            ("resize", What::Pods) => changes,
            ("", What::Services | What::Claims | What::Devices) => makes || changes,
            ("", What::Number(_)) => makes,
            _ => false,
        }
    }

    /// What an object must say for `hard` to be countable.
    pub(super) fn constraints(&self, hard: &List, object: &dyn AnyObject) -> Result<(), String> {
        match object.as_any().downcast_ref::<Pod>() {
            Some(pod) => pods::constraints(hard, pod),
            None => Ok(()),
        }
    }

    pub(super) fn usage(&self, object: &dyn AnyObject, now_secs: i64) -> List {
        let any = object.as_any();
        let mut usage = match self.what {
            What::Pods => any.downcast_ref::<Pod>().map(|pod| pods::usage(pod, now_secs)),
            What::Services => any.downcast_ref::<Service>().map(service),
            What::Claims => any.downcast_ref::<PersistentVolumeClaim>().map(claim),
            What::Devices => any.downcast_ref::<ResourceClaim>().map(devices::usage),
            What::Number(_) => return self.usage_of(1),
        }
        .unwrap_or_default();
        usage.insert(self.count.clone(), one());
        usage
    }

    /// Of so many objects, each of which counts for one.
    pub(super) fn usage_of(&self, objects: usize) -> List {
        let older = if let What::Number(name) = self.what { name } else { None };
        let names = older.map(str::to_owned).into_iter().chain([self.count.clone()]);
        names.map(|name| (name, number(objects))).collect()
    }
}

fn service(service: &Service) -> List {
    let spec = service.spec.as_ref();
    let ports = spec.and_then(|spec| spec.ports.as_deref()).unwrap_or_default();
    let asked = |port: &&k8s_openapi::api::core::v1::ServicePort| port.node_port.is_some_and(|port| port != 0);
    // Ports that are not given yet count: what is meant does.
    let (node_ports, balancers) = match spec.and_then(|spec| spec.type_.as_deref()) {
        Some("NodePort") => (ports.len(), 0),
        Some("LoadBalancer") if spec.is_some_and(|s| s.allocate_load_balancer_node_ports == Some(false)) => {
            (ports.iter().filter(asked).count(), 1)
        }
        Some("LoadBalancer") => (ports.len(), 1),
        _ => (0, 0),
    };
    let all = [(SERVICES, 1), (NODE_PORTS, node_ports), (LOAD_BALANCERS, balancers)];
    all.into_iter().map(|(name, n)| (name.to_owned(), number(n))).collect()
}

fn claim(claim: &PersistentVolumeClaim) -> List {
    let mut usage = List::from([(CLAIMS.to_owned(), one())]);
    if let Some(storage) = claimed_storage(claim) {
        usage.insert(CLAIMED_STORAGE.into(), storage);
    }
    let field = claim.spec.as_ref().and_then(|spec| spec.storage_class_name.as_ref());
    if let Some(class) = storage_class_name::of(&claim.metadata, field).filter(|class| !class.is_empty()) {
        let of_class: List = usage.iter().map(|(name, n)| (format!("{class}{OF_CLASS}{name}"), *n)).collect();
        usage.extend(of_class);
    }
    usage
}

/// In whole bytes: what is asked for, or what has been given already, if that is more.
fn claimed_storage(claim: &PersistentVolumeClaim) -> Option<Quantity> {
    let asked = claim.spec.as_ref()?.resources.as_ref().and_then(|r| get(r.requests.as_ref(), STORAGE))?;
    let given = claim.status.as_ref().and_then(|status| get(status.allocated_resources.as_ref(), STORAGE));
    let most = given.filter(|given| *given > asked).unwrap_or(asked);
    Some(most.up_to_units())
}

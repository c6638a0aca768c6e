//! What is reserved for a Service in the same commit as its own write: an IPAddress for each address, a key for each
//! node port. And the repair of reservations that no Service has.

use std::collections::{BTreeMap, HashSet};
use std::sync::atomic::Ordering;

use bytes::Bytes;
use corten_api::ApiError;
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::networking::v1::{IPAddress, IPAddressSpec, ParentReference};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::{Deserialize, Serialize};

use super::Resources;
use super::place::Place;
use super::revise::Taken;
use crate::allocate::{self, Claim, Plan, Ranges, Refusal, World, claims};
use crate::cache::{Item, NODE_PORTS, ROOT, api_error};
use crate::registry::{AnyObject, clock};
use crate::storage::{Outcome, Write};

pub(super) const IP_ADDRESSES: &str = "ipaddresses";
const FAMILY_LABEL: &str = "ipaddress.kubernetes.io/ip-family";
pub(super) const MANAGER_LABEL: &str = "ipaddress.kubernetes.io/managed-by";
pub(super) const MANAGER: &str = "ipallocator.k8s.io";

/// A node port's key holds who has it. It looks like an object, as all that the cache reads does.
#[derive(Serialize, Deserialize)]
struct NodePort {
    metadata: ObjectMeta,
    service: String,
}

fn store_key(claim: Claim) -> String {
    let (prefix, name) = cached_key(claim);
    format!("{ROOT}{prefix}/{name}")
}

fn cached_key(claim: Claim) -> (&'static str, String) {
    match claim {
        Claim::Ip(ip) => (IP_ADDRESSES, ip.to_string()),
        Claim::Port(port) => (NODE_PORTS, port.to_string()),
    }
}

/// `namespace/name` of the Service that a reservation is for; `None` for one that is not the allocator's.
fn holder(claim: Claim, item: &Item) -> Option<String> {
    let json = item.object();
    match claim {
        Claim::Ip(_) => {
            let parent = serde_json::from_slice::<IPAddress>(&json).ok()?.spec.parent_ref;
            (parent.resource == "services").then(|| format!("{}/{}", parent.namespace.unwrap_or_default(), parent.name))
        }
        Claim::Port(_) => serde_json::from_slice::<NodePort>(&json).ok().map(|p| p.service),
    }
}

fn reservation(claim: Claim, namespace: &str, name: &str) -> Result<Bytes, ApiError> {
    let metadata = ObjectMeta {
        name: Some(cached_key(claim).1),
        uid: Some(uuid::Uuid::new_v4().to_string()),
        creation_timestamp: Some(clock::now()),
        ..ObjectMeta::default()
    };
    let json = match claim {
        Claim::Ip(ip) => {
            let family = if ip.is_ipv4() { "IPv4" } else { "IPv6" };
            let labels = [(FAMILY_LABEL, family), (MANAGER_LABEL, MANAGER)];
            let labels = labels.into_iter().map(|(k, v)| (k.to_owned(), v.to_owned())).collect();
            let parent_ref = ParentReference {
                group: None,
                resource: "services".into(),
                namespace: Some(namespace.into()),
                name: name.into(),
            };
            let metadata = ObjectMeta { labels: Some(labels), generation: Some(1), ..metadata };
            serde_json::to_vec(&IPAddress { metadata, spec: IPAddressSpec { parent_ref } })
        }
        Claim::Port(_) => serde_json::to_vec(&NodePort { metadata, service: format!("{namespace}/{name}") }),
    };
    Ok(json.map_err(ApiError::internal)?.into())
}

/// Whether anything is ever reserved for an object of this kind.
pub(super) fn concerns(object: &dyn AnyObject) -> bool {
    object.as_any().is::<Service>()
}

impl Resources {
    fn ranges(&self) -> Ranges {
        Ranges { cidrs: self.service_ranges(), ports: self.inner.settings.node_ports.clone() }
    }
    fn reserved(&self, claim: Claim) -> Option<std::sync::Arc<Item>> {
        let (prefix, name) = cached_key(claim);
        self.inner.cache.kind(prefix)?.get(&name)
    }

    pub(super) async fn allocate_for_create(
        &self,
        place: &Place<'_>,
        object: &mut dyn AnyObject,
        taken: &Taken,
    ) -> Result<Vec<Write>, ApiError> {
        if !concerns(object) {
            return Ok(Vec::new());
        }
        let mut first = object.boxed_clone();
        match self.allocate(place, &mut *first, None, taken) {
            Ok(writes) => {
                copy_spec(&*first, object);
                Ok(writes)
            }
            // What the cache says is taken may just have been given back.
            Err(_) => {
                self.inner.cache.catch_up().await?;
                self.allocate(place, object, None, taken)
            }
        }
    }

    pub(super) fn allocate_for_update(
        &self,
        place: &Place<'_>,
        object: &mut dyn AnyObject,
        old: &dyn AnyObject,
        taken: &Taken,
    ) -> Result<Vec<Write>, ApiError> {
        self.allocate(place, object, Some(old), taken)
    }

    fn allocate(
        &self,
        place: &Place<'_>,
        object: &mut dyn AnyObject,
        old: Option<&dyn AnyObject>,
        taken: &Taken,
    ) -> Result<Vec<Write>, ApiError> {
        let old = old.and_then(|o| o.as_any().downcast_ref::<Service>()).and_then(|s| s.spec.as_ref());
        let Some(service) = object.as_any_mut().downcast_mut::<Service>() else { return Ok(Vec::new()) };
        let held = |claim: Claim| taken.contains(&store_key(claim)) || self.reserved(claim).is_some();
        let world = World { ranges: &self.ranges(), held: &held, random: &|below| rand::random_range(0..below) };
        let name = service.metadata.name.clone().unwrap_or_default();
        let namespace = service.metadata.namespace.clone().unwrap_or_default();
        let Plan { take, free } =
            allocate::plan(service.spec.get_or_insert_default(), old, &world).map_err(|refusal| match refusal {
                Refusal::Invalid(problems) => match place.valid(&name, problems) {
                    Err(err) => err,
                    Ok(()) => ApiError::internal("a refusal without a problem"),
                },
                Refusal::Full(why) => ApiError::internal(why),
            })?;
        let mut writes = Vec::with_capacity(take.len() + free.len());
        for claim in take {
            let value = reservation(claim, &namespace, &name)?;
            writes.push(Write::Create { key: store_key(claim), value, ttl_secs: None });
        }
        writes.extend(self.releases(free, &format!("{namespace}/{name}")));
        Ok(writes)
    }

    /// All that a Service has goes with it.
    pub(super) fn release_for_delete(&self, old: &dyn AnyObject) -> Vec<Write> {
        let Some(service) = old.as_any().downcast_ref::<Service>() else { return Vec::new() };
        let Some(spec) = &service.spec else { return Vec::new() };
        let meta = &service.metadata;
        let holder =
            format!("{}/{}", meta.namespace.as_deref().unwrap_or_default(), meta.name.as_deref().unwrap_or_default());
        self.releases(claims(spec), &holder)
    }

    fn releases(&self, claims: impl IntoIterator<Item = Claim>, of: &str) -> Vec<Write> {
        let release = |claim: Claim| {
            let item = self.reserved(claim)?;
            let is_its = holder(claim, &item).as_deref() == Some(of);
            is_its.then(|| Write::Delete { key: store_key(claim), expected: item.revision })
        };
        claims.into_iter().filter_map(release).collect()
    }

    /// Reservations without a Service are given back; Services without their reservation get it. Both can only come
    /// from a store that was written by others, or restored. What a Service holds that cannot be read stays its own.
    pub(super) async fn repair_allocations(&self) -> Result<(), ApiError> {
        let cache = &self.inner.cache;
        let mut reserved = Vec::new();
        for prefix in [IP_ADDRESSES, NODE_PORTS] {
            let Some(kind) = cache.kind(prefix) else { continue };
            reserved.extend(kind.snapshot(cache.revision()).items.iter().map(|row| (prefix, row.0.clone())));
        }
        // After the reservations: what they are for was there when they were read, if it is there now.
        let place = &self.builtin("", "v1", "services")?;
        let services = place.cached.snapshot(cache.revision());
        let mut owned = BTreeMap::new();
        let mut read = HashSet::with_capacity(services.items.len());
        for row in &services.items {
            let Ok(service) = serde_json::from_slice::<Service>(&row.0.object()) else { continue };
            read.insert(row.0.key());
            owned.extend(service.spec.iter().flat_map(claims).map(|claim| (claim, row.0.key().to_owned())));
        }
        let mut repairs = Vec::new();
        for (prefix, item) in reserved {
            let claim = match prefix {
                IP_ADDRESSES => item.key().parse().map(Claim::Ip).ok(),
                _ => item.key().parse().map(Claim::Port).ok(),
            };
            let Some(claim) = claim else { continue };
            match (holder(claim, &item), owned.remove(&claim)) {
                (Some(holder), Some(owner)) if holder == owner => {}
                (None, _) => {}
                (Some(holder), _) if !read.contains(&*holder) && self.is_stored(place, &holder).await? => {
                    self.tell_of_unread(&holder);
                }
                (Some(_), _) => repairs.push(Write::Delete { key: store_key(claim), expected: item.revision }),
            }
        }
        for (claim, owner) in owned {
            let (namespace, name) = owner.split_once('/').unwrap_or(("", &owner));
            let value = reservation(claim, namespace, name)?;
            repairs.push(Write::Create { key: store_key(claim), value, ttl_secs: None });
        }
        for repair in repairs {
            tracing::warn!(key = repair.key(), "repairing a reservation that does not fit its Service");
            // Refused means that somebody else was there first, with the same intention.
            let (Outcome::Committed { .. } | Outcome::Refused { .. }) =
                cache.storage().commit(vec![repair]).await.map_err(|err| api_error(&err))?;
        }
        Ok(())
    }

    /// Whether the store has something under this Service's name. The cache cannot tell: it leaves out what is no object.
    async fn is_stored(&self, services: &Place<'_>, name: &str) -> Result<bool, ApiError> {
        let stored = self.inner.cache.storage().get(&services.store_key(name)).await;
        Ok(stored.map_err(|err| api_error(&err))?.is_some())
    }

    fn tell_of_unread(&self, service: &str) {
        if self.inner.told_of_unread_service.swap(true, Ordering::Relaxed) {
            tracing::debug!(service, "what is stored as this Service cannot be read: its reservations are kept");
        } else {
            let what = "what is stored as this Service cannot be read: its reservations are kept; this is told once";
            tracing::error!(service, "{what}");
        }
    }
}

fn copy_spec(from: &dyn AnyObject, to: &mut dyn AnyObject) {
    if let (Some(from), Some(to)) = (from.as_any().downcast_ref::<Service>(), to.as_any_mut().downcast_mut::<Service>())
    {
        to.spec.clone_from(&from.spec);
    }
}

//! podCIDRs: each Node gets a network of its own out of the cluster's. A node is Ready only once it has one.

pub mod allocator;

use std::sync::Arc;

use corten_api::k8s_openapi::api::core::v1::Node;
use corten_api::{ApiError, Key, Object, Reason};
use corten_client::{Change, EventType, Next, Patch};
use ipnet::IpNet;
use parking_lot::Mutex;
use serde_json::json;
use tracing::info;

use crate::context::Context;
use crate::controller::{Controller, Loop, Setup};
use allocator::{Allocator, Assignment, SeenNode};

/// Each has one write under way; the allocator keeps two of them from giving out the same network.
const WORKERS: usize = 8;

/// Its items are nodes that want a network.
pub fn controller(setup: &Setup) -> Loop {
    let nodes = setup.caches.of::<Node>();
    let allocator = Arc::new(Mutex::new(Allocator::new(setup.settings.networks.clone())));
    let this = Controller::new(setup).workers(WORKERS).watches(&nodes, |change| match change {
        // Whom another change concerns, the allocator says.
        Change::Set { key, old: None, .. } => Some(key.name.clone()),
        _ => None,
    });
    let (kept, look_at) = (Arc::clone(&allocator), this.queue());
    nodes.subscribe(move |change| {
        let names = match change {
            Change::Set { new, .. } => kept.lock().set(seen(new)),
            Change::Removed { key, .. } => kept.lock().remove(&key.name),
            Change::Synced => return,
        };
        names.into_iter().for_each(|name| look_at.add(name));
    });
    this.run(move |context, name| {
        let allocator = Arc::clone(&allocator);
        async move { sync(&context, &allocator, name).await }
    })
}

async fn sync(context: &Context, allocator: &Mutex<Allocator>, name: String) -> Result<Next, ApiError> {
    let assignment = allocator.lock().assign(&name);
    match assignment {
        Assignment::Nothing => {}
        Assignment::Give(network) => {
            let body = json!({"spec": {"podCIDR": network, "podCIDRs": [network]}});
            let key = Key::cluster(name);
            match context.client.patch::<Node>(&key, "", Patch::Merge(body)).await {
                Ok(_) => info!(node = key.name, podCIDR = %network, "has its network"),
                // The cache will tell that it is gone.
                Err(err) if err.is(Reason::NotFound) => {}
                Err(err) => return Err(err),
            }
        }
        Assignment::Refused => {
            let (cluster, mask) = {
                let allocator = allocator.lock();
                (allocator.networks().cluster(), allocator.networks().mask())
            };
            if let Some(node) = context.caches.of::<Node>().get(&Key::cluster(name)) {
                let message = format!(
                    "Node {} status is now: CIDRNotAvailable: no podCIDR of /{mask} is left in {cluster}",
                    node.name()
                );
                context.recorder.event(&node.reference(), EventType::Warning, "CIDRNotAvailable", message);
            }
        }
    }
    Ok(Next::Done)
}

fn seen(node: &Node) -> SeenNode {
    let spec = node.spec.as_ref();
    let listed = spec.and_then(|s| s.pod_cidrs.as_deref()).unwrap_or_default();
    let single = spec.and_then(|s| s.pod_cidr.as_ref()).filter(|cidr| !listed.contains(cidr));
    // One that does not parse was refused by validation long ago.
    let networks: Vec<IpNet> = listed.iter().chain(single).filter_map(|n| n.parse().ok()).collect();
    SeenNode {
        name: node.name().to_owned(),
        created: node.created().map(|t| t.0),
        networks,
        deleting: node.is_deleting(),
    }
}

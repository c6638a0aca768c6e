//! podCIDRs: each Node gets a network of its own out of the cluster's. A node is Ready only once it has one.

pub mod decide;

use corten_api::k8s_openapi::api::core::v1::Node;
use corten_api::{ApiError, Key, Object, Reason};
use corten_client::{EventType, Next, Patch, WorkQueue, run_workers};
use ipnet::IpNet;
use serde_json::json;
use tracing::info;

use crate::context::Context;
use decide::{Observed, SeenNode};

/// One: networks are given out one after the other, or two nodes could get the same.
const WORKERS: usize = 1;

/// Its queue has one item, which stands for all nodes.
pub async fn run(context: Context, cluster: IpNet, mask: u8) {
    let queue = WorkQueue::new();
    let own = queue.clone();
    // A node that goes frees a network that another may be waiting for.
    context.caches.nodes.subscribe(move |_| own.add(()));
    let stop = context.stop.clone();
    run_workers("nodeipam", &queue, WORKERS, &stop, move |()| {
        let context = context.clone();
        async move { sync(&context, cluster, mask).await }
    })
    .await;
}

async fn sync(context: &Context, cluster: IpNet, mask: u8) -> Result<Next, ApiError> {
    let nodes = context.caches.nodes.list().iter().map(|node| seen(node)).collect();
    let decision = decide::decide(&Observed { cluster, mask, nodes });
    let mut revision = 0;
    for (name, network) in decision.assign {
        info!(node = name, podCIDR = %network, "gets its network");
        let body = json!({"spec": {"podCIDR": network, "podCIDRs": [network]}});
        match context.client.patch::<Node>(&Key::cluster(name), "", Patch::Merge(body)).await {
            Ok(node) => revision = revision.max(node.revision()),
            Err(err) if err.is(Reason::NotFound) => {}
            Err(err) => return Err(err),
        }
    }
    for name in decision.refused {
        if let Some(node) = context.caches.nodes.get(&Key::cluster(name)) {
            let message = format!("no podCIDR is left in {cluster} for nodes of /{mask}");
            context.recorder.event(&node.reference(), EventType::Warning, "CIDRNotAvailable", message);
        }
    }
    context.caught_up(&context.caches.nodes, revision).await;
    Ok(Next::Done)
}

fn seen(node: &Node) -> SeenNode {
    let spec = node.spec.clone().unwrap_or_default();
    let mut networks: Vec<String> = spec.pod_cidrs.unwrap_or_default();
    networks.extend(spec.pod_cidr.filter(|cidr| !networks.contains(cidr)));
    SeenNode {
        name: node.name().to_owned(),
        created: node.created().map(|t| t.0),
        // One that does not parse was refused by validation long ago.
        networks: networks.iter().filter_map(|n| n.parse().ok()).collect(),
        deleting: node.is_deleting(),
    }
}

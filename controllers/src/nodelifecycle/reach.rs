//! Which nodes have answered us before: silence says nothing of an address that a firewall keeps from us for good.
//!
//! Each node that is ready is tried once. That it answered, and where, is written on the Node, so that a leader that has
//! just taken over knows it of a node that is dead by then, and tries none again. Another address begins anew.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use corten_api::k8s_openapi::api::core::v1::Node;
use corten_api::{ApiError, Key, Object, Reason, node};
use corten_client::{Change, Next, Patch};
use serde_json::json;
use tokio::time::Instant;
use tracing::debug;

use super::probe::{self, Dial, TRY_FOR, address, is_answer};
use crate::context::Context;
use crate::controller::{Controller, Loop, Setup};

/// Where the kubelet's machine has answered a leader of the controllers: `IP:PORT`.
pub const ANSWERED_ANNOTATION: &str = "corten.io/answered";
/// First tries under way at a time. Not the places of [`super::probe`]: those are for nodes that may be dead.
const WIDTH: usize = 16;
/// What each place takes for one node at least: 5,000 new nodes are spread over a minute.
const PACE: Duration = Duration::from_millis(200);
/// Until a node that did not answer is tried again: a firewall that was opened since is noticed by then.
const AGAIN_AFTER: Duration = Duration::from_mins(10);

/// Where the node is, if it has answered there before.
pub fn answered(node: &Node) -> Option<SocketAddr> {
    let known: SocketAddr = node.annotation(ANSWERED_ANNOTATION)?.parse().ok()?;
    address(node).filter(|address| *address == known)
}

/// Where the node has to be tried, if it has to. One that is not ready may not answer because it is down.
fn untried(node: &Node) -> Option<SocketAddr> {
    address(node).filter(|_| node::is_ready(node) && !node.is_deleting() && answered(node).is_none())
}

/// Tries all nodes that are ready, now and as they come.
pub fn controller(setup: &Setup) -> Loop {
    let dial = probe::tcp();
    Controller::new(setup)
        .workers(WIDTH)
        .watches(&setup.caches.of::<Node>(), |change| match change {
            Change::Set { key, old, new } => {
                let wanted = untried(new);
                // A node's status is written again and again; that alone is no reason for another try.
                let is_new = wanted.is_some() && wanted != old.and_then(|old| untried(old));
                is_new.then(|| (*key).clone())
            }
            Change::Removed { .. } | Change::Synced => None,
        })
        .run(move |context, key| {
            let dial = Arc::clone(&dial);
            async move { look(&context, &dial, &key).await }
        })
}

async fn look(context: &Context, dial: &Dial, key: &Key) -> Result<Next, ApiError> {
    let Some(node) = context.caches.of::<Node>().get(key) else { return Ok(Next::Done) };
    let Some(address) = untried(&node) else { return Ok(Next::Done) };
    if !answers(dial(address)).await {
        debug!(node = key.name, %address, "does not answer us; its silence will mean nothing");
        return Ok(Next::After(AGAIN_AFTER));
    }
    let annotations = json!({ANSWERED_ANNOTATION: address.to_string()});
    let body = json!({"metadata": {"uid": node.uid(), "annotations": annotations}});
    match context.client.patch::<Node>(key, "", Patch::Merge(body)).await {
        // Conflict: another node of its name, which the watch brings.
        Err(err) if !err.is(Reason::NotFound) && !err.is(Reason::Conflict) => Err(err),
        _ => Ok(Next::Done),
    }
}

/// Whether the machine answers one try. Takes [`PACE`] at least.
async fn answers(connect: impl Future<Output = std::io::Result<()>>) -> bool {
    let began = Instant::now();
    let tried = tokio::time::timeout(TRY_FOR, connect).await.ok();
    tokio::time::sleep_until(began + PACE).await;
    is_answer(tried.as_ref())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nodelifecycle::probe::tests::ready_at;

    fn with(mut node: Node, answered: &str) -> Node {
        let list = node.metadata.annotations.get_or_insert_default();
        list.insert(ANSWERED_ANNOTATION.into(), answered.into());
        node
    }

    #[test]
    fn a_node_is_tried_once_at_each_address() {
        let at = |ip: &str| ready_at("n1", ip);
        let down = || {
            let mut node = at("10.0.0.1");
            node.status.get_or_insert_default().conditions = None;
            node
        };
        let cases = [
            ("never tried", at("10.0.0.1"), Some("10.0.0.1:10250"), None),
            ("has answered there", with(at("10.0.0.1"), "10.0.0.1:10250"), None, Some("10.0.0.1:10250")),
            ("has moved since", with(at("10.0.0.2"), "10.0.0.1:10250"), Some("10.0.0.2:10250"), None),
            ("its kubelet's port is another", with(at("10.0.0.1"), "10.0.0.1:10251"), Some("10.0.0.1:10250"), None),
            ("somebody wrote nonsense", with(at("10.0.0.1"), "yes"), Some("10.0.0.1:10250"), None),
            ("may be down", down(), None, None),
        ];
        for (why, node, expected, known) in cases {
            let (parse, expected) = (|text: &str| text.parse::<SocketAddr>().unwrap(), expected);
            assert_eq!((untried(&node), answered(&node)), (expected.map(parse), known.map(parse)), "{why}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn five_thousand_first_tries_are_spread_over_a_minute_and_silent_ones_hold_a_place_for_a_second() {
        let rounds = 5_000_u32.div_ceil(u32::try_from(WIDTH).unwrap());
        let began = Instant::now();
        assert!(answers(std::future::ready(Ok(()))).await);
        let each = began.elapsed();
        assert!((each * rounds).as_secs().abs_diff(60) <= 5, "{:?}", each * rounds);
        let began = Instant::now();
        assert!(!answers(std::future::pending()).await);
        assert!(began.elapsed() <= TRY_FOR, "{:?}", began.elapsed());
    }
}

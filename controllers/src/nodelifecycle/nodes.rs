//! What is known of the nodes between looks at them: when each was heard of, what its zone is like, and which pods have to
//! leave.
//!
//! Every change that is noted here costs the same however many nodes there are, and queues only whom it concerns.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use corten_api::k8s_openapi::api::core::v1::Node;
use corten_api::{Key, Object, Scope, conditions, node};
use corten_client::{Cache, Change, IndexBy, WorkQueue};
use jiff::{SignedDuration, Timestamp};
use parking_lot::Mutex;
use tokio::time::Instant;

use super::decide::{self, Decision, Observed};
use super::zones::{Standing, Zones};
use crate::pods::SeenPod;

const REGION_LABEL: &str = "topology.kubernetes.io/region";
const ZONE_LABEL: &str = "topology.kubernetes.io/zone";

/// What is remembered of a node between looks.
#[derive(Clone, Debug)]
struct Heard {
    /// The newest heartbeats that we know of, to see when they change.
    lease: Option<Timestamp>,
    status: Option<Timestamp>,
    /// When one of them last changed. Not a time of day: a clock that is set anew must not lose all nodes.
    at: Instant,
    /// Nothing was heard since, and the machine does not answer.
    is_silent: bool,
    /// Whether it was ready at our last look.
    was_ready: Option<bool>,
}

impl Heard {
    fn first() -> Self {
        Self { lease: None, status: None, at: Instant::now(), is_silent: false, was_ready: None }
    }
}

pub struct Nodes {
    /// Nodes that have to be looked at.
    queue: WorkQueue<Key>,
    heard: Mutex<HashMap<String, Heard>>,
    zones: Mutex<Zones>,
    /// Nodes that are not ready, or have a taint that pods have to leave for.
    left: Mutex<HashSet<String>>,
    pods: Cache<SeenPod>,
}

/// By the node that a pod is on.
pub struct ByNode;

impl IndexBy<SeenPod> for ByNode {
    const SCOPE: Scope = Scope::Cluster;
    fn values(pod: &SeenPod) -> Vec<Cow<'_, str>> {
        pod.node.iter().map(|node| node.as_str().into()).collect()
    }
}

impl Nodes {
    pub fn new(queue: WorkQueue<Key>, pods: Cache<SeenPod>) -> Self {
        Self { queue, heard: Mutex::default(), zones: Mutex::default(), left: Mutex::default(), pods }
    }

    /// A renewed Lease is only noted down: the node is looked at when its grace would be over.
    pub fn on_lease(&self, name: &str, renewed: Option<Timestamp>) {
        let was_silent = {
            let mut heard = self.heard.lock();
            let entry = heard.entry(name.to_owned()).or_insert_with(Heard::first);
            if entry.lease == renewed {
                return;
            }
            (entry.lease, entry.at) = (renewed, Instant::now());
            std::mem::take(&mut entry.is_silent)
        };
        let mut zones = self.zones.lock();
        zones.change_standing(name, Standing::Suspected, Standing::Ready);
        if was_silent {
            // It may not have been written yet that it is lost; if it was, the node's own word will follow.
            let others = zones.change_standing(name, Standing::Waits, Standing::Ready);
            drop(zones);
            self.look_at(others.unwrap_or_default());
            self.queue.add(Key::cluster(name));
        }
    }

    /// An apiserver has lost a node that counts as ready. `None` if it must not be looked at early, as too many are
    /// lost or suspected; else when it was heard of last, and `unsuspect` or `found_silent` follows. It is suspected
    /// until it is heard of.
    pub fn suspect(&self, name: &str) -> Option<Instant> {
        self.mark_suspected(name);
        if !self.zones.lock().may_be_early(name) {
            return None;
        }
        self.heard.lock().get(name).map(|heard| heard.at)
    }

    /// A node that counts as ready is suspected until it is heard of.
    pub fn mark_suspected(&self, name: &str) {
        self.zones.lock().change_standing(name, Standing::Ready, Standing::Suspected);
    }

    pub fn is_suspected(&self, name: &str) -> bool {
        self.zones.lock().standing(name) == Some(Standing::Suspected)
    }

    /// The nodes that count as ready. Costs as much as there are nodes.
    pub fn ready_names(&self) -> Vec<String> {
        self.zones.lock().ready().map(str::to_owned).collect()
    }

    pub fn unsuspect(&self, name: &str) {
        self.zones.lock().change_standing(name, Standing::Suspected, Standing::Ready);
    }

    /// A suspected node's machine does not answer: it is lost, unless it was heard of after `heard_at`, or too many
    /// others are lost or may be.
    pub fn found_silent(&self, name: &str, heard_at: Instant) {
        let others = {
            let mut zones = self.zones.lock();
            if !zones.may_be_early(name) {
                return;
            }
            // Both locks are held (nobody takes them the other way round): a renewal comes before, and has changed `at`,
            // or after, and takes both marks back.
            let mut all = self.heard.lock();
            let Some(heard) = all.get_mut(name).filter(|heard| heard.at == heard_at) else { return };
            let Some(others) = zones.change_standing(name, Standing::Suspected, Standing::Waits) else { return };
            heard.is_silent = true;
            others
        };
        self.look_at(others);
        self.queue.add(Key::cluster(name));
    }

    pub fn on_lease_removed(&self, name: &str) {
        // A node that is there still may be heard of through its status.
        if !self.zones.lock().has(name) {
            self.heard.lock().remove(name);
        }
    }

    pub fn on_node(&self, change: &Change<'_, Node>) {
        match change {
            Change::Set { key, new, .. } => {
                self.note_status(new);
                let is_left = !node::is_ready(new) || node::taints(new).iter().any(|t| t.effect == decide::NO_EXECUTE);
                self.note_is_left(&key.name, is_left);
                let others = self.zones.lock().set(&key.name, &zone_of(new), standing(new));
                self.look_at(others);
                self.queue.add((*key).clone());
            }
            Change::Removed { key, .. } => {
                self.heard.lock().remove(&key.name);
                self.note_is_left(&key.name, false);
                let others = self.zones.lock().remove(&key.name);
                self.look_at(others);
            }
            Change::Synced => {}
        }
    }

    fn note_is_left(&self, name: &str, is_left: bool) {
        let mut left = self.left.lock();
        if is_left {
            left.insert(name.to_owned());
        } else {
            left.remove(name);
        }
    }

    fn note_status(&self, node: &Node) {
        let list = node.status.as_ref().and_then(|s| s.conditions.as_ref());
        let beat = conditions::find(list, "Ready").and_then(|c| c.last_heartbeat_time.as_ref()).map(|t| t.0);
        let mut heard = self.heard.lock();
        let entry = heard.entry(node.name().to_owned()).or_insert_with(Heard::first);
        if entry.status != beat {
            (entry.status, entry.at, entry.is_silent) = (beat, Instant::now(), false);
        }
    }

    /// A pod that comes to a node that pods have to leave may have to leave at once.
    pub fn left_by(&self, change: &Change<'_, SeenPod>) -> Option<Key> {
        let Change::Set { old, new, .. } = change else { return None };
        let comes = new.node.as_ref().filter(|node| old.is_none_or(|old| old.node.as_ref() != Some(*node)))?;
        self.left.lock().contains(comes).then(|| Key::cluster(comes.as_str()))
    }

    pub fn pods_on(&self, node: &str) -> Vec<Arc<SeenPod>> {
        self.pods.everywhere::<ByNode>(node)
    }

    /// What is to be done about a node, and whether it was ready when that was asked last.
    pub fn decide(&self, node: &Node, now: Timestamp) -> (Decision, Option<bool>) {
        let heard = self.heard.lock().entry(node.name().to_owned()).or_insert_with(Heard::first).clone();
        let turn = self.zones.lock().turn(node.name(), Instant::now());
        let evict_from = turn.map(|at| time_of(at, now));
        let heard_at = time_of(heard.at, now);
        let seen = Observed { now, node, heard: heard_at, is_silent: heard.is_silent, evict_from };
        (decide::decide(&seen), heard.was_ready)
    }

    pub fn note_readiness(&self, node: &Node) {
        if let Some(heard) = self.heard.lock().get_mut(node.name()) {
            heard.was_ready = Some(node::is_ready(node));
        }
    }

    /// A lost node's pods begin to leave.
    pub fn eviction_began(&self, node: &str) {
        self.zones.lock().began(node, Instant::now());
    }

    /// A node could not be written. If it was its turn to have its pods leave, it is the next one's now.
    pub fn could_not_write(&self, node: &str) {
        let others = self.zones.lock().step_back(node);
        self.look_at(others);
    }

    fn look_at(&self, names: Vec<String>) {
        names.into_iter().for_each(|name| self.queue.add(Key::cluster(name)));
    }
}

fn zone_of(node: &Node) -> String {
    let label = |name| node.label(name).unwrap_or_default();
    format!("{}/{}", label(REGION_LABEL), label(ZONE_LABEL))
}

fn standing(node: &Node) -> Standing {
    let list = node.status.as_ref().and_then(|s| s.conditions.as_ref());
    // A new node that has said nothing yet has no pods that could leave.
    let said_nothing = conditions::find(list, "Ready").is_none();
    if node::is_ready(node) {
        Standing::Ready
    } else if node.is_deleting() || said_nothing || node::taints(node).iter().any(decide::is_eviction) {
        Standing::Lost
    } else {
        Standing::Waits
    }
}

/// The time of day that `at` was or will be, if the clock has shown the right time ever since: it is `now`.
fn time_of(at: Instant, now: Timestamp) -> Timestamp {
    let (ahead, ago) = (at.saturating_duration_since(Instant::now()), at.elapsed());
    let signed = |d: Duration| SignedDuration::try_from(d).unwrap_or(SignedDuration::MAX);
    now.saturating_add(signed(ahead).saturating_sub(signed(ago))).unwrap_or(now)
}

#[cfg(test)]
mod tests {
    use corten_api::k8s_openapi::api::core::v1::{NodeCondition, NodeStatus};
    use corten_api::k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

    use super::*;

    fn ready(name: &str) -> Node {
        let ready = NodeCondition { type_: "Ready".into(), status: "True".into(), ..NodeCondition::default() };
        Node {
            metadata: ObjectMeta { name: Some(name.into()), ..ObjectMeta::default() },
            status: Some(NodeStatus { conditions: Some(vec![ready]), ..NodeStatus::default() }),
            ..Node::default()
        }
    }

    /// So many nodes that are ready and were heard of.
    fn nodes(count: usize) -> (Nodes, Vec<Node>) {
        let (nodes, all) =
            (Nodes::new(WorkQueue::new(), Cache::default()), (0..count).map(|n| ready(&format!("n{n}"))).collect());
        for node in &all {
            nodes.on_lease(Node::name(node), Some(Timestamp::UNIX_EPOCH));
            nodes.on_node(&Change::Set { key: &node.key(), old: None, new: &Arc::new(node.clone()) });
        }
        (nodes, all)
    }

    #[test]
    fn a_node_found_silent_is_lost_until_it_is_heard_of() {
        let (nodes, all) = nodes(3);
        let is_lost = || nodes.decide(&all[0], Timestamp::now()).0.conditions.is_some();
        let heard_at = nodes.suspect("n0").unwrap();
        assert!(!is_lost(), "suspicion alone is nothing");
        nodes.found_silent("n0", heard_at);
        assert!(is_lost());
        nodes.on_lease("n0", Some(Timestamp::UNIX_EPOCH));
        assert!(is_lost(), "the same lease as before");
        nodes.on_lease("n0", Some(Timestamp::now()));
        assert!(!is_lost());
    }

    #[test]
    fn who_renews_its_lease_while_it_is_looked_at_is_not_lost() {
        let (nodes, all) = nodes(3);
        let heard_at = nodes.suspect("n0").unwrap();
        nodes.on_lease("n0", Some(Timestamp::now()));
        nodes.found_silent("n0", heard_at);
        assert!(nodes.decide(&all[0], Timestamp::now()).0.conditions.is_none());
    }

    #[test]
    fn a_renewal_that_is_only_half_noted_is_not_lost() {
        let (nodes, all) = nodes(3);
        let heard_at = nodes.suspect("n0").unwrap();
        // What `on_lease` does before it waits for the zones.
        nodes.heard.lock().get_mut("n0").unwrap().at = heard_at + Duration::from_millis(1);
        nodes.found_silent("n0", heard_at);
        assert!(nodes.decide(&all[0], Timestamp::now()).0.conditions.is_none());
    }

    #[test]
    fn when_many_fall_silent_together_none_is_lost_before_its_grace_is_over() {
        let (nodes, all) = nodes(10);
        let heard: Vec<_> = all.iter().map(|node| nodes.suspect(node.name())).collect();
        let early = heard.iter().flatten().count();
        all.iter().zip(heard).for_each(|(node, at)| nodes.found_silent(node.name(), at.unwrap_or_else(Instant::now)));
        let lost = all.iter().filter(|node| nodes.decide(node, Timestamp::now()).0.conditions.is_some()).count();
        assert!(early <= 5 && lost == 0, "{early} looked at, {lost} lost of 10");
    }

    #[test]
    fn what_was_heard_does_not_age_with_the_clock_of_the_day() {
        let heard = Instant::now() - Duration::from_secs(5);
        for now in [Timestamp::UNIX_EPOCH, Timestamp::from_second(2_000_000_000).unwrap()] {
            assert_eq!(now.duration_since(time_of(heard, now)).as_secs(), 5);
        }
    }
}

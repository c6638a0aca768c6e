//! Writes what was decided for a DaemonSet: its pods, then its status in any case.

use std::collections::BTreeSet;
use std::sync::Arc;

use corten_api::k8s_openapi::api::apps::v1::{DaemonSet, DaemonSetStatus};
use corten_api::k8s_openapi::api::core::v1::Pod;
use corten_api::{ApiError, Object, Reason};
use corten_client::{EventType, Next, Patch};
use futures::future::try_join_all;
use serde_json::json;
use tracing::info;

use super::decide::{Decision, Observed};
use super::placement::NewPod;
use super::{DaemonSets, placement, status};
use crate::children::{Owner, wake};
use crate::context::is_terminating_namespace;
use crate::history::{REVISION_LABEL, Step, apply::Done};
use crate::intents::Ask;
use crate::pod_events;
use crate::pods::{Phase, SeenPod};
use crate::replicas::decide::batches;

impl DaemonSets {
    pub(super) async fn apply(&self, seen: &Observed, decision: Decision) -> Result<Next, ApiError> {
        let set = &seen.set;
        if let Some(step) = &decision.history {
            return self.step(set, step).await;
        }
        // Before the revision that they are labelled with goes.
        try_join_all(decision.relabel.iter().map(|pod| self.relabel(set, pod, &decision.hash))).await?;
        let missing = decision.create.len();
        let held = if missing == 0 { None } else { self.children.held_back(&Owner::of(&**set), missing) };
        let create = if held.is_some() { &[][..] } else { &decision.create };
        let acted = self.act(seen, &decision, create).await;
        if let Some(status) = decision.status {
            self.write_status(set, *status).await?;
        }
        match acted {
            Err(err) if is_terminating_namespace(&err) => return Ok(Next::Done),
            acted => acted?,
        }
        self.history(set).truncate(&decision.surplus).await?;
        Ok(wake(decision.wake_after, held.as_ref()).map_or(Next::Done, Next::After))
    }

    /// What it wrote comes back as an event, which asks for the next look.
    async fn step(&self, set: &DaemonSet, step: &Step) -> Result<Next, ApiError> {
        if self.history(set).step(step).await? == Done::Collision {
            info!(daemonset = %set.key(), "the name of its new revision is taken");
            self.write_status(set, status::collided(set)).await?;
        }
        Ok(Next::Done)
    }

    /// `create`: for which nodes pods are made now.
    async fn act(&self, seen: &Observed, decision: &Decision, create: &[String]) -> Result<(), ApiError> {
        let set = &*seen.set;
        self.say_ended(seen, &decision.ended);
        let deletes = decision.delete.iter();
        let deletes = deletes.map(|pod| Ask::Delete { name: pod.key.name.clone(), uid: pod.uid.clone() }).collect();
        // One that fails keeps no other from going.
        self.send(set, deletes).await?;
        // Slow start: a batch is tried only if the one before, half its size, was made whole.
        let (mut nodes, hash) = (create.iter(), Arc::<str>::from(decision.hash.as_str()));
        for batch in batches(create.len()) {
            let names = self.children.fresh_names(&Owner::of(set), &self.pods, batch);
            let ask = |(name, node): (String, &String)| {
                let what = NewPod { set: Arc::clone(&seen.set), hash: Arc::clone(&hash), node: node.clone() };
                Ask::Create { name, what }
            };
            self.send(set, names.into_iter().zip(nodes.by_ref()).map(ask).collect()).await?;
        }
        Ok(())
    }

    async fn send(&self, set: &DaemonSet, asks: Vec<Ask<NewPod>>) -> Result<(), ApiError> {
        let sent = self.children.send(&self.context, &Owner::of(set), asks, |name, new| new.pod(name)).await;
        pod_events::tell(&self.context.recorder, &set.reference(), &sent)
    }

    /// Tells of pods that have ended, and notes where they failed: the next one that does is left for longer.
    fn say_ended(&self, seen: &Observed, ended: &[Arc<SeenPod>]) {
        let mut failed = BTreeSet::new();
        for pod in ended {
            let node = placement::node_of(pod).unwrap_or_default();
            let (kind, reason, message) = if pod.phase == Phase::Failed {
                failed.insert(node.to_owned());
                let message = format!("Found failed daemon pod {} on node {node}, will try to kill it", pod.key);
                (EventType::Warning, "FailedDaemonPod", message)
            } else {
                let message = format!("Found succeeded daemon pod {} on node {node}, will try to delete it", pod.key);
                (EventType::Normal, "SucceededDaemonPod", message)
            };
            self.context.recorder.event(&seen.set.reference(), kind, reason, message);
        }
        if !failed.is_empty() {
            let nodes: Vec<String> = failed.into_iter().collect();
            let generation = seen.set.metadata.generation.unwrap_or(0);
            self.backoff.lock().replaced(&seen.set.key(), seen.set.uid(), generation, &nodes, seen.now);
        }
    }

    async fn relabel(&self, set: &DaemonSet, pod: &SeenPod, hash: &str) -> Result<(), ApiError> {
        let body = json!({"metadata": {"uid": pod.uid, "labels": {REVISION_LABEL: hash}}});
        match self.context.client.patch::<Pod>(&pod.key, "", Patch::Merge(body)).await {
            Ok(written) => self.children.saw(&Owner::of(set), written.revision()),
            Err(err) if err.is(Reason::NotFound) => {}
            Err(err) => return Err(err),
        }
        Ok(())
    }

    async fn write_status(&self, set: &DaemonSet, status: DaemonSetStatus) -> Result<(), ApiError> {
        let mut changed = DaemonSet::clone(set);
        changed.status = Some(status);
        match self.context.client.update_status(&changed).await {
            Ok(written) => self.context.caught_up(&self.sets, written.revision()).await,
            Err(err) if err.is(Reason::NotFound) => {}
            // Somebody else wrote the object; its newer form comes by watch and asks for the next look.
            Err(err) if err.is(Reason::Conflict) => {
                let newer = |shown: &DaemonSet| shown.revision() > set.revision();
                self.context.seen_gone(&self.sets, &set.key(), newer).await;
            }
            Err(err) => return Err(err),
        }
        Ok(())
    }
}

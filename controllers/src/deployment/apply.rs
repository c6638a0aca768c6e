//! Writes what was decided for a Deployment, and waits until the caches show it.

use std::sync::Arc;
use std::time::Duration;

use corten_api::k8s_openapi::api::apps::v1::{Deployment, DeploymentStatus, ReplicaSet};
use corten_api::{ApiError, Key, Object, Reason};
use corten_client::{EventType, Next, Patch};
use tracing::info;

use super::decide::{self, Action, Decision, Observed, size};
use super::patches::{self, Collision};
use super::{Deployments, status};

/// Between two questions what became of a write.
const ASK_AGAIN_AFTER: Duration = Duration::from_secs(1);

impl Deployments {
    pub(crate) async fn apply(&self, seen: &Observed, decision: Decision) -> Result<Next, ApiError> {
        for action in decision.actions {
            let done = match action {
                Action::Create(set) => self.create(seen, set).await,
                Action::Refresh(set) => self.patch_set(&set, patches::refresh(&set)).await,
                Action::Scale { set, to } => self.scale(seen, &set, to).await,
                Action::NoteSize(set) => self.patch_set(&set, patches::note_size(&seen.deployment, &set)).await,
                Action::Delete(set) => self.delete(&set).await,
                Action::Revise(revision) => self.revise(&seen.deployment, &revision).await,
                Action::WriteStatus(status) => self.write_status(&seen.deployment, status).await,
            };
            // A Conflict or NotFound, too: it was decided on what is no longer so, and has to be again.
            done?;
        }
        Ok(decision.wake_after.map_or(Next::Done, Next::After))
    }

    async fn create(&self, seen: &Observed, set: ReplicaSet) -> Result<(), ApiError> {
        let (name, to) = (set.name().to_owned(), size(&set));
        match self.context.client.create(&set).await {
            Ok(made) => {
                if to > 0 {
                    self.say_scaled(&seen.deployment, "up", &name, 0, to);
                }
                self.saw_set(made.revision()).await;
                Ok(())
            }
            Err(err) if err.is(Reason::AlreadyExists) => self.resolve_collision(seen, &set).await,
            Err(err) => {
                self.settle(&err, &set.key()).await;
                let message = format!("Failed to create new replica set {name:?}: {err}");
                let about = seen.deployment.reference();
                self.context.recorder.event(&about, EventType::Warning, "ReplicaSetCreateError", message);
                if let Some(facts) = decide::facts(seen) {
                    let report = status::create_failed(facts, &name, &err.to_string());
                    self.write_status(&seen.deployment, report).await?;
                }
                Err(err)
            }
        }
    }

    /// The name is taken: by our own ReplicaSet that a lost answer hid from us, or by one of another template, which
    /// the collision count then leads past.
    async fn resolve_collision(&self, seen: &Observed, wanted: &ReplicaSet) -> Result<(), ApiError> {
        let there: ReplicaSet = self.context.client.get(&wanted.key()).await?;
        match patches::collision(&seen.deployment, wanted, &there) {
            Collision::Ours => {
                self.saw_set(there.revision()).await;
                Ok(())
            }
            Collision::Others(status) => {
                info!(deployment = %seen.deployment.key(), taken = wanted.name(), "the name of its ReplicaSet is taken");
                self.write_status(&seen.deployment, *status).await
            }
        }
    }

    async fn scale(&self, seen: &Observed, set: &ReplicaSet, to: i32) -> Result<(), ApiError> {
        let from = size(set);
        self.patch_set(set, patches::scale(&seen.deployment, set, to)).await?;
        let direction = if to > from { "up" } else { "down" };
        self.say_scaled(&seen.deployment, direction, set.name(), from, to);
        Ok(())
    }

    /// By uid and not by resourceVersion: the ReplicaSet's status changes all the time, and has no part in this.
    async fn patch_set(&self, set: &ReplicaSet, body: serde_json::Value) -> Result<(), ApiError> {
        match self.context.client.patch::<ReplicaSet>(&set.key(), "", Patch::Merge(body)).await {
            Ok(written) => self.saw_set(written.revision()).await,
            Err(err) => {
                self.settle(&err, &set.key()).await;
                return Err(err);
            }
        }
        Ok(())
    }

    /// Waits until the cache shows what became of a write to a ReplicaSet that failed so. The next decision must know:
    /// it may choose another ReplicaSet to shrink, and both would be missing.
    async fn settle(&self, err: &ApiError, set: &Key) {
        while err.is_doubtful() {
            match self.context.client.get::<ReplicaSet>(set).await {
                Ok(live) => return self.saw_set(live.revision()).await,
                Err(err) if err.is_doubtful() => tokio::time::sleep(ASK_AGAIN_AFTER).await,
                // It is not there.
                Err(_) => return,
            }
        }
    }

    async fn delete(&self, set: &Arc<ReplicaSet>) -> Result<(), ApiError> {
        self.context.delete::<ReplicaSet>(&set.key(), set.uid()).await?;
        let gone = |s: &ReplicaSet| s.uid() != set.uid() || s.is_deleting();
        self.context.seen_gone(&self.context.caches.of::<ReplicaSet>(), &set.key(), gone).await;
        Ok(())
    }

    async fn revise(&self, deployment: &Deployment, revision: &str) -> Result<(), ApiError> {
        let body = patches::revise(deployment, revision);
        let written = self.context.client.patch::<Deployment>(&deployment.key(), "", Patch::Merge(body)).await?;
        self.context.caught_up(&self.context.caches.of::<Deployment>(), written.revision()).await;
        Ok(())
    }

    async fn write_status(&self, deployment: &Deployment, status: DeploymentStatus) -> Result<(), ApiError> {
        let cache = &self.context.caches.of::<Deployment>();
        let mut changed = match cache.get(&deployment.key()) {
            // Our own write of the revision may have made it newer. What others wrote meanwhile may not be what the
            // status is about, which observedGeneration says.
            Some(newest) if newest.uid() == deployment.uid() => Deployment::clone(&newest),
            _ => return Ok(()),
        };
        changed.status = Some(status);
        let written = self.context.client.update_status(&changed).await?;
        self.context.caught_up(cache, written.revision()).await;
        Ok(())
    }

    async fn saw_set(&self, revision: i64) {
        self.context.caught_up(&self.context.caches.of::<ReplicaSet>(), revision).await;
    }

    fn say_scaled(&self, deployment: &Deployment, direction: &str, set: &str, from: i32, to: i32) {
        let message = format!("Scaled {direction} replica set {set} from {from} to {to}");
        self.context.recorder.event(&deployment.reference(), EventType::Normal, "ScalingReplicaSet", message);
    }
}

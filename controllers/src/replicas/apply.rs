//! Makes and deletes the pods that were decided on, tells about it in events, and writes the status.

use std::sync::Arc;

use corten_api::k8s_openapi::api::core::v1::Pod;
use corten_api::k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use corten_api::{ApiError, Key, Reason};
use corten_client::{EventType, Next};
use futures::future::join_all;
use jiff::Timestamp;

use super::decide::{Counts, Decision, Scale, batches};
use super::{Controller, Failure, ReplicaOwner};
use crate::context::is_terminating_namespace;
use crate::pods::SeenPod;

impl<K: ReplicaOwner> Controller<K> {
    pub(super) async fn apply(&self, owner: &Arc<K>, decision: Decision) -> Result<Next, ApiError> {
        let scaled = match decision.scale {
            Scale::Keep => Ok(()),
            Scale::Create(count) => self.create(owner, count).await.map_err(|err| ("FailedCreate", err)),
            Scale::Delete(pods) => self.delete(owner, &pods).await.map_err(|err| ("FailedDelete", err)),
        };
        let failure = scaled.as_ref().err().map(|(reason, err)| Failure { reason, message: err.to_string() });
        self.report(owner, decision.counts, failure.as_ref()).await?;
        match scaled {
            Ok(()) => Ok(decision.wake_after.map_or(Next::Done, Next::After)),
            Err((_, err)) if is_terminating_namespace(&err) => Ok(Next::Done),
            Err((_, err)) => Err(err),
        }
    }

    /// Slow start: a batch is tried only if the one before, half its size, was made whole.
    async fn create(&self, owner: &K, count: usize) -> Result<(), ApiError> {
        let pod = pod_of(owner)?;
        let mut failed = None;
        let mut revision = 0;
        for batch in batches(count) {
            for made in join_all((0..batch).map(|_| self.context.client.create(&pod))).await {
                match made {
                    Ok(pod) => {
                        revision = revision.max(corten_api::Object::revision(&pod));
                        let name = corten_api::Object::name(&pod);
                        self.say(owner, EventType::Normal, "SuccessfulCreate", format!("Created pod: {name}"));
                    }
                    Err(err) => {
                        if err.is_doubtful() {
                            self.doubts.add(&owner.key());
                        }
                        failed = Some(err);
                    }
                }
            }
            if failed.is_some() {
                break;
            }
        }
        self.context.caught_up(&self.context.caches.pods, revision).await;
        let Some(err) = failed else { return Ok(()) };
        if !is_terminating_namespace(&err) {
            self.say(owner, EventType::Warning, "FailedCreate", format!("Error creating: {err}"));
        }
        Err(err)
    }

    async fn delete(&self, owner: &K, pods: &[Arc<SeenPod>]) -> Result<(), ApiError> {
        let deletions = pods.iter().map(|pod| self.context.delete::<Pod>(&pod.key, &pod.uid));
        let mut failed = None;
        for (pod, deleted) in pods.iter().zip(join_all(deletions).await) {
            let name = &pod.key.name;
            match deleted {
                Ok(was_there) => {
                    if was_there {
                        self.say(owner, EventType::Normal, "SuccessfulDelete", format!("Deleted pod: {name}"));
                    }
                    self.seen_going(&pod.key, &pod.uid).await;
                }
                Err(err) => {
                    let message = format!("Error deleting: {err}");
                    self.say(owner, EventType::Warning, "FailedDelete", message);
                    failed = Some(err);
                }
            }
        }
        failed.map_or(Ok(()), Err)
    }

    async fn seen_going(&self, pod: &Key, uid: &str) {
        let going = |p: &SeenPod| p.uid != uid || p.deleting.is_some();
        self.context.seen_gone(&self.context.caches.pods, pod, going).await;
    }

    async fn report(&self, owner: &K, counts: Counts, failure: Option<&Failure>) -> Result<(), ApiError> {
        // An earlier failure keeps its words and its time for as long as it lasts.
        let same_failure = owner.failure().is_some() == failure.is_some();
        let mut changed = owner.clone();
        changed.set_status(counts, failure, &Time(Timestamp::now()));
        // Compared as the kind can say it: one has no field for pods that terminate.
        if owner.counts() == changed.counts() && same_failure {
            return Ok(());
        }
        match self.context.client.update_status(&changed).await {
            Ok(written) => self.context.caught_up(&self.owners, written.revision()).await,
            Err(err) if err.is(Reason::NotFound) => {}
            Err(err) if err.is(Reason::Conflict) => self.wait_for_newer(owner).await,
            Err(err) => return Err(err),
        }
        Ok(())
    }

    /// Somebody else wrote the object; its newer form comes by watch and asks for the next look.
    async fn wait_for_newer(&self, owner: &K) {
        let revision = owner.revision();
        self.context.seen_gone(&self.owners, &owner.key(), |o: &K| o.revision() > revision).await;
    }

    fn say(&self, owner: &K, kind: EventType, reason: &str, message: String) {
        self.context.recorder.event(&owner.reference(), kind, reason, message);
    }
}

/// A pod as the template says, owned by `owner`.
pub fn pod_of<K: ReplicaOwner>(owner: &K) -> Result<Pod, ApiError> {
    let missing = || ApiError::bad_request(format!("{} {} has no pod template", K::KIND, owner.key()));
    let template = owner.template().cloned().ok_or_else(missing)?;
    let meta = template.metadata.unwrap_or_default();
    Ok(Pod {
        metadata: ObjectMeta {
            generate_name: Some(format!("{}-", owner.name())),
            namespace: owner.metadata().namespace.clone(),
            labels: meta.labels,
            annotations: meta.annotations,
            finalizers: meta.finalizers,
            owner_references: Some(vec![owner.controller_reference()]),
            ..ObjectMeta::default()
        },
        spec: template.spec,
        status: None,
    })
}

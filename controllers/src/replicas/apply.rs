//! Makes and deletes the pods that were decided on, tells about it in events, and writes the status.

use std::sync::Arc;

use corten_api::k8s_openapi::api::core::v1::Pod;
use corten_api::k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use corten_api::{ApiError, Reason};
use corten_client::Next;
use jiff::Timestamp;

use super::decide::{Counts, Decision, Scale, batches};
use super::{Failure, ReplicaOwner, Replicas};
use crate::children::{Owner, wake};
use crate::context::is_terminating_namespace;
use crate::intents::Ask;
use crate::pod_events;
use crate::pods::SeenPod;

impl<K: ReplicaOwner> Replicas<K> {
    pub(super) async fn apply(&self, owner: &Arc<K>, decision: Decision) -> Result<Next, ApiError> {
        let held = match decision.scale {
            Scale::Create(count) => self.children.held_back(&Owner::of(&**owner), count),
            Scale::Keep | Scale::Delete(_) => None,
        };
        let scaled = match (decision.scale, &held) {
            (Scale::Keep, _) => Ok(()),
            (Scale::Create(_), Some(held)) => Err(("FailedCreate", held.refusal.clone())),
            (Scale::Create(count), None) => self.create(owner, count).await.map_err(|err| ("FailedCreate", err)),
            (Scale::Delete(pods), _) => self.delete(owner, &pods).await.map_err(|err| ("FailedDelete", err)),
        };
        let failure = scaled.as_ref().err().map(|(reason, err)| Failure { reason, message: err.to_string() });
        self.report(owner, decision.counts, failure.as_ref()).await?;
        match scaled {
            Ok(()) => Ok(decision.wake_after.map_or(Next::Done, Next::After)),
            Err((_, err)) if is_terminating_namespace(&err) => Ok(Next::Done),
            Err((_, err)) if held.is_none() => Err(err),
            Err(_) => Ok(wake(decision.wake_after, held.as_ref()).map_or(Next::Done, Next::After)),
        }
    }

    /// Slow start: a batch is tried only if the one before, half its size, was made whole.
    async fn create(&self, owner: &K, count: usize) -> Result<(), ApiError> {
        if owner.template().is_none() {
            return Err(ApiError::bad_request(format!("{} {} has no pod template", K::KIND, owner.key())));
        }
        let (parent, pods) = (Owner::of(owner), &self.context.caches.of::<SeenPod>());
        for batch in batches(count) {
            let names = self.children.fresh_names(&parent, pods, batch);
            let asks = names.into_iter().map(|name| Ask::Create { name, what: () }).collect();
            let sent = self.children.send(&self.context, &parent, asks, |name, ()| pod_of(owner, name)).await;
            pod_events::tell(&self.context.recorder, &owner.reference(), &sent)?;
        }
        Ok(())
    }

    /// One that fails keeps no other from going.
    async fn delete(&self, owner: &K, pods: &[Arc<SeenPod>]) -> Result<(), ApiError> {
        let ask = |pod: &Arc<SeenPod>| Ask::Delete { name: pod.key.name.clone(), uid: pod.uid.clone() };
        let asks = pods.iter().map(ask).collect();
        let sent = self.children.send(&self.context, &Owner::of(owner), asks, |name, ()| pod_of(owner, name)).await;
        pod_events::tell(&self.context.recorder, &owner.reference(), &sent)
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
}

/// A pod as the template says, owned by `owner`. Without a template it has no spec, which the apiserver refuses.
pub fn pod_of<K: ReplicaOwner>(owner: &K, name: &str) -> Pod {
    let template = owner.template().cloned().unwrap_or_default();
    let meta = template.metadata.unwrap_or_default();
    Pod {
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            // Upstream's pods have it, and tools look for it.
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
    }
}

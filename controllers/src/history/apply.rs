//! Writes to ControllerRevisions. Each returns once the cache shows what it wrote.

use std::sync::Arc;

use corten_api::k8s_openapi::api::apps::v1::ControllerRevision;
use corten_api::{ApiError, Object, Reason};
use corten_client::{Cache, Patch};
use futures::future::try_join_all;
use serde_json::json;

use super::{Step, Taken, taken};
use crate::adopt::{self, Settled, Target, decide::Candidate, decide::Claim};
use crate::context::Context;
use crate::pods::Labels;

/// What came of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Done {
    Written,
    /// The name of a new revision is taken by another: the owner's status has to count one collision more.
    Collision,
}

/// The writes of `owner`'s history.
pub struct Writer<'a, K> {
    pub context: &'a Context,
    pub revisions: &'a Cache<ControllerRevision>,
    pub owner: &'a K,
}

impl<K: Object> Writer<'_, K> {
    /// Which revisions nearby are the owner's, and which should become so or cease to be.
    pub fn claim(
        &self,
        selector: &corten_api::selector::Matcher,
        nearby: &[Arc<ControllerRevision>],
    ) -> Claim<Arc<ControllerRevision>> {
        static NO_LABELS: Labels = Labels::new();
        let candidates = nearby.iter().map(|revision| Candidate {
            target: Arc::clone(revision),
            labels: revision.metadata.labels.as_ref().unwrap_or(&NO_LABELS),
            controller: revision.controller().map(|owner| owner.uid.as_str()),
            deleting: revision.is_deleting(),
            terminal: false,
            mirror: false,
        });
        adopt::decide::claim(self.owner.uid(), self.owner.is_deleting(), selector, candidates)
    }

    /// Adopts and releases as [`Self::claim`] says.
    pub async fn settle(&self, claim: &Claim<Arc<ControllerRevision>>) -> Result<Settled, ApiError> {
        let targets = claim.map(|revision| target(revision));
        adopt::settle::<K, ControllerRevision, _>(self.context, self.revisions, self.owner, &targets).await
    }

    pub async fn step(&self, step: &Step) -> Result<Done, ApiError> {
        match step {
            Step::Create(revision) => self.create(revision).await,
            Step::Renumber { revision, number } => {
                let body = json!({"metadata": {"uid": revision.uid()}, "revision": number});
                let client = &self.context.client;
                let written = client.patch::<ControllerRevision>(&revision.key(), "", Patch::Merge(body)).await?;
                self.context.caught_up(self.revisions, written.revision()).await;
                Ok(Done::Written)
            }
        }
    }

    async fn create(&self, wanted: &ControllerRevision) -> Result<Done, ApiError> {
        let at = match self.context.client.create(wanted).await {
            Ok(made) => made.revision(),
            Err(err) if err.is(Reason::AlreadyExists) => {
                let there: ControllerRevision = self.context.client.get(&wanted.key()).await?;
                match taken(wanted, &there) {
                    Taken::Ours => there.revision(),
                    Taken::Orphan => {
                        let adopt = Claim { owned: Vec::new(), adopt: vec![Arc::new(there)], release: Vec::new() };
                        return match self.settle(&adopt).await? {
                            Settled::Wait => Ok(Done::Written),
                            // It cannot be had: it is another's for all that can be done with it.
                            Settled::GoOn(_) => Ok(Done::Collision),
                        };
                    }
                    Taken::Others => return Ok(Done::Collision),
                }
            }
            Err(err) => return Err(err),
        };
        self.context.caught_up(self.revisions, at).await;
        Ok(Done::Written)
    }

    /// Deletes what the history has too much of.
    pub async fn truncate(&self, surplus: &[Arc<ControllerRevision>]) -> Result<(), ApiError> {
        try_join_all(surplus.iter().map(|revision| self.delete(revision))).await.map(drop)
    }

    async fn delete(&self, revision: &ControllerRevision) -> Result<(), ApiError> {
        self.context.delete::<ControllerRevision>(&revision.key(), revision.uid()).await?;
        let gone = |shown: &ControllerRevision| shown.uid() != revision.uid() || shown.is_deleting();
        self.context.seen_gone(self.revisions, &revision.key(), gone).await;
        Ok(())
    }
}

fn target(revision: &ControllerRevision) -> Target {
    Target { key: revision.key(), uid: revision.uid().to_owned() }
}

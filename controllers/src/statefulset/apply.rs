//! Writes what was decided for a StatefulSet: claims before pods, the status in any case.

use std::collections::BTreeSet;
use std::sync::Arc;

use corten_api::k8s_openapi::api::apps::v1::{StatefulSet, StatefulSetStatus};
use corten_api::k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use corten_api::k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use corten_api::{ApiError, Key, Object, Reason};
use corten_client::{EventType, Next, Patch};
use futures::future::join_all;
use serde_json::json;
use tracing::info;

use super::claims::NewClaim;
use super::decide::{ClaimStep, Decision, PodStep, label_patch};
use super::identity::NewPod;
use super::{StatefulSets, status};
use crate::children::{Owner, Sent, wake};
use crate::context::is_terminating_namespace;
use crate::history::{Step, apply::Done};
use crate::intents::{Answer, Ask};
use crate::pods::SeenPod;
use crate::replicas::decide::batches;

impl StatefulSets {
    pub(super) async fn apply(&self, set: &Arc<StatefulSet>, decision: Decision) -> Result<Next, ApiError> {
        if let Some(step) = &decision.history {
            return self.step(set, step).await;
        }
        let missing = decision.pods.iter().filter(|step| matches!(step, PodStep::Create(_))).count();
        let held = if missing == 0 { None } else { self.children.held_back(&Owner::of(&**set), missing) };
        let (mut claims, mut pods) = (decision.claims, decision.pods);
        if held.is_some() {
            claims.retain(|step| !matches!(step, ClaimStep::Create { .. }));
            pods.retain(|step| !matches!(step, PodStep::Create(_)));
        }
        let acted = self.act(set, claims, pods).await;
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
    async fn step(&self, set: &StatefulSet, step: &Step) -> Result<Next, ApiError> {
        if self.history(set).step(step).await? == Done::Collision {
            info!(statefulset = %set.key(), "the name of its new revision is taken");
            self.write_status(set, status::collided(set)).await?;
        }
        Ok(Next::Done)
    }

    async fn act(&self, set: &StatefulSet, claims: Vec<ClaimStep>, pods: Vec<PodStep>) -> Result<(), ApiError> {
        let (mut owned, mut made) = (Vec::new(), Vec::new());
        for step in claims {
            match step {
                ClaimStep::Own { claim, owners, conflict } => owned.push(self.own(set, claim, owners, conflict)),
                ClaimStep::Create { claim, pod } => made.push(self.make(set, claim, pod)),
            }
        }
        // Before any pod goes: what becomes of a claim is decided by whose it is when its pod is gone.
        join_all(owned).await.into_iter().collect::<Result<Vec<()>, _>>()?;
        let failed: Vec<(String, ApiError)> = join_all(made).await.into_iter().filter_map(Result::err).collect();
        if let Some((_, err)) = failed.first().filter(|(_, err)| !err.is_doubtful()) {
            self.children.refused(&Owner::of(set), err.clone());
        }
        let without: BTreeSet<&str> = failed.iter().map(|(pod, _)| pod.as_str()).collect();
        let done = self.act_on_pods(set, pods, &without).await;
        failed.into_iter().next().map_or(done, |(_, err)| Err(err))
    }

    /// `without`: pods whose claims could not be made.
    async fn act_on_pods(
        &self,
        set: &StatefulSet,
        steps: Vec<PodStep>,
        without: &BTreeSet<&str>,
    ) -> Result<(), ApiError> {
        let (mut creates, mut deletes, mut labels) = (Vec::new(), Vec::new(), Vec::new());
        for step in steps {
            match step {
                PodStep::Create(pod) if without.contains(pod.name().as_str()) => {}
                PodStep::Create(pod) => creates.push(Ask::Create { name: pod.name(), what: pod }),
                PodStep::Delete(pod) => {
                    deletes.push(Ask::Delete { name: pod.key.name.clone(), uid: pod.uid.clone() });
                }
                PodStep::Label(pod) => labels.push(self.label(set, pod)),
                PodStep::Refuse { verb, pod, why } => self.say(set, verb, &format!("Pod {pod}"), Some(&why)),
            }
        }
        let labelled = join_all(labels).await.into_iter().collect::<Result<Vec<()>, _>>();
        // One that fails keeps no other from going.
        self.send(set, deletes).await?;
        // Slow start: a batch is tried only if the one before, half its size, was made whole.
        for batch in batches(creates.len()) {
            let rest = creates.split_off(batch.min(creates.len()));
            self.send(set, std::mem::replace(&mut creates, rest)).await?;
        }
        labelled.map(drop)
    }

    /// Sends these side by side and says what was done. The last failure is returned.
    async fn send(&self, set: &StatefulSet, asks: Vec<Ask<NewPod>>) -> Result<(), ApiError> {
        let sent = self.children.send(&self.context, &Owner::of(set), asks, |_, new| new.pod()).await;
        let mut failed = None;
        for Sent { ask, answer } in sent {
            let verb = if matches!(ask, Ask::Create { .. }) { "Create" } else { "Delete" };
            let about = format!("Pod {}", ask.name());
            match answer {
                Answer::Done { .. } => self.say(set, verb, &about, None),
                Answer::Gone => {}
                Answer::Refused(err) | Answer::Doubtful(err) => {
                    if !is_terminating_namespace(&err) {
                        self.say(set, verb, &about, Some(&err.to_string()));
                    }
                    failed = Some(err);
                }
            }
        }
        failed.map_or(Ok(()), Err)
    }

    async fn label(&self, set: &StatefulSet, pod: Arc<SeenPod>) -> Result<(), ApiError> {
        let patch = self.context.client.patch::<Pod>(&pod.key, "", Patch::Merge(label_patch(&pod))).await;
        let why = patch.as_ref().err().map(ToString::to_string);
        self.say(set, "Update", &format!("Pod {}", pod.key.name), why.as_deref());
        self.children.saw(&Owner::of(set), patch?.revision());
        Ok(())
    }

    /// Writes whose a claim is. The resourceVersion makes it fail if somebody else wrote owners meanwhile.
    async fn own(
        &self,
        set: &StatefulSet,
        claim: Arc<PersistentVolumeClaim>,
        owners: Vec<OwnerReference>,
        conflict: bool,
    ) -> Result<(), ApiError> {
        if conflict {
            let message = format!(
                "PersistentVolumeClaim {} has a conflicting OwnerReference that acts as a managing controller, \
                 the retention policy is ignored for this claim",
                claim.name()
            );
            self.context.recorder.event(&set.reference(), EventType::Warning, "ConflictingController", message);
        }
        let (uid, at) = (claim.uid(), &claim.metadata.resource_version);
        let body = json!({"metadata": {"uid": uid, "resourceVersion": at, "ownerReferences": owners}});
        let (key, client) = (claim.key(), &self.context.prompt);
        let patch = || client.patch::<PersistentVolumeClaim>(&key, "", Patch::Merge(body.clone()));
        match self.context.width.send(patch).await {
            Ok(written) => self.context.caught_up(&self.claims, written.revision()).await,
            // It went: its watch tells.
            Err(err) if err.is(Reason::NotFound) => {}
            Err(err) => return Err(err),
        }
        Ok(())
    }

    /// Makes a claim. `Err`: the pod that cannot be made without it.
    async fn make(&self, set: &StatefulSet, claim: NewClaim, pod: String) -> Result<(), (String, ApiError)> {
        // Made when its turn has come, as pods are.
        let made = self.context.width.send(|| {
            let claim = claim.claim();
            async move { self.context.prompt.create(&claim?).await }
        });
        let made = made.await;
        let about = format!("Claim {} Pod {pod}", claim.name());
        let there = match made {
            Ok(made) => {
                let message = format!("Create {about} in StatefulSet {} success", set.name());
                self.context.recorder.event(&set.reference(), EventType::Normal, "SuccessfulCreate", message);
                Ok(made)
            }
            // From before, or its answer was lost.
            Err(err) if err.is(Reason::AlreadyExists) => {
                self.context.client.get(&Key::new(set.namespace(), claim.name())).await
            }
            Err(err) => {
                if !is_terminating_namespace(&err) {
                    self.say(set, "Create", &about, Some(&err.to_string()));
                }
                Err(err)
            }
        };
        let there: PersistentVolumeClaim = there.map_err(|err| (pod, err))?;
        self.context.caught_up(&self.claims, there.revision()).await;
        Ok(())
    }

    async fn write_status(&self, set: &StatefulSet, status: StatefulSetStatus) -> Result<(), ApiError> {
        let mut changed = StatefulSet::clone(set);
        changed.status = Some(status);
        let written = self.context.client.update_status(&changed).await;
        match written {
            Ok(written) => self.context.caught_up(&self.sets, written.revision()).await,
            Err(err) if err.is(Reason::NotFound) => {}
            // Somebody else wrote the object; its newer form comes by watch and asks for the next look.
            Err(err) if err.is(Reason::Conflict) => {
                let newer = |shown: &StatefulSet| shown.revision() > set.revision();
                self.context.seen_gone(&self.sets, &set.key(), newer).await;
            }
            Err(err) => return Err(err),
        }
        Ok(())
    }

    /// `SuccessfulCreate`, `FailedDelete`, … as upstream says it. `why`: it failed.
    fn say(&self, set: &StatefulSet, verb: &str, about: &str, why: Option<&str>) {
        let (about, recorder) = (format!("{verb} {about} in StatefulSet {}", set.name()), &self.context.recorder);
        match why {
            None => {
                let (reason, message) = (format!("Successful{verb}"), format!("{about} successful"));
                recorder.event(&set.reference(), EventType::Normal, &reason, message);
            }
            Some(why) => {
                let (reason, message) = (format!("Failed{verb}"), format!("{about} failed error: {why}"));
                recorder.event(&set.reference(), EventType::Warning, &reason, message);
            }
        }
    }
}

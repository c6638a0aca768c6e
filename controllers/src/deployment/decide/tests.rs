//! Rollouts as stories: decisions are applied to a small make-believe cluster until nothing is left to do.

mod history;
mod rollout;
mod scale;

use corten_api::conditions::Condition as _;
use corten_api::k8s_openapi::api::apps::v1::{DeploymentStrategy, ReplicaSetStatus, RollingUpdateDeployment};
use corten_api::k8s_openapi::api::core::v1::{Container, PodSpec, PodTemplateSpec};
use corten_api::k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta, Time};
use corten_api::k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use jiff::SignedDuration;

use super::*;

const ROUNDS_MAX: usize = 100;

/// ReplicaSets have their pods at once; whether those serve depends on their image.
struct World {
    seen: Observed,
    broken_image: Option<&'static str>,
    slow: bool,
    log: Vec<String>,
}

fn template(image: &str) -> PodTemplateSpec {
    let container = Container { name: "web".into(), image: Some(image.into()), ..Container::default() };
    PodTemplateSpec {
        metadata: Some(ObjectMeta { labels: Some([("app".into(), "web".into())].into()), ..Default::default() }),
        spec: Some(PodSpec { containers: vec![container], ..PodSpec::default() }),
    }
}

impl World {
    fn new(replicas: i32, surge: i32, unavailable: i32) -> Self {
        let rolling = RollingUpdateDeployment {
            max_surge: Some(IntOrString::Int(surge)),
            max_unavailable: Some(IntOrString::Int(unavailable)),
        };
        let deployment = Deployment {
            metadata: ObjectMeta {
                name: Some("web".into()),
                namespace: Some("default".into()),
                uid: Some("d".into()),
                generation: Some(1),
                ..ObjectMeta::default()
            },
            spec: DeploymentSpec {
                replicas: Some(replicas),
                selector: LabelSelector {
                    match_labels: Some([("app".into(), "web".into())].into()),
                    ..Default::default()
                },
                template: template("one"),
                strategy: Some(DeploymentStrategy {
                    type_: Some("RollingUpdate".into()),
                    rolling_update: Some(rolling),
                }),
                progress_deadline_seconds: Some(600),
                revision_history_limit: Some(10),
                ..DeploymentSpec::default()
            },
            status: None,
        };
        let now = Timestamp::from_second(1_000_000).unwrap();
        let seen = Observed { now, deployment: Arc::new(deployment), sets: vec![], running_pods: BTreeMap::new() };
        Self { seen, broken_image: None, slow: false, log: vec![] }
    }

    fn edit(&mut self, change: impl FnOnce(&mut DeploymentSpec)) {
        let deployment = Arc::make_mut(&mut self.seen.deployment);
        change(&mut deployment.spec);
        *deployment.metadata.generation.as_mut().unwrap() += 1;
    }
    fn image(&mut self, image: &str) {
        self.edit(|spec| spec.template = template(image));
    }
    fn set_status(&mut self, index: usize) {
        let (broken, slow) = (self.broken_image, self.slow);
        let set = Arc::make_mut(&mut self.seen.sets[index]);
        let (n, generation) = (size(set), set.metadata.generation);
        let image = set.spec.template.as_ref().unwrap().spec.as_ref().unwrap().containers[0].image.clone();
        let serves = image.as_deref() != broken && !slow;
        let ready = if serves { n } else { available(set).min(n) };
        set.status = Some(ReplicaSetStatus {
            replicas: n,
            ready_replicas: Some(ready),
            available_replicas: Some(ready),
            observed_generation: generation,
            ..ReplicaSetStatus::default()
        });
    }

    fn apply(&mut self, action: Action) {
        let wanted = self.seen.deployment.spec.replicas.unwrap();
        let surge = bounds(&self.seen.deployment).surge;
        let sized = |set: &mut ReplicaSet| {
            let notes = set.metadata.annotations.get_or_insert_default();
            notes.extend(revision::scale_annotations(wanted, surge).map(|(k, v)| (k.to_owned(), v)));
        };
        let index = |sets: &[Arc<ReplicaSet>], name: &str| sets.iter().position(|s| s.name() == name).unwrap();
        let label = |set: &ReplicaSet| {
            set.spec.template.as_ref().unwrap().spec.as_ref().unwrap().containers[0].image.clone().unwrap()
        };
        match action {
            Action::Create(mut set) => {
                self.log.push(format!("create {} {}", label(&set), size(&set)));
                set.metadata.uid = set.metadata.name.clone();
                set.metadata.creation_timestamp = Some(Time(self.seen.now));
                self.seen.sets.push(Arc::new(set));
            }
            Action::Refresh(set) => {
                let at = index(&self.seen.sets, set.name());
                self.seen.sets[at] = Arc::new(set);
            }
            Action::Scale { set, to } => {
                self.log.push(format!("{} {}→{to}", label(&set), size(&set)));
                let at = index(&self.seen.sets, set.name());
                let set = Arc::make_mut(&mut self.seen.sets[at]);
                set.spec.replicas = Some(to);
                sized(set);
            }
            Action::NoteSize(set) => {
                let at = index(&self.seen.sets, set.name());
                sized(Arc::make_mut(&mut self.seen.sets[at]));
            }
            Action::Delete(set) => {
                self.log.push(format!("drop {}", label(&set)));
                self.seen.sets.retain(|s| s.name() != set.name());
            }
            Action::Revise(revision) => {
                let deployment = Arc::make_mut(&mut self.seen.deployment);
                deployment.metadata.annotations.get_or_insert_default().insert(revision::REVISION.into(), revision);
            }
            Action::WriteStatus(status) => Arc::make_mut(&mut self.seen.deployment).status = Some(status),
        }
    }

    /// Rounds until a decision has no actions; returns what was done to ReplicaSets.
    fn settle(&mut self) -> String {
        self.log.clear();
        for _ in 0..ROUNDS_MAX {
            let actions = decide(&self.seen).actions;
            if actions.is_empty() {
                return self.log.join(", ");
            }
            for action in actions {
                self.apply(action);
            }
            for index in 0..self.seen.sets.len() {
                self.set_status(index);
            }
            self.check_bounds();
        }
        panic!("still busy after {ROUNDS_MAX} rounds: {:?}", self.log);
    }

    /// What no step may break, whatever the story.
    fn check_bounds(&self) {
        let wanted = self.seen.deployment.spec.replicas.unwrap();
        let total: i32 = self.seen.sets.iter().map(|s| size(s)).sum();
        assert!(total <= wanted.max(10) + bounds(&self.seen.deployment).surge, "{:?}", self.log);
    }

    fn progressing(&self) -> (String, String) {
        let conditions = self.seen.deployment.status.as_ref().unwrap().conditions.as_ref();
        let c = conditions::find(conditions, "Progressing").unwrap();
        (c.status().to_owned(), c.reason.clone().unwrap())
    }
    fn revision(&self) -> &str {
        self.seen.deployment.annotation(revision::REVISION).unwrap()
    }
    fn later(&mut self, secs: i64) {
        self.seen.now = self.seen.now.checked_add(SignedDuration::from_secs(secs)).unwrap();
    }
}

/// Sets that are (image, size, available), the first made first, all sized for a deployment of `noted` pods and one
/// more, in a paused deployment of `wanted` pods of the image `two`.
fn paused(wanted: i32, noted: i32, sets: &[(&str, i32, i32)]) -> World {
    let mut world = World::new(noted, 1, 0);
    for ((image, replicas, available), revision) in sets.iter().zip(1..) {
        world.later(10);
        world.image(image);
        let mut set = revision::new_set(&world.seen.deployment, revision, *replicas, 1);
        set.metadata.uid = set.metadata.name.clone();
        set.metadata.creation_timestamp = Some(Time(world.seen.now));
        let status =
            ReplicaSetStatus { replicas: *replicas, available_replicas: Some(*available), ..Default::default() };
        set.status = Some(status);
        world.seen.sets.push(Arc::new(set));
    }
    world.image("two");
    world.edit(|spec| (spec.replicas, spec.paused) = (Some(wanted), Some(true)));
    world
}

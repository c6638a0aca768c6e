//! Deployments under change: never more pods, nor fewer that serve, than their bounds allow; and in the end as asked.

use std::sync::Arc;

use corten_api::k8s_openapi::api::apps::v1::{
    Deployment, DeploymentSpec, DeploymentStrategy, ReplicaSet, RollingUpdateDeployment,
};
use corten_api::k8s_openapi::api::core::v1::{Container, Pod, PodCondition, PodSpec, PodTemplateSpec};
use corten_api::k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta, Time};
use corten_api::k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use corten_api::{Key, Object, conditions, pod};
use corten_client::seeds::{Chance, for_each_seed};

use crate::store::Store;
use crate::{deployment, replicas};

/// Steps with changes and faults, then as many at most to come to rest.
const UNREST_STEPS: usize = 3000;
const REST_STEPS: usize = 40_000;
const HISTORY: i32 = 2;
const SHOWN_CHANGES: usize = 20;

struct World {
    store: Store,
    chance: Chance,
    sets: replicas::Controller,
    deployments: deployment::Controller,
    faults: usize,
    story: Vec<String>,
}

pub(crate) fn template(image: &str) -> PodTemplateSpec {
    let container = Container { name: "web".into(), image: Some(image.into()), ..Container::default() };
    PodTemplateSpec {
        metadata: Some(ObjectMeta { labels: Some([("app".into(), "web".into())].into()), ..ObjectMeta::default() }),
        spec: Some(PodSpec { containers: vec![container], ..PodSpec::default() }),
    }
}

fn web(replicas: i32, surge: i32, unavailable: i32, recreate: bool) -> Deployment {
    let rolling = RollingUpdateDeployment {
        max_surge: Some(IntOrString::Int(surge)),
        max_unavailable: Some(IntOrString::Int(unavailable)),
    };
    let strategy = DeploymentStrategy {
        type_: Some(if recreate { "Recreate" } else { "RollingUpdate" }.into()),
        rolling_update: (!recreate).then_some(rolling),
    };
    Deployment {
        metadata: ObjectMeta { name: Some("web".into()), namespace: Some("default".into()), ..ObjectMeta::default() },
        spec: DeploymentSpec {
            replicas: Some(replicas),
            selector: LabelSelector {
                match_labels: Some([("app".into(), "web".into())].into()),
                ..LabelSelector::default()
            },
            template: template("good-0"),
            strategy: Some(strategy),
            progress_deadline_seconds: Some(600),
            revision_history_limit: Some(HISTORY),
            ..DeploymentSpec::default()
        },
        status: None,
    }
}

fn image(pod: &Pod) -> &str {
    pod.spec.as_ref().unwrap().containers[0].image.as_deref().unwrap()
}

impl World {
    fn new(seed: u64, deployment: Deployment) -> Self {
        let mut store = Store::new();
        store.deployments.create(&mut store.ids, deployment).unwrap();
        let (sets, deployments) = (replicas::Controller::new(&store), deployment::Controller::new(&store));
        Self { store, chance: Chance(seed), sets, deployments, faults: 3, story: Vec::new() }
    }

    fn key() -> Key {
        Key::new("default", "web")
    }
    fn wanted(&self) -> i32 {
        self.store.deployments.live[&Self::key()].spec.replicas.unwrap()
    }
    fn change(&mut self, change: impl FnOnce(&mut DeploymentSpec)) {
        let uid = self.store.deployments.live[&Self::key()].uid().to_owned();
        let edit = |d: &mut Deployment| change(&mut d.spec);
        self.store.deployments.edit(&mut self.store.ids, (&Self::key(), &uid), true, edit).unwrap();
    }
    fn new_image(&mut self, image: String) {
        self.story.push(format!("{}: {image}", self.store.ids.revision));
        self.change(|spec| spec.template = template(&image));
    }

    /// Something small happens somewhere.
    fn step(&mut self) {
        let (store, chance) = (&mut self.store, &mut self.chance);
        match chance.below(10) {
            0 => self.sets.sets.deliver(&store.sets),
            1 => self.sets.pods.deliver(&store.pods),
            2 => self.deployments.deployments.deliver(&store.deployments),
            3 => self.deployments.sets.deliver(&store.sets),
            4 => self.deployments.pods.deliver(&store.pods),
            5 | 6 => self.sets.step(store, chance, self.faults),
            7 | 8 => self.deployments.step(store, chance, self.faults),
            _ => self.kubelet(),
        }
        self.store.ids.tick();
    }

    /// Starts a pod, or ends one.
    fn kubelet(&mut self) {
        let pods: Vec<_> = self.store.pods.live.values().cloned().collect();
        let Some(seen) = self.chance.pick(&pods) else { return };
        if seen.is_deleting() {
            self.store.pods.remove(&mut self.store.ids, &seen.key());
            return;
        }
        let condition = PodCondition { type_: "Ready".into(), status: "True".into(), ..PodCondition::default() };
        let (good, now) = (image(seen).starts_with("good"), Time(self.store.ids.now));
        let start = |pod: &mut Pod| {
            let status = pod.status.get_or_insert_default();
            status.phase = Some("Running".into());
            let list = status.conditions.get_or_insert_default();
            if good && !conditions::is_true(Some(list), "Ready") {
                conditions::set(list, condition, &now);
            }
        };
        self.store.pods.edit(&mut self.store.ids, (&seen.key(), seen.uid()), false, start).unwrap();
    }

    /// Pods that are not on their way out, and how many of them serve.
    fn pods(&self) -> (i32, i32) {
        let active: Vec<_> = self.store.pods.live.values().filter(|p| !p.is_deleting()).collect();
        let count = |n: usize| i32::try_from(n).unwrap();
        (count(active.len()), count(active.iter().filter(|p| pod::is_ready(p)).count()))
    }

    /// What became of ReplicaSets last, for who reads a failure.
    fn latest_sets(&self) -> String {
        let line = |(revision, key, set): &(i64, Key, Option<Arc<ReplicaSet>>)| {
            let Some(set) = set else { return format!("{revision} {} gone", key.name) };
            let (status, size) = (set.status.clone().unwrap_or_default(), set.spec.replicas);
            let (generation, seen) = (set.metadata.generation, status.observed_generation);
            let (there, serve) = (status.replicas, status.available_replicas);
            format!("{revision} {} {size:?}: {there}, {serve:?} serve; {seen:?} of {generation:?}", key.name)
        };
        let log = &self.store.sets.log;
        log[log.len().saturating_sub(SHOWN_CHANGES)..].iter().map(line).collect::<Vec<_>>().join("\n")
    }

    /// Steps without faults until all is as asked.
    fn come_to_rest(&mut self, seed: u64) {
        self.faults = 0;
        for _ in 0..REST_STEPS {
            if self.is_as_asked() {
                return;
            }
            self.step();
        }
        let sizes: Vec<_> = self.store.sets.live.values().map(|s| (s.name(), s.spec.replicas)).collect();
        let status = &self.store.deployments.live[&Self::key()].status;
        panic!("seed {seed}: no rest; pods {:?}, sets {sizes:?}, {status:?}; {:?}", self.pods(), self.story);
    }

    fn is_as_asked(&self) -> bool {
        let deployment = &self.store.deployments.live[&Self::key()];
        let wanted = deployment.spec.template.spec.as_ref().unwrap().containers[0].image.clone();
        let all_new = self.store.pods.live.values().all(|p| wanted.as_deref() == Some(image(p)));
        let status = deployment.status.clone().unwrap_or_default();
        let progress = conditions::find(status.conditions.as_ref(), "Progressing").and_then(|c| c.reason.as_deref());
        let paused = deployment.spec.paused == Some(true);
        all_new
            && !paused
            && self.pods() == (self.wanted(), self.wanted())
            && status.available_replicas.unwrap_or(0) == self.wanted()
            && progress == Some("NewReplicaSetAvailable")
            && self.store.sets.live.len() <= 1 + usize::try_from(HISTORY).unwrap()
    }
}

/// New images, good ones and ones that never serve, and ones of before.
fn roll_somewhere(world: &mut World) {
    let kind = if world.chance.percent(30) { "bad" } else { "good" };
    let image = format!("{kind}-{}", world.chance.below(6));
    world.new_image(image);
}

#[test]
fn a_rolling_update_keeps_its_bounds_whatever_happens() {
    for_each_seed(60, |seed| {
        let mut chance = Chance(seed ^ 0xfeed);
        let (wanted, surge) = (i32::try_from(1 + chance.below(6)).unwrap(), i32::try_from(chance.below(3)).unwrap());
        let missing = i32::try_from(chance.below(3)).unwrap();
        let unavailable = if surge + missing == 0 { 1 } else { missing }.min(wanted);
        let mut world = World::new(seed, web(wanted, surge, missing, false));
        world.come_to_rest(seed);
        world.faults = 3;
        for step in 0..UNREST_STEPS {
            if world.chance.below(200) == 0 {
                roll_somewhere(&mut world);
            }
            world.step();
            let (pods, serving) = world.pods();
            let told = || {
                let (story, sets) = (&world.story, world.latest_sets());
                format!("seed {seed}, step {step}: {pods} pods, {serving} serve; {story:?}\n{sets}")
            };
            assert!(pods <= wanted + surge, "more than {wanted}+{surge}: {}", told());
            assert!(serving >= wanted - unavailable, "fewer than {wanted}-{unavailable}: {}", told());
        }
        world.new_image("good-last".into());
        world.come_to_rest(seed);
    });
}

#[test]
fn recreate_never_runs_two_templates_at_once() {
    for_each_seed(40, |seed| {
        let mut world = World::new(seed, web(3, 0, 0, true));
        for step in 0..UNREST_STEPS {
            if world.chance.below(200) == 0 {
                roll_somewhere(&mut world);
            }
            world.step();
            let mut images: Vec<&str> = world.store.pods.live.values().map(|p| image(p)).collect();
            images.sort_unstable();
            images.dedup();
            assert!(images.len() <= 1, "seed {seed}, step {step}: {images:?} at once; {:?}", world.story);
        }
        world.new_image("good-last".into());
        world.come_to_rest(seed);
    });
}

/// Scaling, pauses, another strategy, pods that somebody deletes: no bounds hold then, but all comes right.
#[test]
fn all_changes_come_to_rest() {
    for_each_seed(60, |seed| {
        let mut world = World::new(seed, web(3, 1, 1, false));
        for _ in 0..UNREST_STEPS {
            match world.chance.below(800) {
                0 => roll_somewhere(&mut world),
                1 => {
                    let replicas = i32::try_from(world.chance.below(8)).unwrap();
                    world.story.push(format!("{}: {replicas} replicas", world.store.ids.revision));
                    world.change(|spec| spec.replicas = Some(replicas));
                }
                2 => world.change(|spec| spec.paused = Some(spec.paused != Some(true))),
                3 => world.change(|spec| {
                    let was_recreate = spec.strategy.as_ref().unwrap().type_.as_deref() == Some("Recreate");
                    spec.strategy = web(0, 2, 0, !was_recreate).spec.strategy;
                }),
                4 => {
                    let pods: Vec<_> = world.store.pods.live.keys().cloned().collect();
                    if let Some(key) = world.chance.pick(&pods) {
                        world.store.pods.remove(&mut world.store.ids, key);
                    }
                }
                _ => {}
            }
            world.step();
        }
        world.change(|spec| spec.paused = None);
        world.new_image("good-last".into());
        world.come_to_rest(seed);
    });
}

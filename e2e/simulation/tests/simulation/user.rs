//! What users do, drawn from the seed: they roll out, scale, evict, delete with and without dependents, and start over.

use corten_api::json::Json;
use corten_api::{ApiError, Key, Object, Reason};
use corten_client::{CancellationToken, Client, Patch};
use corten_simulation::invariants::COUNT_ANNOTATION;
use corten_simulation::read;
use k8s_openapi::api::apps::v1::{Deployment, StatefulSet};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Namespace, Pod, ResourceQuota};
use k8s_openapi::api::policy::v1::{Eviction, PodDisruptionBudget};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::DeleteOptions;
use serde_json::{Value, json};

use crate::world::{USER, World, pause};

const TRIES: usize = 20;
const PAUSE_MILLIS: usize = 4000;

struct User {
    world: World,
    client: Client,
    jobs: usize,
}

pub(crate) async fn play(world: World, acts: usize) {
    let client = world.client(USER, &CancellationToken::new());
    let mut user = User { world, client, jobs: 0 };
    for name in ["a", "b"] {
        user.create::<Namespace>(json!({"metadata": {"name": name}})).await;
        if user.draw(3) > 0 {
            let hard = json!({"pods": (8 + user.draw(8)).to_string()});
            user.create::<ResourceQuota>(
                json!({"metadata": {"namespace": name, "name": "all"}, "spec": {"hard": hard}}),
            )
            .await;
        }
        user.deploy(name).await;
        user.create::<StatefulSet>(user.stateful_set(name)).await;
        let least = user.draw(3);
        let selector = json!({"matchLabels": {"app": "web"}});
        let spec = json!({"minAvailable": least, "selector": selector});
        user.create::<PodDisruptionBudget>(json!({"metadata": {"namespace": name, "name": "web"}, "spec": spec})).await;
    }
    for _ in 0..acts {
        let namespace = ["a", "b"][user.draw(2)];
        user.act(namespace).await;
        pause(user.draw(PAUSE_MILLIS)).await;
    }
}

fn template(app: &str, image: usize, cpu_millis: usize) -> Value {
    let resources = json!({"requests": {"cpu": format!("{cpu_millis}m")}});
    let container = json!({"name": "main", "image": format!("image:{image}"), "resources": resources});
    json!({"metadata": {"labels": {"app": app}}, "spec": {"containers": [container]}})
}

impl User {
    fn draw(&self, end: usize) -> usize {
        self.world.net.chance(|chance| chance.below(end))
    }

    async fn act(&mut self, namespace: &str) {
        let key = |name: &str| Key::new(namespace, name);
        let (web, db) = (key("web"), key("db"));
        match self.draw(12) {
            0 | 1 => self.scale::<Deployment>(&web, 5).await,
            2 | 3 => self.roll_out::<Deployment>(&web).await,
            4 => self.scale::<StatefulSet>(&db, 4).await,
            5 => self.roll_out::<StatefulSet>(&db).await,
            6 | 7 => self.start_job(namespace).await,
            8 => self.evict(namespace).await,
            9 => self.count(&web).await,
            10 => self.delete_and_start_over(namespace, &web).await,
            _ => self.delete_job(namespace).await,
        }
    }

    /// Tries again until it is done, or refused for good.
    async fn insist<T>(&self, what: &str, call: impl AsyncFn() -> Result<T, ApiError>) -> Option<T> {
        for _ in 0..TRIES {
            match call().await {
                Ok(done) => return Some(done),
                Err(err) => {
                    self.world.court.say(format!("user: {what}: {err}"));
                    let is_final = [Reason::AlreadyExists, Reason::NotFound, Reason::Invalid, Reason::Forbidden];
                    if is_final.iter().any(|reason| err.is(*reason)) {
                        return None;
                    }
                }
            }
            pause(500).await;
        }
        None
    }

    async fn create<K: Object>(&self, object: Value) {
        let object = K::from_json(object.to_string().as_bytes()).unwrap();
        self.insist(&format!("create {} {}", K::KIND, object.key()), async || self.client.create(&object).await).await;
    }

    async fn patch<K: Object>(&self, key: &Key, body: Value) {
        let what = format!("patch {} {key} {body}", K::KIND);
        self.world.court.say(format!("user: {what}"));
        self.insist(&what, async || self.client.patch::<K>(key, "", Patch::Merge(body.clone())).await).await;
    }

    async fn deploy(&self, namespace: &str) {
        let surge = self.draw(3);
        let rolling = json!({"maxSurge": surge, "maxUnavailable": if surge == 0 { 1 } else { self.draw(2) }});
        let spec = json!({"replicas": 1 + self.draw(4), "selector": {"matchLabels": {"app": "web"}},
            "strategy": {"type": "RollingUpdate", "rollingUpdate": rolling},
            "template": template("web", self.draw(3), 100 + 50 * self.draw(4))});
        self.create::<Deployment>(json!({"metadata": {"namespace": namespace, "name": "web"}, "spec": spec})).await;
    }

    fn stateful_set(&self, namespace: &str) -> Value {
        let policy = ["OrderedReady", "Parallel"][self.draw(2)];
        let spec = json!({"replicas": 1 + self.draw(3), "serviceName": "db", "podManagementPolicy": policy,
            "selector": {"matchLabels": {"app": "db"}}, "template": template("db", 0, 150)});
        json!({"metadata": {"namespace": namespace, "name": "db"}, "spec": spec})
    }

    async fn scale<K: Object>(&self, key: &Key, most: usize) {
        self.patch::<K>(key, json!({"spec": {"replicas": self.draw(most + 1)}})).await;
    }

    async fn roll_out<K: Object>(&self, key: &Key) {
        let note = json!({"simulation/version": self.draw(4).to_string()});
        self.patch::<K>(key, json!({"spec": {"template": {"metadata": {"annotations": note}}}})).await;
    }

    async fn start_job(&mut self, namespace: &str) {
        self.jobs += 1;
        let mut template = template("job", 0, 50);
        template["spec"]["restartPolicy"] = json!("Never");
        let (completions, parallelism) = (1 + self.draw(5), 1 + self.draw(3));
        let mode = ["NonIndexed", "Indexed"][self.draw(2)];
        let spec = json!({"completions": completions, "parallelism": parallelism, "backoffLimit": 20,
            "completionMode": mode, "template": template});
        let metadata = json!({"namespace": namespace, "name": format!("job-{}", self.jobs)});
        self.create::<Job>(json!({"metadata": metadata, "spec": spec})).await;
    }

    async fn delete_job(&self, namespace: &str) {
        let known = |court: &crate::court::Court| {
            court.read(|cluster| {
                let jobs = cluster.in_namespace("jobs", namespace);
                jobs.filter_map(|job| Some(job["metadata"]["name"].as_str()?.to_owned())).collect::<Vec<_>>()
            })
        };
        let jobs = known(&self.world.court);
        if jobs.is_empty() {
            return;
        }
        self.delete::<Job>(&Key::new(namespace, jobs[self.draw(jobs.len())].as_str()), "Background").await;
    }

    async fn delete<K: Object>(&self, key: &Key, policy: &str) {
        self.world.court.say(format!("user: deletes {} {key}, {policy}", K::KIND));
        let options = DeleteOptions { propagation_policy: Some(policy.into()), ..DeleteOptions::default() };
        self.insist(&format!("delete {key}"), async || self.client.delete::<K>(key, &options).await).await;
    }

    async fn evict(&self, namespace: &str) {
        let pods: Vec<String> = self.world.court.read(|cluster| {
            let pods = cluster.in_namespace("pods", namespace).filter(|pod| read::is_available(pod));
            let web = json!({"app": "web"});
            let pods = pods.filter(|pod| read::has_labels(pod, &web));
            pods.filter_map(|pod| Some(pod["metadata"]["name"].as_str()?.to_owned())).collect()
        });
        // All at once: the budget lets so many go as it may.
        for pod in &pods {
            let metadata = json!({"namespace": namespace, "name": pod});
            let eviction = Eviction::from_json(json!({"metadata": metadata}).to_string().as_bytes()).unwrap();
            let key = Key::new(namespace, pod.as_str());
            let asked = self.client.create_subresource::<Pod, Eviction>(&key, "eviction", &eviction).await;
            let told = asked.map_or_else(|err| err.to_string(), |_| "done".into());
            self.world.court.say(format!("user: evicts {pod}: {told}"));
        }
    }

    /// Reads, adds one, and writes: as a program does that keeps something in an object.
    async fn count(&self, key: &Key) {
        for _ in 0..3 {
            let Ok(mut object) = self.client.get::<Deployment>(key).await else { return };
            let notes = object.metadata.annotations.get_or_insert_default();
            let count: u64 = notes.get(COUNT_ANNOTATION).and_then(|count| count.parse().ok()).unwrap_or(0);
            notes.insert(COUNT_ANNOTATION.into(), (count + 1).to_string());
            let _conflicts_are_tried_again = self.client.update(&object).await;
        }
    }

    async fn delete_and_start_over(&self, namespace: &str, web: &Key) {
        let policy = ["Background", "Foreground", "Orphan"][self.draw(3)];
        let uid = self
            .world
            .court
            .read(|cluster| cluster.get("deployments", namespace, "web").map(|object| read::uid(object).to_owned()));
        if let Some(uid) = uid.filter(|_| policy == "Orphan") {
            self.world.court.orphaned(&uid);
        }
        self.delete::<Deployment>(web, policy).await;
        pause(self.draw(PAUSE_MILLIS)).await;
        self.deploy(namespace).await;
    }
}

//! Every pod of a Job is counted once, whatever answers are lost and whenever its controller is stopped.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use corten_api::Key;
use corten_client::CancellationToken;
use corten_client::seeds::for_each_seed;
use corten_controllers::job;
use parking_lot::Mutex;
use serde_json::{Value, json};

use crate::apiserver::ApiServer;
use crate::store::{At, State};
use crate::world::{World, play, until};

/// Of a hundred writes, so many are not done, and as many are done without an answer.
const FAULTS: usize = 8;
const SEEDS: u64 = 6;
const HELD: &str = "batch.kubernetes.io/job-tracking";
/// Long ago, so that no failure is waited for.
const THEN: &str = "2020-01-01T00:00:00Z";

fn job(spec: &Value) -> Value {
    let mut all = json!({
        "selector": {"matchLabels": {"job": "j"}},
        "template": {"metadata": {"labels": {"job": "j"}}, "spec": {"restartPolicy": "Never", "containers": [{"name": "c"}]}},
        "backoffLimit": 1000,
    });
    spec.as_object().unwrap().iter().for_each(|(field, value)| all[field] = value.clone());
    json!({"metadata": {"name": "j", "namespace": "ns"}, "spec": all})
}
fn at(plural: &str, name: &str) -> At {
    (plural.to_owned(), Key::new("ns", name))
}
fn the_job(state: &State) -> &Value {
    &state.objects[&at("jobs", "j")]
}
fn is_held(pod: &Value) -> bool {
    pod["metadata"]["finalizers"].as_array().is_some_and(|all| all.contains(&json!(HELD)))
}
fn holds(job: &Value, kind: &str) -> bool {
    let mut conditions = job["status"]["conditions"].as_array().into_iter().flatten();
    conditions.any(|c| c["type"] == kind && c["status"] == "True")
}
fn number(job: &Value, field: &str) -> usize {
    job["status"][field].as_u64().map_or(0, |n| usize::try_from(n).unwrap())
}
/// Counted, and named to be counted.
fn counted(job: &Value, field: &str) -> usize {
    number(job, field) + job["status"]["uncountedTerminatedPods"][field].as_array().map_or(0, Vec::len)
}

/// Uids of pods that were held: of all, and of those that ended meanwhile by how.
#[derive(Clone, Default)]
struct Ends(Arc<Mutex<BTreeMap<&'static str, BTreeSet<String>>>>);

impl Ends {
    /// Watches every change there is: no more may be counted than have ended.
    fn watch(&self, server: &ApiServer) {
        let ends = self.clone();
        server.with(|state| {
            state.check = Box::new(move |objects| {
                let mut seen = ends.0.lock();
                for (_, pod) in objects.iter().filter(|((plural, _), pod)| plural == "pods" && is_held(pod)) {
                    let how = match pod["status"]["phase"].as_str() {
                        Some("Succeeded") => Some("succeeded"),
                        Some("Failed") => Some("failed"),
                        _ => None,
                    };
                    for how in how.into_iter().chain(["held"]) {
                        seen.entry(how).or_default().insert(pod["metadata"]["uid"].as_str().unwrap().to_owned());
                    }
                }
                let Some(job) = objects.get(&at("jobs", "j")) else { return Ok(()) };
                for how in ["succeeded", "failed"] {
                    // Of a Job that fails all pods have failed that have not succeeded.
                    let ended = if how == "failed" && holds(job, "FailureTarget") { "held" } else { how };
                    let (counted, most) = (counted(job, how), seen.get(ended).map_or(0, BTreeSet::len));
                    if counted > most {
                        return Err(format!("{counted} {how}, and {most} have"));
                    }
                }
                Ok(())
            });
        });
    }
    fn count(&self, how: &str) -> usize {
        self.0.lock().get(how).map_or(0, BTreeSet::len)
    }
}

/// Moves one pod at a time on: it starts, then ends. Of a hundred, so many fail.
async fn kubelet(server: ApiServer, failing: usize) {
    loop {
        tokio::time::sleep(Duration::from_millis(20)).await;
        server.with(|state| {
            let keys: Vec<_> = state.of("pods").map(|(key, _)| key.clone()).collect();
            let Some(key) = state.chance.pick(&keys).cloned() else { return };
            let at = ("pods".to_owned(), key);
            let mut pod = state.objects[&at].clone();
            let phase = pod["status"]["phase"].as_str().unwrap_or_default().to_owned();
            let goes = !pod["metadata"]["deletionTimestamp"].is_null();
            let ended = matches!(phase.as_str(), "Succeeded" | "Failed");
            match phase.as_str() {
                _ if goes && ended => drop(state.delete(&at, &json!({"gracePeriodSeconds": 0})).unwrap()),
                _ if ended => {}
                "Running" => {
                    let fails = goes || state.chance.percent(failing);
                    let end = json!({"exitCode": i32::from(fails), "finishedAt": THEN});
                    let phase = if fails { "Failed" } else { "Succeeded" };
                    let containers = json!([{"name": "c", "restartCount": 0, "state": {"terminated": end}}]);
                    pod["status"] = json!({"phase": phase, "containerStatuses": containers});
                    state.replace(&at, pod).unwrap();
                }
                _ => {
                    pod["spec"]["nodeName"] = json!("n1");
                    pod["status"] = json!({"phase": "Running"});
                    state.replace(&at, pod).unwrap();
                }
            }
        });
    }
}

/// Runs the controllers, and stops them again and again, wherever they stand: all that they remember is gone then.
async fn leaders(server: ApiServer, all: CancellationToken) {
    while !all.is_cancelled() {
        let term = all.child_token();
        let world = World::new(&server, &term).await;
        world.start("job", job::controller);
        world.start("job-orphans", job::orphans::controller);
        let millis = server.with(|state| state.chance.below(4_000));
        all.run_until_cancelled(tokio::time::sleep(Duration::from_millis(millis as u64))).await;
        term.cancel();
        // What was under way has arrived, or never does: a new leader's lease is newer than all of it.
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Plays a Job to its end, with all that can go wrong.
async fn played(seed: u64, spec: Value, failing: usize, end: &'static str) -> (ApiServer, Ends) {
    let (server, stop, ends) = (ApiServer::new(seed), CancellationToken::new(), Ends::default());
    ends.watch(&server);
    server.with(|state| state.create("jobs", job(&spec)).unwrap());
    tokio::spawn(stop.clone().run_until_cancelled_owned(kubelet(server.clone(), failing)));
    server.set_faults(FAULTS);
    let leading = tokio::spawn(leaders(server.clone(), stop.clone()));
    until(&server, end, |state| holds(the_job(state), end)).await;
    server.set_faults(0);
    until(&server, "no pod to be held", |state| !state.of("pods").any(|(_, pod)| is_held(pod))).await;
    stop.cancel();
    leading.await.unwrap();
    (server, ends)
}

#[test]
fn each_pod_counts_once_though_answers_are_lost_and_leaders_stopped_between_any_two_writes() {
    for_each_seed(SEEDS, |seed| {
        play(async move {
            let spec = json!({"parallelism": 4, "completions": 12});
            let (server, ends) = played(seed, spec, 30, "Complete").await;
            let job = server.with(|state| the_job(state).clone());
            assert_eq!(number(&job, "succeeded"), ends.count("succeeded"), "{}", job["status"]);
            assert_eq!(number(&job, "failed"), ends.count("failed"), "{}", job["status"]);
            assert!(number(&job, "succeeded") >= 12, "{}", job["status"]);
            assert_eq!(job["status"]["uncountedTerminatedPods"], json!({}));
        });
    });
}

/// Pauses the Job and lets it go on, again and again, for a while.
async fn restless_user(server: ApiServer) {
    for n in 0..12 {
        let millis = server.with(|state| state.chance.below(3_000));
        tokio::time::sleep(Duration::from_millis(millis as u64)).await;
        server.with(|state| {
            let mut job = the_job(state).clone();
            job["spec"]["suspend"] = json!(n % 2 == 0);
            job["spec"]["parallelism"] = json!(1 + state.chance.below(5));
            state.replace(&at("jobs", "j"), job).unwrap();
        });
    }
}

#[test]
fn pods_that_are_sent_away_count_for_nothing_and_those_that_ended_before_count_once() {
    for_each_seed(SEEDS, |seed| {
        play(async move {
            let (server, stop, ends) = (ApiServer::new(seed), CancellationToken::new(), Ends::default());
            ends.watch(&server);
            server.with(|state| state.create("jobs", job(&json!({"parallelism": 4, "completions": 40}))).unwrap());
            tokio::spawn(stop.clone().run_until_cancelled_owned(kubelet(server.clone(), 20)));
            server.set_faults(FAULTS);
            let leading = tokio::spawn(leaders(server.clone(), stop.clone()));
            restless_user(server.clone()).await;
            until(&server, "Complete", |state| holds(the_job(state), "Complete")).await;
            stop.cancel();
            leading.await.unwrap();
            let job = server.with(|state| the_job(state).clone());
            let counts = (number(&job, "succeeded"), number(&job, "failed"));
            assert_eq!(counts, (ends.count("succeeded"), ends.count("failed")), "{}", job["status"]);
        });
    });
}

#[test]
fn each_index_is_done_once_and_tried_as_often_as_it_may_be() {
    for_each_seed(SEEDS, |seed| {
        play(async move {
            let spec = json!({
                "parallelism": 3, "completions": 8, "completionMode": "Indexed", "backoffLimitPerIndex": 6, "backoffLimit": i32::MAX,
            });
            let (server, ends) = played(seed, spec, 20, "Complete").await;
            let (job, pods) = server.with(|state| {
                let pods: Vec<Value> = state.of("pods").map(|(_, pod)| pod.clone()).collect();
                (the_job(state).clone(), pods)
            });
            assert_eq!((&job["status"]["completedIndexes"], number(&job, "succeeded")), (&json!("0-7"), 8));
            assert_eq!(number(&job, "failed"), ends.count("failed"), "{}", job["status"]);
            // The tries of an index are numbered: none is forgotten by a leader that comes later.
            let mut tries: BTreeMap<String, Vec<u64>> = BTreeMap::new();
            for pod in pods.iter().filter(|pod| pod["status"]["phase"] == "Failed") {
                let note = |name: &str| {
                    pod["metadata"]["annotations"][format!("batch.kubernetes.io/{name}")].as_str().unwrap().to_owned()
                };
                let tried = note("job-index-failure-count").parse().unwrap();
                tries.entry(note("job-completion-index")).or_default().push(tried);
            }
            for (index, mut tried) in tries {
                tried.sort_unstable();
                assert_eq!(tried, (0..tried.len() as u64).collect::<Vec<_>>(), "index {index}");
            }
        });
    });
}

#[test]
fn a_job_that_fails_has_counted_every_pod_and_leaves_none_that_runs() {
    for_each_seed(SEEDS, |seed| {
        play(async move {
            let spec = json!({"parallelism": 4, "completions": 50, "backoffLimit": 2});
            let (server, ends) = played(seed, spec, 60, "Failed").await;
            server.with(|state| {
                let job = the_job(state);
                assert!(holds(job, "FailureTarget"));
                // One that was counted as failed may succeed before it hears of its end.
                let (succeeded, failed) = (number(job, "succeeded"), number(job, "failed"));
                let ended = ends.count("succeeded") + ends.count("failed");
                assert!(succeeded <= ends.count("succeeded") && failed >= 3, "{}", job["status"]);
                assert!((ended..=ends.count("held")).contains(&(succeeded + failed)), "{}", job["status"]);
                let runs = |pod: &Value| pod["status"]["phase"] == "Running" || pod["status"]["phase"].is_null();
                assert_eq!(state.of("pods").filter(|(_, pod)| runs(pod)).count(), 0);
            });
        });
    });
}

#[test]
fn pods_of_a_job_that_is_gone_or_that_lost_theirs_are_let_go() {
    play(async {
        let (server, stop) = (ApiServer::new(0), CancellationToken::new());
        let world = World::new(&server, &stop).await;
        world.start("job", job::controller);
        world.start("job-orphans", job::orphans::controller);
        server.with(|state| state.create("jobs", job(&json!({"parallelism": 2, "completions": 2}))).unwrap());
        let held = |state: &State| state.of("pods").filter(|(_, pod)| is_held(pod)).count();
        until(&server, "two pods", |state| held(state) == 2).await;
        server.with(|state| {
            let (key, pod) = state.of("pods").next().map(|(key, pod)| (key.clone(), pod.clone())).unwrap();
            let mut orphan = pod;
            (orphan["metadata"]["ownerReferences"], orphan["metadata"]["labels"]) = (Value::Null, json!({}));
            state.replace(&("pods".into(), key), orphan).unwrap();
        });
        until(&server, "one that is no Job's to be let go, and replaced", |state| {
            held(state) == 2 && state.of("pods").count() == 3
        })
        .await;
        server.with(|state| state.delete(&at("jobs", "j"), &json!({})).unwrap());
        until(&server, "the others to be let go when the Job is gone", |state| held(state) == 0).await;
        stop.cancel();
    });
}

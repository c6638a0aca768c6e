//! CronJobs make one Job for one time, and finished Jobs go once, whatever answers are lost.

use std::collections::BTreeSet;

use corten_api::Key;
use corten_client::CancellationToken;
use corten_client::seeds::for_each_seed;
use corten_controllers::cronjob::decide::SCHEDULED_TIMESTAMP;
use corten_controllers::{cronjob, ttlafterfinished};
use serde_json::{Value, json};

use crate::apiserver::ApiServer;
use crate::store::{At, State};
use crate::world::{World, play, until};

const FAULTS: usize = 12;
const SEEDS: u64 = 6;
const LONG_AGO: &str = "2020-01-01T00:00:00Z";

fn at(plural: &str, name: &str) -> At {
    (plural.to_owned(), Key::new("ns", name))
}

/// Its times are so far apart that one passes during a test about once in a century.
fn cron(policy: &str) -> Value {
    let spec = json!({
        "schedule": "0 0 1 1 *", "concurrencyPolicy": policy, "successfulJobsHistoryLimit": 1, "failedJobsHistoryLimit": 1,
        "jobTemplate": {"spec": {"template": {}}},
    });
    json!({"metadata": {"name": "c", "namespace": "ns"}, "spec": spec, "status": {"lastScheduleTime": LONG_AGO}})
}
fn jobs(state: &State) -> BTreeSet<String> {
    state.of("jobs").map(|(key, _)| key.name.clone()).collect()
}
fn active(state: &State) -> BTreeSet<String> {
    let active = state.objects[&at("cronjobs", "c")]["status"]["active"].as_array().cloned().unwrap_or_default();
    active.iter().map(|r| r["name"].as_str().unwrap().to_owned()).collect()
}
fn finish(state: &mut State, job: &str, kind: &str) {
    let mut object = state.objects[&at("jobs", job)].clone();
    let condition = json!({"type": kind, "status": "True", "lastTransitionTime": LONG_AGO});
    object["status"] = json!({"conditions": [condition], "startTime": LONG_AGO, "completionTime": LONG_AGO});
    state.replace(&at("jobs", job), object).unwrap();
}

#[test]
fn lost_answers_never_make_a_second_job_for_one_time() {
    for_each_seed(SEEDS, |seed| {
        play(async move {
            let (server, stop) = (ApiServer::new(seed), CancellationToken::new());
            server.with(|state| {
                state.create("cronjobs", cron("Allow")).unwrap();
                let mut made = BTreeSet::new();
                state.check = Box::new(move |objects| {
                    let jobs = objects.iter().filter(|((plural, _), _)| plural == "jobs");
                    made.extend(jobs.map(|(_, job)| job["metadata"]["uid"].to_string()));
                    if made.len() <= 1 { Ok(()) } else { Err(format!("{} Jobs", made.len())) }
                });
            });
            let world = World::new(&server, &stop).await;
            server.set_faults(FAULTS);
            world.start("cronjob", cronjob::controller);
            until(&server, "a Job that the status knows", |state| {
                jobs(state).len() == 1 && active(state) == jobs(state)
            })
            .await;
            let name = server.with(|state| jobs(state).first().cloned().unwrap());
            server.with(|state| finish(state, &name, "Complete"));
            until(&server, "its success to be told", |state| {
                active(state).is_empty()
                    && state.objects[&at("cronjobs", "c")]["status"]["lastSuccessfulTime"] == LONG_AGO
            })
            .await;
            stop.cancel();
        });
    });
}

#[test]
fn a_job_that_still_runs_is_replaced_or_waited_for_and_old_ones_are_forgotten() {
    for (policy, expected) in [("Forbid", 1), ("Replace", 1), ("Allow", 2)] {
        play(async move {
            let (server, stop) = (ApiServer::new(0), CancellationToken::new());
            let old = server.with(|state| {
                let uid = state.create("cronjobs", cron(policy)).unwrap()["metadata"]["uid"].clone();
                let owner =
                    json!({"apiVersion": "batch/v1", "kind": "CronJob", "name": "c", "uid": uid, "controller": true});
                let job =
                    |name: &str| json!({"metadata": {"name": name, "namespace": "ns", "ownerReferences": [owner]}});
                for name in ["done-a", "done-b"] {
                    state.create("jobs", job(name)).unwrap();
                    finish(state, name, "Complete");
                }
                let mut old = job("old");
                old["metadata"]["annotations"] = json!({SCHEDULED_TIMESTAMP: LONG_AGO});
                state.create("jobs", old).unwrap()["metadata"]["uid"].clone()
            });
            let world = World::new(&server, &stop).await;
            world.start("cronjob", cronjob::controller);
            until(&server, "the older of those that are done to be gone", |state| !jobs(state).contains("done-a"))
                .await;
            tokio::time::sleep(std::time::Duration::from_secs(10)).await;
            let running = |state: &State| jobs(state).iter().filter(|name| !name.starts_with("done")).count();
            assert_eq!(server.with(|state| running(state)), expected, "{policy}");
            let stays = server.with(|state| state.of("jobs").any(|(_, job)| job["metadata"]["uid"] == old));
            assert_eq!(stays, policy != "Replace", "{policy}");
            stop.cancel();
        });
    }
}

#[test]
fn a_finished_job_goes_when_its_time_is_over_and_no_other() {
    play(async {
        let (server, stop) = (ApiServer::new(0), CancellationToken::new());
        server.with(|state| {
            for (name, ttl, end) in [
                ("over", Some(5), true),
                ("runs", Some(5), false),
                ("kept", None, true),
                ("later", Some(i32::MAX), true),
            ] {
                let spec = json!({"ttlSecondsAfterFinished": ttl, "template": {}});
                state.create("jobs", json!({"metadata": {"name": name, "namespace": "ns"}, "spec": spec})).unwrap();
                if end {
                    finish(state, name, "Failed");
                }
            }
        });
        let world = World::new(&server, &stop).await;
        world.start("ttlafterfinished", ttlafterfinished::controller);
        let deleting = |state: &State| {
            let going = state.of("jobs").filter(|(_, job)| !job["metadata"]["deletionTimestamp"].is_null());
            going.map(|(key, _)| key.name.clone()).collect::<Vec<_>>()
        };
        until(&server, "one to be on its way out", |state| !deleting(state).is_empty()).await;
        tokio::time::sleep(std::time::Duration::from_secs(10)).await;
        assert_eq!(server.with(|state| deleting(state)), ["over"]);
        let held = server.with(|state| state.objects[&at("jobs", "over")]["metadata"]["finalizers"].clone());
        assert_eq!(held, json!(["foregroundDeletion"]), "its pods go before it");
        stop.cancel();
    });
}

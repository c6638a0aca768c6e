//! The table of Job decisions, by what pods and status say. What is decided is told as text.

mod ends;
mod indexed;
mod scales;
mod tracks;

use corten_api::Key;
use corten_api::k8s_openapi::api::batch::v1::UncountedTerminatedPods;
use serde_json::{Value, json};

use super::*;
use crate::job::scale::NewPod;
use crate::pods::Phase;
use crate::pods::of_job::{Exit, OfJob, TRACKING_FINALIZER};

const NOW: i64 = 1_000_000;

fn at(secs_ago: i64) -> Timestamp {
    Timestamp::from_second(NOW - secs_ago).unwrap()
}

/// A Job that began a minute ago, with these fields of its spec.
fn job(spec: Value) -> Job {
    let mut all = json!({"parallelism": 2, "completions": 3, "backoffLimit": 6, "template": {}});
    merge(&mut all, spec);
    let status = json!({"startTime": at(60).to_string()});
    serde_json::from_value(
        json!({"metadata": {"name": "j", "namespace": "ns", "uid": "j"}, "spec": all, "status": status}),
    )
    .unwrap()
}

fn merge(into: &mut Value, fields: Value) {
    let Value::Object(fields) = fields else { panic!("fields") };
    fields.into_iter().for_each(|(field, value)| into[field] = value);
}

fn status(mut job: Job, change: impl FnOnce(&mut JobStatus)) -> Job {
    change(job.status.get_or_insert_default());
    job
}
fn uncounted(succeeded: &[&str], failed: &[&str]) -> Option<UncountedTerminatedPods> {
    let list = |uids: &[&str]| Some(uids.iter().map(|uid| (*uid).to_owned()).collect());
    Some(UncountedTerminatedPods { succeeded: list(succeeded), failed: list(failed) })
}

/// A running pod. Its name is its uid.
fn pod(name: &str) -> SeenPod {
    SeenPod {
        key: Key::new("ns", name),
        uid: name.into(),
        phase: Phase::Running,
        node: Some("n1".into()),
        created: Some(at(50)),
        ready_since: Some(at(40)),
        finalizers: vec![TRACKING_FINALIZER.into()],
        of_job: Some(Box::default()),
        ..SeenPod::default()
    }
}
fn of_job(mut pod: SeenPod, change: impl FnOnce(&mut OfJob)) -> SeenPod {
    change(pod.of_job.get_or_insert_default());
    pod
}
fn ended(phase: Phase, name: &str) -> SeenPod {
    let ended = of_job(pod(name), |of_job| of_job.finished = Some(at(20)));
    SeenPod { phase, ready_since: None, ..ended }
}
fn succeeded(name: &str) -> SeenPod {
    ended(Phase::Succeeded, name)
}
fn failed(name: &str) -> SeenPod {
    ended(Phase::Failed, name)
}
fn exited(code: i32, pod: SeenPod) -> SeenPod {
    of_job(pod, |of_job| of_job.exits = vec![Exit { container: "c".into(), code }])
}
/// It has been told to end, and has not yet.
fn leaving(pod: SeenPod) -> SeenPod {
    SeenPod { deleting: Some(at(1)), ready_since: None, ..of_job(pod, |of_job| of_job.finished = Some(at(1))) }
}
/// Its Job has let it go.
fn let_go(pod: SeenPod) -> SeenPod {
    SeenPod { finalizers: Vec::new(), ..pod }
}
fn indexed(index: i32, pod: SeenPod) -> SeenPod {
    of_job(pod, |of_job| of_job.index = Some(index))
}

fn decided(job: &Job, pods: &[SeenPod]) -> Decision {
    let pods: Vec<_> = pods.iter().cloned().map(Arc::new).collect();
    decide(&Observed { now: at(0), job, pods: &pods, backoff: Backoff::default() })
}

fn names(pods: &[Arc<SeenPod>]) -> String {
    pods.iter().map(|pod| pod.key.name.as_str()).collect::<Vec<_>>().join(" ")
}

/// `create 2`, `create 0 1/2` (indexes, with the failures that they inherit), `surplus a`, `stop a b`, `keep`.
fn scale(scale: &Scale) -> String {
    match scale {
        Scale::Keep => "keep".into(),
        Scale::DeleteSurplus(pods) => format!("surplus {}", names(pods)),
        Scale::Stop(pods) => format!("stop {}", names(pods)),
        Scale::Create(pods) if pods.iter().all(|pod| pod.index.is_none()) => format!("create {}", pods.len()),
        Scale::Create(pods) => {
            let text = |NewPod { index, failures, ignored_failures }: &NewPod| match (failures, ignored_failures) {
                (0, 0) => format!(" {}", index.unwrap()),
                (failures, 0) => format!(" {}/{failures}", index.unwrap()),
                (failures, ignored) => format!(" {}/{failures}/{ignored}", index.unwrap()),
            };
            format!("create{}", pods.iter().map(text).collect::<String>())
        }
    }
}

/// What the status is to say, whether it is written or stays: `active 2 succeeded 1 (+1) failed 0 (+2)`.
fn counts(job: &Job, decision: &Decision) -> String {
    let status = decision.status.clone().or_else(|| job.status.clone()).unwrap();
    let n = |n: Option<i32>| n.unwrap_or(0);
    let uncounted = status.uncounted_terminated_pods.unwrap_or_default();
    let plus = |list: Option<Vec<String>>| match list.map_or(0, |uids| uids.len()) {
        0 => String::new(),
        count => format!("+{count}"),
    };
    let (succeeded, failed) = (plus(uncounted.succeeded), plus(uncounted.failed));
    format!(
        "{} active, {}{succeeded} succeeded, {}{failed} failed",
        n(status.active),
        n(status.succeeded),
        n(status.failed)
    )
}

/// The conditions that hold, with their reasons.
fn holds(job: &Job, decision: &Decision) -> String {
    let status = decision.status.as_ref().or(job.status.as_ref());
    let list = status.and_then(|status| status.conditions.as_ref()).into_iter().flatten();
    let holding =
        list.filter(|c| c.status == "True").map(|c| format!("{} {}", c.type_, c.reason.as_deref().unwrap_or("")));
    holding.collect::<Vec<_>>().join(", ")
}

/// The Job after its status was written.
fn written(job: &Job, decision: &Decision) -> Job {
    Job { status: decision.status.clone().or_else(|| job.status.clone()), ..job.clone() }
}

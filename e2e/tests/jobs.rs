//! Jobs and CronJobs: work that ends, how often it is tried, how it is counted, when it is begun and forgotten.

use std::time::Duration;

use corten_e2e::manifest::container;
use corten_e2e::{Cluster, Namespace, SOON, condition, eventually};
use serde_json::{Value, json};

/// The longest until the next minute begins, and what is done then.
const A_MINUTE: Duration = Duration::from_secs(120);

/// A Job's spec: pods that run a shell command once.
fn spec(command: &str) -> Value {
    let pod = json!({"restartPolicy": "Never", "terminationGracePeriodSeconds": 0, "containers": [container(command)]});
    json!({"template": {"spec": pod}})
}

/// `more`: fields of its spec.
fn job(ns: &Namespace, name: &str, command: &str, more: &Value) {
    let mut spec = spec(command);
    more.as_object().into_iter().flatten().for_each(|(field, value)| spec[field] = value.clone());
    let job = json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name}, "spec": spec});
    ns.apply(&job.to_string());
}

fn cron_job(ns: &Namespace, name: &str, command: &str, more: &Value) {
    let mut cron = json!({"schedule": "* * * * *", "jobTemplate": {"spec": spec(command)}});
    more.as_object().into_iter().flatten().for_each(|(field, value)| cron[field] = value.clone());
    ns.apply(
        &json!({"apiVersion": "batch/v1", "kind": "CronJob", "metadata": {"name": name}, "spec": cron}).to_string(),
    );
}

/// Waits until the condition is True; returns the Job.
#[track_caller]
fn ends(ns: &Namespace, name: &str, kind: &str) -> Value {
    eventually(&format!("{name} to be {kind}"), SOON, || {
        let job = ns.json(&format!("job {name}")).unwrap_or_default();
        if condition(&job, kind) == "True" { Ok(job) } else { Err(job["status"].to_string()) }
    })
}

fn reason(job: &Value, kind: &str) -> String {
    let all = job["status"]["conditions"].as_array().into_iter().flatten();
    let found = all.filter(|c| c["type"] == kind).map(|c| c["reason"].as_str().unwrap_or_default().to_owned());
    found.collect()
}

/// Nothing holds a pod that is counted.
#[track_caller]
fn no_pod_is_held(ns: &Namespace) {
    for pod in ns.list("pods") {
        assert!(pod["metadata"]["finalizers"].is_null(), "{}", pod["metadata"]);
    }
}

#[test]
fn a_job_runs_so_many_pods_at_once_until_so_many_have_succeeded() {
    let ns = Cluster::running().namespace("job");
    job(&ns, "work", "echo done", &json!({"parallelism": 2, "completions": 5}));
    ns.ok("wait --for=condition=complete job/work --timeout=60s");
    let job = ends(&ns, "work", "SuccessCriteriaMet");
    assert_eq!(reason(&job, "Complete"), "CompletionsReached");
    let status = &job["status"];
    assert_eq!(
        (&status["succeeded"], &status["ready"], &status["terminating"]),
        (&json!(5), &json!(0), &json!(0)),
        "{status}"
    );
    assert!(status["failed"].is_null() && status["completionTime"].is_string() && status["startTime"].is_string());
    let pods = ns.list("pods -l batch.kubernetes.io/job-name=work");
    assert_eq!(pods.len(), 5);
    for label in ["job-name", "batch.kubernetes.io/job-name"] {
        assert_eq!(pods[0]["metadata"]["labels"][label], "work");
    }
    assert_eq!(pods[0]["metadata"]["labels"]["batch.kubernetes.io/controller-uid"], job["metadata"]["uid"]);
    no_pod_is_held(&ns);
    assert_eq!(ns.ok("logs job/work"), "done\n");
    ns.shows("describe job work", "Job completed");
    assert!(ns.ok("get job work").contains("Complete   5/5"));
    ns.ok("delete job work");
    eventually("its pods to go with it", SOON, || match ns.list("pods").len() {
        0 => Ok(()),
        n => Err(format!("{n} pods")),
    });
}

#[test]
fn failures_are_tried_again_and_counted_until_there_are_too_many() {
    let ns = Cluster::running().namespace("backoff");
    job(&ns, "bad", "exit 3", &json!({"backoffLimit": 1}));
    job(&ns, "once", "exit 3", &json!({"backoffLimit": 0}));
    let once = ends(&ns, "once", "Failed");
    assert_eq!((reason(&once, "Failed").as_str(), &once["status"]["failed"]), ("BackoffLimitExceeded", &json!(1)));
    let bad = ends(&ns, "bad", "Failed");
    assert_eq!((reason(&bad, "FailureTarget").as_str(), &bad["status"]["failed"]), ("BackoffLimitExceeded", &json!(2)));
    assert!(bad["status"]["completionTime"].is_null());
    assert_eq!(ns.list("pods -l job-name=bad").len(), 2);
    no_pod_is_held(&ns);
    ns.shows("describe job bad", "Job has reached the specified backoff limit");
}

#[test]
fn restarts_in_one_pod_count_as_failures() {
    let ns = Cluster::running().namespace("restarts");
    let mut spec = spec("sleep 1; exit 1");
    spec["template"]["spec"]["restartPolicy"] = "OnFailure".into();
    job(&ns, "again", "", &json!({"backoffLimit": 1, "template": spec["template"]}));
    let again = ends(&ns, "again", "Failed");
    assert_eq!((reason(&again, "Failed").as_str(), &again["status"]["failed"]), ("BackoffLimitExceeded", &json!(1)));
}

#[test]
fn an_index_that_is_lost_keeps_no_other_from_being_done() {
    let ns = Cluster::running().namespace("lost");
    let more = json!({"completionMode": "Indexed", "completions": 2, "parallelism": 1, "backoffLimitPerIndex": 0});
    job(&ns, "half", r#"[ "$JOB_COMPLETION_INDEX" = 1 ] || exit 5"#, &more);
    let half = ends(&ns, "half", "Failed");
    let status = &half["status"];
    assert_eq!(reason(&half, "Failed"), "FailedIndexes");
    assert_eq!((&status["completedIndexes"], &status["failedIndexes"]), (&json!("1"), &json!("0")), "{status}");
    assert_eq!((&status["succeeded"], &status["failed"]), (&json!(1), &json!(1)), "{status}");
}

#[test]
fn each_index_of_an_indexed_job_has_a_pod_that_knows_it() {
    let ns = Cluster::running().namespace("indexed");
    job(
        &ns,
        "array",
        "echo $JOB_COMPLETION_INDEX; hostname",
        &json!({"completionMode": "Indexed", "completions": 3, "parallelism": 3}),
    );
    let array = ends(&ns, "array", "Complete");
    assert_eq!(array["status"]["completedIndexes"], "0-2");
    let pods = ns.list("pods -l job-name=array");
    assert_eq!(pods.len(), 3);
    for pod in &pods {
        let index = pod["metadata"]["annotations"]["batch.kubernetes.io/job-completion-index"].as_str().unwrap();
        let name = pod["metadata"]["name"].as_str().unwrap();
        assert_eq!(pod["metadata"]["labels"]["batch.kubernetes.io/job-completion-index"], index);
        assert!(name.starts_with(&format!("array-{index}-")), "{name}");
        assert_eq!(ns.ok(&format!("logs {name}")), format!("{index}\narray-{index}\n"));
    }
}

#[test]
fn enough_indexes_are_enough_by_a_success_policy() {
    let ns = Cluster::running().namespace("enough");
    let command = r#"[ "$JOB_COMPLETION_INDEX" = 0 ] || exec sleep 3600"#;
    let policy = json!({"rules": [{"succeededIndexes": "0"}]});
    let more = json!({"completionMode": "Indexed", "completions": 3, "parallelism": 3, "successPolicy": policy});
    job(&ns, "leader", command, &more);
    let leader = ends(&ns, "leader", "Complete");
    assert_eq!(reason(&leader, "SuccessCriteriaMet"), "SuccessPolicy");
    assert_eq!((&leader["status"]["succeeded"], &leader["status"]["failed"]), (&json!(1), &Value::Null));
    assert_eq!(ns.list("pods -l job-name=leader").len(), 1, "those that still slept are gone");
}

#[test]
fn a_pod_failure_policy_decides_by_exit_code() {
    let ns = Cluster::running().namespace("policy");
    let rule = |action: &str, code: i32| json!({"action": action, "onExitCodes": {"operator": "In", "values": [code]}});
    let policy = json!({"rules": [rule("FailJob", 42), rule("Ignore", 43)]});
    let more = json!({"backoffLimit": 0, "parallelism": 2, "completions": 2, "podFailurePolicy": policy});
    job(&ns, "fatal", "exit 42", &json!({"backoffLimit": 6, "podFailurePolicy": policy}));
    let fatal = ends(&ns, "fatal", "Failed");
    assert_eq!((reason(&fatal, "Failed").as_str(), &fatal["status"]["failed"]), ("PodFailurePolicy", &json!(1)));
    ns.shows("describe job fatal", "failed with exit code 42 matching FailJob rule at index 0");
    // It may not fail even once, but these failures count for nothing.
    job(&ns, "ignored", "exit 43", &more);
    eventually("failures to be tried again", SOON, || {
        let job = ns.json("job ignored").unwrap_or_default();
        assert_eq!((condition(&job, "Failed"), &job["status"]["failed"]), ("", &Value::Null), "{}", job["status"]);
        let pods = ns.list("pods -l job-name=ignored").len();
        if pods > 2 { Ok(()) } else { Err(format!("{pods} pods")) }
    });
}

#[test]
fn a_suspended_job_has_no_pods_and_goes_on_when_it_may() {
    let ns = Cluster::running().namespace("suspend");
    job(&ns, "paused", "exec sleep 3600", &json!({"suspend": true, "parallelism": 2, "completions": 2}));
    let paused = ends(&ns, "paused", "Suspended");
    assert_eq!((ns.list("pods").len(), &paused["status"]["startTime"]), (0, &Value::Null));
    ns.ok(r#"patch job paused -p {"spec":{"suspend":false}}"#);
    ns.becomes("job paused", "/status/ready", "2");
    assert_eq!(condition(&ns.json("job paused").unwrap(), "Suspended"), "False");
    ns.ok(r#"patch job paused -p {"spec":{"suspend":true}}"#);
    ends(&ns, "paused", "Suspended");
    eventually("its pods to be gone", SOON, || match ns.list("pods").len() {
        0 => Ok(()),
        n => Err(format!("{n} pods")),
    });
    assert_eq!(ns.field("job paused", "/status/failed"), "", "who is sent away has not failed");
    ns.shows("describe job paused", "Job resumed");
}

#[test]
fn a_job_out_of_time_is_stopped() {
    let ns = Cluster::running().namespace("deadline");
    job(&ns, "slow", "exec sleep 3600", &json!({"activeDeadlineSeconds": 3}));
    let slow = ends(&ns, "slow", "Failed");
    assert_eq!((reason(&slow, "Failed").as_str(), &slow["status"]["failed"]), ("DeadlineExceeded", &json!(1)));
    eventually("its pod to be gone", SOON, || match ns.list("pods").len() {
        0 => Ok(()),
        n => Err(format!("{n} pods")),
    });
}

#[test]
fn a_deleted_pod_of_a_job_is_replaced_and_counts_as_failed() {
    let ns = Cluster::running().namespace("deleted");
    job(&ns, "long", "exec sleep 3600", &json!({}));
    ns.becomes("job long", "/status/ready", "1");
    let first = ns.list("pods")[0]["metadata"]["name"].as_str().unwrap().to_owned();
    ns.ok(&format!("delete pod {first}"));
    ns.becomes("job long", "/status/failed", "1");
    ns.becomes("job long", "/status/ready", "1");
}

#[test]
fn pods_that_outlive_their_job_are_let_go() {
    let ns = Cluster::running().namespace("orphans");
    job(&ns, "parent", "exec sleep 3600", &json!({"parallelism": 2, "completions": 2}));
    ns.becomes("job parent", "/status/ready", "2");
    ns.ok("delete job parent --cascade=orphan");
    eventually("pods that nobody owns or holds", SOON, || {
        let pods = ns.list("pods");
        let free =
            |pod: &&Value| pod["metadata"]["ownerReferences"].is_null() && pod["metadata"]["finalizers"].is_null();
        let count = pods.iter().filter(free).count();
        if (pods.len(), count) == (2, 2) { Ok(()) } else { Err(format!("{count} of {}", pods.len())) }
    });
    ns.ok("delete pods --all --timeout=30s");
}

#[test]
fn a_job_that_others_manage_is_left_alone() {
    let ns = Cluster::running().namespace("managed");
    job(&ns, "theirs", "true", &json!({"managedBy": "example.com/queue"}));
    job(&ns, "ours", "true", &json!({"managedBy": "kubernetes.io/job-controller"}));
    ends(&ns, "ours", "Complete");
    let theirs = ns.json("job theirs").unwrap();
    assert!(theirs["status"].as_object().is_none_or(|status| status.is_empty()), "{}", theirs["status"]);
}

#[test]
fn a_finished_job_is_deleted_when_its_time_is_over() {
    let ns = Cluster::running().namespace("ttl");
    job(&ns, "brief", "true", &json!({"ttlSecondsAfterFinished": 3}));
    job(&ns, "kept", "true", &json!({}));
    ends(&ns, "kept", "Complete");
    eventually("the Job and its pod to be gone", SOON, || {
        let left = ns.ok("get jobs,pods -o name");
        if left.contains("brief") { Err(left) } else { Ok(()) }
    });
    ends(&ns, "kept", "Complete");
}

#[test]
fn a_cronjob_makes_a_job_each_minute_and_keeps_few() {
    let ns = Cluster::running().namespace("cron");
    cron_job(&ns, "tick", "date", &json!({"timeZone": "Asia/Tokyo", "successfulJobsHistoryLimit": 1}));
    let first = eventually("the first Job", A_MINUTE, || {
        ns.list("jobs").first().cloned().ok_or_else(|| ns.field("cronjob tick", "/status"))
    });
    let name = first["metadata"]["name"].as_str().unwrap();
    let time = first["metadata"]["annotations"]["batch.kubernetes.io/cronjob-scheduled-timestamp"].as_str().unwrap();
    assert!(time.ends_with(":00+09:00"), "{time}");
    let minutes: i64 = name.strip_prefix("tick-").and_then(|minutes| minutes.parse().ok()).unwrap();
    let cron = ns.json("cronjob tick").unwrap();
    let scheduled: k8s_openapi::jiff::Timestamp = cron["status"]["lastScheduleTime"].as_str().unwrap().parse().unwrap();
    assert_eq!(scheduled.as_second(), minutes * 60);
    eventually("its success to be told", SOON, || {
        let cron = ns.json("cronjob tick").unwrap_or_default();
        let told = cron["status"]["lastSuccessfulTime"].is_string() && cron["status"]["active"].is_null();
        if told { Ok(()) } else { Err(cron["status"].to_string()) }
    });
    eventually("the next Job in place of the first", A_MINUTE, || {
        let names: Vec<_> = ns.list("jobs").iter().map(|job| job["metadata"]["name"].to_string()).collect();
        if names.len() == 1 && !names[0].contains(name) { Ok(()) } else { Err(names.join(" ")) }
    });
    ns.shows("describe cronjob tick", &format!("Created job {name}"));
    ns.ok("create job by-hand --from=cronjob/tick");
    ends(&ns, "by-hand", "Complete");
    ns.ok("delete cronjob tick");
    eventually("its Jobs and pods to go with it", SOON, || {
        let left = ns.ok("get jobs,pods -o name");
        if left.contains("tick") { Err(left) } else { Ok(()) }
    });
}

#[test]
fn a_cronjob_waits_for_the_job_before_or_replaces_it_as_it_says() {
    let ns = Cluster::running().namespace("concurrency");
    cron_job(&ns, "forbid", "exec sleep 3600", &json!({"concurrencyPolicy": "Forbid"}));
    cron_job(&ns, "replace", "exec sleep 3600", &json!({"concurrencyPolicy": "Replace"}));
    let of = |cron: &str| {
        let names = ns.list("jobs").into_iter().filter_map(|job| job["metadata"]["name"].as_str().map(str::to_owned));
        names.filter(|name| name.starts_with(cron)).collect::<Vec<_>>()
    };
    let first = eventually("a Job of each", A_MINUTE, || match (of("forbid"), of("replace")) {
        (forbid, replace) if !forbid.is_empty() && !replace.is_empty() => Ok((forbid, replace)),
        jobs => Err(format!("{jobs:?}")),
    });
    eventually("one to be replaced", A_MINUTE, || {
        let jobs = of("replace");
        if jobs.len() == 1 && jobs != first.1 { Ok(()) } else { Err(format!("{jobs:?}")) }
    });
    eventually("the other to be waited for", SOON, || {
        let told = ns.ok("describe cronjob forbid");
        if told.contains("JobAlreadyActive") { Ok(()) } else { Err(told) }
    });
    assert_eq!(of("forbid"), first.0);
    ns.ok(r#"patch cronjob forbid -p {"spec":{"suspend":true}}"#);
    ns.becomes("cronjob forbid", "/spec/suspend", "true");
}

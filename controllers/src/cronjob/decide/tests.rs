//! The table of CronJob decisions.

use super::*;
use serde_json::{Value, json};

/// Every five minutes; made at 10:00:30.
fn cron(spec: &Value, status: &Value) -> CronJob {
    let mut all = json!({
        "schedule": "*/5 * * * *", "concurrencyPolicy": "Allow", "successfulJobsHistoryLimit": 2, "failedJobsHistoryLimit": 1,
        "jobTemplate": {"metadata": {"labels": {"app": "x"}, "annotations": {"a": "b"}}, "spec": {"template": {}}},
    });
    spec.as_object().unwrap().iter().for_each(|(field, value)| all[field] = value.clone());
    let meta = json!({"name": "c", "namespace": "ns", "uid": "c", "creationTimestamp": "2026-03-02T10:00:30Z"});
    serde_json::from_value(json!({"metadata": meta, "spec": all, "status": status})).unwrap()
}
fn at(time: &str) -> Timestamp {
    format!("2026-03-02T{time}Z").parse().unwrap()
}
/// `end`: the condition, and when it started and ended.
fn job(name: &str, end: Option<(&str, &str)>) -> Arc<Job> {
    let mut job = json!({"metadata": {"name": name, "namespace": "ns", "uid": format!("uid-{name}")}});
    if let Some((kind, time)) = end {
        let done = (kind == "Complete").then(|| at(time).to_string());
        let conditions = json!([{"type": kind, "status": "True"}]);
        job["status"] = json!({"startTime": at(time).to_string(), "completionTime": done, "conditions": conditions});
    }
    Arc::new(serde_json::from_value(job).unwrap())
}
/// One that runs, of a time of the CronJob.
fn timed(name: &str) -> Arc<Job> {
    let mut job = Job::clone(&job(name, None));
    job.metadata.annotations = Some([(SCHEDULED_TIMESTAMP.to_owned(), "2026-03-02T10:00:00Z".to_owned())].into());
    Arc::new(job)
}
fn active(names: &[&str]) -> Value {
    let refs: Vec<Value> = names.iter().map(|name| json!({"name": name, "uid": format!("uid-{name}")})).collect();
    json!({"active": refs})
}

fn decided(cron: &CronJob, jobs: &[Arc<Job>], now: &str) -> Decision {
    decide(&Observed { now: at(now), cron, jobs, missing: &BTreeSet::new() })
}
/// `10:05:00 replacing a`, or the reasons of the events.
fn told(decision: &Decision) -> String {
    let reasons = decision.news.iter().map(|news| news.reason);
    let Some(start) = &decision.start else { return reasons.collect::<Vec<_>>().join(" ") };
    let replaced: Vec<&str> = start.replaces.iter().map(|job| job.name()).collect();
    let time = start.at.strftime("%H:%M:%S").to_string();
    let replaced = if replaced.is_empty() { String::new() } else { format!(" replacing {}", replaced.join(" ")) };
    reasons.fold(format!("{time}{replaced}"), |text, reason| format!("{text} {reason}"))
}

#[test]
fn an_interval_of_seconds_makes_one_job_a_minute_and_is_looked_at_no_more_often() {
    let spec = json!({"schedule": "@every 1s"});
    let last = json!({"lastScheduleTime": at("10:04:10").to_string()});
    for (now, expected, wake_secs) in [("10:04:11", "", 49), ("10:04:50", "", 10), ("10:05:00", "10:05:00", 1)] {
        let decision = decided(&cron(&spec, &last), &[], now);
        assert_eq!((told(&decision).as_str(), decision.wake_after.unwrap().as_secs()), (expected, wake_secs), "{now}");
    }
}

#[test]
fn starts_table() {
    let none = json!({});
    let last = |time: &str| json!({"lastScheduleTime": at(time).to_string()});
    let run = || vec![job("old", None)];
    let cases = [
        ("not yet", none.clone(), none.clone(), vec![], "10:04:59", ""),
        ("now", none.clone(), none.clone(), vec![], "10:05:00", "10:05:00"),
        ("the last that was missed", none.clone(), none.clone(), vec![], "10:22:00", "10:20:00"),
        ("dealt with", none.clone(), last("10:20:00"), vec![], "10:22:00", ""),
        ("many were missed", none.clone(), none.clone(), vec![], "22:00:00", "22:00:00 TooManyMissedTimes"),
        ("in time", json!({"startingDeadlineSeconds": 60}), none.clone(), vec![], "10:20:59", "10:20:00"),
        ("too late", json!({"startingDeadlineSeconds": 60}), none.clone(), vec![], "10:21:00", ""),
        ("suspended", json!({"suspend": true}), none.clone(), vec![], "10:05:00", ""),
        ("another runs, which does not matter", none.clone(), active(&["old"]), run(), "10:05:00", "10:05:00"),
        (
            "another runs: it is waited for",
            json!({"concurrencyPolicy": "Forbid"}),
            active(&["old"]),
            run(),
            "10:05:00",
            "JobAlreadyActive",
        ),
        (
            "another runs that nobody remembers",
            json!({"concurrencyPolicy": "Forbid"}),
            none.clone(),
            vec![timed("old")],
            "10:05:00",
            "UnexpectedJob JobAlreadyActive",
        ),
        (
            "another that nobody remembers is replaced",
            json!({"concurrencyPolicy": "Replace"}),
            none.clone(),
            vec![timed("old")],
            "10:05:00",
            "10:05:00 replacing old UnexpectedJob",
        ),
        (
            "one that was made by hand is not waited for",
            json!({"concurrencyPolicy": "Forbid"}),
            none.clone(),
            run(),
            "10:05:00",
            "10:05:00 UnexpectedJob",
        ),
        (
            "nor is it replaced",
            json!({"concurrencyPolicy": "Replace"}),
            active(&["older"]),
            vec![job("old", None), timed("older")],
            "10:05:00",
            "10:05:00 replacing older UnexpectedJob",
        ),
        (
            "another has ended just now",
            json!({"concurrencyPolicy": "Forbid"}),
            active(&["old"]),
            vec![job("old", Some(("Complete", "10:04:00")))],
            "10:05:00",
            "10:05:00 SawCompletedJob",
        ),
        (
            "another runs: it is replaced",
            json!({"concurrencyPolicy": "Replace"}),
            active(&["old"]),
            run(),
            "10:05:00",
            "10:05:00 replacing old",
        ),
        (
            "the same was made before we could say so",
            none.clone(),
            none.clone(),
            vec![job("c-29540765", None)],
            "10:05:00",
            "10:05:00 UnexpectedJob",
        ),
        (
            "it is in the status already",
            none.clone(),
            active(&["c-29540765"]),
            vec![job("c-29540765", None)],
            "10:05:00",
            "",
        ),
        (
            "a time that never comes",
            json!({"schedule": "0 0 30 2 *"}),
            none.clone(),
            vec![],
            "10:05:00",
            "InvalidSchedule",
        ),
        ("no schedule", json!({"schedule": "often"}), none.clone(), vec![], "10:05:00", "UnparseableSchedule"),
        ("no time zone", json!({"timeZone": "Mars/Base"}), none.clone(), vec![], "10:05:00", "UnknownTimeZone"),
        (
            "a time zone in the schedule",
            json!({"schedule": "TZ=Asia/Tokyo 5 19 * * *"}),
            none,
            vec![],
            "10:05:00",
            "10:05:00 UnsupportedSchedule",
        ),
    ];
    for (why, spec, status, jobs, now, expected) in cases {
        assert_eq!(told(&decided(&cron(&spec, &status), &jobs, now)), expected, "{why}");
    }
}

#[test]
fn the_job_that_is_made() {
    let cron = cron(&json!({"timeZone": "Asia/Kolkata"}), &json!({}));
    let decision = decided(&cron, &[], "10:05:02");
    let start = decision.start.unwrap();
    assert_eq!(start.job.name(), "c-29540765", "minutes since 1970");
    assert_eq!(start.job.annotation(SCHEDULED_TIMESTAMP), Some("2026-03-02T15:35:00+05:30"));
    assert_eq!((start.job.annotation("a"), start.job.label("app")), (Some("b"), Some("x")));
    assert!(start.job.is_controlled_by("c"));
    assert_eq!(rfc3339(at("10:05:00"), &TimeZone::UTC), "2026-03-02T10:05:00Z");
    assert_eq!(decision.wake_after, Some(Duration::from_millis(298_100)));
    let status = started(decision.status, start.at, &start.job, &[]);
    assert_eq!((status.last_schedule_time, status.active.unwrap().len()), (Some(Time(at("10:05:00"))), 1));
}

#[test]
fn the_newest_of_each_end_are_kept() {
    let jobs = [
        job("old", Some(("Complete", "09:00:00"))),
        job("new", Some(("Complete", "09:30:00"))),
        job("newer", Some(("Complete", "09:40:00"))),
        job("bad", Some(("Failed", "08:00:00"))),
        job("worse", Some(("Failed", "08:10:00"))),
        job("runs", None),
    ];
    let gone = |spec: Value| {
        let decision = decided(&cron(&spec, &active(&["runs"])), &jobs, "10:01:00");
        decision.delete.iter().map(|job| job.name().to_owned()).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(gone(json!({})), "old bad");
    assert_eq!(gone(json!({"successfulJobsHistoryLimit": 0, "failedJobsHistoryLimit": 5})), "old new newer");
    assert_eq!(gone(json!({"successfulJobsHistoryLimit": null, "failedJobsHistoryLimit": null})), "");
}

#[test]
fn what_the_status_forgets_and_remembers() {
    let cron = cron(&json!({}), &active(&["done", "lost", "runs"]));
    let jobs =
        [job("done", Some(("Complete", "10:00:00"))), job("older", Some(("Complete", "09:00:00"))), job("runs", None)];
    let missing = ["uid-lost".to_owned()].into();
    let decision = decide(&Observed { now: at("10:01:00"), cron: &cron, jobs: &jobs, missing: &missing });
    let left: Vec<_> = decision.status.active.iter().flatten().filter_map(|r| r.name.clone()).collect();
    assert_eq!(left, ["runs"]);
    assert_eq!(decision.status.last_successful_time, Some(Time(at("10:00:00"))));
    let told: Vec<_> = decision.news.iter().map(|news| news.message.as_str()).collect();
    assert_eq!(told, ["Saw completed job: done, condition: Complete", "Active job went missing: lost"]);
}

#[test]
fn a_cronjob_on_its_way_out_makes_nothing() {
    let mut cron = cron(&json!({}), &json!({}));
    cron.metadata.deletion_timestamp = Some(Time(at("10:04:00")));
    let decision = decided(&cron, &[], "10:05:00");
    assert_eq!((told(&decision).as_str(), decision.wake_after), ("", None));
}

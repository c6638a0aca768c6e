//! CronJobs: defaults, validation, updates, columns.

use k8s_openapi::api::batch::v1::CronJobStatus;
use serde_json::{Value, json};

use super::*;
use crate::registry::check::testing::{created, defaulted, found_on_create, found_on_write, row};

/// A good CronJob, with `changes` merged into its spec.
fn cronjob(changes: Value) -> String {
    let pod = json!({"restartPolicy": "OnFailure", "containers": [{"name": "c", "image": "i"}]});
    let mut cronjob = json!({
        "metadata": {"name": "nightly"},
        "spec": {"schedule": "0 3 * * *", "jobTemplate": {"spec": {"template": {"spec": pod}}}}
    });
    json_patch::merge(&mut cronjob, &json!({ "spec": changes }));
    cronjob.to_string()
}
fn jobs(changes: Value) -> String {
    cronjob(json!({"jobTemplate": {"spec": changes}}))
}

#[test]
fn its_jobs_get_their_defaults_when_they_are_made() {
    let spec = defaulted::<CronJob>(&cronjob(json!({}))).spec;
    assert_eq!((spec.concurrency_policy.as_deref(), spec.suspend), (Some("Allow"), Some(false)));
    assert_eq!((spec.successful_jobs_history_limit, spec.failed_jobs_history_limit), (Some(3), Some(1)));
    let of_jobs = spec.job_template.spec.unwrap();
    assert_eq!((of_jobs.completions, of_jobs.completion_mode, of_jobs.backoff_limit), (None, None, None));
    assert_eq!(of_jobs.template.spec.unwrap().dns_policy.as_deref(), Some("ClusterFirst"));
}

#[test]
fn what_is_not_served_is_dropped() {
    let made: CronJob = created(&jobs(json!({"scheduling": {"schedulingPolicy": {"basic": {}}}})));
    assert_eq!(made.spec.job_template.spec.unwrap().scheduling, None);
    assert_eq!(made.status, Some(CronJobStatus::default()));
}

#[test]
fn good_cronjobs() {
    let cases = [
        json!({}),
        json!({"schedule": "@every 90s", "suspend": true}),
        json!({"schedule": "*/5 8-17 * * MON-FRI", "timeZone": "Europe/Rome"}),
        json!({"timeZone": "Etc/GMT+7", "startingDeadlineSeconds": 0, "concurrencyPolicy": "Replace"}),
        json!({"successfulJobsHistoryLimit": 0, "failedJobsHistoryLimit": 0}),
        json!({"jobTemplate": {"spec": {"completionMode": "Indexed", "completions": 3, "manualSelector": false}}}),
    ];
    for changes in cases {
        assert_eq!(found_on_create::<CronJob>(&cronjob(changes.clone())), Vec::<String>::new(), "{changes}");
    }
}

#[test]
fn bad_cronjobs() {
    let negative = "must be greater than or equal to 0";
    let of_jobs = "spec.jobTemplate.spec";
    let cases = [
        (cronjob(json!({"schedule": ""})), vec!["spec.schedule: Required value".to_owned()]),
        (
            cronjob(json!({"schedule": "0 24 * * *"})),
            vec![r#"spec.schedule: Invalid value: "0 24 * * *": end of range (24) above maximum (23): 24"#.into()],
        ),
        (
            cronjob(json!({"schedule": "TZ=UTC 0 3 * * *"})),
            vec![r#"spec.schedule: Invalid value: "TZ=UTC 0 3 * * *": cannot use TZ or CRON_TZ in schedule, use timeZone field instead"#.into()],
        ),
        (
            cronjob(json!({"startingDeadlineSeconds": -1})),
            vec![format!("spec.startingDeadlineSeconds: Invalid value: -1: {negative}")],
        ),
        (
            cronjob(json!({"successfulJobsHistoryLimit": -1, "failedJobsHistoryLimit": -2})),
            vec![
                format!("spec.successfulJobsHistoryLimit: Invalid value: -1: {negative}"),
                format!("spec.failedJobsHistoryLimit: Invalid value: -2: {negative}"),
            ],
        ),
        (
            cronjob(json!({"concurrencyPolicy": "Odd"})),
            vec![r#"spec.concurrencyPolicy: Unsupported value: "Odd": supported values: "Allow", "Forbid", "Replace""#.into()],
        ),
        (jobs(json!({"parallelism": -1})), vec![format!("{of_jobs}.parallelism: Invalid value: -1: {negative}")]),
        (
            jobs(json!({"template": {"spec": {"restartPolicy": null}}})),
            vec![format!(r#"{of_jobs}.template.spec.restartPolicy: Required value: valid values: "OnFailure", "Never""#)],
        ),
        (
            jobs(json!({"selector": {"matchLabels": {"a": "b"}}, "manualSelector": true})),
            vec![
                format!(r#"{of_jobs}.selector: Invalid value: {{"matchLabels":{{"a":"b"}}}}: `selector` will be auto-generated"#),
                format!(r#"{of_jobs}.manualSelector: Unsupported value: true: supported values: "nil", "false""#),
            ],
        ),
        (
            cronjob(json!({})).replace("nightly", &"a".repeat(53)),
            vec![format!("metadata.name: Invalid value: {:?}: must be no more than 52 characters", "a".repeat(53))],
        ),
    ];
    for (json, expected) in cases {
        assert_eq!(found_on_create::<CronJob>(&json), expected, "{json}");
    }
    assert!(found_on_create::<CronJob>(&cronjob(json!({})).replace("nightly", &"a".repeat(52))).is_empty());
}

#[test]
fn time_zones_are_real_ones() {
    let found = |zone: &str| found_on_create::<CronJob>(&cronjob(json!({ "timeZone": zone })));
    let explicit = "timeZone must be an explicit time zone as defined in https://www.iana.org/time-zones";
    let unknown = |zone: &str| format!("spec.timeZone: Invalid value: {zone:?}: unknown time zone {zone}");
    assert_eq!(found(""), [r#"spec.timeZone: Invalid value: "": timeZone must be nil or non-empty string"#]);
    assert_eq!(found("Local"), [format!(r#"spec.timeZone: Invalid value: "Local": {explicit}"#)]);
    assert_eq!(found("LOCAL"), [format!(r#"spec.timeZone: Invalid value: "LOCAL": {explicit}"#), unknown("LOCAL")]);
    for zone in [
        " Europe/Rome",
        "Europe/Rome ",
        "Europe//Rome",
        "/Rome",
        "Europe/..",
        "./Rome",
        "Europe/-Rome",
        "Europe/Roma!",
        "Europe/Abcdefghijklmno",
        "Europe/InvalidRome",
        "europe/rome",
    ] {
        assert_eq!(found(zone), [unknown(zone)]);
    }
}

#[test]
fn old_ones_keep_what_new_ones_may_not_have() {
    let zoned = json!({"schedule": "TZ=UTC 0 3 * * *"});
    let mut both = zoned.clone();
    both["timeZone"] = json!("UTC");
    let gone = json!({"timeZone": "Europe/Gone"});
    let moved = json!({"timeZone": "Europe/Lost"});
    let cases = [
        (&zoned, json!({"schedule": "CRON_TZ=UTC 0 4 * * *"}), vec![]),
        (
            &zoned,
            both,
            vec![
                r#"spec.schedule: Invalid value: "TZ=UTC 0 3 * * *": cannot use both timeZone field and TZ or CRON_TZ in schedule"#,
            ],
        ),
        (
            &json!({}),
            zoned.clone(),
            vec![
                r#"spec.schedule: Invalid value: "TZ=UTC 0 3 * * *": cannot use TZ or CRON_TZ in schedule, use timeZone field instead"#,
            ],
        ),
        (&gone, gone.clone(), vec![]),
        (&gone, moved, vec![r#"spec.timeZone: Invalid value: "Europe/Lost": unknown time zone Europe/Lost"#]),
    ];
    for (old, new, expected) in cases {
        let stored: CronJob = defaulted(&cronjob(old.clone()));
        assert_eq!(found_on_write(&stored, &cronjob(new.clone())), expected, "{old} to {new}");
    }
    let long = cronjob(json!({})).replace("nightly", &"a".repeat(60));
    let stored: CronJob = defaulted(&long);
    assert_eq!(found_on_write(&stored, &long.replace("0 3", "0 4")), Vec::<String>::new(), "a long name");
}

#[test]
fn columns() {
    let mut json: Value = serde_json::from_str(&cronjob(json!({"timeZone": "Etc/UTC", "suspend": true}))).unwrap();
    json["status"] = json!({"active": [{"name": "a"}, {"name": "b"}], "lastScheduleTime": "1970-01-01T00:00:10Z"});
    assert_eq!(row::<CronJob>(&json.to_string(), 60), "nightly|0 3 * * *|Etc/UTC|True|2|50s|<unknown>|c|i|<none>");
    let plain = cronjob(json!({}));
    assert_eq!(row::<CronJob>(&plain, 60), "nightly|0 3 * * *|<none>|<unset>|0|<none>|<unknown>|c|i|<none>");
}

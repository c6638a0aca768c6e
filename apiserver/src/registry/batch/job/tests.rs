//! Jobs: defaults, labels, validation, updates, columns. What a status may say is tested in `status/tests.rs`.

use serde_json::{Value, json};

use super::*;
use crate::registry::Strategy;
use crate::registry::check::testing::{created, defaulted, found_on_create, found_on_write, prepare, row};

/// A good Job, with `changes` merged into its spec.
fn job(changes: Value) -> String {
    let mut job = json!({
        "metadata": {"name": "pi", "uid": "u"},
        "spec": {"template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "i"}]}}}
    });
    json_patch::merge(&mut job, &json!({ "spec": changes }));
    job.to_string()
}
fn indexed(changes: Value) -> String {
    let mut spec = json!({"completionMode": "Indexed", "completions": 10});
    json_patch::merge(&mut spec, &changes);
    job(spec)
}
fn labels(changes: Value) -> String {
    job(json!({"template": {"metadata": {"labels": changes}}}))
}

#[test]
fn defaults_depend_on_what_is_said() {
    let spec = |changes| defaulted::<Job>(&job(changes)).spec.unwrap();
    let plain = spec(json!({}));
    assert_eq!((plain.completions, plain.parallelism, plain.backoff_limit), (Some(1), Some(1), Some(6)));
    assert_eq!((plain.completion_mode.as_deref(), plain.suspend), (Some("NonIndexed"), Some(false)));
    assert_eq!(plain.pod_replacement_policy.as_deref(), Some("TerminatingOrFailed"));
    assert_eq!(plain.template.spec.unwrap().dns_policy.as_deref(), Some("ClusterFirst"));

    assert_eq!(spec(json!({"parallelism": 2})).completions, None);
    assert_eq!(spec(json!({"completions": 2})).parallelism, Some(1));
    assert_eq!(spec(json!({"backoffLimitPerIndex": 1})).backoff_limit, Some(i32::MAX));
    let rules = json!([{"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": ""}]}]);
    let policy = spec(json!({"podFailurePolicy": {"rules": rules}}));
    assert_eq!(policy.pod_replacement_policy.as_deref(), Some("Failed"));
    let patterns = policy.pod_failure_policy.unwrap().rules.remove(0).on_pod_conditions.unwrap();
    assert_eq!(patterns[0].status.as_deref(), Some("True"));
}

#[test]
fn a_job_finds_its_pods_by_labels_that_the_server_makes() {
    let made = json!({
        "batch.kubernetes.io/controller-uid": "u", "batch.kubernetes.io/job-name": "pi",
        "controller-uid": "u", "job-name": "pi"
    });
    let of = |job: Job| {
        let spec = serde_json::to_value(job.spec).unwrap();
        (spec["template"]["metadata"]["labels"].clone(), spec["selector"].clone(), json!(job.metadata.labels))
    };
    let selector = json!({"matchLabels": {"batch.kubernetes.io/controller-uid": "u"}});
    assert_eq!(of(created(&job(json!({})))), (made.clone(), selector.clone(), made.clone()), "also the Job's own");

    let mut with_own = made.clone();
    with_own["app"] = json!("pi");
    assert_eq!(of(created(&labels(json!({"app": "pi"})))), (with_own.clone(), selector.clone(), with_own));

    let labelled = job(json!({})).replacen(r#""uid""#, r#""labels":{"mine":"1"},"uid""#, 1);
    assert_eq!(of(created(&labelled)), (made, selector, json!({"mine": "1"})), "who has labels keeps them");

    let manual = json!({"manualSelector": true, "selector": {"matchLabels": {"a": "b"}},
        "template": {"metadata": {"labels": {"a": "b"}}}});
    let selector = json!({"matchLabels": {"a": "b"}});
    assert_eq!(of(created(&job(manual))), (json!({"a": "b"}), selector, json!({"a": "b"})), "or makes them by hand");
}

#[test]
fn what_is_not_served_is_dropped_unless_it_is_there() {
    let scheduled = job(json!({"scheduling": {"schedulingPolicy": {"basic": {}}}}));
    let mut old: Job = defaulted(&scheduled);
    let mut new = old.clone();
    prepare(Strategy::Update(&old), &mut new);
    assert!(new.spec.as_ref().unwrap().scheduling.is_some());
    assert_eq!(created::<Job>(&scheduled).spec.unwrap().scheduling, None);
    old.spec.as_mut().unwrap().scheduling = None;
    prepare(Strategy::Update(&old), &mut new);
    assert_eq!(new.spec.unwrap().scheduling, None);
}

#[test]
fn good_jobs() {
    let policy = json!({"rules": [
        {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget"}]},
        {"action": "FailJob", "onExitCodes": {"containerName": "c", "operator": "In", "values": [1, 5]}},
        {"action": "Count", "onExitCodes": {"operator": "NotIn", "values": [0]}}
    ]});
    let cases = [
        job(json!({})),
        job(json!({"parallelism": 0, "completions": 0, "ttlSecondsAfterFinished": 0})),
        job(json!({"managedBy": "example.com/queue"})),
        job(json!({"podFailurePolicy": policy})),
        indexed(json!({"parallelism": 100_000, "backoffLimitPerIndex": 1, "maxFailedIndexes": 10})),
        indexed(json!({"completions": 1_000_000_000, "parallelism": 10_000, "backoffLimitPerIndex": 1,
            "maxFailedIndexes": 10_000})),
        indexed(json!({"successPolicy": {"rules": [{"succeededIndexes": "0,2-4", "succeededCount": 4},
            {"succeededCount": 10}]}})),
        indexed(json!({"backoffLimitPerIndex": 1, "podFailurePolicy":
            {"rules": [{"action": "FailIndex", "onExitCodes": {"operator": "In", "values": [3]}}]}})),
        job(json!({"manualSelector": true, "selector": {"matchLabels": {"a": "b"}},
            "template": {"metadata": {"labels": {"a": "b"}}}})),
        labels(json!({"job-name": "pi", "app": "pi"})),
    ];
    for json in cases {
        assert_eq!(found_on_create::<Job>(&json), Vec::<String>::new(), "{json}");
    }
}

#[test]
fn bad_counts_and_modes() {
    let many = |n: i32| {
        format!(
            "must be less than or equal to {n} when completions are above 100000 and used with backoff limit per index"
        )
    };
    let negative = "must be greater than or equal to 0";
    let cases = [
        (job(json!({"parallelism": -1})), vec![format!("spec.parallelism: Invalid value: -1: {negative}")]),
        (job(json!({"completions": -1})), vec![format!("spec.completions: Invalid value: -1: {negative}")]),
        (job(json!({"backoffLimit": -1})), vec![format!("spec.backoffLimit: Invalid value: -1: {negative}")]),
        (
            job(json!({"activeDeadlineSeconds": -1, "ttlSecondsAfterFinished": -2})),
            vec![
                format!("spec.activeDeadlineSeconds: Invalid value: -1: {negative}"),
                format!("spec.ttlSecondsAfterFinished: Invalid value: -2: {negative}"),
            ],
        ),
        (
            job(json!({"completionMode": "Odd"})),
            vec![r#"spec.completionMode: Unsupported value: "Odd": supported values: "NonIndexed", "Indexed""#.into()],
        ),
        (
            job(json!({"backoffLimitPerIndex": 1, "maxFailedIndexes": 2})),
            vec![
                "spec.backoffLimitPerIndex: Invalid value: 1: requires indexed completion mode".into(),
                "spec.maxFailedIndexes: Invalid value: 2: requires indexed completion mode".into(),
            ],
        ),
        (
            indexed(json!({"completions": null, "parallelism": 1})),
            vec!["spec.completions: Required value: when completion mode is Indexed".into()],
        ),
        (
            indexed(json!({"maxFailedIndexes": 11})),
            vec![
                "spec.backoffLimitPerIndex: Required value: when maxFailedIndexes is specified".into(),
                "spec.maxFailedIndexes: Invalid value: 11: must be less than or equal to completions".into(),
            ],
        ),
        (
            indexed(json!({"completions": 100_001, "parallelism": 100_001, "backoffLimitPerIndex": 1,
                "maxFailedIndexes": 100_001})),
            vec![
                "spec.parallelism: Invalid value: 100001: must be less than or equal to 100000 when completion mode is Indexed".into(),
                "spec.maxFailedIndexes: Invalid value: 100001: must be less than or equal to 100000".into(),
                format!("spec.parallelism: Invalid value: 100001: {}", many(10_000)),
                format!("spec.maxFailedIndexes: Invalid value: 100001: {}", many(10_000)),
            ],
        ),
        (
            indexed(json!({"completions": 100_001, "backoffLimitPerIndex": 1})),
            vec!["spec.maxFailedIndexes: Required value: must be specified when completions is above 100000".into()],
        ),
        (
            indexed(json!({"completions": 10})).replace(r#""pi""#, &format!("{:?}", "a".repeat(62))),
            vec![format!(
                "metadata.name: Invalid value: {0:?}: will not able to create pod with invalid DNS label: {0}-9",
                "a".repeat(62)
            )],
        ),
    ];
    for (json, expected) in cases {
        assert_eq!(found_on_create::<Job>(&json), expected, "{json}");
    }
}

#[test]
fn bad_pods_managers_and_replacements() {
    let restart = |policy: &str| job(json!({"template": {"spec": {"restartPolicy": policy}}}));
    let rules = json!([{"action": "Count", "onExitCodes": {"operator": "In", "values": [1]}}]);
    let cases = [
        (
            restart("Always"),
            vec![r#"spec.template.spec.restartPolicy: Required value: valid values: "OnFailure", "Never""#.to_owned()],
        ),
        (
            restart("Odd"),
            vec![
                r#"spec.template.spec.restartPolicy: Unsupported value: "Odd": supported values: "Always", "Never", "OnFailure""#.into(),
                r#"spec.template.spec.restartPolicy: Unsupported value: "Odd": supported values: "OnFailure", "Never""#.into(),
            ],
        ),
        (
            job(json!({"podFailurePolicy": {"rules": rules}, "template": {"spec": {"restartPolicy": "OnFailure"}}})),
            vec![r#"spec.template.spec.restartPolicy: Invalid value: "OnFailure": only "Never" is supported when podFailurePolicy is specified"#.into()],
        ),
        (
            job(json!({"podFailurePolicy": {"rules": rules}, "podReplacementPolicy": "TerminatingOrFailed"})),
            vec![r#"spec.podReplacementPolicy: Unsupported value: "TerminatingOrFailed": supported values: "Failed""#.into()],
        ),
        (
            job(json!({"podReplacementPolicy": "Odd"})),
            vec![r#"spec.podReplacementPolicy: Unsupported value: "Odd": supported values: "Failed", "TerminatingOrFailed""#.into()],
        ),
        (
            job(json!({"managedBy": "queue"})),
            vec![r#"spec.managedBy: Invalid value: "queue": must be a domain-prefixed path (such as "acme.io/foo")"#.into()],
        ),
        (
            job(json!({"managedBy": format!("example.com/{}", "x".repeat(52))})),
            vec!["spec.managedBy: Too long: may not be more than 63 bytes".into()],
        ),
        (
            job(json!({"template": {"spec": {"containers": []}}})),
            vec!["spec.template.spec.containers: Required value".into()],
        ),
    ];
    for (json, expected) in cases {
        assert_eq!(found_on_create::<Job>(&json), expected, "{json}");
    }
}

#[test]
fn bad_selectors() {
    let generated = labels(json!({"controller-uid": "other", "batch.kubernetes.io/job-name": "other"}));
    let found = found_on_create::<Job>(&generated);
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(found[0].starts_with("spec.template.metadata.labels[batch.kubernetes.io/job-name]: Invalid value: {"));
    assert!(found[0].ends_with("must be 'pi'"), "{found:?}");
    assert!(found[1].starts_with("spec.template.metadata.labels[controller-uid]: ") && found[1].ends_with("'u'"));

    let other_uid = json!({"selector": {"matchLabels": {"batch.kubernetes.io/controller-uid": "other"}}});
    let found = found_on_create::<Job>(&job(other_uid));
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(
        found[0].starts_with("spec.selector: Invalid value: ") && found[0].ends_with("`selector` not auto-generated")
    );
    assert!(found[1].ends_with("`selector` does not match template `labels`"), "{found:?}");

    let found = found_on_create::<Job>(&job(json!({"manualSelector": true})));
    assert_eq!(found[0], "spec.selector: Required value");
    assert!(found[1].ends_with("`selector` does not match template `labels`"), "{found:?}");

    let mut unborn: Job = created(&job(json!({})).replace(r#""uid":"u""#, r#""uid":"""#));
    unborn.metadata.uid = None;
    let mut problems = Problems::default();
    unborn.validate(&mut problems);
    assert_eq!(problems.causes()[0].to_string(), "metadata.uid: Required value");
}

#[test]
fn bad_failure_policies() {
    let found = |rules: Value| found_on_create::<Job>(&job(json!({"podFailurePolicy": {"rules": rules}})));
    let codes = |codes: Value| json!([{"action": "Count", "onExitCodes": codes}]);
    let at = "spec.podFailurePolicy.rules[0]";
    let cases = [
        (
            json!([{}]),
            vec![
                format!(r#"{at}.action: Required value: valid values: ["Count" "FailIndex" "FailJob" "Ignore"]"#),
                format!("{at}: Invalid value: specifying one of OnExitCodes and OnPodConditions is required"),
            ],
        ),
        (
            json!([{"action": "Odd", "onExitCodes": {"operator": "In", "values": [1]}, "onPodConditions": [{"type": "a"}]}]),
            vec![
                format!(
                    r#"{at}.action: Unsupported value: "Odd": supported values: "Count", "FailIndex", "FailJob", "Ignore""#
                ),
                format!("{at}: Invalid value: specifying both OnExitCodes and OnPodConditions is not supported"),
            ],
        ),
        (
            json!([{"action": "FailIndex", "onExitCodes": {"operator": "In", "values": [1]}}]),
            vec![format!(r#"{at}.action: Invalid value: "FailIndex": requires the backoffLimitPerIndex to be set"#)],
        ),
        (
            codes(json!({"values": []})),
            vec![
                format!(r#"{at}.onExitCodes.operator: Required value: valid values: ["In" "NotIn"]"#),
                format!("{at}.onExitCodes.values: Invalid value: []: at least one value is required"),
            ],
        ),
        (
            codes(json!({"operator": "Odd", "containerName": "d", "values": [1]})),
            vec![
                format!(r#"{at}.onExitCodes.operator: Unsupported value: "Odd": supported values: "In", "NotIn""#),
                format!(
                    r#"{at}.onExitCodes.containerName: Invalid value: "d": must be one of the container or initContainer names in the pod template"#
                ),
            ],
        ),
        (
            codes(json!({"operator": "In", "values": [2, 0, 2]})),
            vec![
                format!("{at}.onExitCodes.values[1]: Invalid value: 0: must not be 0 for the In operator"),
                format!("{at}.onExitCodes.values[2]: Duplicate value: 2"),
                format!("{at}.onExitCodes.values: Invalid value: [2,0,2]: must be ordered"),
            ],
        ),
        (
            codes(json!({"operator": "NotIn", "values": (0..256).collect::<Vec<_>>()})),
            vec![format!("{at}.onExitCodes.values: Too many: 256: must have at most 255 items")],
        ),
        (
            json!([{"action": "Count", "onPodConditions": [{"type": "a", "status": "Odd"}]}]),
            vec![format!(
                r#"{at}.onPodConditions[0].status: Unsupported value: "Odd": supported values: "False", "True", "Unknown""#
            )],
        ),
        (
            json!([{"action": "Count", "onPodConditions": vec![json!({"type": "a"}); 21]}]),
            vec![format!("{at}.onPodConditions: Too many: 21: must have at most 20 items")],
        ),
        (
            Value::from(vec![json!({"action": "Count", "onPodConditions": [{"type": "a"}]}); 21]),
            vec!["spec.podFailurePolicy.rules: Too many: 21: must have at most 20 items".into()],
        ),
    ];
    for (rules, expected) in cases {
        assert_eq!(found(rules.clone()), expected, "{rules}");
    }
    let found = found(json!([{"action": "Count", "onPodConditions": [{"type": "a b"}]}]));
    assert!(found.len() == 1 && found[0].starts_with(&format!("{at}.onPodConditions[0].type: ")), "{found:?}");
}

#[test]
fn bad_success_policies() {
    let found = |rules: Value| found_on_create::<Job>(&indexed(json!({"successPolicy": {"rules": rules}})));
    let at = "spec.successPolicy.rules";
    let cases = [
        (
            json!([]),
            vec![format!(
                "{at}: Required value: at least one rules must be specified when the successPolicy is specified"
            )],
        ),
        (
            json!([{}]),
            vec![format!(
                "{at}[0]: Required value: at least one of succeededCount or succeededIndexes must be specified"
            )],
        ),
        (
            json!([{"succeededCount": -1}]),
            vec![format!("{at}[0].succeededCount: Invalid value: -1: must be greater than or equal to 0")],
        ),
        (
            json!([{"succeededCount": 11}]),
            vec![format!(
                "{at}[0].succeededCount: Invalid value: 11: must be less than or equal to 10 (the number of specified completions)"
            )],
        ),
        (
            json!([{"succeededIndexes": "0-1", "succeededCount": 3}]),
            vec![format!(
                "{at}[0].succeededCount: Invalid value: 3: must be less than or equal to 2 (the number of indexes in the specified succeededIndexes field)"
            )],
        ),
        (
            json!([{"succeededIndexes": "10"}]),
            vec![format!(
                r#"{at}[0].succeededIndexes: Invalid value: "10": error parsing succeededIndexes: too large index: "10""#
            )],
        ),
        (
            Value::from(vec![json!({"succeededCount": 1}); 21]),
            vec![format!("{at}: Too many: 21: must have at most 20 items")],
        ),
    ];
    for (rules, expected) in cases {
        assert_eq!(found(rules.clone()), expected, "{rules}");
    }
    let long = found(json!([{"succeededIndexes": format!("0{}", " ".repeat(65_536))}]));
    assert_eq!(long[0], format!("{at}[0].succeededIndexes: Too long: may not be more than 65536 bytes"));
    let plain = found_on_create::<Job>(&job(json!({"successPolicy": {"rules": [{"succeededCount": 1}]}})));
    assert_eq!(
        plain,
        [r#"spec.successPolicy: Invalid value: {"rules":[{"succeededCount":1}]}: requires indexed completion mode"#]
    );
    let endless =
        json!({"completions": null, "parallelism": 1, "successPolicy": {"rules": [{"succeededIndexes": "0"}]}});
    let found = found_on_create::<Job>(&indexed(endless));
    assert_eq!(found, ["spec.completions: Required value: when completion mode is Indexed"]);
}

/// What an update of the stored Job finds. The new one has what the server made of the old one.
fn found_on_change(old: &Job, changes: Value) -> Vec<String> {
    let mut new = serde_json::to_value(old).unwrap();
    json_patch::merge(&mut new, &json!({ "spec": changes }));
    found_on_write(old, &new.to_string())
}

#[test]
fn some_things_change_and_others_never() {
    let old: Job = created(&job(json!({"managedBy": "a.b/c"})));
    let changeable = json!({"parallelism": 5, "suspend": true, "activeDeadlineSeconds": 5, "backoffLimit": 1,
        "ttlSecondsAfterFinished": 7, "podReplacementPolicy": "Failed"});
    assert_eq!(found_on_change(&old, changeable), Vec::<String>::new());
    let immutable = "field is immutable";
    let cases = [
        (json!({"completions": 3}), format!("spec.completions: Invalid value: 3: {immutable}")),
        (json!({"managedBy": "a.b/d"}), format!(r#"spec.managedBy: Invalid value: "a.b/d": {immutable}"#)),
        (json!({"managedBy": null}), format!("spec.managedBy: Invalid value: null: {immutable}")),
    ];
    for (changes, expected) in cases {
        assert_eq!(found_on_change(&old, changes.clone()), [expected], "{changes}");
    }
    let rules = json!({"rules": [{"action": "Count", "onExitCodes": {"operator": "In", "values": [1]}}]});
    let parts = [
        (json!({"selector": {"matchLabels": {"job-name": "pi"}}}), "spec.selector"),
        (json!({"template": {"spec": {"containers": [{"name": "c", "image": "j"}]}}}), "spec.template"),
        (json!({"template": {"spec": {"nodeSelector": {"a": "b"}}}}), "spec.template"),
        (json!({"completionMode": "Indexed"}), "spec.completionMode"),
        (json!({"podFailurePolicy": rules, "podReplacementPolicy": "Failed"}), "spec.podFailurePolicy"),
    ];
    for (changes, at) in parts {
        let found = found_on_change(&old, changes.clone());
        assert!(found.len() == 1 && found[0].starts_with(&format!("{at}: ")), "{changes}: {found:?}");
        assert!(found[0].ends_with(immutable), "{changes}: {found:?}");
    }
}

#[test]
fn an_indexed_job_changes_its_size_with_its_pods() {
    let old: Job = created(&indexed(json!({"parallelism": 10, "backoffLimitPerIndex": 1})));
    assert_eq!(found_on_change(&old, json!({"completions": 7, "parallelism": 7})), Vec::<String>::new());
    assert_eq!(
        found_on_change(&old, json!({"completions": 7})),
        ["spec.completions: Invalid value: 7: can only be modified in tandem with spec.parallelism"]
    );
    assert_eq!(
        found_on_change(&old, json!({"backoffLimitPerIndex": 2})),
        ["spec.backoffLimitPerIndex: Invalid value: 2: field is immutable"]
    );
    let success = json!({"successPolicy": {"rules": [{"succeededCount": 1}]}});
    let found = found_on_change(&old, success);
    assert!(found.len() == 1 && found[0].starts_with("spec.successPolicy: Invalid value: {"), "{found:?}");
}

#[test]
fn jobs_from_before_there_were_labels_with_a_domain_stay_as_they_are() {
    let legacy = json!({"controller-uid": "u", "job-name": "pi"});
    let spec =
        json!({"selector": {"matchLabels": {"controller-uid": "u"}}, "template": {"metadata": {"labels": legacy}}});
    let mut old: Job = defaulted(&job(spec));
    assert_eq!(found_on_change(&old, json!({"parallelism": 2})), Vec::<String>::new());
    let labels = &mut old.spec.as_mut().unwrap().template.metadata.as_mut().unwrap().labels;
    labels.as_mut().unwrap().remove("job-name");
    assert_eq!(
        found_on_change(&old, json!({"parallelism": 2})),
        ["spec.template.metadata.labels[job-name]: Required value: must be 'pi'"]
    );
}

#[test]
fn the_pods_of_a_suspended_job_can_be_sent_elsewhere() {
    let affinity = json!({"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution":
        {"nodeSelectorTerms": [{"matchExpressions": [{"key": "zone", "operator": "Exists"}]}]}}});
    let template = |changes: Value| json!({ "template": changes });
    let directives = template(json!({
        "metadata": {"labels": {"queue": "a"}, "annotations": {"by": "queue"}},
        "spec": {"nodeSelector": {"zone": "a"}, "affinity": affinity, "tolerations": [{"key": "a", "operator": "Exists"}],
            "schedulingGates": [{"name": "g"}],
            "containers": [{"name": "c", "image": "i", "resources": {"requests": {"cpu": "2"}}}]}
    }));
    let image = template(json!({"spec": {"containers": [{"name": "c", "image": "j"}]}}));
    let apart = template(json!({"spec": {"affinity": {"podAntiAffinity": {}}}}));
    let started = json!({"startTime": "2026-01-01T00:00:00Z"});
    let told = json!({"startTime": "2026-01-01T00:00:00Z", "conditions": [{"type": "Suspended", "status": "True"}]});
    let mut active = told.clone();
    active["active"] = json!(1);
    let cases = [
        ("never started", true, json!({}), true),
        ("started once, all gone", true, told, true),
        ("not suspended yet", true, started.clone(), false),
        ("pods are there still", true, active, false),
        ("not suspended", false, json!({}), false),
    ];
    for (why, suspend, status, can_change) in cases {
        let mut old: Job = created(&job(json!({ "suspend": suspend })));
        old.status = serde_json::from_value(status).unwrap();
        let found = |changes: &Value| found_on_change(&old, changes.clone());
        assert_eq!(found(&directives).is_empty(), can_change, "{why}: {:?}", found(&directives));
        for other in [&image, &apart] {
            let found = found(other);
            let at = if can_change { "spec.template.spec: " } else { "spec.template: " };
            assert!(found.len() == 1 && found[0].starts_with(at), "{why}: {found:?}");
        }
    }
}

#[test]
fn an_affinity_goes_if_it_says_nothing_but_of_nodes() {
    let nodes = json!({"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": []}});
    let both = json!({"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": []}, "podAffinity": {}});
    for (affinity, can_go) in [(nodes, true), (both, false)] {
        let spec = json!({"suspend": true, "template": {"spec": {"affinity": affinity}}});
        let old: Job = created(&job(spec));
        let found = found_on_change(&old, json!({"template": {"spec": {"affinity": null}}}));
        assert_eq!(found.is_empty(), can_go, "{found:?}");
    }
}

#[test]
fn columns() {
    let with = |status: Value, spec: Value| {
        let mut json: Value = serde_json::from_str(&job(spec)).unwrap();
        json["status"] = status;
        row::<Job>(&json.to_string(), 100)
    };
    let condition = |type_: &str| json!([{"type": type_, "status": "True"}]);
    let selector = json!({"completions": 3, "selector": {"matchLabels": {"a": "b"}}});
    let status = json!({"succeeded": 1, "startTime": "1970-01-01T00:00:10Z"});
    assert_eq!(with(status, selector), "pi|Running|1/3|90s|<unknown>|c|i|a=b");
    let done = json!({"succeeded": 1, "startTime": "1970-01-01T00:00:10Z", "completionTime": "1970-01-01T00:00:15Z",
        "conditions": condition("Complete")});
    assert_eq!(with(done, json!({"parallelism": 2})), "pi|Complete|1/1 of 2|5s|<unknown>|c|i|<none>");
    for type_ in ["Failed", "Suspended", "FailureTarget", "SuccessCriteriaMet"] {
        assert_eq!(
            with(json!({"conditions": condition(type_)}), json!({})),
            format!("pi|{type_}|0/1||<unknown>|c|i|<none>")
        );
    }
    let deleting = job(json!({})).replacen(r#""uid""#, r#""deletionTimestamp":"1970-01-01T00:00:00Z","uid""#, 1);
    assert_eq!(row::<Job>(&deleting, 0), "pi|Terminating|0/1||<unknown>|c|i|<none>");
}

//! FlowSchemas: defaults, what their rules may say, the two that never change, columns.

use k8s_openapi::api::flowcontrol::v1::FlowSchemaStatus;

use super::*;
use crate::registry::Strategy;
use crate::registry::check::testing::{defaulted, found, object, prepare, row};
use crate::registry::flowcontrol::bootstrap;

const SUBJECT: &str = r#"{"kind":"User","user":{"name":"jane"}}"#;
const RULE: &str = r#"{"verbs":["get"],"apiGroups":[""],"resources":["pods"],"namespaces":["prod"]}"#;

fn named(name: &str, spec: &str) -> String {
    format!(r#"{{"metadata":{{"name":"{name}"}},"spec":{{"priorityLevelConfiguration":{{"name":"level"}},{spec}}}}}"#)
}
fn with(subject: &str, rule: &str) -> String {
    named("mine", &format!(r#""rules":[{{"subjects":[{subject}],"resourceRules":[{rule}]}}]"#))
}
fn paths(verbs: &str, urls: &str) -> String {
    let rule = format!(r#"{{"verbs":[{verbs}],"nonResourceURLs":[{urls}]}}"#);
    named("mine", &format!(r#""rules":[{{"subjects":[{SUBJECT}],"nonResourceRules":[{rule}]}}]"#))
}

#[test]
fn what_is_not_said_is_told_one_way() {
    let rule = RULE.replace('}', r#","clusterScope":false}"#);
    let rules = format!(r#"{{"subjects":[{SUBJECT}],"resourceRules":[{rule}],"nonResourceRules":[]}}"#);
    let schema: FlowSchema = defaulted(&named("mine", &format!(r#""matchingPrecedence":0,"rules":[{rules}]"#)));
    let plain: FlowSchema = defaulted(&with(SUBJECT, RULE));
    assert_eq!(schema, plain);
    assert_eq!(plain.spec.matching_precedence, Some(1000));
}

#[test]
fn bad_schemas() {
    let cases = [
        (with(SUBJECT, RULE), vec![]),
        (named("mine", r#""matchingPrecedence":10000,"distinguisherMethod":{"type":"ByUser"}"#), vec![]),
        (
            named("mine", r#""matchingPrecedence":-1"#),
            vec!["spec.matchingPrecedence: Invalid value: -1: must be a positive value"],
        ),
        (
            named("mine", r#""matchingPrecedence":10001"#),
            vec!["spec.matchingPrecedence: Invalid value: 10001: must not be greater than 10000"],
        ),
        (
            named("mine", r#""matchingPrecedence":1"#),
            vec![
                "spec.matchingPrecedence: Invalid value: 1: only the schema named 'exempt' may have matchingPrecedence 1",
            ],
        ),
        (
            named("mine", r#""distinguisherMethod":{"type":"ByDay"}"#),
            vec![
                r#"spec.distinguisherMethod.type: Unsupported value: "ByDay": supported values: "ByNamespace", "ByUser""#,
            ],
        ),
        (
            named("mine", r#""matchingPrecedence":5"#).replace("level", ""),
            vec!["spec.priorityLevelConfiguration.name: Required value: must reference a priority level"],
        ),
        (
            named("mine", r#""rules":[{}]"#),
            vec![
                "spec.rules[0].subjects: Required value: subjects must contain at least one value",
                "spec.rules[0]: Required value: at least one of resourceRules and nonResourceRules has to be non-empty",
            ],
        ),
    ];
    for (json, expected) in cases {
        assert_eq!(found::<FlowSchema>(&json), expected, "{json}");
    }
    let bad = found::<FlowSchema>(&named("mine", r#""matchingPrecedence":5"#).replace("level", "A_b"));
    assert!(bad[0].starts_with(r#"spec.priorityLevelConfiguration.name: Invalid value: "A_b""#), "{bad:?}");
}

#[test]
fn a_subject_has_the_field_of_its_kind() {
    let cases = [
        (r#"{"kind":"Group","group":{"name":"*"}}"#, ""),
        (r#"{"kind":"ServiceAccount","serviceAccount":{"namespace":"prod","name":"*"}}"#, ""),
        (
            r#"{"kind":"Robot"}"#,
            r#".kind: Unsupported value: "Robot": supported values: "Group", "ServiceAccount", "User""#,
        ),
        (r#"{"kind":"User"}"#, ".user: Required value: user is required when subject kind is 'User'"),
        (r#"{"kind":"User","user":{"name":""}}"#, ".user.name: Required value"),
        (r#"{"kind":"Group","group":{"name":""}}"#, ".group.name: Required value"),
        (
            r#"{"kind":"Group","group":{"name":"a"},"user":{"name":"b"}}"#,
            ".user: Forbidden: user is forbidden when subject kind is not 'User'",
        ),
        (
            r#"{"kind":"ServiceAccount","serviceAccount":{"namespace":"","name":"a"}}"#,
            ".serviceAccount.namespace: Required value: must specify namespace for service account",
        ),
        (
            r#"{"kind":"ServiceAccount","serviceAccount":{"namespace":"prod","name":""}}"#,
            ".serviceAccount.name: Required value",
        ),
    ];
    for (subject, expected) in cases {
        let expected: Vec<String> =
            [expected].iter().filter(|e| !e.is_empty()).map(|e| format!("spec.rules[0].subjects[0]{e}")).collect();
        assert_eq!(found::<FlowSchema>(&with(subject, RULE)), expected, "{subject}");
    }
    for (field, text) in
        [("name", r#""namespace":"prod","name":"A_""#), ("namespace", r#""namespace":"a.b","name":"c""#)]
    {
        let found =
            found::<FlowSchema>(&with(&format!(r#"{{"kind":"ServiceAccount","serviceAccount":{{{text}}}}}"#), RULE));
        let expected = format!("spec.rules[0].subjects[0].serviceAccount.{field}: Invalid value");
        assert!(found.len() == 1 && found[0].starts_with(&expected), "{found:?}");
    }
}

#[test]
fn rules_match_what_there_is() {
    const AT: &str = "spec.rules[0].resourceRules[0]";
    let cases = [
        (r#"{"verbs":["*"],"apiGroups":["*"],"resources":["*"],"clusterScope":true}"#, vec![]),
        (
            "{}",
            vec![
                ".verbs: Required value: verbs must contain at least one value",
                ".apiGroups: Required value: resource rules must supply at least one api group",
                ".resources: Required value: resource rules must supply at least one resource",
                ".namespaces: Required value: resource rules that are not cluster scoped must supply at least one namespace",
            ],
        ),
        (
            r#"{"verbs":["*","get"],"apiGroups":["*","a"],"resources":["*","b"],"namespaces":["*","c"]}"#,
            vec![
                r#".verbs: Invalid value: ["*","get"]: if '*' is present, must not specify other verbs"#,
                r#".apiGroups: Invalid value: ["*","a"]: if '*' is present, must not specify other api groups"#,
                r#".resources: Invalid value: ["*","b"]: if '*' is present, must not specify other resources"#,
                r#".namespaces: Invalid value: ["*","c"]: if '*' is present, must not specify other namespaces"#,
            ],
        ),
        (
            r#"{"verbs":["post"],"apiGroups":["a"],"resources":["b"],"namespaces":["c"]}"#,
            vec![
                r#".verbs: Unsupported value: ["post"]: supported values: "create", "delete", "deletecollection", "get", "list", "patch", "proxy", "update", "watch""#,
            ],
        ),
    ];
    for (rule, expected) in cases {
        let expected: Vec<String> = expected.iter().map(|text| format!("{AT}{text}")).collect();
        assert_eq!(found::<FlowSchema>(&with(SUBJECT, rule)), expected, "{rule}");
    }
    let long = "a".repeat(64);
    for (name, expected) in [("A_b", "label; a lowercase RFC 1123"), (&long, "label; must be no more than 63 bytes")] {
        let found = found::<FlowSchema>(&with(SUBJECT, &RULE.replace("prod", name)));
        assert!(found.len() == 1 && found[0].contains(expected), "{found:?}");
    }
}

#[test]
fn paths_may_end_in_a_star() {
    const AT: &str = "spec.rules[0].nonResourceRules[0].nonResourceURLs";
    let cases = [
        (r#""/","/healthz","/logs/*""#, String::new()),
        (r#""*""#, String::new()),
        ("", format!("{AT}: Required value: nonResourceURLs must contain at least one value")),
        (
            r#""*","/a""#,
            format!(r#"{AT}: Invalid value: ["*","/a"]: if '*' is present, must not specify other non-resource URLs"#),
        ),
        (r#""""#, format!(r#"{AT}[0]: Invalid value: "": must not be empty"#)),
        (r#""a""#, format!(r#"{AT}[0]: Invalid value: "a": must start with slash"#)),
        (r#""/a b""#, format!(r#"{AT}[0]: Invalid value: "/a b": must not contain white-space"#)),
        (r#""/a//b""#, format!(r#"{AT}[0]: Invalid value: "/a//b": must not contain double slash"#)),
        (r#""/a*""#, format!(r#"{AT}[0]: Invalid value: "/a*": wildcard can only do suffix matching"#)),
        (r#""/*/*""#, format!(r#"{AT}[0]: Invalid value: "/*/*": wildcard can only do suffix matching"#)),
    ];
    for (urls, expected) in cases {
        assert_eq!(found::<FlowSchema>(&paths(r#""get""#, urls)).join("; "), expected, "{urls}");
    }
    assert!(found::<FlowSchema>(&paths(r#""get","odd""#, r#""/""#))[0].contains("verbs: Unsupported value"));
}

#[test]
fn the_mandatory_ones_stay_as_they_are() {
    for schema in &bootstrap::mandatory().schemas {
        let mut changed = schema.clone();
        changed.spec.rules = None;
        let mut problems = Problems::default();
        changed.validate(&mut problems);
        let texts: Vec<String> = problems.causes().iter().map(ToString::to_string).collect();
        let name = schema.metadata.name.as_deref().unwrap();
        assert!(texts[0].ends_with(&format!("spec of '{name}' must equal the fixed value")), "{texts:?}");
    }
}

#[test]
fn the_status_is_the_servers_and_generation_counts_the_spec() {
    let old: FlowSchema = defaulted(&with(SUBJECT, RULE));
    let mut written: FlowSchema = object(
        r#"{"metadata":{"name":"mine","labels":{"a":"b"}},"status":{"conditions":[{"type":"Dangling","status":"True"}]}}"#,
    );
    prepare(Strategy::Status(&old), &mut written);
    assert_eq!((&written.spec, &written.metadata), (&old.spec, &old.metadata));
    let mut later = old.clone();
    prepare(Strategy::Update(&written), &mut later);
    assert_eq!(later.status, written.status);
    assert!(!later.spec_changed(&old));
    later.spec.matching_precedence = Some(7);
    assert!(later.spec_changed(&old));
    prepare(Strategy::Create, &mut later);
    assert_eq!(later.status, Some(FlowSchemaStatus::default()));
}

#[test]
fn columns() {
    assert_eq!(row::<FlowSchema>(&with(SUBJECT, RULE), 0), "mine|level|0|<none>|<unknown>|?");
    let json = named("mine", r#""matchingPrecedence":7,"distinguisherMethod":{"type":"ByUser"}"#).replacen(
        '{',
        r#"{"status":{"conditions":[{"type":"Dangling","status":"False"}]},"#,
        1,
    );
    assert_eq!(row::<FlowSchema>(&json, 0), "mine|level|7|ByUser|<unknown>|False");
}

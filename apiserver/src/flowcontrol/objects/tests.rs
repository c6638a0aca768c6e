//! What becomes of the cluster's objects: the good ones are obeyed, the mandatory ones are always there.

use super::*;
use crate::registry::flowcontrol::bootstrap::suggested;

fn level_of(name: &str, spec: &str) -> PriorityLevelConfiguration {
    serde_json::from_str(&format!(r#"{{"metadata":{{"name":"{name}"}},"spec":{spec}}}"#)).unwrap()
}
fn queued(name: &str, queues: u32, hand: u32) -> PriorityLevelConfiguration {
    let queuing = format!(r#"{{"queues":{queues},"handSize":{hand},"queueLengthLimit":9}}"#);
    let response = format!(r#"{{"type":"Queue","queuing":{queuing}}}"#);
    let limited = format!(
        r#"{{"nominalConcurrencyShares":7,"lendablePercent":50,"borrowingLimitPercent":200,"limitResponse":{response}}}"#
    );
    level_of(name, &format!(r#"{{"type":"Limited","limited":{limited}}}"#))
}
fn schema_of(name: &str, level: &str, spec: &str) -> FlowSchema {
    serde_json::from_str(&format!(
        r#"{{"metadata":{{"name":"{name}"}},"spec":{{"priorityLevelConfiguration":{{"name":"{level}"}}{spec}}}}}"#
    ))
    .unwrap()
}
/// (levels, schemas → level) by name, in the order that is obeyed.
fn names(configuration: &Configuration) -> (Vec<&str>, Vec<String>) {
    let levels = configuration.levels().iter().map(|level| &*level.name).collect();
    let schemas = configuration.schemas().iter().map(|s| format!("{} → {}", s.name, s.priority_level)).collect();
    (levels, schemas)
}

#[test]
fn an_object_says_it_all() {
    let rules = r#"[{"subjects":[{"kind":"User","user":{"name":"jane"}},{"kind":"Group","group":{"name":"ops"}},
        {"kind":"ServiceAccount","serviceAccount":{"namespace":"prod","name":"robot"}},{"kind":"Odd"}],
        "resourceRules":[{"verbs":["get"],"apiGroups":["apps"],"resources":["deployments"],"namespaces":["prod"]},
        {"verbs":["*"],"apiGroups":["*"],"resources":["*"],"clusterScope":true}],
        "nonResourceRules":[{"verbs":["get"],"nonResourceURLs":["/metrics"]}]}]"#;
    let spec = format!(r#","matchingPrecedence":70,"distinguisherMethod":{{"type":"ByNamespace"}},"rules":{rules}"#);
    let configuration = configuration(&[queued("mine", 64, 6)], &[schema_of("s", "mine", &spec)]).unwrap();
    let response = LimitResponse::Queue(Queuing { queues: 64, hand_size: 6, queue_length_limit: 9 });
    let expected = PriorityLevel {
        name: "mine".into(),
        uid: "".into(),
        nominal_concurrency_shares: 7,
        lendable_percent: 50,
        enablement: Enablement::Limited { borrowing_limit_percent: Some(200), response },
    };
    assert_eq!(configuration.levels()[0], expected);
    let schema = configuration.schemas().iter().find(|s| &*s.name == "s").unwrap();
    assert_eq!((schema.matching_precedence, schema.distinguisher), (70, Some(Distinguisher::ByNamespace)));
    let rules = &schema.rules[0];
    let account = configuration::Subject::ServiceAccount { namespace: "prod".into(), name: "robot".into() };
    let subjects =
        vec![configuration::Subject::User("jane".into()), configuration::Subject::Group("ops".into()), account];
    assert_eq!(rules.subjects, subjects);
    assert_eq!((rules.resource_rules[0].cluster_scope, rules.resource_rules[1].cluster_scope), (false, true));
    assert_eq!(
        (&*rules.resource_rules[0].namespaces, rules.resource_rules[1].namespaces.len()),
        (&["prod".into()][..], 0)
    );
    assert_eq!(
        rules.non_resource_rules,
        [NonResourceRule { verbs: vec!["get".into()], urls: vec!["/metrics".into()] }]
    );
}

#[test]
fn the_mandatory_ones_are_there_whatever_is_not() {
    let both = (vec!["exempt", "catch-all"], vec!["exempt → exempt".to_owned(), "catch-all → catch-all".to_owned()]);
    let cases = [
        ("nothing", vec![], vec![]),
        ("a schema that leads nowhere", vec![], vec![schema_of("lost", "gone", "")]),
        (
            "levels that cannot be obeyed, and a schema that names one",
            vec![
                level_of("odd", r#"{"type":"Odd"}"#),
                level_of("mine", r#"{"type":"Exempt"}"#),
                level_of(
                    "both",
                    r#"{"type":"Limited","exempt":{},"limited":{"nominalConcurrencyShares":1,"limitResponse":{"type":"Reject"}}}"#,
                ),
                level_of("shareless", r#"{"type":"Limited","limited":{"limitResponse":{"type":"Reject"}}}"#),
                level_of(
                    "lender",
                    r#"{"type":"Limited","limited":{"nominalConcurrencyShares":1,"lendablePercent":101,"limitResponse":{"type":"Reject"}}}"#,
                ),
                queued("hand", 4, 5),
                queued("bits", 10_000, 5),
                queued("none", 0, 0),
                // It would shut out administrators.
                queued("exempt", 64, 6),
            ],
            vec![schema_of("lost", "odd", ""), schema_of("also-lost", "exempt", "")],
        ),
    ];
    for (why, levels, schemas) in cases {
        assert_eq!(names(&configuration(&levels, &schemas).unwrap()), both, "{why}");
    }
}

#[test]
fn a_level_that_cannot_be_obeyed_is_told_of() {
    let limited = |spec: &str| level_of("x", &format!(r#"{{"type":"Limited","limited":{spec}}}"#));
    let cases = [
        (queued("x", 64, 6), None),
        (queued("exempt", 64, 6), Some(Broken::Type)),
        (level_of("x", r#"{"type":"Odd"}"#), Some(Broken::Type)),
        (limited(r#"{"limitResponse":{"type":"Reject"}}"#), Some(Broken::NoShares)),
        (limited(r#"{"nominalConcurrencyShares":1,"limitResponse":{"type":"Queue"}}"#), Some(Broken::Response)),
        (limited(r#"{"nominalConcurrencyShares":-1,"limitResponse":{"type":"Reject"}}"#), Some(Broken::Number)),
        (queued("x", 4, 5), Some(Broken::Queuing)),
    ];
    for (level, expected) in cases {
        let found = broken_levels(std::slice::from_ref(&level));
        assert_eq!(found.first().map(|(_, why)| *why), expected, "{level:?}");
        assert!(found.iter().all(|(name, _)| Some(name) == level.metadata.name.as_ref()));
    }
}

#[test]
fn a_level_has_no_more_queues_than_the_engine_has_room_for() {
    let configuration = configuration(&[queued("wide", 10_000_000, 2)], &[]).unwrap();
    let Enablement::Limited { response: LimitResponse::Queue(queuing), .. } = &configuration.levels()[0].enablement
    else {
        panic!("{configuration:?}")
    };
    assert_eq!((queuing.queues, queuing.hand_size), (QUEUES_MAX, 2));
}

#[test]
fn an_administrators_objects_replace_the_suggested_ones() {
    let mine = [queued("mine", 64, 6)];
    let schemas = [schema_of("all", "mine", r#","matchingPrecedence":2"#), suggested().schemas[0].clone()];
    let configuration = configuration(&[&mandatory().levels[..], &mine].concat(), &schemas).unwrap();
    let (levels, schemas) = names(&configuration);
    assert_eq!(levels, ["exempt", "catch-all", "mine"]);
    assert_eq!(schemas, ["exempt → exempt", "all → mine", "probes → exempt", "catch-all → catch-all"]);
}

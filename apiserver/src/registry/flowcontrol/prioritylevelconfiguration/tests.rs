//! PriorityLevelConfigurations: defaults, numbers within bounds, the two that never change, columns.

use k8s_openapi::api::flowcontrol::v1::PriorityLevelConfigurationStatus;

use super::*;
use crate::registry::Strategy;
use crate::registry::check::testing::{defaulted, found, object, prepare, row};
use crate::registry::flowcontrol::bootstrap;

fn named(name: &str, spec: &str) -> String {
    format!(r#"{{"metadata":{{"name":"{name}"}},"spec":{{{spec}}}}}"#)
}
fn limited(fields: &str) -> String {
    named("mine", &format!(r#""type":"Limited","limited":{{{fields}}}"#))
}
fn queuing(fields: &str) -> String {
    limited(&format!(r#""limitResponse":{{"type":"Queue","queuing":{{{fields}}}}}"#))
}
const REJECT: &str = r#""limitResponse":{"type":"Reject"}"#;

#[test]
fn defaults() {
    let level: PriorityLevelConfiguration = defaulted(&queuing(r#""queues":0"#));
    let limited = level.spec.limited.unwrap();
    assert_eq!((limited.nominal_concurrency_shares, limited.lendable_percent), (Some(30), Some(0)));
    assert_eq!(limited.borrowing_limit_percent, None);
    let queuing = limited.limit_response.queuing.unwrap();
    assert_eq!((queuing.queues, queuing.hand_size, queuing.queue_length_limit), (Some(64), Some(8), Some(50)));
    let zero: PriorityLevelConfiguration = defaulted(&limited_zero());
    assert_eq!(zero.spec.limited.unwrap().nominal_concurrency_shares, Some(0), "a level may have no share");
    let exempt: PriorityLevelConfiguration = defaulted(&named("exempt", r#""type":"Exempt","exempt":{}"#));
    assert_eq!(exempt.spec.exempt.unwrap().nominal_concurrency_shares, Some(0));
}
fn limited_zero() -> String {
    limited(&format!(r#""nominalConcurrencyShares":0,{REJECT}"#))
}

#[test]
fn bad_levels() {
    const NEVER: &str = "must be 'Exempt' if and only if `name` is 'exempt'";
    let cases = [
        (limited(REJECT), vec![]),
        (queuing(""), vec![]),
        (named("exempt", r#""type":"Exempt","exempt":{"nominalConcurrencyShares":9}"#), vec![]),
        (
            named("mine", r#""type":"Exempt","exempt":{"nominalConcurrencyShares":-1,"lendablePercent":101}"#),
            vec![
                format!(r#"spec.type: Invalid value: "Exempt": {NEVER}"#),
                "spec.exempt.nominalConcurrencyShares: Invalid value: -1: must be a non-negative integer".into(),
                "spec.exempt.lendablePercent: Invalid value: 101: must be between 0 and 100, inclusive".into(),
            ],
        ),
        (
            named("mine", r#""type":"Odd""#),
            vec![r#"spec.type: Unsupported value: "Odd": supported values: "Exempt", "Limited""#.into()],
        ),
        (
            named("mine", r#""type":"Limited","exempt":{}"#),
            vec![
                "spec.exempt: Forbidden: must be nil if the type is Limited".into(),
                "spec.limited: Required value: must not be empty when type is Limited".into(),
            ],
        ),
        (
            limited(&format!(
                r#""nominalConcurrencyShares":-1,"lendablePercent":-1,"borrowingLimitPercent":-1,{REJECT}"#
            )),
            vec![
                "spec.limited.nominalConcurrencyShares: Invalid value: -1: must be a non-negative integer".into(),
                "spec.limited.lendablePercent: Invalid value: -1: must be between 0 and 100, inclusive".into(),
                "spec.limited.borrowingLimitPercent: Invalid value: -1: if specified, must be a non-negative integer"
                    .into(),
            ],
        ),
        (
            limited(r#""limitResponse":{"type":"Odd"}"#),
            vec![
                r#"spec.limited.limitResponse.type: Unsupported value: "Odd": supported values: "Queue", "Reject""#
                    .into(),
            ],
        ),
        (
            limited(r#""limitResponse":{"type":"Reject","queuing":{}}"#),
            vec![
                "spec.limited.limitResponse.queuing: Forbidden: must be nil if limited.limitResponse.type is not Limited"
                    .into(),
            ],
        ),
        (
            limited(r#""limitResponse":{"type":"Queue"}"#),
            vec![
                "spec.limited.limitResponse.queuing: Required value: must not be empty if limited.limitResponse.type is Limited"
                    .into(),
            ],
        ),
    ];
    for (json, expected) in cases {
        assert_eq!(found::<PriorityLevelConfiguration>(&json), expected, "{json}");
    }
    let exempt = named("exempt", r#""type":"Exempt","limited":{"limitResponse":{"type":"Reject"}}"#);
    let found_there = found::<PriorityLevelConfiguration>(&exempt);
    assert_eq!(found_there[0], "spec.limited: Forbidden: must be nil if the type is not Limited");
    assert!(found_there[1].ends_with("spec of 'exempt' except the 'spec.exempt' field must equal the fixed value"));
    let annotated = limited(REJECT).replacen(
        r#""name""#,
        r#""annotations":{"flowcontrol.k8s.io/v1beta3-preserve-zero-concurrency-shares":""},"name""#,
        1,
    );
    assert!(found::<PriorityLevelConfiguration>(&annotated)[0].starts_with("metadata.annotations: Forbidden"));
}

#[test]
fn queues_can_be_dealt() {
    const AT: &str = "spec.limited.limitResponse.queuing";
    let cases = [
        (64, 8, 1, ""),
        (10_000_000, 2, 50, ""),
        (1, 1, 50, ""),
        (
            -1,
            1,
            50,
            ".queues: Invalid value: -1: must be positive; .handSize: Invalid value: 1: should not be greater than queues (-1)",
        ),
        (10_000_001, 1, 50, ".queues: Invalid value: 10000001: must not be greater than 10000000"),
        (64, -1, 50, ".handSize: Invalid value: -1: must be positive"),
        (4, 5, 50, ".handSize: Invalid value: 5: should not be greater than queues (4)"),
        (64, 8, -1, ".queueLengthLimit: Invalid value: -1: must be positive"),
        (
            10_000_000,
            10_000_000,
            50,
            ".handSize: Invalid value: 10000000: required entropy bits of deckSize 10000000 and handSize 10000000 should not be greater than 60",
        ),
    ];
    for (queues, hand, length, expected) in cases {
        let json = queuing(&format!(r#""queues":{queues},"handSize":{hand},"queueLengthLimit":{length}"#));
        let found: Vec<String> =
            found::<PriorityLevelConfiguration>(&json).iter().map(|text| text.replace(AT, "")).collect();
        assert_eq!(found.join("; "), expected, "{queues} {hand} {length}");
    }
    assert!(hash_tells_hands_apart(19, 19) && !hash_tells_hands_apart(20, 20), "20! is more than 2^60");
    assert!(!hash_tells_hands_apart(3, 4), "a hand larger than the deck");
}

#[test]
fn the_mandatory_ones_stay_as_they_are() {
    let of = |name: &str| {
        let levels = &bootstrap::mandatory().levels;
        levels.iter().find(|level| level.metadata.name.as_deref() == Some(name)).cloned().unwrap()
    };
    let problems_of = |level: &PriorityLevelConfiguration| {
        let mut problems = Problems::default();
        level.validate(&mut problems);
        problems.causes().iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    let mut catch_all = of("catch-all");
    catch_all.spec.limited.as_mut().unwrap().nominal_concurrency_shares = Some(50);
    assert!(problems_of(&catch_all)[0].ends_with("spec of 'catch-all' must equal the fixed value"));
    let mut exempt = of("exempt");
    exempt.spec.exempt.as_mut().unwrap().nominal_concurrency_shares = Some(50);
    assert!(problems_of(&exempt).is_empty(), "its shares may be changed");
}

#[test]
fn the_status_is_the_servers_and_generation_counts_the_spec() {
    let old: PriorityLevelConfiguration = defaulted(&limited(REJECT));
    let mut written: PriorityLevelConfiguration =
        object(r#"{"metadata":{"name":"mine","labels":{"a":"b"}},"status":{"conditions":[{"type":"X"}]}}"#);
    prepare(Strategy::Status(&old), &mut written);
    assert_eq!((&written.spec, &written.metadata), (&old.spec, &old.metadata));
    let mut later = old.clone();
    prepare(Strategy::Update(&written), &mut later);
    assert_eq!(later.status, written.status);
    assert!(!later.spec_changed(&old) && later.spec_changed(&defaulted(&queuing(""))));
    prepare(Strategy::Create, &mut later);
    assert_eq!(later.status, Some(PriorityLevelConfigurationStatus::default()));
}

#[test]
fn columns() {
    let json = queuing(r#""queues":64,"handSize":6,"queueLengthLimit":50"#)
        .replace(r#""limited":{"#, r#""limited":{"nominalConcurrencyShares":30,"#);
    assert_eq!(row::<PriorityLevelConfiguration>(&json, 0), "mine|Limited|30|64|6|50|<unknown>");
    let exempt = named("exempt", r#""type":"Exempt""#);
    assert_eq!(row::<PriorityLevelConfiguration>(&exempt, 0), "exempt|Exempt|<none>|<none>|<none>|<none>|<unknown>");
}

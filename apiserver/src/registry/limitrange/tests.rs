//! LimitRanges: what follows from what is given, and what is said of bad ones.

use k8s_openapi::api::core::v1::LimitRange;
use serde_json::{Value, json};

use crate::registry::Strategy;
use crate::registry::check::testing::{self, defaulted, prepare, row};

fn of(item: Value) -> String {
    json!({"metadata": {"name": "l"}, "spec": {"limits": [item]}}).to_string()
}

#[test]
fn containers_get_no_more_than_they_may_have() {
    let item = json!({"type": "Container", "max": {"cpu": "2", "memory": "2Gi"}, "min": {"cpu": "0.1", "x/y": "1"},
        "default": {"cpu": "1"}});
    let range: LimitRange = defaulted(&of(item));
    let item = &serde_json::to_value(range.spec).unwrap()["limits"][0];
    assert_eq!(item["default"], json!({"cpu": "1", "memory": "2Gi"}));
    assert_eq!(item["defaultRequest"], json!({"cpu": "1", "memory": "2Gi", "x/y": "1"}));
    assert_eq!(item["min"], json!({"cpu": "100m", "x/y": "1"}));
    for none in [json!({"type": "Pod", "max": {"cpu": "2"}}), json!({"type": "Container"})] {
        let range: LimitRange = defaulted(&of(none.clone()));
        let item = &range.spec.unwrap().limits[0];
        assert_eq!((&item.default, &item.default_request), (&None, &None), "{none}");
    }
}

#[test]
fn one_without_a_name_is_called_by_its_uid() {
    let mut range: LimitRange = defaulted(r#"{"metadata":{"uid":"u"}}"#);
    prepare(Strategy::Create, &mut range);
    assert_eq!(range.metadata.name.as_deref(), Some("u"));
    let mut named: LimitRange = defaulted(r#"{"metadata":{"name":"n","uid":"u"}}"#);
    prepare(Strategy::Create, &mut named);
    assert_eq!(named.metadata.name.as_deref(), Some("n"));
}

#[test]
fn bad_ranges() {
    const AT: &str = "spec.limits[0]";
    let container = |more: Value| {
        let mut item = json!({"type": "Container"});
        item.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        item
    };
    let cases = [
        (
            container(
                json!({"min": {"cpu": "1"}, "max": {"cpu": "4"}, "default": {"cpu": "3"}, "defaultRequest": {"cpu": "2"},
                "maxLimitRequestRatio": {"cpu": "4"}}),
            ),
            vec![],
        ),
        (json!({"type": "Pod", "max": {"memory": "1Gi"}, "maxLimitRequestRatio": {"cpu": "1.5"}}), vec![]),
        (json!({"type": "PersistentVolumeClaim", "min": {"storage": "1Gi"}}), vec![]),
        (json!({"type": "x.com/y", "max": {"storage": "1"}, "default": {"pods": "1"}}), vec![]),
        (
            json!({"type": "Node"}),
            vec![format!(r#"{AT}.type: Invalid value: "Node": must be a standard limit type or fully qualified"#)],
        ),
        (
            json!({"type": "Pod", "default": {"cpu": "1"}, "defaultRequest": {"cpu": "1"}}),
            vec![
                format!("{AT}.default: Forbidden: may not be specified when `type` is 'Pod'"),
                format!("{AT}.defaultRequest: Forbidden: may not be specified when `type` is 'Pod'"),
            ],
        ),
        (
            json!({"type": "PersistentVolumeClaim"}),
            vec![format!(
                "{AT}.limits: Required value: either minimum or maximum storage value is required, but neither was provided"
            )],
        ),
        (
            json!({"type": "Pod", "max": {"storage": "1"}}),
            vec![format!(r#"{AT}.max[storage]: Invalid value: "storage": must be a standard resource for containers"#)],
        ),
        (
            json!({"type": "Pod", "min": {"cpu": "2"}, "max": {"cpu": "1"}}),
            vec![format!(r#"{AT}.min[cpu]: Invalid value: "2": min value 2 is greater than max value 1"#)],
        ),
        (
            container(json!({"min": {"cpu": "2"}, "default": {"cpu": "1"}, "defaultRequest": {"cpu": "1"}})),
            vec![
                format!(
                    r#"{AT}.defaultRequest[cpu]: Invalid value: "1": min value 2 is greater than default request value 1"#
                ),
                format!(r#"{AT}.default[cpu]: Invalid value: "1": min value 2 is greater than default value 1"#),
            ],
        ),
        (
            container(json!({"max": {"cpu": "1"}, "default": {"cpu": "2"}, "defaultRequest": {"cpu": "3"}})),
            vec![
                format!(
                    r#"{AT}.defaultRequest[cpu]: Invalid value: "3": default request value 3 is greater than max value 1"#
                ),
                format!(
                    r#"{AT}.defaultRequest[cpu]: Invalid value: "3": default request value 3 is greater than default limit value 2"#
                ),
                format!(r#"{AT}.default[cpu]: Invalid value: "2": default value 2 is greater than max value 1"#),
            ],
        ),
        (
            container(json!({"maxLimitRequestRatio": {"cpu": "500m"}})),
            vec![format!(r#"{AT}.maxLimitRequestRatio[cpu]: Invalid value: "500m": ratio 500m is less than 1"#)],
        ),
        (
            json!({"type": "Pod", "min": {"cpu": "3"}, "max": {"cpu": "4"}, "maxLimitRequestRatio": {"cpu": "2"}}),
            vec![format!(
                r#"{AT}.maxLimitRequestRatio[cpu]: Invalid value: "2": ratio 2 is greater than max/min = 1.333333"#
            )],
        ),
        (
            json!({"type": "Pod", "min": {"cpu": "0"}, "max": {"cpu": "4"}, "maxLimitRequestRatio": {"cpu": "2"}}),
            vec![],
        ),
        (
            container(json!({"default": {"x.com/gpu": "2"}, "defaultRequest": {"x.com/gpu": "1"}})),
            vec![format!(
                r#"{AT}.defaultRequest[x.com/gpu]: Invalid value: "1": default value 2 must equal to defaultRequest value 1 in x.com/gpu"#
            )],
        ),
    ];
    for (item, expected) in cases {
        assert_eq!(testing::found::<LimitRange>(&of(item.clone())), expected, "{item}");
    }
    let wrong = testing::found::<LimitRange>(&of(json!({"type": "Pod", "max": {"cpu": "lots"}})));
    assert!(wrong.len() == 1 && wrong[0].starts_with("spec.limits[0].max[cpu]: Invalid value"), "{wrong:?}");
    let twice = json!({"spec": {"limits": [{"type": "Pod"}, {"type": "Pod"}]}}).to_string();
    assert_eq!(testing::found::<LimitRange>(&twice), [r#"spec.limits[1].type: Duplicate value: "Pod""#]);
    let odd = testing::found::<LimitRange>(&of(json!({"type": "-"})));
    assert!(odd.len() == 1 && odd[0].starts_with("spec.limits[0].type: Invalid value"), "{odd:?}");
}

#[test]
fn columns() {
    let json = r#"{"metadata":{"name":"l","creationTimestamp":"2026-01-02T03:04:05Z"}}"#;
    assert_eq!(row::<LimitRange>(json, 0), "l|2026-01-02T03:04:05Z");
    assert_eq!(row::<LimitRange>("{}", 0), "|null");
}

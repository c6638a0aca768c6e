//! ResourceSlices: what a driver may publish.

use serde_json::{Map, Value, json};

use super::*;
use crate::registry::Strategy;
use crate::registry::check::testing::{created, defaulted, found, found_on_update, now, prepare, row};

fn slice(fields: Value) -> Value {
    let mut spec = json!({
        "driver": "d.example.com", "nodeName": "n1",
        "pool": {"name": "n1", "generation": 0, "resourceSliceCount": 1},
    });
    for (field, value) in fields.as_object().unwrap() {
        match value {
            Value::Null => drop(spec.as_object_mut().unwrap().remove(field)),
            value => spec[field] = value.clone(),
        }
    }
    json!({"metadata": {"name": "s"}, "spec": spec})
}
fn device(fields: Value) -> Value {
    let mut device = json!({"name": "gpu-0"});
    device.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    device
}
fn devices(count: usize, fields: &Value) -> Value {
    let one = |i: usize| {
        let mut device = device(fields.clone());
        device["name"] = json!(format!("gpu-{i}"));
        device
    };
    json!((0..count).map(one).collect::<Vec<_>>())
}
fn counters(count: usize) -> Value {
    Value::Object((0..count).map(|i| (format!("c{i}"), json!({"value": "1"}))).collect::<Map<_, _>>())
}
/// Each case: what is given, and how each problem's text starts.
fn assert_found(cases: Vec<(Value, &[&str])>) {
    for (slice, expected) in cases {
        let found = found::<ResourceSlice>(&slice.to_string());
        assert_eq!(found.len(), expected.len(), "{slice}: {found:?}");
        assert!(found.iter().zip(expected).all(|(text, start)| text.starts_with(start)), "{slice}: {found:?}");
    }
}

#[test]
fn slices() {
    let set = json!({"name": "memory", "counters": counters(1)});
    let taint = json!({"taints": [{"key": "a", "effect": "None"}]});
    let consuming = json!({"consumesCounters": [{"counterSet": "memory", "counters": counters(1)}]});
    let pool = |field: &str, value: Value| {
        let mut slice = slice(json!({}));
        slice["spec"]["pool"][field] = value;
        slice
    };
    assert_found(vec![
        (slice(json!({})), &[]),
        (slice(json!({"devices": devices(128, &json!({}))})), &[]),
        (
            slice(json!({"devices": devices(129, &json!({}))})),
            &["spec.devices: Too many: 129: must have at most 128 items"],
        ),
        (slice(json!({"devices": devices(64, &taint)})), &[]),
        (slice(json!({"devices": devices(65, &taint)})), &["spec.devices: Too many: 65: must have at most 64 items"]),
        (
            slice(json!({"devices": devices(65, &consuming)})),
            &["spec.devices: Too many: 65: must have at most 64 items"],
        ),
        (
            slice(json!({"devices": [device(json!({})), device(json!({}))]})),
            &[r#"spec.devices[1]: Duplicate value: "gpu-0""#],
        ),
        (slice(json!({"driver": ""})), &["spec.driver: Required value"]),
        (pool("name", json!("")), &["spec.pool.name: Required value"]),
        (
            pool("resourceSliceCount", json!(0)),
            &["spec.pool.resourceSliceCount: Invalid value: 0: must be greater than zero"],
        ),
        (
            pool("generation", json!(-1)),
            &["spec.pool.generation: Invalid value: -1: must be greater than or equal to zero"],
        ),
        (slice(json!({"sharedCounters": [set]})), &[]),
        (
            slice(json!({"sharedCounters": [set], "devices": []})),
            &["spec: Invalid value: \"\": only one of `sharedCounters` or `devices` is allowed"],
        ),
        (
            slice(json!({"sharedCounters": vec![&set; 9]})),
            &["spec.sharedCounters: Too many: 9: must have at most 8 items"],
        ),
        (slice(json!({"sharedCounters": [set, set]})), &[r#"spec.sharedCounters[1]: Duplicate value: "memory""#]),
        (
            slice(json!({"sharedCounters": [{"name": "", "counters": {}}]})),
            &["spec.sharedCounters[0].name: Required value", "spec.sharedCounters[0].counters: Required value"],
        ),
        (
            slice(json!({"sharedCounters": [{"name": "A", "counters": {"B": {"value": "1"}}}]})),
            &[
                "spec.sharedCounters[0].name: Invalid value: \"A\"",
                "spec.sharedCounters[0].counters[B]: Invalid value: \"B\"",
            ],
        ),
        (
            slice(json!({"sharedCounters": [{"name": "a", "counters": counters(33)}]})),
            &["spec.sharedCounters[0].counters: Too many: 33: must have at most 32 items"],
        ),
    ]);
}

#[test]
fn nodes_are_named_in_one_way() {
    let term = json!({"matchExpressions": [{"key": "a", "operator": "Exists"}]});
    let selector = |terms: Vec<&Value>| slice(json!({"nodeName": null, "nodeSelector": {"nodeSelectorTerms": terms}}));
    assert_found(vec![
        (slice(json!({"nodeName": null, "allNodes": true})), &[]),
        (slice(json!({"nodeName": null, "perDeviceNodeSelection": true})), &[]),
        (selector(vec![&term]), &[]),
        (selector(vec![&term, &term]), &["spec.nodeSelector.nodeSelectorTerms: Invalid value: [{"]),
        (
            selector(vec![]),
            &[
                "spec.nodeSelector.nodeSelectorTerms: Required value: must have at least one",
                "spec.nodeSelector.nodeSelectorTerms: Invalid value: []: must have exactly one node selector term",
            ],
        ),
        (slice(json!({"nodeName": "A"})), &["spec.nodeName: Invalid value: \"A\": a lowercase RFC 1123 subdomain"]),
        (
            slice(json!({"nodeName": null})),
            &[
                "spec: Required value: exactly one of `nodeName`, `nodeSelector`, `allNodes`, `perDeviceNodeSelection` is required",
            ],
        ),
        (
            slice(json!({"nodeName": ""})),
            &[
                "spec.nodeName: Invalid value: \"\": must be either unset or set to a non-empty string",
                "spec: Required value",
            ],
        ),
        (
            slice(json!({"allNodes": true})),
            &[
                "spec: Invalid value: \"{`nodeName`, `allNodes`}\": exactly one of `nodeName`, `nodeSelector`, `allNodes`, `perDeviceNodeSelection` is required, but multiple fields are set",
            ],
        ),
        (
            slice(json!({"allNodes": false})),
            &["spec.allNodes: Invalid value: false: must be either unset or set to true"],
        ),
        (
            slice(json!({"perDeviceNodeSelection": false})),
            &["spec.perDeviceNodeSelection: Invalid value: false: must be either unset or set to true"],
        ),
    ]);
    let each =
        |fields: Value| slice(json!({"nodeName": null, "perDeviceNodeSelection": true, "devices": [device(fields)]}));
    assert_found(vec![
        (each(json!({"nodeName": "n1"})), &[]),
        (each(json!({"allNodes": true})), &[]),
        (each(json!({"nodeSelector": {"nodeSelectorTerms": [term, term]}})), &[]),
        (
            each(json!({})),
            &[
                "spec.devices[0]: Required value: exactly one of `nodeName`, `nodeSelector`, or `allNodes` is required when",
            ],
        ),
        (
            each(json!({"nodeName": "", "allNodes": true})),
            &["spec.devices[0].nodeName: Invalid value: \"\": must not be empty"],
        ),
        (
            each(json!({"nodeName": "n1", "allNodes": false})),
            &["spec.devices[0].allNodes: Invalid value: false: must be either unset"],
        ),
        (
            each(json!({"nodeName": "n1", "allNodes": true})),
            &["spec.devices[0]: Invalid value: \"{`nodeName`, `allNodes`}\": exactly one of"],
        ),
        (
            slice(json!({"devices": [device(json!({"nodeName": "n1"}))]})),
            &[
                "spec.devices[0]: Invalid value: null: `nodeName`, `nodeSelector` and `allNodes` can only be set if `perDeviceNodeSelection`",
            ],
        ),
    ]);
}

#[test]
fn what_devices_are() {
    let with = |fields: Value| slice(json!({"devices": [device(fields)]}));
    let attribute = |value: Value| with(json!({"attributes": {"a": value}}));
    let many =
        |count: usize| Value::Object((0..count).map(|i| (format!("a{i}"), json!({"int": 1}))).collect::<Map<_, _>>());
    assert_found(vec![
        (with(json!({"name": "a.b"})), &["spec.devices[0].name: Invalid value: \"a.b\": a lowercase RFC 1123 label"]),
        (with(json!({"attributes": {"a": {"int": 1}, "d.example.com/b": {"string": "x"}}})), &[]),
        (with(json!({"attributes": many(31), "capacity": {"c": {"value": "1"}}})), &[]),
        (
            with(json!({"attributes": many(32), "capacity": {"c": {"value": "1"}}})),
            &["spec.devices[0]: Invalid value: 33: the total number of attributes and capacities must not exceed 32"],
        ),
        (
            with(json!({"attributes": {"a-b": {"int": 1}}})),
            &["spec.devices[0].attributes[a-b]: Invalid value: \"a-b\": a valid C identifier"],
        ),
        (
            attribute(json!({})),
            &["spec.devices[0].attributes[a]: Invalid value: \"\": exactly one value must be specified"],
        ),
        (attribute(json!({"int": 1, "bool": true})), &["spec.devices[0].attributes[a]: Invalid value: {"]),
        (
            attribute(json!({"string": "x".repeat(65)})),
            &["spec.devices[0].attributes[a].string: Too long: may not be more than 64 bytes"],
        ),
        (
            attribute(json!({"version": "1.2"})),
            &[
                "spec.devices[0].attributes[a].version: Invalid value: \"1.2\": must be a string compatible with semver.org spec 2.0.0",
            ],
        ),
        (
            attribute(json!({"version": format!("1.2.3-{}", "x".repeat(60))})),
            &["spec.devices[0].attributes[a].version: Too long: may not be more than 64 bytes"],
        ),
        (
            with(json!({"taints": vec![json!({"key": "a", "effect": "None"}); 17]})),
            &["spec.devices[0].taints: Too many: 17: must have at most 16 items"],
        ),
        (
            with(json!({"taints": [{"key": "a", "effect": "No"}]})),
            &["spec.devices[0].taints[0].effect: Unsupported value: \"No\""],
        ),
        (
            with(
                json!({"consumesCounters": [{"counterSet": "", "counters": counters(1)}, {"counterSet": "a", "counters": {}}]}),
            ),
            &[
                "spec.devices[0].consumesCounters[0].counterSet: Required value",
                "spec.devices[0].consumesCounters[1].counters: Required value",
            ],
        ),
        (
            with(
                json!({"consumesCounters": [{"counterSet": "a", "counters": counters(32)}, {"counterSet": "a", "counters": counters(33)}]}),
            ),
            &[
                "spec.devices[0].consumesCounters[1].counters: Too many: 33",
                "spec.devices[0].consumesCounters[1]: Duplicate value: \"a\"",
            ],
        ),
        (
            with(json!({"consumesCounters": vec![json!({"counterSet": "a", "counters": counters(1)}); 3]})),
            &["spec.devices[0].consumesCounters: Too many: 3: must have at most 2 items"],
        ),
        (with(json!({"bindingConditions": ["a"]})), &["spec.devices[0].bindingFailureConditions: Invalid value: []"]),
    ]);
}

#[test]
fn how_much_may_be_asked_for() {
    let at = |field: &str, text: &str| format!("spec.devices[0].capacity[c].requestPolicy{field}: {text}");
    let cases = [
        (json!({"default": "1", "validValues": ["1", "2", "8Gi"]}), vec![]),
        (json!({"default": "2", "validRange": {"min": "1", "max": "9", "step": "1"}}), vec![]),
        (json!({"default": "1"}), vec![]),
        (
            json!({"default": "1", "validValues": ["1"], "validRange": {"min": "1"}}),
            vec![at(
                "",
                "Forbidden: exactly one policy can be specified, cannot specify \"validValues\" and \"validRange\" at the same time",
            )],
        ),
        (json!({"validValues": ["1"]}), vec![at(".default", "Required value: required when validValues is defined")]),
        (
            json!({"validRange": {"min": "1"}}),
            vec![at(".default", "Required value: required when validRange is defined")],
        ),
        (
            json!({"default": "3", "validValues": ["1"]}),
            vec![at(".validValues", "Invalid value: \"3\": default value is not valid according to the requestPolicy")],
        ),
        (
            json!({"default": "1", "validValues": ["2", "1"]}),
            vec![at(".validValues[1]", "Invalid value: \"1\": values must be sorted in ascending order")],
        ),
        (json!({"default": "1", "validValues": ["1", "1000m"]}), vec![at(".validValues[1]", "Duplicate value: \"1\"")]),
        (
            json!({"default": "1", "validValues": ["1", "9Gi"]}),
            vec![at(".validValues[1]", "Invalid value: \"9Gi\": option is larger than capacity value: 8Gi")],
        ),
        (
            json!({"default": "1", "validValues": vec!["1"; 11]}),
            vec![
                at(".validValues", "Too many: 11: must have at most 10 items"),
                at(".validValues", "Invalid value: \"1\": default value"),
            ],
        ),
        (
            json!({"default": "x", "validValues": ["1"]}),
            vec![at(".default", "Invalid value: \"x\": quantities must match")],
        ),
        (
            json!({"default": "1", "validRange": {}}),
            vec![at(".validRange.min", "Required value: required when validRange is defined")],
        ),
        (
            json!({"default": "9Gi", "validRange": {"min": "9Gi"}}),
            vec![at(".validRange.min", "Invalid value: \"9Gi\": min is larger than capacity value: 8Gi")],
        ),
        (
            json!({"default": "1", "validRange": {"min": "2"}}),
            vec![at(".validRange.min", "Invalid value: \"1\": default is less than min: 2")],
        ),
        (
            json!({"default": "3", "validRange": {"min": "3", "max": "2"}}),
            vec![
                at(".validRange.max", "Invalid value: \"3\": min is larger than max: 2"),
                at(".validRange.max", "Invalid value: \"3\": default is more than max: 2"),
            ],
        ),
        (
            json!({"default": "1", "validRange": {"min": "1", "max": "9Gi"}}),
            vec![at(".validRange.max", "Invalid value: \"9Gi\": max is larger than capacity value: 8Gi")],
        ),
        (
            json!({"default": "4", "validRange": {"min": "1", "max": "6", "step": "2"}}),
            vec![
                at(".validRange.step", "Invalid value: \"4\": value is not a multiple of a given step (2) from (1)"),
                at(".validRange.step", "Invalid value: \"6\": value is not a multiple of a given step (2) from (1)"),
            ],
        ),
        (
            json!({"default": "1", "validRange": {"min": "1", "step": "8Gi"}}),
            vec![at(
                ".validRange.step",
                "Invalid value: \"8Gi\": one step 8589934593 is larger than capacity value: 8Gi",
            )],
        ),
        (json!({"default": "1", "validRange": {"min": "1", "step": "0"}}), vec![]),
        (
            json!({"default": "2", "validRange": {"min": "1", "step": "0"}}),
            vec![at(".validRange.step", "Invalid value: \"2\": value is not a multiple of a given step (0) from (1)")],
        ),
    ];
    let with = |policy: &Value, shared: bool| {
        let capacity = json!({"c": {"value": "8Gi", "requestPolicy": policy}});
        slice(json!({"devices": [device(json!({"capacity": capacity, "allowMultipleAllocations": shared}))]}))
    };
    for (policy, expected) in &cases {
        let found = found::<ResourceSlice>(&with(policy, true).to_string());
        assert_eq!(found.len(), expected.len(), "{policy}: {found:?}");
        assert!(found.iter().zip(expected).all(|(text, start)| text.starts_with(start)), "{policy}: {found:?}");
    }
    assert_eq!(
        found::<ResourceSlice>(&with(&json!({}), false).to_string()),
        [at("", "Forbidden: allowMultipleAllocations must be true")]
    );
}

#[test]
fn who_has_the_devices_stays() {
    let old = slice(json!({"devices": []})).to_string();
    for (new, expected) in [
        (slice(json!({"devices": [device(json!({}))]})), ""),
        (slice(json!({"driver": "other"})), r#"spec.driver: Invalid value: "other": field is immutable"#),
        (slice(json!({"nodeName": "n2"})), r#"spec.nodeName: Invalid value: "n2": field is immutable"#),
        (
            slice(json!({"pool": {"name": "n2", "generation": 1, "resourceSliceCount": 2}})),
            r#"spec.pool.name: Invalid value: "n2": field is immutable"#,
        ),
    ] {
        assert_eq!(found_on_update::<ResourceSlice>(&old, &new.to_string()).join("\n"), expected);
    }
}

#[test]
fn a_taint_has_a_time_and_gates_are_closed() {
    let bare = json!({
        "taints": [{"key": "a", "effect": "None", "timeAdded": "2026-01-01T00:00:00Z"}],
        "attributes": {"a": {}},
        "consumesCounters": [{"counterSet": "a", "counters": {}}],
    });
    let mut gated = device(bare.clone());
    gated["attributes"]["a"] = json!({"ints": [1], "bools": [true], "strings": ["x"], "versions": ["1.2.3"]});
    gated["consumesCounters"][0]["compatibilityGroups"] = json!(["x"]);
    gated["nodeAllocatableResources"] = json!({"cpu": {}});
    let mut new: ResourceSlice = defaulted(
        &slice(json!({"devices": [gated], "partitionTypeAttribute": "a/b", "skipNodeOperations": ["*"]})).to_string(),
    );
    prepare(Strategy::Create, &mut new);
    assert_eq!(new, defaulted(&slice(json!({"devices": [device(bare)]})).to_string()));
    let tainted: ResourceSlice =
        created(&slice(json!({"devices": [device(json!({"taints": [{"key": "a", "effect": "None"}]}))]})).to_string());
    let time = tainted.spec.devices.and_then(|mut devices| devices.remove(0).taints?.remove(0).time_added);
    assert_eq!(time, Some(now()));
}

#[test]
fn columns() {
    assert_eq!(row::<ResourceSlice>(&slice(json!({})).to_string(), 0), "s|n1|d.example.com|n1|<unknown>");
    assert_eq!(row::<ResourceSlice>(&slice(json!({"nodeName": null})).to_string(), 0), "s||d.example.com|n1|<unknown>");
}

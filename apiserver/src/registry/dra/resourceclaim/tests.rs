//! Claims: what stays, what a status may say.

use serde_json::{Value, json};

use super::*;
use crate::registry::Strategy;
use crate::registry::check::testing::{defaulted, found, found_on_update, prepare, row, texts};

fn claim(status: Value) -> ResourceClaim {
    defaulted(&json!({"metadata": {"name": "c"}, "spec": spec(), "status": status}).to_string())
}
fn spec() -> Value {
    json!({"devices": {"requests": [{"name": "a", "exactly": {"deviceClassName": "gpu"}}]}})
}
fn result(device: &str) -> Value {
    json!({"request": "a", "driver": "d", "pool": "p", "device": device})
}
fn allocation(devices: &[&str]) -> Value {
    json!({"devices": {"results": devices.iter().map(|device| result(device)).collect::<Vec<_>>()}})
}
fn consumer(uid: &str) -> Value {
    json!({"resource": "pods", "name": "web", "uid": uid})
}
fn device(name: &str) -> Value {
    json!({"driver": "d", "pool": "p", "device": name})
}
fn found_in_status(new: Value, old: Value) -> Vec<String> {
    let mut problems = Problems::default();
    claim(new).validate_status(&claim(old), &mut problems);
    texts(&problems)
}

#[test]
fn the_spec_stays() {
    let old = json!({ "spec": spec() }).to_string();
    assert!(found::<ResourceClaim>(&old).is_empty());
    assert!(found_on_update::<ResourceClaim>(&old, &old).is_empty());
    let new = old.replace("gpu", "cpu");
    assert_eq!(found_on_update::<ResourceClaim>(&old, &new), ["spec: Invalid value: null: field is immutable"]);
}

#[test]
fn what_is_told_of_a_device_goes_with_it() {
    let old = claim(json!({"allocation": allocation(&["x", "y"]), "devices": [device("x"), device("y")]}));
    let written = |status: Value| {
        let mut new = claim(status);
        prepare(Strategy::Status(&old), &mut new);
        new.status
            .and_then(|status| status.devices)
            .unwrap_or_default()
            .into_iter()
            .map(|d| d.device)
            .collect::<Vec<_>>()
    };
    let devices = json!([device("x"), device("y"), device("z")]);
    assert_eq!(written(json!({"allocation": allocation(&["x", "y"]), "devices": devices})), ["x", "y", "z"]);
    assert_eq!(written(json!({"allocation": allocation(&["x"]), "devices": devices})), ["x", "z"]);
    assert_eq!(written(json!({ "devices": devices })), ["z"]);
}

#[test]
fn operations_that_are_skipped_are_behind_a_gate() {
    let mut one = result("x");
    one["skipNodeOperations"] = json!(["*"]);
    let mut new = claim(json!({"allocation": {"devices": {"results": [one]}}}));
    prepare(Strategy::Status(&claim(json!({}))), &mut new);
    assert_eq!(new.status, claim(json!({"allocation": allocation(&["x"])})).status);
}

#[test]
fn reservations() {
    let allocated = |reserved: Value| json!({"allocation": allocation(&["x"]), "reservedFor": reserved});
    let many: Vec<Value> = (0..257).map(|i| consumer(&i.to_string())).collect();
    for (why, new, expected) in [
        ("good", allocated(json!([consumer("1"), consumer("2")])), ""),
        ("too many", allocated(json!(many)), "status.reservedFor: Too many: 257: must have at most 256 items"),
        (
            "one twice",
            allocated(json!([consumer("1"), consumer("1")])),
            r#"status.reservedFor[1]: Duplicate value: "1""#,
        ),
        (
            "nobody",
            allocated(json!([{"resource": "pods", "name": "", "uid": "1"}])),
            "status.reservedFor[0].name: Required value",
        ),
        (
            "nothing to reserve",
            json!({"reservedFor": [consumer("1")]}),
            "status.reservedFor: Forbidden: may not be specified when `allocated` is not set",
        ),
    ] {
        assert_eq!(found_in_status(new, json!({"allocation": allocation(&["x"])})).join("\n"), expected, "{why}");
    }
    let deleting = |reserved: Value| {
        let mut claim = claim(allocated(reserved));
        claim.metadata.deletion_timestamp = Some(crate::registry::clock::now());
        claim
    };
    for (new, good) in
        [(json!([consumer("1")]), true), (json!([]), true), (json!([consumer("1"), consumer("3")]), false)]
    {
        let mut problems = Problems::default();
        deleting(new).validate_status(&deleting(json!([consumer("1"), consumer("2")])), &mut problems);
        assert_eq!(problems.is_empty(), good, "{problems:?}");
    }
}

#[test]
fn an_allocation_is_of_the_claims_requests_and_stays() {
    let with = |field: &str, value: Value| {
        let mut one = result("x");
        one[field] = value;
        found_in_status(json!({"allocation": {"devices": {"results": [one]}}}), json!({}))
    };
    assert!(with("shareID", json!("0123abcd-0000-0000-0000-0123456789ab")).is_empty());
    for (field, value, expected) in [
        (
            "request",
            json!("b"),
            "status.allocation.devices.results[0].request: Invalid value: \"b\": must be the name of a request",
        ),
        ("driver", json!(""), "status.allocation.devices.results[0].driver: Required value"),
        ("pool", json!("A"), "status.allocation.devices.results[0].pool: Invalid value: \"A\": segment 0"),
        (
            "device",
            json!("a.b"),
            "status.allocation.devices.results[0].device: Invalid value: \"a.b\": a lowercase RFC 1123 label",
        ),
        (
            "shareID",
            json!("x"),
            "status.allocation.devices.results[0].shareID: Invalid value: \"x\": must be a lowercase UUID",
        ),
        (
            "bindingConditions",
            json!(["a"]),
            "status.allocation.devices.results[0].bindingFailureConditions: Invalid value: []: bindingFailureConditions are required",
        ),
        (
            "bindingFailureConditions",
            json!(["a"]),
            "status.allocation.devices.results[0].bindingConditions: Invalid value: []: bindingConditions are required",
        ),
        (
            "tolerations",
            json!([{"operator": "In"}]),
            "status.allocation.devices.results[0].tolerations[0].operator: Unsupported value",
        ),
    ] {
        let found = with(field, value);
        assert!(matches!(&found[..], [one] if one.starts_with(expected)), "{field}: {found:?}");
    }
    let many: Vec<String> = (0..33).map(|i| format!("x{i}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    for (new, expected) in [
        (allocation(&many), "status.allocation.devices.results: Too many: 33: must have at most 32 items"),
        (
            json!({"nodeSelector": {"nodeSelectorTerms": []}}),
            "status.allocation.nodeSelector.nodeSelectorTerms: Required value: must have at least one node selector term",
        ),
        (
            json!({"devices": {"config": [{"source": "", "opaque": {"driver": "d", "parameters": {}}}]}}),
            "status.allocation.devices.config[0].source: Required value",
        ),
        (
            json!({"devices": {"config": [{"source": "FromX", "opaque": {"driver": "d", "parameters": {}}}]}}),
            r#"status.allocation.devices.config[0].source: Unsupported value: "FromX": supported values: "FromClaim", "FromClass""#,
        ),
    ] {
        assert_eq!(found_in_status(json!({ "allocation": new }), json!({})).join("\n"), expected);
    }
    let (one, other) = (json!({"allocation": allocation(&["x"])}), json!({"allocation": allocation(&["y"])}));
    assert!(found_in_status(one.clone(), one.clone()).is_empty());
    assert!(found_in_status(json!({}), one.clone()).is_empty(), "it may be given back");
    assert_eq!(
        found_in_status(other, one),
        ["status.allocation: Invalid value: null: field cannot be modified once set"]
    );
}

#[test]
fn devices_are_told_of_if_they_are_allocated() {
    let with = |field: &str, value: Value| {
        let mut one = device("x");
        one[field] = value;
        found_in_status(
            json!({"allocation": allocation(&["x"]), "devices": [one]}),
            json!({"allocation": allocation(&["x"])}),
        )
    };
    let ips = |ips: Value| json!({ "ips": ips });
    let conditions: Vec<Value> = (0..9)
        .map(|i| json!({"type": format!("C{i}"), "status": "True", "reason": "R", "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z"}))
        .collect();
    assert!(with("networkData", ips(json!(["10.0.0.1/24", "fd00::1/64"]))).is_empty());
    assert!(with("data", json!({"a": 1})).is_empty());
    for (field, value, expected) in [
        (
            "device",
            json!("y"),
            r#"status.devices[0]: Invalid value: "d/p/y": must be an allocated device in the claim"#,
        ),
        ("conditions", json!(conditions), "status.devices[0].conditions: Too many: 9: must have at most 8 items"),
        ("data", json!([]), "status.devices[0].data: Invalid value: \"<value omitted>\": must be a valid JSON object"),
        (
            "data",
            json!({"a": "x".repeat(10_240)}),
            "status.devices[0].data: Too long: may not be more than 10240 bytes",
        ),
        (
            "networkData",
            ips(json!(["10.0.0.1"])),
            "status.devices[0].networkData.ips[0]: Invalid value: \"10.0.0.1\": must be a valid address in CIDR form",
        ),
        (
            "networkData",
            ips(json!(["10.0.0.1/33"])),
            "status.devices[0].networkData.ips[0]: Invalid value: \"10.0.0.1/33\": must be a valid address",
        ),
        (
            "networkData",
            ips(json!(["FD00::1/64"])),
            "status.devices[0].networkData.ips[0]: Invalid value: \"FD00::1/64\": must be in canonical form (\"fd00::1/64\")",
        ),
        (
            "networkData",
            ips(json!(["10.0.0.1/24", "10.0.0.1/24"])),
            "status.devices[0].networkData.ips[1]: Duplicate value: \"10.0.0.1/24\"",
        ),
        (
            "networkData",
            ips(json!(vec!["10.0.0.1/24"; 17])),
            "status.devices[0].networkData.ips: Too many: 17: must have at most 16 items",
        ),
        (
            "networkData",
            json!({"interfaceName": "i".repeat(257)}),
            "status.devices[0].networkData.interfaceName: Too long: may not be more than 256 bytes",
        ),
        (
            "networkData",
            json!({"hardwareAddress": "0".repeat(129)}),
            "status.devices[0].networkData.hardwareAddress: Too long: may not be more than 128 bytes",
        ),
    ] {
        let found = with(field, value);
        assert!(matches!(&found[..], [one] if one.starts_with(expected)), "{field}: {found:?}");
    }
    let twice = json!({"allocation": allocation(&["x"]), "devices": [device("x"), device("x")]});
    assert_eq!(found_in_status(twice, json!({})), [r#"status.devices[1]: Duplicate value: "d/p/x""#]);
}

#[test]
fn columns() {
    let shown =
        |status: Value, meta: Value| row::<ResourceClaim>(&json!({"metadata": meta, "status": status}).to_string(), 0);
    let named = json!({"name": "c"});
    let deleted = json!({"name": "c", "deletionTimestamp": "2026-01-01T00:00:00Z"});
    let reserved = json!({"allocation": {}, "reservedFor": [consumer("1")]});
    assert_eq!(shown(json!({}), named.clone()), "c|pending|<unknown>");
    assert_eq!(shown(json!({"allocation": {}}), named), "c|allocated|<unknown>");
    assert_eq!(shown(json!({}), deleted.clone()), "c|deleted|<unknown>");
    assert_eq!(shown(reserved, deleted), "c|deleted,allocated,reserved|<unknown>");
}

//! What a claim asks for; a ResourceClaim and the template of one say it alike.

use corten_api::Problems;
use k8s_openapi::api::resource::v1::{DeviceConstraint, ResourceClaimSpec};

use super::lists::bounded;
use super::requests::Names;
use super::{config, names, requests};
use crate::registry::path::Path;

const CONSTRAINTS_MAX: usize = 32;
const NO_ATTRIBUTE: &str =
    r#"exactly one of "matchAttribute" or "distinctAttribute" is required, but multiple fields are set"#;

pub fn fill_defaults(spec: &mut ResourceClaimSpec) {
    requests::fill_defaults(spec.devices.get_or_insert_default().requests.as_mut());
}

/// Drops what is behind feature gates that are off.
pub fn drop_disabled(spec: &mut ResourceClaimSpec) {
    requests::drop_disabled(spec.devices.as_mut().and_then(|devices| devices.requests.as_mut()));
}

pub fn validate(spec: &ResourceClaimSpec, at: &Path<'_>, problems: &mut Problems) {
    let Some(devices) = &spec.devices else { return };
    let at = at.field("devices");
    let names = Names::of(devices);
    requests::validate(devices.requests.as_ref(), &at.field("requests"), problems);
    let list = at.field("constraints");
    for (i, one) in bounded(devices.constraints.as_ref(), CONSTRAINTS_MAX, &list, problems).iter().enumerate() {
        constraint(one, &names, &list.index(i), problems);
    }
    let list = at.field("config");
    for (i, one) in bounded(devices.config.as_ref(), config::CONFIGS_MAX, &list, problems).iter().enumerate() {
        let at = list.index(i);
        names.check_all(one.requests.as_ref(), &at.field("requests"), problems);
        config::validate(one.opaque.as_ref(), &at, problems);
    }
}

fn constraint(one: &DeviceConstraint, names: &Names<'_>, at: &Path<'_>, problems: &mut Problems) {
    names.check_all(one.requests.as_ref(), &at.field("requests"), problems);
    match (&one.match_attribute, &one.distinct_attribute) {
        (Some(attribute), _) => names::fully_qualified(attribute, &at.field("matchAttribute"), problems),
        (None, Some(attribute)) => names::fully_qualified(attribute, &at.field("distinctAttribute"), problems),
        (None, None) => problems.required(at, NO_ATTRIBUTE),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::registry::check::testing::texts;

    fn found(devices: Value) -> Vec<String> {
        let mut spec: ResourceClaimSpec = serde_json::from_value(json!({ "devices": devices })).unwrap();
        fill_defaults(&mut spec);
        let mut problems = Problems::default();
        validate(&spec, &Path::root("spec"), &mut problems);
        texts(&problems)
    }
    fn request(name: &str) -> Value {
        json!({"name": name, "exactly": {"deviceClassName": "gpu"}})
    }

    #[test]
    fn a_request_is_for_one_device_unless_it_says_otherwise() {
        let mut spec: ResourceClaimSpec = serde_json::from_value(json!({"devices": {"requests": [
            request("a"),
            {"name": "b", "firstAvailable": [{"name": "x", "deviceClassName": "gpu", "allocationMode": "All"}]},
        ]}}))
        .unwrap();
        fill_defaults(&mut spec);
        let devices = serde_json::to_value(&spec).unwrap();
        assert_eq!(
            devices["devices"]["requests"],
            json!([
                {"name": "a", "exactly": {"deviceClassName": "gpu", "allocationMode": "ExactCount", "count": 1}},
                {"name": "b", "firstAvailable": [{"name": "x", "deviceClassName": "gpu", "allocationMode": "All"}]},
            ])
        );
    }

    #[test]
    fn derived_attributes_are_dropped() {
        let derived = json!([{"name": "a/b", "expression": "1"}]);
        let mut spec: ResourceClaimSpec = serde_json::from_value(json!({"devices": {"requests": [
            {"name": "a", "exactly": {"deviceClassName": "gpu", "derivedAttributes": derived}},
            {"name": "b", "firstAvailable": [{"name": "x", "deviceClassName": "gpu", "derivedAttributes": derived}]},
        ]}}))
        .unwrap();
        drop_disabled(&mut spec);
        assert!(!serde_json::to_string(&spec).unwrap().contains("derivedAttributes"));
    }

    #[test]
    fn requests_are_looked_at_in_all_their_parts() {
        let exactly = |field: &str, value: Value| {
            let mut request = request("a");
            request["exactly"][field] = value;
            json!({ "requests": [request] })
        };
        let cel = |expression: &str| json!([{"cel": {"expression": expression}}]);
        let sub = json!({"name": "x", "deviceClassName": "gpu"});
        let both = json!({"name": "a", "exactly": {"deviceClassName": "gpu"}, "firstAvailable": [sub]});
        let names: Vec<Value> = (0..33).map(|i| request(&format!("a{i}"))).collect();
        let many_subs: Vec<Value> =
            (0..9).map(|i| json!({"name": format!("x{i}"), "deviceClassName": "gpu"})).collect();
        for (devices, expected) in [
            (json!({}), &[][..]),
            (exactly("selectors", cel("true")), &[]),
            (json!({"requests": [{"name": "a", "firstAvailable": [sub]}]}), &[]),
            (json!({ "requests": names }), &["spec.devices.requests: Too many: 33: must have at most 32 items"]),
            (json!({"requests": [request("a"), request("a")]}), &[r#"spec.devices.requests[1]: Duplicate value: "a""#]),
            (
                json!({"requests": [request("A")]}),
                &["spec.devices.requests[0].name: Invalid value: \"A\": a lowercase RFC 1123 label"],
            ),
            (
                json!({"requests": [{"name": "a"}]}),
                &["spec.devices.requests[0]: Required value: exactly one of `exactly` or `firstAvailable` is required"],
            ),
            (
                json!({ "requests": [both] }),
                &[
                    "spec.devices.requests[0]: Invalid value: null: exactly one of `exactly` or `firstAvailable` is required, but multiple fields are set",
                ],
            ),
            (
                json!({"requests": [{"name": "a", "firstAvailable": many_subs}]}),
                &["spec.devices.requests[0].firstAvailable: Too many: 9: must have at most 8 items"],
            ),
            (
                json!({"requests": [{"name": "a", "firstAvailable": [sub, sub]}]}),
                &[r#"spec.devices.requests[0].firstAvailable[1]: Duplicate value: "x""#],
            ),
            (
                exactly("deviceClassName", json!("")),
                &["spec.devices.requests[0].exactly.deviceClassName: Required value"],
            ),
            (
                exactly("deviceClassName", json!("G")),
                &[
                    "spec.devices.requests[0].exactly.deviceClassName: Invalid value: \"G\": a lowercase RFC 1123 subdomain",
                ],
            ),
            (
                exactly("count", json!(-1)),
                &["spec.devices.requests[0].exactly.count: Invalid value: -1: must be greater than zero"],
            ),
            (
                exactly("allocationMode", json!("Some")),
                &[
                    r#"spec.devices.requests[0].exactly.allocationMode: Unsupported value: "Some": supported values: "All", "ExactCount""#,
                ],
            ),
            (
                json!({"requests": [{"name": "a", "exactly": {"deviceClassName": "gpu", "allocationMode": "All", "count": 2}}]}),
                &[
                    "spec.devices.requests[0].exactly.count: Invalid value: 2: must not be specified when allocationMode is 'All'",
                ],
            ),
            (exactly("selectors", json!([{}])), &["spec.devices.requests[0].exactly.selectors[0].cel: Required value"]),
            (
                exactly("selectors", cel(&"x".repeat(10_241))),
                &[
                    "spec.devices.requests[0].exactly.selectors[0].cel.expression: Too long: may not be more than 10240 bytes",
                ],
            ),
            (
                exactly("selectors", json!(vec![json!({"cel": {"expression": "true"}}); 33])),
                &["spec.devices.requests[0].exactly.selectors: Too many: 33: must have at most 32 items"],
            ),
            (
                exactly("tolerations", json!([{"operator": "In"}])),
                &["spec.devices.requests[0].exactly.tolerations[0].operator: Unsupported value: \"In\""],
            ),
        ] {
            let found = found(devices.clone());
            assert_eq!(found.len(), expected.len(), "{devices}: {found:?}");
            assert!(found.iter().zip(expected).all(|(text, start)| text.starts_with(start)), "{devices}: {found:?}");
        }
    }

    #[test]
    fn constraints_and_configurations_are_about_requests_that_there_are() {
        let requests =
            json!([request("a"), {"name": "b", "firstAvailable": [{"name": "x", "deviceClassName": "gpu"}]}]);
        let constraint = |one: Value| found(json!({"requests": requests, "constraints": [one]}));
        let about = |name: &str| constraint(json!({"requests": [name], "matchAttribute": "a.b/c"}));
        for name in ["a", "b", "b/x"] {
            assert!(about(name).is_empty(), "{name}");
        }
        for (name, count) in [("c", 1), ("a/x", 1), ("b/y", 1), ("b/x/y", 1), ("B", 2)] {
            let found = about(name);
            assert_eq!(found.len(), count, "{name}: {found:?}");
            assert!(found.last().unwrap().contains("must be the name of a request in the claim"), "{name}: {found:?}");
        }
        assert_eq!(
            constraint(json!({"requests": ["a", "a"], "matchAttribute": "a.b/c"})),
            [r#"spec.devices.constraints[0].requests[1]: Duplicate value: "a""#]
        );
        assert_eq!(constraint(json!({})), [format!("spec.devices.constraints[0]: Required value: {NO_ATTRIBUTE}")]);
        assert!(constraint(json!({"distinctAttribute": "a.b/c"})).is_empty());
        assert!(constraint(json!({"matchAttribute": "c"}))[0].contains("must be a domain and a name"));

        let config = |one: Value| found(json!({"requests": requests, "config": [one]}));
        let opaque = |driver: &str, parameters: Value| json!({"opaque": {"driver": driver, "parameters": parameters}});
        for (one, expected) in [
            (opaque("dra.example.com", json!({"kind": "X"})), ""),
            (
                json!({"requests": ["c"], "opaque": {"driver": "d", "parameters": {}}}),
                "spec.devices.config[0].requests[0]: Invalid value: \"c\"",
            ),
            (json!({}), "spec.devices.config[0].opaque: Required value"),
            (opaque("", json!({})), "spec.devices.config[0].opaque.driver: Required value"),
            (opaque("d", Value::Null), "spec.devices.config[0].opaque.parameters: Required value"),
            (
                opaque("d", json!([])),
                r#"spec.devices.config[0].opaque.parameters: Invalid value: "<value omitted>": must be a valid JSON object"#,
            ),
            (
                opaque("d", json!({"a": "x".repeat(10_240)})),
                "spec.devices.config[0].opaque.parameters: Too long: may not be more than 10240 bytes",
            ),
        ] {
            let found = config(one.clone()).join("\n");
            assert!(found.starts_with(expected) && found.is_empty() == expected.is_empty(), "{one}: {found}");
        }
    }
}

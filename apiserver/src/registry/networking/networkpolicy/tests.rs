//! NetworkPolicies: defaults, validation, columns.

use corten_api::names;
use serde_json::{Value, json};

use super::*;
use crate::registry::check::testing::{defaulted, found, row};

fn of_spec(spec: Value) -> Vec<String> {
    found::<NetworkPolicy>(&json!({ "spec": spec }).to_string())
}
fn of_port(port: Value) -> Vec<String> {
    of_spec(json!({"ingress": [{"ports": [port]}]}))
}
fn of_peer(peer: Value) -> Vec<String> {
    of_spec(json!({"egress": [{"to": [peer]}]}))
}

#[test]
fn defaults() {
    let spec = |spec: Value| {
        let policy: NetworkPolicy = defaulted(&json!({ "spec": spec }).to_string());
        serde_json::to_value(policy.spec).unwrap()
    };
    assert_eq!(spec(Value::Null), json!({"podSelector": {}, "policyTypes": ["Ingress"]}));
    assert_eq!(spec(json!({"egress": [], "policyTypes": []}))["policyTypes"], json!(["Ingress"]));
    let both = spec(json!({"egress": [{"ports": [{"port": 53}]}], "ingress": [{"ports": [{"protocol": "UDP"}, {}]}]}));
    assert_eq!(both["policyTypes"], json!(["Ingress", "Egress"]));
    assert_eq!(both["egress"][0]["ports"], json!([{"port": 53, "protocol": "TCP"}]));
    assert_eq!(both["ingress"][0]["ports"], json!([{"protocol": "UDP"}, {"protocol": "TCP"}]));
    assert_eq!(spec(json!({"egress": [{}], "policyTypes": ["Egress"]}))["policyTypes"], json!(["Egress"]));
}

#[test]
fn good_policies() {
    for spec in [
        json!({}),
        json!({"podSelector": {"matchLabels": {"a": "b"}}, "policyTypes": ["Egress", "Ingress"]}),
        json!({"ingress": [{}, {"from": [{"podSelector": {}, "namespaceSelector": {"matchLabels": {"a": "b"}}}]}]}),
        json!({"ingress": [{"ports": [{"port": 80, "endPort": 80}, {"port": "web"}, {"protocol": "SCTP"}]}]}),
        json!({"egress": [{"to": [{"ipBlock": {"cidr": "10.0.0.0/8", "except": ["10.1.0.0/16", "10.0.0.0/9"]}}]}]}),
        json!({"egress": [{"to": [{"ipBlock": {"cidr": "2001:db8::/64", "except": ["2001:db8::/65"]}}]}]}),
    ] {
        assert_eq!(of_spec(spec.clone()), Vec::<String>::new(), "{spec}");
    }
}

#[test]
fn bad_specs() {
    for (spec, expected) in [
        (
            json!({"policyTypes": ["Ingress", "ingress"]}),
            r#"spec.policyTypes[1]: Unsupported value: "ingress": supported values: "Ingress", "Egress""#.to_owned(),
        ),
        (
            json!({"policyTypes": ["Ingress", "Egress", "x"]}),
            r#"spec.policyTypes: Invalid value: ["Ingress","Egress","x"]: may not specify more than two policyTypes"#
                .into(),
        ),
        (
            json!({"podSelector": {"matchLabels": {"a": "-"}}}),
            format!(r#"spec.podSelector.matchLabels: Invalid value: "-": {}"#, names::LABEL_VALUE_WHY),
        ),
    ] {
        assert_eq!(of_spec(spec.clone()), [expected], "{spec}");
    }
}

#[test]
fn bad_ports() {
    let range = "must be between 1 and 65535, inclusive";
    for (port, expected) in [
        (
            json!({"protocol": "tcp"}),
            vec![r#"protocol: Unsupported value: "tcp": supported values: "TCP", "UDP", "SCTP""#.to_owned()],
        ),
        (json!({"port": 0}), vec![format!("port: Invalid value: 0: {range}")]),
        (json!({"port": "80"}), vec![r#"port: Invalid value: "80": must contain at least one letter (a-z)"#.into()]),
        (
            json!({"port": 80, "endPort": 79}),
            vec!["endPort: Invalid value: 79: must be greater than or equal to `port`".into()],
        ),
        (json!({"port": 80, "endPort": 70_000}), vec![format!("endPort: Invalid value: 70000: {range}")]),
        (
            json!({"port": "web", "endPort": 80}),
            vec!["endPort: Invalid value: 80: may not be specified when `port` is non-numeric".into()],
        ),
        (
            json!({"endPort": 80}),
            vec!["endPort: Invalid value: 80: may not be specified when `port` is not specified".into()],
        ),
    ] {
        let expected: Vec<String> =
            expected.into_iter().map(|text| format!("spec.ingress[0].ports[0].{text}")).collect();
        assert_eq!(of_port(port.clone()), expected, "{port}");
    }
}

#[test]
fn bad_peers() {
    let block = |cidr: &str, except: Value| json!({"ipBlock": {"cidr": cidr, "except": except}});
    let subset = |text: &str| format!(".ipBlock.except[0]: Invalid value: {text:?}: must be a strict subset of `cidr`");
    for (peer, expected) in [
        (json!({}), vec![": Required value: must specify a peer".to_owned()]),
        (
            json!({"podSelector": {}, "ipBlock": {"cidr": "10.0.0.0/8"}}),
            vec![": Forbidden: may not specify both ipBlock and another peer".into()],
        ),
        (
            json!({"namespaceSelector": {"matchExpressions": [{"key": "a", "operator": "is"}]}}),
            vec![
                r#".namespaceSelector.matchExpressions[0].operator: Invalid value: "is": not a valid selector operator"#
                    .into(),
            ],
        ),
        (block("", json!(["x"])), vec![".ipBlock.cidr: Required value".into()]),
        (
            block("10.0.0.0", json!(["x"])),
            vec![r#".ipBlock.cidr: Invalid value: "10.0.0.0": must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)"#.into()],
        ),
        (
            block("10.0.0.1/8", json!(["11.0.0.0/16"])),
            vec![
                r#".ipBlock.cidr: Invalid value: "10.0.0.1/8": must not have bits set beyond the prefix length"#.into(),
                subset("11.0.0.0/16"),
            ],
        ),
        (block("10.0.0.0/8", json!(["10.0.0.0/8"])), vec![subset("10.0.0.0/8")]),
        (block("10.0.0.0/8", json!(["2001:db8::/64"])), vec![subset("2001:db8::/64")]),
        (
            block("10.0.0.0/8", json!(["10.01.0.0/16"])),
            vec![r#".ipBlock.except[0]: Invalid value: "10.01.0.0/16": must not have leading 0s in IP or prefix length"#.into()],
        ),
    ] {
        let expected: Vec<String> = expected.into_iter().map(|text| format!("spec.egress[0].to[0]{text}")).collect();
        assert_eq!(of_peer(peer.clone()), expected, "{peer}");
    }
}

#[test]
fn what_is_wanted_changes_with_the_spec() {
    let policy = |spec: Value| defaulted::<NetworkPolicy>(&json!({ "spec": spec }).to_string());
    assert!(!policy(json!({})).spec_changed(&policy(json!({"policyTypes": ["Ingress"]}))));
    assert!(policy(json!({})).spec_changed(&policy(json!({"policyTypes": ["Egress"]}))));
}

#[test]
fn columns() {
    let json = r#"{"metadata":{"name":"p"},"spec":{"podSelector":{"matchLabels":{"a":"b"}}}}"#;
    assert_eq!(row::<NetworkPolicy>(json, 0), "p|a=b|<unknown>");
    assert_eq!(row::<NetworkPolicy>(r#"{"spec":{"podSelector":{}}}"#, 0), "|<none>|<unknown>");
}

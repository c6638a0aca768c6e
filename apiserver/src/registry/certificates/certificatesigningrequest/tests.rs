//! Requests for certificates: who may write what, and what is refused.

use k8s_openapi::ByteString;
use serde_json::{Value, json};

use super::*;
use crate::registry::certificates::pkcs10::testing::{as_pem, key, request};
use crate::registry::check::testing::{found, now, prepare, row, texts};
use crate::registry::{Strategy, WriteContext};
use crate::request::User;

fn good() -> Value {
    let der = request("jane", &["dev"], &key(&rcgen::PKCS_ECDSA_P256_SHA256));
    let pem = ByteString(as_pem("CERTIFICATE REQUEST", &der).into_bytes());
    json!({"metadata": {"name": "Any Name"}, "spec": {"request": pem, "signerName": "example.com/a", "usages": ["client auth"]}})
}
fn with_status(status: Value) -> CertificateSigningRequest {
    let mut object = good();
    object["status"] = status;
    serde_json::from_value(object).unwrap()
}
fn condition(kind: &str) -> Value {
    json!({"type": kind, "status": "True", "reason": "R", "lastTransitionTime": "2026-01-01T00:00:00Z", "lastUpdateTime": "2026-01-01T00:00:00Z"})
}
/// A certificate, as PEM.
fn signed() -> String {
    let key = key(&rcgen::PKCS_ECDSA_P256_SHA256);
    rcgen::CertificateParams::default().self_signed(&key).unwrap().pem()
}

#[test]
fn a_request_is_looked_at_in_all_its_parts() {
    let with = |field: &str, value: Value| {
        let mut object = good();
        object["spec"][field] = value;
        found::<CertificateSigningRequest>(&object.to_string())
    };
    assert!(with("expirationSeconds", json!(600)).is_empty());
    let not_pem = ByteString(b"x".to_vec());
    for (field, value, expected) in [
        (
            "request",
            json!(not_pem),
            r#"spec.request: Invalid value: "<value omitted>": PEM block type must be CERTIFICATE REQUEST"#,
        ),
        ("usages", json!([]), "spec.usages: Required value"),
        (
            "usages",
            json!(["walk"]),
            r#"spec.usages[0]: Unsupported value: "walk": supported values: "any", "cert sign""#,
        ),
        ("usages", json!(["any", "any"]), r#"spec.usages[1]: Duplicate value: "any""#),
        ("signerName", json!("x"), "spec.signerName: Invalid value: \"x\": must be a fully qualified domain"),
        (
            "signerName",
            json!("kubernetes.io/legacy-unknown"),
            "spec.signerName: Invalid value: \"kubernetes.io/legacy-unknown\": the legacy signerName",
        ),
        (
            "expirationSeconds",
            json!(599),
            "spec.expirationSeconds: Invalid value: 599: may not specify a duration less than 600 seconds (10 minutes)",
        ),
    ] {
        let found = with(field, value);
        assert!(matches!(&found[..], [one] if one.starts_with(expected)), "{field}: {found:?}");
    }
}

#[test]
fn the_server_says_who_asks() {
    let mut new: CertificateSigningRequest = serde_json::from_value(good()).unwrap();
    new.spec.username = Some("root".into());
    new.spec.extra = Some([("a".to_owned(), vec![])].into());
    new.status = with_status(json!({"conditions": [condition("Approved")]})).status;
    let user = &User { name: "jane".into(), groups: vec!["dev".into()], ..User::default() };
    Strategy::Create.prepare(&mut new, &WriteContext { user, now: now() });
    let spec = &new.spec;
    assert_eq!((spec.username.as_deref(), spec.uid.as_deref(), spec.extra.as_ref()), (Some("jane"), None, None));
    assert_eq!((spec.groups.as_deref(), conditions(&new)), (Some(&["dev".to_owned()][..]), &[][..]));
}

#[test]
fn each_write_changes_its_own_part() {
    let old = with_status(json!({"conditions": [condition("Approved")]}));
    let asked = || {
        let mut new = with_status(json!({"certificate": ByteString(b"c".to_vec()), "conditions": [
            {"type": "Approved", "status": "True", "reason": "Other"}, {"type": "Failed", "status": "True"}]}));
        new.spec.signer_name = "example.com/b".into();
        new
    };
    let reasons = |of: &CertificateSigningRequest| {
        conditions(of).iter().map(|c| c.reason.clone().unwrap_or_default()).collect::<Vec<_>>()
    };
    let mut plain = asked();
    prepare(Strategy::Update(&old), &mut plain);
    assert_eq!((&plain.spec, &plain.status), (&old.spec, &old.status));
    let mut status = asked();
    prepare(Strategy::Status(&old), &mut status);
    assert_eq!(
        (status.spec.signer_name.as_str(), reasons(&status)),
        ("example.com/a", vec!["R".into(), String::new()])
    );
    assert!(conditions(&status).iter().all(|c| c.last_update_time.is_some() && c.last_transition_time.is_some()));
    assert_eq!(certificate(&status), b"c");
    let mut approval = asked();
    prepare(Strategy::Approval(&old), &mut approval);
    assert_eq!((approval.spec.signer_name.as_str(), certificate(&approval)), ("example.com/a", &[][..]));
    assert_eq!(reasons(&approval), ["Other", ""]);
    let before = conditions(&old)[0].last_transition_time.clone();
    assert_eq!(conditions(&approval)[0].last_transition_time, before, "it is approved since then");
}

#[test]
fn conditions_are_for_good_and_certificates_too() {
    let pem = |text: &str| json!(ByteString(text.as_bytes().to_vec()));
    let approved = || json!({"conditions": [condition("Approved")]});
    let issued = || json!({"conditions": [condition("Approved")], "certificate": pem(&signed())});
    let cases: Vec<(&str, Value, Value, &[&str])> = vec![
        ("signed", approved(), issued(), &[]),
        ("failed", approved(), json!({"conditions": [condition("Approved"), condition("Failed")]}), &[]),
        ("approval taken back", approved(), json!({}), &["may not remove a condition of type \"Approved\""]),
        ("approved here", json!({}), approved(), &["may not add a condition of type \"Approved\""]),
        ("signed twice", issued(), issued(), &["updates may not modify existing certificate content"]),
        (
            "no certificate",
            approved(),
            json!({"conditions": [condition("Approved")], "certificate": pem("x")}),
            &["must contain at least one CERTIFICATE PEM block"],
        ),
        (
            "a key",
            approved(),
            json!({"conditions": [condition("Approved")], "certificate": pem(&as_pem("PRIVATE KEY", b"x"))}),
            &["only CERTIFICATE PEM blocks are allowed, found \"PRIVATE KEY\""],
        ),
        (
            "one that others may read",
            approved(),
            json!({"conditions": [condition("Approved")], "certificate": pem(&format!("{}-----BEGIN CERTIFICATE-----\n", signed()))}),
            &["a PEM block that does not decode"],
        ),
        (
            "garbage",
            approved(),
            json!({"conditions": [condition("Approved")], "certificate": pem(&as_pem("CERTIFICATE", b"x"))}),
            &["x509: malformed certificate"],
        ),
        (
            "nothing in it",
            approved(),
            json!({"conditions": [condition("Approved")], "certificate": pem(&as_pem("CERTIFICATE", b""))}),
            &["containing 0 certificates"],
        ),
        (
            "headers",
            approved(),
            json!({"conditions": [condition("Approved")], "certificate": pem("-----BEGIN CERTIFICATE-----\nA: b\n\neA==\n-----END CERTIFICATE-----")}),
            &["no PEM block headers are permitted"],
        ),
        (
            "bad conditions",
            json!({}),
            json!({"conditions": [{"type": "", "status": ""}, {"type": "Failed", "status": "False"}]}),
            &[
                "status.conditions[0].type: Required value",
                "status.conditions[0].status: Required value",
                "supported values: \"True\"",
            ],
        ),
        (
            "twice",
            json!({}),
            json!({"conditions": [condition("Failed"), condition("Failed")]}),
            &["status.conditions[1].type: Duplicate value: \"Failed\""],
        ),
    ];
    for (why, old, new, expected) in cases {
        let (old, new) = (with_status(old), with_status(new));
        let mut problems = Problems::default();
        new.validate_status(&old, &mut problems);
        let found = texts(&problems);
        assert_eq!(found.len(), expected.len(), "{why}: {found:?}");
        assert!(found.iter().zip(expected).all(|(text, part)| text.contains(part)), "{why}: {found:?}");
    }
}

#[test]
fn an_approval_changes_its_mind_not() {
    let of = |kinds: &[&str]| {
        with_status(json!({"conditions": kinds.iter().map(|kind| condition(kind)).collect::<Vec<_>>()}))
    };
    for (old, new, expected) in [
        (&[][..], &["Approved"][..], &[][..]),
        (&[], &["Denied"], &[]),
        (
            &["Approved"],
            &["Denied"],
            &[r#"status.conditions: Forbidden: updates may not remove a condition of type "Approved""#],
        ),
        (
            &["Approved"],
            &["Approved", "Denied"],
            &[r#"status.conditions: Invalid value: "Denied": Approved and Denied conditions are mutually exclusive"#],
        ),
    ] {
        let mut problems = Problems::default();
        of(new).validate_approval(&of(old), &mut problems);
        assert_eq!(texts(&problems), expected, "{old:?} → {new:?}");
    }
}

#[test]
fn columns() {
    let mut object = good();
    object["spec"]["username"] = json!("jane");
    assert_eq!(
        row::<CertificateSigningRequest>(&object.to_string(), 0),
        "Any Name|<unknown>|example.com/a|jane|<none>|Pending"
    );
    object["spec"]["expirationSeconds"] = json!(86_400);
    object["status"] = json!({"conditions": [condition("Approved"), condition("Failed")], "certificate": "eA=="});
    assert!(row::<CertificateSigningRequest>(&object.to_string(), 0).ends_with("|jane|24h|Approved,Failed,Issued"));
}

//! Certificates for pods: what may be asked, and what counts as an answer.

use k8s_openapi::ByteString;
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use rcgen::{CertificateParams, KeyPair, date_time_ymd};
use serde_json::{Value, json};
use x509_parser::prelude::{FromDer, SubjectPublicKeyInfo};

use super::*;
use crate::registry::certificates::pkcs10::testing::{as_pem, key, request};
use crate::registry::check::testing::{defaulted, found, found_on_update, row, texts};

/// So many minutes after the first second of 2027-01-15.
fn at(minutes: i64) -> Timestamp {
    "2027-01-15T00:00:00Z".parse::<Timestamp>().unwrap() + SignedDuration::from_mins(minutes)
}
fn good(key: &KeyPair) -> Value {
    json!({"metadata": {"name": "r", "namespace": "n"}, "spec": {"signerName": "example.com/a", "podName": "web", "podUID": "1",
        "serviceAccountName": "default", "serviceAccountUID": "2", "nodeName": "n1", "nodeUID": "3",
        "stubPKCS10Request": ByteString(request("", &[], key))}})
}
fn condition(kind: &str) -> Value {
    json!({"type": kind, "status": "True", "reason": "R", "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z"})
}
fn with_status(key: &KeyPair, status: Value) -> PodCertificateRequest {
    let mut object = good(key);
    object["status"] = status;
    defaulted(&object.to_string())
}

#[test]
fn a_request_is_looked_at_in_all_its_parts() {
    let key = key(&rcgen::PKCS_ECDSA_P256_SHA256);
    let with = |field: &str, value: Value| {
        let mut object = good(&key);
        object["spec"][field] = value;
        found::<PodCertificateRequest>(&object.to_string())
    };
    let mut forged = request("jane", &[], &key);
    let place = forged.windows(4).position(|bytes| bytes == b"jane").unwrap();
    forged[place] = b'J';
    assert!(with("unverifiedUserAnnotations", json!({"Example.com/A": "x"})).is_empty());
    for (field, value, expected) in [
        ("signerName", json!(""), "spec.signerName: Required value"),
        ("podName", json!(""), "spec.podName: Invalid value: \"\": a lowercase RFC 1123 subdomain"),
        ("nodeName", json!("N"), "spec.nodeName: Invalid value: \"N\": a lowercase RFC 1123 subdomain"),
        ("serviceAccountName", json!("-"), "spec.serviceAccountName: Invalid value: \"-\": a lowercase RFC 1123"),
        ("podUID", json!(""), r#"spec.podUID: Invalid value: "": must not be empty"#),
        ("nodeUID", json!("u".repeat(129)), "spec.nodeUID: Too long: may not be more than 128 bytes"),
        (
            "maxExpirationSeconds",
            json!(3599),
            "spec.maxExpirationSeconds: Invalid value: 3599: must be in the range [3600, 7862400]",
        ),
        (
            "unverifiedUserAnnotations",
            json!({"a": ""}),
            "spec.unverifiedUserAnnotations: Invalid value: \"a\": must be a domain-prefixed key",
        ),
        (
            "unverifiedUserAnnotations",
            json!({"a b/c": ""}),
            "spec.unverifiedUserAnnotations: Invalid value: \"a b/c\": name part",
        ),
        ("unverifiedUserAnnotations", json!({"a/b": "x".repeat(262_142)}), "spec.unverifiedUserAnnotations: Too long"),
        ("stubPKCS10Request", json!(""), "spec.stubPKCS10Request: Required value"),
        (
            "stubPKCS10Request",
            json!("eA=="),
            r#"spec.stubPKCS10Request: Invalid value: "<value omitted>": must be a valid PKCS#10 CSR"#,
        ),
        (
            "stubPKCS10Request",
            json!(ByteString(vec![0; 10_241])),
            "spec.stubPKCS10Request: Too long: may not be more than 10240 bytes",
        ),
        (
            "stubPKCS10Request",
            json!(ByteString(forged)),
            "spec.stubPKCS10Request: Invalid value: \"<value omitted>\": could not verify CSR signature: x509: ECDSA",
        ),
    ] {
        let found = with(field, value);
        assert!(matches!(&found[..], [one] if one.starts_with(expected)), "{field}: {found:?}");
    }
    let mut own = good(&key);
    own["spec"]["signerName"] = json!("kubernetes.io/kube-apiserver-client-pod");
    assert!(found::<PodCertificateRequest>(&own.to_string()).is_empty());
    own["spec"]["maxExpirationSeconds"] = json!(86_401);
    assert_eq!(
        found::<PodCertificateRequest>(&own.to_string()),
        ["spec.maxExpirationSeconds: Invalid value: 86401: must be in the range [3600, 86400]"]
    );
}

/// A DER value: tag, length, contents.
fn der(tag: u8, contents: &[u8]) -> Vec<u8> {
    let length = contents.len().to_be_bytes();
    let length: Vec<u8> = length.into_iter().skip_while(|byte| *byte == 0).collect();
    let mut all = vec![tag];
    match length.as_slice() {
        [] => all.push(0),
        [short @ ..0x80] => all.push(*short),
        long => {
            all.push(0x80 | u8::try_from(long.len()).unwrap());
            all.extend(long);
        }
    }
    all.extend(contents);
    all
}

#[test]
fn keys_that_signers_know() {
    const RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01];
    const EC: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01];
    const P521: &[u8] = &[0x2b, 0x81, 0x04, 0x00, 0x23];
    const SECP256K1: &[u8] = &[0x2b, 0x81, 0x04, 0x00, 0x0a];
    const ED25519: &[u8] = &[0x2b, 0x65, 0x70];
    const X25519: &[u8] = &[0x2b, 0x65, 0x6e];
    let info = |algorithm: &[u8], parameters: Vec<u8>, key: &[u8]| {
        let algorithm = der(0x30, &[der(0x06, algorithm), parameters].concat());
        der(0x30, &[algorithm, der(0x03, &[&[0], key].concat())].concat())
    };
    let rsa = |bits: usize| {
        let modulus = [&[0][..], &vec![0xff; bits / 8]].concat();
        let key = der(0x30, &[der(0x02, &modulus), der(0x02, &[1, 0, 1])].concat());
        info(RSA, der(0x05, &[]), &key)
    };
    let ec = |curve: &[u8]| info(EC, der(0x06, curve), &[&[4][..], &[1; 64]].concat());
    for (why, key, expected) in [
        ("RSA 3072", rsa(3072), ""),
        (
            "RSA 2048",
            rsa(2048),
            r#"k: Invalid value: "2048-bit modulus": RSA keys must have modulus size 3072 or 4096"#,
        ),
        ("P-521", ec(P521), ""),
        (
            "another curve",
            ec(SECP256K1),
            r#"k: Invalid value: "curve 1.3.132.0.10": elliptic public keys must use curve P256, P384, or P521"#,
        ),
        ("Ed25519", info(ED25519, vec![], &[1; 32]), ""),
        (
            "no key to sign with",
            info(X25519, vec![], &[1; 32]),
            r#"k: Invalid value: "<value omitted>": unknown public key type; supported types are Ed25519, ECDSA, and RSA"#,
        ),
    ] {
        let (_, key) = SubjectPublicKeyInfo::from_der(&key).unwrap();
        let mut problems = Problems::default();
        validate::key(&key, &Path::root("k"), &mut problems);
        assert_eq!(texts(&problems).join("\n"), expected, "{why}");
    }
}

#[test]
fn the_spec_stays() {
    let key = key(&rcgen::PKCS_ED25519);
    let (old, mut new) = (good(&key), good(&key));
    assert!(found_on_update::<PodCertificateRequest>(&old.to_string(), &new.to_string()).is_empty());
    new["spec"]["podName"] = json!("other");
    let found = found_on_update::<PodCertificateRequest>(&old.to_string(), &new.to_string());
    assert!(matches!(&found[..], [one] if one.ends_with("field is immutable")), "{found:?}");
}

/// A certificate for the key, valid from and to so many minutes from now.
fn issued(key: &KeyPair, from: i64, until: i64) -> String {
    let mut params = CertificateParams::default();
    let day_before = |minutes: i64| std::time::Duration::from_secs((24 * 60 + minutes).unsigned_abs() * 60);
    params.not_before = date_time_ymd(2027, 1, 14) + day_before(from);
    params.not_after = date_time_ymd(2027, 1, 14) + day_before(until);
    params.self_signed(key).unwrap().pem()
}
fn answer(chain: &str, from: i64, refresh: i64, until: i64) -> Value {
    json!({"conditions": [condition("Issued")], "certificateChain": chain, "notBefore": at(from).to_string(),
        "beginRefreshAt": at(refresh).to_string(), "notAfter": at(until).to_string()})
}

#[test]
fn a_certificate_is_the_answer_if_it_is_for_the_key_and_the_time() {
    let (own, other) = (key(&rcgen::PKCS_ECDSA_P256_SHA256), key(&rcgen::PKCS_ECDSA_P256_SHA256));
    let good = issued(&own, 0, 120);
    let without = |field: &str| {
        let mut answer = answer(&good, 0, 60, 120);
        answer.as_object_mut().unwrap().remove(field);
        answer
    };
    let cases: Vec<(&str, Value, &[&str])> = vec![
        ("good", answer(&good, 0, 60, 120), &[]),
        ("with an intermediate", answer(&format!("{good}{}", issued(&other, 0, 1)), 0, 60, 120), &[]),
        ("nothing", answer("", 0, 60, 120), &["must contain at least one certificate"]),
        (
            "a key in it",
            answer(&format!("{good}{}", as_pem("PRIVATE KEY", b"x")), 0, 60, 120),
            &["must consist entirely of CERTIFICATE PEM blocks"],
        ),
        (
            "garbage",
            answer(&as_pem("CERTIFICATE", b"x"), 0, 60, 120),
            &["leaf certificate does not parse as valid X.509"],
        ),
        (
            "garbage after it",
            answer(&format!("{good}{}", as_pem("CERTIFICATE", b"x")), 0, 60, 120),
            &["intermediate certificate does not parse"],
        ),
        (
            "too long",
            answer(&"x".repeat(102_401), 0, 60, 120),
            &["status.certificateChain: Too long: may not be more than 102400 bytes"],
        ),
        ("another's key", answer(&issued(&other, 0, 120), 0, 60, 120), &["was not issued to the requested public key"]),
        ("for too short a time", answer(&issued(&own, 0, 59), 0, 30, 59), &["lifetime must be >= 1 hour"]),
        (
            "for too long a time",
            answer(&issued(&own, 0, 1441), 0, 60, 1441),
            &["lifetime must be <= spec.maxExpirationSeconds (86400)"],
        ),
        (
            "another begin",
            answer(&good, 1, 60, 120),
            &["status.notBefore: Invalid value: \"2027-01-15T00:01:00Z\": must be set to the NotBefore"],
        ),
        ("another end", answer(&good, 0, 60, 121), &["status.notAfter: Invalid value"]),
        (
            "an old one",
            answer(&issued(&own, -6, 120), -6, 60, 120),
            &["within 5 minutes of kube-apiserver's current time"],
        ),
        ("renewed at once", answer(&good, 0, 9, 120), &["must be at least 10 minutes after status.notBefore"]),
        ("renewed too late", answer(&good, 0, 111, 120), &["must be at least 10 minutes before status.notAfter"]),
        ("no begin", without("notBefore"), &["status.notBefore: Required value: must be present and consistent"]),
        (
            "no refresh",
            without("beginRefreshAt"),
            &["status.beginRefreshAt: Required value: must be present and in the range"],
        ),
    ];
    let old = with_status(&own, json!({}));
    for (why, status, expected) in cases {
        let mut problems = Problems::default();
        validate::status(&with_status(&own, status), &old, at(0), &mut problems);
        let found = texts(&problems);
        assert_eq!(found.len(), expected.len(), "{why}: {found:?}");
        assert!(found.iter().zip(expected).all(|(text, part)| text.contains(part)), "{why}: {found:?}");
    }
}

#[test]
fn an_answer_is_given_once() {
    let key = key(&rcgen::PKCS_ED25519);
    let kinds = |kinds: &[&str]| json!({"conditions": kinds.iter().map(|kind| condition(kind)).collect::<Vec<_>>()});
    let with_chain = |kind: &str| json!({"conditions": [condition(kind)], "certificateChain": "x"});
    let cases = [
        ("denied", kinds(&[]), kinds(&["Denied"]), ""),
        ("failed", kinds(&[]), kinds(&["Failed"]), ""),
        ("nothing changes", kinds(&["Failed"]), kinds(&["Failed"]), ""),
        ("nothing said", json!({}), kinds(&[]), ""),
        (
            "another kind",
            kinds(&[]),
            kinds(&["Ready"]),
            r#"status.conditions[0].type: Unsupported value: "Ready": supported values: "Denied", "Failed", "Issued""#,
        ),
        ("two", kinds(&[]), kinds(&["Denied", "Failed"]), "There may be at most one condition"),
        (
            "not true",
            kinds(&[]),
            json!({"conditions": [{"type": "Denied", "status": "False", "reason": "R", "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z"}]}),
            r#"status.conditions[0].status: Unsupported value: "False": supported values: "True""#,
        ),
        (
            "taken back",
            kinds(&["Denied"]),
            kinds(&[]),
            "immutable after PodCertificateRequest is issued, denied, or failed",
        ),
        ("another answer", kinds(&["Denied"]), kinds(&["Failed"]), "immutable after PodCertificateRequest is issued"),
        ("denied with a certificate", kinds(&[]), with_chain("Denied"), "non-condition status fields must be empty"),
        (
            "a certificate without an answer",
            kinds(&[]),
            json!({"certificateChain": "x"}),
            "status is immutable unless transitioning",
        ),
    ];
    for (why, old, new, expected) in cases {
        let mut problems = Problems::default();
        validate::status(&with_status(&key, new), &with_status(&key, old), at(0), &mut problems);
        let found = texts(&problems).join("\n");
        assert!(found.contains(expected) && found.is_empty() == expected.is_empty(), "{why}: {found}");
    }
}

#[test]
fn columns() {
    let key = key(&rcgen::PKCS_ED25519);
    let mut object = good(&key);
    assert_eq!(row::<PodCertificateRequest>(&object.to_string(), 0), "r|web|default|n1|example.com/a|Pending");
    object["status"] = json!({"conditions": [condition("Denied")]});
    assert!(row::<PodCertificateRequest>(&object.to_string(), 0).ends_with("|Denied"));
}

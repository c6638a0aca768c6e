//! Signers' rights: who may do what, by the grants in a small cluster.

use k8s_openapi::api::certificates::v1::{CertificateSigningRequest, ClusterTrustBundle, PodCertificateRequest};
use serde_json::{Value, json};

use super::*;
use crate::admission::testing::{Write, ask};
use crate::registry::certificates::pkcs10::testing::{as_pem, key, request};
use crate::request::Verb;
use crate::view::testing::Cluster;

const SIGNER: &str = "example.com/s";

fn said(answer: Result<Vec<String>, corten_api::ApiError>) -> String {
    answer.map_or_else(|err| format!("{} {}", err.code(), err.message()), |warnings| warnings.join("\n"))
}
fn asked(signer: &str, status: Value) -> Value {
    json!({"metadata": {"name": "r"}, "spec": {"signerName": signer, "request": ""}, "status": status})
}

#[test]
fn approving_takes_a_right_of_its_own() {
    let refused = r#"403 certificatesigningrequests.certificates.k8s.io "r" is forbidden: user not permitted to approve requests with signerName "example.com/s""#;
    let refused_other = refused.replace("example.com/s", "other.com/s");
    for (grants, target, old, expected) in [
        (&["approve signers example.com/s"][..], "approval", SIGNER, ""),
        (&["approve signers example.com/*"], "approval", SIGNER, ""),
        (&["sign signers example.com/s", "approve signers example.com/t"], "approval", SIGNER, refused),
        (&["approve signers example.com/s"], "approval", "other.com/s", &refused_other),
        (&[], "status", SIGNER, ""),
    ] {
        let target = &format!("certificates.k8s.io/certificatesigningrequests/{target} r");
        let write = Write { verb: Verb::Update, target, new: asked(SIGNER, json!({})), old: asked(old, json!({})) };
        let answer = ask::<CertificateSigningRequest>(approval::admit, &Cluster::granting(grants), write);
        assert_eq!(said(answer), expected, "{grants:?} {target} {old}");
    }
}

#[test]
fn signing_takes_a_right_of_its_own() {
    let refused = r#"403 certificatesigningrequests.certificates.k8s.io "r" is forbidden: user not permitted to sign requests with signerName "example.com/s""#;
    let failed = json!({"conditions": [{"type": "Failed", "status": "True"}]});
    for (grants, sub, new, expected) in [
        (&["sign signers example.com/s"][..], "status", json!({"certificate": "eA=="}), ""),
        (&["sign signers example.com/*"], "status", failed.clone(), ""),
        (&["approve signers example.com/s"], "status", json!({"certificate": "eA=="}), refused),
        (&[], "status", failed.clone(), refused),
        (&[], "status", json!({"conditions": []}), ""),
        (&[], "approval", failed, ""),
    ] {
        let target = &format!("certificates.k8s.io/certificatesigningrequests/{sub} r");
        let write = Write { verb: Verb::Update, target, new: asked(SIGNER, new), old: asked(SIGNER, json!({})) };
        let answer = ask::<CertificateSigningRequest>(signing::admit, &Cluster::granting(grants), write);
        assert_eq!(said(answer), expected, "{grants:?} {target}");
    }
}

#[test]
fn a_pods_certificate_is_issued_by_its_signer() {
    let of = |status: Value| json!({"metadata": {"name": "r"}, "spec": {"signerName": SIGNER}, "status": status});
    let refused = r#"422 PodCertificateRequest.certificates.k8s.io "r" is invalid: spec.signerName: Forbidden: User "jane" is not permitted to "sign" for signer "example.com/s""#;
    for (grants, new, expected) in [
        (&["sign signers example.com/s"][..], json!({"certificateChain": "x"}), ""),
        (&[], json!({}), ""),
        (&[], json!({"certificateChain": "x"}), refused),
    ] {
        let target = "certificates.k8s.io/podcertificaterequests/status ns/r";
        let write = Write { verb: Verb::Update, target, new: of(new), old: of(json!({})) };
        let answer = ask::<PodCertificateRequest>(signing::admit, &Cluster::granting(grants), write);
        assert_eq!(said(answer), expected, "{grants:?}");
    }
}

#[test]
fn a_signers_bundle_is_attested() {
    let of = |signer: Value, bundle: &str, finalizers: Value| json!({"metadata": {"name": "b", "finalizers": finalizers}, "spec": {"signerName": signer, "trustBundle": bundle}});
    let signed = |bundle: &str| of(json!(SIGNER), bundle, Value::Null);
    let refused = r#"403 clustertrustbundles.certificates.k8s.io "b" is forbidden: user not permitted to attest for signerName "example.com/s""#;
    for (grants, new, old, expected) in [
        (&["attest signers example.com/s"][..], signed("x"), Value::Null, ""),
        (&["attest signers example.com/*"], signed("x"), signed("y"), ""),
        (&[], of(Value::Null, "x", Value::Null), Value::Null, ""),
        (&["sign signers example.com/s"], signed("x"), Value::Null, refused),
        (&[], signed("x"), signed("y"), refused),
        (&[], of(json!(SIGNER), "x", json!(["a/b"])), signed("x"), ""),
    ] {
        let verb = if old.is_null() { Verb::Create } else { Verb::Update };
        let write = Write { verb, target: "certificates.k8s.io/clustertrustbundles b", new, old };
        let answer = ask::<ClusterTrustBundle>(attest::admit, &Cluster::granting(grants), write);
        assert_eq!(said(answer), expected, "{grants:?}");
    }
}

#[test]
fn no_certificate_makes_a_master() {
    use base64::Engine;
    let encode = |text: &str| base64::engine::general_purpose::STANDARD.encode(text);
    let key = key(&rcgen::PKCS_ED25519);
    let of = |groups: &[&str]| encode(&as_pem("CERTIFICATE REQUEST", &request("jane", groups, &key)));
    let client = "kubernetes.io/kube-apiserver-client";
    let prefix = r#"403 certificatesigningrequests.certificates.k8s.io "r" is forbidden: "#;
    for (verb, signer, pem, expected) in [
        (Verb::Create, client, of(&["dev"]), ""),
        (Verb::Create, SIGNER, of(&["system:masters"]), ""),
        (Verb::Update, client, of(&["system:masters"]), ""),
        (
            Verb::Create,
            client,
            of(&["dev", "system:masters"]),
            "use of kubernetes.io/kube-apiserver-client signer with system:masters group is not allowed",
        ),
        (Verb::Create, client, encode("x"), "failed to parse CSR: PEM block type must be CERTIFICATE REQUEST"),
    ] {
        let mut new = asked(signer, json!({}));
        new["spec"]["request"] = json!(pem);
        let write = Write { verb, target: "certificates.k8s.io/certificatesigningrequests r", new, old: Value::Null };
        let answer = said(ask::<CertificateSigningRequest>(subject::admit, &Cluster::default(), write));
        assert_eq!(answer.strip_prefix(prefix).unwrap_or_default(), expected, "{verb:?} {signer}: {answer}");
    }
}

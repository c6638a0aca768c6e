//! Certificates that the cluster itself signs: asked for, approved, used.
#![allow(clippy::expect_used, reason = "what a test cannot do without fails it")]

use corten_e2e::{Cluster, Kubectl, SOON, eventually};
use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair};
use serde_json::{Value, json};

/// A request in the cluster, deleted with the story.
struct Csr<'a> {
    kubectl: &'a Kubectl,
    name: String,
}

impl Drop for Csr<'_> {
    fn drop(&mut self) {
        self.kubectl.attempt(&format!("delete csr {}", self.name));
    }
}

impl<'a> Csr<'a> {
    fn new(kubectl: &'a Kubectl, story: &str, user: &str, spec: &Value, key: &KeyPair) -> Self {
        use base64::Engine;
        let mut params = CertificateParams::default();
        let mut subject = DistinguishedName::new();
        subject.push(DnType::CommonName, user);
        params.distinguished_name = subject;
        let request = params.serialize_request(key).expect("a key signs its request");
        let pem = request.pem().expect("a request has a text");
        let name = format!("{story}-{:08x}", rand::random::<u32>());
        let mut spec = spec.clone();
        spec["request"] = json!(base64::engine::general_purpose::STANDARD.encode(pem));
        let kind = "CertificateSigningRequest";
        let csr =
            json!({"apiVersion": "certificates.k8s.io/v1", "kind": kind, "metadata": {"name": name}, "spec": spec});
        kubectl.apply(&csr.to_string());
        Self { kubectl, name }
    }

    fn get(&self) -> Value {
        self.kubectl.json(&format!("csr {}", self.name)).unwrap_or_default()
    }
}

fn client(signer: &str) -> Value {
    json!({"signerName": signer, "usages": ["client auth"], "expirationSeconds": 3600})
}

#[test]
fn kubectl_certificate_approve_gives_a_user_a_certificate_that_the_apiserver_knows_him_by() {
    let cluster = Cluster::running();
    let (kubectl, key) = (cluster.kubectl(), KeyPair::generate().unwrap());
    let csr = Csr::new(&kubectl, "jane", "jane", &client("kubernetes.io/kube-apiserver-client"), &key);
    assert!(csr.get()["status"]["certificate"].is_null(), "nobody has approved it");
    kubectl.ok(&format!("certificate approve {}", csr.name));
    let certificate = eventually("the certificate", SOON, || {
        let csr = csr.get();
        csr["status"]["certificate"].as_str().map(str::to_owned).ok_or_else(|| csr["status"].to_string())
    });
    kubectl.shows(&format!("get csr {}", csr.name), "Approved,Issued");
    let mut config: Value = serde_json::from_str(&kubectl.ok("config view --raw -o json")).unwrap();
    let key = {
        use base64::Engine;
        base64::engine::general_purpose::STANDARD.encode(key.serialize_pem())
    };
    let user = json!({"client-certificate-data": certificate, "client-key-data": key});
    for each in config["users"].as_array_mut().unwrap() {
        each["user"] = user.clone();
    }
    let file = cluster.kubeconfig().with_file_name("pki").join(format!("{}.kubeconfig", csr.name));
    std::fs::write(&file, config.to_string()).unwrap();
    let jane = Kubectl::new(file);
    let who: Value = serde_json::from_str(&jane.ok("auth whoami -o json")).unwrap();
    assert_eq!(who["status"]["userInfo"]["username"], "jane");
    let refused = jane.refused("get secrets -A");
    assert!(refused.contains(r#"User "jane" cannot list resource "secrets""#), "{refused}");
}

#[test]
fn a_request_that_the_signer_may_not_sign_fails_and_says_why() {
    let cluster = Cluster::running();
    let (kubectl, key) = (cluster.kubectl(), KeyPair::generate().unwrap());
    let mut spec = client("kubernetes.io/kube-apiserver-client");
    spec["usages"] = json!(["client auth", "server auth"]);
    let csr = Csr::new(&kubectl, "server", "jane", &spec, &key);
    kubectl.ok(&format!("certificate approve {}", csr.name));
    let failed = eventually("the Failed condition", SOON, || {
        let csr = csr.get();
        let conditions = csr["status"]["conditions"].as_array().cloned().unwrap_or_default();
        let failed = conditions.into_iter().find(|condition| condition["type"] == "Failed");
        failed.ok_or_else(|| csr["status"].to_string())
    });
    assert_eq!(failed["reason"], "SignerValidationFailure");
    assert_eq!(failed["message"], "invalid usage for client certificate: server auth");
    assert!(csr.get()["status"]["certificate"].is_null());
}

#[test]
fn a_request_that_is_denied_or_that_nobody_approves_is_not_signed() {
    let cluster = Cluster::running();
    let (kubectl, key) = (cluster.kubectl(), KeyPair::generate().unwrap());
    let spec = client("kubernetes.io/kube-apiserver-client");
    let (denied, waiting) =
        (Csr::new(&kubectl, "denied", "jane", &spec, &key), Csr::new(&kubectl, "waiting", "jane", &spec, &key));
    kubectl.ok(&format!("certificate deny {}", denied.name));
    // One that is approved after them shows that they were looked at.
    let signed = Csr::new(&kubectl, "signed", "jane", &spec, &key);
    kubectl.ok(&format!("certificate approve {}", signed.name));
    kubectl.shows(&format!("get csr {}", signed.name), "Approved,Issued");
    for csr in [&denied, &waiting] {
        assert!(csr.get()["status"]["certificate"].is_null(), "{}", csr.name);
    }
}

//! Admission webhooks that run in the cluster they are asked about: nginx, with answers that are written down.
#![allow(clippy::unwrap_used, reason = "a story that cannot go on fails")]

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use corten_e2e::{Cluster, Kubectl, Namespace, SOON, eventually, manifest};
use rcgen::{CertificateParams, KeyPair};
use serde_json::{Value, json};

/// Deleted with the story, also with one that fails: others write in this cluster, too.
struct Configuration<'a> {
    kubectl: &'a Kubectl,
    kind: &'static str,
    name: String,
}

impl Drop for Configuration<'_> {
    fn drop(&mut self) {
        self.kubectl.attempt(&format!("delete {} {}", self.kind, self.name));
    }
}

/// The first version of reviews: its answers need not name the question.
fn answer(response: &Value) -> String {
    let review = json!({"apiVersion": "admission.k8s.io/v1beta1", "kind": "AdmissionReview", "response": response});
    format!("return 200 '{review}';")
}

/// Serves `hook.NAMESPACE.svc`; gives its certificate, which is its own authority.
fn serve(ns: &Namespace) -> String {
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec![format!("hook.{}.svc", ns.name)]).unwrap();
    let certificate = params.self_signed(&key).unwrap().pem();
    let label = json!([{"op": "add", "path": "/metadata/labels", "value": {"seen": "yes"}}]);
    let label = json!({"allowed": true, "patchType": "JSONPatch", "patch": STANDARD.encode(label.to_string())});
    let deny = json!({"allowed": false, "status": {"message": "nobody does that here"}});
    let conf = format!(
        "worker_processes 1; error_log stderr notice; pid /run/nginx.pid; events {{}}\n\
         http {{ access_log off; client_max_body_size 8m; default_type application/json;\n\
         server {{ listen 8443 ssl; ssl_certificate /hook/tls.crt; ssl_certificate_key /hook/tls.key;\n\
         location /label {{ {} }}\nlocation /deny {{ {} }} }} }}\n",
        answer(&label),
        answer(&deny)
    );
    let files = json!({"nginx.conf": conf, "tls.crt": certificate, "tls.key": key.serialize_pem()});
    let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "hook"}, "stringData": files});
    ns.apply(&secret.to_string());
    let mut nginx = manifest::container("exec nginx -g 'daemon off;' -c /hook/nginx.conf");
    nginx["image"] = json!("nginx:latest");
    nginx["volumeMounts"] = json!([{"name": "hook", "mountPath": "/hook"}]);
    nginx["readinessProbe"] = json!({"tcpSocket": {"port": 8443}, "periodSeconds": 1});
    let volumes = json!([{"name": "hook", "secret": {"secretName": "hook"}}]);
    ns.apply(&manifest::pod("hook", &json!({"containers": [nginx], "volumes": volumes})));
    let ports = json!([{"port": 443, "targetPort": 8443}]);
    let spec = json!({"selector": {"app": "hook"}, "ports": ports});
    ns.apply(&json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "hook"}, "spec": spec}).to_string());
    ns.pod_is_ready("hook");
    eventually("the webhook's endpoint", SOON, || {
        if ns.ready_endpoints("hook") == 1 { Ok(()) } else { Err("none".into()) }
    });
    certificate
}

/// Asks it about ConfigMaps of its namespace.
fn configure<'a>(
    kubectl: &'a Kubectl,
    ns: &Namespace,
    kind: &'static str,
    path: &str,
    certificate: &str,
    policy: &str,
) -> Configuration<'a> {
    let name = format!("{}-{}", ns.name, path.trim_start_matches('/'));
    let service = json!({"namespace": ns.name, "name": "hook", "path": path});
    // What goes cannot be changed any more.
    let operations = if kind.starts_with("Mutating") { json!(["CREATE"]) } else { json!(["CREATE", "DELETE"]) };
    let rule = json!({"operations": operations, "apiGroups": [""], "apiVersions": ["v1"],
        "resources": ["configmaps"]});
    let webhook = json!({"name": "hook.example.com", "sideEffects": "None", "admissionReviewVersions": ["v1beta1"],
        "clientConfig": {"service": service, "caBundle": STANDARD.encode(certificate)}, "rules": [rule],
        "failurePolicy": policy, "timeoutSeconds": 5,
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": ns.name}}});
    let configuration = json!({"apiVersion": "admissionregistration.k8s.io/v1", "kind": kind,
        "metadata": {"name": name}, "webhooks": [webhook]});
    kubectl.apply(&configuration.to_string());
    Configuration { kubectl, kind, name }
}

#[test]
fn a_webhook_in_the_cluster_changes_and_refuses_what_is_written_where_it_is_asked_and_nowhere_else() {
    let cluster = Cluster::running();
    let (kubectl, ns, other) = (cluster.kubectl(), cluster.namespace("hooked"), cluster.namespace("free"));
    let certificate = serve(&ns);

    let label = configure(&kubectl, &ns, "MutatingWebhookConfiguration", "/label", &certificate, "Fail");
    eventually("every server asks it", SOON, || {
        let seen = ns.ok("create configmap probe --dry-run=server -o jsonpath={.metadata.labels.seen}");
        if seen == "yes" { Ok(()) } else { Err(seen) }
    });
    ns.ok("create configmap labelled");
    assert_eq!(ns.field("configmap labelled", "/metadata/labels/seen"), "yes");
    other.ok("create configmap plain");
    assert!(other.json("configmap plain").unwrap()["metadata"]["labels"].is_null());

    let deny = configure(&kubectl, &ns, "ValidatingWebhookConfiguration", "/deny", &certificate, "Fail");
    let words = r#"admission webhook "hook.example.com" denied the request: nobody does that here"#;
    eventually("every server asks it", SOON, || {
        let told = ns.attempt("create configmap probe --dry-run=server").stderr;
        if told.contains(words) { Ok(()) } else { Err(told) }
    });
    for (_, kubectl) in ns.every_version() {
        let refused = kubectl.refused("delete configmap labelled");
        assert!(refused.contains(words), "{refused}");
    }
    other.ok("delete configmap plain");

    // Who is not there any more refuses everything that it was to be asked about, as its configuration says.
    drop(deny);
    ns.ok("delete service hook");
    eventually("its absence is told", SOON, || {
        let told = ns.attempt("create configmap probe --dry-run=server").stderr;
        let words = "failed calling webhook \"hook.example.com\": failed to call webhook: Post \"https://hook.";
        if told.contains(words) && told.contains("service \"hook\" not found") { Ok(()) } else { Err(told) }
    });
    drop(label);
    let _open = configure(&kubectl, &ns, "MutatingWebhookConfiguration", "/label", &certificate, "Ignore");
    eventually("it is not missed", SOON, || {
        let made = ns.attempt("create configmap unlabelled");
        if made.code == Some(0) || made.stderr.contains("already exists") { Ok(()) } else { Err(made.stderr) }
    });
}

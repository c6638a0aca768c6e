//! Who is who without a certificate: pods by their tokens, users by those they ask for, and others whom a request counts as.

use corten_e2e::manifest::{container, pod};
use corten_e2e::{Cluster, Kubectl, SOON, eventually};
use serde_json::{Value, json};

/// Where every client in a pod looks.
const MOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

/// `kubectl auth whoami`: whom the apiserver takes it for.
fn who_is(kubectl: &Kubectl) -> Value {
    let text = kubectl.ok("auth whoami -o json");
    let review: Value = serde_json::from_str(&text).unwrap_or_else(|err| panic!("{err}: {text}"));
    review["status"]["userInfo"].clone()
}

#[test]
fn a_pod_finds_its_token_the_root_ca_and_its_namespace_where_clients_look() {
    let cluster = Cluster::running();
    let ns = cluster.namespace("tokens");
    ns.run_pod("box", "busybox:latest", "exec sleep 3600");
    assert_eq!(ns.sh("box", &format!("ls {MOUNT}")).text(), "ca.crt\nnamespace\ntoken\n");
    assert_eq!(ns.sh("box", &format!("cat {MOUNT}/namespace")).text(), ns.name);
    let ca = ns.field("configmap kube-root-ca.crt", "/data/ca.crt");
    assert!(ca.starts_with("-----BEGIN CERTIFICATE-----"), "{ca}");
    assert_eq!(ns.sh("box", &format!("cat {MOUNT}/ca.crt")).text(), ca);
    assert!(ns.sh("box", &format!("touch {MOUNT}/x")).refusal().contains("Read-only file system"));
    let token = ns.sh("box", &format!("cat {MOUNT}/token")).text();
    let bearer = cluster.kubectl_with_token(&token).in_namespace(&ns.name);
    let info = who_is(&bearer);
    assert_eq!(info["username"], format!("system:serviceaccount:{}:default", ns.name));
    let extra = |key: &str| info["extra"][format!("authentication.kubernetes.io/{key}")][0].clone();
    let uid = ns.field("pod box", "/metadata/uid");
    assert_eq!((extra("pod-name"), extra("pod-uid")), (json!("box"), json!(uid)));
    assert_eq!(extra("node-name"), ns.field("pod box", "/spec/nodeName"));
    let refused = bearer.refused("get secrets");
    assert!(refused.contains(r#"cannot list resource "secrets""#), "{refused}");
    ns.ok("delete pod box");
    eventually("the token to die with its pod", SOON, || {
        let output = bearer.attempt("auth whoami");
        // What a client says of a 401.
        let is_out = output.stderr.contains("Unauthorized") || output.stderr.contains("logged in");
        if !output.ok && is_out { Ok(()) } else { Err(format!("{output:?}")) }
    });
}

#[test]
fn who_wants_no_token_gets_none() {
    let ns = Cluster::running().namespace("notoken");
    let spec = json!({"automountServiceAccountToken": false, "containers": [container("exec sleep 3600")]});
    ns.apply(&pod("box", &spec));
    ns.pod_is_ready("box");
    ns.sh("box", &format!("ls {MOUNT}")).refusal();
    ns.run(&["patch", "serviceaccount", "default", "-p", r#"{"automountServiceAccountToken":false}"#]).text();
    ns.run_pod("other", "busybox:latest", "exec sleep 3600");
    ns.sh("other", &format!("ls {MOUNT}")).refusal();
}

#[test]
fn a_token_in_a_volume_is_for_its_audience_and_its_user() {
    let cluster = Cluster::running();
    let ns = cluster.namespace("audience");
    let mut main = container("exec sleep 3600");
    main["volumeMounts"] = json!([{"name": "vault", "mountPath": "/vault"}]);
    let part = json!({"serviceAccountToken": {"path": "token", "audience": "vault", "expirationSeconds": 600}});
    let spec = |context: Value| {
        let volume = json!({"name": "vault", "projected": {"sources": [part]}});
        json!({"securityContext": context, "volumes": [volume], "containers": [main]})
    };
    for (name, context, expected) in [
        ("anybody", json!({}), "-rw-r--r-- 0 0"),
        ("user", json!({"runAsUser": 33}), "-rw------- 33 0"),
        ("group", json!({"fsGroup": 44}), "-rw-r----- 0 44"),
    ] {
        ns.apply(&pod(name, &spec(context)));
        ns.pod_is_ready(name);
        let shown = ns.sh(name, "ls -lLn /vault/token").text();
        let words: Vec<&str> = shown.split_whitespace().collect();
        assert_eq!([words[0], words[2], words[3]].join(" "), expected, "{shown}");
    }
    let token = ns.sh("user", "cat /vault/token").text();
    let refused = cluster.kubectl_with_token(&token).attempt("auth whoami");
    assert!(!refused.ok, "it is for the vault: {refused:?}");
    let review = |audiences: Value| {
        let spec = json!({"token": token, "audiences": audiences});
        let review = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": spec});
        let text = ns.run_with_input(&["create", "-o", "json", "-f", "-"], &review.to_string()).text();
        let review: Value = serde_json::from_str(&text).unwrap_or_else(|err| panic!("{err}: {text}"));
        review["status"].clone()
    };
    let known = review(json!(["vault"]));
    assert_eq!((&known["authenticated"], &known["audiences"]), (&json!(true), &json!(["vault"])), "{known}");
    let unknown = review(json!(["bank"]));
    assert!(
        unknown["error"].as_str().is_some_and(|why| why.contains("is invalid for the target audiences")),
        "{unknown}"
    );
}

#[test]
fn kubectl_creates_tokens_that_work_and_end_with_what_they_are_bound_to() {
    let cluster = Cluster::running();
    let ns = cluster.namespace("create");
    ns.ok("create serviceaccount robot");
    ns.ok("create secret generic leash");
    let token = ns.ok("create token robot --duration=10m --bound-object-kind=Secret --bound-object-name=leash");
    let bearer = cluster.kubectl_with_token(token.trim());
    assert_eq!(who_is(&bearer)["username"], format!("system:serviceaccount:{}:robot", ns.name));
    for master in cluster.masters() {
        let there = bearer.with_flag(&format!("--server={}", master.apiserver()));
        assert_eq!(who_is(&there)["username"], format!("system:serviceaccount:{}:robot", ns.name), "{}", master.name);
    }
    ns.ok("delete secret leash");
    eventually("the token to be dead", SOON, || {
        let output = bearer.attempt("auth whoami");
        if output.ok { Err(output.stdout) } else { Ok(()) }
    });
    let refused = ns.refused("create token robot --duration=5m");
    assert!(refused.contains("may not specify a duration less than 10 minutes"), "{refused}");
    let refused = ns.refused("create token nobody");
    assert!(refused.contains(r#"serviceaccounts "nobody" not found"#), "{refused}");
}

#[test]
fn a_nodes_key_gives_no_tokens_but_its_pods() {
    let cluster = Cluster::running();
    let ns = cluster.namespace("nodekey");
    let node = cluster.workers().remove(0).name;
    ns.apply(&pod("mine", &json!({"nodeName": node, "containers": [container("exec sleep 3600")]})));
    ns.pod_is_ready("mine");
    let kubelet = cluster.kubectl_as(&format!("nodes/{node}/kubelet")).in_namespace(&ns.name);
    let refused = kubelet.refused("create token default");
    assert!(refused.contains("node requested token not bound to a pod"), "{refused}");
    let uid = ns.field("pod mine", "/metadata/uid");
    kubelet
        .ok(&format!("create token default --bound-object-kind=Pod --bound-object-name=mine --bound-object-uid={uid}"));
    ns.ok("create serviceaccount strong");
    let refused = kubelet.refused("create token strong");
    assert!(refused.contains("no relationship found"), "{refused}");
}

#[test]
fn kubectl_as_asks_as_another() {
    let cluster = Cluster::running();
    let ns = cluster.namespace("as");
    let refused = ns.refused("get pods --as=jane");
    assert!(refused.contains(r#"User "jane" cannot list resource "pods""#), "{refused}");
    ns.ok("get pods --as=jane --as-group=system:masters");
    let info = who_is(&ns.with_flag("--as=jane").with_flag("--as-uid=7").with_flag("--as-group=dev"));
    let expected = json!({"username": "jane", "uid": "7", "groups": ["dev", "system:authenticated"]});
    assert_eq!(
        (&info["username"], &info["uid"], &info["groups"]),
        (&expected["username"], &expected["uid"], &expected["groups"])
    );
    let account = format!("--as=system:serviceaccount:{}:default", ns.name);
    assert_eq!(who_is(&ns.with_flag(&account))["groups"][0], "system:serviceaccounts");
    let token = ns.ok("create token default");
    let bearer = cluster.kubectl_with_token(token.trim()).in_namespace(&ns.name);
    let refused = bearer.refused("get pods --as=jane");
    assert!(refused.contains("cannot impersonate"), "{refused}");
}

#[test]
fn a_bootstrap_token_is_good_until_its_secret_goes() {
    let cluster = Cluster::running();
    let system = cluster.kubectl().in_namespace("kube-system");
    let (id, secret) = ("e2e0id", "0123456789abcdef");
    let name = format!("bootstrap-token-{id}");
    system.attempt(&format!("delete secret {name} --ignore-not-found"));
    let data = json!({"token-id": id, "token-secret": secret, "usage-bootstrap-authentication": "true"});
    let object = json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "type": "bootstrap.kubernetes.io/token",
        "stringData": data,
    });
    system.apply(&object.to_string());
    let bearer = cluster.kubectl_with_token(&format!("{id}.{secret}"));
    let info = eventually("the token to be known", SOON, || {
        let output = bearer.attempt("auth whoami -o json");
        if output.ok { Ok(output.stdout) } else { Err(output.stderr) }
    });
    assert!(info.contains(&format!("system:bootstrap:{id}")) && info.contains("system:bootstrappers"), "{info}");
    system.ok(&format!("delete secret {name}"));
    eventually("the token to be unknown", SOON, || {
        if bearer.attempt("auth whoami").ok { Err("known".into()) } else { Ok(()) }
    });
}

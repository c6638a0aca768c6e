//! kubectl's other verbs, one story each: create, wait, set, autoscale, cp, certificate, events, auth.

use std::fs;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use corten_e2e::manifest::{container, deployment, pod};
use corten_e2e::{Cluster, condition};
use rcgen::{CertificateParams, DnType, KeyPair};
use serde_json::json;

#[test]
fn every_generator_of_create_makes_an_object_that_the_server_takes() {
    let ns = Cluster::running().namespace("create");
    for (words, made) in [
        ("clusterrole reader --verb=get,list --resource=pods", "clusterrole.rbac.authorization.k8s.io/reader"),
        (
            "clusterrolebinding readers --clusterrole=view --user=ann",
            "clusterrolebinding.rbac.authorization.k8s.io/readers",
        ),
        ("configmap settings --from-literal=a=b", "configmap/settings"),
        ("cronjob nightly --image=busybox --schedule=@daily", "cronjob.batch/nightly"),
        ("deployment web --image=nginx --replicas=2 --port=80", "deployment.apps/web"),
        ("ingress web --rule=shop.example/*=web:80,tls=cert", "ingress.networking.k8s.io/web"),
        ("job once --image=busybox", "job.batch/once"),
        ("namespace another", "namespace/another"),
        ("poddisruptionbudget web --selector=app=web --min-available=50%", "poddisruptionbudget.policy/web"),
        ("priorityclass high --value=1000", "priorityclass.scheduling.k8s.io/high"),
        ("quota small --hard=pods=2,requests.cpu=1", "resourcequota/small"),
        ("role reader --verb=get --resource=pods --resource-name=web", "role.rbac.authorization.k8s.io/reader"),
        (
            "rolebinding readers --role=reader --serviceaccount=default:ann",
            "rolebinding.rbac.authorization.k8s.io/readers",
        ),
        ("secret generic words --from-literal=a=b", "secret/words"),
        (
            "secret docker-registry pull --docker-server=r.example --docker-username=u --docker-password=p",
            "secret/pull",
        ),
        ("service clusterip web --tcp=80:8080", "service/web"),
        ("service externalname other --external-name=shop.example", "service/other"),
        ("service nodeport outside --tcp=80", "service/outside"),
        ("service loadbalancer front --tcp=80", "service/front"),
        ("serviceaccount ann", "serviceaccount/ann"),
    ] {
        assert_eq!(ns.ok(&format!("create {words} --dry-run=server -o name")).trim(), made, "{words}");
    }
    assert!(ns.json("deployment web").is_none(), "a dry run leaves nothing");
}

#[test]
fn wait_returns_with_what_it_waits_for_and_gives_up_when_it_is_told_to() {
    let ns = Cluster::running().namespace("wait");
    ns.apply(&pod("box", &json!({"containers": [container("exec sleep 3600")]})));
    assert_eq!(ns.ok("wait --for=condition=Ready pod/box --timeout=60s"), "pod/box condition met\n");
    ns.ok("wait --for=jsonpath={.status.phase}=Running pod -l app=box --timeout=60s");
    let began = Instant::now();
    let gave_up = ns.refused("wait --for=condition=Never pod/box --timeout=1s");
    assert!(gave_up.contains("timed out waiting for the condition"), "{gave_up}");
    assert!(began.elapsed() < Duration::from_secs(30), "{:?}", began.elapsed());

    ns.ok("delete pod box --wait=false");
    ns.ok("wait --for=delete pod/box --timeout=60s");
    assert!(ns.json("pod box").is_none());
    let created = ns.start("wait --for=create configmap/late --timeout=60s");
    ns.ok("create configmap late");
    created.line("what was made late", |line| line == "configmap/late condition met");
}

#[test]
fn set_changes_a_template_and_nothing_beside_what_it_names() {
    let ns = Cluster::running().namespace("set");
    ns.apply(&deployment("web", 0).to_string());
    ns.ok("create serviceaccount robot");
    ns.ok("set image deployment/web main=busybox:1.36");
    ns.ok("set env deployment/web COLOUR=blue SIZE=1");
    ns.ok("set env deployment/web SIZE-");
    ns.ok("set resources deployment/web -c main --limits=cpu=200m,memory=64Mi --requests=cpu=100m");
    ns.ok("set serviceaccount deployment web robot");
    let web = ns.json("deployment web").expect("it is there");
    let spec = &web["spec"]["template"]["spec"];
    let main = &spec["containers"][0];
    assert_eq!(main["image"], "busybox:1.36");
    assert_eq!(main["env"], json!([{"name": "COLOUR", "value": "blue"}]));
    let resources = json!({"limits": {"cpu": "200m", "memory": "64Mi"}, "requests": {"cpu": "100m"}});
    assert_eq!(main["resources"], resources);
    assert_eq!(main["command"], json!(["sh", "-c", "exec sleep 3600"]), "as it was");
    assert_eq!(spec["serviceAccountName"], "robot");

    ns.ok("expose deployment web --port=80");
    ns.ok("set selector service web app=other");
    assert_eq!(ns.field("service web", "/spec/selector"), r#"{"app":"other"}"#);
    ns.ok("create rolebinding readers --clusterrole=view --user=ann");
    ns.ok("set subject rolebinding readers --user=bob");
    let subjects = ns.ok("get rolebinding readers -o jsonpath={.subjects[*].name}");
    assert_eq!(subjects, "ann bob");
}

#[test]
fn every_kubectl_makes_an_autoscaler_that_every_version_reads() {
    let cluster = Cluster::running();
    let ns = cluster.namespace("autoscale");
    ns.apply(&deployment("web", 0).to_string());
    for (version, kubectl) in ns.every_version() {
        let kubectl = kubectl.in_namespace(&ns.name);
        kubectl.ok("autoscale deployment web --min=2 --max=5 --cpu-percent=80");
        let scaler = kubectl.json("horizontalpodautoscalers.v1.autoscaling web").expect("it is there");
        let spec = &scaler["spec"];
        assert_eq!((&spec["minReplicas"], &spec["maxReplicas"]), (&json!(2), &json!(5)), "{version}");
        assert_eq!(spec["targetCPUUtilizationPercentage"], 80, "{version}");
        let target = kubectl
            .field("horizontalpodautoscalers.v2.autoscaling web", "/spec/metrics/0/resource/target/averageUtilization");
        assert_eq!(target, "80", "{version}");
        let row = kubectl.ok("get hpa web --no-headers");
        assert!(row.contains("Deployment/web"), "{version}: {row}");
        kubectl.ok("delete hpa web");
    }
}

#[test]
fn files_go_into_a_container_and_come_back_as_they_were() {
    let ns = Cluster::running().namespace("cp");
    ns.run_pod("box", "busybox:latest", "exec sleep 3600");
    let dir = std::env::temp_dir().join(&ns.name);
    fs::create_dir_all(dir.join("in/deep")).expect("a directory");
    // More than a frame, a pipe or a window holds.
    let large: Vec<u8> = (0..3_000_000_u32).flat_map(|n| (n % 251).to_le_bytes()).collect();
    fs::write(dir.join("in/deep/large"), &large).expect("written");
    fs::write(dir.join("in/small"), "hello\n").expect("written");
    let at = |name: &str| dir.join(name).to_str().expect("UTF-8").to_owned();
    ns.run(&["cp", &at("in"), "box:/tmp/there"]).text();
    assert_eq!(ns.sh("box", "cat /tmp/there/small").text(), "hello\n");
    ns.run(&["cp", "box:/tmp/there", &at("out")]).text();
    assert!(fs::read(dir.join("out/deep/large")).expect("it came back") == large, "other bytes came back");
    fs::remove_dir_all(&dir).expect("removed");
}

#[test]
fn a_certificate_request_is_approved_or_denied_once_by_kubectl() {
    let ns = Cluster::running().namespace("certificate");
    let kubectl = Cluster::running().kubectl();
    let key = KeyPair::generate().expect("a key");
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, "ann");
    let pem = params.serialize_request(&key).expect("a request").pem().expect("PEM");
    let request = |name: &str| {
        json!({
            "apiVersion": "certificates.k8s.io/v1", "kind": "CertificateSigningRequest", "metadata": {"name": name},
            "spec": {"request": STANDARD.encode(&pem), "signerName": "example.com/by-hand", "usages": ["client auth"]},
        })
        .to_string()
    };
    let (yes, no) = (format!("{}-yes", ns.name), format!("{}-no", ns.name));
    for name in [&yes, &no] {
        kubectl.run_with_input(&["create", "-f", "-"], &request(name)).text();
        assert!(kubectl.ok(&format!("get csr {name}")).contains("Pending"));
    }
    kubectl.ok(&format!("certificate approve {yes}"));
    kubectl.ok(&format!("certificate deny {no}"));
    let of = |name: &str| kubectl.json(&format!("csr {name}")).expect("it is there");
    assert_eq!(condition(&of(&yes), "Approved"), "True");
    assert_eq!(condition(&of(&no), "Denied"), "True");
    assert!(kubectl.ok(&format!("get csr {yes}")).contains("Approved"));
    let refused = kubectl.refused(&format!("certificate deny {yes}"));
    assert!(refused.contains("already Approved"), "{refused}");
    assert_eq!(of(&yes)["spec"]["username"], json!(kubectl.ok("auth whoami -o jsonpath={.status.userInfo.username}")));
    kubectl.ok(&format!("delete csr {yes} {no}"));
}

#[test]
fn events_are_told_of_one_object_in_order_and_as_they_come() {
    let ns = Cluster::running().namespace("events");
    let watch = ns.start("events --for pod/box --watch");
    ns.run_pod("box", "busybox:latest", "exec sleep 3600");
    ns.run_pod("other", "busybox:latest", "exec sleep 3600");
    watch.line("the pod's start", |line| line.contains("Started") && line.contains("Pod/box"));
    let told = ns.shows("events --for pod/box --no-headers", "Started");
    assert!(told.contains("Scheduled") && !told.contains("Pod/other"), "{told}");
    assert_eq!(ns.ok("events --for pod/box --types=Warning --no-headers"), "");
}

#[test]
fn auth_says_who_one_is_and_what_one_may() {
    let ns = Cluster::running().namespace("auth");
    let whoami = ns.ok("auth whoami --as=ann --as-group=shop -o jsonpath={.status.userInfo}");
    assert!(whoami.contains(r#""username":"ann""#) && whoami.contains("shop"), "{whoami}");
    assert_eq!(ns.attempt("auth can-i create pods --as=ann").stdout, "no\n");
    ns.ok("create rolebinding editors --clusterrole=edit --user=ann");
    ns.shows("auth can-i create pods --as=ann", "yes");
    assert_eq!(ns.ok("auth can-i get pods --subresource=log --as=ann"), "yes\n");
    assert_eq!(ns.attempt("auth can-i create pods --as=ann -n default").stdout, "no\n");
    let list = ns.ok("auth can-i --list --as=ann");
    assert!(list.contains("deployments.apps") && list.contains("selfsubjectreviews.authentication.k8s.io"), "{list}");
}

//! The ordinary kubectl, in every version from 1.27 to 1.33 that is installed, does what users know.

use corten_e2e::{Cluster, SOON, eventually};

#[test]
fn every_kubectl_reads_explains_and_lists() {
    let cluster = Cluster::running();
    for (version, kubectl) in cluster.kubectl().every_version() {
        let claim = |words: &str, expected: &str| {
            let text = kubectl.ok(words);
            assert!(text.contains(expected), "{version} {words} without {expected:?}: {text}");
        };
        claim("version", "Server Version: ");
        claim("get nodes", "Ready");
        claim("get nodes -o wide", "containerd://");
        claim("get all -A", "service/kubernetes");
        claim("get ns default -o yaml", "phase: Active");
        claim("get ns -o jsonpath={.items[*].metadata.name}", "kube-system");
        claim("api-resources", "deployments");
        claim("api-versions", "apps/v1");
        claim("explain deployment.spec.strategy", "rollingUpdate");
        claim("explain pod.spec.containers --recursive", "livenessProbe");
        claim("describe node master1", "node-role.kubernetes.io/control-plane:NoSchedule");
        claim("auth can-i create pods", "yes");
        claim("cluster-info", "control plane");
        claim("get nodes -o name", "node/master1");
        claim("get nodes --sort-by=.metadata.name --no-headers", "master1");
        claim("get nodes -L kubernetes.io/os --show-labels", "kubernetes.io/hostname=master1");
        claim(
            "get node master1 -o custom-columns=TAINT:.spec.taints[*].key",
            "TAINT\nnode-role.kubernetes.io/control-plane\n",
        );
        claim("get node master1 -o go-template={{.spec.podCIDR}}", "10.244.");
        claim("get node master1 -o json", "\"podCIDRs\": [");
        claim("get lease master1 -n kube-node-lease", "HOLDER");
        claim("get service kubernetes", "CLUSTER-IP");
        claim("get --raw /api/v1/namespaces/default", "\"kind\":\"Namespace\"");
    }
}

#[test]
fn every_kubectl_writes_and_deletes() {
    let cluster = Cluster::running();
    for (version, kubectl) in cluster.kubectl().every_version() {
        let own = cluster.namespace(&version.replace('.', "-"));
        let kubectl = kubectl.in_namespace(&own.name);
        let manifest = |colour: &str| {
            format!(
                "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: settings\ndata:\n  colour: {colour}\n  size: '1'\n"
            )
        };
        assert!(kubectl.apply(&manifest("blue")).contains("created"), "{version}");
        assert!(kubectl.apply(&manifest("blue")).contains("unchanged"), "{version}");
        assert!(kubectl.apply(&manifest("red")).contains("configured"), "{version}");
        kubectl.ok("label configmap settings tier=web");
        kubectl.ok("annotate configmap settings note=hello");
        let listed = kubectl.ok("get configmaps -l tier=web -o name");
        assert_eq!(listed, "configmap/settings\n", "{version}");
        let one = kubectl.ok("get configmaps --field-selector metadata.name=settings -o name");
        assert_eq!(one, "configmap/settings\n", "{version}");
        kubectl.ok(r#"patch configmap settings --type=json -p [{"op":"remove","path":"/data/size"}]"#);
        assert_eq!(kubectl.field("configmap settings", "/data/size"), "", "{version}");
        let unknown = kubectl.run_with_input(&["create", "-f", "-"], &format!("{}extra: 1\n", manifest("x"))).refusal();
        assert!(unknown.contains("unknown field"), "{version}: {unknown}");
        assert!(kubectl.ok("delete configmap settings").contains("deleted"), "{version}");
        let gone = kubectl.refused("get configmap settings");
        assert!(gone.contains(r#"configmaps "settings" not found"#), "{version}: {gone}");
    }
}

#[test]
fn every_kubectl_execs_with_exit_codes_and_input() {
    let cluster = Cluster::running();
    let ns = cluster.namespace("exec");
    ns.run_pod("box", "busybox:latest", "sleep 3600");
    for (version, kubectl) in ns.every_version() {
        let kubectl = kubectl.in_namespace(&ns.name);
        assert_eq!(kubectl.ok("exec box -- echo hello"), "hello\n", "{version}");
        let failed = kubectl.run(&["exec", "box", "--", "sh", "-c", "echo out; echo err >&2; exit 5"]);
        assert_eq!((failed.code, failed.stdout.as_str()), (Some(5), "out\n"), "{version}: {}", failed.stderr);
        assert!(failed.stderr.contains("err"), "{version}");
        let input = kubectl.run_with_input(&["exec", "-i", "box", "--", "wc", "-c"], "12345").text();
        assert_eq!(input.trim(), "5", "{version}");
        let missing = kubectl.run(&["exec", "box", "--", "no-such-program"]);
        assert!(!missing.ok && missing.stderr.contains("no-such-program"), "{version}: {missing:?}");
    }
}

#[test]
fn describe_tells_a_pods_story_in_order() {
    let cluster = Cluster::running();
    let ns = cluster.namespace("story");
    ns.run_pod("web", "nginx:latest", "exec nginx -g 'daemon off;'");
    let text = eventually("all events", SOON, || {
        let text = ns.ok("describe pod web");
        if text.contains("Started") { Ok(text) } else { Err(text) }
    });
    let events = text.split("Events:").nth(1).unwrap_or_default();
    let places: Vec<Option<usize>> =
        ["Scheduled", "Pulled", "Created", "Started"].iter().map(|reason| events.find(reason)).collect();
    assert!(places.iter().all(Option::is_some) && places.is_sorted(), "{events}");
    assert!(events.contains(&format!("Successfully assigned {}/web to ", ns.name)), "{events}");
}

#[test]
fn an_impossible_pod_says_why_it_waits_and_starts_when_it_can() {
    let cluster = Cluster::running();
    let ns = cluster.namespace("pending");
    let pod = "apiVersion: v1\nkind: Pod\nmetadata: {name: picky}\nspec:\n  terminationGracePeriodSeconds: 0\n  nodeSelector: {story: pending}\n  containers:\n  - {name: main, image: 'busybox:latest', imagePullPolicy: IfNotPresent, command: [sleep, '3600']}\n";
    ns.apply(pod);
    let told = ns.shows("describe pod picky", "FailedScheduling");
    assert!(told.contains("didn't match Pod's node affinity/selector"), "{told}");
    let node = cluster.workers().remove(0).name;
    cluster.kubectl().ok(&format!("label node {node} story=pending"));
    ns.pod_is_ready("picky");
    cluster.kubectl().ok(&format!("label node {node} story-"));
}

#[test]
fn a_watch_shows_changes_as_they_come() {
    let cluster = Cluster::running();
    let ns = cluster.namespace("watch");
    let watch = ns.start("get configmaps -w -o name");
    ns.ok("create configmap new-one");
    watch.line("the new one", |line| line == "configmap/new-one");
}

#[test]
fn edit_writes_what_the_editor_leaves() {
    let cluster = Cluster::running();
    let ns = cluster.namespace("edit");
    ns.ok("create configmap settings --from-literal=colour=blue");
    let done = std::process::Command::new("kubectl")
        .env("KUBE_EDITOR", "sed -i s/blue/green/")
        .args(["--kubeconfig".as_ref(), cluster.kubeconfig().as_os_str()])
        .args(["-n", &ns.name, "edit", "configmap", "settings"])
        .output()
        .expect("kubectl runs");
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    assert_eq!(ns.field("configmap settings", "/data/colour"), "green");
}

#[test]
fn each_kind_has_the_columns_that_users_know() {
    let cluster = Cluster::running();
    let ns = cluster.namespace("columns");
    ns.apply(&corten_e2e::manifest::deployment("web", 1).to_string());
    ns.ok("expose deployment web --port=80");
    ns.ok("rollout status deployment/web --timeout=60s");
    for (what, columns) in [
        ("pods", "NAME READY STATUS RESTARTS AGE"),
        ("pods -o wide", "NAME READY STATUS RESTARTS AGE IP NODE NOMINATED NODE READINESS GATES"),
        ("deployments", "NAME READY UP-TO-DATE AVAILABLE AGE"),
        ("deployments -o wide", "NAME READY UP-TO-DATE AVAILABLE AGE CONTAINERS IMAGES SELECTOR"),
        ("replicasets", "NAME DESIRED CURRENT READY AGE"),
        ("services", "NAME TYPE CLUSTER-IP EXTERNAL-IP PORT(S) AGE"),
        ("services -o wide", "NAME TYPE CLUSTER-IP EXTERNAL-IP PORT(S) AGE SELECTOR"),
        ("endpoints", "NAME ENDPOINTS AGE"),
        ("endpointslices", "NAME ADDRESSTYPE PORTS ENDPOINTS AGE"),
        ("configmaps", "NAME DATA AGE"),
        ("serviceaccounts", "NAME SECRETS AGE"),
        ("events", "LAST SEEN TYPE REASON OBJECT MESSAGE"),
        ("nodes", "NAME STATUS ROLES AGE VERSION"),
        ("namespaces", "NAME STATUS AGE"),
        ("leases -n kube-node-lease", "NAME HOLDER AGE"),
    ] {
        let text = ns.ok(&format!("get {what}"));
        let seen = text.lines().next().unwrap_or_default().split_whitespace().collect::<Vec<_>>().join(" ");
        assert_eq!(seen, columns, "{what}");
    }
}

#[test]
fn a_server_that_is_asked_for_nonsense_says_what_is_wrong() {
    let ns = Cluster::running().namespace("nonsense");
    let bad_pod = "apiVersion: v1\nkind: Pod\nmetadata: {name: Bad_Name}\nspec: {containers: [{name: main}]}\n";
    for (manifest, says) in [
        (bad_pod, "metadata.name: Invalid value: \"Bad_Name\""),
        ("apiVersion: v1\nkind: Pod\nmetadata: {name: x}\nspec: {containers: []}\n", "spec.containers: Required value"),
        ("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x}\ndata: {a: {b: c}}\n", "cannot unmarshal"),
    ] {
        let said = ns.apply_refused(manifest);
        assert!(said.contains(says), "{says:?} is not in {said}");
    }
    assert!(ns.list("pods").is_empty() && ns.json("configmap x").is_none(), "nothing is half-written");
}

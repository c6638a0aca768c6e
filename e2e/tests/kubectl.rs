//! The ordinary kubectl, in every version from 1.27 to 1.33 that is installed, does what users know.

use std::time::Duration;

use corten_e2e::{Cluster, SOON, eventually};

#[test]
fn every_kubectl_reads_explains_and_lists() {
    let cluster = Cluster::running();
    for (version, kubectl) in cluster.kubectl().every_version() {
        let claim = |args: &[&str], expected: &str| {
            let text = kubectl.run(args).text();
            assert!(text.contains(expected), "{version} {args:?} without {expected:?}: {text}");
        };
        claim(&["version"], "Server Version: ");
        claim(&["get", "nodes"], "Ready");
        claim(&["get", "nodes", "-o", "wide"], "containerd://");
        claim(&["get", "all", "-A"], "service/kubernetes");
        claim(&["get", "ns", "default", "-o", "yaml"], "phase: Active");
        claim(&["get", "ns", "-o", "jsonpath={.items[*].metadata.name}"], "kube-system");
        claim(&["api-resources"], "deployments");
        claim(&["api-versions"], "apps/v1");
        claim(&["explain", "deployment.spec.strategy"], "rollingUpdate");
        claim(&["explain", "pod.spec.containers", "--recursive"], "livenessProbe");
        claim(&["describe", "node", "master1"], "node-role.kubernetes.io/control-plane:NoSchedule");
        claim(&["auth", "can-i", "create", "pods"], "yes");
        claim(&["cluster-info"], "control plane");
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
        kubectl.run(&["label", "configmap", "settings", "tier=web"]).text();
        kubectl.run(&["annotate", "configmap", "settings", "note=hello"]).text();
        let listed = kubectl.run(&["get", "configmaps", "-l", "tier=web", "-o", "name"]).text();
        assert_eq!(listed, "configmap/settings\n", "{version}");
        let one =
            kubectl.run(&["get", "configmaps", "--field-selector", "metadata.name=settings", "-o", "name"]).text();
        assert_eq!(one, "configmap/settings\n", "{version}");
        kubectl
            .run(&["patch", "configmap", "settings", "--type=json", "-p", r#"[{"op":"remove","path":"/data/size"}]"#])
            .text();
        assert_eq!(kubectl.field(&["configmap", "settings"], "/data/size"), "", "{version}");
        let unknown = kubectl.run_with_input(&["create", "-f", "-"], &format!("{}extra: 1\n", manifest("x"))).refusal();
        assert!(unknown.contains("unknown field"), "{version}: {unknown}");
        assert!(kubectl.run(&["delete", "configmap", "settings"]).text().contains("deleted"), "{version}");
        let gone = kubectl.run(&["get", "configmap", "settings"]).refusal();
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
        assert_eq!(kubectl.run(&["exec", "box", "--", "echo", "hello"]).text(), "hello\n", "{version}");
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
fn a_terminal_is_a_terminal() {
    let cluster = Cluster::running();
    let ns = cluster.namespace("tty");
    ns.run_pod("box", "busybox:latest", "sleep 3600");
    // `script` gives kubectl a terminal of its own.
    let command = format!(
        "kubectl --kubeconfig {} -n {} exec -it box -- sh -c 'test -t 0 && echo is-a-tty; stty size'",
        cluster.kubeconfig().display(),
        ns.name
    );
    eventually("a tty", SOON, || {
        let done = std::process::Command::new("script").args(["-qec", &command, "/dev/null"]).output();
        let text = done.map(|d| String::from_utf8_lossy(&d.stdout).into_owned()).map_err(|err| err.to_string())?;
        if text.contains("is-a-tty") { Ok(()) } else { Err(text) }
    });
}

#[test]
fn describe_tells_a_pods_story_in_order() {
    let cluster = Cluster::running();
    let ns = cluster.namespace("story");
    ns.run_pod("web", "nginx:latest", "exec nginx -g 'daemon off;'");
    let text = eventually("all events", SOON, || {
        let text = ns.run(&["describe", "pod", "web"]).text();
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
    eventually("the reason in the events", SOON, || {
        let text = ns.run(&["describe", "pod", "picky"]).text();
        let told = text.contains("FailedScheduling") && text.contains("didn't match Pod's node affinity/selector");
        if told { Ok(()) } else { Err(text) }
    });
    let node = cluster.workers().remove(0).name;
    cluster.kubectl().run(&["label", "node", &node, "story=pending"]).text();
    ns.pod_is_ready("picky");
    cluster.kubectl().run(&["label", "node", &node, "story-"]).text();
}

#[test]
fn a_watch_shows_changes_as_they_come() {
    let cluster = Cluster::running();
    let ns = cluster.namespace("watch");
    let watch = ns.start(&["get", "configmaps", "-w", "-o", "name"]);
    ns.run(&["create", "configmap", "new-one"]).text();
    watch.line("the new one", Duration::from_secs(20), |line| line == "configmap/new-one");
}

#[test]
fn edit_writes_what_the_editor_leaves() {
    let cluster = Cluster::running();
    let ns = cluster.namespace("edit");
    ns.run(&["create", "configmap", "settings", "--from-literal=colour=blue"]).text();
    let done = std::process::Command::new("kubectl")
        .env("KUBE_EDITOR", "sed -i s/blue/green/")
        .args(["--kubeconfig".as_ref(), cluster.kubeconfig().as_os_str()])
        .args(["-n", &ns.name, "edit", "configmap", "settings"])
        .output()
        .expect("kubectl runs");
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    assert_eq!(ns.field(&["configmap", "settings"], "/data/colour"), "green");
}

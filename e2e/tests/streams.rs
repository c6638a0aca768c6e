//! Attach, terminals and logs: what flows between a container and a user.

use corten_e2e::manifest::{container, pod};
use corten_e2e::{Cluster, SOON, eventually};
use serde_json::json;

#[test]
fn every_kubectl_attaches_and_talks_to_a_container() {
    let ns = Cluster::running().namespace("attach");
    for (version, kubectl) in ns.every_version() {
        let name = version.replace('.', "-");
        let mut main = container("read line; echo got $line; read line; echo got $line");
        main["stdin"] = true.into();
        main["stdinOnce"] = true.into();
        ns.apply(&pod(&name, &json!({"restartPolicy": "Never", "containers": [main]})));
        ns.pod_is_ready(&name);
        let said = kubectl.run_with_input(&["attach", "-i", &name], "one\ntwo\n").text();
        // What comes before the stream stands is in the log alone.
        assert!(said.contains("got two"), "{version}: {said}");
        ns.becomes(&format!("pod {name}"), "/status/phase", "Succeeded");
        assert_eq!(ns.ok(&format!("logs {name}")), "got one\ngot two\n", "{version}");
    }
}

#[test]
fn every_kubectl_runs_a_pod_for_one_command_and_removes_it() {
    let ns = Cluster::running().namespace("run");
    for (version, kubectl) in ns.every_version() {
        let name = version.replace('.', "-");
        let words = format!(
            "run {name} -i --rm --restart=Never --image=busybox:latest --image-pull-policy=IfNotPresent -- wc -c"
        );
        let args: Vec<&str> = words.split(' ').collect();
        let output = kubectl.run_with_input(&args, "12345");
        assert!(output.ok && output.stdout.lines().any(|line| line.trim() == "5"), "{version}: {output:?}");
        assert!(output.stdout.contains(&format!("pod \"{name}\" deleted")), "{version}: {output:?}");
        let failed = kubectl.run(&[&args[..args.len() - 2], &["sh", "-c", "exit 9"]].concat());
        assert_eq!(failed.code, Some(9), "{version}: {failed:?}");
        assert!(ns.json(&format!("pod {name}")).is_none(), "{version}");
    }
}

#[test]
fn a_terminal_is_a_terminal_of_its_users_size() {
    let cluster = Cluster::running();
    let ns = cluster.namespace("tty");
    ns.run_pod("box", "busybox:latest", "sleep 3600");
    for (version, kubectl) in ns.every_version() {
        // `script` gives kubectl a terminal of its own. The size comes after the start: the shell in the pod waits for it.
        let command = format!(
            "stty rows 33 cols 77; {} --kubeconfig {} -n {} exec -it box -- \
             sh -c 'test -t 0 || exit 1; i=0; while [ $i -lt 50 ] && [ \"$(stty size)\" != \"33 77\" ]; do i=$((i+1)); sleep 0.1; done; \
             echo size $(stty size)'",
            kubectl.program().display(),
            cluster.kubeconfig().display(),
            ns.name
        );
        let done = std::process::Command::new("script").args(["-qec", &command, "/dev/null"]).output();
        let text = done.map(|done| String::from_utf8_lossy(&done.stdout).into_owned()).unwrap_or_default();
        assert!(text.contains("size 33 77"), "{version}: {text}");
    }
}

#[test]
fn logs_follow_and_show_the_container_before() {
    let ns = Cluster::running().namespace("logs");
    let talk = "i=0; while [ $i -lt 5 ]; do echo line $i; i=$((i+1)); sleep 0.2; done; exit 1";
    ns.apply(&pod("talks", &json!({"containers": [container(talk)]})));
    let follow = eventually("logs to follow", SOON, || {
        let first = ns.attempt("logs talks");
        if first.ok { Ok(ns.start("logs -f talks")) } else { Err(first.stderr) }
    });
    follow.line("the last line", |line| line == "line 4");
    eventually("the previous container's log", SOON, || {
        let previous = ns.attempt("logs talks --previous --tail=1");
        if previous.ok && previous.stdout == "line 4\n" { Ok(()) } else { Err(format!("{previous:?}")) }
    });
}

#[test]
fn logs_are_cut_by_lines_time_and_bytes_and_name_their_containers() {
    let ns = Cluster::running().namespace("cut");
    let mut other = container("echo from the other; exec sleep 3600");
    other["name"] = "other".into();
    let main = container("echo old; while ! test -e /go; do sleep 0.1; done; echo new; exec sleep 3600");
    ns.apply(&pod("talks", &json!({"containers": [main, other]})));
    ns.pod_is_ready("talks");
    ns.shows("logs talks -c main", "old");
    // A moment between the two lines that no clock's granularity hides.
    ns.sh("talks", "sleep 2; touch /go").text();
    ns.shows("logs talks -c main", "new");
    assert_eq!(ns.ok("logs talks -c main --tail=1"), "new\n");
    assert_eq!(ns.ok("logs talks -c main --limit-bytes=2"), "ol");
    let stamped = ns.ok("logs talks -c main --timestamps");
    let since = stamped.lines().nth(1).and_then(|line| line.split(' ').next()).unwrap_or_default();
    assert_eq!(ns.ok(&format!("logs talks -c main --since-time={since}")), "new\n", "{stamped}");
    assert_eq!(ns.ok("logs talks -c main --since=1h"), "old\nnew\n");
    let both = ns.ok("logs -l app=talks --all-containers --prefix");
    assert!(both.contains("[pod/talks/other] from the other") && both.contains("[pod/talks/main] new"), "{both}");
    assert!(ns.refused("logs talks -c nobody").contains("container nobody is not valid for pod talks"));
    assert!(ns.refused("logs talks -c main --previous").contains("previous terminated container"));
}

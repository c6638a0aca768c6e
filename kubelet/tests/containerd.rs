//! The runtime and images ports on a real containerd, private to the test, and the runtime port's fake beside it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stderr, reason = "tests")]

#[path = "containerd/ends.rs"]
mod ends;
#[path = "containerd/image.rs"]
mod image;
#[path = "containerd/node.rs"]
mod node;
#[path = "containerd/pods.rs"]
mod pods;
#[path = "containerd/registry.rs"]
mod registry;
#[path = "containerd/sandboxes.rs"]
mod sandboxes;
#[path = "containerd/sizes.rs"]
mod sizes;

use std::time::{Duration, Instant};

use bytes::Bytes;
use corten_kubelet::images::fake::FakeImages;
use corten_kubelet::images::{ImageError, ImageRequest, Images, PullPolicy, RegistryAuth};
use corten_kubelet::runtime::fake::FakeRuntime;
use corten_kubelet::runtime::{
    Event, ExecSpec, Resources, Runtime, RuntimeError, Seccomp, Security, Session, SessionInput, SessionOutput, State,
    User,
};
use futures::StreamExt;
use node::Node;
use pods::{Pods, SIGKILL, SIGTERM, Specs, shell};

/// What every runtime must do.
async fn keeps_the_contract(runtime: &dyn Runtime, pods: &Specs) {
    let mut events = runtime.events();
    assert_eq!(events.next().await, Some(Event::Resync), "a stream begins with a resync");
    let sandbox = runtime.create_sandbox(&pods.sandbox("u1")).await.unwrap();
    assert_eq!(runtime.create_sandbox(&pods.sandbox("u1")).await.unwrap(), sandbox, "making it twice makes one");
    let spec = pods.container("web", &[]);
    let id = runtime.create_container(&sandbox, &spec).await.unwrap();
    assert_eq!(pods::state(runtime, &id).await, Some(State::Created));
    let again = runtime.create_container(&sandbox, &spec).await;
    assert_eq!(again.expect("one that was made and never started is replaced"), id);
    runtime.start_container(&id).await.unwrap();
    assert!(matches!(pods::state(runtime, &id).await, Some(State::Running { .. })));
    assert!(runtime.create_container(&sandbox, &spec).await.is_err(), "a running container is never replaced");

    let listed = runtime.list().await.unwrap();
    assert_eq!((listed.sandboxes.len(), listed.containers.len()), (1, 1));
    let container = &listed.containers[0];
    assert_eq!(
        (container.pod_uid.as_str(), container.name.as_str(), &container.sandbox_id),
        (pods.uid("u1").as_str(), "web", &sandbox)
    );
    assert_eq!(container.labels, spec.labels, "labels come back as they were given");
    assert_eq!(runtime.stats().await.unwrap().len(), 1);

    let labels = [("size".to_owned(), "small".to_owned())].into();
    runtime.update_container(&id, &Resources::default(), &labels).await.unwrap();
    let labelled = runtime.list().await.unwrap().containers[0].labels.clone();
    assert_eq!(labelled, spec.labels.iter().chain(&labels).map(|(k, v)| (k.clone(), v.clone())).collect());

    runtime.signal(&id, SIGKILL).await.unwrap();
    let exit = pods::exit_of(&mut events, &id).await;
    assert_eq!((exit.exit_code, exit.oom_killed), (137, false));
    let late = runtime.update_container(&id, &Resources::default(), &labels).await;
    assert!(matches!(late, Err(RuntimeError::NotRunning { .. })), "{late:?}");
    assert!(matches!(pods::state(runtime, &id).await, Some(State::Exited(listed)) if listed.exit_code == 137));
    runtime.signal(&id, SIGTERM).await.expect("to what has ended a signal is a success");
    let exec = ExecSpec { command: vec!["true".into()], ..ExecSpec::default() };
    assert!(matches!(runtime.exec(&id, &exec).await, Err(RuntimeError::NotRunning { .. })));

    runtime.remove_container(&id).await.unwrap();
    runtime.remove_container(&id).await.expect("removing twice is fine");
    runtime.remove_sandbox(&sandbox).await.unwrap();
    runtime.remove_sandbox(&sandbox).await.expect("removing twice is fine");
    assert_eq!(runtime.list().await.unwrap(), Default::default());
    assert!(matches!(runtime.start_container(&id).await, Err(RuntimeError::NotFound { .. })));
    assert!(matches!(runtime.create_container(&sandbox, &spec).await, Err(RuntimeError::NotFound { .. })));
}

#[tokio::test]
async fn the_fake_runtime_keeps_the_contract() {
    let dir = tempfile::tempdir().unwrap();
    keeps_the_contract(&FakeRuntime::default(), &Specs::of_fake(dir.path())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn containerd_keeps_the_contract() {
    let Some(node) = Node::start().await else { return };
    let pods = Pods::of(&node).await;
    keeps_the_contract(&pods.runtime, &pods).await;
    pods.clean().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_has_its_pods_surroundings_and_its_log() {
    let Some(node) = Node::start().await else { return };
    let pods = Pods::of(&node).await;
    let runtime = &pods.runtime;
    let sandbox = runtime.create_sandbox(&pods.sandbox("u1")).await.unwrap();
    let script = "echo $FROM_IMAGE $FROM_POD $HOSTNAME; id -u; id -G; echo oops >&2; cat /data/file; exit 3";
    let data = node.path("data");
    std::fs::create_dir(&data).unwrap();
    std::fs::write(data.join("file"), "from the volume\n").unwrap();
    let mut spec = pods.container("web", &["sh", "-c", script]);
    spec.env = vec![("FROM_POD".into(), "too".into())];
    spec.user = User { uid: Some(33), gid: None, additional_gids: vec![55], strict_groups: false };
    spec.mounts = vec![pods::mount(&data, "/data")];
    spec.security = Security { read_only_root: true, no_new_privileges: true, ..Security::default() };
    let mut events = runtime.events();
    let id = pods.run(&sandbox, &spec).await;
    let exit = pods::exit_of(&mut events, &id).await;
    assert_eq!(exit.exit_code, 3);
    // Its logger writes the last of it after the end is known.
    let expected = "yes too web-0\n33\n33 44 55\nfrom the volume\n";
    pods::until("its whole log", async || pods::log(&spec).await.stdout == expected).await;
    assert_eq!(pods::log(&spec).await.stderr, "oops\n");

    let missing = pods.container("missing", &["/no/such/program"]);
    let id = runtime.create_container(&sandbox, &missing).await;
    let why = match id {
        Ok(id) => runtime.start_container(&id).await.unwrap_err(),
        Err(why) => why,
    };
    assert!(matches!(why, RuntimeError::BadCommand { .. }), "{why:?}");
    pods.clean().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_run_in_a_container_and_end_with_their_code() {
    let Some(node) = Node::start().await else { return };
    let pods = Pods::of(&node).await;
    let runtime = &pods.runtime;
    let sandbox = runtime.create_sandbox(&pods.sandbox("u1")).await.unwrap();
    let id = pods.run(&sandbox, &pods.container("web", &[])).await;

    let result =
        runtime.exec_sync(&id, &shell("echo out; echo err >&2; exit 7"), Duration::from_secs(10)).await.unwrap();
    assert_eq!(result.exit_code, 7);
    let text = String::from_utf8(result.output).unwrap();
    assert!(text.contains("out\n") && text.contains("err\n"), "{text}");
    let slow = runtime.exec_sync(&id, &shell("sleep 100"), Duration::from_millis(300)).await;
    assert!(matches!(slow, Err(RuntimeError::Timeout { .. })), "{slow:?}");
    let missing = runtime.exec_sync(&id, &["/no/such/program".into()], Duration::from_secs(10)).await.unwrap_err();
    assert!(matches!(missing, RuntimeError::BadCommand { .. }), "{missing:?}");

    let cat = ExecSpec { command: vec!["cat".into()], stdin: true, stdout: true, stderr: true, tty: false };
    let mut session = runtime.exec(&id, &cat).await.unwrap();
    session.input.send(SessionInput::Stdin(Bytes::from_static(b"hello"))).await.unwrap();
    assert_eq!(session.output.recv().await, Some(SessionOutput::Stdout(Bytes::from_static(b"hello"))));
    session.input.send(SessionInput::CloseStdin).await.unwrap();
    assert_eq!(session.output.recv().await, Some(SessionOutput::Exited(0)));

    let tty = ExecSpec { command: shell("read line; stty size"), stdin: true, stdout: true, stderr: false, tty: true };
    let mut session = runtime.exec(&id, &tty).await.unwrap();
    session.input.send(SessionInput::Resize { width: 91, height: 33 }).await.unwrap();
    session.input.send(SessionInput::Stdin(Bytes::from_static(b"\n"))).await.unwrap();
    let mut seen = String::new();
    loop {
        match session.output.recv().await.expect("ends with an exit code") {
            SessionOutput::Stdout(bytes) => seen.push_str(std::str::from_utf8(&bytes).unwrap()),
            SessionOutput::Stderr(_) => panic!("a terminal has one output"),
            SessionOutput::Exited(code) => break assert_eq!(code, 0),
        }
    }
    assert!(seen.contains("33 91"), "{seen:?}");
    pods.clean().await;
}

/// Reads a session's output until `wanted` is in it.
async fn until(session: &mut Session, wanted: &str) {
    let mut seen = String::new();
    while !seen.contains(wanted) {
        let next = tokio::time::timeout(Duration::from_secs(20), session.output.recv()).await;
        match next {
            Ok(Some(SessionOutput::Stdout(bytes))) => seen.push_str(std::str::from_utf8(&bytes).unwrap()),
            other => panic!("{other:?} instead of {wanted:?} after {seen:?}"),
        }
    }
}

async fn type_in(session: &Session, text: &'static str) {
    session.input.send(SessionInput::Stdin(Bytes::from_static(text.as_bytes()))).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn one_can_attach_again_and_again_to_a_container_that_reads_its_input() {
    let Some(node) = Node::start().await else { return };
    let pods = Pods::of(&node).await;
    let sandbox = pods.runtime.create_sandbox(&pods.sandbox("u1")).await.unwrap();
    for (name, tty) in [("plain", false), ("terminal", true)] {
        let command = ["sh", "-c", "while read line; do echo got $line; [ $line = end ] && exit 5; done"];
        let spec = corten_kubelet::runtime::ContainerSpec { stdin: true, tty, ..pods.container(name, &command) };
        let id = pods.run(&sandbox, &spec).await;
        // As often as it takes for an answer that comes before the log is looked at to show.
        for _ in 0..10 {
            let mut session = pods.runtime.attach(&id).await.unwrap();
            type_in(&session, "one\n").await;
            until(&mut session, "got one").await;
        }
        let mut session = pods.runtime.attach(&id).await.unwrap();
        type_in(&session, "end\n").await;
        until(&mut session, "got end").await;
        let mut last = None;
        while let Some(message) = session.output.recv().await {
            last = Some(message);
        }
        assert_eq!(last, Some(SessionOutput::Exited(5)), "{name}");
    }
    pods.clean().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn input_given_once_ends_with_its_client() {
    let Some(node) = Node::start().await else { return };
    let pods = Pods::of(&node).await;
    let sandbox = pods.runtime.create_sandbox(&pods.sandbox("u1")).await.unwrap();
    let spec = corten_kubelet::runtime::ContainerSpec {
        stdin: true,
        stdin_once: true,
        ..pods.container("cat", &["sh", "-c", "cat; echo; echo the end"])
    };
    let id = pods.run(&sandbox, &spec).await;
    let mut session = pods.runtime.attach(&id).await.unwrap();
    type_in(&session, "some input").await;
    session.input.send(SessionInput::CloseStdin).await.unwrap();
    until(&mut session, "some input\nthe end").await;
    assert_eq!(session.output.recv().await, Some(SessionOutput::Exited(0)));
    pods.clean().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_of_containerd_leaves_containers_running_and_known() {
    let Some(mut node) = Node::start().await else { return };
    let pods = Pods::of(&node).await;
    let sandbox = pods.runtime.create_sandbox(&pods.sandbox("u1")).await.unwrap();
    let spec = pods.container("web", &["sh", "-c", "echo before; read x < /data/go; echo after; sleep 1000"]);
    let data = node.path("data");
    std::fs::create_dir(&data).unwrap();
    nix::unistd::mkfifo(&data.join("go"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    let spec = corten_kubelet::runtime::ContainerSpec { mounts: vec![pods::mount(&data, "/data")], ..spec };
    let id = pods.run(&sandbox, &spec).await;
    let Some(State::Running { pid, .. }) = pods::state(&pods.runtime, &id).await else { panic!("it runs") };

    let mut events = pods.runtime.events();
    assert_eq!(events.next().await, Some(Event::Resync));
    node.crash_containerd();
    assert!(matches!(pods.runtime.list().await, Err(RuntimeError::Unavailable { .. })));
    std::fs::write(data.join("go"), "\n").unwrap();
    node.start_containerd();
    let back = tokio::time::timeout(Duration::from_secs(20), events.next()).await;
    assert_eq!(back.expect("the connection comes back"), Some(Event::Resync));

    // As another kubelet would see it.
    let again = Pods::again(&node, &pods);
    let listed = again.runtime.list().await.unwrap();
    assert_eq!(listed.sandboxes.len(), 1);
    assert!(matches!(listed.containers[0].state, State::Running { pid: now, .. } if now == pid), "{listed:?}");
    pods::until("the log goes on", async || pods::log(&spec).await.stdout == "before\nafter\n").await;
    let mut events = again.runtime.events();
    again.runtime.signal(&id, SIGKILL).await.unwrap();
    assert_eq!(pods::exit_of(&mut events, &id).await.exit_code, 137);
    again.clean().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn syscalls_are_filtered_as_the_profile_says() {
    let Some(node) = Node::start().await else { return };
    let pods = Pods::of(&node).await;
    let sandbox = pods.runtime.create_sandbox(&pods.sandbox("u1")).await.unwrap();
    let profile = node.path("no-id.json");
    let rules = r#"{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["getuid", "geteuid"], "action": "SCMP_ACT_KILL_PROCESS"}]}"#;
    std::fs::write(&profile, rules).unwrap();
    let script =
        "while read line; do case $line in Seccomp:*) set -- $line; echo $2;; esac; done < /proc/self/status; id -u";
    let cases = [
        ("unconfined", Seccomp::Unconfined, "0\n0\n"),
        ("default", Seccomp::RuntimeDefault, "2\n0\n"),
        ("profile", Seccomp::Profile(profile), ""),
    ];
    for (name, seccomp, expected) in cases {
        let mut spec = pods.container(name, &["sh", "-c", script]);
        spec.security.seccomp = seccomp;
        let mut events = pods.runtime.events();
        let id = pods.run(&sandbox, &spec).await;
        let exit = pods::exit_of(&mut events, &id).await;
        assert_eq!(exit.exit_code == 0, !expected.is_empty(), "{name}: {exit:?}");
        pods::until(name, async || pods::log(&spec).await.stdout == expected).await;
    }
    pods.clean().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_end_that_nobody_saw_was_when_it_was_noticed() {
    let Some(mut node) = Node::start().await else { return };
    let pods = Pods::of(&node).await;
    let sandbox = pods.runtime.create_sandbox(&pods.sandbox("u1")).await.unwrap();
    let id = pods.run(&sandbox, &pods.container("web", &["sleep", "1000"])).await;
    let Some(State::Running { pid, .. }) = pods::state(&pods.runtime, &id).await else { panic!("it runs") };
    let crashed_at = jiff::Timestamp::now();
    node.crash(&[pid]);

    let again = Pods::again(&node, &pods);
    let seen = async || match pods::state(&again.runtime, &id).await {
        Some(State::Exited(exit)) => exit,
        other => panic!("it has ended: {other:?}"),
    };
    let exit = seen().await;
    assert!(exit.unseen && exit.exit_code == 255, "{exit:?}");
    assert!(exit.started_at < crashed_at && exit.finished_at >= crashed_at, "{exit:?}, crashed at {crashed_at}");
    assert_eq!(seen().await, exit, "it stays what it was");
    again.clean().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_cut_off_making_left_is_swept() {
    let Some(node) = Node::start().await else { return };
    let pods = Pods::of(&node).await;
    let sandbox = pods.runtime.create_sandbox(&pods.sandbox("u1")).await.unwrap();
    let kept = pods.run(&sandbox, &pods.container("kept", &["sleep", "1000"])).await;
    let left = pods.runtime.create_container(&sandbox, &pods.container("left", &["sleep", "1000"])).await.unwrap();
    let ctr = |words: &[&str]| node.ctr(words);
    // As if the kubelet had been killed between the root file system and the container.
    ctr(&["tasks", "delete", "--force", &left]);
    ctr(&["containers", "delete", "--keep-snapshot", &left]);
    let snapshots = || {
        let native = ctr(&["snapshots", "--snapshotter", "native", "list"]);
        native + &ctr(&["snapshots", "--snapshotter", "overlayfs", "list"])
    };
    assert!(snapshots().contains(&left));
    let shared = node.path("runtime/sandboxes").join("0".repeat(64));
    std::fs::create_dir_all(&shared).unwrap();

    let again = Pods::again(&node, &pods);
    again.runtime.sweep().await.unwrap();
    assert!(!snapshots().contains(&left) && !shared.exists(), "nothing is left of them");
    assert!(matches!(pods::state(&again.runtime, &kept).await, Some(State::Running { .. })), "all else stays");
    assert!(snapshots().contains(&kept));
    again.clean().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_over_its_memory_limit_is_said_to_be_oom_killed() {
    let Some(node) = Node::start().await else { return };
    let pods = Pods::of(&node).await;
    let sandbox = pods.runtime.create_sandbox(&pods.sandbox("u1")).await.unwrap();
    // `tail` of an endless line keeps all of it.
    let mut spec = pods.container("hungry", &["tail", "/dev/zero"]);
    spec.resources = Resources { memory_limit_bytes: Some(32 << 20), ..Resources::default() };
    let mut events = pods.runtime.events();
    let id = pods.run(&sandbox, &spec).await;
    let exit = pods::exit_of(&mut events, &id).await;
    assert_eq!((exit.exit_code, exit.oom_killed), (137, true));
    assert!(
        matches!(pods::state(&pods.runtime, &id).await, Some(State::Exited(e)) if e.oom_killed),
        "also when listed"
    );
    pods.clean().await;
}

#[tokio::test]
async fn the_fake_images_keep_the_contract() {
    let images = FakeImages::default();
    images.publish("corten-test");
    images_keep_the_contract(&images).await;
}

async fn images_keep_the_contract(images: &dyn Images) {
    let ask = |image: &str, policy| ImageRequest { image: image.into(), policy, auth: Vec::new() };
    let never = images.ensure(&ask("corten-test", PullPolicy::Never)).await;
    assert!(matches!(never, Err(ImageError::NeverPull { .. })), "{never:?}");
    assert_eq!(images.find("corten-test").await.unwrap(), None);
    let pulled = images.ensure(&ask("corten-test", PullPolicy::IfNotPresent)).await.unwrap();
    assert!(pulled.pulled_in.is_some());
    assert_eq!(pulled.handle.name, "docker.io/library/corten-test:latest");
    let present = images.ensure(&ask("docker.io/library/corten-test:latest", PullPolicy::Never)).await.unwrap();
    assert_eq!(present.pulled_in, None);
    assert_eq!(present.handle, pulled.handle, "found as it was pulled");
    assert!(images.ensure(&ask("corten-test", PullPolicy::Always)).await.unwrap().pulled_in.is_some());
    let listed = images.list().await.unwrap();
    assert_eq!(listed.len(), 1);
    assert_eq!(listed[0].id, pulled.handle.id);
    let bad = images.ensure(&ask("No Such", PullPolicy::Always)).await;
    assert!(matches!(bad, Err(ImageError::InvalidName { .. })), "{bad:?}");
    let missing = images.ensure(&ask("missing", PullPolicy::IfNotPresent)).await;
    assert!(matches!(missing, Err(ImageError::NotFound { .. })), "{missing:?}");
    images.remove(&pulled.handle.id).await.unwrap();
    images.remove(&pulled.handle.id).await.expect("removing twice is fine");
    assert_eq!(images.find("corten-test").await.unwrap(), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn images_in_containerd_keep_the_contract() {
    let Some(node) = Node::start().await else { return };
    let pods = Pods::without_image(&node);
    images_keep_the_contract(&pods.images).await;

    // Two ask at once, by one name: one pull serves both.
    let request = ImageRequest { image: "corten-test:v2".into(), policy: PullPolicy::IfNotPresent, auth: Vec::new() };
    let (a, b) = tokio::join!(pods.images.ensure(&request), pods.images.ensure(&request));
    assert_eq!(a.unwrap().handle, b.unwrap().handle);

    let private = format!("{}/library/private", node.registry);
    let mut request = ImageRequest { image: private, policy: PullPolicy::Always, auth: Vec::new() };
    let refused = pods.images.ensure(&request).await;
    assert!(matches!(refused, Err(ImageError::Auth { .. })), "{refused:?}");
    request.auth = vec![RegistryAuth {
        registry: node.registry.to_string(),
        username: "user".into(),
        password: "password".into(),
    }];
    pods.images.ensure(&request).await.expect("the secret opens it");
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_that_do_not_match_their_digest_are_never_used() {
    let Some(node) = Node::start().await else { return };
    let pods = Pods::without_image(&node);
    let image = format!("{}/library/forged", node.registry);
    let request = ImageRequest { image: image.clone(), policy: PullPolicy::Always, auth: Vec::new() };
    pods.images.ensure(&request).await.expect_err("the layer was forged");
    assert_eq!(pods.images.find(&image).await.unwrap(), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_that_lies_about_its_layers_changes_no_other_image() {
    let Some(node) = Node::start().await else { return };
    let before = Pods::without_image(&node);
    let image = format!("{}/library/lying", node.registry);
    let request = ImageRequest { image, policy: PullPolicy::Always, auth: Vec::new() };
    before.images.ensure(&request).await.expect_err("its first layer is not the one that its config names");
    // The image whose layers it claimed to have: had they been kept, this pod would find no program in its root.
    let pods = Pods::of(&node).await;
    pods.run_pod("u1").await;
    pods.clean().await;
}

/// Prints how long pods take; fails only far beyond what is wanted, as machines differ.
#[tokio::test(flavor = "multi_thread")]
async fn pods_start_quickly() {
    let Some(node) = Node::start().await else { return };
    let pods = Pods::of(&node).await;
    let mut took = Vec::new();
    for at in 0..20 {
        let begun = Instant::now();
        pods.run_pod(&format!("one-{at}")).await;
        took.push(begun.elapsed());
    }
    took.sort();
    let begun = Instant::now();
    let names: Vec<String> = (0..30).map(|at| format!("many-{at}")).collect();
    futures::future::join_all(names.iter().map(|uid| pods.run_pod(uid))).await;
    let thirty = begun.elapsed();
    eprintln!("two-container pod: median {:?}, slowest {:?}; thirty at once: {thirty:?}", took[10], took[19]);
    let begun = Instant::now();
    pods.clean().await;
    eprintln!("fifty pods removed in {:?}", begun.elapsed());
    assert!(took[10] < Duration::from_secs(2) && thirty < Duration::from_secs(60));
}

//! What is left of a container that has ended: its log, whole, and how it ended; no task, no shim and no logger.

use std::path::Path;
use std::time::{Duration, Instant};

use corten_kubelet::logs;
use corten_kubelet::runtime::{ContainerSpec, Exit, Resources, Runtime, State};

use crate::node::Node;
use crate::pods::{self, Pods, Specs};

/// The shim that keeps a dead container's pipe open would hold a reader of its last words for two seconds.
const LAST_WORDS_SOON: Duration = Duration::from_millis(500);

fn loggers(log: &Path) -> usize {
    let writes = |process: &procfs::process::Process| {
        process.cmdline().unwrap_or_default().iter().any(|word| Path::new(word) == log)
    };
    procfs::process::all_processes().unwrap().flatten().filter(writes).count()
}

fn has_task(node: &Node, id: &str) -> bool {
    node.ctr(&["tasks", "list"]).contains(id)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_dead_container_leaves_is_its_whole_log_and_how_it_ended() {
    let Some(node) = Node::start().await else { return };
    let pods = Pods::of(&node).await;
    let sandbox = pods.runtime.create_sandbox(&pods.sandbox("u1")).await.unwrap();
    for (name, stdin, tty) in [("plain", false, false), ("input", true, false), ("terminal", true, true)] {
        let plain = pods.container(name, &["sh", "-c", "echo first; printf 'no newline'; exit 3"]);
        let spec = ContainerSpec { stdin, tty, ..plain };
        let mut events = pods.runtime.events();
        let id = pods.run(&sandbox, &spec).await;
        let exit = pods::exit_of(&mut events, &id).await;
        assert_eq!(exit.exit_code, 3, "{name}");

        let asked_at = Instant::now();
        let words = logs::read_last(&spec.log_path, 1, 100).await.unwrap();
        assert!(asked_at.elapsed() < LAST_WORDS_SOON, "{name}: its last words took {:?}", asked_at.elapsed());
        assert_eq!(String::from_utf8(words).unwrap(), "no newline", "{name}");
        let text = std::fs::read_to_string(&spec.log_path).unwrap();
        let last = text.lines().last().unwrap();
        assert!(last.contains(" stdout P"), "{name}: the last line has no end: {text:?}");

        pods::until("its logger has ended", async || loggers(&spec.log_path) == 0).await;
        pods::until("its task is gone", async || !has_task(&node, &id)).await;
        for runtime in [&pods.runtime, &Pods::again(&node, &pods).runtime] {
            let listed = pods::state(runtime, &id).await;
            assert_eq!(listed, Some(State::Exited(exit.clone())), "{name}: to this kubelet and to the next one");
            runtime.signal(&id, pods::SIGTERM).await.expect("to what has ended a signal is a success");
        }
    }
    pods.clean().await;
}

/// A container that waits for a line in `go`, and what comes after it.
fn on_go(pods: &Specs, name: &str, then: &str) -> ContainerSpec {
    let data = pods.dir.join(name);
    std::fs::create_dir(&data).unwrap();
    nix::unistd::mkfifo(&data.join("go"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    let spec = pods.container(name, &["sh", "-c", &format!("read x < /data/go; {then}")]);
    let resources = Resources { memory_limit_bytes: Some(32 << 20), ..Resources::default() };
    ContainerSpec { mounts: vec![pods::mount(&data, "/data")], resources, ..spec }
}

async fn end_of(pods: &Pods, id: &str) -> Exit {
    match pods::state(&pods.runtime, id).await {
        Some(State::Exited(exit)) => exit,
        other => panic!("it has ended: {other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kubelet_that_is_started_again_anywhere_finds_the_same_end() {
    let Some(node) = Node::start().await else { return };
    let before = Pods::of(&node).await;
    let sandbox = before.runtime.create_sandbox(&before.sandbox("u1")).await.unwrap();
    // `tail` of an endless line keeps all of it.
    let cases = [("fails", "exit 3", 3, false), ("hungry", "exec tail /dev/zero", 137, true)];
    let specs = Specs::clone(&before);
    let mut ids = Vec::new();
    for (name, then, ..) in cases {
        ids.push(before.run(&sandbox, &on_go(&before, name, then)).await);
    }
    // No kubelet sees the end.
    drop(before);
    for ((name, _, exit_code, oom_killed), id) in cases.into_iter().zip(&ids) {
        std::fs::write(specs.dir.join(name).join("go"), "\n").unwrap();
        let stopped = || node.ctr(&["tasks", "list"]).lines().any(|l| l.contains(id.as_str()) && l.contains("STOPPED"));
        pods::until("its task has stopped", async || stopped()).await;

        // Between the end and the label.
        let second = Pods::later(&node, specs.clone());
        let end = end_of(&second, id).await;
        assert_eq!((end.exit_code, end.oom_killed, end.unseen), (exit_code, oom_killed, false), "{name}: {end:?}");
        pods::until("its task is gone", async || !has_task(&node, id)).await;
        // After both: a cgroup is gone too, and nobody could count its OOM kills any more.
        let third = Pods::later(&node, specs.clone());
        assert_eq!(end_of(&third, id).await, end, "{name}");
    }
    Pods::later(&node, specs).clean().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_whose_end_is_on_record_is_taken_away_by_the_next_kubelet() {
    let Some(node) = Node::start().await else { return };
    let before = Pods::of(&node).await;
    let sandbox = before.runtime.create_sandbox(&before.sandbox("u1")).await.unwrap();
    let spec = on_go(&before, "fails", "exit 3");
    let id = before.run(&sandbox, &spec).await;
    let specs = Specs::clone(&before);
    drop(before);
    std::fs::write(specs.dir.join("fails/go"), "\n").unwrap();
    // As the kubelet before would have written it, had it known more than the task says.
    let record = "corten.io/runtime.exit=137 2026-01-01T00:00:00Z 2026-01-01T00:00:01.5Z oom-killed";
    node.ctr(&["containers", "label", &id, record]);
    let stopped = || node.ctr(&["tasks", "list"]).lines().any(|l| l.contains(&id) && l.contains("STOPPED"));
    pods::until("its task has stopped", async || stopped()).await;

    let after = Pods::later(&node, specs);
    let end = end_of(&after, &id).await;
    let at = |text: &str| text.parse().unwrap();
    let (started_at, finished_at) = (at("2026-01-01T00:00:00Z"), at("2026-01-01T00:00:01.5Z"));
    assert_eq!(end, Exit { exit_code: 137, started_at, finished_at, oom_killed: true, unseen: false });
    pods::until("its task is gone", async || !has_task(&node, &id)).await;
    pods::until("its logger has ended", async || loggers(&spec.log_path) == 0).await;
    assert_eq!(end_of(&after, &id).await, end);
    after.clean().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_that_could_not_be_started_stays_so_for_the_next_kubelet() {
    let Some(node) = Node::start().await else { return };
    let pods = Pods::of(&node).await;
    let sandbox = pods.runtime.create_sandbox(&pods.sandbox("u1")).await.unwrap();
    let id = pods.runtime.create_container(&sandbox, &pods.container("web", &[])).await.unwrap();
    node.ctr(&["tasks", "kill", "--signal", "SIGKILL", &id]);
    let stopped = || node.ctr(&["tasks", "list"]).lines().any(|l| l.contains(&id) && !l.contains("CREATED"));
    let is_gone = || !has_task(&node, &id);
    pods::until("what was to be started is dead", async || stopped() || is_gone()).await;
    pods.runtime.start_container(&id).await.expect_err("there is nothing to start");
    let end = end_of(&pods, &id).await;
    assert!(!end.unseen, "{end:?}");
    assert_eq!(end_of(&Pods::again(&node, &pods), &id).await, end);
    pods.clean().await;
}

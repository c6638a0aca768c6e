//! Containers that are resized while they run, and containers that look into others.

use std::collections::BTreeMap;
use std::path::Path;

use corten_kubelet::cgroup::{CPU_PERIOD_US, Hierarchy};
use corten_kubelet::runtime::{Resources, Runtime, RuntimeError, State};

use crate::node::Node;
use crate::pods::{self, Pods, SIGKILL};

/// As the kernel has it.
fn cpu_quota_us(group: &str) -> i64 {
    let root = Path::new("/sys/fs/cgroup");
    let read = |path: std::path::PathBuf| std::fs::read_to_string(path).unwrap();
    let text = match Hierarchy::detect().unwrap() {
        Hierarchy::V2 { .. } => read(root.join(group.trim_start_matches('/')).join("cpu.max")),
        Hierarchy::V1 { .. } => read(root.join("cpu").join(group.trim_start_matches('/')).join("cpu.cfs_quota_us")),
    };
    text.split_whitespace().next().unwrap().parse().unwrap()
}

fn sized(cpu_quota_us: i64, memory_limit_bytes: i64) -> Resources {
    Resources {
        cpu_shares: Some(512),
        cpu_quota_us: Some(cpu_quota_us),
        cpu_period_us: Some(CPU_PERIOD_US.unsigned_abs()),
        memory_limit_bytes: Some(memory_limit_bytes),
        ..Resources::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_is_resized_without_a_restart() {
    let Some(node) = Node::start().await else { return };
    let pods = Pods::of(&node).await;
    let runtime = &pods.runtime;
    let whole = pods.sandbox("u1");
    let sandbox = runtime.create_sandbox(&whole).await.unwrap();
    let mut spec = pods.container("web", &[]);
    spec.resources = sized(20_000, 64 << 20);
    let id = pods.run(&sandbox, &spec).await;
    let group = format!("{}/{id}", whole.cgroup_parent);
    let hierarchy = Hierarchy::detect().unwrap();
    let has = || (cpu_quota_us(&group), hierarchy.usage(&group).unwrap().memory_limit_bytes);
    assert_eq!(has(), (20_000, Some(64 << 20)));
    let before = pods::state(runtime, &id).await;
    assert!(matches!(before, Some(State::Running { .. })), "{before:?}");

    let labels = BTreeMap::from([("corten/size".to_owned(), "larger".to_owned())]);
    for (quota, memory) in [(50_000, 128 << 20), (10_000, 32 << 20)] {
        runtime.update_container(&id, &sized(quota, memory), &labels).await.unwrap();
        assert_eq!(has(), (quota, Some(memory.unsigned_abs())));
        assert_eq!(pods::state(runtime, &id).await, before, "the same process runs since the same time");
    }
    // Device rules are not lost on the way: runc writes all of them anew.
    let exec = runtime.exec_sync(&id, &pods::shell("echo x > /dev/null"), std::time::Duration::from_secs(10)).await;
    assert_eq!(exec.unwrap().exit_code, 0);

    let again = Pods::again(&node, &pods);
    let listed = again.runtime.list().await.unwrap().containers;
    let expected: BTreeMap<_, _> = spec.labels.clone().into_iter().chain(labels.clone()).collect();
    assert_eq!(listed[0].labels, expected, "a later kubelet knows its size, and what was there before");

    let mut events = runtime.events();
    runtime.signal(&id, SIGKILL).await.unwrap();
    pods::exit_of(&mut events, &id).await;
    let late = runtime.update_container(&id, &sized(20_000, 64 << 20), &labels).await;
    assert!(matches!(late, Err(RuntimeError::NotRunning { .. })), "{late:?}");
    pods.clean().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_sees_the_processes_of_its_target_alone() {
    let Some(node) = Node::start().await else { return };
    let pods = Pods::of(&node).await;
    let runtime = &pods.runtime;
    let sandbox = runtime.create_sandbox(&pods.sandbox("u1")).await.unwrap();
    let target = pods.run(&sandbox, &pods.container("web", &["sleep", "4242"])).await;
    pods.run(&sandbox, &pods.container("other", &["sleep", "4343"])).await;
    let script = "cat /proc/1/cmdline; echo; cat /proc/*/cmdline";
    let mut events = runtime.events();
    for (name, looks_into, expected) in [("debug", Some(&target), "sleep4242"), ("alone", None, "sh-c")] {
        let mut spec = pods.container(name, &["sh", "-c", script]);
        spec.target = looks_into.cloned();
        let id = pods.run(&sandbox, &spec).await;
        assert_eq!(pods::exit_of(&mut events, &id).await.exit_code, 0);
        let said = || async { pods::log(&spec).await.stdout.replace('\0', "") };
        pods::until("its whole log", async || said().await.lines().count() >= 2).await;
        let said = said().await;
        assert!(said.starts_with(expected), "{name}: {said}");
        assert!(!said.contains("4343"), "{name}: {said}");
    }

    let mut spec = pods.container("late", &[]);
    runtime.signal(&target, SIGKILL).await.unwrap();
    pods::exit_of(&mut events, &target).await;
    spec.target = Some(target.clone());
    let refused = runtime.create_container(&sandbox, &spec).await;
    assert!(matches!(&refused, Err(RuntimeError::NotRunning { id }) if *id == target), "{refused:?}");
    pods.clean().await;
}

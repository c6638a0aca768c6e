//! Tables for the OCI specs.

use std::path::Path;

use super::*;
use crate::images::{ImageConfig, ImageHandle};
use crate::runtime::{Mount, Security, User};

fn spec() -> ContainerSpec {
    let config = ImageConfig {
        entrypoint: vec!["/entry".into()],
        cmd: vec!["serve".into()],
        env: vec!["PATH=/image".into(), "A=image".into()],
        working_dir: Some("/srv".into()),
        ..ImageConfig::default()
    };
    ContainerSpec {
        name: "web".into(),
        attempt: 0,
        image: ImageHandle { config, ..ImageHandle::default() },
        command: vec![],
        args: vec![],
        env: vec![],
        working_dir: None,
        mounts: vec![],
        user: User::default(),
        security: Security::default(),
        resources: Resources::default(),
        tty: false,
        stdin: false,
        stdin_once: false,
        log_path: "/log".into(),
        labels: Default::default(),
        target: None,
    }
}

fn sandbox_record(host_pid: bool, share: bool, network: Network) -> SandboxRecord {
    SandboxRecord {
        pod_uid: "u".into(),
        namespace: "ns".into(),
        name: "web".into(),
        attempt: 0,
        hostname: "web-0".into(),
        network,
        host_pid,
        host_ipc: false,
        share_process_namespace: share,
        cgroup_parent: "/kubepods/podu".into(),
        labels: Default::default(),
    }
}

fn build(spec: &ContainerSpec, sandbox: &SandboxRecord) -> Spec {
    let host = Host {
        oom_score_adj_min: 0,
        capabilities: ["CHOWN", "KILL"].map(str::to_owned).into(),
        masked_paths: MASKED_PATHS.map(str::to_owned).into(),
    };
    let around = Surroundings {
        host: &host,
        sandbox_id: "s",
        sandbox,
        pid_of: sandbox.needs_pause().then_some(77),
        shared: &Shared::new(Path::new("/state"), "s"),
        identity: Identity { uid: 1, gid: 2, additional_gids: vec![2] },
        capabilities: capabilities::of(&spec.security, &host.capabilities).unwrap(),
        seccomp: None,
        cgroup: "/kubepods/podu/c",
        devices: vec![],
    };
    container(spec, &around).unwrap()
}

fn pod_network() -> Network {
    Network::Pod { netns: "/netns/u".into() }
}

#[test]
fn command_and_args_follow_kubernetes_rules() {
    type Words = &'static [&'static str];
    let cases: [(&str, Words, Words, Words); 4] = [
        ("the image's", &[], &[], &["/entry", "serve"]),
        ("args replace cmd", &[], &["x"], &["/entry", "x"]),
        ("command replaces both", &["/mine"], &[], &["/mine"]),
        ("command and args", &["/mine"], &["y"], &["/mine", "y"]),
    ];
    let owned = |list: &[&str]| list.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>();
    for (why, command, args, expected) in cases {
        let spec = ContainerSpec { command: owned(command), args: owned(args), ..spec() };
        assert_eq!(arguments(&spec).unwrap(), expected, "{why}");
    }
    let bare = ContainerSpec { image: ImageHandle::default(), ..spec() };
    assert!(arguments(&bare).is_err(), "nothing to run");
}

#[test]
fn variables_of_the_pod_win() {
    let spec = ContainerSpec { env: vec![("A".into(), "pod".into()), ("B".into(), "x=y".into())], tty: true, ..spec() };
    let whole = build(&spec, &sandbox_record(false, false, pod_network()));
    let process = whole.process().as_ref().unwrap();
    assert_eq!(process.env().clone().unwrap(), ["PATH=/image", "TERM=xterm", "HOSTNAME=web-0", "A=pod", "B=x=y"]);
    assert_eq!(process.cwd(), Path::new("/srv"));
}

#[test]
fn namespaces_are_shared_as_the_pod_says() {
    let cases = [
        ("own pid", false, false, pod_network(), vec!["/netns/u", "/state/sandboxes/s/uts", "/state/sandboxes/s/ipc"]),
        (
            "shared pid",
            false,
            true,
            pod_network(),
            vec!["/netns/u", "/state/sandboxes/s/uts", "/state/sandboxes/s/ipc", "/proc/77/ns/pid"],
        ),
        ("host network and pid", true, false, Network::Host, vec!["/state/sandboxes/s/ipc"]),
    ];
    for (why, host_pid, share, network, expected) in cases {
        let whole = build(&spec(), &sandbox_record(host_pid, share, network));
        let namespaces = whole.linux().as_ref().unwrap().namespaces().clone().unwrap();
        let joined: Vec<_> =
            namespaces.iter().filter_map(|n| n.path().clone()).map(|p| p.display().to_string()).collect();
        assert_eq!(joined, expected, "{why}");
    }
}

#[test]
fn a_pods_mount_replaces_the_usual_one_and_outer_ones_come_first() {
    let at = |path: &str| Mount {
        host_path: "/h".into(),
        container_path: path.into(),
        read_only: true,
        propagation: Propagation::Bidirectional,
    };
    let spec = ContainerSpec { mounts: vec![at("/data/inner"), at("/data"), at("/dev/shm")], ..spec() };
    let whole = build(&spec, &sandbox_record(false, false, pod_network()));
    let mounts = whole.mounts().clone().unwrap();
    let places: Vec<_> = mounts.iter().map(|m| m.destination().display().to_string()).collect();
    assert_eq!(places[places.len() - 3..], ["/data", "/data/inner", "/dev/shm"]);
    assert_eq!(places.iter().filter(|p| *p == "/dev/shm").count(), 1);
    assert_eq!(whole.linux().as_ref().unwrap().rootfs_propagation().as_deref(), Some("rshared"));
}

#[test]
fn the_oom_score_is_no_lower_than_the_host_lets_us() {
    let spec = ContainerSpec { resources: Resources { oom_score_adj: Some(-997), ..Resources::default() }, ..spec() };
    let whole = build(&spec, &sandbox_record(false, false, pod_network()));
    assert_eq!(whole.process().as_ref().unwrap().oom_score_adj(), Some(0));
}

#[test]
fn what_is_masked_and_read_only_is_what_upstream_has() {
    let masked = [
        "/proc/acpi",
        "/proc/asound",
        "/proc/interrupts",
        "/proc/kcore",
        "/proc/keys",
        "/proc/latency_stats",
        "/proc/sched_debug",
        "/proc/scsi",
        "/proc/timer_list",
        "/proc/timer_stats",
        "/sys/devices/virtual/powercap",
        "/sys/firmware",
    ];
    assert_eq!(MASKED_PATHS, masked);
    for (privileged, unmasked_proc, seen) in [(false, false, false), (true, false, true), (false, true, true)] {
        let mut container_spec = spec();
        container_spec.security = Security { privileged, unmasked_proc, ..Security::default() };
        let made = build(&container_spec, &sandbox_record(false, false, pod_network()));
        let linux = made.linux().as_ref().unwrap();
        assert_eq!(linux.masked_paths().is_none(), seen, "privileged {privileged}, unmasked {unmasked_proc}");
        let read_only = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"].map(str::to_owned);
        assert_eq!(linux.readonly_paths().clone(), (!seen).then(|| read_only.to_vec()));
    }
}

/// Each searched for among all before it, they would take minutes, and a thread of the kubelet with them.
#[test]
fn an_image_with_a_hundred_thousand_variables_costs_no_more_than_they_are() {
    let mut spec = spec();
    spec.image.config.env = (0..100_000).map(|n| format!("V{n}=image")).collect();
    spec.env = (0..100_000).map(|n| (format!("V{n}"), "pod".to_owned())).collect();
    let began = std::time::Instant::now();
    let sandbox = sandbox_record(false, false, Network::Host);
    let env = build(&spec, &sandbox).process().clone().unwrap().env().clone().unwrap();
    assert_eq!(env.iter().filter(|entry| entry.ends_with("=pod")).count(), 100_000);
    assert!(began.elapsed() < std::time::Duration::from_secs(10), "{:?}", began.elapsed());
}

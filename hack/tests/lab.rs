//! The lab itself, with real namespaces, etcd and containerd, and sleepers in place of our daemons.
#![expect(clippy::unwrap_used, reason = "a test's helper may panic as a test may")]
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

const HACK: &str = env!("CARGO_BIN_EXE_corten-hack");
const PROGRAMS: [&str; 5] =
    ["corten-apiserver", "corten-scheduler", "corten-controllers", "corten-kubelet", "corten-proxy"];
const SOON: Duration = Duration::from_secs(20);

/// A lab of one test; gone when the test ends, however it ends.
struct TestLab {
    name: &'static str,
    bin: PathBuf,
}

impl TestLab {
    /// None where labs cannot be: without root, or without the tools that hack/setup installs.
    fn new(name: &'static str) -> Option<Self> {
        if !nix::unistd::geteuid().is_root() || !Path::new("/usr/bin/etcd").exists() {
            println!("skipped: this needs root and what hack/setup installs");
            return None;
        }
        let bin = std::env::temp_dir().join(format!("corten-hack-test-{name}"));
        fs::create_dir_all(&bin).unwrap();
        for program in PROGRAMS {
            let path = bin.join(program);
            fs::write(&path, format!("#!/bin/bash\nexec -a {program} sleep infinity\n")).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        }
        let lab = Self { name, bin };
        lab.ok(&["down"]);
        Some(lab)
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(HACK);
        command.args(args).env("CORTEN_LAB", self.name).env("CORTEN_BIN_DIR", &self.bin);
        command
    }

    fn run(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }

    fn ok(&self, args: &[&str]) -> String {
        let output = self.run(args);
        assert!(output.status.success(), "{args:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    fn error(&self, args: &[&str]) -> String {
        let output = self.run(args);
        assert!(!output.status.success(), "{args:?}: {output:?}");
        String::from_utf8(output.stderr).unwrap()
    }

    /// Everything of this lab that can be seen from the host.
    fn traces(&self) -> Vec<String> {
        let mut found = Vec::new();
        let mut look = |dir: &str, prefix: &str| {
            let names = fs::read_dir(dir).into_iter().flatten().flatten();
            let names = names.map(|entry| entry.file_name().to_string_lossy().into_owned());
            found.extend(names.filter(|name| name.starts_with(prefix)).map(|name| format!("{dir}/{name}")));
        };
        look("/run/netns", &format!("{}-", self.name));
        look("/sys/class/net", &format!("{}-", self.name));
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
        for line in mounts.lines().filter(|line| line.contains(" - cgroup")) {
            let at = line.split(' ').nth(4).unwrap();
            look(&format!("{at}/corten-lab"), self.name);
        }
        found.extend(mounts.lines().filter(|line| line.contains(&format!("/{}/", self.name))).map(str::to_owned));
        for entry in fs::read_dir("/proc").unwrap().flatten() {
            let cmdline = fs::read(entry.path().join("cmdline")).unwrap_or_default();
            let cmdline = String::from_utf8_lossy(&cmdline).into_owned();
            if cmdline.contains(&format!("/corten-lab/{}/", self.name)) {
                found.push(cmdline);
            }
        }
        found
    }
}

impl Drop for TestLab {
    fn drop(&mut self) {
        let down = String::from_utf8_lossy(&self.run(&["down"]).stdout).into_owned();
        // `down` says where it keeps the last logs; nobody reads those of sleepers.
        if let Some((_, logs)) = down.trim_end().rsplit_once("the last logs are in ") {
            fs::remove_dir_all(logs).ok();
        }
        fs::remove_dir_all(&self.bin).ok();
    }
}

fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + SOON;
    while !holds() {
        assert!(Instant::now() < deadline, "waited {} s: {what}", SOON.as_secs());
        sleep(Duration::from_millis(20));
    }
}

#[test]
fn daemons_are_killed_and_started_one_by_one() {
    let Some(lab) = TestLab::new("htverbs") else { return };
    lab.ok(&["up", "--no-wait", "--workers", "1"]);
    eventually("worker1's kubelet is started", || lab.run(&["lab", "pid", "worker1", "kubelet"]).status.success());
    let first = lab.ok(&["lab", "pid", "worker1", "kubelet"]);
    lab.ok(&["lab", "kill", "worker1", "kubelet"]);
    assert!(lab.error(&["lab", "pid", "worker1", "kubelet"]).contains("lab start worker1 kubelet"));
    lab.ok(&["lab", "start", "worker1", "kubelet"]);
    let second = lab.ok(&["lab", "pid", "worker1", "kubelet"]);
    assert_ne!(first, second);
    lab.ok(&["lab", "kill", "--restart", "worker1", "kubelet"]);
    eventually("the node's init starts the kubelet again", || {
        let output = lab.run(&["lab", "pid", "worker1", "kubelet"]);
        output.status.success() && output.stdout != second.as_bytes()
    });
    let cases: [(&[&str], &str); 4] = [
        (&["lab", "pid", "worker9", "kubelet"], "it has master1, worker1"),
        (&["lab", "pid", "worker1", "etcd"], "it has containerd, kubelet, proxy"),
        (&["lab", "kill", "worker1", "kubelet", "LOUD"], "is no signal"),
        (&["lab", "start-node", "worker1"], "lab stop-node worker1"),
    ];
    for (args, says) in cases {
        let error = lab.error(args);
        assert!(error.contains(says), "{args:?}: {error}");
    }
}

#[test]
fn a_crashed_node_comes_back_with_its_disk_and_nothing_else() {
    let Some(lab) = TestLab::new("htcrash") else { return };
    lab.ok(&["up", "--no-wait", "--workers", "1"]);
    let sh = |command: &str| lab.run(&["lab", "exec", "worker1", "--", "sh", "-c", command]);
    assert_eq!(sh("hostname").stdout, b"worker1\n");
    assert!(sh("echo kept > /var/lib/corten/kept; echo lost > /run/lost; echo lost > /etc/seen").status.success());
    assert!(!Path::new("/etc/seen").exists(), "a node's /etc is its own");
    assert_eq!(sh("exit 7").status.code(), Some(7));
    lab.ok(&["lab", "stop-node", "worker1"]);
    assert!(lab.error(&["lab", "exec", "worker1", "--", "true"]).contains("lab start-node worker1"));
    lab.ok(&["lab", "start-node", "worker1"]);
    assert_eq!(sh("cat /var/lib/corten/kept; ls /run/lost 2>/dev/null").stdout, b"kept\n");
    let gateway = "ip -4 route show default | cut -d' ' -f3 | head -1";
    assert!(String::from_utf8(sh(gateway).stdout).unwrap().starts_with("172.30."));
}

#[test]
fn down_leaves_nothing_wherever_up_was_killed() {
    let Some(lab) = TestLab::new("htdown") else { return };
    const WHEN_THROUGH: usize = usize::MAX;
    for made in [0, 1, 2, 4, 8, 16, WHEN_THROUGH] {
        let mut up = lab.command(&["up", "--no-wait"]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let mut has_made = || lab.traces().len() >= made || up.try_wait().unwrap().is_some();
        eventually(&format!("{made} traces, or all that there will be"), &mut has_made);
        up.kill().unwrap();
        up.wait().unwrap();
        lab.ok(&["down"]);
        // A shell that `up` had just started may still have to find out.
        eventually(&format!("no traces when killed after {made} traces: {:?}", lab.traces()), || {
            lab.traces().is_empty()
        });
    }
    assert!(lab.ok(&["down"]).contains("nothing to remove"));
    assert!(lab.ok(&["status"]).contains("does not run"));
}

#[test]
fn up_again_keeps_a_whole_lab_and_replaces_one_of_another_size() {
    let Some(lab) = TestLab::new("htagain") else { return };
    lab.ok(&["up", "--no-wait", "--workers", "1"]);
    // Nobody waited: the node's first process may still be starting it.
    eventually("worker1's kubelet is started", || lab.run(&["lab", "pid", "worker1", "kubelet"]).status.success());
    let kubelet = lab.ok(&["lab", "pid", "worker1", "kubelet"]);
    assert!(lab.ok(&["up", "--no-wait", "--workers", "1"]).contains("runs already"));
    assert_eq!(lab.ok(&["lab", "pid", "worker1", "kubelet"]), kubelet);
    lab.ok(&["up", "--no-wait", "--workers", "2"]);
    assert_eq!(lab.ok(&["lab", "nodes"]).lines().count(), 3);
}

#[test]
fn a_lab_keeps_nothing_of_its_caller_open_and_does_not_mind_who_stops_reading() {
    let Some(lab) = TestLab::new("htcaller") else { return };
    let lock = lab.bin.join("lock");
    let script = format!(
        "exec 9>{lock}; flock -n 9 || exit 1; {HACK} up --no-wait --workers 0 | head -1; \
         exec 9>&-; flock -n {lock} true || exit 2",
        lock = lock.display()
    );
    let mut command = Command::new("bash");
    command.args(["-c", &format!("set -o pipefail; {script}")]);
    let output = command.env("CORTEN_LAB", lab.name).env("CORTEN_BIN_DIR", &lab.bin).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    assert_eq!(String::from_utf8_lossy(&output.stdout).lines().count(), 1);
    // All was done that was asked for, though nobody read of it.
    assert!(lab.ok(&["status"]).starts_with("Lab htcaller runs, with "), "{}", lab.ok(&["status"]));
}

#[test]
fn status_tells_of_daemons_that_are_down_or_stopped() {
    let Some(lab) = TestLab::new("htstatus") else { return };
    lab.ok(&["up", "--no-wait", "--workers", "1"]);
    let state = |daemon: &str| {
        let text = lab.ok(&["status"]);
        let line = text.lines().find(|line| line.starts_with("worker1") && line.contains(daemon)).unwrap();
        line.split_whitespace().nth(4).unwrap().to_owned()
    };
    // Nobody waited for it: it may be between two starts.
    eventually("the kubelet to run", || state("kubelet") == "runs");
    lab.ok(&["lab", "kill", "worker1", "kubelet"]);
    assert_eq!(state("kubelet"), "down");
    lab.ok(&["lab", "kill", "worker1", "proxy", "STOP"]);
    eventually("a stopped daemon to be seen as such", || state("proxy") == "stopped");
    lab.ok(&["lab", "stop-node", "worker1"]);
    assert_eq!(state("containerd"), "down");
}

#[test]
fn two_ups_at_once_wait_for_each_other() {
    let Some(lab) = TestLab::new("httwice") else { return };
    let up = || lab.command(&["up", "--no-wait", "--workers", "0"]).stdout(Stdio::piped()).spawn().unwrap();
    let said: Vec<String> = [up(), up()]
        .into_iter()
        .map(|child| {
            let output = child.wait_with_output().unwrap();
            assert!(output.status.success(), "{output:?}");
            String::from_utf8(output.stdout).unwrap()
        })
        .collect();
    assert_eq!(said.iter().filter(|text| text.contains("runs already")).count(), 1, "{said:?}");
}

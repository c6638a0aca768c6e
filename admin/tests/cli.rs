//! The program as it is called: what it prints, and its exit code. Nothing on this machine is changed.
#![expect(clippy::unwrap_used, reason = "a test's helper may panic as a test may")]
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;

/// Enough for a machine without a default route.
const ADDRESS: &str = "--apiserver-advertise-address=192.0.2.7";

struct Said {
    code: Option<i32>,
    out: String,
    err: String,
}

fn cortenadm(args: &[&str]) -> Said {
    let done = Command::new(env!("CARGO_BIN_EXE_cortenadm")).args(args).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Said { code: done.status.code(), out: text(done.stdout), err: text(done.stderr) }
}

/// A directory that is gone with the test.
struct Dir(PathBuf);

impl Dir {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("cortenadm-cli-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).ok();
    }
}

/// A file of settings, gone with the test.
struct Settings(PathBuf);

impl Settings {
    fn new(name: &str, lines: &str) -> Self {
        let path = std::env::temp_dir().join(format!("cortenadm-cli-{name}-{}", std::process::id()));
        let text = format!("apiVersion: admin.corten.io/v1alpha1\nkind: ClusterConfiguration\n{lines}");
        std::fs::write(&path, text).unwrap();
        Self(path)
    }

    fn flag(&self) -> String {
        format!("--config={}", self.0.display())
    }
}

impl Drop for Settings {
    fn drop(&mut self) {
        std::fs::remove_file(&self.0).ok();
    }
}

#[test]
fn what_all_may_read_is_so_whatever_the_administrators_umask() {
    let dir = Dir::new("umask");
    for umask in ["027", "077"] {
        let pki = dir.0.join(umask).join("pki");
        let command = format!("umask {umask}; exec \"$0\" pki init --dir \"$1\"");
        let program = env!("CARGO_BIN_EXE_cortenadm");
        let done = Command::new("sh").args(["-c", &command, program]).arg(&pki).output().unwrap();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        let cases =
            [("", 0o755), ("etcd", 0o755), ("etcd/ca.crt", 0o644), ("sa.pub", 0o644), ("etcd/server.key", 0o600)];
        for (file, mode) in cases {
            let is = std::fs::metadata(pki.join(file)).unwrap().permissions().mode() & 0o777;
            assert_eq!(is, mode, "{file:?} under umask {umask}");
        }
    }
}

#[test]
fn settings_are_shown_with_where_they_came_from() {
    let file = Settings::new("shown", "clusterName: north\nnodeName: m1\n");
    let said = cortenadm(&["config", "show", &file.flag(), ADDRESS, "--node-name=m2"]);
    assert_eq!(said.code, Some(0), "{}", said.err);
    let line = |key: &str| said.out.lines().find(|line| line.starts_with(key)).unwrap().to_owned();
    for (key, from) in [("clusterName: \"north\"", "# file "), ("nodeName: \"m2\"", "# flag --node-name")] {
        assert!(line(key).contains(from), "{}", said.out);
    }
    assert!(line("serviceDnsDomain: \"cluster.local\"").ends_with("# default"), "{}", said.out);
}

#[test]
fn what_cannot_be_used_is_refused_before_anything_is_done() {
    let unknown = Settings::new("unknown", "clustrName: north\n");
    let cases: [(&[&str], i32, &str); 9] = [
        (&["config", "show", &unknown.flag(), ADDRESS], 1, "is it clusterName?"),
        (&["config", "show", "--config=/nowhere/cluster.yaml", ADDRESS], 1, "because: No such file"),
        (&["init", "--dry-run", ADDRESS, "--pod-network-cidr=10.96.0.0/12"], 1, "serviceCidr: "),
        (&["preflight", ADDRESS, "--ignore=Swpa"], 1, "there is no check \"Swpa\""),
        (&["init", "--pod-netwrk-cidr=10.1.0.0/16"], 2, "--pod-network-cidr"),
        (&["reset"], 2, "--yes"),
        (&["reset", "--yes", "--node-name=a"], 2, "--node-name"),
        (&["reset", "--dry-run"], 1, "`init` made nothing on this machine"),
        (&["join"], 2, "unrecognized subcommand"),
    ];
    for (args, code, says) in cases {
        let said = cortenadm(args);
        assert_eq!(said.code, Some(code), "{args:?}: {}", said.err);
        assert!(said.err.contains(says), "{args:?}: {}", said.err);
    }
}

#[test]
fn a_machine_with_another_address_is_not_ready_and_a_dry_run_says_all_the_same_what_would_be_done() {
    let said = cortenadm(&["preflight", ADDRESS]);
    assert_eq!(said.code, Some(1), "{}", said.out);
    assert!(said.out.contains("  FAIL  Address: 192.0.2.7 is none of this machine's addresses"), "{}", said.out);
    assert!(said.err.contains("--ignore-preflight-errors="), "{}", said.err);
    let all = cortenadm(&["preflight", ADDRESS, "--ignore=all"]);
    assert_eq!(all.code, Some(0), "{}", all.err);
    assert!(all.out.contains("  ignored  Address: "), "{}", all.out);
    let dry = cortenadm(&["init", "--dry-run", ADDRESS, "--ignore=all", "--node-name=no-such-node"]);
    assert_eq!(dry.code, Some(0), "{}", dry.err);
    assert!(dry.out.contains("  would the node is Ready\n"), "{}", dry.out);
}

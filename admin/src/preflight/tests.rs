//! Machines that are ready, and those that fail one check each.
use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::path::PathBuf;

use super::*;
use crate::config::{Effective, Host, Settings};

fn plan(settings: Settings) -> Plan {
    let host = Host { name: "master1".into(), address: Some(Ipv4Addr::new(192, 168, 1, 11)) };
    Effective::new(&settings, None, None, &host).unwrap().plan().unwrap()
}

fn ignoring(names: &[&str]) -> Plan {
    let names = names.iter().map(|name| (*name).to_owned()).collect();
    plan(Settings { ignore_preflight_errors: Some(names), ..Settings::default() })
}

/// A Debian 12 on which everything is as it should be.
fn good() -> Facts {
    let versions = [
        ("containerd", "containerd github.com/containerd/containerd 1.6.20~ds1 1.6.20~ds1-1+deb12u1"),
        ("runc", "runc version 1.1.5+ds1"),
        ("etcd", "etcd Version: 3.4.23"),
        ("nft", "nftables v1.0.6 (Lester Gooch #5)"),
    ];
    Facts {
        is_root: true,
        has_systemd: true,
        kernel: "6.1.0-18-amd64".into(),
        features: checks::FEATURES.iter().map(|(name, _)| (*name, Feature::Present)).collect(),
        cgroups: Cgroups {
            version: CgroupVersion::V2,
            controllers: ["cpu", "cpuset", "io", "memory", "pids"].map(str::to_owned).into(),
        },
        listeners: vec![Listener { port: 22, process: process("sshd") }],
        etcd: None,
        etcd_is_ours: false,
        time_is_synchronized: Some(true),
        free_bytes: [("/var/lib/containerd".into(), 20 << 30)].into(),
        on_overlay: Vec::new(),
        versions: versions.into_iter().map(|(program, says)| (program, Some(says.to_owned()))).collect(),
        missing_programs: Vec::new(),
        missing_units: Vec::new(),
        missing_users: Vec::new(),
        has_swap: false,
        memory_bytes: 4 << 30,
        addresses: vec!["192.168.1.11/24".parse().unwrap()],
        localhost_resolves: true,
        firewalls: [].into(),
        node_env: BTreeMap::new(),
        has_foreign_etcd_data: false,
    }
}

/// A machine with a `node.env` of a cluster of these masters, whose own address is the first's.
fn has_masters(hosts: &[&str]) -> Facts {
    let all = |start: &str, port: u16| {
        hosts.iter().map(|host| format!("{start}https://{host}:{port}")).collect::<Vec<_>>().join(",")
    };
    let text = format!(
        "# All apiservers.\nNODE_IP={}\nAPISERVERS={}\nETCD_MEMBERS={}\n",
        hosts[0],
        all("", 6443),
        all("m=", 2380)
    );
    Facts { node_env: gather::variables(&text), ..good() }
}

fn listens(port: u16, program: Option<&str>) -> Facts {
    Facts { listeners: vec![Listener { port, process: program.and_then(process) }], ..good() }
}

fn process(program: &str) -> Option<Process> {
    Some(Process { pid: "77".into(), program: program.into() })
}

/// One that listens on 2379 and has so many keys, if it says so.
fn has_etcd(keys: Option<u64>, etcd_is_ours: bool) -> Facts {
    let etcd = Some(RunningEtcd { data: "/var/lib/etcd/default".into(), keys });
    Facts { etcd, etcd_is_ours, ..listens(2379, Some("etcd")) }
}

fn lacks(name: &'static str, feature: Feature) -> Facts {
    let mut facts = good();
    facts.features.insert(name, feature);
    facts
}

fn has(program: &'static str, says: Option<&str>) -> Facts {
    let mut facts = good();
    facts.versions.insert(program, says.map(str::to_owned));
    facts
}

fn with_controllers(version: CgroupVersion, controllers: &[&str]) -> Facts {
    let controllers = controllers.iter().map(|name| (*name).to_owned()).collect();
    Facts { cgroups: Cgroups { version, controllers }, ..good() }
}

fn free(mib: u64) -> Facts {
    Facts { free_bytes: [(PathBuf::from("/var/lib/etcd"), mib << 20)].into(), ..good() }
}

#[test]
fn machines_that_are_ready() {
    let v1 = with_controllers(CgroupVersion::V1, &["cpu", "cpuset", "memory", "pids", "freezer"]);
    let again = listens(6443, Some("corten-apiserver"));
    let newer = has("containerd", Some("containerd github.com/containerd/containerd/v2 v2.1.0 061792f0ecf3684fb30a"));
    for (why, facts) in [
        ("as it should be", good()),
        ("cgroup v1", v1),
        ("set up before", again),
        ("etcd's package started it", has_etcd(Some(0), false)),
        ("etcd was set up before", has_etcd(None, true)),
        ("containerd 2", newer),
        ("a master of one", has_masters(&["192.168.1.11"])),
        ("a master of one that had another address", has_masters(&["192.168.1.10"])),
    ] {
        let report = judge(&facts, &ignoring(&[])).unwrap();
        assert_eq!(report.problems, [], "{why}");
        assert_eq!(report.verdict(), Ok(()), "{why}");
    }
}

#[test]
fn a_machine_that_fails_each_check_in_turn() {
    use Severity::{Error, Warning};
    let mut worker = good();
    worker.node_env = gather::variables("NODE_IP=192.168.1.11\nAPISERVERS=https://192.168.1.9:6443\n");
    let cases = [
        (Facts { is_root: false, ..good() }, "IsPrivilegedUser", Error, "sudo"),
        (Facts { has_systemd: false, ..good() }, "Systemd", Error, "booted"),
        (Facts { kernel: "5.4.0-42-generic".into(), ..good() }, "KernelVersion", Error, "newer kernel"),
        (lacks("br_netfilter", Feature::Absent), "KernelFeatures", Error, "linux-modules-extra"),
        (lacks("overlay", Feature::Unknown), "KernelModules", Warning, "/lib/modules"),
        (with_controllers(CgroupVersion::None, &[]), "Cgroups", Error, "systemd"),
        (with_controllers(CgroupVersion::V2, &["cpu", "cpuset", "pids"]), "Cgroups", Error, "cgroup_enable=memory"),
        (Facts { missing_programs: vec!["/usr/local/bin/corten-proxy".into()], ..good() }, "Programs", Error, "cargo"),
        (has("containerd", Some("containerd containerd.io 1.4.13")), "Versions", Error, "install containerd"),
        (has("etcd", None), "Versions", Error, "etcd-server"),
        (has("runc", None), "Versions", Error, "install runc"),
        (has("nft", Some("no number")), "Versions", Error, "nftables"),
        (Facts { missing_units: vec!["etcd.service (masked)".into()], ..good() }, "Units", Error, "unmask"),
        (Facts { missing_users: vec!["etcd".into()], ..good() }, "Users", Error, "adduser"),
        (Facts { addresses: Vec::new(), ..good() }, "Address", Error, "--apiserver-advertise-address"),
        (has_masters(&["192.168.1.11", "192.168.1.12"]), "SingleMaster", Error, "etcdctl member remove"),
        (worker, "SingleMaster", Error, "by hand"),
        (Facts { localhost_resolves: false, ..good() }, "Localhost", Error, "/etc/hosts"),
        (listens(6443, Some("nginx")), "Port-6443", Error, "--apiserver-bind-port"),
        (listens(10250, Some("kubelet")), "Port-10250", Error, "ss -tlnp"),
        (listens(2380, None), "Port-2380", Error, "ss -tlnp"),
        (has_etcd(Some(3), false), "Port-2379", Error, "disable --now etcd"),
        (has_etcd(None, false), "Port-2379", Error, "another machine"),
        (listens(2380, Some("etcd")), "Port-2380", Error, "another machine"),
        (free(1024), "DiskSpace", Error, "make room"),
        (free(4096), "DiskRoom", Warning, "make room"),
        (Facts { on_overlay: vec!["/var/lib/containerd".into()], ..good() }, "FileSystem", Error, "ext4"),
        (Facts { has_foreign_etcd_data: true, ..good() }, "DirAvailable--var-lib-etcd", Error, "backup"),
        (Facts { time_is_synchronized: Some(false), ..good() }, "TimeSync", Warning, "set-ntp"),
        (Facts { time_is_synchronized: None, ..good() }, "TimeSync", Warning, "timedatectl"),
        (
            Facts { firewalls: [Firewall::Docker].into(), ..good() },
            "ForwardPolicy",
            Warning,
            "DOCKER-USER -s 10.244.0.0/16",
        ),
        (Facts { firewalls: [Firewall::Ufw].into(), ..good() }, "ForwardPolicy", Warning, "ufw route allow to 10.244"),
        (Facts { has_swap: true, ..good() }, "Swap", Warning, "swapoff"),
        (Facts { memory_bytes: 512 << 20, ..good() }, "Mem", Warning, "more"),
    ];
    let mut failed: Vec<&str> = Vec::new();
    for (facts, name, severity, remedy) in &cases {
        let report = judge(facts, &ignoring(&[])).unwrap();
        let [problem] = &report.problems[..] else { panic!("{name}: {:?}", report.problems) };
        assert_eq!((problem.check.as_str(), problem.severity), (*name, *severity));
        assert!(problem.remedy.contains(remedy), "{name}: {}", problem.remedy);
        assert_eq!(report.verdict().is_err(), *severity == Error, "{name}");
        let ignored = judge(facts, &ignoring(&[name])).unwrap();
        assert_eq!((ignored.verdict(), ignored.ignored.len()), (Ok(()), 1), "{name} can be ignored");
        failed.push(name);
    }
    let networks = ["Networks"];
    for check in checks::CHECKS {
        let tried = failed.iter().any(|name| name.starts_with(check.name)) || networks.contains(&check.name);
        assert!(tried, "{} is failed by no machine here", check.name);
    }
}

#[test]
fn networks_that_are_in_use_here_are_not_the_clusters() {
    let mut facts = good();
    facts.addresses.push("10.96.3.7/20".parse().unwrap());
    facts.addresses.push("10.0.0.5/8".parse().unwrap());
    let report = judge(&facts, &ignoring(&[])).unwrap();
    let remedies: Vec<&str> = report.problems.iter().map(|problem| problem.remedy.as_str()).collect();
    assert!(remedies.len() == 2 && remedies[0].contains("--pod-network-cidr"), "{remedies:?}");
    assert!(remedies[1].contains("--service-cidr"), "{remedies:?}");
}

#[test]
fn what_is_ignored_has_to_be_a_check() {
    let facts = Facts { has_swap: true, is_root: false, ..listens(6443, None) };
    let all = judge(&facts, &ignoring(&["all"])).unwrap();
    assert_eq!((all.verdict(), all.ignored.len()), (Ok(()), 3));
    assert_eq!(judge(&facts, &ignoring(&["swap", "PORT-6443", "isprivilegeduser"])).unwrap().verdict(), Ok(()));
    for name in ["Swpa", "Port", "Pörtchen", ""] {
        let error = judge(&facts, &ignoring(&[name])).unwrap_err().to_string();
        assert!(error.contains("there is no check") && error.contains("Swap"), "{name}: {error}");
    }
    let error = judge(&facts, &ignoring(&["Swap"])).unwrap().verdict().unwrap_err().to_string();
    assert!(error.contains("--ignore-preflight-errors=IsPrivilegedUser,Port-6443"), "{error}");
}

#[test]
fn versions_are_found_in_what_programs_say() {
    let cases = [
        ("containerd github.com/containerd/containerd 1.6.20~ds1 1.6.20~ds1-1+deb12u3", Some(Version(1, 6))),
        ("containerd github.com/containerd/containerd/v2 v2.1.0 061792f0", Some(Version(2, 1))),
        ("runc version 1.3.0-rc.1", Some(Version(1, 3))),
        ("etcd Version: 3.6.4", Some(Version(3, 6))),
        ("6.18.44-fc-v782", Some(Version(6, 18))),
        ("nothing of the kind", None),
        ("", None),
    ];
    for (text, expected) in cases {
        assert_eq!(Version::find(text), expected, "{text}");
    }
}

#[test]
fn listeners_are_read_from_the_kernels_tables() {
    let tcp = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n   \
        0: 0100007F:094B 00000000:0000 0A 00000000:00000000 00:00000000 00000000   105        0 16406 1 0 100 0 0 10 0\n   \
        1: 0100007F:094B 0100007F:C350 01 00000000:00000000 00:00000000 00000000   105        0 16407 1 0 100 0 0 10 0\n";
    let tcp6 =
        "   0: 00000000000000000000000000000000:192B 00000000000000000000000000000000:0000 0A 0:0 00:0 0 0 0 20001 1\n";
    let owners: BTreeMap<String, Process> =
        process("etcd").map(|etcd| ("16406".to_owned(), etcd)).into_iter().collect();
    let expected = [Listener { port: 2379, process: process("etcd") }, Listener { port: 6443, process: None }];
    assert_eq!(gather::listeners(tcp, tcp6, &owners), expected);
    assert_eq!(gather::memory_bytes("MemTotal:        2048 kB\nMemFree: 1 kB\n"), 2 << 20);
}

#[test]
fn an_etcd_of_others_is_named_with_its_data() {
    let report = judge(&has_etcd(Some(3), false), &ignoring(&[])).unwrap();
    assert!(report.problems[0].what.contains("3 keys of somebody else in /var/lib/etcd/default"), "{report:?}");
    let cases = [
        ("/usr/bin/etcd\0--name\0a\0--data-dir\0/srv/a", "", "/srv/a"),
        ("etcd\0-data-dir=/srv/b\0", "ETCD_DATA_DIR=/srv/c", "/srv/b"),
        ("/usr/bin/etcd\0", "HOME=/\0ETCD_DATA_DIR=/srv/c\0", "/srv/c"),
        ("/usr/bin/etcd\0--name=d\0", "", "/home/d.etcd"),
        ("/usr/bin/etcd\0", "", "/home/default.etcd"),
    ];
    for (cmdline, environ, expected) in cases {
        let data = running_etcd::data(cmdline, environ, std::path::Path::new("/home"));
        assert_eq!(data, PathBuf::from(expected), "{cmdline:?} {environ:?}");
    }
    let header = r#""header":{"cluster_id":"14","revision":"1"}"#;
    let cases = [
        (format!("HTTP/1.0 200 OK\r\nA: b\r\n\r\n{{{header}}}"), Some(0)),
        (format!("HTTP/1.0 200 OK\r\n\r\n{{{header},\"count\":\"5\"}}"), Some(5)),
        (format!("HTTP/1.0 403 Forbidden\r\n\r\n{{{header}}}"), None),
        ("HTTP/1.0 200 OK\r\n\r\n{}".to_owned(), None),
        ("HTTP/1.0 200 OK\r\n\r\n<html>".to_owned(), None),
        ("\u{15}\u{3}\u{1}".to_owned(), None),
    ];
    for (answer, expected) in cases {
        assert_eq!(running_etcd::keys_in(&answer), expected, "{answer}");
    }
}

#[test]
fn who_listens_is_the_program_that_runs_and_not_what_it_calls_itself() {
    use std::os::unix::process::CommandExt;
    let mut sleep = std::process::Command::new("sleep").arg0("corten-apiserver").arg("60").spawn().unwrap();
    let of = |pid: u32| gather::program_of(&PathBuf::from(format!("/proc/{pid}")));
    let seen = of(sleep.id());
    sleep.kill().unwrap();
    sleep.wait().unwrap();
    // Some systems have one program for all of these.
    assert!(["sleep", "coreutils", "busybox"].contains(&seen.as_str()), "{seen}");
    assert!(of(std::process::id()).starts_with("cortenadm"), "a test is its own program");
}

#[test]
fn a_report_says_what_to_do() {
    let facts = Facts { has_swap: true, ..listens(6443, Some("nginx")) };
    let text = judge(&facts, &ignoring(&[])).unwrap().render();
    assert!(text.contains("  ok    Cgroups\n"), "{text}");
    assert!(text.contains("  FAIL  Port-6443: nginx listens on 6443"), "{text}");
    assert!(text.contains("  warn  Swap: "), "{text}");
}

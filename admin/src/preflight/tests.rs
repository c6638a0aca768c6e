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
        listeners: vec![Listener { port: 22, program: Some("sshd".into()) }],
        time_is_synchronized: Some(true),
        free_bytes: [("/var/lib/containerd".into(), 20 << 30)].into(),
        on_overlay: Vec::new(),
        versions: versions.into_iter().map(|(program, says)| (program, Some(says.to_owned()))).collect(),
        missing_programs: Vec::new(),
        missing_users: Vec::new(),
        has_swap: false,
        memory_bytes: 4 << 30,
        addresses: vec!["192.168.1.11/24".parse().unwrap()],
        localhost_resolves: true,
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
    Facts { listeners: vec![Listener { port, program: program.map(str::to_owned) }], ..good() }
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
        ("etcd's package started it", listens(2379, Some("etcd"))),
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
        (has("nft", Some("no number")), "Versions", Error, "nftables"),
        (Facts { missing_users: vec!["etcd".into()], ..good() }, "Users", Error, "adduser"),
        (Facts { addresses: Vec::new(), ..good() }, "Address", Error, "--apiserver-advertise-address"),
        (has_masters(&["192.168.1.11", "192.168.1.12"]), "SingleMaster", Error, "etcdctl member remove"),
        (worker, "SingleMaster", Error, "by hand"),
        (Facts { localhost_resolves: false, ..good() }, "Localhost", Error, "/etc/hosts"),
        (listens(6443, Some("nginx")), "Port-6443", Error, "--apiserver-bind-port"),
        (listens(10250, Some("kubelet")), "Port-10250", Error, "ss -tlnp"),
        (listens(2380, None), "Port-2380", Error, "ss -tlnp"),
        (free(1024), "DiskSpace", Error, "make room"),
        (free(4096), "DiskRoom", Warning, "make room"),
        (Facts { on_overlay: vec!["/var/lib/containerd".into()], ..good() }, "FileSystem", Error, "ext4"),
        (Facts { has_foreign_etcd_data: true, ..good() }, "DirAvailable--var-lib-etcd", Error, "backup"),
        (Facts { time_is_synchronized: Some(false), ..good() }, "TimeSync", Warning, "set-ntp"),
        (Facts { time_is_synchronized: None, ..good() }, "TimeSync", Warning, "timedatectl"),
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
    let owners: BTreeMap<String, String> = [("16406".to_owned(), "etcd".to_owned())].into();
    let expected = [Listener { port: 2379, program: Some("etcd".into()) }, Listener { port: 6443, program: None }];
    assert_eq!(gather::listeners(tcp, tcp6, &owners), expected);
    assert_eq!(gather::memory_bytes("MemTotal:        2048 kB\nMemFree: 1 kB\n"), 2 << 20);
}

#[test]
fn a_report_says_what_to_do() {
    let facts = Facts { has_swap: true, ..listens(6443, Some("nginx")) };
    let text = judge(&facts, &ignoring(&[])).unwrap().render();
    assert!(text.contains("  ok    Cgroups\n"), "{text}");
    assert!(text.contains("  FAIL  Port-6443: nginx listens on 6443"), "{text}");
    assert!(text.contains("  warn  Swap: "), "{text}");
}

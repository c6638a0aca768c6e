//! The topology of a cluster of three masters and two workers, and of one of a single machine.
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};

use super::systemd::{self, Rendered};
use super::*;
use crate::pki::{Authority, node_plan};

fn machine(name: &str, last: u8, role: Role) -> Machine {
    Machine { name: name.into(), ip: IpAddr::V4(Ipv4Addr::new(192, 168, 1, last)), role }
}

fn cluster(masters: u8) -> Cluster {
    let masters = (1..=masters).map(|n| machine(&format!("master{n}"), 10 + n, Role::Master));
    Cluster::new("corten", masters.collect())
}

fn all_machines(cluster: &Cluster) -> Vec<Machine> {
    let workers = [machine("worker1", 21, Role::Worker), machine("worker2", 22, Role::Worker)];
    cluster.masters.iter().cloned().chain(workers).collect()
}

fn programs_of(cluster: &Cluster, machine: &Machine) -> Vec<Program> {
    programs(machine.role, Values::Of(cluster, machine), &Layout::machine())
}

/// The variables of a `node.env`.
fn variables(file: &Rendered) -> BTreeMap<String, String> {
    let lines = file.text.lines().filter(|line| !line.starts_with('#'));
    lines.map(|line| line.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned())).unwrap()).collect()
}

/// What systemd starts: the last command of a unit, with its variables filled in.
fn command(unit: &str, variables: &BTreeMap<String, String>) -> Vec<String> {
    let joined = unit.replace(" \\\n    ", "\u{0}");
    let line = joined.lines().filter_map(|line| line.strip_prefix("ExecStart=")).next_back().unwrap();
    let mut words = Vec::new();
    for word in line.split('\u{0}') {
        match word.strip_prefix('$').filter(|name| !name.starts_with('{')) {
            Some(name) => words.extend(variables[name].split_whitespace().map(str::to_owned)),
            None => {
                let filled = variables
                    .iter()
                    .fold(word.to_owned(), |text, (name, value)| text.replace(&format!("${{{name}}}"), value));
                words.push(filled);
            }
        }
    }
    words
}

#[test]
fn a_unit_with_its_variables_starts_what_a_lab_starts_of_the_same_machine() {
    let mut extra = cluster(3);
    extra.extra_args.insert(ProgramName::Kubelet, vec!["--node-label=a=b".into(), "--node-label=c=d".into()]);
    extra.extra_args.insert(ProgramName::Etcd, vec!["--quota-backend-bytes=8589934592".into()]);
    for cluster in [cluster(1), cluster(3), extra] {
        for machine in all_machines(&cluster) {
            let units = systemd::files(machine.role, &Layout::machine());
            let variables = variables(&systemd::node_env(&cluster, &machine));
            for program in programs_of(&cluster, &machine) {
                let name = match program.name.is_ours() {
                    true => program.name.unit(),
                    false => format!("{}.conf", program.name.as_str()),
                };
                let unit = units.iter().find(|file| file.name == name).unwrap_or_else(|| panic!("{name}"));
                let expected: Vec<String> = [program.binary].into_iter().chain(program.args).collect();
                assert_eq!(command(&unit.text, &variables), expected, "{name} of {}", machine.name);
            }
        }
    }
}

#[test]
fn what_differs_from_machine_to_machine() {
    let cluster = cluster(3);
    let machines = all_machines(&cluster);
    let of = |name: &str| variables(&systemd::node_env(&cluster, machines.iter().find(|m| m.name == name).unwrap()));
    let apiservers = "https://192.168.1.11:6443,https://192.168.1.12:6443,https://192.168.1.13:6443";
    let taint = "--register-with-taint=node-role.kubernetes.io/control-plane:NoSchedule";
    let own_first = "https://192.168.1.12:2379,https://192.168.1.11:2379,https://192.168.1.13:2379";
    let members =
        "master1=https://192.168.1.11:2380,master2=https://192.168.1.12:2380,master3=https://192.168.1.13:2380";
    let cases = [
        ("master2", "NODE_NAME", Some("master2")),
        ("master2", "NODE_IP", Some("192.168.1.12")),
        ("master2", "APISERVERS", Some(apiservers)),
        ("worker2", "APISERVERS", Some(apiservers)),
        ("master2", "ETCD_SERVERS", Some(own_first)),
        ("master2", "ETCD_MEMBERS", Some(members)),
        ("worker2", "ETCD_SERVERS", None),
        ("master2", "KUBELET_EXTRA_ARGS", Some(taint)),
        ("worker2", "KUBELET_EXTRA_ARGS", Some("")),
        ("worker2", "APISERVER_EXTRA_ARGS", None),
    ];
    for (machine, variable, expected) in cases {
        assert_eq!(of(machine).get(variable).map(String::as_str), expected, "{variable} of {machine}");
    }
}

#[test]
fn addresses_of_ipv6_stand_in_brackets() {
    let ip: IpAddr = "fd00::11".parse().unwrap();
    let master = Machine { name: "m".into(), ip, role: Role::Master };
    let cluster = Cluster::new("corten", vec![master.clone()]);
    assert_eq!(cluster.api_urls(), ["https://[fd00::11]:6443"]);
    assert_eq!(cluster.etcd_members(), ["m=https://[fd00::11]:2380"]);
    assert_eq!(cluster.etcd_urls(&master), ["https://[fd00::11]:2379"]);
}

#[test]
fn certificates_that_are_read_are_those_that_are_made() {
    let cluster = cluster(3);
    let machines = all_machines(&cluster);
    let read: BTreeSet<String> = machines
        .iter()
        .flat_map(|machine| programs_of(&cluster, machine))
        .flat_map(|program| program.reads)
        .map(|file| file.file)
        .collect();
    let mut stems: Vec<String> = Authority::ALL.iter().map(|authority| authority.file_stem().to_owned()).collect();
    stems.extend(cluster.certificates().certificates().into_iter().map(|plan| plan.file_stem));
    for machine in &machines {
        stems.extend(node_plan(&machine.name, &[]).into_iter().map(|plan| plan.file_stem));
    }
    let mut made: BTreeSet<String> =
        stems.iter().flat_map(|stem| [format!("{stem}.crt"), format!("{stem}.key")]).collect();
    made.extend(["sa.key", "sa.pub"].map(str::to_owned));
    assert_eq!(read.difference(&made).collect::<Vec<_>>(), Vec::<&String>::new(), "read, and made by nobody");
    // The administrator's own, and what only `cortenadm` signs with.
    let by_nobody = ["admin.crt", "admin.key", "etcd/ca.key", "front-proxy-ca.key"];
    assert_eq!(made.difference(&read).collect::<Vec<_>>(), by_nobody, "made, and read by nobody");
}

#[test]
fn a_worker_has_no_key_but_its_own() {
    let cluster = cluster(1);
    for machine in all_machines(&cluster) {
        for program in programs_of(&cluster, &machine) {
            for file in &program.reads {
                let is_key = file.file.ends_with(".key");
                assert_eq!(file.mode, if is_key { 0o600 } else { 0o644 }, "{}", file.file);
                assert_eq!(file.owner, if is_key { program.user } else { "root" }, "{}", file.file);
                let own = format!("nodes/{}/", machine.name);
                let fine = machine.role == Role::Master || file.file == "ca.crt" || file.file.starts_with(&own);
                assert!(fine, "{} on {}", file.file, machine.name);
            }
        }
    }
}

#[test]
fn what_etcd_keeps_is_etcds_alone() {
    let cluster = cluster(1);
    let programs = programs_of(&cluster, &cluster.masters[0]);
    for program in &programs {
        let user = if program.name == ProgramName::Etcd { "etcd" } else { "root" };
        assert_eq!(program.user, user, "{:?}", program.name);
        assert!(program.directories.iter().all(|dir| dir.owner == user), "{:?}", program.name);
    }
    // Nobody else reads its keys: a file has one owner.
    let readers = |file: &str| programs.iter().filter(|p| p.reads.iter().any(|read| read.file == file)).count();
    assert_eq!((readers("etcd/server.key"), readers("etcd/peer.key")), (1, 1));
}

#[test]
fn programs_start_after_what_they_wait_for_and_again_for_ever() {
    let cluster = cluster(1);
    let programs = programs_of(&cluster, &cluster.masters[0]);
    let position = |name: ProgramName| programs.iter().position(|program| program.name == name).unwrap();
    for (at, program) in programs.iter().enumerate() {
        assert!(program.after.iter().all(|before| position(*before) < at), "{:?}", program.name);
        assert!(program.restart_secs >= 1, "{:?}", program.name);
    }
    for file in systemd::files(Role::Master, &Layout::machine()) {
        // containerd's own unit says how it is started again.
        let is_unit = file.path.starts_with("/etc/systemd") && file.name != "containerd.conf";
        if is_unit {
            for line in ["Restart=always", "RestartSec=1", "StartLimitIntervalSec=0"] {
                assert!(file.text.lines().any(|have| have == line), "{}: {line}", file.name);
            }
        }
    }
}

#[test]
fn programs_have_the_powers_that_they_need_and_no_more() {
    let cluster = cluster(1);
    for program in programs_of(&cluster, &cluster.masters[0]) {
        let powers: Vec<&str> = program
            .settings
            .iter()
            .flat_map(|setting| setting.lines)
            .filter_map(|line| line.strip_prefix("CapabilityBoundingSet="))
            .collect();
        let expected: &[&str] = match program.name {
            ProgramName::Apiserver => &["CAP_NET_BIND_SERVICE"],
            ProgramName::Etcd | ProgramName::Scheduler | ProgramName::Controllers => &[""],
            ProgramName::Proxy => &["CAP_NET_ADMIN CAP_NET_BIND_SERVICE CAP_NET_RAW"],
            ProgramName::Containerd | ProgramName::Kubelet => &[],
        };
        assert_eq!(powers, expected, "{:?}", program.name);
    }
}

#[test]
fn what_says_when_it_is_ready_may_take_its_time() {
    let cluster = cluster(1);
    let files = systemd::files(Role::Master, &Layout::machine());
    for program in programs_of(&cluster, &cluster.masters[0]) {
        let file = files
            .iter()
            .find(|file| file.name == program.name.unit() || file.name == format!("{}.conf", program.name.as_str()));
        let waits = file.unwrap().text.contains("\nTimeoutStartSec=infinity\n");
        // containerd's own unit is left as it is.
        let expected = program.readiness == Readiness::Notify && program.name != ProgramName::Containerd;
        assert_eq!(waits, expected, "{:?}", program.name);
    }
}

#[test]
fn no_variable_is_one_of_etcds_own() {
    let cluster = cluster(1);
    let programs = programs_of(&cluster, &cluster.masters[0]);
    let etcd = programs.iter().find(|program| program.name == ProgramName::Etcd).unwrap();
    let flag = |arg: &String| arg.trim_start_matches('-').split('=').next().unwrap().to_uppercase().replace('-', "_");
    let of_etcd: BTreeSet<String> = etcd.args.iter().map(|arg| format!("ETCD_{}", flag(arg))).collect();
    for variable in Variable::ALL {
        assert!(!of_etcd.contains(variable.name()), "{variable:?}");
    }
    assert!(!of_etcd.contains(&ProgramName::Etcd.extra_args_variable()));
}

#[test]
fn ports_that_are_needed_are_those_that_are_listened_on() {
    let cluster = cluster(1);
    for machine in all_machines(&cluster) {
        for program in programs_of(&cluster, &machine) {
            let ports = cluster.ports(machine.role);
            let wanted = ports.iter().filter(|(name, _)| *name == program.name);
            let listening = |arg: &&String| arg.contains("listen") || arg.starts_with("--metrics-address");
            let flags: Vec<&String> = program.args.iter().filter(listening).collect();
            for (_, port) in wanted {
                assert!(flags.iter().any(|flag| flag.contains(&format!(":{port}"))), "{port} in {flags:?}");
            }
            assert_eq!(flags.is_empty(), ports.iter().all(|(name, _)| *name != program.name), "{:?}", program.name);
        }
    }
}

#[test]
fn no_file_that_administrators_have_comes_after_our_sysctls() {
    let files = systemd::files(Role::Worker, &Layout::machine());
    let ours = files.iter().find(|file| file.path.starts_with("/etc/sysctl.d")).unwrap();
    // systemd reads them in the order of their names, and the last one counts.
    for other in ["99-sysctl.conf", "99-zzz.conf", "local.conf"] {
        assert!(ours.path.file_name().unwrap() > std::ffi::OsStr::new(other), "{other}");
    }
}

#[test]
fn every_setting_says_why() {
    let cluster = cluster(1);
    for program in programs_of(&cluster, &cluster.masters[0]) {
        for setting in &program.settings {
            assert!(!setting.why.is_empty() && !setting.lines.is_empty(), "{:?}", program.name);
            assert!(setting.lines.iter().all(|line| line.contains('=')), "{:?}", setting.lines);
        }
    }
}

//! A machine becomes a master: at once, after every cut, again, with other settings, and back.
use std::net::Ipv4Addr;

use super::*;
use crate::config::{Effective, Host, Settings};
use crate::init;
use crate::machine::memory::Memory;
use crate::topology::{Layout, ProgramName};

fn steps_with(settings: Settings) -> Vec<Step> {
    let host = Host { name: "master1".into(), address: Some(Ipv4Addr::new(192, 168, 1, 11)) };
    let effective = Effective::new(&settings, None, None, &host).unwrap();
    init::steps(&effective.plan().unwrap(), &effective.kept().unwrap(), &Layout::machine())
}

fn steps() -> Vec<Step> {
    steps_with(Settings::default())
}

/// What became of each step.
fn run_all(steps: &[Step], machine: &Memory) -> (Vec<Told>, Result<(), StepError>) {
    let mut told = Vec::new();
    let done = run(steps, machine, &mut |_, what| told.push(what));
    (told, done)
}

fn restarts(machine: &Memory) -> Vec<String> {
    let commands = machine.commands.borrow();
    commands.iter().filter_map(|command| command.strip_prefix("restart --no-block ")).map(str::to_owned).collect()
}

fn is_a_master(machine: &Memory) {
    for program in ProgramName::ALL {
        assert!(machine.runs(&program.unit()), "{} runs", program.unit());
        assert!(machine.units.borrow()[&program.unit()].enabled, "{} is enabled", program.unit());
    }
    let disk = machine.disk.borrow();
    assert_eq!(disk.labels.iter().collect::<Vec<_>>(), ["node-role.kubernetes.io/control-plane"]);
    assert_eq!(disk.certificates.len(), 9 + 3);
    let owned: Vec<String> = disk.owners.iter().map(|(path, user)| format!("{} {user}", path.display())).collect();
    let expected =
        ["/etc/corten/pki/etcd/peer.key etcd", "/etc/corten/pki/etcd/server.key etcd", "/var/lib/etcd/corten etcd"];
    assert_eq!(owned, expected);
    let (text, mode) = &disk.files[std::path::Path::new(init::ADMIN_CONF)];
    assert_eq!((text.as_str(), *mode), ("corten at https://192.168.1.11:6443", 0o600));
    assert_eq!(disk.files[std::path::Path::new("/proc/sys/net/ipv4/ip_forward")].0, "1\n");
}

#[test]
fn a_machine_becomes_a_master_and_stays_one() {
    let machine = Memory::default();
    let (told, done) = run_all(&steps(), &machine);
    done.unwrap();
    // The apiserver and the node are ready when all units are.
    assert!(told.iter().filter(|what| matches!(what, Told::Done(_))).count() >= told.len() - 2, "{told:?}");
    is_a_master(&machine);
    machine.commands.borrow_mut().clear();
    let before = machine.disk.borrow().clone();
    let (told, done) = run_all(&steps(), &machine);
    done.unwrap();
    assert!(told.iter().all(|what| *what == Told::Kept), "{told:?}");
    assert_eq!((machine.commands.borrow().len(), &*machine.disk.borrow()), (0, &before), "nothing is changed");
}

#[test]
fn a_run_that_is_cut_off_anywhere_is_finished_by_the_next() {
    let whole = Memory::default();
    run_all(&steps(), &whole).1.unwrap();
    let expected = whole.disk.borrow().clone();
    let mut cuts = 0;
    loop {
        let machine = Memory::default();
        machine.changes_left.set(Some(cuts));
        let done = run_all(&steps(), &machine).1;
        if done.is_ok() {
            break;
        }
        assert!(done.unwrap_err().to_string().contains("run it again"), "after {cuts} changes");
        machine.changes_left.set(None);
        run_all(&steps(), &machine).1.unwrap();
        is_a_master(&machine);
        assert_eq!(*machine.disk.borrow(), expected, "after {cuts} changes");
        cuts += 1;
    }
    assert!(cuts > 50, "{cuts} cuts were tried");
}

#[test]
fn owners_and_modes_that_somebody_changed_are_set_again_and_no_more_is_done() {
    let cases = [
        ("/etc/corten", "root", 0o700, 0o755),
        ("/etc/corten/pki/etcd", "root", 0o750, 0o755),
        ("/etc/corten/pki/etcd/server.key", "root", 0o600, 0o600),
        ("/etc/corten/pki/etcd/ca.key", "root", 0o644, 0o600),
        ("/etc/corten/pki/admin.key", "nobody", 0o600, 0o600),
        ("/var/lib/etcd/corten", "etcd", 0o755, 0o700),
        ("/etc/corten/admin.conf", "root", 0o644, 0o600),
        ("/etc/corten/admin.conf", "nobody", 0o600, 0o600),
        ("/etc/systemd/system/corten-proxy.service", "root", 0o666, 0o644),
        ("/etc/corten/node.env", "nobody", 0o644, 0o644),
    ];
    for (path, user, mode, expected) in cases {
        let machine = Memory::default();
        run_all(&steps(), &machine).1.unwrap();
        let before = machine.look(path.as_ref()).unwrap().unwrap();
        machine.set_owner(path.as_ref(), user).unwrap();
        machine.set_mode(path.as_ref(), mode).unwrap();
        machine.commands.borrow_mut().clear();
        run_all(&steps(), &machine).1.unwrap();
        let after = machine.look(path.as_ref()).unwrap().unwrap();
        assert_eq!((&after, after.mode), (&before, expected), "{path}");
        assert_eq!(restarts(&machine), Vec::<String>::new(), "{path}");
    }
}

#[test]
fn directories_that_others_use_stay_as_they_are() {
    let machine = Memory::default();
    machine.disk.borrow_mut().dirs.insert("/var/lib/containerd".into(), 0o711);
    run_all(&steps(), &machine).1.unwrap();
    assert_eq!(machine.look("/var/lib/containerd".as_ref()).unwrap().unwrap().mode, 0o711);
    let (told, _) = run_all(&steps(), &machine);
    assert!(told.iter().all(|what| *what == Told::Kept), "{told:?}");
}

#[test]
fn data_that_etcd_wrote_as_root_become_etcds_while_it_does_not_run() {
    let data = std::path::Path::new("/var/lib/etcd/corten/member/snap/db");
    for cut in 0..40 {
        let machine = Memory::default();
        machine.disk.borrow_mut().files.insert(data.into(), ("keys".into(), 0o600));
        // A run that was cut off made the directory etcd's, and no more.
        machine.disk.borrow_mut().dirs.insert("/var/lib/etcd/corten".into(), 0o700);
        machine.disk.borrow_mut().owners.insert("/var/lib/etcd/corten".into(), "etcd".into());
        machine.changes_left.set(Some(cut));
        run_all(&steps(), &machine).1.unwrap_err();
        machine.changes_left.set(None);
        run_all(&steps(), &machine).1.unwrap();
        assert_eq!(machine.look(data).unwrap().unwrap().user, "etcd", "after {cut} changes");
        assert!(machine.runs("etcd.service"), "after {cut} changes");
        let commands = machine.commands.borrow().clone();
        let at = |command: &str| commands.iter().position(|have| have == command);
        assert!(at("stop etcd.service").unwrap() < at("restart --no-block etcd.service").unwrap(), "{commands:?}");
    }
}

#[test]
fn a_unit_that_does_not_start_ends_the_run_with_where_to_look() {
    let machine = Memory { broken: ["etcd.service".to_owned()].into(), ..Memory::default() };
    let (told, done) = run_all(&steps(), &machine);
    let error = done.unwrap_err().to_string();
    assert!(error.starts_with("etcd runs: not so after 90 s: etcd.service is activating"), "{error}");
    assert!(error.contains("journalctl --unit=etcd.service"), "{error}");
    assert!(matches!(told.last(), Some(Told::Failed(_))), "{told:?}");
    assert_eq!(restarts(&machine), ["etcd.service"], "nothing that comes after is begun");
}

#[test]
fn a_unit_that_ends_right_after_its_start_does_not_count_as_running() {
    // Neither tells systemd when it is ready.
    for program in [ProgramName::Controllers, ProgramName::Kubelet] {
        let machine = Memory { fleeting: [program.unit()].into(), ..Memory::default() };
        let error = run_all(&steps(), &machine).1.unwrap_err().to_string();
        let expected = format!("{} runs: not so after 90 s: {} is activating", program.as_str(), program.unit());
        assert!(error.starts_with(&expected), "{error}");
    }
}

#[test]
fn a_dry_run_says_what_a_run_would_do_and_changes_nothing() {
    let machine = Memory::default();
    let all = |machine: &Memory| {
        let mut told = Vec::new();
        dry_run(&steps(), machine, &mut |step, what| told.push((step.name.clone(), what)));
        told
    };
    let told = all(&machine);
    assert!(told.iter().all(|(_, what)| matches!(what, Told::Would(_))), "{told:?}");
    assert_eq!((machine.disk.borrow().clone(), machine.commands.borrow().len()), (Default::default(), 0));
    run_all(&steps(), &machine).1.unwrap();
    assert!(all(&machine).iter().all(|(_, what)| *what == Told::Kept));
}

#[test]
fn other_settings_start_again_whom_they_concern() {
    let network = |text: &str| Some(text.parse().unwrap());
    let cases = [
        ("none", Settings::default(), vec![]),
        (
            "a kubelet's argument",
            Settings { kubelet_extra_args: Some(vec!["--node-label=a=b".into()]), ..Settings::default() },
            vec!["corten-kubelet.service"],
        ),
        (
            "the pods' network",
            Settings { pod_network_cidr: network("10.9.0.0/16"), ..Settings::default() },
            vec!["corten-controllers.service", "corten-proxy.service"],
        ),
        ("etcd's timing", Settings { etcd_heartbeat_interval: Some(100), ..Settings::default() }, vec!["etcd.service"]),
    ];
    for (why, settings, expected) in cases {
        let machine = Memory::default();
        run_all(&steps(), &machine).1.unwrap();
        machine.commands.borrow_mut().clear();
        run_all(&steps_with(settings), &machine).1.unwrap();
        assert_eq!(restarts(&machine), expected, "{why}");
    }
}

#[test]
fn what_was_done_is_undone_but_for_data_and_what_others_use() {
    let machine = Memory::default();
    run_all(&steps(), &machine).1.unwrap();
    let data = machine.disk.borrow().dirs.clone();
    undo(&steps(), &machine, &mut |_, _| {}).unwrap();
    let disk = machine.disk.borrow().clone();
    assert!(disk.files.keys().all(|file| file.starts_with("/proc") || file.starts_with("/sys")), "{:?}", disk.files);
    assert_eq!((disk.certificates.len(), disk.dirs), (0, data));
    let left: Vec<ProgramName> =
        ProgramName::ALL.into_iter().filter(|program| machine.units.borrow()[&program.unit()].started).collect();
    assert_eq!(left, [ProgramName::Containerd], "containers may be others', too");
    // Again, when there is nothing; and anew.
    undo(&steps(), &machine, &mut |_, _| {}).unwrap();
    run_all(&steps(), &machine).1.unwrap();
    is_a_master(&machine);
}

#[test]
fn what_is_told_is_what_is_taken_back_after_every_cut() {
    let undone = |machine: &Memory| undo(&steps(), machine, &mut |_, _| {});
    for cut in 0..70 {
        let machine = Memory::default();
        // An etcd of the package's, which runs before anything is begun.
        machine.units.borrow_mut().entry("etcd.service".to_owned()).or_default().started = true;
        machine.changes_left.set(Some(cut));
        run_all(&steps(), &machine).1.ok();
        machine.changes_left.set(None);
        machine.commands.borrow_mut().clear();
        let told = made(&init::any_steps(&Layout::machine()), &machine).unwrap();
        assert_eq!(told, made(&steps(), &machine).unwrap(), "settings do not matter");
        let before = machine.disk.borrow().clone();
        undone(&machine).unwrap();
        let after = machine.disk.borrow().clone();
        let gone = before.files.keys().filter(|file| !after.files.contains_key(*file));
        assert!(gone.clone().all(|file| told.contains(&Made::File(file.clone()))), "after {cut} changes: {told:?}");
        let files = told.iter().filter(|one| matches!(one, Made::File(_))).count();
        assert_eq!(gone.count(), files, "after {cut} changes: {told:?}");
        assert_eq!(after.certificates.len(), 0, "after {cut} changes");
        let commands = machine.commands.borrow().clone();
        let stopped: Vec<Made> = commands
            .iter()
            .filter_map(|command| command.strip_prefix("disable --now "))
            .map(|unit| Made::Unit(unit.to_owned()))
            .collect();
        let units: Vec<Made> = told.iter().filter(|one| matches!(one, Made::Unit(_))).cloned().collect();
        assert_eq!(stopped, units, "after {cut} changes");
        // Nobody else's etcd is stopped: ours is one that was marked before it was started again.
        let is_ours = before.files.contains_key(&init::mark(ProgramName::Etcd));
        assert_eq!(units.contains(&Made::Unit("etcd.service".into())), is_ours, "after {cut} changes");
        assert_eq!(made(&steps(), &machine).unwrap(), [], "after {cut} changes");
        assert!(!init::was_begun(&machine), "after {cut} changes");
    }
}

#[test]
fn units_of_ours_that_were_set_up_by_hand_are_stopped_and_others_are_not() {
    let machine = Memory::default();
    let unit = std::path::Path::new("/etc/systemd/system/corten-kubelet.service");
    machine.disk.borrow_mut().files.insert(unit.into(), ("by hand".into(), 0o644));
    assert!(!init::was_begun(&machine));
    let told = made(&steps(), &machine).unwrap();
    assert_eq!(told, [Made::Unit("corten-kubelet.service".into()), Made::File(unit.into())]);
    machine.disk.borrow_mut().files.insert(crate::config::KEPT.into(), (String::new(), 0o644));
    assert!(init::was_begun(&machine));
}

#[test]
fn steps_have_names_of_their_own() {
    let names: std::collections::BTreeSet<String> = steps().into_iter().map(|step| step.name).collect();
    assert_eq!(names.len(), steps().len());
}

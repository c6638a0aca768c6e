//! What both machines promise of files and directories: this one, below a directory of its own, and the one in memory.
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::memory::Memory;
use super::*;

fn files_and_directories(machine: &dyn Machine, root: &Path, mode_of: &dyn Fn(&Path) -> u32) {
    let (file, dir) = (root.join("a/b/settings"), root.join("c/data"));
    assert_eq!(machine.read(&file).unwrap(), None);
    machine.remove(&file).unwrap();
    machine.remove_dir(&dir).unwrap();
    for (text, mode) in [("one", 0o644), ("two", 0o600), ("", 0o600)] {
        machine.write(&file, text, mode).unwrap();
        assert_eq!((machine.read(&file).unwrap().as_deref(), mode_of(&file)), (Some(text), mode));
    }
    assert!(machine.exists(&file) && machine.exists(&root.join("a/b")));
    assert!(!machine.exists(&root.join("a/b/other")));
    machine.make_dir(&dir, 0o700).unwrap();
    machine.make_dir(&dir, 0o755).unwrap();
    assert!(machine.exists(&dir));
    assert_eq!(mode_of(&dir), 0o700, "a directory that is there stays as it is");
    machine.write(&dir.join("more"), "three", 0o644).unwrap();
    machine.remove_dir(&dir).unwrap();
    assert!(!machine.exists(&dir) && machine.read(&dir.join("more")).unwrap().is_none());
    machine.remove(&file).unwrap();
    assert_eq!(machine.read(&file).unwrap(), None);
    machine.write(&file, "whose", 0o600).unwrap();
    assert_eq!(machine.look(&root.join("nowhere")).unwrap(), None);
    let look = |path: &Path| machine.look(path).unwrap().unwrap();
    assert_eq!((look(&file).mode, look(&file).is_link), (0o600, false));
    for (path, mode) in [(&file, 0o640), (&file, 0o600), (&root.join("a/b"), 0o711), (&root.join("a/b"), 0o755)] {
        machine.set_mode(path, mode).unwrap();
        assert_eq!(look(path).mode, mode);
    }
    if look(&file).user == "root" {
        machine.set_owner(&file, "nobody").unwrap();
        assert_eq!(look(&file).user, "nobody");
        let data = root.join("d/data");
        let inner = data.join("member/snap/db");
        machine.make_dir(&data, 0o700).unwrap();
        machine.write(&inner, "keys", 0o600).unwrap();
        machine.set_owner(&data, "nobody").unwrap();
        assert!(machine.others_in(&data, "nobody").unwrap().contains(&inner), "what is in it is still root's");
        machine.give_all_in(&data, "nobody").unwrap();
        assert_eq!((machine.others_in(&data, "nobody").unwrap().len(), look(&inner).user.as_str()), (0, "nobody"));
        assert_eq!(machine.others_in(&file, "nobody").unwrap().len(), 0, "there is nothing in a file");
    }
    let before = machine.elapsed();
    machine.pause();
    assert!(machine.elapsed() > before);
}

#[test]
fn the_machine_in_memory_keeps_the_contract() {
    let machine = Memory::default();
    let mode_of = |path: &Path| {
        let disk = machine.disk.borrow();
        disk.files.get(path).map(|(_, mode)| *mode).or_else(|| disk.dirs.get(path).copied()).unwrap()
    };
    files_and_directories(&machine, Path::new("/root"), &mode_of);
}

#[test]
fn a_link_is_not_followed_to_what_it_names() {
    let root = std::env::temp_dir().join(format!("cortenadm-link-{}", std::process::id()));
    std::fs::create_dir_all(&root).unwrap();
    let machine = ThisMachine::new(&root, SocketAddr::from(([127, 0, 0, 1], 1)));
    let (shadow, link) = (root.join("shadow"), root.join("data"));
    machine.write(&shadow, "secret", 0o600).unwrap();
    std::os::unix::fs::symlink(&shadow, &link).unwrap();
    let before = machine.look(&shadow).unwrap().unwrap();
    assert!(machine.look(&link).unwrap().unwrap().is_link);
    for given in [machine.set_owner(&link, "nobody"), machine.set_mode(&link, 0o666)] {
        let error = given.unwrap_err().to_string();
        assert!(error.contains("data is a link"), "{error}");
    }
    let data = root.join("etcd");
    machine.make_dir(&data.join("member"), 0o700).unwrap();
    std::os::unix::fs::symlink(&shadow, data.join("member/wal")).unwrap();
    for given in [machine.give_all_in(&data, "nobody"), machine.others_in(&data, "nobody").map(drop)] {
        assert!(given.unwrap_err().to_string().contains("member/wal is a link"));
    }
    std::fs::remove_file(data.join("member/wal")).unwrap();
    std::fs::hard_link(&shadow, data.join("member/wal")).unwrap();
    if before.user == "root" {
        std::os::unix::fs::chown(data.join("member"), Some(12_345), None).unwrap();
        assert!(machine.give_all_in(&data, "nobody").unwrap_err().to_string().contains("member/wal is a link"));
    }
    assert_eq!(machine.look(&shadow).unwrap(), Some(before));
    std::fs::remove_dir_all(&root).unwrap();
}

#[test]
fn this_machine_keeps_the_contract_and_says_what_programs_say() {
    let root = std::env::temp_dir().join(format!("cortenadm-machine-{}", std::process::id()));
    let machine = ThisMachine::new(root.join("pki"), SocketAddr::from(([127, 0, 0, 1], 1)));
    let mode_of = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    files_and_directories(&machine, &root, &mode_of);
    // As a run that was cut off leaves it.
    std::fs::create_dir_all(&root).unwrap();
    std::fs::write(root.join("key.new"), "half").unwrap();
    machine.write(&root.join("key"), "whole", 0o600).unwrap();
    assert_eq!((mode_of(&root.join("key")), machine.exists(&root.join("key.new"))), (0o600, false));
    std::fs::remove_dir_all(&root).unwrap();
    assert_eq!(machine.run("echo", &["a", "b"]).unwrap(), "a b\n");
    let failed = machine.run("sh", &["-c", "echo so it is >&2; exit 3"]).unwrap_err().to_string();
    assert_eq!(failed, "sh -c echo so it is >&2; exit 3 failed: so it is");
    assert!(machine.set_owner(&std::env::temp_dir(), "no-such-user").unwrap_err().to_string().contains("no-such-user"));
    assert!(machine.run("no-such-program", &[]).unwrap_err().to_string().contains("is it installed?"));
}

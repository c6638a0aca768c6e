//! Trees that a container could make to hide what it uses.

use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;

use super::*;
use crate::volumes::walk::{DEPTH_MAX, MOVES_MAX};

const MIB: u64 = 1 << 20;

fn temp() -> (tempfile::TempDir, PathBuf) {
    let held = tempfile::tempdir().unwrap();
    let volume = held.path().join("v");
    std::fs::create_dir(&volume).unwrap();
    (held, volume)
}

fn fill(path: &Path, bytes: u64) {
    std::fs::write(path, vec![1; usize::try_from(bytes).unwrap()]).unwrap();
}

/// A directory so far below the volume, and nothing else on the way.
fn nested(volume: &Path, depth: usize) -> Dir {
    let mut here = Dir::open(volume).unwrap();
    for _ in 0..depth {
        here = here.make_dir("d", 0o755).unwrap();
    }
    here
}

/// As the standard library removes trees, it would need an open file for each level.
fn remove(volume: &Path) {
    Dir::open(volume.parent().unwrap()).unwrap().remove("v").unwrap();
}

#[test]
fn a_file_counts_once_however_many_names_it_has() {
    let (_held, volume) = temp();
    for n in 0..4 {
        let first = volume.join(format!("{n}"));
        fill(&first, MIB);
        for other in 1..8 {
            std::fs::hard_link(&first, volume.join(format!("{n}-{other}"))).unwrap();
        }
    }
    assert!(!exceeds(&volume, 5 * MIB).unwrap());
    assert!(exceeds(&volume, 3 * MIB).unwrap());
    // There is room to remember two of the four.
    let mut usage = Usage::of(Dir::open(&volume).unwrap()).unwrap();
    usage.linked.max = 2;
    while usage.step().unwrap() {}
    assert!((4 * MIB..5 * MIB).contains(&usage.used_bytes), "{}", usage.used_bytes);
    assert_eq!(usage.linked.seen.len(), 2);
}

#[test]
fn what_lies_deeper_than_any_path_leads_counts() {
    let (_held, volume) = temp();
    let deep = nested(&volume, 3000);
    let flags = nix::fcntl::OFlag::O_CREAT | nix::fcntl::OFlag::O_WRONLY;
    let mut file = deep.file("hidden", flags, 0o600).unwrap();
    io::Write::write_all(&mut file, &vec![1; 64 << 20]).unwrap();
    drop((file, deep));
    // The directories themselves take 4 KiB each on some file systems.
    assert!(exceeds(&volume, 32 * MIB).unwrap());
    remove(&volume);
}

#[test]
fn a_tree_that_is_too_deep_to_be_counted_is_said_to_be() {
    let (_held, volume) = temp();
    drop(nested(&volume, DEPTH_MAX + 1));
    assert!(matches!(exceeds(&volume, u64::MAX - 1), Err(WalkError::TooDeep)));
    remove(&volume);
}

#[test]
fn every_entry_of_a_wide_directory_counts_once() {
    let (_held, volume) = temp();
    for n in 0..700 {
        let dir = volume.join(format!("a-directory-with-a-name-of-its-own-{n}"));
        std::fs::create_dir(&dir).unwrap();
        fill(&dir.join("f"), 5000);
        fill(&volume.join(format!("a-file-with-a-name-of-its-own-{n}")), 3000);
    }
    let blocks = |path: &Path| std::fs::symlink_metadata(path).unwrap().blocks() * BLOCK_BYTES;
    let entries =
        |path: &Path| -> Vec<PathBuf> { std::fs::read_dir(path).unwrap().map(|e| e.unwrap().path()).collect() };
    let mut expected = blocks(&volume);
    for path in entries(&volume) {
        expected += blocks(&path);
        if path.is_dir() {
            expected += entries(&path).iter().map(|path| blocks(path)).sum::<u64>();
        }
    }
    assert!(exceeds(&volume, expected - 1).unwrap());
    assert!(!exceeds(&volume, expected).unwrap());
}

#[test]
fn directories_that_are_moved_while_they_are_looked_into_hide_nothing_else() {
    let (_held, volume) = temp();
    for side in ["p", "q"] {
        std::fs::create_dir_all(volume.join(side).join("b/c")).unwrap();
        fill(&volume.join(side).join("f"), MIB);
    }
    let mut usage = Usage::of(Dir::open(&volume).unwrap()).unwrap();
    while usage.walk.levels.len() < 4 {
        assert!(usage.step().unwrap(), "the deepest directory is never reached");
    }
    // The other side has not been looked into yet.
    let side = volume.join(&usage.walk.levels[1].name);
    std::fs::rename(side.join("b"), volume.join("moved")).unwrap();
    while usage.step().unwrap() {}
    assert_eq!(usage.walk.moves, 1);
    assert!(usage.used_bytes >= 2 * MIB, "{}", usage.used_bytes);
}

#[test]
fn who_moves_directories_all_the_time_is_not_looked_at_for_ever() {
    let (_held, volume) = temp();
    std::fs::create_dir_all(volume.join("a/b")).unwrap();
    let mut usage = Usage::of(Dir::open(&volume).unwrap()).unwrap();
    while usage.walk.levels.len() < 3 {
        assert!(usage.step().unwrap(), "the deepest directory is never reached");
    }
    usage.walk.moves = MOVES_MAX;
    std::fs::rename(volume.join("a/b"), volume.join("b")).unwrap();
    let ended = loop {
        match usage.step() {
            Ok(true) => {}
            other => break other,
        }
    };
    assert!(matches!(ended, Err(WalkError::Restless)), "{ended:?}");
}

#[test]
fn a_volume_that_is_not_there_uses_nothing() {
    let (_held, volume) = temp();
    assert!(!exceeds(&volume.join("none"), 0).unwrap());
}

//! Updates, and what a container could have planted before them.

use std::os::unix::fs::symlink;

use super::*;

fn files(list: &[(&str, &str)]) -> BTreeMap<String, File> {
    list.iter()
        .map(|(p, t)| ((*p).to_owned(), File { bytes: t.as_bytes().to_vec(), mode: 0o644, owner: None }))
        .collect()
}

fn put(at: &Path, list: &[(&str, &str)]) {
    write(&Dir::open(at).unwrap(), &files(list), None).unwrap();
}

#[test]
fn an_update_replaces_everything_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    put(dir, &[("a", "1"), ("sub/b", "2")]);
    assert_eq!(std::fs::read_to_string(dir.join("sub/b")).unwrap(), "2");
    let first = std::fs::read_link(dir.join(DATA)).unwrap();

    put(dir, &[("a", "1"), ("sub/b", "2")]);
    assert_eq!(std::fs::read_link(dir.join(DATA)).unwrap(), first, "the same files are left alone");

    put(dir, &[("a", "new")]);
    assert_eq!(std::fs::read_to_string(dir.join("a")).unwrap(), "new");
    assert!(!dir.join("sub").exists() && !dir.join(first).exists(), "nothing old is left");
}

#[test]
fn attempts_that_fail_leave_no_heap() {
    let held = tempfile::tempdir().unwrap();
    put(held.path(), &[("a", "1")]);
    let dir = Dir::open(held.path()).unwrap();
    // One file cannot be both a file and a directory.
    let impossible = files(&[("a", "2"), ("a/b", "3")]);
    let of_ours = || {
        std::fs::read_dir(held.path())
            .unwrap()
            .filter(|e| e.as_ref().unwrap().file_name().to_string_lossy().starts_with(OURS))
    };
    for _ in 0..5 {
        write(&dir, &impossible, None).unwrap_err();
        assert_eq!(std::fs::read_to_string(held.path().join("a")).unwrap(), "1", "the files of before stay");
    }
    assert_eq!(of_ours().count(), 3, "the link, what it leads to, and the last attempt");
    put(held.path(), &[("a", "2")]);
    assert_eq!(of_ours().count(), 2);
}

#[test]
fn no_planted_link_is_followed() {
    let held = tempfile::tempdir().unwrap();
    type Plant = fn(dir: &Path, outside: &Path);
    let plants: [(&str, Plant); 5] = [
        ("data leads out", |dir, out| {
            std::fs::remove_file(dir.join(DATA)).unwrap();
            symlink(out, dir.join(DATA)).unwrap();
        }),
        ("a file of the data leads out", |dir, out| {
            std::fs::remove_file(dir.join(DATA).join("a")).unwrap();
            symlink(out.join("secret"), dir.join(DATA).join("a")).unwrap();
        }),
        ("a directory of the data leads out", |dir, out| {
            std::fs::remove_dir_all(dir.join(DATA).join("sub")).unwrap();
            symlink(out, dir.join(DATA).join("sub")).unwrap();
        }),
        ("a file as users see it leads out", |dir, out| {
            std::fs::remove_file(dir.join("a")).unwrap();
            symlink(out.join("secret"), dir.join("a")).unwrap();
        }),
        ("the next data is a tree with a link", |dir, out| {
            std::fs::create_dir(dir.join(DATA_NEXT)).unwrap();
            symlink(out, dir.join(DATA_NEXT).join("out")).unwrap();
        }),
    ];
    for (number, (why, plant)) in plants.into_iter().enumerate() {
        let (dir, out) = (held.path().join(format!("in{number}")), held.path().join(format!("out{number}")));
        std::fs::create_dir(&dir).unwrap();
        std::fs::create_dir(&out).unwrap();
        std::fs::write(out.join("secret"), "kept").unwrap();
        put(&dir, &[("a", "old"), ("sub/b", "old")]);
        plant(&dir, &out);
        put(&dir, &[("a", "new"), ("sub/b", "new")]);
        assert_eq!(std::fs::read_to_string(dir.join("a")).unwrap(), "new", "{why}");
        assert_eq!(std::fs::read_to_string(dir.join("sub/b")).unwrap(), "new", "{why}");
        assert_eq!(std::fs::read_to_string(out.join("secret")).unwrap(), "kept", "{why}");
        assert_eq!(std::fs::read_dir(&out).unwrap().count(), 1, "{why}: nothing was written there");
    }
}

#[test]
fn a_directory_that_another_volume_is_mounted_on_stays() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(dir.path().join("nested")).unwrap();
    for text in ["old", "new"] {
        put(dir.path(), &[("a", text), ("nested/b", text)]);
        assert!(dir.path().join("nested").symlink_metadata().unwrap().is_dir(), "{text}");
        assert_eq!(std::fs::read_to_string(dir.path().join("a")).unwrap(), text);
    }
}

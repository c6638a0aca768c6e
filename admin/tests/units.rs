//! The files in hack/systemd are what the topology renders: `cortenadm units --out hack/systemd` writes them.
#![expect(clippy::unwrap_used, reason = "a test's helper may panic as a test may")]
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

#[test]
fn units_in_the_sources_are_what_the_topology_renders() {
    let committed = Path::new(env!("CARGO_MANIFEST_DIR")).join("../hack/systemd");
    let made = std::env::temp_dir().join(format!("cortenadm-units-{}", std::process::id()));
    let done = Command::new(env!("CARGO_BIN_EXE_cortenadm")).args(["units", "--out"]).arg(&made).output().unwrap();
    assert!(done.status.success(), "{done:?}");
    let (mut expected, found) = (files(&made), files(&committed));
    fs::remove_dir_all(&made).unwrap();
    // Written by hand.
    expected.insert("README.md".into(), found.get("README.md").cloned().unwrap_or_default());
    assert_eq!(found.keys().collect::<Vec<_>>(), expected.keys().collect::<Vec<_>>());
    for (name, text) in &expected {
        let advice =
            "hack/systemd is not what the topology renders: cargo run -p cortenadm -- units --out hack/systemd";
        assert!(found.get(name) == Some(text), "{name}: {advice}");
    }
}

fn files(dir: &Path) -> BTreeMap<String, String> {
    let entries = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap());
    entries
        .map(|entry| (entry.file_name().to_string_lossy().into_owned(), fs::read_to_string(entry.path()).unwrap()))
        .collect()
}

//! What installs Corten on machines of its own: the systemd units start programs as these want to be started.

use std::collections::BTreeMap;
use std::fs;
use std::process::Command;

const UNITS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../hack/systemd");

/// The variables of `node.env`.
fn environment() -> BTreeMap<String, String> {
    let text = fs::read_to_string(format!("{UNITS}/node.env")).unwrap_or_default();
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines.filter_map(|line| line.split_once('=')).map(|(name, value)| (name.into(), value.into())).collect()
}

/// The command line of a unit, with the variables filled in as systemd does it.
fn exec_start(unit: &str) -> Vec<String> {
    let joined = unit.replace("\\\n", " ");
    let command = joined.lines().find_map(|line| line.strip_prefix("ExecStart=/usr/local/bin/")).unwrap_or_default();
    let mut filled = command.to_owned();
    for (name, value) in environment() {
        filled = filled.replace(&format!("${{{name}}}"), &value).replace(&format!("${name}"), &value);
    }
    assert!(!filled.contains('$'), "a variable that node.env lacks: {filled}");
    filled.split_whitespace().map(str::to_owned).collect()
}

#[test]
fn every_unit_gives_its_program_flags_that_it_knows() {
    let mut seen = 0;
    for entry in fs::read_dir(UNITS).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.extension().is_none_or(|extension| extension != "service") {
            continue;
        }
        let words = exec_start(&fs::read_to_string(&path).unwrap_or_default());
        let program = corten_e2e::program(&words[0]);
        // All flags are read before the one that ends it.
        let done = Command::new(&program).args(&words[1..]).arg("--version").output();
        let done = done.unwrap_or_else(|err| panic!("{}: {err}", program.display()));
        let said = String::from_utf8_lossy(&done.stderr).into_owned();
        assert!(done.status.success(), "{}: {said}", path.display());
        seen += 1;
    }
    assert_eq!(seen, 5);
}

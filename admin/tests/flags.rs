//! Flags that the topology gives to our programs are flags that they have, and those that they demand are given.
//!
//! This program must not link the others, so their flags are read from their sources: fields under `#[arg(long …)]`.
#![expect(clippy::unwrap_used, reason = "a test's helper may panic as a test may")]
use std::collections::BTreeSet;
use std::fs;
use std::net::Ipv4Addr;
use std::path::Path;
use std::process::Command;

use cortenadm::topology::{self, Cluster, Layout, Machine, Program, ProgramName, Role, Values};

const OF_CLIENTS: &str = "client/src/args.rs";

/// Where a program's flags are defined.
fn sources(program: ProgramName) -> &'static [&'static str] {
    match program {
        ProgramName::Apiserver => &["apiserver/src/config.rs"],
        ProgramName::Scheduler => &[OF_CLIENTS, "scheduler/src/config.rs"],
        ProgramName::Controllers => &[OF_CLIENTS, "controllers/src/run.rs", "controllers/src/certificates/flags.rs"],
        ProgramName::Kubelet => &[OF_CLIENTS, "kubelet/src/config.rs"],
        ProgramName::Proxy => &[OF_CLIENTS, "proxy/src/run.rs"],
        ProgramName::Etcd | ProgramName::Containerd => &[],
    }
}

struct Flag {
    name: String,
    demanded: bool,
}

/// The flags of a source: an attribute `#[arg(long …)]`, on one line or several, and the field below it.
fn flags_in(source: &str) -> Vec<Flag> {
    let (mut found, mut attribute) = (Vec::new(), String::new());
    for line in source.lines().map(str::trim) {
        if line.starts_with("#[arg(") || (!attribute.is_empty() && !attribute.ends_with(")]")) {
            attribute.push_str(line);
        } else if let Some((name, kind)) = line.strip_prefix("pub ").and_then(|field| field.split_once(": ")) {
            if attribute.contains("long") {
                let named = attribute.split_once("long = \"").and_then(|(_, rest)| rest.split('"').next());
                let optional = ["Option<", "Vec<", "bool"].iter().any(|start| kind.starts_with(start));
                found.push(Flag {
                    name: named.map_or_else(|| name.replace('_', "-"), str::to_owned),
                    demanded: attribute.contains("required") || !(optional || attribute.contains("default_value")),
                });
            }
            attribute.clear();
        } else if !line.starts_with("//") && !line.starts_with("#[") {
            attribute.clear();
        }
    }
    found
}

fn programs() -> Vec<Program> {
    let machine = Machine { name: "master1".into(), ip: Ipv4Addr::LOCALHOST.into(), role: Role::Master };
    let cluster = Cluster::new("corten", vec![machine.clone()]);
    topology::programs(Role::Master, Values::Of(&cluster, &machine), &Layout::machine())
}

fn given(program: &Program) -> BTreeSet<String> {
    let name = |arg: &String| arg.trim_start_matches('-').split('=').next().unwrap().to_owned();
    program.args.iter().map(name).collect()
}

#[test]
fn programs_have_the_flags_that_they_are_given_and_are_given_those_that_they_demand() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    for program in programs().iter().filter(|program| program.name.is_ours()) {
        let texts = sources(program.name).iter().map(|source| fs::read_to_string(root.join(source)).unwrap());
        let flags: Vec<Flag> = texts.flat_map(|text| flags_in(&text)).collect();
        let given = given(program);
        let has = |name: &String| flags.iter().any(|flag| flag.name == *name);
        let unknown: Vec<&String> = given.iter().filter(|name| !has(name)).collect();
        assert!(unknown.is_empty(), "{} has no {unknown:?}", program.name.as_str());
        let demanded = flags.iter().filter(|flag| flag.demanded && !given.contains(&flag.name));
        let lacking: Vec<&str> = demanded.map(|flag| flag.name.as_str()).collect();
        assert!(lacking.is_empty(), "{} demands {lacking:?}", program.name.as_str());
    }
}

#[test]
fn etcd_has_the_flags_that_it_is_given() {
    let Ok(help) = Command::new("etcd").arg("--help").output() else {
        println!("skipped: there is no etcd here");
        return;
    };
    // Releases differ in which of the two it is written to.
    let help = String::from_utf8_lossy(&help.stdout).into_owned() + &String::from_utf8_lossy(&help.stderr);
    let programs = programs();
    let etcd = programs.iter().find(|program| program.name == ProgramName::Etcd).unwrap();
    for flag in given(etcd) {
        let named = |word: &str| word.trim_start_matches("--").split('=').next() == Some(flag.as_str());
        assert!(help.split_whitespace().any(|word| word.starts_with("--") && named(word)), "--{flag}");
    }
}

//! `bench memory`: proportional set size of every daemon of the lab, after it was left alone for a while.
use std::collections::BTreeMap;
use std::fs;
use std::thread::sleep;
use std::time::Duration;

use super::lab_with;
use super::table::{self, Row};
use crate::lab::{Lab, Plan, lab_processes, program_of_pid};
use crate::step::step;

const CONTROL_PLANE: [&str; 3] = ["corten-apiserver", "corten-scheduler", "corten-controllers"];
const NODE: [&str; 2] = ["corten-kubelet", "corten-proxy"];
const OTHERS: [&str; 3] = ["etcd", "containerd", "containerd-shim-runc-v2"];
const KIB_PER_MB: f64 = 1024.0;

pub(super) fn run(lab: &Lab, idle_secs: u64) -> anyhow::Result<()> {
    lab_with(lab, true)?;
    step("the lab is left alone", |progress| {
        progress.total(idle_secs);
        for second in 1..=idle_secs {
            sleep(Duration::from_secs(1));
            progress.done(second);
        }
        Ok(())
    })?;
    let plan = lab.running()?.plan;
    let mut rows = Vec::new();
    for node in &plan.nodes {
        let (used, sums) = of_node(&plan, &node.name)?;
        rows.extend(used.iter().map(|((program, count), mb)| {
            let times = if *count > 1 { format!(" ({count} processes)") } else { String::new() };
            Row::new(format!("{:<10} {program}{times}", node.name), format!("{mb:.1} MB"), "", "")
        }));
        if sums.control_plane > 0.0 {
            let text = format!("{:<10} = apiserver + scheduler + controllers", node.name);
            rows.push(Row::new(text, format!("{:.1} MB", sums.control_plane), "100 MB", "445 MB"));
        }
        let text = format!("{:<10} = kubelet + proxy (and log writers)", node.name);
        rows.push(Row::new(text, format!("{:.1} MB", sums.node), "45 MB", ""));
    }
    table::print(&format!("Memory (PSS) after {idle_secs} s idle"), &rows);
    Ok(())
}

#[derive(Default)]
struct Sums {
    control_plane: f64,
    node: f64,
}

type ByProgram = BTreeMap<(String, usize), f64>;

/// Megabytes by program with the number of its processes, and the two sums there are goals for.
fn of_node(plan: &Plan, node: &str) -> anyhow::Result<(ByProgram, Sums)> {
    let mut seen: BTreeMap<String, (usize, f64)> = BTreeMap::new();
    for pid in lab_processes(&plan.lab, node)? {
        let Some(program) = program_of_pid(pid) else { continue };
        let known = [&CONTROL_PLANE[..], &NODE, &OTHERS].concat().contains(&program.as_str());
        // One that ended meanwhile uses nothing.
        if known && let Some(mb) = pss_mb(pid) {
            let entry = seen.entry(program).or_default();
            *entry = (entry.0 + 1, entry.1 + mb);
        }
    }
    let sum =
        |programs: &[&str]| -> f64 { programs.iter().filter_map(|program| seen.get(*program)).map(|(_, mb)| mb).sum() };
    let sums = Sums { control_plane: sum(&CONTROL_PLANE), node: sum(&NODE) };
    Ok((seen.into_iter().map(|(program, (count, mb))| ((program, count), mb)).collect(), sums))
}

/// Proportional set size; nothing of a process that ended.
pub(super) fn pss_mb(pid: i32) -> Option<f64> {
    pss_kib(&fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?).map(|kib| kib as f64 / KIB_PER_MB)
}

fn pss_kib(smaps_rollup: &str) -> Option<u64> {
    smaps_rollup.lines().find_map(|line| line.strip_prefix("Pss:")?.split_whitespace().next()?.parse().ok())
}

#[cfg(test)]
mod tests {
    #[test]
    fn pss_is_read() {
        let text = "5581 [rollup]\nRss:   9000 kB\nPss:      4321 kB\nPss_Anon: 17 kB\n";
        assert_eq!(super::pss_kib(text), Some(4321));
    }
}

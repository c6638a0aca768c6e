//! `status`: what of the lab runs, and where to look.
use std::fs;

use super::daemons;
use super::process;
use super::state::Lab;
use crate::step::show;

pub(crate) fn status(lab: &Lab) -> anyhow::Result<()> {
    let Some(state) = lab.state()? else {
        println!("Lab {} does not run: start it with hack/up.", lab.name);
        return Ok(());
    };
    let plan = &state.plan;
    let mut text = String::new();
    text.push_str(
        &(format!(
            "Lab {} ({})",
            lab.name,
            if state.complete { "complete" } else { "half made: run hack/up or hack/down" }
        ) + "\n"),
    );
    text.push_str(&(format!("{:<10} {:<14} {:<12} {:>8} {:>9}", "NODE", "ADDRESS", "DAEMON", "PID", "RSS") + "\n"));
    for node in &plan.nodes {
        if process::node_init(&lab.name, &node.name)?.is_none() {
            text.push_str(
                &(format!(
                    "{:<10} {:<14} (crashed or stopped: corten-hack lab start-node {})",
                    node.name, node.ip, node.name
                ) + "\n"),
            );
            continue;
        }
        for daemon in daemons::of_node(lab, plan, node) {
            let program = daemons::program_of(&daemon.name).unwrap_or_default();
            let (pid, memory) = match process::daemon(&lab.name, &node.name, program)? {
                Some(pid) => (pid.to_string(), rss_mb(pid)),
                None => ("down".to_owned(), String::new()),
            };
            text.push_str(
                &(format!("{:<10} {:<14} {:<12} {pid:>8} {memory:>9}", node.name, node.ip, daemon.name) + "\n"),
            );
        }
    }
    text.push_str(&(format!("\nkubeconfig  {}", lab.kubeconfig().display()) + "\n"));
    text.push_str(&(format!("registry    http://{}", plan.registry()) + "\n"));
    text.push_str(&(format!("logs        {}/nodes/*/logs/*.log", lab.dir.display()) + "\n"));
    show(&text);
    Ok(())
}

fn rss_mb(pid: i32) -> String {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let kib =
        status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.split_whitespace().next()?.parse::<u64>().ok());
    kib.map(|kib| format!("{:.1} MB", kib as f64 / 1024.0)).unwrap_or_default()
}

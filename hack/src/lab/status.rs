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
    let whole = if state.complete { "complete" } else { "half made: run hack/up or hack/down" };
    let mut lines = vec![
        format!("Lab {} ({whole})", lab.name),
        format!("{:<10} {:<14} {:<12} {:>8} {:>9}", "NODE", "ADDRESS", "DAEMON", "PID", "RSS"),
    ];
    for node in &plan.nodes {
        let start = format!("{:<10} {:<14}", node.name, node.ip);
        if process::node_init(&lab.name, &node.name)?.is_none() {
            lines.push(format!("{start} (crashed or stopped: hack/lab start-node {})", node.name));
            continue;
        }
        for daemon in daemons::of_node(lab, plan, node) {
            let program = daemons::program_of(&daemon.name).unwrap_or_default();
            let (pid, memory) = match process::daemon(&lab.name, &node.name, program)? {
                Some(pid) => (pid.to_string(), rss_mb(pid)),
                None => ("down".to_owned(), String::new()),
            };
            lines.push(format!("{start} {:<12} {pid:>8} {memory:>9}", daemon.name));
        }
    }
    lines.push(format!("\nkubeconfig  {}", lab.kubeconfig().display()));
    lines.push(format!("registry    http://{}", plan.registry()));
    lines.push(format!("logs        {}/nodes/*/logs/*.log\n", lab.dir.display()));
    show(&lines.join("\n"));
    Ok(())
}

fn rss_mb(pid: i32) -> String {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let kib =
        status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.split_whitespace().next()?.parse::<u64>().ok());
    kib.map(|kib| format!("{:.1} MB", kib as f64 / 1024.0)).unwrap_or_default()
}

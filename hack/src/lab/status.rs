//! `status`: what of the lab runs, and where to look.
use std::fs;

use super::daemons;
use super::process;
use super::state::Lab;
use crate::step::show;

const RUNS: &str = "runs";

/// One daemon, as it is found.
struct Row {
    node: String,
    address: String,
    daemon: String,
    /// None: it does not run.
    found: Option<Found>,
}

struct Found {
    pid: i32,
    /// The letter of /proc/PID/status: R, S, T, …
    state: char,
    rss_kib: u64,
}

pub(crate) fn status(lab: &Lab) -> anyhow::Result<()> {
    let Some(state) = lab.state()? else {
        say!("Lab {} does not run: start it with hack/up.", lab.name);
        return Ok(());
    };
    let plan = &state.plan;
    let mut rows = Vec::new();
    for node in &plan.nodes {
        for daemon in daemons::of_node(lab, plan, node) {
            let program = daemons::program_of(&daemon.name).unwrap_or_default();
            let pid = process::daemon(&lab.name, &node.name, program)?;
            let (address, found) = (node.ip.to_string(), pid.map(look));
            rows.push(Row { node: node.name.clone(), address, daemon: daemon.name, found });
        }
    }
    let registry = process::registry(&lab.name)?;
    rows.push(Row {
        node: "(host)".into(),
        address: plan.gateway().to_string(),
        daemon: "registry".into(),
        found: registry.map(look),
    });
    let mut text = table(&lab.name, state.complete, &rows);
    text.push_str(&format!("\nkubeconfig  {}\n", lab.kubeconfig().display()));
    text.push_str(&format!("logs        {}/nodes/*/logs/*.log\n", lab.dir.display()));
    show(&text);
    Ok(())
}

fn table(lab: &str, complete: bool, rows: &[Row]) -> String {
    let running =
        rows.iter().filter(|row| row.found.as_ref().is_some_and(|found| in_words(found.state) == RUNS)).count();
    let mut text = match (complete, running == rows.len()) {
        (false, _) => format!("Lab {lab} is half made: hack/up makes it anew, hack/down removes it\n"),
        (true, true) => format!("Lab {lab} runs, with all of its {running} daemons\n"),
        (true, false) => format!(
            "Lab {lab} runs, with {running} of its {} daemons: hack/lab start NODE DAEMON (or start-node NODE) \
             starts those that are down, hack/up --fresh all of them\n",
            rows.len()
        ),
    };
    text.push_str(&format!(
        "{:<10} {:<14} {:<12} {:>8} {:<8} {:>9}\n",
        "NODE", "ADDRESS", "DAEMON", "PID", "STATE", "RSS"
    ));
    for row in rows {
        let (pid, state, rss) = match &row.found {
            Some(found) => (found.pid.to_string(), in_words(found.state), found.rss_kib as f64 / 1024.0),
            None => ("-".to_owned(), "down", 0.0),
        };
        text.push_str(&format!(
            "{:<10} {:<14} {:<12} {pid:>8} {state:<8} {rss:>6.1} MB\n",
            row.node, row.address, row.daemon
        ));
    }
    text
}

fn in_words(state: char) -> &'static str {
    match state {
        'T' | 't' => "stopped",
        'Z' | 'X' => "ended",
        _ => RUNS,
    }
}

fn look(pid: i32) -> Found {
    // It may have ended since: then it has no state, and no memory.
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        line.split_whitespace().next()
    };
    let state = field("State:").and_then(|state| state.chars().next()).unwrap_or('X');
    Found { pid, state, rss_kib: field("VmRSS:").and_then(|kib| kib.parse().ok()).unwrap_or_default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_daemon_that_is_down_or_stopped_is_not_said_to_run() {
        let row = |daemon: &str, state: Option<char>| Row {
            node: "worker1".into(),
            address: "172.30.0.21".into(),
            daemon: daemon.into(),
            found: state.map(|state| Found { pid: 7, state, rss_kib: 2048 }),
        };
        let rows = [row("kubelet", Some('S')), row("proxy", None), row("containerd", Some('T'))];
        let text = table("corten", true, &rows);
        let states: Vec<&str> = text.lines().skip(2).filter_map(|line| line.split_whitespace().nth(4)).collect();
        assert_eq!(states, ["runs", "down", "stopped"]);
        assert!(text.starts_with("Lab corten runs, with 1 of its 3 daemons"), "{text}");
        assert!(table("corten", true, &rows[..1]).contains("with all of its 1 daemons"));
        assert!(table("corten", false, &rows).contains("half made"));
    }
}

//! `down`: removes exactly what `up` made, also after a crash half-way; fine when there is nothing.
use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use anyhow::Context;

use super::state::Lab;
use super::{cgroups, network, process};
use crate::step::step;

pub(crate) fn down(lab: &Lab) -> anyhow::Result<()> {
    let _lock = lab.lock()?;
    if lab.state()?.is_none() && cgroups::dirs(&lab.name, None)?.is_empty() && !lab.dir.exists() {
        say!("  Lab {} does not run: there is nothing to remove.", lab.name);
        return Ok(());
    }
    let ended = step("processes, network, cgroups and files are removed", |_| remove(lab))?;
    say!("        {ended} processes ended; the last logs are in {}", lab.last_logs_dir().display());
    Ok(())
}

/// Removes a lab; the number of processes that were ended.
pub(crate) fn remove(lab: &Lab) -> anyhow::Result<usize> {
    let state = lab.state()?;
    // First of all: no process of the lab can make anything new while the rest is taken down.
    let ended = process::end_all(&lab.name, None)?;
    if let Some(state) = &state {
        for node in &state.plan.nodes {
            network::remove_node(&state.plan, node)?;
        }
        network::remove_switch(&state.plan)?;
    }
    cgroups::remove(&lab.name, None, || process::end_all(&lab.name, None))?;
    keep_logs(lab)?;
    remove_dir(&lab.dir)?;
    Ok(ended)
}

/// The logs outlive the lab by one: they are what one looks at after a failure.
fn keep_logs(lab: &Lab) -> anyhow::Result<()> {
    let nodes = match fs::read_dir(lab.dir.join("nodes")) {
        Ok(nodes) => nodes,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error).context("cannot list the lab's nodes"),
    };
    remove_dir(&lab.last_logs_dir())?;
    fs::create_dir_all(lab.last_logs_dir())?;
    for node in nodes {
        let node = node?;
        let logs = node.path().join("logs");
        if logs.is_dir() {
            fs::rename(&logs, lab.last_logs_dir().join(node.file_name())).context("cannot keep the logs")?;
        }
    }
    Ok(())
}

fn remove_dir(dir: &Path) -> anyhow::Result<()> {
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", dir.display()))
        }
        _ => Ok(()),
    }
}

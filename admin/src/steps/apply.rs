//! Looks at a machine for each kind of step, changes it, and takes the change back.
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};

use super::{Action, Made, Owned, State, Whose};
use crate::machine::{Machine, MachineError};
use crate::topology::kernel::sysctl_path;
use crate::topology::program::ROOT;

/// An administrator's file: there is a key in it.
const OWNER_ONLY: u32 = 0o600;
const PUBLIC: u32 = 0o644;

impl Action {
    /// Whether it is so already.
    pub(super) fn state(&self, machine: &dyn Machine) -> Result<State, MachineError> {
        let lacking = match self {
            Self::Certificates { wanted, .. } => list(machine.lacking(wanted)?, "not made, or no longer good"),
            Self::Directories(dirs) => {
                let missing = dirs.iter().filter(|dir| !machine.exists(&dir.path));
                list(missing.map(|dir| dir.path.display().to_string()).collect(), "not there")
            }
            Self::Owners(owners) => {
                let mut other = Vec::new();
                for owned in owners {
                    other.extend(others(machine, owned)?);
                }
                list(other.iter().map(|path| path.display().to_string()).collect(), "another user's, or not there")
            }
            Self::Files(files) => {
                let mut other = Vec::new();
                for file in files {
                    let is_so = machine.read(&file.path)?.as_ref() == Some(&file.text);
                    if !is_so || !is_roots(machine, &file.path, file.mode)? {
                        other.push(file.path.display().to_string());
                    }
                }
                list(other, "not there, or otherwise")
            }
            Self::Kubeconfig { path, cluster, server } => match machine.read(path)? {
                Some(text) if text == machine.kubeconfig(cluster, server)? && is_roots(machine, path, OWNER_ONLY)? => {
                    None
                }
                _ => Some(format!("{} is not there, or otherwise", path.display())),
            },
            Self::Module { name, seen_at } => {
                (!machine.exists(seen_at)).then(|| format!("the kernel does not have {name} yet"))
            }
            Self::Sysctls(sysctls) => {
                let mut other = Vec::new();
                for (name, value) in sysctls {
                    if machine.read(&sysctl_path(name))?.is_none_or(|now| now.trim() != value) {
                        other.push(name.clone());
                    }
                }
                list(other, "not so, or set otherwise by a file that comes later (systemd-analyze cat-config sysctl.d)")
            }
            Self::Unit { name, applied, fingerprint, .. } => unit_lacks(machine, name, applied, fingerprint)?,
            Self::ApiserverReady => match machine.get("/readyz") {
                Ok(Some(_)) => None,
                Ok(None) => Some("the apiserver has no /readyz".to_owned()),
                Err(error) => Some(with_cause(&error)),
            },
            Self::NodeReady { node } => seen(machine, node, |object| {
                let conditions = object["status"]["conditions"].as_array().cloned().unwrap_or_default();
                let ready = conditions.into_iter().find(|condition| condition["type"] == "Ready");
                match ready {
                    Some(ready) if ready["status"] == "True" => None,
                    Some(ready) => Some(format!("not Ready: {}", ready["message"].as_str().unwrap_or_default())),
                    None => Some("it has not said yet whether it is Ready".to_owned()),
                }
            }),
            Self::NodeLabel { node, label } => seen(machine, node, |object| {
                let labels = &object["metadata"]["labels"];
                labels.get(label).is_none().then(|| format!("there is no label {label}"))
            }),
        };
        Ok(lacking.map_or(State::Done, State::Lacks))
    }

    /// How long it has to be so before it counts.
    pub(super) fn settles(&self) -> Duration {
        match self {
            Self::Unit { settles, .. } => *settles,
            _ => Duration::ZERO,
        }
    }

    pub(super) fn act(&self, machine: &dyn Machine) -> Result<(), MachineError> {
        match self {
            Self::Certificates { wanted, .. } => machine.issue(wanted),
            Self::Directories(dirs) => dirs.iter().try_for_each(|dir| machine.make_dir(&dir.path, dir.mode)),
            Self::Owners(owners) => owners.iter().try_for_each(|owned| give(machine, owned)),
            Self::Files(files) => files.iter().try_for_each(|file| machine.write(&file.path, &file.text, file.mode)),
            Self::Kubeconfig { path, cluster, server } => {
                machine.write(path, &machine.kubeconfig(cluster, server)?, OWNER_ONLY)
            }
            Self::Module { name, .. } => machine.run("modprobe", &[name]).map(drop),
            Self::Sysctls(_) => machine.run("systemctl", &["restart", "systemd-sysctl.service"]).map(drop),
            Self::Unit { name, applied, fingerprint, .. } => {
                // First: what is begun is ours, and `reset` takes it back.
                machine.write(applied, "", PUBLIC)?;
                machine.run("systemctl", &["daemon-reload"])?;
                machine.run("systemctl", &["enable", name])?;
                machine.run("systemctl", &["restart", "--no-block", name])?;
                // Last: a run that is cut off before restarts it once more.
                machine.write(applied, fingerprint, PUBLIC)
            }
            // They come by themselves.
            Self::ApiserverReady | Self::NodeReady { .. } => Ok(()),
            Self::NodeLabel { node, label } => {
                machine.patch(&node_path(node), &json!({"metadata": {"labels": {label: ""}}}))
            }
        }
    }

    /// What of this is here and is taken back. Data stay, as volumes may be mounted among them, and so does what others may
    /// have use for.
    pub(super) fn made(&self, machine: &dyn Machine) -> Result<Vec<Made>, MachineError> {
        let here = |path: &PathBuf| machine.exists(path).then(|| Made::File(path.clone()));
        Ok(match self {
            Self::Certificates { dir, .. } => machine.exists(dir).then(|| Made::Dir(dir.clone())).into_iter().collect(),
            Self::Files(files) => files.iter().filter_map(|file| here(&file.path)).collect(),
            Self::Kubeconfig { path, .. } => here(path).into_iter().collect(),
            Self::Unit { name, applied, whose, .. } => {
                let is_ours = match whose {
                    Whose::Ours => is_known(machine, name)?,
                    Whose::Taken => machine.exists(applied),
                    Whose::Shared => false,
                };
                is_ours.then(|| Made::Unit(name.clone())).into_iter().chain(here(applied)).collect()
            }
            Self::Directories(_)
            | Self::Owners(_)
            | Self::Module { .. }
            | Self::Sysctls(_)
            | Self::ApiserverReady
            | Self::NodeReady { .. }
            | Self::NodeLabel { .. } => Vec::new(),
        })
    }

    /// Whether there was anything to be taken back.
    pub(super) fn undo(&self, machine: &dyn Machine) -> Result<bool, MachineError> {
        let made = self.made(machine)?;
        for one in &made {
            match one {
                Made::File(path) => machine.remove(path)?,
                Made::Dir(path) => machine.remove_dir(path)?,
                Made::Unit(name) => drop(machine.run("systemctl", &["disable", "--now", name])?),
            }
        }
        if matches!(self, Self::Files(_)) {
            // Even if there are none: a run before may have been cut off here.
            machine.run("systemctl", &["daemon-reload"])?;
        }
        Ok(!made.is_empty())
    }
}

/// systemd has its file, or has not forgotten it.
fn is_known(machine: &dyn Machine, unit: &str) -> Result<bool, MachineError> {
    let shown = machine.run("systemctl", &["show", unit, "--property=LoadState"])?;
    Ok(shown.lines().any(|line| line.starts_with("LoadState=") && line != "LoadState=not-found"))
}

fn list(names: Vec<String>, what: &str) -> Option<String> {
    (!names.is_empty()).then(|| format!("{what}: {}", names.join(", ")))
}

/// What has other owners or readers is written anew.
fn is_roots(machine: &dyn Machine, path: &Path, mode: u32) -> Result<bool, MachineError> {
    let found = machine.look(path)?;
    Ok(found.is_some_and(|found| found.user == ROOT && found.mode == mode && !found.is_link))
}

/// What is not its owner's: it, or things in it.
fn others(machine: &dyn Machine, owned: &Owned) -> Result<Vec<PathBuf>, MachineError> {
    let is_roots = owned.user == ROOT;
    match machine.look(&owned.path)? {
        // Root alone can have put it there.
        Some(found) if found.is_link && is_roots => Ok(Vec::new()),
        // Whoever made it may have meant any file.
        Some(found) if found.is_link => Err(MachineError::Link(owned.path.clone())),
        Some(found) if found.user == owned.user && found.mode == owned.mode => match is_roots {
            // There may be volumes in it, which are pods'.
            true => Ok(Vec::new()),
            false => machine.others_in(&owned.path, &owned.user),
        },
        _ => Ok(vec![owned.path.clone()]),
    }
}

/// Itself last: as long as it is another's, its data are not looked at as done.
fn give(machine: &dyn Machine, owned: &Owned) -> Result<(), MachineError> {
    if others(machine, owned)?.is_empty() {
        return Ok(());
    }
    if owned.user != ROOT && !machine.others_in(&owned.path, &owned.user)?.is_empty() {
        // As long as it runs as another user it makes more of that user's files.
        machine.run("systemctl", &["stop", &owned.unit])?;
        machine.give_all_in(&owned.path, &owned.user)?;
    }
    let found = machine.look(&owned.path)?;
    if found.as_ref().is_none_or(|found| found.user != owned.user) {
        machine.set_owner(&owned.path, &owned.user)?;
    }
    if found.is_none_or(|found| found.mode != owned.mode) {
        machine.set_mode(&owned.path, owned.mode)?;
    }
    Ok(())
}

/// A unit that runs with other files or arguments than it should does not count as running.
fn unit_lacks(
    machine: &dyn Machine,
    name: &str,
    applied: &Path,
    fingerprint: &str,
) -> Result<Option<String>, MachineError> {
    if machine.read(applied)?.as_deref() != Some(fingerprint) {
        return Ok(Some(format!("{name} is not started with these settings")));
    }
    let shown = machine.run("systemctl", &["show", name, "--property=ActiveState,SubState,UnitFileState,Job"])?;
    let property = |key: &str| {
        let line = shown.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
        line.unwrap_or_default().to_owned()
    };
    if property("UnitFileState") != "enabled" {
        return Ok(Some(format!("{name} is not enabled")));
    }
    // A restart that is asked for and not begun shows as a job, and the program before it as active.
    if property("ActiveState") != "active" || !property("Job").is_empty() {
        let (state, sub) = (property("ActiveState"), property("SubState"));
        return Ok(Some(format!("{name} is {state} ({sub}): journalctl --unit={name} says why")));
    }
    Ok(None)
}

/// What lacks of a Node. It may not be there yet, nor the apiserver.
fn seen(machine: &dyn Machine, node: &str, lacks: impl Fn(&Value) -> Option<String>) -> Option<String> {
    match machine.get(&node_path(node)) {
        Ok(Some(object)) => lacks(&object),
        Ok(None) => Some(format!("there is no Node {node} yet")),
        Err(error) => Some(with_cause(&error)),
    }
}

fn node_path(node: &str) -> String {
    format!("/api/v1/nodes/{node}")
}

fn with_cause(error: &dyn std::error::Error) -> String {
    match error.source() {
        Some(cause) => format!("{error}: {}", with_cause(cause)),
        None => error.to_string(),
    }
}

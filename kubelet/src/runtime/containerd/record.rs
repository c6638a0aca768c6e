//! What we write on containerd's containers, as labels, so that a later kubelet knows them again. Pure.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;

use jiff::Timestamp;

use crate::runtime::{Container, ContainerSpec, Exit, Network, Sandbox, SandboxSpec, State};

/// Ours begin with this; all other labels are the caller's.
const PREFIX: &str = "corten.io/runtime.";
const KIND: &str = "corten.io/runtime.kind";
pub(super) const SANDBOX: &str = "corten.io/runtime.sandbox";
/// How the container ended: written once, then its task is taken away.
pub(super) const EXIT: &str = "corten.io/runtime.exit";

/// What is on record of a sandbox or container.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Record {
    Sandbox(SandboxRecord),
    Container(ContainerRecord),
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct SandboxRecord {
    pub(super) pod_uid: String,
    pub(super) namespace: String,
    pub(super) name: String,
    pub(super) attempt: u32,
    pub(super) hostname: String,
    pub(super) network: Network,
    pub(super) host_pid: bool,
    pub(super) host_ipc: bool,
    pub(super) share_process_namespace: bool,
    pub(super) cgroup_parent: String,
    pub(super) labels: BTreeMap<String, String>,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct ContainerRecord {
    pub(super) sandbox_id: String,
    pub(super) pod_uid: String,
    pub(super) namespace: String,
    pub(super) pod_name: String,
    pub(super) name: String,
    pub(super) attempt: u32,
    pub(super) image: String,
    pub(super) image_id: String,
    pub(super) log_path: PathBuf,
    pub(super) cgroup: String,
    pub(super) tty: bool,
    pub(super) stdin: bool,
    pub(super) stdin_once: bool,
    pub(super) exit: Option<Exit>,
    pub(super) labels: BTreeMap<String, String>,
}

impl SandboxRecord {
    pub(super) fn of(spec: &SandboxSpec) -> Self {
        Self {
            pod_uid: spec.pod_uid.clone(),
            namespace: spec.namespace.clone(),
            name: spec.name.clone(),
            attempt: spec.attempt,
            hostname: spec.hostname.clone(),
            network: spec.network.clone(),
            host_pid: spec.host_pid,
            host_ipc: spec.host_ipc,
            share_process_namespace: spec.share_process_namespace,
            cgroup_parent: spec.cgroup_parent.clone(),
            labels: spec.labels.clone(),
        }
    }
    pub(super) fn listed(self, id: String, is_up: bool, created_at: Timestamp) -> Sandbox {
        Sandbox {
            id,
            pod_uid: self.pod_uid,
            namespace: self.namespace,
            name: self.name,
            attempt: self.attempt,
            network: self.network,
            cgroup_parent: self.cgroup_parent,
            is_up,
            created_at,
            labels: self.labels,
        }
    }
    /// Only a pid namespace needs a process to hold it.
    pub(super) fn needs_pause(&self) -> bool {
        self.share_process_namespace && !self.host_pid
    }
    pub(super) fn to_labels(&self) -> HashMap<String, String> {
        let netns = match &self.network {
            Network::Host => String::new(),
            Network::Pod { netns } => netns.display().to_string(),
        };
        let fields = [
            ("kind", "sandbox".to_owned()),
            ("pod-uid", self.pod_uid.clone()),
            ("pod-namespace", self.namespace.clone()),
            ("pod-name", self.name.clone()),
            ("attempt", self.attempt.to_string()),
            ("hostname", self.hostname.clone()),
            ("netns", netns),
            ("host-pid", self.host_pid.to_string()),
            ("host-ipc", self.host_ipc.to_string()),
            ("share-pid", self.share_process_namespace.to_string()),
            ("cgroup", self.cgroup_parent.clone()),
        ];
        with_prefix(fields, &self.labels)
    }
}

impl ContainerRecord {
    pub(super) fn of(sandbox_id: &str, sandbox: &SandboxRecord, spec: &ContainerSpec, id: &str) -> Self {
        Self {
            sandbox_id: sandbox_id.into(),
            pod_uid: sandbox.pod_uid.clone(),
            namespace: sandbox.namespace.clone(),
            pod_name: sandbox.name.clone(),
            name: spec.name.clone(),
            attempt: spec.attempt,
            image: spec.image.name.clone(),
            image_id: spec.image.repo_digest.clone(),
            log_path: spec.log_path.clone(),
            cgroup: format!("{}/{id}", sandbox.cgroup_parent),
            tty: spec.tty,
            stdin: spec.stdin,
            stdin_once: spec.stdin_once,
            exit: None,
            labels: spec.labels.clone(),
        }
    }
    pub(super) fn listed(self, id: String, state: State, created_at: Timestamp) -> Container {
        Container {
            id,
            sandbox_id: self.sandbox_id,
            pod_uid: self.pod_uid,
            namespace: self.namespace,
            pod_name: self.pod_name,
            name: self.name,
            attempt: self.attempt,
            image: self.image,
            image_id: self.image_id,
            log_path: self.log_path,
            state,
            created_at,
            labels: self.labels,
        }
    }
    pub(super) fn to_labels(&self) -> HashMap<String, String> {
        let fields = [
            ("kind", "container".to_owned()),
            ("sandbox", self.sandbox_id.clone()),
            ("pod-uid", self.pod_uid.clone()),
            ("pod-namespace", self.namespace.clone()),
            ("pod-name", self.pod_name.clone()),
            ("name", self.name.clone()),
            ("attempt", self.attempt.to_string()),
            ("image", self.image.clone()),
            ("image-id", self.image_id.clone()),
            ("log", self.log_path.display().to_string()),
            ("cgroup", self.cgroup.clone()),
            ("tty", self.tty.to_string()),
            ("stdin", self.stdin.to_string()),
            ("stdin-once", self.stdin_once.to_string()),
        ];
        let exit = self.exit.iter().map(|exit| (EXIT.to_owned(), exit_text(exit)));
        with_prefix(fields, &self.labels).into_iter().chain(exit).collect()
    }
}

const OOM_KILLED: &str = "oom-killed";
const UNSEEN: &str = "unseen";

/// The value of [`EXIT`]: exit code, start, end, and what else is to be said of it, with spaces between.
pub(super) fn exit_text(exit: &Exit) -> String {
    let notes = [(exit.oom_killed, OOM_KILLED), (exit.unseen, UNSEEN)];
    let notes: String = notes.iter().filter(|(holds, _)| *holds).map(|(_, note)| format!(" {note}")).collect();
    format!("{} {} {}{notes}", exit.exit_code, exit.started_at, exit.finished_at)
}

/// `None`: not a text of [`exit_text`].
fn exit_from(text: &str) -> Option<Exit> {
    let mut words = text.split(' ');
    let exit_code = words.next()?.parse().ok()?;
    let (started_at, finished_at) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
    let notes: Vec<&str> = words.collect();
    let is_noted = |note: &str| notes.contains(&note);
    Some(Exit { exit_code, started_at, finished_at, oom_killed: is_noted(OOM_KILLED), unseen: is_noted(UNSEEN) })
}

fn with_prefix<const N: usize>(
    fields: [(&str, String); N],
    labels: &BTreeMap<String, String>,
) -> HashMap<String, String> {
    let ours = fields.into_iter().map(|(key, value)| (format!("{PREFIX}{key}"), value));
    labels.iter().map(|(k, v)| (k.clone(), v.clone())).chain(ours).collect()
}

impl Record {
    /// `None`: not one of ours.
    pub(super) fn from_labels(labels: &HashMap<String, String>) -> Option<Self> {
        let field = |key: &str| labels.get(&format!("{PREFIX}{key}")).cloned().unwrap_or_default();
        let flag = |key: &str| field(key) == "true";
        let attempt = field("attempt").parse().ok()?;
        let theirs = labels.iter().filter(|(k, _)| !k.starts_with(PREFIX));
        let theirs = theirs.map(|(k, v)| (k.clone(), v.clone())).collect();
        match labels.get(KIND)?.as_str() {
            "sandbox" => Some(Self::Sandbox(SandboxRecord {
                pod_uid: field("pod-uid"),
                namespace: field("pod-namespace"),
                name: field("pod-name"),
                attempt,
                hostname: field("hostname"),
                network: match field("netns") {
                    netns if netns.is_empty() => Network::Host,
                    netns => Network::Pod { netns: netns.into() },
                },
                host_pid: flag("host-pid"),
                host_ipc: flag("host-ipc"),
                share_process_namespace: flag("share-pid"),
                cgroup_parent: field("cgroup"),
                labels: theirs,
            })),
            "container" => Some(Self::Container(ContainerRecord {
                sandbox_id: field("sandbox"),
                pod_uid: field("pod-uid"),
                namespace: field("pod-namespace"),
                pod_name: field("pod-name"),
                name: field("name"),
                attempt,
                image: field("image"),
                image_id: field("image-id"),
                log_path: field("log").into(),
                cgroup: field("cgroup"),
                tty: flag("tty"),
                stdin: flag("stdin"),
                stdin_once: flag("stdin-once"),
                exit: labels.get(EXIT).and_then(|text| exit_from(text)),
                labels: theirs,
            })),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_read_again() {
        let spec = SandboxSpec {
            pod_uid: "u".into(),
            namespace: "ns".into(),
            name: "web".into(),
            attempt: 2,
            hostname: "web".into(),
            network: Network::Pod { netns: "/run/n/u".into() },
            host_pid: false,
            host_ipc: true,
            share_process_namespace: true,
            cgroup_parent: "/kubepods/podu".into(),
            sysctls: BTreeMap::new(),
            labels: [("app".to_owned(), "x".to_owned())].into(),
        };
        let sandbox = SandboxRecord::of(&spec);
        assert_eq!(Record::from_labels(&sandbox.to_labels()), Some(Record::Sandbox(sandbox.clone())));
        let host = SandboxRecord { network: Network::Host, ..sandbox };
        assert_eq!(Record::from_labels(&host.to_labels()), Some(Record::Sandbox(host)));
        assert_eq!(Record::from_labels(&HashMap::from([("a".into(), "b".into())])), None, "another's container");
    }

    #[test]
    fn an_end_is_read_as_it_was_written() {
        let at = |nanos| Timestamp::from_nanosecond(nanos).unwrap();
        let (started_at, finished_at) = (at(1_700_000_000_123_456_789), at(1_700_000_001_000_000_000));
        let all = [(0, false, false), (137, true, false), (137, false, false), (255, false, true), (-1, true, true)];
        for (exit_code, oom_killed, unseen) in all {
            let exit = Exit { exit_code, started_at, finished_at, oom_killed, unseen };
            assert_eq!(exit_from(&exit_text(&exit)), Some(exit.clone()), "{exit:?}");
        }
        for broken in ["", "3", "3 now then", "three 2026-01-01T00:00:00Z 2026-01-01T00:00:00Z"] {
            assert_eq!(exit_from(broken), None, "{broken}");
        }
    }
}

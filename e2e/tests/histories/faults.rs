//! Faults, as the plan has them: inflicted through the lab, and mended, also when the story fails meanwhile.

use std::time::Duration;

use corten_e2e::history::plan::{Breaking, Daemon, Fault};
use corten_e2e::history::record::Record;
use corten_e2e::{Cluster, Node, SOON, eventually};
use serde_json::{Value, json};

use super::run::Run;

/// For etcd's own API, which is asked on the node of a member.
const ETCD_SECS: u32 = 2;

/// Breaks something for as long as the plan says.
pub(crate) fn inflict(cluster: &Cluster, masters: &[Node], run: &Run, fault: &Fault) {
    let lasts = Duration::from_millis(fault.for_ms);
    let from = run.now();
    let what = match fault.what {
        Breaking::Kill(daemon) => {
            let daemon = Named::of(cluster, masters, daemon);
            kill(cluster, run, &daemon, lasts);
            format!("kill {}", daemon.words)
        }
        Breaking::Pause(daemon) => {
            let daemon = Named::of(cluster, masters, daemon);
            cluster.lab(&format!("kill {} STOP", daemon.words));
            let mended = Mended { cluster, words: format!("kill {} CONT", daemon.words) };
            last(lasts);
            drop(mended);
            format!("pause {}", daemon.words)
        }
        Breaking::MoveLeader => move_leader(cluster, masters),
        Breaking::CompactAndKill { server } => {
            let revision = compact(cluster, masters, server);
            kill(cluster, run, &Named::of(cluster, masters, Daemon::Apiserver { server }), lasts);
            format!("compact up to {revision}, kill {} apiserver", masters[server].name)
        }
    };
    run.note(Record::Fault { from, to: run.now(), what });
}

/// How long a fault lasts is the plan's: there is nothing to wait for.
fn last(time: Duration) {
    std::thread::sleep(time);
}

fn kill(cluster: &Cluster, run: &Run, daemon: &Named, lasts: Duration) {
    if let Some(server) = daemon.apiserver {
        run.is_killed(server);
    }
    cluster.lab(&format!("kill {}", daemon.words));
    let mended = Mended { cluster, words: format!("start {}", daemon.words) };
    last(lasts);
    drop(mended);
}

/// A daemon as the lab names it.
struct Named {
    words: String,
    apiserver: Option<usize>,
}

impl Named {
    fn of(cluster: &Cluster, masters: &[Node], daemon: Daemon) -> Self {
        let etcd = |server: usize| Self { words: format!("{} etcd", masters[server].name), apiserver: None };
        match daemon {
            Daemon::Apiserver { server } => {
                Self { words: format!("{} apiserver", masters[server].name), apiserver: Some(server) }
            }
            Daemon::Etcd { server } => etcd(server),
            Daemon::EtcdLeader => etcd(members(cluster, masters).leader),
        }
    }
}

/// Mends when dropped.
struct Mended<'a> {
    cluster: &'a Cluster,
    words: String,
}

impl Drop for Mended<'_> {
    fn drop(&mut self) {
        let done = self.cluster.try_lab(&self.words);
        // A story that fails already shows its own failure.
        assert!(done.ok || std::thread::panicking(), "{done:?}");
    }
}

/// The members of etcd.
struct Members {
    /// By server.
    ids: Vec<String>,
    leader: usize,
    revision: String,
}

/// Waits until all members answer and agree on one leader.
fn members(cluster: &Cluster, masters: &[Node]) -> Members {
    eventually("a leader of etcd that all members know", SOON, || {
        let mut statuses = Vec::new();
        for master in masters {
            statuses.push(etcd(cluster, master, "maintenance/status", &json!({}))?);
        }
        let text = |status: &Value, path: &str| status.pointer(path).and_then(Value::as_str).map(str::to_owned);
        let ids: Vec<String> = statuses.iter().filter_map(|status| text(status, "/header/member_id")).collect();
        let mut leaders: Vec<String> = statuses.iter().filter_map(|status| text(status, "/leader")).collect();
        leaders.dedup();
        let leader = ids.iter().position(|id| leaders == [id.clone()]);
        let revision = statuses.iter().find_map(|status| text(status, "/header/revision"));
        match (leader, revision) {
            (Some(leader), Some(revision)) if ids.len() == masters.len() => Ok(Members { ids, leader, revision }),
            _ => Err(format!("{statuses:?}")),
        }
    })
}

fn move_leader(cluster: &Cluster, masters: &[Node]) -> String {
    let members = members(cluster, masters);
    let to = (members.leader + 1) % masters.len();
    let body = json!({"targetID": members.ids[to]});
    let moved = etcd(cluster, &masters[members.leader], "maintenance/transfer-leadership", &body);
    let moved = moved.map_or_else(|err| format!(", which it refused: {err}"), |_| String::new());
    format!("move etcd's leader from {} to {}{moved}", masters[members.leader].name, masters[to].name)
}

fn compact(cluster: &Cluster, masters: &[Node], server: usize) -> String {
    let revision = members(cluster, masters).revision;
    let done = etcd(cluster, &masters[server], "kv/compaction", &json!({"revision": revision}));
    done.unwrap_or_else(|err| panic!("{err}"));
    revision
}

/// A call of a member's API over its JSON gateway.
fn etcd(cluster: &Cluster, master: &Node, call: &str, body: &Value) -> Result<Value, String> {
    let pki = cluster.kubeconfig().with_file_name("pki");
    let ask = format!(
        "curl -sSf -m {ETCD_SECS} --cacert {pki}/etcd/ca.crt --cert {pki}/apiserver-etcd-client.crt \
         --key {pki}/apiserver-etcd-client.key https://127.0.0.1:2379/v3/{call} -d '{body}'",
        pki = pki.display()
    );
    let said = cluster.try_node_sh(&master.name, &ask);
    if !said.ok {
        return Err(format!("{}: {}", master.name, said.stderr));
    }
    serde_json::from_str(&said.stdout).map_err(|err| format!("{err}: {}", said.stdout))
}

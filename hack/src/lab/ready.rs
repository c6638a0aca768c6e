//! Waiting: for a condition with a deadline, for the apiserver, for all nodes to be Ready.
use std::net::SocketAddr;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use bytes::Bytes;
use cortenadm::topology::cluster::MASTER_LABEL;
use http::Method;
use serde_json::{Value, json};

use super::daemons;
use super::node::tail;
use super::plan::{API_PORT, Plan, Role};
use super::process;
use super::state::Lab;
use crate::rest;
use crate::step::Progress;

const API_READY_WITHIN: Duration = Duration::from_secs(60);
const NODES_READY_WITHIN: Duration = Duration::from_secs(90);
const ASK_EVERY: Duration = Duration::from_millis(50);
const LOG_TAIL_LINES: usize = 12;

/// Asks until there is an answer; the error says what was waited for and the last thing that went wrong.
pub(crate) fn wait_until<T>(
    what: &str,
    within: Duration,
    every: Duration,
    mut ask: impl FnMut() -> anyhow::Result<Option<T>>,
) -> anyhow::Result<T> {
    let deadline = Instant::now() + within;
    loop {
        let answer = ask();
        if let Ok(Some(found)) = answer {
            return Ok(found);
        }
        if Instant::now() >= deadline {
            let last = answer.err().map_or_else(|| "the answer was: not yet".to_owned(), |error| format!("{error:#}"));
            bail!("waited {} s for this: {what}; at the end: {last}", within.as_secs());
        }
        sleep(every);
    }
}

/// The administrator's way to one apiserver.
pub(crate) struct Api {
    client: rest::Client,
    runtime: tokio::runtime::Runtime,
}

impl Api {
    /// To the first master of the lab.
    pub(crate) fn of(lab: &Lab, plan: &Plan) -> anyhow::Result<Self> {
        Self::new(api_client(lab, plan)?)
    }

    pub(crate) fn new(client: rest::Client) -> anyhow::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        Ok(Self { client, runtime })
    }

    pub(crate) fn get(&self, path: &str) -> anyhow::Result<Value> {
        self.runtime.block_on(self.client.get(path))
    }

    /// Any request; an answer that is no success is an error with the server's words.
    pub(crate) fn send(&self, method: Method, path: &str, content_type: &str, body: String) -> anyhow::Result<()> {
        let shown = format!("{method} {path}");
        let (status, answer) =
            self.runtime.block_on(self.client.send(method, path, content_type, Bytes::from(body)))?;
        if !status.is_success() {
            bail!("{shown}: {status}: {}", String::from_utf8_lossy(&answer));
        }
        Ok(())
    }

    fn is_ready(&self) -> anyhow::Result<Option<()>> {
        let asked = self.client.send(Method::GET, "/readyz", "application/json", Bytes::new());
        let (status, body) = self.runtime.block_on(asked)?;
        if !status.is_success() {
            bail!("/readyz answers {status}: {}", String::from_utf8_lossy(&body).trim());
        }
        Ok(Some(()))
    }

    pub(crate) fn wait_ready_every(&self, within: Duration, every: Duration) -> anyhow::Result<()> {
        wait_until("the apiserver's /readyz says yes", within, every, || self.is_ready())
    }
}

/// To the first master of the lab, as its administrator.
pub(crate) fn api_client(lab: &Lab, plan: &Plan) -> anyhow::Result<rest::Client> {
    let master = plan.masters().next().context("a lab without masters has no apiserver")?;
    rest::Client::new(SocketAddr::from((master.ip, API_PORT)), &lab.pki_dir(), "admin")
}

/// Waits for the apiserver; on failure the error shows what the control plane's daemons say.
pub(crate) fn wait_api(lab: &Lab, plan: &Plan) -> anyhow::Result<Api> {
    let api = Api::of(lab, plan)?;
    match api.wait_ready_every(API_READY_WITHIN, ASK_EVERY) {
        Ok(()) => Ok(api),
        Err(error) => bail!("{error}\n{}", diagnosis(lab, plan)),
    }
}

/// Waits until every planned node is registered, marked and Ready.
pub(crate) fn wait_nodes(lab: &Lab, plan: &Plan, api: &Api, progress: &Progress) -> anyhow::Result<()> {
    progress.total(plan.nodes.len() as u64);
    let mut unmarked: Vec<String> = plan.masters().map(|node| node.name.clone()).collect();
    let waited = wait_until("all nodes are Ready", NODES_READY_WITHIN, ASK_EVERY, || {
        let nodes = api.get("/api/v1/nodes")?;
        let seen: Vec<(String, bool)> = readiness(&nodes);
        for name in unmarked.clone() {
            if seen.iter().any(|(seen, _)| *seen == name) {
                let path = format!("/api/v1/nodes/{name}");
                let patch = "application/strategic-merge-patch+json";
                let label = json!({"metadata": {"labels": {MASTER_LABEL: ""}}});
                api.send(Method::PATCH, &path, patch, label.to_string())?;
                unmarked.retain(|left| *left != name);
            }
        }
        let waiting = not_ready(plan, &seen);
        progress.done((plan.nodes.len() - waiting.len()) as u64);
        if waiting.is_empty() && unmarked.is_empty() {
            return Ok(Some(()));
        }
        bail!("not Ready: {}", waiting.join(", "))
    });
    waited.or_else(|error| bail!("{error}\n{}", diagnosis(lab, plan)))
}

/// Name and readiness of every Node in a NodeList.
pub(crate) fn readiness(nodes: &Value) -> Vec<(String, bool)> {
    let items = nodes["items"].as_array().map(Vec::as_slice).unwrap_or_default();
    let is_ready = |node: &Value| {
        let conditions = node["status"]["conditions"].as_array().map(Vec::as_slice).unwrap_or_default();
        conditions.iter().any(|condition| condition["type"] == "Ready" && condition["status"] == "True")
    };
    items
        .iter()
        .map(|node| (node["metadata"]["name"].as_str().unwrap_or_default().to_owned(), is_ready(node)))
        .collect()
}

fn not_ready(plan: &Plan, seen: &[(String, bool)]) -> Vec<String> {
    let is_ready = |name: &str| seen.iter().any(|(seen, ready)| seen == name && *ready);
    plan.nodes.iter().filter(|node| !is_ready(&node.name)).map(|node| node.name.clone()).collect()
}

/// For an error: which daemons do not run, or do but not well, and the ends of their logs.
pub(super) fn diagnosis(lab: &Lab, plan: &Plan) -> String {
    let mut text = String::new();
    let (mut running, mut broken) = (Vec::new(), Vec::new());
    for node in &plan.nodes {
        for daemon in daemons::of_node(lab, plan, node) {
            let program = daemons::program_of(&daemon.name).unwrap_or_default();
            let runs = process::daemon(&plan.lab, &node.name, program).ok().flatten().is_some();
            let list = if runs { &mut running } else { &mut broken };
            list.push((node, daemon.name));
        }
    }
    // Nothing has ended: then the words of those that decide are the best there is.
    if broken.is_empty() {
        broken = running;
        broken.retain(|(node, name)| match name.as_str() {
            "apiserver" | "scheduler" => true,
            "kubelet" | "containerd" => node.role == Role::Worker,
            _ => false,
        });
    }
    for (node, daemon) in broken {
        let log = lab.log(&node.name, &daemon);
        text.push_str(&format!("{daemon} on {} ({}):\n{}", node.name, log.display(), tail(&log, LOG_TAIL_LINES)));
    }
    text + "The lab is left as it is: look at it with hack/status, remove it with hack/down."
}

#[cfg(test)]
mod tests {
    use super::super::plan::Size;
    use super::*;

    #[test]
    fn a_node_counts_when_it_is_registered_and_ready() {
        let plan = Plan::new("corten", Size { masters: 1, workers: 2 }, 0);
        let node = |name: &str, status: &str| json!({"metadata": {"name": name}, "status": {"conditions": [{"type": "Ready", "status": status}]}});
        let list = json!({"items": [node("master1", "True"), node("worker1", "False")]});
        assert_eq!(not_ready(&plan, &readiness(&list)), ["worker1", "worker2"]);
    }

    #[test]
    fn a_wait_that_fails_says_for_what_and_why() {
        let moment = Duration::from_millis(1);
        let error = wait_until::<()>("the sun rises", moment, moment, || bail!("it is night")).unwrap_err();
        assert!(error.to_string().contains("the sun rises") && error.to_string().contains("it is night"), "{error}");
    }
}

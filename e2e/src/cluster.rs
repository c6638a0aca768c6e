//! The cluster that stories run on: the lab that `hack/test` (or `hack/up`) has started.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use rand::RngExt;
use serde_json::json;

use crate::kubectl::{Kubectl, Output};
use crate::namespace::Namespace;

const HTTP_TIMEOUT: Duration = Duration::from_secs(5);
const API_PORT: u16 = 6443;
const REPLY_MAX_BYTES: u64 = 1 << 20;

/// Names of labs have at most eight characters; that of the lab with three masters is the other's with this at its end.
const THREE_MASTERS_SUFFIX: &str = "ha";
const LAB_NAME_MAX: usize = 8;

/// A lab that runs.
#[derive(Debug)]
pub struct Cluster {
    lab: String,
    kubeconfig: PathBuf,
    hack: PathBuf,
}

/// A node of the lab.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    pub name: String,
    pub ip: String,
}

impl Cluster {
    /// The running lab. KUBECONFIG names its cluster, CORTEN_LAB its name (as for `hack/up`).
    #[track_caller]
    pub fn running() -> Self {
        let kubeconfig = std::env::var_os("KUBECONFIG")
            .map(PathBuf::from)
            .unwrap_or_else(|| panic!("KUBECONFIG is not set: run hack/test, or hack/up and the export it prints"));
        Self { lab: lab_from_env(), kubeconfig, hack: program("corten-hack") }
    }

    /// A second lab, of three masters and a worker: started when it does not run yet, and left for the next story.
    /// `hack/test` removes it at its end.
    #[track_caller]
    pub fn with_three_masters() -> Self {
        let mut lab = lab_from_env();
        lab.truncate(LAB_NAME_MAX - THREE_MASTERS_SUFFIX.len());
        lab.push_str(THREE_MASTERS_SUFFIX);
        let mut cluster = Self { lab, kubeconfig: PathBuf::new(), hack: program("corten-hack") };
        cluster.hack(&["up", "--masters", "3", "--workers", "1", "--no-demo"]).text();
        cluster.kubeconfig = cluster.lab("kubeconfig").trim().into();
        cluster
    }

    pub fn kubectl(&self) -> Kubectl {
        Kubectl::new(self.kubeconfig.clone())
    }

    /// kubectl with another certificate of the lab's PKI than the administrator's, such as `nodes/worker1/kubelet`. The
    /// kubeconfig that `cortenadm` writes for it lies beside the certificate.
    #[track_caller]
    pub fn kubectl_as(&self, user: &str) -> Kubectl {
        let pki = self.kubeconfig.with_file_name("pki");
        let file = pki.join(format!("{user}.kubeconfig"));
        let server = self.masters().remove(0).apiserver();
        let mut command = Command::new(program("cortenadm"));
        command.args(["kubeconfig", "--user", user, "--server", &server, "--dir"]).arg(&pki).arg("--out").arg(&file);
        let done = command.output().unwrap_or_else(|err| panic!("cannot run cortenadm: {err}"));
        Output::of("cortenadm kubeconfig", done).text();
        Kubectl::new(file)
    }

    /// kubectl of one who has nothing but a token.
    #[track_caller]
    pub fn kubectl_with_token(&self, token: &str) -> Kubectl {
        let pki = self.kubeconfig.with_file_name("pki");
        let file = pki.join(format!("token-{:08x}.kubeconfig", rand::rng().random::<u32>()));
        let config = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "token",
            "clusters": [{"name": "lab", "cluster": {
                "server": self.masters().remove(0).apiserver(), "certificate-authority": pki.join("ca.crt"),
            }}],
            "users": [{"name": "bearer", "user": {"token": token}}],
            "contexts": [{"name": "token", "context": {"cluster": "lab", "user": "bearer"}}],
        });
        std::fs::write(&file, config.to_string()).unwrap_or_else(|err| panic!("{}: {err}", file.display()));
        Kubectl::new(file)
    }

    pub fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// A fresh namespace for the story.
    #[track_caller]
    pub fn namespace(&self, story: &str) -> Namespace {
        Namespace::new(self, story)
    }

    /// `hack/lab <words>`, which must succeed: its output.
    #[track_caller]
    pub fn lab(&self, words: &str) -> String {
        self.try_lab(words).text()
    }

    /// `hack/lab <words>`.
    #[track_caller]
    pub fn try_lab(&self, words: &str) -> Output {
        let mut args = vec!["lab"];
        args.extend(words.split_whitespace());
        self.hack(&args)
    }

    /// A shell command on a node, which must succeed: its output.
    #[track_caller]
    pub fn node_sh(&self, node: &str, command: &str) -> String {
        self.try_node_sh(node, command).text()
    }

    /// A shell command on a node.
    #[track_caller]
    pub fn try_node_sh(&self, node: &str, command: &str) -> Output {
        self.hack(&["lab", "exec", node, "--", "sh", "-c", command])
    }

    #[track_caller]
    fn hack(&self, args: &[&str]) -> Output {
        let mut command = Command::new(&self.hack);
        command.args(args).env("CORTEN_LAB", &self.lab);
        let done = command.output().unwrap_or_else(|err| panic!("cannot run {}: {err}", self.hack.display()));
        Output::of(&format!("corten-hack {}", args.join(" ")), done)
    }

    /// The lab's nodes, from the API: name and InternalIP.
    #[track_caller]
    pub fn nodes(&self) -> Vec<Node> {
        let items = self.kubectl().list("nodes");
        let node = |item: &serde_json::Value| {
            let addresses = item["status"]["addresses"].as_array()?;
            let ip = addresses.iter().find(|a| a["type"] == "InternalIP")?["address"].as_str()?;
            Some(Node { name: item["metadata"]["name"].as_str()?.into(), ip: ip.into() })
        };
        items.iter().filter_map(node).collect()
    }

    /// The nodes without the control plane.
    #[track_caller]
    pub fn workers(&self) -> Vec<Node> {
        self.nodes().into_iter().filter(|n| n.name.starts_with("worker")).collect()
    }

    /// The nodes with the control plane.
    #[track_caller]
    pub fn masters(&self) -> Vec<Node> {
        self.nodes().into_iter().filter(|n| n.name.starts_with("master")).collect()
    }
}

impl Node {
    /// Where its apiserver is, if it is a master.
    pub fn apiserver(&self) -> String {
        format!("https://{}:{API_PORT}", self.ip)
    }
}

fn lab_from_env() -> String {
    std::env::var("CORTEN_LAB").unwrap_or_else(|_| "corten".into())
}

/// A program of the build that the lab runs, such as `corten-hack`.
#[track_caller]
pub fn program(name: &str) -> PathBuf {
    let path = std::env::var_os("CORTEN_BIN_DIR").map_or_else(beside_the_test, PathBuf::from).join(name);
    assert!(path.exists(), "{} is missing: run hack/test, or set CORTEN_BIN_DIR", path.display());
    path
}

/// Tests stand in `<target>/<profile>/deps`, the programs of the same profile one above.
fn beside_the_test() -> PathBuf {
    let test = std::env::current_exe().unwrap_or_else(|err| panic!("where are we? {err}"));
    test.ancestors().nth(2).map(PathBuf::from).unwrap_or_default()
}

/// GET over plain HTTP from this machine, outside the nodes: the body of a 200.
pub fn http_get(address: &str, path: &str) -> Result<String, String> {
    let text = |err: std::io::Error| err.to_string();
    let address: SocketAddr = address.parse().map_err(|err| format!("{address}: {err}"))?;
    let mut stream = TcpStream::connect_timeout(&address, HTTP_TIMEOUT).map_err(text)?;
    stream.set_read_timeout(Some(HTTP_TIMEOUT)).map_err(text)?;
    write!(stream, "GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n").map_err(text)?;
    let mut reply = String::new();
    stream.take(REPLY_MAX_BYTES).read_to_string(&mut reply).map_err(text)?;
    let (head, body) = reply.split_once("\r\n\r\n").ok_or("no HTTP reply")?;
    if head.split(' ').nth(1) == Some("200") { Ok(body.into()) } else { Err(head.lines().next().unwrap_or("").into()) }
}

//! The cluster that stories run on: the lab that `hack/test` (or `hack/up`) has started.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use crate::kubectl::{Kubectl, Output};
use crate::namespace::Namespace;

const HTTP_TIMEOUT: Duration = Duration::from_secs(5);
const REPLY_MAX_BYTES: u64 = 1 << 20;

/// A lab that runs.
#[derive(Debug)]
pub struct Cluster {
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
        let programs = std::env::var_os("CORTEN_BIN_DIR").map_or_else(beside_the_test, PathBuf::from);
        let hack = programs.join("corten-hack");
        assert!(hack.exists(), "{} is missing: run hack/test, or set CORTEN_BIN_DIR", hack.display());
        Self { kubeconfig, hack }
    }

    pub fn kubectl(&self) -> Kubectl {
        Kubectl::new(self.kubeconfig.clone())
    }

    pub fn kubeconfig(&self) -> &PathBuf {
        &self.kubeconfig
    }

    /// A fresh namespace for the story.
    #[track_caller]
    pub fn namespace(&self, story: &str) -> Namespace {
        Namespace::new(self, story)
    }

    /// `corten-hack lab …`.
    #[track_caller]
    pub fn try_lab(&self, args: &[&str]) -> Output {
        let done = Command::new(&self.hack).arg("lab").args(args).output();
        let done = done.unwrap_or_else(|err| panic!("cannot run {}: {err}", self.hack.display()));
        Output {
            ok: done.status.success(),
            code: done.status.code(),
            stdout: String::from_utf8_lossy(&done.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&done.stderr).into_owned(),
        }
    }

    /// As `try_lab`, for a verb that must succeed; its output.
    #[track_caller]
    pub fn lab(&self, args: &[&str]) -> String {
        let output = self.try_lab(args);
        assert!(output.ok, "corten-hack lab {args:?}: {}{}", output.stdout, output.stderr);
        output.stdout
    }

    /// The lab's nodes, from the API: name and InternalIP.
    #[track_caller]
    pub fn nodes(&self) -> Vec<Node> {
        let list = self.kubectl().json(&["nodes"]).unwrap_or_default();
        let items = list["items"].as_array().cloned().unwrap_or_default();
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

//! An etcd of its own for each test process.

use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;

/// An etcd that ends with the test process: a shell holds it, until the process's end of the pipe is closed.
struct EtcdProcess {
    _shell: Child,
    url: String,
}

static ETCD: OnceLock<EtcdProcess> = OnceLock::new();
const SHELL: &str = r#"data=$1; shift; etcd --data-dir "$data" "$@" & cat; kill -9 $!; wait; rm -rf "$data""#;

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn start_etcd() -> EtcdProcess {
    let data = tempfile::tempdir().unwrap().keep();
    let (client, peer) = (format!("http://127.0.0.1:{}", free_port()), format!("http://127.0.0.1:{}", free_port()));
    let shell = Command::new("sh")
        .args(["-c", SHELL, "etcd"])
        .arg(data)
        .args(["--listen-client-urls", &client, "--advertise-client-urls", &client])
        .args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer])
        .args(["--initial-cluster", &format!("default={peer}"), "--log-level", "error"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("a shell is there, and etcd (apt: etcd-server)");
    EtcdProcess { _shell: shell, url: client }
}

/// Where the test process's etcd is.
pub(crate) fn etcd_url() -> String {
    ETCD.get_or_init(start_etcd).url.clone()
}

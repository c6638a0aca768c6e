//! An etcd that runs on this machine already: where its data are, and whether there are any.
use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;

use super::facts::RunningEtcd;
use crate::topology::cluster::ETCD_CLIENT_PORT;

const TIMEOUT: Duration = Duration::from_secs(2);
/// A count and a header are smaller.
const ANSWER_BYTES_MAX: u64 = 64 << 10;
/// From the first key to the last, as gRPC's gateway has it: both are the byte 0.
const COUNT_ALL: &str = r#"{"key":"AA==","range_end":"AA==","count_only":true}"#;

pub(super) fn ask(pid: &str) -> RunningEtcd {
    let of = Path::new("/proc").join(pid);
    let read = |file| String::from_utf8_lossy(&fs::read(of.join(file)).unwrap_or_default()).into_owned();
    let cwd = fs::read_link(of.join("cwd")).unwrap_or_default();
    RunningEtcd { data: data(&read("cmdline"), &read("environ"), &cwd), keys: count().and_then(|text| keys_in(&text)) }
}

/// What it is started with: a flag, a variable, or nothing.
pub(super) fn data(cmdline: &str, environ: &str, cwd: &Path) -> PathBuf {
    let value = |words: &str, name: &str| {
        let mut words = words.split('\0');
        words.find_map(|word| {
            let rest = word.trim_start_matches('-').strip_prefix(name)?;
            rest.strip_prefix('=').map(str::to_owned)
        })
    };
    // Go's flags may have their value in the next word.
    let joined = cmdline.replace("-data-dir\0", "-data-dir=").replace("-name\0", "-name=");
    let dir = value(&joined, "data-dir").or_else(|| value(environ, "ETCD_DATA_DIR"));
    let name =
        || value(&joined, "name").or_else(|| value(environ, "ETCD_NAME")).unwrap_or_else(|| "default".to_owned());
    cwd.join(dir.unwrap_or_else(|| format!("{}.etcd", name())))
}

/// Over plain HTTP, as the package's own has it. One with certificates is somebody's.
fn count() -> Option<String> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, ETCD_CLIENT_PORT));
    let mut stream = TcpStream::connect_timeout(&address, TIMEOUT).ok()?;
    stream.set_read_timeout(Some(TIMEOUT)).ok()?;
    stream.set_write_timeout(Some(TIMEOUT)).ok()?;
    let request = format!(
        "POST /v3/kv/range HTTP/1.0\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{COUNT_ALL}",
        COUNT_ALL.len()
    );
    stream.write_all(request.as_bytes()).ok()?;
    let mut answer = String::new();
    stream.take(ANSWER_BYTES_MAX).read_to_string(&mut answer).ok()?;
    Some(answer)
}

/// A count of 0 is left out. What is no answer of etcd's says nothing.
pub(super) fn keys_in(answer: &str) -> Option<u64> {
    let (head, body) = answer.split_once("\r\n\r\n")?;
    if head.split_whitespace().nth(1) != Some("200") {
        return None;
    }
    let body: Value = serde_json::from_str(body).ok()?;
    body.get("header")?.get("cluster_id")?;
    match body.get("count") {
        None => Some(0),
        Some(count) => count.as_str()?.parse().ok(),
    }
}

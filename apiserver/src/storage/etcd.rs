//! The store in etcd: the product's only source of truth. Nothing outside this file and its folder knows etcd.
//!
//! Conditions compare mod revisions; a commit is one Txn. Every call has a deadline, goes to one member ([`members`] says
//! to which), and is sent again where another or a new leader may answer; [`commit`] says why a write may be, too.

mod commit;
mod history;
mod lease;
mod mark;
mod members;
mod page;
mod watch;

use std::path::PathBuf;
use std::time::Duration;

use async_trait::async_trait;
use etcd_client::proto::{PbKeyValue, PbRangeResponse};
use etcd_client::{Certificate, Client, ConnectOptions, Error, GetOptions, Identity, KvClient, TlsOptions};
use futures::future::try_join_all;
use lease::Leases;
use mark::Marks;
use members::Members;
use page::PageSize;
use tokio::time::Instant;
use tonic::Code;

use super::{ChangeStream, Listed, Outcome, Storage, StorageError, Stored, Write};

/// One call, however many keys.
const CALL_DEADLINE: Duration = Duration::from_secs(10);
const CONNECT_DEADLINE: Duration = Duration::from_secs(3);
/// Pings of a connection; etcd refuses more than one in 5 s.
const PING_EVERY: Duration = Duration::from_secs(10);
const PING_DEADLINE: Duration = Duration::from_secs(5);
/// Larger than any page or fragment that etcd sends; the default of 4 MiB is not.
pub(super) const MESSAGE_BYTES_MAX: usize = 64 << 20;
/// A read that fails is sent again for so long: longer than etcd takes to choose a leader.
const READ_PATIENCE: Duration = Duration::from_secs(3);
const RETRY_AFTER: Duration = Duration::from_millis(100);

/// Where etcd is, and who we are to it.
#[derive(Clone, Debug, Default)]
pub struct Endpoints {
    /// `https://10.0.0.1:2379`, one for each member; the first is used while it lives.
    pub urls: Vec<String>,
    pub tls: Option<TlsFiles>,
}

#[derive(Clone, Debug)]
pub struct TlsFiles {
    pub ca: PathBuf,
    pub cert: PathBuf,
    pub key: PathBuf,
}

/// Connections to all members, kept up by themselves. Cheap to clone.
#[derive(Clone)]
pub struct Etcd {
    members: Members,
    leases: Leases,
    marks: Marks,
}

impl std::fmt::Debug for Etcd {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Etcd")
    }
}

impl Etcd {
    /// Returns at once: a member that does not answer yet shows in the first call.
    pub async fn connect(endpoints: &Endpoints) -> Result<Self, StorageError> {
        let mut options = ConnectOptions::new()
            .with_connect_timeout(CONNECT_DEADLINE)
            .with_keep_alive(PING_EVERY, PING_DEADLINE)
            // A member that has lost its cluster must not go on serving a watch that stands still.
            .with_require_leader(true);
        if let Some(files) = &endpoints.tls {
            options = options.with_tls(tls(files).await?);
        }
        let options = &options;
        let connect = |url: &String| {
            let url = url.clone();
            async move { Client::connect([url], Some(options.clone())).await }
        };
        let clients = try_join_all(endpoints.urls.iter().map(connect)).await;
        let clients = clients.map_err(|err| unavailable("connecting to etcd", Box::new(err)))?;
        if clients.is_empty() {
            return Err(unavailable("connecting to etcd", "no endpoint is named".into()));
        }
        Ok(Self { members: Members::new(clients), leases: Leases::default(), marks: Marks::default() })
    }

    /// A call that may be made twice.
    async fn read<T, F>(&self, what: &str, revision: i64, call: impl Fn(KvClient) -> F) -> Result<T, StorageError>
    where
        F: Future<Output = Result<T, Error>>,
    {
        let began = Instant::now();
        loop {
            let view = self.members.view();
            let answer = tokio::select! {
                answer = deadline(what, call(self.members.kv(view))) => answer?,
                () = self.members.overtaken(view) => continue,
            };
            match answer {
                Ok(response) => return Ok(response),
                Err(err) if began.elapsed() < READ_PATIENCE && may_pass(&err) => {
                    tracing::debug!(%err, what, "etcd did not answer; asking again");
                    self.members.failed(view, RETRY_AFTER).await;
                }
                Err(err) => return Err(failed(what, revision, err)),
            }
        }
    }

    /// One page from `from` on, as large as `size` says; smaller where etcd's answer was too large to be taken.
    async fn page(
        &self,
        from: &[u8],
        end: &[u8],
        revision: i64,
        size: &mut PageSize,
    ) -> Result<PbRangeResponse, StorageError> {
        loop {
            let keys = size.keys();
            let read = |mut kv: KvClient| {
                let options = GetOptions::new().with_range(end).with_limit(keys).with_revision(revision);
                async move {
                    match kv.get(from, Some(options)).await {
                        Err(Error::GRpcStatus(status)) if is_too_large(&status) => Ok(Err(status)),
                        answer => answer.map(Ok),
                    }
                }
            };
            match self.read("listing keys", revision, read).await? {
                Ok(response) => {
                    let bytes = response.0.kvs.iter().map(|kv| kv.key.len() + kv.value.len()).sum();
                    size.taken(response.0.kvs.len(), bytes);
                    return Ok(response.0);
                }
                Err(_) if size.refused() => tracing::debug!(keys, "a page was too large; asking for fewer keys"),
                Err(status) => return Err(unavailable("listing keys: one is too large", Box::new(status))),
            }
        }
    }
}

async fn tls(files: &TlsFiles) -> Result<TlsOptions, StorageError> {
    let read = async |path: &PathBuf| {
        tokio::fs::read(path).await.map_err(|err| unavailable(&format!("reading {}", path.display()), Box::new(err)))
    };
    let (ca, cert, key) = (read(&files.ca).await?, read(&files.cert).await?, read(&files.key).await?);
    Ok(TlsOptions::new().ca_certificate(Certificate::from_pem(ca)).identity(Identity::from_pem(cert, key)))
}

#[async_trait]
impl Storage for Etcd {
    async fn get(&self, key: &str) -> Result<Option<Stored>, StorageError> {
        let read = |mut kv: KvClient| async move { kv.get(key, None).await };
        let response = self.read("reading a key", 0, read).await?.0;
        response.kvs.into_iter().next().map(stored).transpose()
    }

    async fn list(&self, prefix: &str, revision: Option<i64>) -> Result<Listed, StorageError> {
        let end = end_of(prefix);
        let mut from = start_of(prefix).as_bytes().to_vec();
        let mut size = PageSize::default();
        // The first page settles the revision of all.
        let mut listed = Listed { items: Vec::new(), revision: revision.unwrap_or(0), unreadable_keys: 0 };
        loop {
            let page = self.page(&from, &end, listed.revision, &mut size).await?;
            if listed.revision == 0 {
                listed.revision = page.header.map_or(0, |h| h.revision);
            }
            if let Some(last) = page.kvs.last() {
                from.clone_from(&last.key);
                // The smallest key behind it.
                from.push(0);
            }
            let more = page.more && !page.kvs.is_empty();
            for kv in page.kvs {
                match String::from_utf8(kv.key) {
                    Ok(key) => listed.items.push(Stored { key, value: kv.value.into(), revision: kv.mod_revision }),
                    Err(_) => listed.unreadable_keys += 1,
                }
            }
            if !more {
                return Ok(listed);
            }
        }
    }

    async fn current_revision(&self) -> Result<i64, StorageError> {
        // A linearizable read of nothing: its header has the revision.
        let read = |mut kv: KvClient| async move { kv.get("\0", Some(GetOptions::new().with_count_only())).await };
        let response = self.read("asking for the revision", 0, read).await?.0;
        let revision = response.header.map_or(0, |h| h.revision);
        self.members.saw(revision);
        Ok(revision)
    }

    async fn commit(&self, writes: Vec<Write>) -> Result<Outcome, StorageError> {
        commit::commit(self, &writes).await
    }

    async fn watch(&self, prefix: &str, after: i64) -> Result<ChangeStream, StorageError> {
        watch::start(self.members.clone(), start_of(prefix), end_of(prefix), after).await
    }

    async fn compact(&self, revision: i64) -> Result<(), StorageError> {
        let mut kv = self.members.kv(self.members.view());
        match deadline("compacting", kv.compact(revision, None)).await? {
            Ok(_) => Ok(()),
            // Another apiserver was here first.
            Err(Error::GRpcStatus(status)) if is_compacted(&status) => Ok(()),
            Err(err) => Err(failed("compacting", revision, err)),
        }
    }
}

fn stored(kv: PbKeyValue) -> Result<Stored, StorageError> {
    let key = String::from_utf8(kv.key).map_err(|err| unavailable("reading: a key is not UTF-8", Box::new(err)))?;
    Ok(Stored { key, value: kv.value.into(), revision: kv.mod_revision })
}

/// Where a range of all keys with `prefix` begins; etcd takes no empty key.
fn start_of(prefix: &str) -> &str {
    if prefix.is_empty() { "\0" } else { prefix }
}

/// The first key behind all that begin with `prefix`.
fn end_of(prefix: &str) -> Vec<u8> {
    let mut end = prefix.as_bytes().to_vec();
    while let Some(last) = end.pop() {
        if last < 0xff {
            end.push(last + 1);
            return end;
        }
    }
    // Every key there is.
    vec![0]
}

async fn deadline<T>(what: &str, call: impl Future<Output = T>) -> Result<T, StorageError> {
    tokio::time::timeout(CALL_DEADLINE, call).await.map_err(|late| unavailable(what, Box::new(late)))
}

fn may_pass(err: &Error) -> bool {
    match err {
        Error::GRpcStatus(status) => {
            matches!(status.code(), Code::Unavailable | Code::Unknown | Code::Cancelled | Code::DeadlineExceeded)
        }
        Error::TransportError(_) | Error::IoError(_) => true,
        _ => false,
    }
}

fn is_compacted(status: &tonic::Status) -> bool {
    status.code() == Code::OutOfRange && status.message().contains("compacted")
}

/// An answer larger than [`MESSAGE_BYTES_MAX`], or than the sender's bound.
fn is_too_large(status: &tonic::Status) -> bool {
    matches!(status.code(), Code::OutOfRange | Code::ResourceExhausted) && !is_compacted(status)
}

pub(super) fn failed(what: &str, revision: i64, err: Error) -> StorageError {
    match err {
        // etcd does not say what it still has; one more than what it has not is the best we know.
        Error::GRpcStatus(status) if is_compacted(&status) => {
            StorageError::Compacted { wanted: revision, oldest: revision + 1 }
        }
        err => unavailable(what, Box::new(err)),
    }
}

pub(super) fn unavailable(what: &str, source: Box<dyn std::error::Error + Send + Sync>) -> StorageError {
    StorageError::Unavailable { what: what.into(), source: Some(source) }
}

//! The store in etcd: the product's only source of truth. Nothing outside this file knows etcd.
//!
//! Conditions compare mod revisions; a commit is one Txn. Every call has a deadline, and is sent again where another
//! member may answer; [`commit`] says why a write may be, too.

mod commit;
mod lease;
mod watch;

use std::path::PathBuf;
use std::time::Duration;

use async_trait::async_trait;
use etcd_client::proto::PbKeyValue;
use etcd_client::{Certificate, Client, ConnectOptions, Error, GetOptions, Identity, KvClient, TlsOptions};
use lease::Leases;
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
/// Keys in one page of a list.
const PAGE_KEYS: i64 = 500;
const READ_TRIES: u32 = 3;
const READ_RETRY_AFTER: Duration = Duration::from_millis(100);

/// Where etcd is, and who we are to it.
#[derive(Clone, Debug, Default)]
pub struct Endpoints {
    /// `https://10.0.0.1:2379`, one for each member.
    pub urls: Vec<String>,
    pub tls: Option<TlsFiles>,
}

#[derive(Clone, Debug)]
pub struct TlsFiles {
    pub ca: PathBuf,
    pub cert: PathBuf,
    pub key: PathBuf,
}

/// A connection to all members, kept up by itself. Cheap to clone.
#[derive(Clone)]
pub struct Etcd {
    client: Client,
    kv: KvClient,
    leases: Leases,
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
        let client = Client::connect(&endpoints.urls, Some(options))
            .await
            .map_err(|err| unavailable("connecting to etcd", Box::new(err)))?;
        let kv = client.kv_client().max_decoding_message_size(MESSAGE_BYTES_MAX);
        let leases = Leases::new(client.lease_client());
        Ok(Self { client, kv, leases })
    }

    async fn page(&self, from: &str, end: &[u8], revision: i64) -> Result<(Vec<PbKeyValue>, bool, i64), StorageError> {
        let options = GetOptions::new().with_range(end).with_limit(PAGE_KEYS).with_revision(revision);
        let read = || {
            let (mut kv, options) = (self.kv.clone(), options.clone());
            async move { kv.get(from, Some(options)).await }
        };
        let response = retried("listing keys", revision, read).await?.0;
        let at = response.header.map_or(0, |h| h.revision);
        Ok((response.kvs, response.more, at))
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
        let read = || {
            let mut kv = self.kv.clone();
            async move { kv.get(key, None).await }
        };
        let response = retried("reading a key", 0, read).await?.0;
        response.kvs.into_iter().next().map(stored).transpose()
    }

    async fn list(&self, prefix: &str, revision: Option<i64>) -> Result<Listed, StorageError> {
        let end = end_of(prefix);
        let mut items = Vec::new();
        let mut from = start_of(prefix).to_owned();
        // The first page settles the revision of all.
        let mut revision = revision.unwrap_or(0);
        loop {
            let (kvs, more, at) = self.page(&from, &end, revision).await?;
            if revision == 0 {
                revision = at;
            }
            for kv in kvs {
                items.push(stored(kv)?);
            }
            match items.last() {
                // The smallest key behind the last one.
                Some(last) if more => from = format!("{}\0", last.key),
                _ => return Ok(Listed { items, revision }),
            }
        }
    }

    async fn current_revision(&self) -> Result<i64, StorageError> {
        // A linearizable read of nothing: its header has the revision.
        let read = || {
            let mut kv = self.kv.clone();
            async move { kv.get("\0", Some(GetOptions::new().with_count_only())).await }
        };
        let response = retried("asking for the revision", 0, read).await?.0;
        Ok(response.header.map_or(0, |h| h.revision))
    }

    async fn commit(&self, writes: Vec<Write>) -> Result<Outcome, StorageError> {
        commit::commit(self, &writes).await
    }

    async fn watch(&self, prefix: &str, after: i64) -> Result<ChangeStream, StorageError> {
        watch::start(self.client.watch_client(), start_of(prefix), end_of(prefix), after).await
    }

    async fn compact(&self, revision: i64) -> Result<(), StorageError> {
        let mut kv = self.kv.clone();
        match deadline("compacting", kv.compact(revision, None)).await? {
            Ok(_) => Ok(()),
            // Another apiserver was here first.
            Err(Error::GRpcStatus(status)) if is_compacted(&status) => Ok(()),
            Err(err) => Err(failed("compacting", revision, err)),
        }
    }
}

fn stored(kv: PbKeyValue) -> Result<Stored, StorageError> {
    Ok(Stored { key: key_of(kv.key)?, value: kv.value.into(), revision: kv.mod_revision })
}

pub(super) fn key_of(key: Vec<u8>) -> Result<String, StorageError> {
    String::from_utf8(key).map_err(|err| unavailable("reading: a key is not UTF-8", Box::new(err)))
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

async fn retried<T, F: Future<Output = Result<T, Error>>>(
    what: &str,
    revision: i64,
    call: impl Fn() -> F,
) -> Result<T, StorageError> {
    let mut tries = 1;
    loop {
        match deadline(what, call()).await? {
            Ok(response) => return Ok(response),
            Err(err) if tries < READ_TRIES && may_pass(&err) => {
                tracing::debug!(%err, what, "etcd did not answer; asking again");
                tokio::time::sleep(READ_RETRY_AFTER * tries).await;
                tries += 1;
            }
            Err(err) => return Err(failed(what, revision, err)),
        }
    }
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

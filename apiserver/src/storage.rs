//! The port to the store: a small ordered key-value map with revisions. etcd is the product, memory is for tests.
//!
//! Every write has one revision, larger than all before it. A commit is atomic: all of its writes happen at one
//! revision or none does. Implementations: `etcd`, `memory`; both pass `contract`.

#[cfg(test)]
pub(crate) mod contract;
pub mod etcd;
#[cfg(test)]
pub(crate) mod flaky;
pub mod memory;

use std::fmt;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;

/// A key with its value, as of `revision`, the revision of its last change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    pub key: String,
    pub value: Bytes,
    pub revision: i64,
}

/// One write of a commit, with the condition under which it may happen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Write {
    /// The key must not exist. `ttl_secs` lets the store forget it (events); leases are shared by the minute.
    Create { key: String, value: Bytes, ttl_secs: Option<u32> },
    /// The key must be at `expected`.
    Update { key: String, value: Bytes, expected: i64, ttl_secs: Option<u32> },
    /// The key must be at `expected`.
    Delete { key: String, expected: i64 },
    /// The key must be at `expected`, 0: not be there, and stays as it is. A commit has another write beside it.
    Expect { key: String, expected: i64 },
}

impl Write {
    /// Whether its condition holds while its key is at `revision`; `None`: there is no such key.
    fn holds_at(&self, revision: Option<i64>) -> bool {
        match self {
            Self::Create { .. } => revision.is_none(),
            Self::Update { expected, .. } | Self::Delete { expected, .. } => revision == Some(*expected),
            Self::Expect { expected, .. } => revision.unwrap_or(0) == *expected,
        }
    }
    pub fn key(&self) -> &str {
        match self {
            Self::Create { key, .. }
            | Self::Update { key, .. }
            | Self::Delete { key, .. }
            | Self::Expect { key, .. } => key,
        }
    }
}

/// What a commit did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// All of it, at this revision.
    Committed { revision: i64 },
    /// Nothing: the condition of write `index` does not hold. `current` is what its key holds (`None`: no such key).
    Refused { index: usize, current: Option<Stored> },
}

/// One change, in revision order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    Put { key: String, value: Bytes, revision: i64, created: bool },
    Deleted { key: String, revision: i64 },
}

impl Change {
    pub fn key(&self) -> &str {
        match self {
            Self::Put { key, .. } | Self::Deleted { key, .. } => key,
        }
    }
    pub fn revision(&self) -> i64 {
        match self {
            Self::Put { revision, .. } | Self::Deleted { revision, .. } => *revision,
        }
    }
}

/// Changes that arrived together, up to the end of a revision.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    pub changes: Vec<Change>,
    /// All changes up to this revision are told, those of unreadable keys aside.
    pub revision: i64,
    /// Changes left out, as their keys are no text. No key of the API is such a one.
    pub unreadable_keys: u64,
}

pub type ChangeStream = BoxStream<'static, Result<Changes, StorageError>>;

#[derive(Debug, thiserror::Error)]
pub enum StorageError {
    #[error("revision {wanted} is compacted; the oldest kept is {oldest}")]
    Compacted { wanted: i64, oldest: i64 },
    /// It was restored from a backup: what it told since is not so any more.
    #[error("the store is at revision {now}, before the {seen} that it had: it was restored from a backup")]
    WentBack { seen: i64, now: i64 },
    #[error("the store does not answer: {what}")]
    Unavailable {
        what: String,
        #[source]
        source: Option<Box<dyn std::error::Error + Send + Sync>>,
    },
    /// A commit whose answer never came: it may have been done, or be done yet.
    #[error("the store gave no answer: whether the write of {what} was done is not known")]
    Unknown {
        what: String,
        #[source]
        source: Option<Box<dyn std::error::Error + Send + Sync>>,
    },
    #[error("the store refused {what}: the value has {bytes} bytes")]
    TooLarge { what: String, bytes: usize },
}

/// All keys under a prefix, in key order, read at one revision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    pub items: Vec<Stored>,
    pub revision: i64,
    /// Keys left out, as they are no text.
    pub unreadable_keys: u64,
}

#[async_trait]
pub trait Storage: Send + Sync + fmt::Debug + 'static {
    async fn get(&self, key: &str) -> Result<Option<Stored>, StorageError>;
    /// At `revision`, or at the newest. Reads in pages, so that no message grows without bound.
    async fn list(&self, prefix: &str, revision: Option<i64>) -> Result<Listed, StorageError>;
    /// Linearizable: the store's newest revision at some moment after the call began.
    async fn current_revision(&self) -> Result<i64, StorageError>;
    /// Never done twice, however often the store had to be asked. [`StorageError::Unknown`]: nobody knows whether it was
    /// done; after all other errors it was not.
    async fn commit(&self, writes: Vec<Write>) -> Result<Outcome, StorageError>;
    /// Every change under `prefix` with a revision larger than `after`. Ends with an error, never silently.
    async fn watch(&self, prefix: &str, after: i64) -> Result<ChangeStream, StorageError>;
    /// Forgets history before `revision`.
    async fn compact(&self, revision: i64) -> Result<(), StorageError>;
}

//! The one read and write path of all kinds: REST handlers and gRPC services both end here.

use bytes::Bytes;
use corten_api::selector::{FieldSelector, Selector};

/// How strictly a body's unknown and duplicate fields are taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FieldValidation {
    Ignore,
    #[default]
    Warn,
    Strict,
}

/// Options common to all writes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WriteOptions {
    pub dry_run: bool,
    pub field_validation: FieldValidation,
    pub field_manager: String,
}

/// `resourceVersionMatch` and `resourceVersion` of a read, already checked against each other.
/// <https://kubernetes.io/docs/reference/using-api/api-concepts/#resource-versions>
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ReadAt {
    /// No resourceVersion: as new as the store is.
    #[default]
    Newest,
    /// `0`: whatever the cache has.
    Any,
    NotOlderThan(i64),
    Exact(i64),
}

#[derive(Clone, Debug, Default)]
pub struct ListOptions {
    pub labels: Selector,
    pub fields: FieldSelector,
    pub at: ReadAt,
    /// 0: no limit.
    pub limit: usize,
    /// Opaque, from the page before.
    pub continue_token: Option<String>,
}

/// One page: the objects' JSON, ready to be joined with commas.
#[derive(Clone, Debug)]
pub struct Page {
    pub items: Vec<Bytes>,
    pub revision: i64,
    pub continue_token: Option<String>,
    pub remaining: Option<i64>,
}

#[derive(Clone, Debug, Default)]
pub struct WatchOptions {
    pub labels: Selector,
    pub fields: FieldSelector,
    pub from: WatchFrom,
    pub bookmarks: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WatchFrom {
    /// The state first (as ADDED), then changes. With `initial_events_end`, a bookmark annotated
    /// `k8s.io/initial-events-end` stands between (`sendInitialEvents=true`).
    State { initial_events_end: bool },
    /// The changes after this revision.
    After(i64),
    /// Changes from now on.
    #[default]
    Now,
}

/// One watch event. The object's JSON is encoded once and shared by all watchers.
#[derive(Clone, Debug)]
pub enum Event {
    Added {
        revision: i64,
        object: Bytes,
    },
    Modified {
        revision: i64,
        object: Bytes,
    },
    /// The last state, at the revision of the deletion.
    Deleted {
        revision: i64,
        object: Bytes,
    },
    Bookmark {
        revision: i64,
        initial_events_end: bool,
    },
}

/// A written or read object, with the warnings for the caller (`Warning:` headers).
#[derive(Clone, Debug)]
pub struct Written {
    pub object: Bytes,
    /// False when an update or apply made the object.
    pub existed: bool,
    pub warnings: Vec<String>,
}

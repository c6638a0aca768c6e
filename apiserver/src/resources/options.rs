//! What callers ask of the read and write paths, and what they get.

use bytes::Bytes;
use corten_api::selector::{FieldSelector, Selector};

use super::Fence;

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
    /// Who comes to own the fields that the write sets.
    pub field_manager: String,
    /// Of an apply: takes the fields that others own. `None`: not said.
    pub force: Option<bool>,
    /// What strict decoding objects to and only the body as it came shows: keys that YAML or a patch had twice.
    pub findings: Vec<String>,
    /// The leadership that the write is part of: refused once that is over.
    pub fence: Option<Fence>,
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
    /// Only metadata is looked at: no webhook is asked for objects in another version.
    pub metadata_only: bool,
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
    /// Of a watch that goes on `After` a revision: a bookmark comes as soon as it has seen this one.
    pub report_at: Option<i64>,
    /// As in [`ListOptions`].
    pub metadata_only: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WatchFrom {
    /// The state first (as ADDED, as new as `at` asks; `Exact` reads as `NotOlderThan`), then changes. With
    /// `initial_events_end`, a bookmark annotated `k8s.io/initial-events-end` stands between
    /// (`sendInitialEvents=true`).
    State { at: ReadAt, initial_events_end: bool },
    /// The changes after this revision.
    After(i64),
    /// Changes from now on.
    #[default]
    Now,
}

/// A written or read object, with the warnings for the caller (`Warning:` headers).
#[derive(Clone, Debug)]
pub struct Written {
    pub object: Bytes,
    /// False when an update or apply made the object.
    pub existed: bool,
    pub warnings: Vec<String>,
}

/// What a delete did.
#[derive(Clone, Debug)]
pub struct Deleted {
    /// The object: its last state if it is `gone`, else with its deletionTimestamp.
    pub object: Bytes,
    /// What REST answers with: the object, or a `Status` of success.
    pub body: Bytes,
    /// False while finalizers or a grace period keep the object.
    pub gone: bool,
    /// 200, or 202 for what goes on in the background.
    pub code: u16,
    pub warnings: Vec<String>,
}

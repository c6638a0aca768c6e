//! One watch event: its JSON is encoded once, however many watchers it has.

use std::sync::Arc;

use bytes::Bytes;

use crate::cache::Item;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EventKind {
    Added,
    Modified,
    /// The last state, at the revision of the deletion.
    Deleted,
    /// No change: how far the watcher has seen. `initial_events_end` ends the state of a watch that began with it.
    Bookmark {
        initial_events_end: bool,
    },
}

impl EventKind {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Added => "ADDED",
            Self::Modified => "MODIFIED",
            Self::Deleted => "DELETED",
            Self::Bookmark { .. } => "BOOKMARK",
        }
    }
}

/// One watch event. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Event {
    pub kind: EventKind,
    pub(crate) item: Arc<Item>,
}

impl Event {
    pub fn revision(&self) -> i64 {
        self.item.revision
    }
    /// Empty for bookmarks and cluster-scoped objects.
    pub fn namespace(&self) -> &str {
        self.item.namespace()
    }
    pub fn name(&self) -> &str {
        self.item.name()
    }
    /// The object's JSON; a bookmark's is an object with nothing but its kind and resourceVersion.
    pub fn object(&self) -> Bytes {
        self.item.object()
    }
    /// `{"type":"ADDED","object":{…}}` and a newline: the event as REST streams it, shared between watchers.
    pub fn frame(&self) -> Bytes {
        self.item.frame(self.kind)
    }
}

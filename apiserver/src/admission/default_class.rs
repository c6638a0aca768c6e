//! Which of several classes is the default.

use std::cmp::Reverse;

use corten_api::Object;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

/// The name of the newest that is marked, and of several of one time the first by name: who makes another the default need
/// not take it from the old one.
pub(super) fn newest_marked<K: Object>(classes: Vec<K>, is_marked: fn(&ObjectMeta) -> bool) -> Option<String> {
    let marked = classes.iter().map(|class| class.metadata()).filter(|meta| is_marked(meta));
    let created = |meta: &ObjectMeta| meta.creation_timestamp.as_ref().map(|time| time.0);
    marked.min_by_key(|meta| (Reverse(created(meta)), &meta.name))?.name.clone()
}

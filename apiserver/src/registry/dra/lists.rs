//! Lists that have a greatest length, and lists in which nothing stands twice.

use std::collections::HashSet;
use std::hash::Hash;

use corten_api::Problems;
use serde::Serialize;

use crate::registry::path::Path;

/// The items. Of a list that is too long none is looked at, so that no request takes longer than upstream's longest.
pub fn bounded<'l, T>(list: Option<&'l Vec<T>>, max: usize, at: &Path<'_>, problems: &mut Problems) -> &'l [T] {
    let list = list.map(Vec::as_slice).unwrap_or_default();
    if list.len() > max {
        problems.too_many(at, list.len(), max);
        return &[];
    }
    list
}

/// No two items with the same key.
pub fn unique<'l, T, K: Eq + Hash + Serialize>(
    list: &'l [T],
    key: impl Fn(&'l T) -> K,
    at: &Path<'_>,
    problems: &mut Problems,
) {
    let mut seen = HashSet::new();
    for (i, item) in list.iter().enumerate() {
        let key = key(item);
        if seen.contains(&key) {
            problems.duplicate(at.index(i), &key);
        } else {
            seen.insert(key);
        }
    }
}

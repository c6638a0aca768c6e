//! What strict decoding objects to: fields that nobody knows, and such as stand twice.

use std::borrow::Cow;
use std::collections::HashSet;

use super::path::Path;
use super::path_text;

/// Told of for one body; the first ones are enough to mend it. Upstream's bound.
const MAX_FINDINGS: usize = 100;
/// Looked at for one body. A body of megabytes can repeat one finding at each few bytes; to word it costs more than to read it.
const MAX_TOLD: usize = 10 * MAX_FINDINGS;
/// Up to so many keys of one object are compared with each other; beyond, they are hashed.
const COMPARED_KEYS: usize = 24;

/// Findings in the order of the text, each once, worded as upstream words them.
#[derive(Debug, Default)]
pub(super) struct Findings {
    found: Vec<String>,
    told: usize,
}

impl Findings {
    pub(super) fn unknown(&mut self, path: &Path<'_>) {
        self.add("unknown", path);
    }
    pub(super) fn duplicate(&mut self, path: &Path<'_>) {
        self.add("duplicate", path);
    }
    fn add(&mut self, what: &str, path: &Path<'_>) {
        if self.found.len() == MAX_FINDINGS || self.told == MAX_TOLD {
            return;
        }
        self.told += 1;
        let finding = format!("{what} field {:?}", path_text(path));
        if !self.found.contains(&finding) {
            self.found.push(finding);
        }
    }
    pub(super) fn into_vec(self) -> Vec<String> {
        self.found
    }
}

/// The keys of one object seen so far.
pub(super) enum Keys<'t> {
    Few(Vec<Cow<'t, str>>),
    Many(HashSet<Cow<'t, str>>),
}

impl Default for Keys<'_> {
    fn default() -> Self {
        Self::Few(Vec::new())
    }
}

impl<'t> Keys<'t> {
    /// False if it was there.
    pub(super) fn insert(&mut self, key: Cow<'t, str>) -> bool {
        match self {
            Self::Few(list) if list.contains(&key) => false,
            Self::Few(list) if list.len() < COMPARED_KEYS => {
                list.push(key);
                true
            }
            Self::Few(list) => {
                let mut set: HashSet<_> = list.drain(..).collect();
                let fresh = set.insert(key);
                *self = Self::Many(set);
                fresh
            }
            Self::Many(set) => set.insert(key),
        }
    }
}

/// The fields of one struct seen so far, by their places in it.
#[derive(Default)]
pub(super) struct Seen {
    first: u128,
    others: Vec<bool>,
}

impl Seen {
    /// False if it was there.
    pub(super) fn insert(&mut self, at: usize) -> bool {
        if let Ok(shift @ 0..128) = u32::try_from(at) {
            let bit = 1_u128 << shift;
            let fresh = self.first & bit == 0;
            self.first |= bit;
            return fresh;
        }
        if self.others.len() <= at {
            self.others.resize(at + 1, false);
        }
        !std::mem::replace(&mut self.others[at], true)
    }
    pub(super) fn contains(&self, at: usize) -> bool {
        match u32::try_from(at) {
            Ok(shift @ 0..128) => self.first & (1 << shift) != 0,
            _ => self.others.get(at).is_some_and(|seen| *seen),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told_again_and_again_is_one_finding_and_soon_not_worded_any_more() {
        let mut findings = Findings::default();
        for _ in 0..1_000_000 {
            findings.unknown(&Path::Root);
        }
        assert_eq!(findings.told, MAX_TOLD);
        assert_eq!(findings.into_vec().len(), 1);
    }
}

//! All fronts with their owners, and what changes when one owner's fronts change. Pure.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::{Front, FrontRules, Owner};

/// A front before and after.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    pub front: Front,
    pub before: Option<FrontRules>,
    pub after: Option<FrontRules>,
}

/// Who claims what. Where two claim the same front, the owner that sorts first has it, whatever the
/// order of arrival, so that a restart changes nothing.
#[derive(Debug, Default)]
pub struct Ledger {
    claims: BTreeMap<Front, Vec<(Owner, FrontRules)>>,
    owned: HashMap<Owner, Vec<Front>>,
}

impl Ledger {
    pub fn get(&self, front: &Front) -> Option<&FrontRules> {
        self.claims.get(front)?.first().map(|(_, rules)| rules)
    }
    /// Each front with the rules in force.
    pub fn iter(&self) -> impl Iterator<Item = (&Front, &FrontRules)> {
        self.claims.iter().filter_map(|(front, claims)| Some((front, &claims.first()?.1)))
    }
    pub fn len(&self) -> usize {
        self.claims.len()
    }
    pub fn is_empty(&self) -> bool {
        self.claims.is_empty()
    }
    pub fn owners(&self) -> impl Iterator<Item = &Owner> {
        self.owned.keys()
    }

    /// Makes `fronts` all that `owner` has, and says what this changes in force.
    pub fn set(&mut self, owner: &Owner, fronts: Vec<(Front, FrontRules)>) -> Vec<Change> {
        let old = self.owned.remove(owner).unwrap_or_default();
        let touched: BTreeSet<Front> = old.iter().copied().chain(fronts.iter().map(|(f, _)| *f)).collect();
        let before: Vec<(Front, Option<FrontRules>)> =
            touched.into_iter().map(|front| (front, self.get(&front).cloned())).collect();
        for front in &old {
            if let Some(claims) = self.claims.get_mut(front) {
                claims.retain(|(by, _)| by != owner);
            }
        }
        let mine: Vec<Front> = fronts.iter().map(|(front, _)| *front).collect();
        for (front, rules) in fronts {
            let claims = self.claims.entry(front).or_default();
            let at = claims.partition_point(|(by, _)| by < owner);
            claims.insert(at, (owner.clone(), rules));
        }
        if !mine.is_empty() {
            self.owned.insert(owner.clone(), mine);
        }
        let mut changes = Vec::new();
        for (front, before) in before {
            if self.claims.get(&front).is_some_and(Vec::is_empty) {
                self.claims.remove(&front);
            }
            let after = self.get(&front).cloned();
            if before != after {
                changes.push(Change { front, before, after });
            }
        }
        changes
    }
}

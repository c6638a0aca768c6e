//! What a write changed, in each version that somebody owns fields in; and what that does to those who own them.

use std::collections::BTreeMap;

use serde_json::Value;

use super::compare::{Comparison, compare};
use super::conflict::Conflicts;
use super::field_set::FieldSet;
use super::managers::{Manager, Managers, strip};
use super::object_type::{Converted, ObjectType, Unconverted};

/// A write, compared with what was there before.
pub(super) struct Changes<'w, 'a> {
    of: &'w ObjectType<'a>,
    old: &'w Value,
    new: &'w Value,
    /// In each version that was asked for.
    known: BTreeMap<String, Result<Changed, Unconverted>>,
}

/// Fields that a write changed, of those that it can change and that can have owners.
#[derive(Default)]
pub(super) struct Changed {
    /// Those that have another value now, or had none.
    pub(super) set: FieldSet,
    pub(super) removed: FieldSet,
}

impl Changed {
    fn of(object_type: &ObjectType<'_>, comparison: Comparison) -> Self {
        let Comparison { added, modified, mut removed } = comparison;
        let mut set = modified;
        set.unite(added);
        for fields in [&mut set, &mut removed] {
            object_type.tracked.filter(fields);
            strip(fields);
        }
        Self { set, removed }
    }
    pub(super) fn is_empty(&self) -> bool {
        self.set.is_empty() && self.removed.is_empty()
    }
}

impl<'w, 'a> Changes<'w, 'a> {
    pub(super) fn new(of: &'w ObjectType<'a>, old: &'w Value, new: &'w Value) -> Self {
        Self { of, old, new, known: BTreeMap::new() }
    }

    /// The version that was written.
    pub(super) fn api_version(&self) -> &'a str {
        self.of.api_version
    }

    /// What was changed, in that version.
    pub(super) fn written(&mut self) -> &Changed {
        static NONE: Changed = Changed { set: FieldSet::new(), removed: FieldSet::new() };
        self.in_version(self.of.api_version).unwrap_or(&NONE)
    }

    fn in_version(&mut self, api_version: &str) -> Result<&Changed, Unconverted> {
        if !self.known.contains_key(api_version) {
            let changed = self.compare(api_version).map(|comparison| Changed::of(self.of, comparison));
            self.known.insert(api_version.to_owned(), changed);
        }
        self.known.get(api_version).map_or(Err(Unconverted::Unknown), |changed| changed.as_ref().map_err(|why| *why))
    }

    fn compare(&self, api_version: &str) -> Result<Comparison, Unconverted> {
        if api_version == self.of.api_version {
            return Ok(compare(self.of.shape, self.old, self.new));
        }
        let convert = |object: &Value| match object.as_object() {
            // What is created was nothing, in any version.
            Some(fields) if fields.is_empty() => Ok(Converted { object: object.clone(), shape: None }),
            _ => (self.of.convert)(object, api_version),
        };
        // Both are asked for, though one may not be had: who has them made has both made together.
        let (old, new) = (convert(self.old), convert(self.new));
        let (old, new) = (old?, new?);
        Ok(compare(new.shape, &old.object, &new.object))
    }

    /// Takes from all managers but `author` the fields that the write gave another value or removed. An apply that is not
    /// forced takes nothing if somebody else owns a field that it sets.
    pub(super) fn take_from_others(
        &mut self,
        managers: &mut Managers,
        author: Option<&Manager>,
        force: bool,
    ) -> Result<(), Conflicts> {
        let mut taken = Vec::new();
        managers.retain(|manager, owned| {
            if Some(manager) == author {
                return true;
            }
            let changed = match self.in_version(&owned.api_version) {
                Ok(changed) => changed,
                Err(Unconverted::NotServed) => return false,
                Err(Unconverted::Unknown) => return true,
            };
            let set = owned.fields.intersection(&changed.set);
            owned.fields.subtract(&changed.set);
            owned.fields.subtract(&changed.removed);
            if !force && !set.is_empty() {
                taken.push((manager.clone(), set));
            }
            true
        });
        Conflicts::of(taken).map_or(Ok(()), Err)
    }
}

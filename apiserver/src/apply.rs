//! Server-side apply: who owns which fields of an object, and what becomes of the object when somebody applies a
//! configuration. Pure: objects, a schema and a time in, an object and its managed fields out.
//!
//! <https://kubernetes.io/docs/reference/using-api/server-side-apply/>
//!
//! Every write passes here. [`update`] gives what a create, update or patch changed to its manager, and [`apply`] merges a
//! configuration, says what it conflicts with, and takes away what its manager no longer applies. Both give the object's
//! `metadata.managedFields`. [`created`] and [`updated`] are [`update`] for typed objects whose writers say nothing of managed
//! fields, which most are: they read and write no more of them than changes.
//!
//! - [`element`]: the steps of paths; [`field_set`]: sets of fields; [`fields_v1`]: these as JSON
//! - `place`: how a value is owned by its schema; `zero`: what Go writes though nobody set it
//! - [`fields`]: the fields of a value; [`mod@compare`]: of two, what differs; [`mod@differing`]: two texts, as far as they do
//! - `merge`, `prune`: a configuration into an object, and out of it
//! - [`managers`]: the managed fields of an object; `entries`: those of a typed one; `changes`: what a write does to them;
//!   [`conflict`]: whom it would rob
//! - `check`: whether a configuration is of its type; `last_applied`: the way from client-side apply
//! - [`names`]: of managers, and whether they are good
//!
//! Walks go as deep as the objects, which are no deeper than [`MAX_NESTING`](crate::decode::MAX_NESTING).

mod atomics;
mod changes;
mod check;
pub mod compare;
pub mod conflict;
mod differing;
pub mod element;
mod entries;
pub mod field_set;
pub mod fields;
pub mod fields_v1;
mod json;
mod last_applied;
pub mod managers;
mod merge;
pub mod names;
pub mod object_type;
mod place;
mod prune;
#[cfg(test)]
mod testing;
mod zero;

use std::fmt;

use corten_api::{ApiError, Reason};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ManagedFieldsEntry;
use serde_json::{Map, Value};

use crate::bounded_text::bounded;
use crate::schema::Shape;
use changes::Changes;
pub use check::Mismatches;
pub use conflict::Conflicts;
pub use differing::differing;
pub use field_set::FieldSet;
use fields::fields_of;
pub use managers::{Manager, Managers, ManagersError, Operation, Owned};
pub use object_type::{Convert, Converted, ObjectType, Step, Tracked, Unconverted};
use place::Place;

/// Who is said to have made what was there before the first apply of an object whose fields had no managers.
const BEFORE_FIRST_APPLY: &str = "before-first-apply";
/// Of a name or value in a message. Paths of built-in kinds are shorter.
const TOLD_BYTES_MAX: usize = 1024;
const MANAGED_FIELDS: &str = "managedFields";

/// Who writes.
#[derive(Clone, Copy, Debug)]
pub struct Author<'a> {
    /// The request's `fieldManager`, or what stands for it ([`names::manager_of_agent`]).
    pub manager: &'a str,
    /// Empty for the object itself.
    pub subresource: &'a str,
    pub now: Timestamp,
}

/// Why nothing was applied.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    #[error(transparent)]
    Conflicts(#[from] Conflicts),
    #[error("invalid object type: {0}")]
    OtherType(String),
    #[error("metadata.managedFields must be nil")]
    ManagedFieldsGiven,
    #[error("failed to create typed patch object ({object}): {mismatches}")]
    Mismatches { object: String, mismatches: Mismatches },
    #[error("failed to decode managed fields: {0}")]
    Managers(#[from] ManagersError),
}

impl From<ApplyError> for ApiError {
    fn from(err: ApplyError) -> Self {
        match err {
            ApplyError::Conflicts(conflicts) => conflicts.into(),
            // What is stored was read when it was written.
            ApplyError::Managers(_) => Self::internal(err),
            // Upstream answers 500 to mismatches, which are the client's.
            ApplyError::OtherType(_) | ApplyError::ManagedFieldsGiven | ApplyError::Mismatches { .. } => {
                Self::new(Reason::BadRequest, err.to_string())
            }
        }
    }
}

/// The managed fields of an object after a create, update or patch; `None`: it has none.
///
/// `live` is the object as it is stored, `None` for a create; `new` as it is to be, with defaults, and with the managed fields
/// that the client sent. The fields that the write sets become the author's and nobody else's; those that it removes, nobody's.
/// A client may write managed fields itself, but not through a subresource; an empty list, or one empty entry, ends all
/// tracking until somebody applies.
///
/// Never fails: managed fields that cannot be read count as none given.
///
/// Costs one walk over both objects, in which equal values allocate nothing, and reading and writing all entries. A write
/// that changes nothing costs the walk alone, and one of an object without managers nothing.
pub fn update(of: &ObjectType<'_>, live: Option<&Value>, new: &Value, author: &Author<'_>) -> Option<Value> {
    let before = live.and_then(entries);
    let given = managed_fields(new).filter(|given| author.subresource.is_empty() && !given.is_null());
    let nothing = Value::Object(Map::new());
    let mut changes = Changes::new(of, live.unwrap_or(&nothing), new);
    if live.is_some() && (given.is_none() || given == before) {
        let before = before?;
        if changes.written().is_empty() {
            return Some(before.clone());
        }
    }
    let mut managers = match given {
        Some(given) if is_reset(given) => Managers::default(),
        _ => {
            let read = |list: Option<&Value>| list.and_then(|list| Managers::read(list).ok()).unwrap_or_default();
            let given = read(given);
            if given.is_empty() { read(before) } else { given }
        }
    };
    if managers.is_empty() && live.is_some() {
        return None;
    }
    managers.fit(of, new);
    give_to_author(&mut changes, &mut managers, author);
    managers.cap();
    managers.to_value()
}

/// As [`update`], for a create that says nothing of managed fields. `new` may be anything of the object but those.
///
/// Costs a walk over the object, and a step for each of its fields.
pub fn created(of: &ObjectType<'_>, new: &Value, author: &Author<'_>) -> Vec<ManagedFieldsEntry> {
    let nothing = Value::Object(Map::new());
    let mut managers = Managers::default();
    give_to_author(&mut Changes::new(of, &nothing, new), &mut managers, author);
    managers.to_entries()
}

/// As [`update`], for an update that leaves the managed fields as they are: the entries that are there, and those that are to be.
/// `old` and `new` need have no more of the two objects than what differs ([`differing()`]) if all entries are of the version that
/// is written.
///
/// Costs a walk over both, and reading and writing all entries; these stay unread where the author owned already what it changed.
pub fn updated(
    of: &ObjectType<'_>,
    mut before: Vec<ManagedFieldsEntry>,
    old: &Value,
    new: &Value,
    author: &Author<'_>,
) -> Vec<ManagedFieldsEntry> {
    let mut changes = Changes::new(of, old, new);
    let changed = changes.written();
    if before.is_empty() || changed.is_empty() || entries::renew(&mut before, changed, of.api_version, author) {
        return before;
    }
    let mut managers = Managers::of_entries(&before).unwrap_or_default();
    if managers.is_empty() {
        return Vec::new();
    }
    managers.fit(of, new);
    give_to_author(&mut changes, &mut managers, author);
    managers.cap();
    managers.to_entries()
}

/// Applies a configuration: the object as it is to be, with its managed fields, before defaults are filled in. `None`:
/// nothing changes, neither fields nor whose they are.
///
/// `live` is the object as it is stored, `None` if the apply creates it. Fields that others own and that would change are
/// conflicts unless `force`, which takes them. Fields that others own and that are as the configuration has them are shared.
/// What the author applied before and does not now goes, unless others own it.
///
/// Costs a copy of the object, a walk over the configuration, one over both objects, and reading and writing all entries; and
/// five more walks if the author gives fields up. Kubectl's first apply after client-side ones may cost twice this.
pub fn apply(
    of: &ObjectType<'_>,
    live: Option<&Value>,
    configuration: &Value,
    author: &Author<'_>,
    force: bool,
) -> Result<Option<Value>, ApplyError> {
    check_configuration(of, configuration)?;
    let attempt = |force| merge_and_take(of, live, configuration, author, force);
    let is_kubectl = author.manager == last_applied::KUBECTL;
    let (mut object, managers) = match (attempt(force), live) {
        (Err(ApplyError::Conflicts(conflicts)), Some(live)) if is_kubectl => {
            match conflicts.without(&last_applied::allowed(of, live)) {
                Some(others) => return Err(others.into()),
                None => attempt(true)?,
            }
        }
        (done, _) => done?,
    };
    if is_kubectl {
        last_applied::renew(&mut object, configuration);
    }
    let managed = managers.to_value();
    if let Some(live) = live
        && managed.as_ref() == entries(live)
        && same_but_managed_fields(live, &object)
    {
        return Ok(None);
    }
    if let (Some(managed), Some(metadata)) = (managed, metadata_of(&mut object)) {
        metadata.insert(MANAGED_FIELDS.to_owned(), managed);
    }
    Ok(Some(object))
}

/// Why a configuration cannot be merged.
#[derive(Debug, thiserror::Error)]
pub enum MergeError {
    #[error("failed to convert patch object to typed object: {0}")]
    Mismatches(Mismatches),
    #[error("invalid ApplyConfiguration: may not mutate atomic arrays, maps or structs: {0}")]
    Atomics(String),
}

/// An object with a configuration merged into it by somebody who comes to own no fields. What is atomic nobody may say so: all that
/// he does not say of it would go.
pub fn merged(shape: Option<Shape<'_>>, object: &Value, configuration: &Value) -> Result<Value, MergeError> {
    let mismatches = Mismatches::of(shape, configuration);
    if !mismatches.is_empty() {
        return Err(MergeError::Mismatches(mismatches));
    }
    let atomics = atomics::of(shape, configuration);
    if !atomics.is_empty() {
        return Err(MergeError::Atomics(atomics.join(", ")));
    }
    let mut merged = object.clone();
    merge::merge(Place::root(shape), &mut merged, configuration);
    Ok(merged)
}

/// The object without managed fields, and its managers.
fn merge_and_take(
    of: &ObjectType<'_>,
    live: Option<&Value>,
    configuration: &Value,
    author: &Author<'_>,
    force: bool,
) -> Result<(Value, Managers), ApplyError> {
    let nothing = Value::Object(Map::new());
    let old = live.unwrap_or(&nothing);
    let mut managers = managers_before(of, live, author)?;
    let mut merged = old.clone();
    merge::merge(Place::root(of.shape), &mut merged, configuration);
    if let Some(Value::Object(metadata)) = merged.get_mut("metadata") {
        metadata.remove(MANAGED_FIELDS);
    }

    let applier = Manager::applier(author.manager, author.subresource);
    let mut fields = fields_of(of.shape, configuration);
    of.tracked.filter(&mut fields);
    let last = managers.take(&applier);
    if let Some(last) = &last {
        managers.put(applier.clone(), Owned::new(of.api_version, None, fields.clone()));
        if let Some(pruned) = prune::prune(of, &merged, last, &fields, &managers) {
            merged = pruned;
            // Whether what has nothing left is empty or null is for the configuration to say.
            merge::merge(Place::root(of.shape), &mut merged, configuration);
        }
    }
    Changes::new(of, old, &merged).take_from_others(&mut managers, Some(&applier), force)?;

    managers::strip(&mut fields);
    let is_as_before = live.is_some_and(|live| same_but_managed_fields(live, &merged));
    let time = match last {
        // The time of an entry is that of its last change.
        Some(last) if is_as_before && last.fields == fields => last.time,
        Some(_) | None => Some(author.now),
    };
    managers.put(applier, Owned::new(of.api_version, time, fields));
    Ok((merged, managers))
}

/// Those who own the object's fields before an apply. Where nobody does, all that is there is somebody's who is no more:
/// whoever applies is told of it.
fn managers_before(of: &ObjectType<'_>, live: Option<&Value>, author: &Author<'_>) -> Result<Managers, ManagersError> {
    let Some(live) = live else { return Ok(Managers::default()) };
    let mut managers = entries(live).map_or(Ok(Managers::default()), Managers::read)?;
    if managers.is_empty() {
        let nothing = Value::Object(Map::new());
        let before = Author { manager: BEFORE_FIRST_APPLY, ..*author };
        give_to_author(&mut Changes::new(of, &nothing, live), &mut managers, &before);
    }
    managers.fit(of, live);
    Ok(managers)
}

/// Gives what an update changed to its author, and takes it from all others.
fn give_to_author(changes: &mut Changes<'_, '_>, managers: &mut Managers, author: &Author<'_>) {
    let api_version = changes.api_version();
    // Nobody is asked: whoever updates overwrites.
    let _taken = changes.take_from_others(managers, None, true);
    let mut fields = changes.written().set.clone();
    if fields.is_empty() {
        return;
    }
    let updater = Manager::updater(author.manager, api_version, author.subresource);
    if let Some(before) = managers.take(&updater) {
        fields.unite(before.fields);
    }
    managers.put(updater, Owned::new(api_version, Some(author.now), fields));
}

/// Whether a configuration is one of an object of this type: what [`apply`] asks first.
pub fn check_configuration(of: &ObjectType<'_>, configuration: &Value) -> Result<(), ApplyError> {
    let text = |value: Option<&Value>| value.and_then(Value::as_str).unwrap_or_default().to_owned();
    let (api_version, kind) = (text(configuration.get("apiVersion")), text(configuration.get("kind")));
    let (group, version) = api_version.split_once('/').unwrap_or(("", &api_version));
    let object_type = || format!("{group}/{version}, Kind={kind}");
    if api_version != of.api_version || kind != of.kind {
        return Err(ApplyError::OtherType(told(object_type())));
    }
    if managed_fields(configuration).is_some_and(|list| !list.is_null()) {
        return Err(ApplyError::ManagedFieldsGiven);
    }
    let mismatches = Mismatches::of(of.shape, configuration);
    if mismatches.is_empty() {
        return Ok(());
    }
    let metadata = |field| text(configuration.get("metadata").and_then(|metadata| metadata.get(field)));
    let object = told(format_args!("{}/{}; {}", metadata("namespace"), metadata("name"), object_type()));
    Err(ApplyError::Mismatches { object, mismatches })
}

/// Whether a client wants no managed fields: it says that there are none, or one of nobody.
fn is_reset(given: &Value) -> bool {
    match given.as_array().map(Vec::as_slice) {
        Some([]) => true,
        Some([only]) => only.as_object().is_some_and(Map::is_empty),
        Some(_) | None => false,
    }
}

fn managed_fields(object: &Value) -> Option<&Value> {
    object.get("metadata")?.get(MANAGED_FIELDS)
}

/// The managed fields of an object that has some.
fn entries(object: &Value) -> Option<&Value> {
    managed_fields(object).filter(|list| list.as_array().is_some_and(|list| !list.is_empty()))
}

/// The metadata of an object, made if it has none.
fn metadata_of(object: &mut Value) -> Option<&mut Map<String, Value>> {
    let metadata = object.as_object_mut()?.entry("metadata").or_insert_with(|| Value::Object(Map::new()));
    if metadata.is_null() {
        *metadata = Value::Object(Map::new());
    }
    metadata.as_object_mut()
}

fn same_but_managed_fields(one: &Value, other: &Value) -> bool {
    same_but(&["metadata", MANAGED_FIELDS], one, other)
}

/// Whether two values are the same but for what stands at `path`.
fn same_but(path: &[&str], one: &Value, other: &Value) -> bool {
    let (Some((apart, rest)), Value::Object(these), Value::Object(those)) = (path.split_first(), one, other) else {
        return path.is_empty() || compare::same(one, other);
    };
    let count = |fields: &Map<String, Value>| fields.len() - usize::from(fields.contains_key(*apart));
    let mut parts = these.iter().filter(|(name, _)| name != apart);
    count(these) == count(those)
        && parts.all(|(name, one)| those.get(name).is_some_and(|other| compare::same(one, other)))
        && match (these.get(*apart), those.get(*apart)) {
            (Some(one), Some(other)) => same_but(rest, one, other),
            (None, None) => true,
            (Some(_), None) | (None, Some(_)) => rest.is_empty(),
        }
}

fn told(shown: impl fmt::Display) -> String {
    bounded(shown, TOLD_BYTES_MAX)
}

#[cfg(test)]
mod tests;

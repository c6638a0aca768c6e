//! `metadata.managedFields` as typed objects have it: read and written, and renewed where that needs no reading.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{FieldsV1, ManagedFieldsEntry, Time};
use serde_json::Value;

use super::changes::Changed;
use super::element::Element;
use super::field_set::FieldSet;
use super::managers::{
    FIELDS_TYPE, Manager, Managers, ManagersError, Operation, Owned, Said, UPDATE_ENTRIES_MAX, to_the_second,
};
use super::{Author, fields_v1};

impl Managers {
    /// Reads the entries of an object. Of several of one manager the last counts.
    pub fn of_entries(entries: &[ManagedFieldsEntry]) -> Result<Self, ManagersError> {
        let read = |(at, entry): (usize, &ManagedFieldsEntry)| {
            let said = Said {
                manager: text(entry.manager.as_ref()),
                operation: text(entry.operation.as_ref()),
                api_version: text(entry.api_version.as_ref()),
                subresource: text(entry.subresource.as_ref()),
                fields_type: text(entry.fields_type.as_ref()),
                fields: fields(entry),
            };
            said.read(at, || Ok(entry.time.as_ref().map(|time| time.0)))
        };
        entries.iter().enumerate().map(read).collect()
    }

    /// The entries of an object, in the order that [`to_value`](Self::to_value) has.
    pub fn to_entries(&self) -> Vec<ManagedFieldsEntry> {
        self.in_order().into_iter().map(|(manager, owned)| written(manager, owned)).collect()
    }
}

fn text(field: Option<&String>) -> &str {
    field.map_or("", String::as_str)
}

fn fields(entry: &ManagedFieldsEntry) -> &Value {
    entry.fields_v1.as_ref().map_or(&Value::Null, |fields| &fields.0)
}

fn written(manager: &Manager, owned: &Owned) -> ManagedFieldsEntry {
    let unless_empty = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    ManagedFieldsEntry {
        manager: unless_empty(&manager.name),
        operation: Some(manager.operation.as_str().to_owned()),
        api_version: Some(owned.api_version.clone()),
        time: owned.time.map(Time),
        fields_type: Some(FIELDS_TYPE.to_owned()),
        fields_v1: Some(FieldsV1(owned.fields.to_fields_v1())),
        subresource: unless_empty(&manager.subresource),
    }
}

/// Renews the entries after an update by somebody who owns all that it set already, where nobody else owns any of that and nobody
/// owns what it removed: its entry has another time, and that is all. Most updates are such, of controllers above all, and this costs
/// them a look-up for each field that they changed, however many there are in all. `false`: more than that may have changed.
///
/// What has become atomic since it was written ([`Managers::fit`]) stays as it is written until somebody comes to own more, or less.
pub(super) fn renew(
    entries: &mut [ManagedFieldsEntry],
    changed: &Changed,
    api_version: &str,
    author: &Author<'_>,
) -> bool {
    let is_update = |entry: &ManagedFieldsEntry| text(entry.operation.as_ref()) == Operation::Update.as_str();
    let is_known = |entry: &ManagedFieldsEntry| {
        text(entry.api_version.as_ref()) == api_version
            && text(entry.fields_type.as_ref()) == FIELDS_TYPE
            && (is_update(entry) || text(entry.operation.as_ref()) == Operation::Apply.as_str())
    };
    let is_authors = |entry: &ManagedFieldsEntry| {
        is_update(entry)
            && text(entry.manager.as_ref()) == author.manager
            && text(entry.subresource.as_ref()) == author.subresource
    };
    let is_as_before = |entry: &ManagedFieldsEntry| {
        let fields = fields(entry);
        let has = if is_authors(entry) { has_all } else { has_none };
        is_known(entry) && has(fields, &changed.set) && has_none(fields, &changed.removed)
    };
    let updates = entries.iter().filter(|entry| is_update(entry)).count();
    let authors = entries.iter().filter(|entry| is_authors(entry)).count();
    if authors != 1 || updates > UPDATE_ENTRIES_MAX || !entries.iter().all(is_as_before) {
        return false;
    }
    let now = Some(Time(to_the_second(author.now)));
    entries.iter_mut().filter(|entry| is_authors(entry)).for_each(|entry| entry.time.clone_from(&now));
    entries.sort_by(|one, other| order(one).cmp(&order(other)));
    true
}

/// As [`Managers::in_order`] has it.
fn order(entry: &ManagedFieldsEntry) -> (bool, i64, &str, &str, &str) {
    let is_update = text(entry.operation.as_ref()) == Operation::Update.as_str();
    let seconds = entry.time.as_ref().map_or(0, |time| time.0.as_second());
    (
        is_update,
        seconds,
        text(entry.manager.as_ref()),
        text(entry.api_version.as_ref()),
        text(entry.subresource.as_ref()),
    )
}

/// Whether all of `set` is in these fields. No, too, where only reading them all can tell.
fn has_all(fields: &Value, set: &FieldSet) -> bool {
    let mut key = String::new();
    set.nodes().iter().all(|node| {
        let Some(found) = at(fields, &node.element, &mut key) else { return false };
        (!node.member || is_member(found)) && has_all(found, &node.below)
    })
}

/// Whether none of `set` is in these fields, and nothing below one that is. No, too, where only reading them all can tell.
fn has_none(fields: &Value, set: &FieldSet) -> bool {
    let mut key = String::new();
    set.nodes().iter().all(|node| match at(fields, &node.element, &mut key) {
        Some(found) => !node.member && has_none(found, &node.below),
        None => !has_others_like(fields, &node.element),
    })
}

fn at<'f>(fields: &'f Value, element: &Element, key: &mut String) -> Option<&'f Value> {
    key.clear();
    element.push_key(key);
    fields.get(key.as_str())
}

/// Whether there are items here that may be `element`, written in another way.
fn has_others_like(fields: &Value, element: &Element) -> bool {
    let sort = match element {
        // There is one way to write these.
        Element::Field(_) => return false,
        Element::Key(_) => "k:",
        Element::Value(_) => "v:",
        Element::Index(_) => "i:",
    };
    fields.as_object().is_some_and(|fields| fields.keys().any(|key| key.starts_with(sort)))
}

/// Whether what leads here is a field of its set.
fn is_member(fields: &Value) -> bool {
    fields.as_object().is_none_or(|fields| fields.is_empty() || fields.contains_key(fields_v1::SELF))
}

#[cfg(test)]
mod tests;

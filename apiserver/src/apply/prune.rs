//! Taking away what an applier no longer applies and nobody else owns.

use serde_json::Value;

use super::element::Element;
use super::field_set::FieldSet;
use super::fields::{fields_of, with_structs};
use super::managers::{Managers, Owned, strip};
use super::object_type::{Converted, ObjectType};
use super::place::{Form, Place};
use crate::schema::Shape;

/// Takes out of `merged` what its applier owned until now, as `last` says, and what nobody in `managers` owns, the applier
/// as of `now` among them. An item that goes takes along what is in it, and a struct goes with the last of its fields that
/// somebody owned. What nobody ever owned stays otherwise. `None`: nothing is given up, or a version that is needed to tell
/// is not served.
///
/// Costs a look at the two sets if the applier gave nothing up. If it did: five walks over the object, and two conversions for
/// each other version that somebody owns fields in.
pub(super) fn prune(
    of: &ObjectType<'_>,
    merged: &Value,
    last: &Owned,
    now: &FieldSet,
    managers: &Managers,
) -> Option<Value> {
    if last.api_version == of.api_version && now.contains(&last.fields) {
        return None;
    }
    let merged = InVersion { api_version: of.api_version, object: merged.clone(), shape: of.shape };
    let whole = merged.to(of, &last.api_version)?;
    let mut last = last.fields.clone();
    with_structs(&mut last, Place::root(whole.shape));
    // The object's name and its like stay, whoever owns what beside them.
    strip(&mut last);
    let mut kept = whole.without(&last);
    // First in the version that was just taken from: another may need, to be made at all, what comes back here.
    let mut versions = managers.versions();
    versions.sort_by_key(|version| *version != whole.api_version);
    for version in versions {
        let (Some(whole), Some(still)) = (whole.to(of, version), kept.to(of, version)) else { continue };
        let mut owned = managers.owned_in(version);
        with_structs(&mut owned, Place::root(whole.shape));
        let mut gone = whole.fields();
        gone.subtract(&still.fields());
        gone.subtract(&owned);
        kept = whole.without(&gone);
    }
    let kept = kept.to(of, whole.api_version)?;
    // What went along with what the applier owned, and was not its own, comes back.
    let mut gone = whole.fields();
    gone.subtract(&kept.fields());
    whole.without(&gone.intersection(&last)).to(of, of.api_version).map(|done| done.object)
}

/// An object in some version.
#[derive(Clone)]
struct InVersion<'v, 'a> {
    api_version: &'v str,
    object: Value,
    shape: Option<Shape<'a>>,
}

impl<'a> InVersion<'_, 'a> {
    fn to<'v>(&self, of: &ObjectType<'a>, api_version: &'v str) -> Option<InVersion<'v, 'a>> {
        if self.api_version == api_version {
            return Some(InVersion { api_version, object: self.object.clone(), shape: self.shape });
        }
        let Converted { object, shape } = (of.convert)(&self.object, api_version).ok()?;
        Some(InVersion { api_version, object, shape })
    }
    /// All its fields, and the structs that they are in.
    fn fields(&self) -> FieldSet {
        let mut fields = fields_of(self.shape, &self.object);
        with_structs(&mut fields, Place::root(self.shape));
        fields
    }
    fn without(&self, gone: &FieldSet) -> Self {
        let mut object = self.object.clone();
        remove(Place::root(self.shape), &mut object, gone);
        Self { object, ..*self }
    }
}

/// Takes `gone` out of a value. A struct that has nothing left stays, since somebody owns it as it is; a map or a list becomes
/// null, which is what Go has where there is nothing.
fn remove(place: Place<'_>, value: &mut Value, gone: &FieldSet) {
    let is_empty = match (place.form(Some(&*value), None), &mut *value) {
        (Form::Object, Value::Object(fields)) if !fields.is_empty() => {
            for node in gone.nodes() {
                let Element::Field(name) = &node.element else { continue };
                if node.member {
                    fields.remove(&**name);
                } else if let Some(field) = fields.get_mut(&**name) {
                    remove(place.part(name).place, field, &node.below);
                }
            }
            fields.is_empty() && !place.is_struct()
        }
        (Form::Items(items), Value::Array(list)) if !list.is_empty() => {
            list.retain_mut(|item| {
                let Some(node) = items.element(item).ok().and_then(|element| gone.node(&element)) else { return true };
                if !node.member {
                    remove(items.place, item, &node.below);
                }
                !node.member
            });
            list.is_empty()
        }
        (Form::Leaf | Form::Object | Form::Items(_), _) => false,
    };
    if is_empty {
        *value = Value::Null;
    }
}

#[cfg(test)]
mod tests;

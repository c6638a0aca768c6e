//! ResourceQuota, the half that reckons: what a write changes in which quotas, and the words of a refusal. Pure.
//!
//! `status.used` of a quota is the sum of what the objects take that it counts. Every write of such an object changes it by
//! what the object takes afterwards less what it took before: a write of less than nothing gives back. Whoever commits the
//! write commits [`Charge`]s with it, each on condition that its quota is as it was; [`taken`] is for counting anew.
//! <https://kubernetes.io/docs/concepts/policy/resource-quotas/>

mod counted;
mod devices;
mod pods;
mod scopes;

use corten_api::quantity::Quantity;
use k8s_openapi::api::core::v1::ResourceQuota;

use crate::registry::AnyObject;
use crate::registry::quantities::{List, Wires, add, parsed, text};
use counted::Counted;

/// A write of one object in a namespace.
#[derive(Clone, Copy)]
pub struct Change<'a> {
    pub group: &'a str,
    pub plural: &'a str,
    pub subresource: &'a str,
    /// As it is; `None`: it is made.
    pub old: Option<&'a dyn AnyObject>,
    /// As it is to be stored; `None`: it goes.
    pub new: Option<&'a dyn AnyObject>,
}

/// What a write changes in one quota.
#[derive(Clone, Debug, PartialEq)]
pub struct Charge {
    /// The quota's name.
    pub quota: String,
    /// Its `status.used`, once the write is done.
    pub used: Wires,
}

/// What the write changes in these quotas, which are all of its namespace; a quota that it does not change is not among
/// them. An error is the reason of a refusal, for [`corten_api::ApiError::forbidden`]. `now_secs`: Unix time.
pub fn charges(change: &Change<'_>, quotas: &[ResourceQuota], now_secs: i64) -> Result<Vec<Charge>, String> {
    let Some(counted) = Counted::of(change.group, change.plural) else { return Ok(Vec::new()) };
    let is_checked = counted.is_checked(change);
    let mut charges = Vec::new();
    for quota in quotas {
        charges.extend(charge(&counted, change, quota, is_checked, now_secs)?);
    }
    Ok(charges)
}

fn charge(
    counted: &Counted,
    change: &Change<'_>,
    quota: &ResourceQuota,
    is_checked: bool,
    now_secs: i64,
) -> Result<Option<Charge>, String> {
    let status = quota.status.as_ref();
    let mut hard = parsed(status.and_then(|status| status.hard.as_ref()));
    hard.retain(|name, _| counted.tracks(name));
    if hard.is_empty() {
        return Ok(None);
    }
    let usage = |object: Option<&dyn AnyObject>| {
        object.filter(|object| scopes::all_match(quota, *object)).map(|object| counted.usage(object, now_secs))
    };
    let (old, new) = (usage(change.old), usage(change.new));
    let name = quota.metadata.name.as_deref().unwrap_or_default();
    if let (true, Some(usage), Some(object)) = (is_checked, &new, change.new) {
        counted.constraints(&hard, object).map_err(|why| format!("failed quota: {name}: {why}"))?;
        let negative: Vec<&str> =
            usage.iter().filter(|(_, n)| n.is_negative()).map(|(name, _)| name.as_str()).collect();
        if !negative.is_empty() {
            return Err(format!("quota usage is negative for resource(s): {}", negative.join(",")));
        }
    }
    let delta = difference(&old.unwrap_or_default(), &new.unwrap_or_default(), &hard);
    if delta.is_empty() {
        return Ok(None);
    }
    let mut used = parsed(status.and_then(|status| status.used.as_ref()));
    if is_checked {
        if hard.keys().any(|name| !used.contains_key(name)) {
            let names: Vec<&str> = hard.keys().map(String::as_str).collect();
            return Err(format!("status unknown for quota: {name}, resources: {}", names.join(",")));
        }
        within(name, &hard, &used, &delta)?;
    }
    // What was never counted is counted with all else, when somebody does.
    let known: List = delta.into_iter().filter(|(resource, _)| used.contains_key(resource)).collect();
    if known.is_empty() {
        return Ok(None);
    }
    add(&mut used, &known);
    let none = Quantity::default();
    used.values_mut().filter(|sum| sum.is_negative()).for_each(|sum| *sum = none);
    let used = used.into_iter().map(|(name, amount)| (name, amount.to_wire())).collect();
    Ok(Some(Charge { quota: name.to_owned(), used }))
}

/// What changes of the resources in `of`.
fn difference(old: &List, new: &List, of: &List) -> List {
    let amount = |list: &List, name: &String| list.get(name).copied().unwrap_or_default();
    let deltas = of.keys().map(|name| (name.clone(), amount(new, name) - amount(old, name)));
    deltas.filter(|(_, delta)| !delta.is_zero()).collect()
}

/// Whether what is asked for more is still there.
fn within(quota: &str, hard: &List, used: &List, delta: &List) -> Result<(), String> {
    let mut asked = delta.clone();
    asked.retain(|name, more| {
        let after = used.get(name).copied().unwrap_or_default() + *more;
        !more.is_negative() && hard.get(name).is_some_and(|most| after > *most)
    });
    if asked.is_empty() {
        return Ok(());
    }
    let of_these = |list: &List| {
        let mut list = list.clone();
        list.retain(|name, _| asked.contains_key(name));
        text(&list)
    };
    Err(format!(
        "exceeded quota: {quota}, requested: {}, used: {}, limited: {}",
        text(&asked),
        of_these(used),
        of_these(hard)
    ))
}

/// Whether a write of this kind can change what is used. `changes`: the object is there before and afterwards.
pub fn may_change(group: &str, plural: &str, changes: bool) -> bool {
    Counted::of(group, plural).is_some_and(|counted| !changes || !counted.is_numbered())
}

/// Objects of one kind, for counting.
pub enum Objects<'a> {
    /// How many there are: of kinds whose objects count for nothing else.
    Number(usize),
    Each(Vec<&'a dyn AnyObject>),
}

/// Whether a quota counts objects of a kind at all, and if so whether their number is enough.
pub fn needs(quota: &ResourceQuota, group: &str, plural: &str) -> Option<Needs> {
    let counted = Counted::of(group, plural)?;
    let mut hard = hard(quota);
    let is_tracked = hard.any(|name| counted.tracks(name));
    is_tracked.then(|| if counted.is_numbered() { Needs::Number } else { Needs::Each })
}

/// What must be known of objects to count them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Needs {
    Number,
    Each,
}

fn hard(quota: &ResourceQuota) -> impl Iterator<Item = &String> {
    quota.spec.iter().filter_map(|spec| spec.hard.as_ref()).flatten().map(|(name, _)| name)
}

/// What the objects of one kind in a namespace take of the quota: for counting its `status.used` anew, by `spec.hard`. What
/// is not tracked by the kind is not in it; what is, and nobody takes, is zero.
pub fn taken(quota: &ResourceQuota, (group, plural): (&str, &str), objects: &Objects<'_>, now_secs: i64) -> List {
    let Some(counted) = Counted::of(group, plural) else { return List::new() };
    let tracked = hard(quota).filter(|name| counted.tracks(name));
    let mut sum: List = tracked.map(|name| (name.clone(), Default::default())).collect();
    let mut take = |mut usage: List| {
        usage.retain(|name, _| sum.contains_key(name));
        add(&mut sum, &usage);
    };
    match objects {
        // No such object is in any scope.
        Objects::Number(_) if scopes::are_any(quota) => {}
        Objects::Number(number) => take(counted.usage_of(*number)),
        Objects::Each(objects) => {
            let mine = objects.iter().filter(|object| scopes::all_match(quota, **object));
            mine.for_each(|object| take(counted.usage(*object, now_secs)));
        }
    }
    sum
}

#[cfg(test)]
mod tests;

//! Whose fields are whose: what a write does to `metadata.managedFields`, and what an apply makes of an object.
//!
//! The rules are [`crate::apply`]'s, over JSON; here objects become that and come back.

mod asked;

use std::borrow::Cow;
use std::sync::LazyLock;

use corten_api::ApiError;
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ManagedFieldsEntry;
use serde_json::Value;

use super::place::Place;
use super::revise::Current;
use super::{Resources, WriteOptions};
use crate::apply::element::Element;
use crate::apply::{self, Author, Converted, ObjectType, Step, Tracked, Unconverted};
use crate::registry::{AnyObject, ApiResource, Conversion, Table};

/// Who writes what no client asked for: upstream's name of this server.
const ITSELF: &str = "kube-apiserver";

/// What an apply asks for.
pub(super) struct Configuration {
    pub(super) value: Value,
    pub(super) force: bool,
}

/// What becomes of a write if a webhook does not convert what somebody owns fields of in another version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum WhenUnconverted {
    /// It is refused.
    Refuse,
    /// It is done, and whoever owns fields in that version owns the same afterwards: a webhook that is down keeps nobody from writing
    /// in the version that is stored, above all not who lets objects go.
    Keep,
}

/// Gives the fields that a create (`live`: `None`) or an update sets to who writes.
pub(super) async fn note(
    resources: &Resources,
    place: &Place<'_>,
    live: Option<&Current>,
    object: &mut dyn AnyObject,
    (subresource, options): (&str, &WriteOptions),
) -> Result<(), ApiError> {
    let (author, keep) = (author(subresource, options), WhenUnconverted::Keep);
    // Through a subresource nobody says whose fields are whose.
    let given = object.meta().managed_fields.as_deref().filter(|_| subresource.is_empty());
    let managed = match (live, given) {
        (None, None) => {
            let new = object.to_value().map_err(ApiError::internal)?;
            let created = |of: &ObjectType<'_>, ()| apply::created(of, &new, &author);
            Some(in_type(resources, place, subresource, keep, (), created).await?)
        }
        (Some(live), given) if given.is_none_or(|given| given == entries(&*live.object)) => {
            let (old, new) = as_far_as_needed(place, live, object)?;
            let is_as_before = entries(object) == entries(&*live.object);
            let before = if is_as_before { object.meta_mut().managed_fields.take() } else { None };
            let before = before.unwrap_or_else(|| entries(&*live.object).to_vec());
            let updated = |of: &ObjectType<'_>, before| apply::updated(of, before, &old, &new, &author);
            Some(in_type(resources, place, subresource, keep, before, updated).await?)
        }
        (live, Some(_)) | (live @ Some(_), None) => {
            let (old, new) = (live.map(Current::value).transpose()?, object.to_value().map_err(ApiError::internal)?);
            let updated = |of: &ObjectType<'_>, ()| apply::update(of, old, &new, &author);
            let managed = in_type(resources, place, subresource, keep, (), updated).await?;
            managed.map(serde_json::from_value).transpose().map_err(ApiError::internal)?
        }
    };
    object.meta_mut().managed_fields = managed.filter(|entries| !entries.is_empty());
    Ok(())
}

fn entries(object: &dyn AnyObject) -> &[ManagedFieldsEntry] {
    object.meta().managed_fields.as_deref().unwrap_or_default()
}

/// An object as it is and as it is to be: what differs, or all of both where somebody owns fields in another version, into which
/// they have to be converted. Nothing of them where nobody owns anything.
fn as_far_as_needed<'l>(
    place: &Place<'_>,
    live: &'l Current,
    object: &dyn AnyObject,
) -> Result<(Cow<'l, Value>, Value), ApiError> {
    let api_version = place.resource.api_version();
    if entries(&*live.object).is_empty() {
        return Ok((Cow::Owned(Value::Null), Value::Null));
    }
    if entries(&*live.object).iter().any(|entry| entry.api_version.as_ref() != Some(&api_version)) {
        return Ok((Cow::Borrowed(live.value()?), object.to_value().map_err(ApiError::internal)?));
    }
    let new = object.to_json().map_err(ApiError::internal)?;
    let text = |json| str::from_utf8(json).map_err(ApiError::internal);
    let (old, new) = apply::differing(text(&live.json)?, text(&new)?).map_err(ApiError::internal)?;
    Ok((Cow::Owned(old), new))
}

/// The object that an apply makes of `live`, or makes anew; `None`: nothing changes.
pub(super) async fn applied(
    resources: &Resources,
    place: &Place<'_>,
    live: Option<&Current>,
    configuration: &Configuration,
    subresource: &str,
    options: &WriteOptions,
) -> Result<Option<Value>, ApiError> {
    let old = live.map(Current::value).transpose()?;
    let author = author(subresource, options);
    let applied = |of: &ObjectType<'_>, ()| apply::apply(of, old, &configuration.value, &author, configuration.force);
    in_type(resources, place, subresource, WhenUnconverted::Refuse, (), applied).await?.map_err(ApiError::from)
}

/// A write that changed nothing but the times of its managed fields is none. What it changed may have been changed back since, by
/// defaults or by who prepares or admits it.
pub(super) fn keep_times(live: &dyn AnyObject, object: &mut dyn AnyObject) {
    let (before, after) = (entries(live), entries(object));
    if before == after || !differ_in_times_alone(before, after) {
        return;
    }
    let after = std::mem::replace(&mut object.meta_mut().managed_fields, live.meta().managed_fields.clone());
    if !object.same_as(live) {
        object.meta_mut().managed_fields = after;
    }
}

/// Times say in which order they stand, too.
fn differ_in_times_alone(before: &[ManagedFieldsEntry], after: &[ManagedFieldsEntry]) -> bool {
    let timeless = |entries: &[ManagedFieldsEntry]| {
        let mut timeless: Vec<_> =
            entries.iter().map(|entry| ManagedFieldsEntry { time: None, ..entry.clone() }).collect();
        timeless.sort_by(|a, b| {
            let key = |of: &ManagedFieldsEntry| {
                (of.manager.clone(), of.operation.clone(), of.subresource.clone(), of.api_version.clone())
            };
            key(a).cmp(&key(b))
        });
        timeless
    };
    before.len() == after.len() && timeless(before) == timeless(after)
}

fn author<'a>(subresource: &'a str, options: &'a WriteOptions) -> Author<'a> {
    let manager = if options.field_manager.is_empty() { ITSELF } else { &options.field_manager };
    Author { manager, subresource, now: Timestamp::now() }
}

/// What is written, but for how it is converted.
struct Of<'a> {
    resource: &'a ApiResource,
    api_version: &'a str,
    tracked: &'a Tracked,
}

impl Of<'_> {
    fn converted_by<'c>(&'c self, convert: &'c apply::Convert<'c>) -> ObjectType<'c> {
        let Self { resource, api_version, tracked } = *self;
        ObjectType { api_version, kind: resource.kind(), shape: resource.shape(), tracked, convert }
    }
}

/// Calls `with` with the type of what is written; again, each time that a webhook has converted what it wanted to have converted.
async fn in_type<A: Clone, T>(
    resources: &Resources,
    place: &Place<'_>,
    subresource: &str,
    when_unconverted: WhenUnconverted,
    argument: A,
    with: impl Fn(&ObjectType<'_>, A) -> T,
) -> Result<T, ApiError> {
    let (resource, table) = (&place.resource, resources.registry().table());
    // Where a custom kind has its replicas, its definition says.
    let own = (subresource == "scale" && resource.is_custom()).then(|| {
        let path = resource.rules().replicas_path();
        only(&path.iter().map(String::as_str).collect::<Vec<_>>())
    });
    let api_version = resource.api_version();
    let tracked = own.as_ref().unwrap_or_else(|| tracked(subresource, resource.has_subresource("status")));
    let of = Of { resource, api_version: &api_version, tracked };
    let Some(Conversion::Webhook(webhook)) = resource.conversion() else {
        let local = |object: &Value, to: &str| converted(&table, resource.store_prefix(), object, to);
        return Ok(with(&of.converted_by(&local), argument));
    };
    let (converter, mut known) = (resources.converter(webhook), asked::Known::default());
    for rounds_left in (0..asked::ROUNDS_MAX).rev() {
        let missing = asked::Missing::default();
        let done = {
            let as_known = |object: &Value, to: &str| {
                let to_there = served(&table, resource.store_prefix(), to).ok_or(Unconverted::NotServed)?;
                let object = known.find(object, to, &missing).ok_or(Unconverted::Unknown)?;
                Ok(Converted { object, shape: to_there.shape() })
            };
            with(&of.converted_by(&as_known), argument.clone())
        };
        let Some((objects, to)) = missing.next() else { return Ok(done) };
        let json: Result<Vec<_>, _> = objects.iter().map(|object| serde_json::to_vec(object).map(Into::into)).collect();
        let converted = match rounds_left {
            0 => Err(ApiError::internal("whose fields are whose is not to be found out in so few conversions")),
            _ => converter.converted(json.map_err(ApiError::internal)?, &to, false).await,
        };
        match (converted, when_unconverted) {
            (Ok(converted), _) => known.add(objects, &to, &converted)?,
            (Err(err), WhenUnconverted::Refuse) => return Err(err),
            // What is not known was left as it was.
            (Err(err), WhenUnconverted::Keep) => {
                let (kind, to) = (resource.kind(), to.as_str());
                tracing::warn!(%err, kind, to, "what is written is whose it was in another version");
                return Ok(done);
            }
        }
    }
    Err(ApiError::internal("whose fields are whose was not asked"))
}

fn served<'t>(table: &'t Table, stored_as: &str, version: &str) -> Option<&'t ApiResource> {
    table.iter().find(|r| r.store_prefix() == stored_as && r.api_version() == version).map(|resource| &**resource)
}

/// An object in another of the versions that it is served in: somebody may own fields of it there.
fn converted<'t>(table: &'t Table, stored_as: &str, object: &Value, to: &str) -> Result<Converted<'t>, Unconverted> {
    let served = |version: &str| served(table, stored_as, version).ok_or(Unconverted::NotServed);
    let (from, to) = (served(object.get("apiVersion").and_then(Value::as_str).unwrap_or_default())?, served(to)?);
    let convert = || -> Result<Value, serde_json::Error> {
        let mut json = serde_json::to_vec(object)?;
        if let Some(Conversion::Local(conversion)) = from.conversion() {
            json = (conversion.to_stored)(&json)?;
        }
        if let Some(Conversion::Local(conversion)) = to.conversion() {
            json = (conversion.from_stored)(&json)?;
        }
        serde_json::from_slice(&json)
    };
    let object = convert().map_err(|err| {
        tracing::warn!(%err, ?to, "what is written is whose it was there");
        Unconverted::Unknown
    })?;
    Ok(Converted { object, shape: to.shape() })
}

static ALL_BUT_STATUS: LazyLock<Tracked> = LazyLock::new(|| Tracked::all_but(&["status"]));
static ALL_BUT_SPEC: LazyLock<Tracked> = LazyLock::new(|| Tracked::all_but(&["spec"]));
static REPLICAS: LazyLock<Tracked> = LazyLock::new(|| only(&["spec", "replicas"]));
static FINALIZERS: LazyLock<Tracked> = LazyLock::new(|| only(&["spec", "finalizers"]));
static EPHEMERAL_CONTAINERS: LazyLock<Tracked> = LazyLock::new(|| only(&["spec", "ephemeralContainers"]));
static RESOURCES: LazyLock<Tracked> = LazyLock::new(|| {
    let mut ways = vec![way(&["spec", "resources"])];
    for list in ["containers", "initContainers"] {
        for field in ["resources", "resizePolicy"] {
            ways.push([way(&["spec", list]), vec![Step::Any], way(&[field])].concat());
        }
    }
    Tracked::Only(ways)
});

fn only(path: &[&str]) -> Tracked {
    Tracked::Only(vec![way(path)])
}
fn way(path: &[&str]) -> Vec<Step> {
    path.iter().map(|name| Step::To(Element::field(name))).collect()
}

/// The fields that a write can set: those of the others do not become its author's, whatever it says of them.
fn tracked(subresource: &str, has_status: bool) -> &'static Tracked {
    match subresource {
        "" if has_status => &ALL_BUT_STATUS,
        "status" => &ALL_BUT_SPEC,
        "scale" => &REPLICAS,
        "finalize" => &FINALIZERS,
        "ephemeralcontainers" => &EPHEMERAL_CONTAINERS,
        "resize" => &RESOURCES,
        _ => &Tracked::All,
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::ConfigMap;
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
    use serde_json::json;

    use super::*;

    #[test]
    fn a_write_that_came_to_nothing_keeps_its_times() {
        let object = |second: i64, fields: Value, text: &str| -> ConfigMap {
            let time = Timestamp::from_second(second).unwrap().to_string();
            let entry = json!({"manager": "one", "operation": "Update", "apiVersion": "v1", "time": time, "fieldsType": "FieldsV1", "fieldsV1": fields});
            serde_json::from_value(json!({"metadata": {"name": "x", "managedFields": [entry]}, "data": {"text": text}}))
                .unwrap()
        };
        let fields = || json!({"f:data": {"f:text": {}}});
        let live = object(1, fields(), "a");
        for (why, new, kept) in [
            ("nothing but the time", object(2, fields(), "a"), true),
            ("a field", object(2, fields(), "b"), false),
            ("an owner", object(2, json!({"f:data": {"f:text": {}, "f:number": {}}}), "a"), false),
        ] {
            let mut settled = new.clone();
            keep_times(&live, &mut settled);
            assert_eq!(&settled, if kept { &live } else { &new }, "{why}");
        }
        // Whoever was the last stands behind the others.
        let two = |seconds: [(&str, i64); 2]| {
            let mut two = object(1, fields(), "a");
            let one = two.metadata.managed_fields.take().unwrap().remove(0);
            let entry = |(name, second): (&str, i64)| {
                let time = Some(Time(Timestamp::from_second(second).unwrap()));
                ManagedFieldsEntry { manager: Some(name.into()), time, ..one.clone() }
            };
            two.metadata.managed_fields = Some(seconds.into_iter().map(entry).collect());
            two
        };
        let (live, mut again) = (two([("a", 1), ("b", 1)]), two([("b", 1), ("a", 2)]));
        keep_times(&live, &mut again);
        assert_eq!(again, live);
        let live = object(1, fields(), "a");
        for managed in [None, Some(Vec::new())] {
            let mut without = live.clone();
            without.metadata.managed_fields = managed;
            let mut new = object(2, fields(), "a");
            keep_times(&without, &mut new);
            assert_eq!(new, object(2, fields(), "a"));
            let mut new = without.clone();
            keep_times(&live, &mut new);
            assert_eq!(new, without);
        }
    }
}

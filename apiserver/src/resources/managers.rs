//! Whose fields are whose: what a write does to `metadata.managedFields`, and what an apply makes of an object.
//!
//! The rules are [`crate::apply`]'s, over JSON; here objects become that and come back.

use std::sync::LazyLock;

use corten_api::ApiError;
use jiff::Timestamp;
use serde_json::Value;

use super::WriteOptions;
use super::place::Place;
use super::revise::Current;
use crate::apply::element::Element;
use crate::apply::{self, Author, Converted, ObjectType, Step, Tracked};
use crate::registry::{AnyObject, Registry, Table};

/// Who writes what no client asked for: upstream's name of this server.
const ITSELF: &str = "kube-apiserver";

/// What an apply asks for.
pub(super) struct Configuration {
    pub(super) value: Value,
    pub(super) force: bool,
}

/// Gives the fields that a create (`live`: `None`) or an update sets to who writes.
pub(super) fn note(
    registry: &Registry,
    place: &Place<'_>,
    live: Option<&Current>,
    object: &mut dyn AnyObject,
    subresource: &str,
    options: &WriteOptions,
) -> Result<(), ApiError> {
    let old = live.map(Current::value).transpose()?;
    let new = object.to_value().map_err(ApiError::internal)?;
    let managed =
        in_type(registry, place, subresource, |of| apply::update(of, old, &new, &author(subresource, options)));
    object.meta_mut().managed_fields = managed.map(serde_json::from_value).transpose().map_err(ApiError::internal)?;
    Ok(())
}

/// The object that an apply makes of `live`, or makes anew; `None`: nothing changes.
pub(super) fn applied(
    registry: &Registry,
    place: &Place<'_>,
    live: Option<&Current>,
    configuration: &Configuration,
    subresource: &str,
    options: &WriteOptions,
) -> Result<Option<Value>, ApiError> {
    let old = live.map(Current::value).transpose()?;
    let author = author(subresource, options);
    let applied = in_type(registry, place, subresource, |of| {
        apply::apply(of, old, &configuration.value, &author, configuration.force)
    });
    applied.map_err(ApiError::from)
}

/// A write that changed nothing but the times of its managed fields is none.
pub(super) fn keep_times(live: &Current, object: &mut dyn AnyObject) -> Result<(), ApiError> {
    if object.meta().managed_fields == live.object.meta().managed_fields {
        return Ok(());
    }
    let mut new = object.to_value().map_err(ApiError::internal)?;
    apply::keep_times(live.value()?, &mut new);
    let managed = new.pointer_mut("/metadata/managedFields").map(Value::take);
    object.meta_mut().managed_fields = managed.map(serde_json::from_value).transpose().map_err(ApiError::internal)?;
    Ok(())
}

fn author<'a>(subresource: &'a str, options: &'a WriteOptions) -> Author<'a> {
    let manager = if options.field_manager.is_empty() { ITSELF } else { &options.field_manager };
    Author { manager, subresource, now: Timestamp::now() }
}

/// Calls `with` with the type of what is written.
fn in_type<T>(registry: &Registry, place: &Place<'_>, subresource: &str, with: impl FnOnce(&ObjectType<'_>) -> T) -> T {
    let (resource, table) = (&place.resource, registry.table());
    let api_version = resource.api_version();
    let of = ObjectType {
        api_version: &api_version,
        kind: resource.kind(),
        shape: resource.shape(),
        tracked: tracked(subresource, resource.has_subresource("status")),
        convert: &|object, to| converted(&table, resource.store_prefix(), object, to),
    };
    with(&of)
}

/// An object in another of the versions that it is served in: somebody may own fields of it there.
fn converted<'t>(table: &'t Table, stored_as: &str, object: &Value, to: &str) -> Option<Converted<'t>> {
    let served = |version: &str| table.iter().find(|r| r.store_prefix() == stored_as && r.api_version() == version);
    let (from, to) = (served(object.get("apiVersion")?.as_str()?)?, served(to)?);
    let convert = || -> Result<Value, serde_json::Error> {
        let json = serde_json::to_vec(object)?;
        let stored = from.conversion().map_or(Ok(json.clone()), |c| (c.to_stored)(&json))?;
        let json = to.conversion().map_or(Ok(stored.clone()), |c| (c.from_stored)(&stored))?;
        serde_json::from_slice(&json)
    };
    let object = convert().inspect_err(|err| tracing::warn!(%err, ?to, "whose fields are whose there is forgotten"));
    Some(Converted { object: object.ok()?, shape: to.shape() })
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

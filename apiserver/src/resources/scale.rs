//! The `scale` subresource: `spec.replicas` of a kind, as an autoscaling/v1 Scale.

use bytes::Bytes;
use corten_api::{ApiError, Problems};
use k8s_openapi::api::autoscaling::v1::{Scale, ScaleSpec, ScaleStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::place::{Place, no_such_path};
use super::revise::Current;
use super::update::Writing;
use super::{Resources, WriteOptions, Written};
use crate::decode::{of_kind, typed};
use crate::patch as patches;
use crate::registry::{AnyObject, ApiResource};
use crate::request::{Target, User};

/// The Scale of an object that is given as its JSON.
pub(super) fn of_json(resource: &ApiResource, json: &[u8]) -> Result<Bytes, ApiError> {
    let object = resource.rules().decode(json, &mut |_| {}).map_err(ApiError::internal)?;
    to_json(&of(resource, &*object)?)
}

fn to_json(scale: &Scale) -> Result<Bytes, ApiError> {
    Ok(serde_json::to_vec(scale).map_err(ApiError::internal)?.into())
}

fn of(resource: &ApiResource, object: &dyn AnyObject) -> Result<Scale, ApiError> {
    let view = resource.rules().scale(object).ok_or_else(no_such_path)?;
    let meta = object.meta();
    Ok(Scale {
        metadata: ObjectMeta {
            name: meta.name.clone(),
            namespace: meta.namespace.clone(),
            uid: meta.uid.clone(),
            resource_version: meta.resource_version.clone(),
            creation_timestamp: meta.creation_timestamp.clone(),
            ..ObjectMeta::default()
        },
        spec: Some(ScaleSpec { replicas: Some(view.spec_replicas) }),
        status: Some(ScaleStatus { replicas: view.status_replicas, selector: Some(view.selector) }),
    })
}

fn decode(json: &[u8]) -> Result<Scale, ApiError> {
    typed::decode(json, &mut Vec::new()).map_err(|err| of_kind("Scale", "v1", json, err))
}

pub(super) async fn update(
    resources: &Resources,
    user: &User,
    place: &Place<'_>,
    target: &Target,
    json: &[u8],
    options: WriteOptions,
) -> Result<Written, ApiError> {
    let wanted = decode(json)?;
    set(resources, user, place, target, options, |_| Ok(wanted.clone())).await
}

pub(super) async fn patch(
    resources: &Resources,
    user: &User,
    place: &Place<'_>,
    target: &Target,
    kind: patches::Kind,
    body: &[u8],
    options: WriteOptions,
) -> Result<Written, ApiError> {
    let patched = |scale: &Scale| {
        let old = serde_json::to_value(scale).map_err(ApiError::internal)?;
        let new = patches::apply(kind, &place.resource, old, body)?;
        decode(new.to_string().as_bytes())
    };
    set(resources, user, place, target, options, patched).await
}

async fn set(
    resources: &Resources,
    user: &User,
    place: &Place<'_>,
    target: &Target,
    options: WriteOptions,
    wanted: impl Fn(&Scale) -> Result<Scale, ApiError>,
) -> Result<Written, ApiError> {
    let resource = &*place.resource;
    let plain = Target { subresource: String::new(), ..target.clone() };
    let short = place.short_key(&target.namespace, &target.name);
    let mut warnings = Vec::new();
    let revised = resources
        .revise(place, &short, options.dry_run, |current: &Current, taken| {
            let scale = wanted(&of(resource, &*current.object)?)?;
            let replicas = scale.spec.and_then(|s| s.replicas).unwrap_or(0);
            check(&target.name, replicas)?;
            let mut object = current.object.boxed_clone();
            resource.rules().set_replicas(&mut *object, replicas);
            let meta = object.meta_mut();
            meta.resource_version = scale.metadata.resource_version;
            if let Some(uid) = scale.metadata.uid {
                meta.uid = Some(uid);
            }
            warnings.clear();
            let writing = Writing { subresource: "scale", ..Writing::new(user, place, &plain, &options) };
            resources.decide_update(&writing, object, current, taken, &mut warnings)
        })
        .await?
        .ok_or_else(|| place.not_found(&target.name))?;
    Ok(Written { object: of_json(resource, &revised.json)?, existed: true, warnings })
}

fn check(name: &str, replicas: i32) -> Result<(), ApiError> {
    let mut problems = Problems::default();
    if replicas < 0 {
        problems.invalid("spec.replicas", replicas, "must be greater than or equal to 0");
    }
    if problems.is_empty() { Ok(()) } else { Err(ApiError::invalid("autoscaling", "Scale", name, problems)) }
}

//! The `scale` subresource: `spec.replicas` of a kind, as an autoscaling/v1 Scale.

use bytes::Bytes;
use corten_api::{ApiError, Problems};
use k8s_openapi::api::autoscaling::v1::{Scale, ScaleSpec, ScaleStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use serde_json::{Value, json};

use super::admit::{Asked, Said, decode_as};
use super::managers::{self, Configuration};
use super::place::{Place, no_such_path};
use super::revise::{Current, Decide, Decision, Taken};
use super::update::Writing;
use super::webhooks::Hooks;
use super::{Authorized, Resources, WriteOptions, Written, meta, to};
use crate::admission::asking::Decode;
use crate::apply::{self, ObjectType};
use crate::decode;
use crate::patch as patches;
use crate::registry::{AnyObject, ApiResource};
use crate::request::{Target, Verb};
use crate::schema;

const SCALE: &str = "scale";
const API_VERSION: &str = "autoscaling/v1";
const KIND: &str = "Scale";

/// The Scale of an object that is given as its JSON.
pub(super) fn of_json(resource: &ApiResource, json: &[u8]) -> Result<Bytes, ApiError> {
    let object = resource.cached(json).map_err(ApiError::internal)?;
    let scale = of(resource, &*object)?;
    if scale.spec.as_ref().is_none_or(|spec| spec.replicas.is_none()) {
        return Err(ApiError::internal(format!(
            "the spec replicas field {:?} does not exist",
            replicas_path(resource)
        )));
    }
    to_json(&scale)
}

/// `.spec.replicas`, or where a custom kind has them.
fn replicas_path(resource: &ApiResource) -> String {
    resource.rules().replicas_path().iter().map(|name| format!(".{name}")).collect()
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
        spec: Some(ScaleSpec { replicas: view.spec_replicas }),
        status: Some(ScaleStatus { replicas: view.status_replicas, selector: Some(view.selector) }),
    })
}

/// What a caller wants the replicas to be.
enum Wanted<'a> {
    Scale(&'a Scale),
    Patch(patches::Kind, &'a [u8]),
    /// To own their number.
    Apply(&'a Configuration),
}

pub(super) async fn update(
    resources: &Resources,
    may: &Authorized<to::Update>,
    place: &Place<'_>,
    json: &[u8],
    options: WriteOptions,
) -> Result<Written, ApiError> {
    set(resources, may, place, options, &Wanted::Scale(&decode::object(json)?)).await
}

pub(super) async fn patch(
    resources: &Resources,
    may: &Authorized<to::Patch>,
    place: &Place<'_>,
    kind: patches::Kind,
    body: &[u8],
    options: WriteOptions,
) -> Result<Written, ApiError> {
    if kind != patches::Kind::Apply {
        return set(resources, may, place, options, &Wanted::Patch(kind, body)).await;
    }
    let value = of_parent(place, may.target(), &decode::value(body)?)?;
    let configuration = Configuration { value, force: options.force == Some(true) };
    set(resources, may, place, options, &Wanted::Apply(&configuration)).await
}

async fn set<V>(
    resources: &Resources,
    may: &Authorized<V>,
    place: &Place<'_>,
    options: WriteOptions,
    wanted: &Wanted<'_>,
) -> Result<Written, ApiError> {
    let (user, target) = (may.user(), may.target());
    let hooks = resources.hooks_of(may, place).await;
    let plain = Target { subresource: String::new(), ..target.clone() };
    let is_applied = matches!(wanted, Wanted::Apply(_));
    // Webhooks are told of the Scale, and not of the object.
    let writing = Writing::new(user, place, &plain, &options);
    let writing = Writing { subresource: SCALE, is_applied, ..writing };
    let short = place.short_key(&target.namespace, &target.name);
    let hooks = hooks.as_ref();
    let mut by = Scaling { resources, writing: &writing, target, wanted, hooks, warnings: Vec::new() };
    let revised = resources.revise(place, &short, SCALE, options.dry_run, &mut by).await?;
    let revised = revised.ok_or_else(|| place.not_found(&target.name))?;
    Ok(Written { object: of_json(&place.resource, &revised.json)?, existed: true, warnings: by.warnings })
}

/// How a write of a Scale decides.
struct Scaling<'a> {
    resources: &'a Resources,
    /// Of the object itself.
    writing: &'a Writing<'a>,
    /// The Scale.
    target: &'a Target,
    wanted: &'a Wanted<'a>,
    hooks: Option<&'a Hooks>,
    warnings: Vec<String>,
}

impl Scaling<'_> {
    /// The object as it should be; `None`: as it is.
    async fn wanted(&self, current: &Current) -> Result<Option<Box<dyn AnyObject>>, ApiError> {
        let Self { resources, target, .. } = *self;
        let Writing { place, options, .. } = *self.writing;
        Ok(Some(match self.wanted {
            Wanted::Scale(scale) => scaled(place, target, current, scale)?,
            Wanted::Patch(kind, body) => {
                let old = of(&place.resource, &*current.object)?;
                let old = serde_json::to_value(old).map_err(ApiError::internal)?;
                let new = patches::apply(*kind, &place.resource, old, body)?;
                if new.pointer("/spec/replicas").is_none_or(Value::is_null) && view_is_empty(place, current) {
                    let path = replicas_path(&place.resource);
                    return Err(ApiError::bad_request(format!("the spec replicas field {path:?} cannot be empty")));
                }
                scaled(place, target, current, &decode::object(new.to_string().as_bytes())?)?
            }
            Wanted::Apply(configuration) => {
                let applied = managers::applied(resources, place, Some(current), configuration, SCALE, options).await?;
                let Some(object) = applied else { return Ok(None) };
                let json = serde_json::to_vec(&object).map_err(ApiError::internal)?;
                place.resource.decode(&json).map_err(ApiError::internal)?
            }
        }))
    }
}

impl Scaling<'_> {
    fn asked(&self) -> Asked<'_> {
        let Writing { user, place, options, .. } = *self.writing;
        let decode = Some(decode_as::<Scale> as Decode);
        Asked { user, place, target: self.target, said: Said::Write(options), decode, hooks: self.hooks }
    }
    /// The object, with the replicas that webhooks let it have; and their warnings.
    async fn consult(&self, current: &Current, object: &mut dyn AnyObject) -> Result<Vec<String>, ApiError> {
        let asked = self.asked();
        if asked.others(Verb::Update).is_nobody() {
            return Ok(Vec::new());
        }
        let resource = &self.writing.place.resource;
        let old = of(resource, &*current.object)?;
        let mut new: Box<dyn AnyObject> = Box::new(of(resource, &*object)?);
        let replicas = |new: &dyn AnyObject| new.as_any().downcast_ref::<Scale>()?.spec.as_ref()?.replicas;
        let good =
            |new: &mut dyn AnyObject| replicas(new).map_or(Ok(()), |replicas| check(&self.target.name, replicas));
        let admitted = self.resources.consult(&asked, Verb::Update, &mut new, Some(&old), &good).await?;
        if let (true, Some(replicas)) = (admitted.has_changed, replicas(&*new)) {
            resource.rules().set_replicas(object, replicas);
        }
        Ok(admitted.warnings)
    }
}

impl Decide for Scaling<'_> {
    fn asks_others(&self) -> bool {
        self.asked().others(Verb::Update).are_elsewhere()
    }
    async fn decide(&mut self, current: &Current, taken: &Taken) -> Result<Decision, ApiError> {
        let Some(mut object) = self.wanted(current).await? else { return Ok(Decision::Keep) };
        self.warnings = self.consult(current, &mut *object).await?;
        self.resources.decide_update(self.writing, object, current, taken, &mut self.warnings).await
    }
}

/// Whether nothing is said yet of how many replicas are wanted.
fn view_is_empty(place: &Place<'_>, current: &Current) -> bool {
    place.resource.rules().scale(&*current.object).is_some_and(|view| view.spec_replicas.is_none())
}

/// The object as it is, with the replicas of a Scale.
fn scaled(
    place: &Place<'_>,
    target: &Target,
    current: &Current,
    scale: &Scale,
) -> Result<Box<dyn AnyObject>, ApiError> {
    let mut named = scale.metadata.clone();
    meta::settle_namespace(&mut named, &target.namespace, place.resource.scope())?;
    meta::settle_name(&mut named, &target.name)?;
    let replicas = scale.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(0);
    check(&target.name, replicas)?;
    let mut object = current.object.boxed_clone();
    place.resource.rules().set_replicas(&mut *object, replicas);
    let meta = object.meta_mut();
    meta.resource_version.clone_from(&scale.metadata.resource_version);
    if scale.metadata.uid.is_some() {
        meta.uid.clone_from(&scale.metadata.uid);
    }
    Ok(object)
}

/// The configuration of the object whose Scale is applied: its replicas and nothing else.
fn of_parent(place: &Place<'_>, target: &Target, scale: &Value) -> Result<Value, ApiError> {
    let shape = schema::builtin().kind(API_VERSION, KIND);
    let of = ObjectType::plain(API_VERSION, KIND, shape);
    apply::check_configuration(&of, scale)?;
    let mut parent = json!({"apiVersion": place.resource.api_version(), "kind": place.resource.kind()});
    if let Some(said) = scale.get("metadata") {
        parent["metadata"] = said.clone();
    }
    if let Some(replicas) = scale.get("spec").and_then(|spec| spec.get("replicas")) {
        let path = place.resource.rules().replicas_path();
        let spec = path.iter().rev().fold(replicas.clone(), |inner, name| json!({ name.as_str(): inner }));
        if let (Some(parent), Value::Object(spec)) = (parent.as_object_mut(), spec) {
            parent.extend(spec);
        }
    }
    let read: Scale = decode::object(scale.to_string().as_bytes())?;
    let mut meta = read.metadata;
    meta::settle_namespace(&mut meta, &target.namespace, place.resource.scope())?;
    meta::settle_name(&mut meta, &target.name)?;
    check(&target.name, read.spec.and_then(|spec| spec.replicas).unwrap_or(0))?;
    Ok(parent)
}

fn check(name: &str, replicas: i32) -> Result<(), ApiError> {
    let mut problems = Problems::default();
    if replicas < 0 {
        problems.invalid("spec.replicas", replicas, "must be greater than or equal to 0");
    }
    if problems.is_empty() { Ok(()) } else { Err(ApiError::invalid("autoscaling", "Scale", name, problems)) }
}

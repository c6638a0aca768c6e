//! The write path of objects that are there: update and patch, of the object and of its subresources.

use std::sync::Arc;

use bytes::Bytes;
use corten_api::{ApiError, Problems, Reason};
use serde_json::Value;

use super::admit::{Asked, Said, keep_managed_fields};
use super::create::rules;
use super::managers::{self, Configuration};
use super::place::{Place, no_such_method};
use super::revise::{Current, Decide, Decision, Taken};
use super::webhooks::Hooks;
use super::{Authorized, Resources, WriteOptions, Written, body, meta, scale, to};
use crate::decode;
use crate::patch;
use crate::registry::{AnyObject, ApiResource, Strategy, WriteContext, check, clock, ratchet};
use crate::request::{Target, User, Verb};

/// An object that is not there when it is changed, and there when it is made, is looked at again so often.
const APPLY_TRIES: u32 = 8;

/// What a caller wants the object to be.
enum Wanted<'a> {
    /// The whole object.
    Object(&'a dyn AnyObject),
    Patch(patch::Kind, &'a [u8]),
    /// Some of its fields.
    Apply(&'a Configuration),
}

/// A write, and who wants it.
#[derive(Clone, Copy)]
pub(super) struct Writing<'a> {
    pub(super) user: &'a Arc<User>,
    pub(super) place: &'a Place<'a>,
    pub(super) target: &'a Target,
    /// As it was asked for: an object that an update or an apply makes is named here.
    pub(super) requested: &'a Target,
    /// Whose fields the write can set: `target`'s, or `scale`.
    pub(super) subresource: &'a str,
    pub(super) options: &'a WriteOptions,
    /// The object says whose its fields are.
    pub(super) is_applied: bool,
    /// The policies and webhooks that are told of it.
    pub(super) hooks: Option<&'a Hooks>,
}

impl Resources {
    /// Also `status`, `approval`, `scale`, `finalize`, and every [`Part`](crate::registry::Part).
    pub async fn update(
        &self,
        may: &Authorized<to::Update>,
        json: Bytes,
        options: WriteOptions,
    ) -> Result<Written, ApiError> {
        let (user, target) = (may.user(), may.target());
        let fence = self.fenced(options.fence.as_ref()).await?;
        let place = &self.place(Verb::Update, target)?.behind(fence.as_ref());
        if target.subresource == "scale" {
            return scale::update(self, may, place, &json, options).await;
        }
        let mut warnings = Vec::new();
        let mut object = body::decode(&place.resource, &json, &options, &mut warnings)?;
        meta::settle_namespace(object.meta_mut(), &target.namespace, place.resource.scope())?;
        meta::settle_name(object.meta_mut(), &target.name)?;
        let hooks = self.hooks_of(may, place).await;
        let writing = Writing { hooks: hooks.as_ref(), ..Writing::new(user, place, target, &options) };
        let mut written = match self.change(&writing, &Wanted::Object(&*object)).await? {
            Some(written) => written,
            None if place.resource.create_on_update() && target.subresource.is_empty() => {
                self.create_by_update(&writing, object).await?
            }
            None => return Err(place.not_found(&target.name)),
        };
        written.warnings.splice(0..0, warnings);
        Ok(written)
    }

    async fn create_by_update(
        &self,
        writing: &Writing<'_>,
        mut object: Box<dyn AnyObject>,
    ) -> Result<Written, ApiError> {
        let Writing { user, place, target, .. } = *writing;
        // Who names a revision, or a uid, means an object that was there.
        let meta = object.meta_mut();
        if meta.uid.as_deref().is_some_and(|uid| !uid.is_empty()) {
            return Err(place.conflict(&target.name, "Precondition failed: there is no object of this UID"));
        }
        if !check::is_new(meta) {
            return Err(place.not_found(&target.name));
        }
        let may = self.authorize_create(user, target).await?;
        let unnamed = Target { name: String::new(), ..may.target().clone() };
        let writing = Writing { user: may.user(), requested: may.target(), target: &unnamed, ..*writing };
        self.create_from(&writing, object).await
    }

    pub async fn patch(
        &self,
        may: &Authorized<to::Patch>,
        kind: patch::Kind,
        body: Bytes,
        options: WriteOptions,
    ) -> Result<Written, ApiError> {
        let (user, target) = (may.user(), may.target());
        let fence = self.fenced(options.fence.as_ref()).await?;
        let place = &self.place(Verb::Patch, target)?.behind(fence.as_ref());
        if target.subresource == "scale" {
            return scale::patch(self, may, place, kind, &body, options).await;
        }
        let hooks = self.hooks_of(may, place).await;
        let writing = Writing { hooks: hooks.as_ref(), ..Writing::new(user, place, target, &options) };
        if kind == patch::Kind::Apply {
            return self.apply(&Writing { is_applied: true, ..writing }, &body).await;
        }
        let written = self.change(&writing, &Wanted::Patch(kind, &body)).await?;
        written.ok_or_else(|| place.not_found(&target.name))
    }

    /// Server-side apply, which makes an object that is not there.
    async fn apply(&self, writing: &Writing<'_>, body: &[u8]) -> Result<Written, ApiError> {
        let Writing { user, place, target, options, .. } = *writing;
        let value = decode::value(body)?;
        let configuration = Configuration { value, force: options.force == Some(true) };
        for _ in 0..APPLY_TRIES {
            if let Some(written) = self.change(writing, &Wanted::Apply(&configuration)).await? {
                return Ok(written);
            }
            if !target.subresource.is_empty() {
                return Err(place.not_found(&target.name));
            }
            let applied = managers::applied(self, place, None, &configuration, "", options).await?;
            let applied = applied.ok_or_else(|| ApiError::internal("an apply that makes nothing"))?;
            let mut object = decoded(place, target, &applied, options, &mut Vec::new())?;
            let meta = object.meta_mut();
            if meta.uid.as_deref().is_some_and(|uid| !uid.is_empty()) {
                return Err(place.conflict(&target.name, "Precondition failed: there is no object of this UID"));
            }
            if !check::is_new(meta) {
                return Err(place.conflict(&target.name, "Precondition failed: there is no object of this revision"));
            }
            meta.resource_version = None;
            let may = self.authorize_create(user, target).await?;
            match self.create_applied(&may, writing, object).await {
                // Somebody else made it meanwhile.
                Err(err) if err.is(Reason::AlreadyExists) => {}
                made => return made,
            }
        }
        Err(place.conflict(&target.name, "it comes and goes; please try again"))
    }

    /// `None`: there is no such object.
    async fn change(&self, writing: &Writing<'_>, wanted: &Wanted<'_>) -> Result<Option<Written>, ApiError> {
        let Writing { place, target, options, .. } = *writing;
        let short = place.short_key(&target.namespace, &target.name);
        let mut by = Change { resources: self, writing, wanted, warnings: Vec::new() };
        let revised = self.revise(place, &short, &target.subresource, options.dry_run, &mut by).await?;
        Ok(revised.map(|r| Written { object: r.json, existed: true, warnings: by.warnings }))
    }

    /// The rules of an update, from the object as it is and as it should be.
    pub(super) async fn decide_update(
        &self,
        writing: &Writing<'_>,
        mut object: Box<dyn AnyObject>,
        current: &Current,
        taken: &Taken,
        warnings: &mut Vec<String>,
    ) -> Result<Decision, ApiError> {
        let Writing { user, place, target, .. } = *writing;
        let (resource, old) = (&*place.resource, &*current.object);
        check_version(place, target, object.meta_mut(), current)?;
        check_uid(place, target, &*object, old)?;
        meta::carry_over(object.meta_mut(), old.meta());
        resource.rules().fill_defaults(&mut *object);
        let mut problems = Problems::default();
        let write = Strategy::of(&target.subresource, old).ok_or_else(no_such_method)?;
        let context = WriteContext { user, now: clock::now() };
        resource.rules().prepare(write, &mut *object, &context);
        // What is written through the other subresources is no change of what is wanted, whatever it takes along.
        if write.may_want() {
            count_generation(resource, &mut *object, old);
        }
        object.meta_mut().resource_version.clone_from(&old.meta().resource_version);
        let asked = writing.asked();
        // Policies and webhooks are told also of what changes nothing so far.
        if object.same_as(old) && !current.is_of_other_version && asked.others(Verb::Update).is_nobody() {
            if target.subresource.is_empty() {
                warnings.extend(resource.rules().warnings(&*object, Some(old)));
            }
            return Ok(Decision::Keep);
        }
        meta::validate(object.meta(), rules(resource), &mut problems);
        if !writing.is_applied {
            managers::note(self, place, Some(current), &mut *object, (writing.subresource, writing.options)).await?;
        }
        let managed_fields = object.meta().managed_fields.clone();
        let settle = |object: &mut dyn AnyObject| -> Result<(), ApiError> {
            let meta = object.meta_mut();
            meta.resource_version.clone_from(&old.meta().resource_version);
            meta::carry_over(meta, old.meta());
            keep_managed_fields(meta, &managed_fields);
            resource.rules().prepare(write, object, &context);
            Ok(())
        };
        // What admission fills in is nobody's.
        let admitted = self.admit_update(&asked, &mut object, old, &settle).await?;
        warnings.extend(admitted.warnings);
        if admitted.has_changed {
            problems = Problems::default();
            meta::validate(object.meta(), rules(resource), &mut problems);
        }
        if write.may_want() {
            // What the write took away and admission put back has not changed.
            count_generation(resource, &mut *object, old);
        }
        self.may_grant(writing, &*object, Some(old))?;
        meta::validate_update(object.meta(), old.meta(), &mut problems);
        resource.rules().validate(write, &*object, &mut problems);
        ratchet::let_unchanged_through(&*object, old, &mut problems);
        place.valid(&target.name, problems)?;
        self.may_name_params(writing, &*object, Some(old))?;
        // What is allocated is part of what is judged.
        let decision = self.decision(place, object, current, taken)?;
        let judged = decision.told().unwrap_or(old);
        warnings.extend(self.approve(&asked, Verb::Update, Some(judged), Some(old)).await?);
        if target.subresource.is_empty() {
            warnings.extend(resource.rules().warnings(judged, Some(old)));
        }
        Ok(decision)
    }

    /// What becomes of a good object.
    fn decision(
        &self,
        place: &Place<'_>,
        mut object: Box<dyn AnyObject>,
        current: &Current,
        taken: &Taken,
    ) -> Result<Decision, ApiError> {
        let old = &*current.object;
        managers::keep_times(old, &mut *object);
        if object.same_as(old) && !current.is_of_other_version {
            return Ok(Decision::Keep);
        }
        if super::delete::is_finished(&place.resource, &*object) {
            let also = self.release_for_delete(old).into_iter().chain(self.fence_with(Some(old), None)?);
            return Ok(Decision::Remove { last: Some(object), also: also.collect() });
        }
        let mut also = self.allocate_for_update(place, &mut *object, old, taken)?;
        also.extend(self.fence_with(Some(old), Some(&*object))?);
        Ok(Decision::Store { object, also })
    }
}

/// How an update or a patch decides.
struct Change<'a> {
    resources: &'a Resources,
    writing: &'a Writing<'a>,
    wanted: &'a Wanted<'a>,
    warnings: Vec<String>,
}

impl Decide for Change<'_> {
    fn asks_others(&self) -> bool {
        self.writing.asked().others(Verb::Update).are_elsewhere()
    }
    async fn decide(&mut self, current: &Current, taken: &Taken) -> Result<Decision, ApiError> {
        let Self { resources, writing, wanted, warnings } = self;
        warnings.clear();
        let object = wanted_object(resources, writing, wanted, current, warnings).await?;
        resources.decide_update(writing, object, current, taken, warnings).await
    }
}

impl<'a> Writing<'a> {
    pub(super) fn new(
        user: &'a Arc<User>,
        place: &'a Place<'a>,
        target: &'a Target,
        options: &'a WriteOptions,
    ) -> Self {
        let (requested, subresource) = (target, target.subresource.as_str());
        Self { user, place, target, requested, subresource, options, is_applied: false, hooks: None }
    }
    /// What admission is asked.
    pub(super) fn asked(&self) -> Asked<'a> {
        let Self { user, place, target, options, hooks, .. } = *self;
        Asked { user, place, target, said: Said::Write(options), decode: None, hooks }
    }
}

/// The next generation, if what is wanted has changed.
fn count_generation(resource: &ApiResource, object: &mut dyn AnyObject, old: &dyn AnyObject) {
    if resource.has_generation() {
        let (before, changed) = (old.meta().generation, resource.rules().spec_changed(object, old));
        object.meta_mut().generation = if changed { Some(before.unwrap_or(0) + 1) } else { before };
    }
}

async fn wanted_object(
    resources: &Resources,
    writing: &Writing<'_>,
    wanted: &Wanted<'_>,
    current: &Current,
    warnings: &mut Vec<String>,
) -> Result<Box<dyn AnyObject>, ApiError> {
    let Writing { place, target, options, .. } = *writing;
    match wanted {
        Wanted::Object(object) => Ok(object.boxed_clone()),
        Wanted::Patch(kind, body) => {
            let new = patch::apply(*kind, &place.resource, current.value()?.clone(), body)?;
            decoded(place, target, &new, options, warnings)
        }
        Wanted::Apply(configuration) => {
            let sub = &target.subresource;
            match managers::applied(resources, place, Some(current), configuration, sub, options).await? {
                Some(new) => decoded(place, target, &new, options, warnings),
                None => Ok(current.object.boxed_clone()),
            }
        }
    }
}

fn decoded(
    place: &Place<'_>,
    target: &Target,
    new: &Value,
    options: &WriteOptions,
    warnings: &mut Vec<String>,
) -> Result<Box<dyn AnyObject>, ApiError> {
    let json = serde_json::to_vec(new).map_err(ApiError::internal)?;
    let mut object = body::decode(&place.resource, &json, options, warnings)?;
    meta::settle_namespace(object.meta_mut(), &target.namespace, place.resource.scope())?;
    meta::settle_name(object.meta_mut(), &target.name)?;
    Ok(object)
}

/// Who names a resourceVersion means that one.
fn check_version(
    place: &Place<'_>,
    target: &Target,
    meta: &k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta,
    current: &Current,
) -> Result<(), ApiError> {
    match meta.resource_version.as_deref().unwrap_or_default() {
        "" | "0" if place.resource.unconditional_update() => Ok(()),
        "" | "0" => {
            let mut problems = Problems::default();
            problems.invalid("metadata.resourceVersion", 0, "must be specified for an update");
            place.valid(&target.name, problems)
        }
        given => match given.parse::<i64>() {
            Ok(revision) if revision == current.revision => Ok(()),
            Ok(_) => Err(place.stale(&target.name)),
            Err(_) => {
                let mut problems = Problems::default();
                problems.invalid("metadata.resourceVersion", given, "must be an unsigned integer");
                place.valid(&target.name, problems)
            }
        },
    }
}

/// Who names a uid means that object, not another of its name.
fn check_uid(place: &Place<'_>, target: &Target, new: &dyn AnyObject, old: &dyn AnyObject) -> Result<(), ApiError> {
    let given = new.meta().uid.as_deref().unwrap_or_default();
    let is = old.meta().uid.as_deref().unwrap_or_default();
    if given.is_empty() || given == is {
        return Ok(());
    }
    let why = format!("Precondition failed: UID in precondition: {given}, UID in object meta: {is}");
    Err(place.conflict(&target.name, &why))
}

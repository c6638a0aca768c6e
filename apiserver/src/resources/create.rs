//! The write path of new objects.

use bytes::Bytes;
use corten_api::{ApiError, Problems, Reason, names};

use super::admit::{Asked, keep_managed_fields};
use super::encode::Encoded;
use super::meta::{self, Rules};
use super::place::{Place, no_such_method, no_such_path};
use super::quotas::{self, Charger, Settled};
use super::revise::{Taken, aside_of};
use super::update::Writing;
use super::{
    Authorized, Resources, WriteOptions, Written, account_token, allocations, body, fence, managers, pods, to,
};
use crate::cache::{ROOT, api_error, with_revision};
use crate::registry::apiextensions::customresourcedefinition;
use crate::registry::{AnyObject, ApiResource, Strategy, WriteContext, check, clock};
use crate::request::{Target, Verb};
use crate::storage::{Outcome, Write};

/// Names generated for one object until one is free.
const GENERATE_TRIES: u32 = 8;
/// Allocations lost to others until the caller is told so.
const ALLOCATE_TRIES: u32 = 64;

impl Resources {
    /// `target.name` is empty, or names the object whose subresource is created (binding, eviction, token).
    pub async fn create(
        &self,
        may: &Authorized<to::Create>,
        json: Bytes,
        options: WriteOptions,
    ) -> Result<Written, ApiError> {
        let (user, target) = (may.user(), may.target());
        let fence = self.fenced(options.fence.as_ref()).await?;
        let place = &self.place(Verb::Create, target)?.behind(fence.as_ref());
        let hooks = self.hooks_of(may, place).await;
        match target.subresource.as_str() {
            "" => {
                let mut warnings = Vec::new();
                let object = body::decode(&place.resource, &json, &options, &mut warnings)?;
                let writing = Writing { hooks: hooks.as_ref(), ..Writing::new(user, place, target, &options) };
                let mut written = self.create_from(&writing, object).await?;
                written.warnings.splice(0..0, warnings);
                Ok(written)
            }
            "binding" => pods::bind(self, may, place, &json, &options, hooks.as_ref()).await,
            "token" => account_token::give(self, may, place, &json, &options, hooks.as_ref()).await,
            "eviction" => pods::evict(self, may, place, &json, options, hooks.as_ref()).await,
            _ => Err(no_such_method()),
        }
    }

    /// Makes what an apply has made up.
    pub(super) async fn create_applied(
        &self,
        may: &Authorized<to::Create>,
        applying: &Writing<'_>,
        object: Box<dyn AnyObject>,
    ) -> Result<Written, ApiError> {
        let (user, requested) = (may.user(), may.target());
        let unnamed = Target { name: String::new(), ..requested.clone() };
        self.create_from(&Writing { user, requested, target: &unnamed, ..*applying }, object).await
    }

    pub(super) async fn create_from(
        &self,
        writing: &Writing<'_>,
        mut object: Box<dyn AnyObject>,
    ) -> Result<Written, ApiError> {
        let Writing { place, target, .. } = *writing;
        let resource = &*place.resource;
        if resource.is_terminating() {
            return Err(terminating(place, object.meta().name.as_deref().unwrap_or_default()));
        }
        let meta = object.meta_mut();
        if !check::is_new(meta) {
            return Err(ApiError::bad_request("resourceVersion should not be set on objects to be created"));
        }
        // "" and "0" are none: no rule that comes after may take the object for one that is stored.
        meta.resource_version = None;
        meta::settle_namespace(meta, &target.namespace, resource.scope())?;
        meta::begin(meta, rules(resource), uuid::Uuid::new_v4().to_string(), clock::now());
        let unnamed = meta.name.as_deref().unwrap_or_default().is_empty();
        let Some(base) = meta.generate_name.clone().filter(|base| unnamed && !base.is_empty()) else {
            let name = meta.name.clone().unwrap_or_default();
            let written = self.try_create(writing, object).await?;
            return written.ok_or_else(|| place.already_exists(&name));
        };
        for _ in 0..GENERATE_TRIES {
            let mut object = object.boxed_clone();
            object.meta_mut().name = Some(names::generate(&base));
            if let Some(written) = self.try_create(writing, object).await? {
                return Ok(written);
            }
        }
        let what = corten_api::error::qualified(resource.plural(), resource.group());
        let why =
            format!("{what} {base:?} already exists, the server was not able to generate a unique name for the object");
        Err(ApiError::new(Reason::AlreadyExists, why))
    }

    /// `None`: the name is taken.
    async fn try_create(
        &self,
        writing: &Writing<'_>,
        mut object: Box<dyn AnyObject>,
    ) -> Result<Option<Written>, ApiError> {
        let Writing { user, place, target, options, .. } = *writing;
        let resource = &*place.resource;
        resource.rules().fill_defaults(&mut *object);
        let now = object.meta().creation_timestamp.clone().unwrap_or_else(clock::now);
        let context = WriteContext { user, now };
        resource.rules().prepare(Strategy::Create, &mut *object, &context);
        let name = object.meta().name.clone().unwrap_or_default();
        let mut problems = Problems::default();
        meta::validate(object.meta(), rules(resource), &mut problems);
        // A broken name must not reach a key, nor admission's look-ups.
        if problems.causes().iter().any(|c| c.field() == "metadata.name") {
            return Err(place.valid(&name, problems).err().unwrap_or_else(|| ApiError::internal("a problem was lost")));
        }
        if !writing.is_applied {
            managers::note(self, place, None, &mut *object, ("", options)).await?;
        }
        let (uid, now) = (object.meta().uid.clone().unwrap_or_default(), context.now.clone());
        let managed_fields = object.meta().managed_fields.clone();
        let settle = |object: &mut dyn AnyObject| -> Result<(), ApiError> {
            let meta = object.meta_mut();
            meta::settle_namespace(meta, &target.namespace, resource.scope())?;
            meta::begin(meta, rules(resource), uid.clone(), now.clone());
            meta.resource_version = None;
            keep_managed_fields(meta, &managed_fields);
            resource.rules().prepare(Strategy::Create, object, &context);
            Ok(())
        };
        // What admission fills in is nobody's.
        let asked = writing.asked();
        let admitted = self.admit_create(&asked, &mut object, &settle).await?;
        if admitted.has_changed {
            problems = Problems::default();
            meta::validate(object.meta(), rules(resource), &mut problems);
        }
        self.check_grant(writing, &*object).await?;
        resource.rules().validate(Strategy::Create, &*object, &mut problems);
        place.valid(&name, problems)?;
        self.may_name_params(writing, &*object, None)?;
        let mut warnings = admitted.warnings;
        let own = resource.rules().warnings(&*object, None);
        let object = self.store_new(&asked, object, options.dry_run, &mut warnings).await?;
        warnings.extend(own);
        Ok(object.map(|object| Written { object, existed: false, warnings }))
    }

    /// Writes a finished object, with what is allocated for it, once those who judge have seen it so. `None`: the name is taken.
    async fn store_new(
        &self,
        asked: &Asked<'_>,
        mut object: Box<dyn AnyObject>,
        dry_run: bool,
        warnings: &mut Vec<String>,
    ) -> Result<Option<Bytes>, ApiError> {
        let Asked { place, target, .. } = *asked;
        let name = object.meta().name.clone().unwrap_or_default();
        let short = place.short_key(&target.namespace, &name);
        if let Some(quota) = quotas::change_of(None, Some(&*object)).filter(|_| !dry_run) {
            warnings.extend(self.approve(asked, Verb::Create, Some(&*object), None).await?);
            return self.store_new_quota(place, &target.namespace, &short, quota).await;
        }
        let mut charger = Charger::new(self, place, &target.namespace, "", dry_run);
        // As its author wants it: for another try, when others were faster with what was allocated.
        let wanted = allocations::concerns(&*object).then(|| object.boxed_clone());
        let (mut taken, mut approved, told_before) = (Taken::new(), None, warnings.len());
        for _ in 0..ALLOCATE_TRIES {
            let mut also = self.allocate_for_create(place, &mut *object, &taken).await?;
            // What is allocated is part of what is judged; with another allocation it is judged anew.
            let is_same = |seen: &Option<Box<dyn AnyObject>>| seen.as_ref().is_none_or(|seen| seen.same_as(&*object));
            if !approved.as_ref().is_some_and(is_same) {
                charger.steps_aside();
                warnings.truncate(told_before);
                warnings.extend(self.approve(asked, Verb::Create, Some(&*object), None).await?);
                approved = Some(wanted.as_ref().map(|_| object.boxed_clone()));
            }
            // Before anything is held.
            let encoding = Box::pin(self.encoded(place, &mut *object));
            let Encoded { json, value } = aside_of(&mut charger, encoding).await?;
            also.extend(self.fence_with(None, Some(&*object))?);
            also.extend(self.while_defined(place, &name)?);
            let charges = charger.charge(None, Some(&*object)).await?;
            if dry_run {
                self.catch_up().await?;
                return Ok(self.cached(place, &short)?.is_none().then_some(json));
            }
            let (key, ttl_secs) = (place.store_key(&short), place.resource.ttl_secs());
            let mut writes = vec![Write::Create { key, value, ttl_secs }];
            let reserved: Vec<String> = also.iter().map(|w| w.key().to_owned()).collect();
            writes.extend(also);
            let (first_charge, after_charges) = (writes.len(), writes.len() + charges.len());
            writes.extend(charges);
            writes.extend(place.fence.map(|fence| fence.condition.clone()));
            match self.inner.cache.storage().commit(writes).await.map_err(|err| api_error(&err))? {
                Outcome::Committed { revision } => {
                    charger.done(revision);
                    self.judged_by(place, revision).await;
                    return with_revision(&json, revision).map(Some).map_err(ApiError::internal);
                }
                Outcome::Refused { index: 0, .. } => return Ok(None),
                Outcome::Refused { index, current } if (first_charge..after_charges).contains(&index) => {
                    charger.refused(index - first_charge, current).await?;
                }
                Outcome::Refused { index, .. } => match reserved.into_iter().nth(index - 1) {
                    // A fence or a definition is not reserved by others: the cache has an old one.
                    Some(key) if fence::is_fence(&key) || is_definition(&key) => drop(self.catch_up().await?),
                    Some(key) => drop(taken.insert(key)),
                    None => return Err(place.fenced_off()),
                },
            }
            if let Some(wanted) = &wanted {
                object = wanted.boxed_clone();
            }
        }
        Err(place.conflict(&name, "others took what was allocated for it; please try again"))
    }

    /// Of a new object of a custom kind: the condition that its definition is as the cache has it, which is not being deleted. Else the
    /// object could be made after the last one was seen to be gone, and be left in the store without a definition.
    fn while_defined(&self, place: &Place<'_>, name: &str) -> Result<Option<Write>, ApiError> {
        let resource = &place.resource;
        if !resource.is_custom() {
            return Ok(None);
        }
        let definition = format!("{}.{}", resource.plural(), resource.group());
        let item = self.inner.cache.kind(customresourcedefinition::STORE_PREFIX).and_then(|kind| kind.get(&definition));
        let item = item.ok_or_else(no_such_path)?;
        if item.is_deleting() {
            return Err(terminating(place, name));
        }
        let key = format!("{ROOT}{}/{definition}", customresourcedefinition::STORE_PREFIX);
        Ok(Some(Write::Expect { key, expected: item.revision }))
    }

    /// Writes a new quota, with what is used of it. `None`: the name is taken.
    async fn store_new_quota(
        &self,
        place: &Place<'_>,
        namespace: &str,
        short: &str,
        quota: quotas::Change,
    ) -> Result<Option<Bytes>, ApiError> {
        // Who makes what is there keeps nobody from writing.
        if self.cached(place, short)?.is_some() {
            self.catch_up().await?;
            if self.cached(place, short)?.is_some() {
                return Ok(None);
            }
        }
        let beside = place.fence.map(|fence| fence.condition.clone());
        match self.settle(namespace, Some(quota), beside.into_iter().collect()).await? {
            Settled::Done { revision, quota: Some(mut quota) } => {
                let Encoded { json, .. } = Encoded::builtin(&mut *quota)?;
                with_revision(&json, revision).map(Some).map_err(ApiError::internal)
            }
            Settled::Done { quota: None, .. } => Err(ApiError::internal("a quota that was made is not there")),
            Settled::Refused { .. } => Ok(None),
            Settled::Unconditioned => Err(place.fenced_off()),
        }
    }
}

fn is_definition(key: &str) -> bool {
    key.strip_prefix(ROOT).is_some_and(|key| key.starts_with(customresourcedefinition::STORE_PREFIX))
}

fn terminating(place: &Place<'_>, name: &str) -> ApiError {
    let why = "create not allowed while custom resource definition is terminating";
    ApiError::forbidden(place.resource.group(), place.resource.plural(), name, why)
}

pub(super) fn rules(resource: &ApiResource) -> Rules {
    Rules {
        scope: resource.scope(),
        name: resource.name_rule(),
        has_generation: resource.has_generation(),
        any_finalizer: resource.is_custom() || resource.group() == customresourcedefinition::GROUP,
    }
}

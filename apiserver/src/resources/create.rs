//! The write path of new objects.

use bytes::Bytes;
use corten_api::{ApiError, Problems, Reason, names};

use super::meta::{self, Rules};
use super::place::{Place, no_such_method};
use super::revise::{Taken, encoded};
use super::{Resources, WriteOptions, Written, body, pods};
use crate::cache::{api_error, with_revision};
use crate::registry::{AnyObject, Entry};
use crate::request::{Target, User};
use crate::storage::{Outcome, Write};

/// Names generated for one object until one is free.
const GENERATE_TRIES: u32 = 8;
/// Allocations lost to others until the caller is told so.
const ALLOCATE_TRIES: u32 = 64;

impl Resources {
    /// `target.name` is empty, or names the object whose subresource is created (binding, eviction).
    pub async fn create(
        &self,
        user: &User,
        target: &Target,
        json: Bytes,
        options: WriteOptions,
    ) -> Result<Written, ApiError> {
        let place = self.place(target)?;
        match target.subresource.as_str() {
            "" => {
                let mut warnings = Vec::new();
                let object = body::decode(place.entry, &json, &options, &mut warnings)?;
                let mut written = self.create_object(user, place, target, object, &options).await?;
                written.warnings.splice(0..0, warnings);
                Ok(written)
            }
            "binding" => {
                self.admit_create(user, place, target, None).await?;
                pods::bind(self, place, target, &json, options.dry_run).await
            }
            "eviction" => pods::evict(self, user, place, target, &json, options).await,
            _ => Err(no_such_method()),
        }
    }

    pub(super) async fn create_object(
        &self,
        user: &User,
        place: Place<'_>,
        target: &Target,
        mut object: Box<dyn AnyObject>,
        options: &WriteOptions,
    ) -> Result<Written, ApiError> {
        let entry = place.entry;
        let meta = object.meta_mut();
        if meta.resource_version.as_deref().is_some_and(|v| !v.is_empty() && v != "0") {
            return Err(ApiError::bad_request("resourceVersion should not be set on objects to be created"));
        }
        meta::settle_namespace(meta, &target.namespace, entry.scope())?;
        meta::begin(meta, rules(entry), uuid::Uuid::new_v4().to_string(), meta::now());
        let base =
            meta.generate_name.clone().filter(|b| !b.is_empty() && meta.name.as_deref().unwrap_or_default().is_empty());
        for _ in 0..if base.is_some() { GENERATE_TRIES } else { 1 } {
            let mut object = object.boxed_clone();
            if let Some(base) = &base {
                object.meta_mut().name = Some(names::generate(base));
            }
            if let Some(written) = self.try_create(user, place, target, object, options).await? {
                return Ok(written);
            }
        }
        match base {
            None => Err(place.already_exists(object.meta().name.as_deref().unwrap_or_default())),
            Some(base) => {
                let why = format!(
                    "{} {base:?} already exists, the server was not able to generate a unique name for the object",
                    corten_api::error::qualified(entry.plural(), entry.group())
                );
                Err(ApiError::new(Reason::AlreadyExists, why))
            }
        }
    }

    /// `None`: the name is taken.
    async fn try_create(
        &self,
        user: &User,
        place: Place<'_>,
        target: &Target,
        mut object: Box<dyn AnyObject>,
        options: &WriteOptions,
    ) -> Result<Option<Written>, ApiError> {
        let entry = place.entry;
        entry.fill_defaults(&mut *object);
        entry.prepare_create(&mut *object);
        let name = object.meta().name.clone().unwrap_or_default();
        let mut problems = Problems::default();
        meta::validate(object.meta(), rules(entry), &mut problems);
        // A broken name must not reach a key, nor admission's look-ups.
        if problems.causes().iter().any(|c| c.field() == "metadata.name") {
            return Err(place.valid(&name, problems).err().unwrap_or_else(|| ApiError::internal("a problem was lost")));
        }
        let warnings = self.admit_create(user, place, target, Some(&mut *object)).await?;
        entry.validate(&*object, &mut problems);
        place.valid(&name, problems)?;

        let key = place.store_key(&place.short_key(&target.namespace, &name));
        let mut taken = Taken::new();
        for _ in 0..ALLOCATE_TRIES {
            let mut object = object.boxed_clone();
            let also = self.allocate_for_create(place, &mut *object, &taken).await?;
            let (json, value) = encoded(place, &mut *object)?;
            if options.dry_run {
                let exists = place.shelf.get(&place.short_key(&target.namespace, &name)).is_some();
                return Ok((!exists).then_some(Written { object: json, existed: false, warnings }));
            }
            let mut writes = vec![Write::Create { key: key.clone(), value, ttl_secs: entry.ttl_secs() }];
            writes.extend(also);
            let keys: Vec<String> = writes.iter().map(|w| w.key().to_owned()).collect();
            match self.inner.cache.storage().commit(writes).await.map_err(|err| api_error(&err))? {
                Outcome::Committed { revision } => {
                    let object = with_revision(&json, revision).map_err(ApiError::internal)?;
                    return Ok(Some(Written { object, existed: false, warnings }));
                }
                Outcome::Refused { index: 0, .. } => return Ok(None),
                Outcome::Refused { index, .. } => taken.extend(keys.into_iter().nth(index)),
            }
        }
        Err(place.conflict(&name, "others took what was allocated for it; please try again"))
    }
}

pub(super) fn rules(entry: &dyn Entry) -> Rules {
    Rules { scope: entry.scope(), name: entry.name_rule(), has_generation: entry.has_generation() }
}

//! Kinds that users define: served as soon as their names are accepted, looked after until the last object is gone.
//!
//! Every apiserver looks at all definitions whenever one of them changes: it serves the kinds whose names are accepted, says so in
//! their status ([`step`]), and deletes the objects of those that are to go ([`cleanup`]). What it writes names the revision that it
//! looked at, so that several servers do not write the same. The kinds that were served before are there when the server starts
//! ([`Kept::stored`]), so that watchers may resume.

mod cleanup;
mod step;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use corten_api::{ApiError, Object, Reason};
use futures::StreamExt;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, CustomResourceDefinitionNames,
};
use sha2::{Digest, Sha256};
use tokio::time::{sleep, timeout};

use self::step::Step;
use super::system::target;
use super::{Authorized, Resources, WatchFrom, WatchOptions, WriteOptions};
use crate::cache::{Item, ROOT, api_error};
use crate::registry::apiextensions::customresourcedefinition::{GROUP, PLURAL, STORE_PREFIX};
use crate::registry::custom::{CustomKind, CustomKindError, store_prefix};
use crate::registry::{Registry, clock};
use crate::storage::Storage;

const CONTROLLER: &str = "customresourcedefinition-controller";
/// What went wrong is tried again so often.
const RETRY_EVERY: Duration = Duration::from_secs(5);
/// While objects of a kind that is to go are waited for, no more than so often.
const CLEAN_EVERY: Duration = Duration::from_millis(100);
/// A definition takes no more steps to be served: its names, that it is.
const STEPS_MAX: usize = 8;

/// A definition without its schemas, which take much room and are looked at only when they change: for 500 kinds that is the
/// difference between a gigabyte and some megabytes.
#[derive(Debug)]
struct Definition {
    revision: i64,
    crd: Arc<CustomResourceDefinition>,
    /// Of `spec.versions` as it was before its schemas went.
    versions: [u8; 32],
}

impl Definition {
    fn of(mut crd: CustomResourceDefinition, revision: i64) -> Result<Self, serde_json::Error> {
        let versions = Sha256::digest(serde_json::to_vec(&crd.spec.versions)?).into();
        crd.spec.versions.iter_mut().for_each(|version| version.schema = None);
        Ok(Self { revision, crd: Arc::new(crd), versions })
    }
    /// Whether what is served of one is what is served of the other.
    fn is_served_as(&self, other: &Self) -> bool {
        fn names(of: &CustomResourceDefinition) -> Option<&CustomResourceDefinitionNames> {
            of.status.as_ref()?.accepted_names.as_ref()
        }
        let (one, other_crd) = (&*self.crd, &*other.crd);
        self.versions == other.versions
            && one.spec == other_crd.spec
            && is_going(one) == is_going(other_crd)
            && names(one) == names(other_crd)
    }
}

/// What is known of the definitions, from one look to the next.
#[derive(Debug, Default)]
pub(super) struct Kept {
    /// As they were read, by name, each at its revision.
    read: HashMap<String, Arc<Definition>>,
    /// What is served, by where its objects are stored.
    served: HashMap<String, Arc<Definition>>,
}

impl Kept {
    /// Puts the kinds that were served before this server was into the registry, which nobody reads yet.
    pub(super) async fn stored(storage: &dyn Storage, registry: &Registry) -> Result<Self, ApiError> {
        let listed = storage.list(&format!("{ROOT}{STORE_PREFIX}/"), None).await.map_err(|err| api_error(&err))?;
        let mut kept = Self::default();
        for stored in listed.items {
            let Ok(crd) = serde_json::from_slice::<CustomResourceDefinition>(&stored.value) else { continue };
            if !step::is_accepted(&crd) || is_builtin(registry, &crd) {
                continue;
            }
            match CustomKind::of(&crd, is_going(&crd)) {
                // Of others the cache does not know how to read what is stored: they are served by the first look.
                Ok(kind) if kind.served.iter().any(|version| Arc::ptr_eq(version, &kind.stored)) => {
                    registry.put_custom(&store_prefix(&crd), &kind.served);
                    let read = Definition::of(crd, stored.revision).map_err(ApiError::internal)?;
                    kept.served.insert(store_prefix(&read.crd), Arc::new(read));
                }
                Ok(_) => {}
                Err(err) => unservable(&crd, &err),
            }
        }
        Ok(kept)
    }
    /// Whether this server serves the kind as it is defined.
    fn serves(&self, definition: &Definition) -> bool {
        self.served.get(&store_prefix(&definition.crd)).is_some_and(|served| served.is_served_as(definition))
    }
}

fn unservable(crd: &CustomResourceDefinition, err: &CustomKindError) {
    tracing::error!(err = err as &dyn std::error::Error, "{} cannot be served", crd.name());
}

/// Whether every server has the kind, whatever somebody has written into the status: its objects are not the definition's.
fn is_builtin(registry: &Registry, crd: &CustomResourceDefinition) -> bool {
    let found = registry.find_any_version(&crd.spec.group, &crd.spec.names.plural);
    found.is_some_and(|resource| !resource.is_custom())
}

fn is_going(crd: &CustomResourceDefinition) -> bool {
    crd.metadata.deletion_timestamp.is_some()
}

impl Resources {
    /// `kept`: from the look before.
    pub(super) async fn look_after_custom_kinds(&self, kept: &mut Kept) -> Result<(), ApiError> {
        for _ in 0..STEPS_MAX {
            self.inner.cache.catch_up().await?;
            let all = self.definitions(kept);
            self.serve_definitions(&all, kept).await?;
            let mut is_settled = true;
            let mut failed = None;
            for (definition, step) in self.due(&all, kept) {
                let done = match step {
                    Step::Rest => Ok(true),
                    Step::Write(new) => self.write_definition(definition, *new).await.map(|()| false),
                    Step::Clean => self.clean(definition).await.map(|again| !again),
                };
                match done {
                    Ok(rests) => is_settled &= rests,
                    // One that cannot be written keeps no other from being served.
                    Err(err) => failed = Some(err),
                }
            }
            if let Some(err) = failed {
                return Err(err);
            }
            if is_settled {
                break;
            }
        }
        Ok(())
    }

    /// What is to be done with each, the oldest first: who is decided on later sees what those before will have.
    fn due<'a>(&self, all: &'a [Arc<Definition>], kept: &Kept) -> Vec<(&'a Definition, Step)> {
        let mut by_age: Vec<usize> = (0..all.len()).collect();
        by_age.sort_by_key(|at| all[*at].crd.metadata.creation_timestamp.as_ref().map(|time| time.0));
        let mut seen: Vec<Arc<CustomResourceDefinition>> =
            all.iter().map(|definition| definition.crd.clone()).collect();
        let builtin = |group: &str| self.builtin_names(group);
        let mut due = Vec::new();
        for at in by_age {
            let definition = &*all[at];
            let step = step::step(&definition.crd, &seen, &builtin, kept.serves(definition), &clock::now());
            if let Step::Write(new) = &step {
                seen[at] = Arc::new((**new).clone());
            }
            due.push((definition, step));
        }
        due
    }

    /// As the cache has them, by name.
    fn definitions(&self, kept: &mut Kept) -> Vec<Arc<Definition>> {
        let Some(kind) = self.inner.cache.kind(STORE_PREFIX) else { return Vec::new() };
        let snapshot = kind.snapshot(self.inner.cache.revision());
        let before = std::mem::take(&mut kept.read);
        let read = |item: &Item| match before.get(item.name()) {
            Some(known) if known.revision == item.revision => Some(known.clone()),
            _ => {
                let read = serde_json::from_slice(&item.object()).and_then(|crd| Definition::of(crd, item.revision));
                let read = read.inspect_err(|err| tracing::error!(%err, "{} cannot be read", item.name()));
                read.ok().map(Arc::new)
            }
        };
        let all: Vec<Arc<Definition>> = snapshot.items.iter().filter_map(|row| read(&row.0)).collect();
        kept.read = all.iter().map(|definition| (definition.crd.name().to_owned(), definition.clone())).collect();
        all
    }

    /// All of a definition, if it is still as it was looked at.
    fn whole(&self, definition: &Definition) -> Result<Option<CustomResourceDefinition>, ApiError> {
        let item = self.inner.cache.kind(STORE_PREFIX).and_then(|kind| kind.get(definition.crd.name()));
        let item = item.filter(|item| item.revision == definition.revision);
        item.map(|item| serde_json::from_slice(&item.object()).map_err(ApiError::internal)).transpose()
    }

    /// What of the names in a group is taken by kinds that every server has.
    fn builtin_names(&self, group: &str) -> step::Taken {
        let table = self.registry().table();
        let of_group = table.iter().filter(|resource| !resource.is_custom() && resource.group() == group);
        let mut taken = step::Taken::default();
        for resource in of_group {
            let names = resource.names();
            taken.resources.extend([&names.plural, &names.singular].map(|name| name.to_string()));
            taken.resources.extend(names.short_names.iter().map(|name| name.to_string()));
            taken.kinds.extend([names.kind.to_string(), names.list_kind.to_string()]);
        }
        taken
    }

    /// Serves what is to be served now and is not, or otherwise, and nothing else.
    async fn serve_definitions(&self, all: &[Arc<Definition>], kept: &mut Kept) -> Result<(), ApiError> {
        let accepted = all
            .iter()
            .filter(|definition| step::is_accepted(&definition.crd) && !is_builtin(self.registry(), &definition.crd));
        let wanted: HashMap<String, &Arc<Definition>> =
            accepted.map(|definition| (store_prefix(&definition.crd), definition)).collect();
        let gone: Vec<String> = kept.served.keys().filter(|prefix| !wanted.contains_key(*prefix)).cloned().collect();
        for prefix in gone {
            self.registry().put_custom(&prefix, &[]);
            self.inner.cache.end(&prefix).await?;
            kept.served.remove(&prefix);
        }
        for (prefix, definition) in wanted {
            let before = kept.served.get(&prefix);
            if before.is_some_and(|before| before.is_served_as(definition)) {
                continue;
            }
            // One that has changed meanwhile is looked at again at once.
            let Some(crd) = self.whole(definition)? else { continue };
            let kind = match CustomKind::of(&crd, is_going(&crd)) {
                Ok(kind) => kind,
                Err(err) => {
                    unservable(&crd, &err);
                    continue;
                }
            };
            // What is in the cache is as the schema of the version that is stored has it.
            if before.is_none_or(|before| before.versions != definition.versions) {
                self.inner.cache.begin_custom(&prefix, &kind).await?;
            }
            self.registry().put_custom(&prefix, &kind.served);
            kept.served.insert(prefix, definition.clone());
        }
        Ok(())
    }

    /// Writes status and finalizers of `new`, unless the definition has changed since it was looked at.
    async fn write_definition(&self, of: &Definition, new: CustomResourceDefinition) -> Result<(), ApiError> {
        let Some(mut whole) = self.whole(of)? else { return Ok(()) };
        whole.status = new.status;
        whole.metadata.finalizers = new.metadata.finalizers;
        let mut at = target(GROUP, PLURAL, "", whole.name());
        at.subresource = "status".into();
        let json = Bytes::from(serde_json::to_vec(&whole).map_err(ApiError::internal)?);
        let options = WriteOptions { field_manager: CONTROLLER.into(), ..WriteOptions::default() };
        match self.update(&Authorized::own(at), json, options).await {
            // Another server was quicker, most likely with the same; the next look tells.
            Err(err) if err.is(Reason::Conflict) || err.is(Reason::NotFound) => Ok(()),
            written => written.map(drop),
        }
    }
}

/// What the next look waits for.
enum Wait {
    /// A change of a definition.
    Told,
    Retry,
    /// Any change: objects that are waited for are told of by the store alone.
    Cleaning,
}

impl Wait {
    fn after(looked: &Result<(), ApiError>, kept: &Kept) -> Self {
        match looked {
            Err(_) => Self::Retry,
            Ok(()) if kept.read.values().any(|definition| is_going(&definition.crd)) => Self::Cleaning,
            Ok(()) => Self::Told,
        }
    }
}

/// Looks after them for as long as the server lives.
pub(super) async fn run(resources: super::Weak, mut kept: Kept) {
    loop {
        let changes = {
            let Some(resources) = resources.upgrade() else { return };
            let options = WatchOptions { from: WatchFrom::Now, ..WatchOptions::default() };
            resources.watch(&Authorized::own(target(GROUP, PLURAL, "", "")), options).await
        };
        let Ok(mut changes) =
            changes.inspect_err(|err| tracing::warn!(%err, "definitions cannot be watched; again soon"))
        else {
            sleep(RETRY_EVERY).await;
            continue;
        };
        loop {
            let (mut store, wait) = {
                let Some(resources) = resources.upgrade() else { return };
                let store = resources.inner.cache.changes();
                let looked = resources.look_after_custom_kinds(&mut kept).await;
                if let Err(err) = &looked {
                    tracing::warn!(%err, "definitions were not looked after; again soon");
                }
                (store, Wait::after(&looked, &kept))
            };
            let again = || Some(Ok(Vec::new()));
            let told = async {
                match wait {
                    Wait::Told => changes.next().await,
                    Wait::Retry => timeout(RETRY_EVERY, changes.next()).await.unwrap_or_else(|_| again()),
                    Wait::Cleaning => {
                        sleep(CLEAN_EVERY).await;
                        tokio::select! {
                            told = changes.next() => told,
                            Ok(()) = store.changed() => again(),
                        }
                    }
                }
            };
            match told.await {
                Some(Ok(_)) => {}
                Some(Err(_)) | None => break,
            }
        }
        sleep(CLEAN_EVERY).await;
    }
}

//! Kinds that users define: served as soon as their names are accepted, looked after until the last object is gone.
//!
//! Every apiserver looks at all definitions whenever one of them changes: it serves the kinds whose names are accepted, says so in
//! their status ([`step`]), and has the objects of those that are to go deleted ([`cleanup`]). What it writes names the revision that
//! it looked at, so that several servers do not write the same. The kinds that were served before are there when the server starts
//! ([`Kept::stored`]), so that watchers may resume. What goes wrong with one is tried again later ([`failing`]), and holds up no other.

mod cleanup;
mod failing;
mod own;
mod reading;
mod serving;
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
use tokio::time::{Instant, sleep, timeout};

use self::cleanup::Cleaners;
use self::failing::Failing;
use self::own::is_reserved;
use self::serving::kind_of;
use self::step::{Seen, Served, Step};
use super::system::target;
use super::{Authorized, Resources, WatchFrom, WatchOptions, WriteOptions};
use crate::cache::{Item, ROOT, api_error};
use crate::registry::apiextensions::customresourcedefinition::{GROUP, PLURAL, STORE_PREFIX, conditions};
use crate::registry::custom::{CustomKindError, store_prefix};
use crate::registry::{Registry, clock};
use crate::storage::Storage;

const CONTROLLER: &str = "customresourcedefinition-controller";
/// A store that did not answer is asked again then.
const RETRY_EVERY: Duration = Duration::from_secs(5);
/// A watch that has ended begins again then.
const WATCH_AGAIN: Duration = Duration::from_millis(100);
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
    /// Of what of it matters to how objects are read.
    read_as: [u8; 32],
}

impl Definition {
    fn of(mut crd: CustomResourceDefinition, revision: i64) -> Result<Self, serde_json::Error> {
        let versions = Sha256::digest(serde_json::to_vec(&crd.spec.versions)?).into();
        let read_as = reading::digest(&crd.spec.versions, crd.spec.conversion.as_ref())?;
        crd.spec.versions.iter_mut().for_each(|version| version.schema = None);
        Ok(Self { revision, crd: Arc::new(crd), versions, read_as })
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
    /// Why others cannot be served, by name, and the revision of which that is so: told once for each.
    unservable: HashMap<String, (i64, String)>,
    /// Those that could not be served, and those that could not be written.
    unserved: Failing,
    unwritten: Failing,
    cleaners: Cleaners,
}

/// What came of writing a definition.
enum Writing {
    Written,
    /// It has changed since it was looked at, most likely to the same; the next look tells.
    Overtaken,
}

/// What a look has left to be done.
#[derive(Debug, Default)]
pub(super) struct Looked {
    /// When to look again, if nothing changes before.
    again: Option<Duration>,
    /// Definitions whose objects have to go.
    going: Vec<Arc<Definition>>,
}

impl Looked {
    fn again_within(&mut self, wait: Duration) {
        self.again = Some(self.again.map_or(wait, |before| before.min(wait)));
    }
}

impl Kept {
    /// Puts the kinds that were served before this server was into the registry, which nobody reads yet.
    pub(super) async fn stored(storage: &dyn Storage, registry: &Registry) -> Result<Self, ApiError> {
        let listed = storage.list(&format!("{ROOT}{STORE_PREFIX}/"), None).await.map_err(|err| api_error(&err))?;
        let mut kept = Self::default();
        for stored in listed.items {
            let Ok(crd) = serde_json::from_slice::<CustomResourceDefinition>(&stored.value) else { continue };
            if !step::is_accepted(&crd) || is_reserved(registry, &crd) {
                continue;
            }
            match kind_of(&crd) {
                // Of one that is served in no version the cache does not know how to read it: the first look tells it.
                Ok(kind) if !kind.served.is_empty() => {
                    registry.put_custom(&store_prefix(&crd), &kind.served);
                    registry.announce(&store_prefix(&crd), conditions::is_true(&crd, conditions::ESTABLISHED));
                    let read = Definition::of(crd, stored.revision).map_err(ApiError::internal)?;
                    kept.served.insert(store_prefix(&read.crd), Arc::new(read));
                }
                Ok(_) => {}
                Err(err) => kept.note_unservable(&crd, stored.revision, &err),
            }
        }
        Ok(kept)
    }
    /// Whether this server serves the kind as it is defined.
    fn serves(&self, definition: &Definition) -> Served<'_> {
        let served = self.served.get(&store_prefix(&definition.crd));
        if served.is_some_and(|served| served.is_served_as(definition)) {
            return Served::Yes;
        }
        let unservable = self.unservable.get(definition.crd.name());
        unservable.map_or(Served::NotYet, |(_, why)| Served::Never(why))
    }
    /// Told once for each revision.
    fn note_unservable(&mut self, crd: &CustomResourceDefinition, revision: i64, err: &CustomKindError) {
        let mut why = err.to_string();
        let mut source = std::error::Error::source(err);
        while let Some(cause) = source {
            why = format!("{why}: {cause}");
            source = cause.source();
        }
        let told = self.unservable.insert(crd.name().to_owned(), (revision, why));
        if told.is_none_or(|(of, _)| of != revision) {
            tracing::error!(err = err as &dyn std::error::Error, "{} cannot be served", crd.name());
        }
    }
}

fn is_going(crd: &CustomResourceDefinition) -> bool {
    crd.metadata.deletion_timestamp.is_some()
}

impl Resources {
    /// `kept`: from the look before. What fails is told of and kept, to be tried again: nobody waits for it, and no server refuses to
    /// start for it.
    pub(super) async fn look_after_custom_kinds(&self, kept: &mut Kept) -> Looked {
        let mut looked = Looked::default();
        for _ in 0..STEPS_MAX {
            if let Err(err) = self.inner.cache.catch_up().await {
                tracing::warn!(%err, "definitions were not looked after; again soon");
                looked.again_within(RETRY_EVERY);
                return looked;
            }
            let all = self.definitions(kept);
            self.serve_definitions(&all, kept).await;
            looked = Looked::default();
            let mut is_settled = true;
            for (definition, step) in self.due(&all, kept) {
                if !matches!(step, Step::Write(_)) {
                    // What could not be written is so meanwhile.
                    kept.unwritten.succeeded(definition.crd.name());
                }
                match step {
                    Step::Rest => {}
                    Step::Wait(wait) => looked.again_within(wait),
                    Step::Clean => looked.going.push(definition.clone()),
                    Step::Write(new) => is_settled &= !self.write_when_due(definition, *new, kept).await,
                }
            }
            if is_settled {
                break;
            }
        }
        let now = Instant::now();
        for wait in [&kept.unserved, &kept.unwritten].into_iter().filter_map(|failing| failing.next(now)) {
            looked.again_within(wait);
        }
        looked
    }

    /// Writes a definition as it is to be, unless that has failed lately. Whether it is another now than was looked at.
    async fn write_when_due(&self, definition: &Definition, new: CustomResourceDefinition, kept: &mut Kept) -> bool {
        let name = definition.crd.name();
        if !kept.unwritten.is_due(name, definition.revision, Instant::now()) {
            return false;
        }
        match self.write_definition(definition, &new).await {
            Ok(Writing::Written) => {
                kept.unwritten.succeeded(name);
                self.announce(&new, kept);
                true
            }
            Ok(Writing::Overtaken) => true,
            Err(err) => {
                tracing::warn!(%err, "the status of {name} was not written; again later");
                kept.unwritten.note(name, definition.revision, Instant::now());
                false
            }
        }
    }

    /// What is to be done with each, the oldest first: who is decided on later sees what those before will have.
    fn due<'a>(&self, all: &'a [Arc<Definition>], kept: &Kept) -> Vec<(&'a Arc<Definition>, Step)> {
        let mut by_age: Vec<usize> = (0..all.len()).collect();
        by_age.sort_by_key(|at| all[*at].crd.metadata.creation_timestamp.as_ref().map(|time| time.0));
        let mut seen: Vec<Arc<CustomResourceDefinition>> =
            all.iter().map(|definition| definition.crd.clone()).collect();
        let (table, alone, now) = (self.registry().table(), self.is_alone(), clock::now());
        let own = |group: &str| own::of_group(&table, group);
        let mut due = Vec::new();
        for at in by_age {
            let definition = &all[at];
            let served = kept.serves(definition);
            let step = step::step(&definition.crd, &Seen { all: &seen, own: &own, served, alone, now: &now });
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

    /// A definition as the cache has it, if it is still as it was looked at.
    fn item_of(&self, definition: &Definition) -> Option<Arc<Item>> {
        let item = self.inner.cache.kind(STORE_PREFIX).and_then(|kind| kind.get(definition.crd.name()));
        item.filter(|item| item.revision == definition.revision)
    }

    /// Writes status and finalizers of `new`, unless the definition has changed since it was looked at.
    async fn write_definition(&self, of: &Definition, new: &CustomResourceDefinition) -> Result<Writing, ApiError> {
        let Some(item) = self.item_of(of) else { return Ok(Writing::Overtaken) };
        let mut whole: CustomResourceDefinition = serde_json::from_slice(&item.object()).map_err(ApiError::internal)?;
        whole.status.clone_from(&new.status);
        whole.metadata.finalizers.clone_from(&new.metadata.finalizers);
        let mut at = target(GROUP, PLURAL, "", whole.name());
        at.subresource = "status".into();
        let json = Bytes::from(serde_json::to_vec(&whole).map_err(ApiError::internal)?);
        let options = WriteOptions { field_manager: CONTROLLER.into(), ..WriteOptions::default() };
        match self.update(&Authorized::own(at), json, options).await {
            Err(err) if err.is(Reason::Conflict) || err.is(Reason::NotFound) => Ok(Writing::Overtaken),
            written => written.map(|_| Writing::Written),
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
        match changes {
            Ok(mut changes) => loop {
                let looked = {
                    let Some(resources) = resources.upgrade() else { return };
                    resources.look_after_custom_kinds(&mut kept).await
                };
                kept.cleaners.set(&looked.going, &resources);
                let told = match looked.again {
                    None => changes.next().await,
                    Some(wait) => match timeout(wait, changes.next()).await {
                        Ok(told) => told,
                        Err(_) => continue,
                    },
                };
                match told {
                    Some(Ok(_)) => {}
                    Some(Err(_)) | None => break,
                }
            },
            Err(err) => tracing::warn!(%err, "definitions cannot be watched; again soon"),
        }
        sleep(WATCH_AGAIN).await;
    }
}

#[cfg(test)]
mod tests;

//! Storage version migrations: every object of a resource is written anew, so that it is stored in the version of today.
//!
//! <https://kubernetes.io/docs/tasks/manage-kubernetes-objects/storage-version-migration/>

pub mod decide;
pub mod known;
pub mod run;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use corten_api::k8s_openapi::api::storagemigration::v1::{StorageVersionMigration, StorageVersionMigrationStatus};
use corten_api::k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use corten_api::{ApiError, Key, Object, Reason, error};
use corten_client::{ApiResource, MetadataClient, Next, Patch};
use futures::stream::{self, StreamExt};
use jiff::Timestamp;
use parking_lot::Mutex;
use serde_json::json;
use tokio::time::Instant;
use tracing::info;

use crate::context::Context;
use crate::controller::{Controller, Loop, Setup};
use crate::metadata::SeenMeta;
use crate::monitors::{KindId, Monitors};
use decide::{Observed, Step};
use known::Known;
use run::{Definition, Outcome, Run, Stored, Todo};

/// Objects that one look at a migration writes: others have their turn between two, and progress is told after each.
const PAGE: usize = 500;
/// Objects that are written at the same time.
const AT_ONCE: usize = 8;
/// Until the objects of the kind are known as they were when the migration began.
const CATCH_UP_MAX: Duration = Duration::from_secs(10);

/// What is under way, by migration. As many as there are migrations that have neither succeeded nor failed.
type Runs = Arc<Mutex<HashMap<Key, Known>>>;

/// Its items are migrations.
pub fn controller(setup: &Setup) -> Loop {
    let (runs, monitors) = (Runs::default(), setup.monitors.clone());
    let begun = Arc::clone(&runs);
    Controller::new(setup)
        .workers(1)
        // Another may have gone on with them meanwhile: they begin anew, and what is written already is not written again.
        .source(move |_, _| begun.lock().clear())
        .reconciles(&setup.caches.of::<StorageVersionMigration>())
        .run(move |context, key| {
            let this = Migrator { context, monitors: monitors.clone(), runs: Arc::clone(&runs) };
            async move { this.sync(&key).await }
        })
}

struct Migrator {
    context: Context,
    monitors: Monitors,
    runs: Runs,
}

impl Migrator {
    async fn sync(&self, key: &Key) -> Result<Next, ApiError> {
        let migration = self.context.caches.of::<StorageVersionMigration>().get(key);
        let Some(migration) = migration.filter(|migration| !decide::is_over(migration)) else {
            self.runs.lock().remove(key);
            return Ok(Next::Done);
        };
        let of = decide::resource(&migration);
        // In this order: what is not there was not there when all were known.
        let is_known = self.monitors.are_kinds_known();
        let served = self.monitors.named(&of.group, &of.resource);
        let is_served = is_known.then_some(served.is_some());
        let definition = match &served {
            Some((resource, _)) => self.definition(resource).await?.as_ref().map(Definition::of),
            None => None,
        };
        let (known_for, settled_for) = self.note(&migration, served.is_some(), definition);
        match decide::decide(&Observed { known_for, settled_for, migration: &migration, is_served }) {
            Step::Wait(wait) => Ok(Next::After(wait)),
            Step::Fail(why) => self.tell(&migration, decide::failed(&migration, &why, Timestamp::now())).await,
            Step::Begin => {
                let revision = self.context.client.newest_revision().await?;
                self.tell(&migration, decide::begun(&migration, revision, Timestamp::now())).await
            }
            Step::Migrate => match served {
                Some((resource, id)) => self.migrate(&migration, &resource, id).await,
                None => Err(ApiError::unavailable(format!("{} is not served any more", decide::name(&migration)))),
            },
        }
    }

    /// For how long the migration is known, and that its kind is defined as it is.
    fn note(
        &self,
        migration: &StorageVersionMigration,
        is_served: bool,
        definition: Option<Definition>,
    ) -> (Duration, Duration) {
        let (mut runs, now) = (self.runs.lock(), Instant::now());
        let known = runs.entry(migration.key()).or_insert_with(|| Known::new(migration.uid(), now));
        if known.uid != migration.uid() {
            *known = Known::new(migration.uid(), now);
        }
        if is_served {
            known.note(definition, now);
        }
        (known.known_for(now), known.settled_for(now))
    }

    /// One page of objects, or what comes after the last.
    async fn migrate(
        &self,
        migration: &StorageVersionMigration,
        resource: &ApiResource,
        id: KindId,
    ) -> Result<Next, ApiError> {
        let key = migration.key();
        let known = self.runs.lock().get_mut(&key).and_then(|known| known.run.take());
        let mut run = match known {
            Some(run) => run,
            None => self.begin(migration, resource, id).await?,
        };
        let keep = |run: Run| {
            if let Some(known) = self.runs.lock().get_mut(&key) {
                known.run = Some(run);
            }
        };
        let page = run.page(PAGE);
        if page.is_empty() {
            let finished = self.finish(migration, resource, &run).await;
            if finished.is_err() {
                keep(run);
            }
            return finished;
        }
        let outcomes = self.write_all(resource, page).await;
        let failed = run.take(outcomes);
        let (progress, again) = (run.progress(), run.again.take());
        keep(run);
        if let Some(why) = failed {
            return self.tell(migration, decide::failed(migration, &why, Timestamp::now())).await;
        }
        if let Some(err) = again {
            return Err(err);
        }
        self.tell(migration, decide::running(migration, &progress, Timestamp::now())).await?;
        Ok(Next::After(Duration::ZERO))
    }

    async fn begin(
        &self,
        migration: &StorageVersionMigration,
        resource: &ApiResource,
        id: KindId,
    ) -> Result<Run, ApiError> {
        // First: a storage version that is another by the end is noticed.
        let definition = self.definition(resource).await?.as_ref().map(Definition::of);
        // What came before the kind was stored as it is now may be stored otherwise, also if it is younger than the migration.
        let revision = self.context.client.newest_revision().await?;
        let objects = self.objects(resource, id, revision).await?;
        let todo =
            objects.into_iter().map(|seen| Todo { key: seen.key, uid: seen.uid, revision: seen.revision, tries: 0 });
        let run = Run::new(definition, todo.collect());
        info!(migration = migration.name(), %resource, objects = run.total, "writes all objects anew");
        Ok(run)
    }

    /// All objects that may be stored in an older version: those that the caches show at `revision` or later. What came or
    /// changed after it is stored in the version of today.
    async fn objects(&self, resource: &ApiResource, id: KindId, revision: i64) -> Result<Vec<SeenMeta>, ApiError> {
        let caught_up = tokio::time::timeout(CATCH_UP_MAX, self.monitors.all_at(id, revision)).await;
        let late =
            || ApiError::unavailable(format!("the objects of {resource} are not known as of revision {revision} yet"));
        match caught_up.map_err(|_| late())? {
            Some(objects) => Ok(objects),
            // Events, which nobody watches.
            None => {
                let listed = MetadataClient::new(&self.context.client, resource).list("").await?;
                Ok(listed.items.iter().map(|object| SeenMeta::of(&object.metadata)).collect())
            }
        }
    }

    async fn write_all(&self, resource: &ApiResource, page: Vec<Todo>) -> Vec<(Todo, Outcome)> {
        let objects = MetadataClient::new(&self.context.prompt, resource);
        let mut writes = Vec::with_capacity(page.len());
        for todo in page {
            writes.push(self.write(&objects, resource, todo));
        }
        stream::iter(writes).buffer_unordered(AT_ONCE).collect().await
    }

    /// Changes nothing, of the very object that was seen: who has written it since has stored it as it is stored today.
    async fn write(&self, objects: &MetadataClient, resource: &ApiResource, todo: Todo) -> (Todo, Outcome) {
        let same = json!({"metadata": {"uid": todo.uid, "resourceVersion": todo.revision.to_string()}});
        let send = || objects.patch(&todo.key, Patch::Merge(same.clone()));
        let written = self.context.width.send(send).await;
        let outcome = run::outcome(written.map(drop), &format!("{resource} {}", todo.key));
        (todo, outcome)
    }

    async fn finish(
        &self,
        migration: &StorageVersionMigration,
        resource: &ApiResource,
        run: &Run,
    ) -> Result<Next, ApiError> {
        let definition = self.definition(resource).await?;
        match run::stored(definition.as_ref(), run.definition.as_ref()) {
            Stored::Told => {}
            // The next look begins a run of its own, when that has settled.
            Stored::ChangedMeanwhile => return Ok(Next::After(Duration::ZERO)),
            Stored::Tell(patch) => {
                let key = Key::cluster(definition_name(resource));
                self.context.client.patch::<CustomResourceDefinition>(&key, "status", Patch::Merge(patch)).await?;
            }
        }
        info!(migration = migration.name(), %resource, "all objects are written anew");
        self.tell(migration, decide::succeeded(migration, &run.progress(), Timestamp::now())).await
    }

    /// `None`: the kind is not custom.
    async fn definition(&self, resource: &ApiResource) -> Result<Option<CustomResourceDefinition>, ApiError> {
        match self.context.client.get(&Key::cluster(definition_name(resource))).await {
            Ok(definition) => Ok(Some(definition)),
            Err(err) if err.is(Reason::NotFound) && !err.is_no_such_path() => Ok(None),
            Err(err) => Err(err),
        }
    }

    async fn tell(
        &self,
        migration: &StorageVersionMigration,
        status: StorageVersionMigrationStatus,
    ) -> Result<Next, ApiError> {
        let changed = StorageVersionMigration { status: Some(status), ..migration.clone() };
        match self.context.client.update_status(&changed).await {
            Ok(written) => {
                let cache = self.context.caches.of::<StorageVersionMigration>();
                self.context.caught_up(&cache, written.revision()).await;
            }
            Err(err) if err.is(Reason::NotFound) => {}
            Err(err) => return Err(err),
        }
        Ok(Next::Done)
    }
}

fn definition_name(resource: &ApiResource) -> String {
    error::qualified(&resource.plural, &resource.group)
}

//! The task that keeps the engine and the cluster's objects in step.
//!
//! At the start and each minute it writes what [`upkeep`] finds due. Whenever an object has changed it has the engine obey what
//! is there now, and writes the conditions that [`dangling`] finds due. All apiservers of a cluster do so: they come to the same
//! decisions, each write names the revision that was decided on, and one that lost a race decides anew. Two that do not come to
//! the same (a release and the next) do not fight without end: a condition is written [`rate`]-limited.
//!
//! Nothing here can stop the engine. An object that cannot be obeyed counts as not there, and while the objects cannot be read,
//! or make no configuration together, what was obeyed before stays.

mod rate;
mod write;

use std::collections::BTreeMap;
use std::time::Duration;

use corten_api::ApiError;
use futures::{FutureExt, StreamExt};
use k8s_openapi::api::flowcontrol::v1::{FlowSchema, PriorityLevelConfiguration};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use serde::de::DeserializeOwned;
use tokio::time::{Instant, sleep, sleep_until};

use self::rate::Rate;
use super::{FlowControl, dangling, objects, upkeep};
use crate::resources::{
    Authorized, ListOptions, ReadAt, Resources, WatchFrom, WatchOptions, WatchStream, Weak, target,
};

const GROUP: &str = "flowcontrol.apiserver.k8s.io";
const LEVELS: &str = "prioritylevelconfigurations";
const SCHEMAS: &str = "flowschemas";

const UPKEEP_EVERY: Duration = Duration::from_secs(60);
/// Changes that come together are taken in together.
const SETTLE_FOR: Duration = Duration::from_millis(100);
/// After a turn that failed, as of the store.
const RETRY_AFTER: Duration = Duration::from_secs(5);

/// Makes what must be there and has the engine obey it, before the first request; then starts the task that goes on. What
/// fails is tried again by the task: the engine has built-in objects to obey meanwhile.
pub async fn start(resources: &Resources, flow: &FlowControl) {
    let mut keeper = Keeper::new(resources, flow);
    if let Err(err) = keeper.begin(resources).await {
        tracing::warn!(%err, "priority levels and flow schemas were not all made; again soon");
    }
    let drained = resources.drained();
    tokio::spawn(async move { drained.run_until_cancelled_owned(keeper.run()).await });
}

struct Keeper {
    resources: Weak,
    flow: FlowControl,
    rate: Rate,
    upkeep_at: Instant,
    /// The levels that cannot be obeyed, and what else was wrong at last: told once.
    broken: BTreeMap<String, objects::Broken>,
    refused: Option<String>,
}

/// What the cluster has.
struct Objects {
    levels: Vec<PriorityLevelConfiguration>,
    schemas: Vec<FlowSchema>,
}

impl Keeper {
    fn new(resources: &Resources, flow: &FlowControl) -> Self {
        let (broken, refused) = (BTreeMap::new(), None);
        let (resources, flow, rate) = (resources.weak(), flow.clone(), Rate::default());
        Self { resources, flow, rate, upkeep_at: Instant::now(), broken, refused }
    }

    async fn begin(&mut self, resources: &Resources) -> Result<(), ApiError> {
        self.keep_up(resources).await?;
        let objects = Objects::read(resources, ReadAt::Newest).await?;
        self.obey(&objects);
        Ok(())
    }

    async fn run(mut self) {
        while let Some(resources) = self.resources.upgrade() {
            let watched =
                async { Ok::<_, ApiError>((watch(&resources, LEVELS).await?, watch(&resources, SCHEMAS).await?)) };
            match watched.await {
                Ok((levels, schemas)) => {
                    let changes = futures::stream::select(levels, schemas).boxed();
                    drop(resources);
                    self.follow(changes).await;
                }
                Err(err) => tracing::warn!(%err, "priority levels and flow schemas cannot be watched; again soon"),
            }
            sleep(RETRY_AFTER).await;
        }
    }

    /// Until the watches break off.
    async fn follow(&mut self, mut changes: WatchStream) {
        loop {
            let Some(resources) = self.resources.upgrade() else { return };
            let next = match self.turn(&resources).await {
                Ok(next) => next,
                Err(err) => {
                    tracing::warn!(%err, "priority levels and flow schemas were not all written; again soon");
                    Instant::now() + RETRY_AFTER
                }
            };
            drop(resources);
            tokio::select! {
                change = changes.next() => if !matches!(change, Some(Ok(_))) { return },
                () = sleep_until(next) => continue,
            }
            sleep(SETTLE_FOR).await;
            while let Some(change) = changes.next().now_or_never() {
                if !matches!(change, Some(Ok(_))) {
                    return;
                }
            }
        }
    }

    /// Gives when the next turn is due, if nothing changes.
    async fn turn(&mut self, resources: &Resources) -> Result<Instant, ApiError> {
        // The engine first: it must not wait for writes.
        let mut objects = Objects::read(resources, ReadAt::Any).await?;
        self.obey(&objects);
        if Instant::now() >= self.upkeep_at {
            self.keep_up(resources).await?;
            objects = Objects::read(resources, ReadAt::Newest).await?;
            self.obey(&objects);
        }
        let retry = self.tell(resources, &objects).await?;
        Ok(retry.map_or(self.upkeep_at, |retry| retry.min(self.upkeep_at)))
    }

    async fn keep_up(&mut self, resources: &Resources) -> Result<(), ApiError> {
        let objects = Objects::read(resources, ReadAt::Newest).await?;
        for action in upkeep::decide(&objects.levels, &objects.schemas) {
            write::carry_out(resources, action).await?;
        }
        self.upkeep_at = Instant::now() + UPKEEP_EVERY;
        Ok(())
    }

    fn obey(&mut self, objects: &Objects) {
        let broken: BTreeMap<_, _> = objects::broken_levels(&objects.levels).into_iter().collect();
        if broken != self.broken {
            for (name, why) in &broken {
                tracing::warn!(name, "a PriorityLevelConfiguration counts as not there: {why}");
            }
            self.broken = broken;
        }
        let refused = match objects::configuration(&objects.levels, &objects.schemas) {
            Ok(configuration) => {
                let (levels, schemas) = (configuration.levels().len(), configuration.schemas().len());
                if self.flow.configure(configuration) {
                    tracing::info!(levels, schemas, "requests are sorted by what the cluster's objects say now");
                }
                None
            }
            Err(err) => Some(err.to_string()),
        };
        if refused != self.refused {
            if let Some(why) = &refused {
                tracing::error!(
                    "priority levels and flow schemas cannot be obeyed, what was obeyed before stays: {why}"
                );
            }
            self.refused = refused;
        }
    }

    /// Gives when to look again at conditions that were not written because they were written often of late.
    async fn tell(&mut self, resources: &Resources, objects: &Objects) -> Result<Option<Instant>, ApiError> {
        let mut retry = None;
        for (schema, condition) in dangling::due(&objects.levels, &objects.schemas, &Time(Timestamp::now())) {
            let name = schema.metadata.name.as_deref().unwrap_or_default();
            let now = Instant::now();
            if self.rate.takes(name, now) {
                write::condition(resources, schema, condition).await?;
            } else {
                retry = Some(now + rate::pause());
            }
        }
        Ok(retry)
    }
}

impl Objects {
    async fn read(resources: &Resources, at: ReadAt) -> Result<Self, ApiError> {
        Ok(Self { levels: read(resources, LEVELS, at).await?, schemas: read(resources, SCHEMAS, at).await? })
    }
}

/// All of a kind, but for those that cannot be read.
async fn read<K: DeserializeOwned>(resources: &Resources, plural: &str, at: ReadAt) -> Result<Vec<K>, ApiError> {
    let all = Authorized::own(target(GROUP, plural, "", ""));
    let rows = resources.list_items(&all, ListOptions { at, ..ListOptions::default() }).await?;
    let object = |item: &std::sync::Arc<crate::cache::Item>| match serde_json::from_slice(&item.object()) {
        Ok(object) => Some(object),
        Err(err) => {
            tracing::warn!(plural, name = item.name(), %err, "an object counts as not there: it cannot be read");
            None
        }
    };
    Ok(rows.items.iter().filter_map(object).collect())
}

async fn watch(resources: &Resources, plural: &str) -> Result<WatchStream, ApiError> {
    let options = WatchOptions { from: WatchFrom::Now, ..WatchOptions::default() };
    resources.watch(&Authorized::own(target(GROUP, plural, "", "")), options).await
}

#[cfg(test)]
mod tests;

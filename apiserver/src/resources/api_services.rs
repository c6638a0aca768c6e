//! APIServices of what this server answers itself, and which group versions others answer.
//!
//! Every apiserver keeps an APIService for each group version that is served here: of its own when it starts, of what users define
//! for as long as there is a definition ([`step`]). What it writes names the revision that it looked at, so that several servers do
//! not write the same. Which group versions have a Service is told to whoever reads requests (`Registry::routes`).

mod step;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use corten_api::{ApiError, Object, Reason};
use futures::{FutureExt, StreamExt};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{DeleteOptions, Preconditions};
use k8s_openapi::kube_aggregator::pkg::apis::apiregistration::v1::APIService;
use serde::Deserialize;
use tokio::time::{sleep, timeout};

use self::step::{Managed, Step, Wanted};
use super::system::target;
use super::{Authorized, Resources, WatchFrom, WatchOptions, WatchStream, WriteOptions};
use crate::registry::apiextensions::customresourcedefinition as definitions;
use crate::registry::apiregistration::apiservice::{self, Availability, PLURAL, STORE_PREFIX};
use crate::registry::apiregistration::routes::Routes;
use crate::registry::apiregistration::{GROUP, priority};
use crate::registry::clock;
use crate::registry::questions::QUESTIONS;

/// Writes under way at one time.
const WIDTH: usize = 16;
/// What failed is tried again then, and a watch that has ended begins again.
const AGAIN: Duration = Duration::from_secs(5);
const MANAGER: &str = "kube-apiserver";

/// What has been read, by name, each at its revision.
#[derive(Debug, Default)]
pub(super) struct Kept {
    services: HashMap<String, (i64, Arc<APIService>)>,
    defined: HashMap<String, (i64, Arc<Defined>)>,
}

/// What of a definition matters here: its schemas take much room, and are passed over.
#[derive(Debug, Deserialize)]
struct Defined {
    spec: DefinedSpec,
}

#[derive(Debug, Deserialize)]
struct DefinedSpec {
    group: String,
    #[serde(default)]
    versions: Vec<DefinedVersion>,
}

#[derive(Debug, Deserialize)]
struct DefinedVersion {
    name: String,
    #[serde(default)]
    served: bool,
}

impl Resources {
    /// Before the first request: those of what is built in, and who answers what.
    pub(super) async fn make_api_services(&self) -> Result<(), ApiError> {
        let mut kept = Kept::default();
        let (there, wanted) = self.api_services(&mut kept);
        let steps = step::steps(&there, &wanted, true);
        self.carry_out_steps(&there, steps).await?;
        self.follow_api_services(&mut kept);
        Ok(())
    }

    /// Names of those of what is built in that are not there, or do not say yet that they are served here. What a user has given to
    /// another server is there, whether that answers or not: it may need this server to be ready first.
    pub(crate) fn missing_api_services(&self) -> Vec<String> {
        let (there, wanted) = self.api_services(&mut Kept::default());
        let is_said = |of: &APIService| apiservice::is_remote(of) || apiservice::is_available(of);
        let is_there = |name: &str| there.iter().any(|of| of.name() == name && is_said(of));
        let builtin = wanted.values().filter(|one| one.managed == Managed::OnStart).map(Wanted::name);
        builtin.filter(|name| !is_there(name)).collect()
    }

    /// What is there, and what should be.
    fn api_services(&self, kept: &mut Kept) -> (Vec<Arc<APIService>>, BTreeMap<String, Wanted>) {
        let there = self.read_all(STORE_PREFIX, &mut kept.services);
        let defined = self.read_all::<Defined>(definitions::STORE_PREFIX, &mut kept.defined);
        let mut wanted = BTreeMap::new();
        let mut add = |group: &str, version: &str, managed: Managed| {
            if group != GROUP {
                let priority = match managed {
                    Managed::OnStart => priority::of_builtin(group, version),
                    Managed::Always => priority::CUSTOM,
                };
                let (group, version) = (group.to_owned(), version.to_owned());
                // What is built in comes first, and stays.
                let one = Wanted { group, version, priority, managed };
                wanted.entry(one.name()).or_insert(one);
            }
        };
        let table = self.registry().table();
        for kind in table.iter().filter(|kind| !kind.is_custom()) {
            add(kind.group(), kind.version(), Managed::OnStart);
        }
        for question in QUESTIONS {
            add(question.group, "v1", Managed::OnStart);
        }
        for definition in &defined {
            for version in definition.spec.versions.iter().filter(|version| version.served) {
                add(&definition.spec.group, &version.name, Managed::Always);
            }
        }
        (there, wanted)
    }

    /// As the cache has them; each is read once for each of its revisions.
    fn read_all<K: serde::de::DeserializeOwned>(
        &self,
        store_prefix: &str,
        known: &mut HashMap<String, (i64, Arc<K>)>,
    ) -> Vec<Arc<K>> {
        let Some(kind) = self.inner.cache.kind(store_prefix) else { return Vec::new() };
        let snapshot = kind.snapshot(self.inner.cache.revision());
        let mut before = std::mem::take(known);
        for row in &snapshot.items {
            let item = &row.0;
            let read = match before.remove(item.name()) {
                Some((revision, read)) if revision == item.revision => Some(read),
                _ => serde_json::from_slice(&item.object())
                    .inspect_err(|err| tracing::error!(%err, "{} cannot be read", item.name()))
                    .ok()
                    .map(Arc::new),
            };
            if let Some(read) = read {
                known.insert(item.name().to_owned(), (item.revision, read));
            }
        }
        snapshot.items.iter().filter_map(|row| known.get(row.0.name()).map(|(_, read)| read.clone())).collect()
    }

    /// Who reads requests knows from now on what others answer.
    fn follow_api_services(&self, kept: &mut Kept) {
        let there = self.read_all(STORE_PREFIX, &mut kept.services);
        let before = self.registry().routes();
        let routes = Routes::new(there.iter().map(AsRef::as_ref), &before);
        if !routes.is_same(&before) {
            self.registry().set_routes(Arc::new(routes));
        }
    }

    async fn look_after_api_services(&self, kept: &mut Kept) -> Result<(), ApiError> {
        self.inner.cache.catch_up().await?;
        self.follow_api_services(kept);
        let (there, wanted) = self.api_services(kept);
        let steps = step::steps(&there, &wanted, false);
        self.carry_out_steps(&there, steps).await
    }

    async fn carry_out_steps(&self, there: &[Arc<APIService>], steps: Vec<(String, Step)>) -> Result<(), ApiError> {
        let writes = steps.into_iter().map(|(name, step)| {
            let old = there.iter().find(|service| service.name() == name).cloned();
            self.carry_out_step(name, old, step)
        });
        let done: Vec<Result<(), ApiError>> = futures::stream::iter(writes).buffered(WIDTH).collect().await;
        done.into_iter().collect()
    }

    async fn carry_out_step(&self, name: String, old: Option<Arc<APIService>>, step: Step) -> Result<(), ApiError> {
        let options = WriteOptions { field_manager: MANAGER.into(), ..WriteOptions::default() };
        let at = target(GROUP, PLURAL, "", &name);
        let json = |object: &APIService| serde_json::to_vec(object).map(Bytes::from).map_err(ApiError::internal);
        let done = match (step, old) {
            (Step::Create(new), _) => {
                self.create(&Authorized::own(target(GROUP, PLURAL, "", "")), json(&new)?, options).await.map(drop)
            }
            (Step::Update(new), _) => self.update(&Authorized::own(at), json(&new)?, options).await.map(drop),
            (Step::SayLocal, Some(old)) => self.write_availability(&old, &Availability::local()).await,
            (Step::Delete, Some(old)) => {
                let preconditions = Some(Preconditions { uid: old.metadata.uid.clone(), resource_version: None });
                let how = DeleteOptions { preconditions, ..DeleteOptions::default() };
                self.delete(&Authorized::own(at), how, options).await.map(drop)
            }
            (Step::SayLocal | Step::Delete, None) => Ok(()),
        };
        match done {
            // Another was quicker, most likely with the same; the next look tells.
            Err(err) if [Reason::AlreadyExists, Reason::Conflict, Reason::NotFound].iter().any(|r| err.is(*r)) => {
                Ok(())
            }
            done => done,
        }
    }

    /// Says whether requests are answered, unless the object has changed since it was looked at.
    pub(crate) async fn write_availability(&self, of: &APIService, said: &Availability) -> Result<(), ApiError> {
        let mut new = of.clone();
        apiservice::set(new.status.get_or_insert_default(), said, &clock::now());
        let mut at = target(GROUP, PLURAL, "", of.name());
        at.subresource = "status".into();
        let json = Bytes::from(serde_json::to_vec(&new).map_err(ApiError::internal)?);
        let options = WriteOptions { field_manager: MANAGER.into(), ..WriteOptions::default() };
        match self.update(&Authorized::own(at), json, options).await {
            Err(err) if err.is(Reason::Conflict) || err.is(Reason::NotFound) => Ok(()),
            written => written.map(drop),
        }
    }

    /// One of them, as the cache has it.
    pub(crate) fn api_service(&self, name: &str) -> Option<APIService> {
        let item = self.inner.cache.kind(STORE_PREFIX)?.get(name)?;
        let read = serde_json::from_slice(&item.object());
        read.inspect_err(|err| tracing::error!(%err, "{name} cannot be read")).ok()
    }

    async fn changes_of(&self, group: &str, plural: &str) -> Result<WatchStream, ApiError> {
        let options = WatchOptions { from: WatchFrom::Now, ..WatchOptions::default() };
        self.watch(&Authorized::own(target(group, plural, "", "")), options).await
    }
}

/// Looks after them for as long as the server lives.
pub(super) async fn run(resources: super::Weak) {
    let mut kept = Kept::default();
    loop {
        if let Err(err) = follow(&resources, &mut kept).await {
            tracing::warn!(%err, "APIServices are not looked after; again soon");
        }
        if resources.upgrade().is_none() {
            return;
        }
        sleep(AGAIN).await;
    }
}

/// Until a watch ends.
async fn follow(resources: &super::Weak, kept: &mut Kept) -> Result<(), ApiError> {
    let (mut services, mut definitions) = {
        let Some(resources) = resources.upgrade() else { return Ok(()) };
        let services = resources.changes_of(GROUP, PLURAL).await?;
        (services, resources.changes_of(definitions::GROUP, definitions::PLURAL).await?)
    };
    loop {
        let failed = {
            let Some(resources) = resources.upgrade() else { return Ok(()) };
            let looked = resources.look_after_api_services(kept).await;
            looked.inspect_err(|err| tracing::warn!(%err, "APIServices were not looked after; again soon")).is_err()
        };
        let changed = async {
            tokio::select! {
                told = services.next() => told,
                told = definitions.next() => told,
            }
        };
        let told = if failed {
            match timeout(AGAIN, changed).await {
                Ok(told) => told,
                Err(_) => continue,
            }
        } else {
            changed.await
        };
        match told {
            Some(told) => drop(told?),
            None => return Ok(()),
        }
        // What has come meanwhile is looked at together.
        for changes in [&mut services, &mut definitions] {
            while let Some(Some(told)) = changes.next().now_or_never() {
                drop(told?);
            }
        }
    }
}

//! Namespaces: deleting one empties it, then lets it go.

pub mod decide;

use std::collections::BTreeMap;

use corten_api::k8s_openapi::api::core::v1::Namespace;
use corten_api::k8s_openapi::apimachinery::pkg::apis::meta::v1::DeleteOptions;
use corten_api::{ApiError, Key, Object, Reason};
use corten_client::{ApiResource, MetadataClient, Next};
use futures::stream::{self, StreamExt};
use jiff::Timestamp;
use tracing::info;

use crate::context::{Context, same_uid};
use crate::controller::{Controller, Loop, Setup};
use crate::metadata::SeenMeta;
use crate::monitors::{MetaChange, Monitors};
use crate::width::WIDTH_MAX;
use decide::{Decision, FINALIZER, Observed};

const WORKERS: usize = 2;

struct Namespaces {
    context: Context,
    monitors: Monitors,
}

/// Its items are namespaces.
pub fn controller(setup: &Setup) -> Loop {
    let (namespaces, monitors) = (setup.caches.of::<Namespace>(), setup.monitors.clone());
    let contents = monitors.clone();
    Controller::new(setup)
        .workers(WORKERS)
        .reconciles(&namespaces)
        .source(move |stop, queue| {
            let (namespaces, queue) = (namespaces.clone(), queue.clone());
            contents.owned_by(stop).subscribe(move |change: MetaChange| {
                // What comes to or goes from a namespace that is being emptied.
                let namespace = Key::cluster(change.id.key.namespace.as_str());
                let counts = change.old.is_none() || change.new.is_none();
                let is_emptied = || namespaces.get(&namespace).is_some_and(|n| n.is_deleting());
                if counts && !namespace.name.is_empty() && is_emptied() {
                    queue.add(namespace);
                }
            });
        })
        .run(move |context, key| {
            let this = Namespaces { context, monitors: monitors.clone() };
            async move { this.sync(&key).await }
        })
}

type Content = BTreeMap<String, Vec<SeenMeta>>;

impl Namespaces {
    async fn sync(&self, key: &Key) -> Result<Next, ApiError> {
        let Some(namespace) = self.context.caches.of::<Namespace>().get(key) else { return Ok(Next::Done) };
        if !namespace.is_deleting() || !decide::has_finalizer(&namespace) {
            return Ok(Next::Done);
        }
        let content = self.cached(&key.name);
        let seen = |content, failures| Observed { now: Timestamp::now(), namespace: &namespace, content, failures };
        let first = decide::decide(&seen(content.clone(), Vec::new()));
        let failures = self.delete(&first).await;
        if !failures.is_empty() {
            self.write_status(&namespace, &decide::decide(&seen(content, failures.clone()))).await?;
            return Err(ApiError::unavailable(failures.join(", ")));
        }
        if !first.is_empty {
            self.write_status(&namespace, &first).await?;
            return Ok(Next::Done);
        }
        // The caches say that it is empty. They may be behind, and know nothing of Events: ask.
        let live = self.live(&key.name).await?;
        let last = decide::decide(&seen(live, Vec::new()));
        let failures = self.delete(&last).await;
        self.write_status(&namespace, &last).await?;
        match (last.is_empty, failures.is_empty()) {
            (true, _) => self.finalize(&namespace).await,
            (false, true) => Err(ApiError::unavailable("something was made meanwhile; looking again")),
            (false, false) => Err(ApiError::unavailable(failures.join(", "))),
        }
    }

    /// What the caches say is in a namespace.
    fn cached(&self, namespace: &str) -> Content {
        let found = self.monitors.namespaced().into_iter();
        found.map(|(id, resource)| (resource.to_string(), self.monitors.in_namespace(id, namespace))).collect()
    }

    /// What the apiserver says is in it. Its Events are deleted on the way: they are the last to go.
    async fn live(&self, namespace: &str) -> Result<Content, ApiError> {
        let mut content = Content::new();
        for (_, resource) in self.monitors.namespaced() {
            match self.list(&resource, namespace).await {
                Ok(objects) => drop(content.insert(resource.to_string(), objects)),
                // A kind that this apiserver does not serve has no objects.
                Err(err) if err.is(Reason::NotFound) => {}
                Err(err) => return Err(err),
            }
        }
        if content.values().all(Vec::is_empty)
            && let Some(events) = self.monitors.events()
        {
            let listed = self.list(&events, namespace).await?;
            let wanted = listed.iter().map(|e| (events.clone(), e.key.clone(), e.uid.clone())).collect();
            let failures = self.delete_all(wanted).await;
            if !failures.is_empty() {
                return Err(ApiError::unavailable(failures.join(", ")));
            }
        }
        Ok(content)
    }

    async fn list(&self, resource: &ApiResource, namespace: &str) -> Result<Vec<SeenMeta>, ApiError> {
        let listed = MetadataClient::new(&self.context.client, resource).list(namespace).await?;
        Ok(listed.items.iter().map(|object| SeenMeta::of(&object.metadata)).collect())
    }

    /// Deletes what was decided on; returns what failed, in words.
    async fn delete(&self, decision: &Decision) -> Vec<String> {
        let resources: BTreeMap<String, ApiResource> =
            self.monitors.namespaced().into_iter().map(|(_, resource)| (resource.to_string(), resource)).collect();
        let wanted = decision.delete.iter().filter_map(|(named, key, uid)| {
            // A kind that is not served any more has no objects.
            Some((resources.get(named)?.clone(), key.clone(), uid.clone()))
        });
        self.delete_all(wanted.collect()).await
    }

    async fn delete_all(&self, wanted: Vec<(ApiResource, Key, String)>) -> Vec<String> {
        let mut deletions = Vec::new();
        for (resource, key, uid) in wanted {
            deletions.push(self.delete_one(resource, key, uid));
        }
        let mut failures = Vec::new();
        let mut ended = stream::iter(deletions).buffer_unordered(WIDTH_MAX);
        while let Some(failed) = ended.next().await {
            failures.extend(failed);
        }
        failures
    }

    async fn delete_one(&self, resource: ApiResource, key: Key, uid: String) -> Option<String> {
        let options = DeleteOptions {
            preconditions: same_uid(&uid),
            propagation_policy: Some("Background".into()),
            ..DeleteOptions::default()
        };
        let objects = MetadataClient::new(&self.context.prompt, &resource);
        match self.context.width.send(|| objects.delete(&key, &options)).await {
            Err(err) if !err.is(Reason::NotFound) && !err.is(Reason::Conflict) => {
                Some(format!("{resource} {}: {err}", key.name))
            }
            _ => None,
        }
    }

    async fn write_status(&self, namespace: &Namespace, decision: &Decision) -> Result<(), ApiError> {
        let Some(status) = &decision.status else { return Ok(()) };
        let mut changed = namespace.clone();
        changed.status = Some(status.clone());
        match self.context.client.update_status(&changed).await {
            Ok(written) => self.context.caught_up(&self.context.caches.of::<Namespace>(), written.revision()).await,
            // Its newer form comes by watch.
            Err(err) if err.is(Reason::NotFound) || err.is(Reason::Conflict) => {}
            Err(err) => return Err(err),
        }
        Ok(())
    }

    /// Takes our finalizer away; with the last one the apiserver lets the namespace go.
    async fn finalize(&self, namespace: &Namespace) -> Result<Next, ApiError> {
        let newest: Namespace = match self.context.client.get(&namespace.key()).await {
            Ok(newest) => newest,
            Err(err) if err.is(Reason::NotFound) => return Ok(Next::Done),
            Err(err) => return Err(err),
        };
        if newest.uid() != namespace.uid() {
            return Ok(Next::Done);
        }
        let mut changed = newest;
        if let Some(finalizers) = changed.spec.as_mut().and_then(|s| s.finalizers.as_mut()) {
            finalizers.retain(|f| f != FINALIZER);
        }
        match self.context.client.update_subresource(&changed, "finalize").await {
            Ok(_) => info!(namespace = namespace.name(), "is empty and goes"),
            Err(err) if err.is(Reason::NotFound) => {}
            Err(err) => return Err(err),
        }
        Ok(Next::Done)
    }
}

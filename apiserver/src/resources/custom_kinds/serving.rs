//! Serves the kinds whose names are accepted: some at one time, and none again for what changes nothing of it.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use corten_api::{ApiError, Object};
use futures::{StreamExt, stream};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use tokio::time::Instant;

use super::own::is_reserved;
use super::{CONTROLLER, Definition, Kept, is_going, step};
use crate::aside::aside;
use crate::registry::apiextensions::customresourcedefinition::conditions;
use crate::registry::custom::{CustomKind, CustomKindError, store_prefix};
use crate::resources::Resources;

/// Definitions that are compiled, and whose objects are read, at one time.
const SERVED_CONCURRENT_MAX: usize = 4;

/// What came of serving a definition.
pub(super) enum Serving {
    Begun,
    /// It has changed since it was looked at; the next look tells.
    Overtaken,
    Never(CustomKindError),
}

/// What is served of a definition. Of one that is to go so much that its objects can go.
pub(super) fn kind_of(crd: &CustomResourceDefinition) -> Result<CustomKind, CustomKindError> {
    match CustomKind::of(crd, is_going(crd)) {
        Err(err) if is_going(crd) => CustomKind::unread(crd).map_err(|_| err),
        kind => kind,
    }
}

impl Kept {
    pub(super) fn note_serving(
        &mut self,
        prefix: String,
        definition: &Arc<Definition>,
        served: Result<Serving, ApiError>,
    ) {
        let name = definition.crd.name();
        match served {
            Ok(Serving::Begun) => {
                self.unserved.succeeded(name);
                self.served.insert(prefix, definition.clone());
            }
            Ok(Serving::Overtaken) => {}
            Ok(Serving::Never(err)) => {
                self.unserved.succeeded(name);
                self.note_unservable(&definition.crd, definition.revision, &err);
            }
            Err(err) => {
                tracing::warn!(%err, "{name} is not served yet; again later");
                self.unserved.note(name, definition.revision, Instant::now());
            }
        }
    }
}

impl Resources {
    /// Serves what is accepted and not served yet, or otherwise: before the first request, which is all that waits for it.
    pub(in crate::resources) async fn serve_missing_kinds(&self, kept: &mut Kept) {
        for resource in self.registry().table().iter().filter(|resource| resource.is_custom()) {
            self.begin_converting(&format!("{}.{}", resource.plural(), resource.group()), resource);
        }
        match self.inner.cache.catch_up().await {
            Ok(_) => {
                let all = self.definitions(kept);
                self.serve_definitions(&all, kept).await;
            }
            Err(err) => tracing::warn!(%err, "definitions were not looked after; again soon"),
        }
    }

    /// Serves what is to be served now and is not, or otherwise, and nothing else.
    pub(super) async fn serve_definitions(&self, all: &[Arc<Definition>], kept: &mut Kept) {
        let there: HashSet<(&str, i64)> =
            all.iter().map(|definition| (definition.crd.name(), definition.revision)).collect();
        kept.unserved.retain(|name, revision| there.contains(&(name, revision)));
        kept.unwritten.retain(|name, revision| there.contains(&(name, revision)));
        kept.unservable.retain(|name, (revision, _)| there.contains(&(name.as_str(), *revision)));
        let accepted = all
            .iter()
            .filter(|definition| step::is_accepted(&definition.crd) && !is_reserved(self.registry(), &definition.crd));
        let wanted: HashMap<String, &Arc<Definition>> =
            accepted.map(|definition| (store_prefix(&definition.crd), definition)).collect();
        let gone: Vec<String> = kept.served.keys().filter(|prefix| !wanted.contains_key(*prefix)).cloned().collect();
        for prefix in gone {
            self.registry().put_custom(&prefix, &[]);
            match self.inner.cache.end(&prefix).await {
                Ok(()) => {
                    let gone = kept.served.remove(&prefix);
                    gone.iter().for_each(|gone| self.inner.conversions.forget(gone.crd.name()));
                }
                Err(err) => tracing::error!(%err, "the cache of {prefix} did not end"),
            }
        }
        let mut due = Vec::new();
        for (prefix, definition) in wanted {
            let (name, served) = (definition.crd.name(), kept.served.get(&prefix));
            // Of one that cannot be served nothing changes until it does.
            if served.is_some_and(|served| served.is_served_as(definition)) || kept.unservable.contains_key(name) {
                kept.unserved.succeeded(name);
            } else if kept.unserved.is_due(name, definition.revision, Instant::now()) {
                // What is in the cache is as the schemas have it.
                let is_read_anew = served.is_none_or(|before| before.read_as != definition.read_as);
                due.push((prefix, definition.clone(), is_read_anew));
            }
        }
        let serve = |(prefix, definition, is_read_anew): (String, Arc<Definition>, bool)| async move {
            let served = self.serve_definition(&prefix, &definition, is_read_anew).await;
            (prefix, definition, served)
        };
        let mut serving = stream::iter(due).map(serve).buffer_unordered(SERVED_CONCURRENT_MAX);
        while let Some((prefix, definition, served)) = serving.next().await {
            kept.note_serving(prefix, &definition, served);
        }
        for definition in all {
            self.announce(&definition.crd, kept);
        }
    }

    /// Clients are told of a kind that is served once its status says that it is established, as upstream has it: other servers
    /// serve it by then, too.
    pub(super) fn announce(&self, crd: &CustomResourceDefinition, kept: &Kept) {
        let prefix = store_prefix(crd);
        if kept.served.contains_key(&prefix) {
            self.registry().announce(&prefix, conditions::is_true(crd, conditions::ESTABLISHED));
        }
    }

    async fn serve_definition(
        &self,
        prefix: &str,
        definition: &Definition,
        is_read_anew: bool,
    ) -> Result<Serving, ApiError> {
        let Some(item) = self.item_of(definition) else { return Ok(Serving::Overtaken) };
        // What a schema says can take long to be compiled: nobody waits for it who looks at others.
        let compiled = tokio::spawn(aside(CONTROLLER, true, async move {
            let crd: CustomResourceDefinition = serde_json::from_slice(&item.object()).map_err(ApiError::internal)?;
            Ok::<_, ApiError>(kind_of(&crd))
        }));
        let kind = match compiled.await.map_err(ApiError::internal)?? {
            Ok(kind) => kind,
            Err(err) => return Ok(Serving::Never(err)),
        };
        if is_read_anew {
            self.inner.cache.begin_custom(prefix, &kind).await?;
        } else {
            self.inner.cache.define(prefix, &kind);
        }
        self.begin_converting(definition.crd.name(), &kind.stored);
        self.registry().put_custom(prefix, &kind.served);
        Ok(Serving::Begun)
    }
}

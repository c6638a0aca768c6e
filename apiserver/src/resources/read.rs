//! The read path: everything is served from the cache, as new as the caller asks.

use std::sync::Arc;

use bytes::Bytes;
use corten_api::{ApiError, Scope};
use futures::StreamExt;

use super::place::{Place, no_such_method};
use super::token::{INCONSISTENT, Token};
use super::{Authorized, ListOptions, Page, ReadAt, Resources, WatchFrom, WatchOptions, WatchStream, scale, to};
use crate::cache::{Filter, Item, Snapshot, Watcher, WatcherOptions, api_error};
use crate::registry::subresource;
use crate::request::{Target, Verb};
use crate::storage::StorageError;

/// One page, not yet as bytes.
pub(crate) struct Rows {
    pub(crate) items: Vec<Arc<Item>>,
    pub(crate) revision: i64,
    continue_token: Option<String>,
    remaining: Option<i64>,
}

impl Resources {
    /// One object; with subresource `scale`, its Scale.
    pub async fn get(&self, may: &Authorized<to::Get>, at: ReadAt) -> Result<Bytes, ApiError> {
        let target = may.target();
        let place = &self.place_to_read(target)?;
        let item = self.item(place, target, at).await?;
        let json = served(place, &item)?;
        if target.subresource == "scale" { scale::of_json(&place.resource, &json) } else { Ok(json) }
    }

    pub(crate) async fn get_item(&self, may: &Authorized<to::Get>) -> Result<Arc<Item>, ApiError> {
        let target = may.target();
        let place = &self.place_to_read(target)?;
        let item = self.item(place, target, ReadAt::Newest).await?;
        if place.resource.conversion().is_none() {
            return Ok(item);
        }
        Ok(Arc::new(item.with_object(&served(place, &item)?)))
    }

    /// Where one object is read. Who may read a pod's log may not read the pod by asking for it in another way.
    fn place_to_read(&self, target: &Target) -> Result<Place<'static>, ApiError> {
        if subresource::of(&target.resource, &target.subresource).is_connection {
            return Err(no_such_method());
        }
        self.place(Verb::Get, target)
    }

    async fn item(&self, place: &Place<'_>, target: &Target, at: ReadAt) -> Result<Arc<Item>, ApiError> {
        let key = place.short_key(&target.namespace, &target.name);
        self.reach(at).await?;
        place.cached.get(&key).ok_or_else(|| place.not_found(&target.name))
    }

    /// Waits until the cache is as new as a read wants it.
    async fn reach(&self, at: ReadAt) -> Result<(), ApiError> {
        match at {
            ReadAt::Newest => self.inner.cache.catch_up().await.map(drop),
            ReadAt::Any => Ok(()),
            ReadAt::NotOlderThan(revision) | ReadAt::Exact(revision) => self.inner.cache.wait_for(revision).await,
        }
    }

    pub async fn list(&self, may: &Authorized<to::List>, options: ListOptions) -> Result<Page, ApiError> {
        let target = may.target();
        let place = &self.place(Verb::List, target)?;
        let rows = self.rows(place, target, options).await?;
        let items = rows.items.iter().map(|item| served(place, item)).collect::<Result<_, _>>()?;
        let Rows { revision, continue_token, remaining, .. } = rows;
        Ok(Page { items, revision, continue_token, remaining })
    }

    /// As [`list`](Self::list), with what stands outside the bytes.
    pub(crate) async fn list_items(&self, may: &Authorized<to::List>, options: ListOptions) -> Result<Rows, ApiError> {
        let target = may.target();
        let place = &self.place(Verb::List, target)?;
        let mut rows = self.rows(place, target, options).await?;
        if place.resource.conversion().is_some() {
            for item in &mut rows.items {
                *item = Arc::new(item.with_object(&served(place, item)?));
            }
        }
        Ok(rows)
    }

    /// As [`list_items`](Self::list_items), in the version that is stored.
    pub(super) async fn stored_rows(&self, target: &Target, options: ListOptions) -> Result<Rows, ApiError> {
        self.rows(&self.place(Verb::List, target)?, target, options).await
    }

    async fn rows(&self, place: &Place<'_>, target: &Target, options: ListOptions) -> Result<Rows, ApiError> {
        let filter = self.filter(place, target, options.labels, place.field_terms(&options.fields)?);
        let token = options.continue_token.as_deref().map(Token::decode).transpose()?;
        let snapshot = self.snapshot(place, token.as_ref(), options.at).await?;
        let after = token.as_ref().map_or("", |t| t.after.as_str());
        let mut chosen = filter.select(&snapshot, after);
        if options.limit == 0 {
            let items = chosen.cloned().collect();
            return Ok(Rows { items, revision: snapshot.revision, continue_token: None, remaining: None });
        }
        let items: Vec<Arc<Item>> = chosen.by_ref().take(options.limit).cloned().collect();
        let left = match token.as_ref().and_then(|t| t.left) {
            Some(left) => left - items.len().cast_signed() as i64,
            // Only what is counted anyway is told; with a selector, whether there is more is all we look for.
            None if !filter.is_whole() => i64::from(chosen.next().is_some()),
            None if target.namespace.is_empty() && after.is_empty() => (snapshot.items.len() - items.len()) as i64,
            None => chosen.count() as i64,
        };
        let (Some(last), true) = (items.last(), left > 0) else {
            return Ok(Rows { items, revision: snapshot.revision, continue_token: None, remaining: None });
        };
        let known = filter.is_whole().then_some(left);
        let token = Token::new(snapshot.revision, last.key(), known).encode()?;
        place.cached.retain(&snapshot);
        Ok(Rows { items, revision: snapshot.revision, continue_token: Some(token), remaining: known })
    }

    async fn snapshot(&self, place: &Place<'_>, token: Option<&Token>, at: ReadAt) -> Result<Snapshot, ApiError> {
        let cache = &self.inner.cache;
        match token {
            Some(token) if token.revision != INCONSISTENT => {
                cache.wait_for(token.revision).await?;
                return self.exactly(place, token.revision).await.map_err(|err| match err {
                    StorageError::Compacted { .. } => token.expired(),
                    err => api_error(&err),
                });
            }
            Some(_) => self.reach(ReadAt::Newest).await?,
            None => self.reach(at).await?,
        }
        if let (None, ReadAt::Exact(revision)) = (token, at) {
            let too_old = "The resourceVersion for the provided list is too old.";
            return self.exactly(place, revision).await.map_err(|err| match err {
                StorageError::Compacted { .. } => ApiError::expired(too_old),
                err => api_error(&err),
            });
        }
        Ok(place.cached.snapshot(cache.revision()))
    }

    /// From what is retained, or else from the store's history: another apiserver may have served the page before. What the store
    /// has forgotten nobody is served, even if nothing of the kind has changed since: so clients learn that lists end.
    async fn exactly(&self, place: &Place<'_>, revision: i64) -> Result<Snapshot, StorageError> {
        let oldest = self.inner.cache.oldest();
        if revision < oldest {
            return Err(StorageError::Compacted { wanted: revision, oldest });
        }
        if let Some(snapshot) = place.cached.snapshot_at(revision, self.inner.cache.revision()) {
            return Ok(snapshot);
        }
        let listed = self.inner.cache.storage().list(place.cached.prefix(), Some(revision)).await?;
        Ok(place.cached.snapshot_of(listed))
    }

    fn filter(
        &self,
        place: &Place<'_>,
        target: &Target,
        labels: corten_api::selector::Selector,
        fields: crate::cache::FieldTerms,
    ) -> Filter {
        let namespace = if place.resource.scope() == Scope::Namespaced { &*target.namespace } else { "" };
        Filter::new(namespace, labels, fields)
    }

    /// Events in batches, in order. Fails at once with `Expired` if the changes since the revision asked for are not
    /// all kept. Ends with a refusal once what made it allowed has gone. A name is a matter of `options`: it is a field that is
    /// selected by.
    pub async fn watch(&self, may: &Authorized<to::Watch>, options: WatchOptions) -> Result<WatchStream, ApiError> {
        let target = may.target();
        let place = &self.place(Verb::Watch, target)?;
        let filter = self.filter(place, target, options.labels, place.field_terms(&options.fields)?);
        let settings = WatcherOptions {
            filter,
            convert: place.resource.conversion().map(|c| c.from_stored.clone()),
            api_version: place.resource.api_version(),
            kind: place.resource.names().kind.clone(),
            bookmarks: options.bookmarks,
            drain: self.inner.drain.clone(),
        };
        let (cache, cached) = (self.inner.cache.clone(), place.cached.clone());
        let watcher = match options.from {
            WatchFrom::State { at, initial_events_end } => {
                self.reach(at).await?;
                Watcher::from_state(cache, cached, initial_events_end, settings)
            }
            WatchFrom::After(revision) => {
                let reached = options.report_at.unwrap_or(0).max(revision);
                self.reach(ReadAt::NotOlderThan(reached)).await?;
                let watcher = Watcher::after(cache, cached, revision, settings)?;
                if options.report_at.is_some() { watcher.that_reports() } else { watcher }
            }
            WatchFrom::Now => {
                let revision = cache.catch_up().await?;
                Watcher::after(cache, cached, revision, settings)?
            }
        };
        let stream = futures::stream::unfold(Some(watcher), |watcher| async move {
            let mut watcher = watcher?;
            match watcher.batch().await {
                Ok(Some(events)) => Some((Ok(events), Some(watcher))),
                Ok(None) => None,
                Err(err) => Some((Err(err), None)),
            }
        });
        Ok(may.guard(self, stream.boxed()))
    }
}

/// The object's JSON in the version asked for.
pub(super) fn served(place: &Place<'_>, item: &Item) -> Result<Bytes, ApiError> {
    let json = item.object();
    match place.resource.conversion() {
        None => Ok(json),
        Some(conversion) => Ok((conversion.from_stored)(&json).map_err(ApiError::internal)?.into()),
    }
}

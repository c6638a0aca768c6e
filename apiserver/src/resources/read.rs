//! The read path: everything is served from the cache, as new as the caller asks.

use std::sync::Arc;

use bytes::Bytes;
use corten_api::{ApiError, Scope};
use futures::StreamExt;

use super::place::{Place, no_such_method};
use super::token::{INCONSISTENT, Token};
use super::{Authorized, ListOptions, Page, ReadAt, Resources, WatchFrom, WatchOptions, WatchStream, scale, to};
use crate::cache::{Closed, Filter, Item, Shown, Snapshot, Watcher, WatcherOptions, api_error};
use crate::registry::{Conversion, subresource};
use crate::request::{Target, Verb};
use crate::storage::StorageError;
use crate::webhook::Share;

/// So often a read whose kind is defined otherwise at that very moment looks for its cache again.
const TAKES_MAX: usize = 8;

/// One page, not yet as bytes.
pub(crate) struct Rows {
    pub(crate) items: Vec<Arc<Item>>,
    pub(crate) revision: i64,
    pub(super) continue_token: Option<String>,
    pub(super) remaining: Option<i64>,
}

/// Which part of a list.
pub(super) struct Which<'a> {
    pub(super) filter: &'a Filter,
    /// 0: no limit.
    pub(super) limit: usize,
    pub(super) token: Option<Token>,
}

impl Resources {
    /// One object; with subresource `scale`, its Scale.
    pub async fn get(&self, may: &Authorized<to::Get>, at: ReadAt) -> Result<Bytes, ApiError> {
        let target = may.target();
        let (place, item) = self.item(target, at).await?;
        let json = self.served(&place, &item).await?;
        if target.subresource == "scale" { scale::of_json(&place.resource, &json) } else { Ok(json) }
    }

    pub(crate) async fn get_item(&self, may: &Authorized<to::Get>) -> Result<Arc<Item>, ApiError> {
        let (place, item) = self.item(may.target(), ReadAt::Newest).await?;
        let mut items = self.items_served(&place, vec![item.clone()], Share::All).await?;
        local_item(&place, items.pop().unwrap_or(item))
    }

    /// As it is stored, in whichever version: for who looks at metadata alone.
    pub(crate) async fn get_stored_item(&self, may: &Authorized<to::Get>) -> Result<Arc<Item>, ApiError> {
        let (place, item) = self.item(may.target(), ReadAt::Newest).await?;
        match place.resource.conversion() {
            Some(Conversion::Webhook(_)) => Ok(item),
            None | Some(Conversion::Local(_)) => local_item(&place, item),
        }
    }

    /// Where one object is read. Who may read a pod's log may not read the pod by asking for it in another way.
    fn place_to_read(&self, target: &Target) -> Result<Place<'static>, ApiError> {
        if subresource::of(&target.resource, &target.subresource).is_connection {
            return Err(no_such_method());
        }
        self.place(Verb::Get, target)
    }

    async fn item(&self, target: &Target, at: ReadAt) -> Result<(Place<'static>, Arc<Item>), ApiError> {
        // A path that leads nowhere waits for nothing.
        self.place_to_read(target)?;
        self.reach(at).await?;
        let (place, item) = now(
            || self.place_to_read(target),
            |place| place.cached.current(&place.short_key(&target.namespace, &target.name)),
        )?;
        let item = item.ok_or_else(|| place.not_found(&target.name))?;
        Ok((place, item))
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
        let (place, rows) = self.rows(may.target(), options).await?;
        let items = rows.items.iter().map(|item| local(&place, item)).collect::<Result<_, _>>()?;
        let Rows { revision, continue_token, remaining, .. } = rows;
        Ok(Page { items, revision, continue_token, remaining })
    }

    /// As [`list`](Self::list), with what stands outside the bytes.
    pub(crate) async fn list_items(&self, may: &Authorized<to::List>, options: ListOptions) -> Result<Rows, ApiError> {
        let (place, mut rows) = self.rows(may.target(), options).await?;
        for item in &mut rows.items {
            *item = local_item(&place, item.clone())?;
        }
        Ok(rows)
    }

    /// As [`list_items`](Self::list_items), in the version that is stored, unless webhooks convert from that.
    pub(super) async fn stored_rows(&self, target: &Target, options: ListOptions) -> Result<Rows, ApiError> {
        self.rows(target, options).await.map(|(_, rows)| rows)
    }

    /// The rows, and where they were found.
    async fn rows(&self, target: &Target, options: ListOptions) -> Result<(Place<'static>, Rows), ApiError> {
        // What cannot be asked for waits for nothing.
        self.place(Verb::List, target)?.field_terms(&options.fields)?;
        let token = options.continue_token.as_deref().map(Token::decode).transpose()?;
        let (place, snapshot) = self.snapshot(target, token.as_ref(), options.at).await?;
        let filter = self.filter(&place, target, options.labels, place.field_terms(&options.fields)?);
        let which = Which { filter: &filter, limit: options.limit, token };
        let rows = match place.resource.conversion() {
            Some(Conversion::Webhook(_)) if !options.metadata_only => {
                self.converted_rows(&place, target, &snapshot, which).await?
            }
            None | Some(_) => rows_of(&place, target, &snapshot, which)?,
        };
        Ok((place, rows))
    }

    async fn snapshot(
        &self,
        target: &Target,
        token: Option<&Token>,
        at: ReadAt,
    ) -> Result<(Place<'static>, Snapshot), ApiError> {
        let cache = &self.inner.cache;
        match token {
            Some(token) if token.revision != INCONSISTENT => {
                cache.wait_for(token.revision).await?;
                return self.exactly(target, token.revision).await?.map_err(|err| match err {
                    StorageError::Compacted { .. } => token.expired(),
                    err => api_error(&err),
                });
            }
            Some(_) => self.reach(ReadAt::Newest).await?,
            None => self.reach(at).await?,
        }
        if let (None, ReadAt::Exact(revision)) = (token, at) {
            let too_old = "The resourceVersion for the provided list is too old.";
            return self.exactly(target, revision).await?.map_err(|err| match err {
                StorageError::Compacted { .. } => ApiError::expired(too_old),
                err => api_error(&err),
            });
        }
        now(|| self.place(Verb::List, target), |place| place.cached.current_snapshot(cache.revision()))
    }

    /// From what is retained, or else from the store's history: another apiserver may have served the page before. What the store
    /// has forgotten nobody is served, even if nothing of the kind has changed since: so clients learn that lists end.
    async fn exactly(
        &self,
        target: &Target,
        revision: i64,
    ) -> Result<Result<(Place<'static>, Snapshot), StorageError>, ApiError> {
        let place = self.place(Verb::List, target)?;
        let oldest = self.inner.cache.oldest();
        if revision < oldest {
            return Ok(Err(StorageError::Compacted { wanted: revision, oldest }));
        }
        if let Some(snapshot) = place.cached.snapshot_at(revision, self.inner.cache.revision()) {
            return Ok(Ok((place, snapshot)));
        }
        let listed = self.inner.cache.storage().list(place.cached.prefix(), Some(revision)).await;
        Ok(listed.map(|listed| {
            let snapshot = place.cached.snapshot_of(listed);
            (place, snapshot)
        }))
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
        // What cannot be asked for waits for nothing.
        self.place(Verb::Watch, target)?.field_terms(&options.fields)?;
        let cache = &self.inner.cache;
        let from = match options.from {
            WatchFrom::State { at, initial_events_end } => {
                self.reach(at).await?;
                Begin::State { initial_events_end }
            }
            WatchFrom::After(revision) => {
                let reached = options.report_at.unwrap_or(0).max(revision);
                self.reach(ReadAt::NotOlderThan(reached)).await?;
                Begin::After(revision)
            }
            WatchFrom::Now => Begin::After(cache.catch_up().await?),
        };
        let begun = |place: &Place<'_>| {
            let fields = match place.field_terms(&options.fields) {
                Ok(fields) => fields,
                Err(err) => return Ok(Err(err)),
            };
            let settings = WatcherOptions {
                filter: self.filter(place, target, options.labels.clone(), fields),
                shown: match place.resource.conversion() {
                    Some(Conversion::Webhook(_)) if options.metadata_only => Shown::AsStored,
                    None | Some(_) => self.shown(place),
                },
                api_version: place.resource.api_version(),
                kind: place.resource.names().kind.clone(),
                bookmarks: options.bookmarks,
                drain: self.inner.drain.clone(),
            };
            let (cache, cached) = (cache.clone(), place.cached.clone());
            match from {
                Begin::State { initial_events_end } => {
                    Watcher::from_state(cache, cached, initial_events_end, settings).map(Ok)
                }
                Begin::After(revision) => Watcher::after(cache, cached, revision, settings),
            }
        };
        let (_, watcher) = now(|| self.place(Verb::Watch, target), begun)?;
        let reports = matches!(options.from, WatchFrom::After(_)) && options.report_at.is_some();
        let watcher = if reports { watcher?.that_reports() } else { watcher? };
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

/// Where a watch begins, once the cache is there.
#[derive(Clone, Copy)]
enum Begin {
    State { initial_events_end: bool },
    After(i64),
}

/// Reads of the cache that the kind has now. The one that it had when the request came may have given way to another while the
/// request waited, and knows nothing of what has happened since.
fn now<T>(
    place: impl Fn() -> Result<Place<'static>, ApiError>,
    read: impl Fn(&Place<'_>) -> Result<T, Closed>,
) -> Result<(Place<'static>, T), ApiError> {
    for _ in 0..TAKES_MAX {
        let place = place()?;
        if let Ok(found) = read(&place) {
            return Ok((place, found));
        }
    }
    Err(Closed.into())
}

/// The page of a snapshot that was asked for.
pub(super) fn rows_of(
    place: &Place<'_>,
    target: &Target,
    snapshot: &Snapshot,
    Which { filter, limit, token }: Which<'_>,
) -> Result<Rows, ApiError> {
    let after = token.as_ref().map_or("", |t| t.after.as_str());
    let mut chosen = filter.select(snapshot, after);
    if limit == 0 {
        let items = chosen.cloned().collect();
        return Ok(Rows { items, revision: snapshot.revision, continue_token: None, remaining: None });
    }
    let items: Vec<Arc<Item>> = chosen.by_ref().take(limit).cloned().collect();
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
    place.cached.retain(snapshot);
    Ok(Rows { items, revision: snapshot.revision, continue_token: Some(token), remaining: known })
}

/// The object's JSON in the version asked for; where a webhook converts, as the item has it.
pub(super) fn local(place: &Place<'_>, item: &Item) -> Result<Bytes, ApiError> {
    let json = item.object();
    match place.resource.conversion() {
        None | Some(Conversion::Webhook(_)) => Ok(json),
        Some(Conversion::Local(conversion)) => Ok((conversion.from_stored)(&json).map_err(ApiError::internal)?.into()),
    }
}

fn local_item(place: &Place<'_>, item: Arc<Item>) -> Result<Arc<Item>, ApiError> {
    match place.resource.conversion() {
        None | Some(Conversion::Webhook(_)) => Ok(item),
        Some(Conversion::Local(_)) => Ok(Arc::new(item.with_object(&local(place, &item)?))),
    }
}

//! Objects in the version that a request is about, and as they are stored: converted here, or by a webhook that is asked.

use std::sync::Arc;

use bytes::Bytes;
use corten_api::ApiError;
use futures::FutureExt;
use futures::future::BoxFuture;

use super::place::Place;
use super::read::{self, Rows, Which, rows_of};
use super::token::Token;
use super::{Resources, Weak};
use crate::cache::{Ask, Item, Shown, Snapshot};
use crate::conversion::{Convert, Converter};
use crate::registry::{ApiResource, Conversion, ConversionWebhook};
use crate::request::Target;
use crate::webhook::{Resolve, Share};

/// A page that is selected by what is in its objects looks at so many between two looks whether it is full.
const LOOKED_TOGETHER: usize = 256;
/// Objects that are converted here before others have their turn.
const CONVERTED_BETWEEN_YIELDS: usize = 64;

impl Resolve for Weak {
    fn resolve<'a>(
        &'a self,
        namespace: &'a str,
        service: &'a str,
        port: u16,
    ) -> BoxFuture<'a, Result<String, ApiError>> {
        async move {
            let resources = self.upgrade().ok_or_else(|| ApiError::unavailable("the server ends"))?;
            resources.resolve(namespace, service, port).await
        }
        .boxed()
    }
    fn candidates<'a>(
        &'a self,
        namespace: &'a str,
        service: &'a str,
        port: u16,
    ) -> BoxFuture<'a, Result<Vec<String>, ApiError>> {
        async move {
            let resources = self.upgrade().ok_or_else(|| ApiError::unavailable("the server ends"))?;
            resources.candidates(namespace, service, port).await
        }
        .boxed()
    }
}

impl Convert for Resources {
    fn convert<'a>(
        &'a self,
        json: Vec<u8>,
        from: &'a ApiResource,
        to: &'a ApiResource,
    ) -> BoxFuture<'a, Result<Vec<u8>, ApiError>> {
        async move {
            if let Some(Conversion::Webhook(webhook)) = from.conversion() {
                let converted = self.converter(webhook).converted(vec![json.into()], &to.api_version(), false).await?;
                return converted.into_iter().next().ok_or_else(nothing);
            }
            let mut json = json;
            if let Some(Conversion::Local(conversion)) = from.conversion() {
                json = (conversion.to_stored)(&json).map_err(ApiError::internal)?;
            }
            if let Some(Conversion::Local(conversion)) = to.conversion() {
                json = (conversion.from_stored)(&json).map_err(ApiError::internal)?;
            }
            Ok(json)
        }
        .boxed()
    }
    fn served<'a>(
        &'a self,
        stored: Vec<Bytes>,
        resource: &'a ApiResource,
    ) -> BoxFuture<'a, Result<Vec<Vec<u8>>, ApiError>> {
        async move {
            let from_stored = match resource.conversion() {
                None => return Ok(stored.into_iter().map(Into::into).collect()),
                Some(Conversion::Webhook(webhook)) => {
                    return self.converter(webhook).converted(stored, &resource.api_version(), false).await;
                }
                Some(Conversion::Local(conversion)) => &conversion.from_stored,
            };
            let mut served = Vec::with_capacity(stored.len());
            for part in stored.chunks(CONVERTED_BETWEEN_YIELDS) {
                for json in part {
                    served.push(from_stored(json).map_err(ApiError::internal)?);
                }
                tokio::task::yield_now().await;
            }
            Ok(served)
        }
        .boxed()
    }
}

fn nothing() -> ApiError {
    ApiError::internal("a conversion gives nothing")
}

impl Resources {
    pub(super) fn converter(&self, webhook: &Arc<ConversionWebhook>) -> Arc<Converter> {
        self.inner.conversions.converter(webhook, || Arc::new(self.weak()))
    }

    /// A kind is served from now on: whoever wants its objects in another version asks the same webhook over the same connections.
    pub(super) fn begin_converting(&self, definition: &str, resource: &ApiResource) {
        match resource.conversion() {
            Some(Conversion::Webhook(webhook)) => self.inner.conversions.begin(webhook, Arc::new(self.weak())),
            None | Some(Conversion::Local(_)) => self.inner.conversions.forget(definition),
        }
    }

    /// The object's JSON in the version asked for.
    pub(super) async fn served(&self, place: &Place<'_>, item: &Arc<Item>) -> Result<Bytes, ApiError> {
        let served = self.items_served(place, vec![item.clone()], Share::All).await?;
        read::local(place, served.first().ok_or_else(nothing)?)
    }

    /// What webhooks convert is converted; all else is as it was. `share`: whether one is wanted, or as many as there are.
    pub(super) async fn items_served(
        &self,
        place: &Place<'_>,
        items: Vec<Arc<Item>>,
        share: Share,
    ) -> Result<Vec<Arc<Item>>, ApiError> {
        let Some(Conversion::Webhook(webhook)) = place.resource.conversion() else { return Ok(items) };
        self.converter(webhook).served(items, &place.resource.api_version(), &place.cached, share).await
    }

    /// How a watcher is shown what is stored.
    pub(super) fn shown(&self, place: &Place<'_>) -> Shown {
        let webhook = match place.resource.conversion() {
            None => return Shown::AsStored,
            Some(Conversion::Local(conversion)) => return Shown::Local(conversion.from_stored.clone()),
            Some(Conversion::Webhook(webhook)) => webhook,
        };
        let (converter, cached) = (self.converter(webhook), place.cached.clone());
        let to: Arc<str> = place.resource.api_version().into();
        let ask: Ask = Box::new(move |items| {
            let (converter, cached, to) = (converter.clone(), cached.clone(), to.clone());
            async move { converter.served(items, &to, &cached, Share::Bulk).await }.boxed()
        });
        Shown::Asked(ask)
    }

    /// The page of a snapshot that was asked for, of a kind that a webhook converts: its objects are selected by as they are then.
    pub(super) async fn converted_rows(
        &self,
        place: &Place<'_>,
        target: &Target,
        snapshot: &Snapshot,
        which: Which<'_>,
    ) -> Result<Rows, ApiError> {
        let Some(Conversion::Webhook(webhook)) = place.resource.conversion() else {
            return rows_of(place, target, snapshot, which);
        };
        let Which { filter, limit, ref token } = which;
        let (converter, to) = (self.converter(webhook), place.resource.api_version());
        if !filter.is_by_content() {
            let rows = rows_of(place, target, snapshot, which)?;
            let items = converter.served(rows.items, &to, &place.cached, Share::Bulk).await?;
            return Ok(Rows { items, ..rows });
        }
        let after = token.as_ref().map_or("", |token| token.after.as_str());
        let candidates: Vec<Arc<Item>> = filter.of_place().select(snapshot, after).cloned().collect();
        let part = if limit == 0 { candidates.len() } else { limit.max(LOOKED_TOGETHER) };
        let mut items = Vec::new();
        for part in candidates.chunks(part.max(1)) {
            let served = converter.served(part.to_vec(), &to, &place.cached, Share::Bulk).await?;
            items.extend(served.into_iter().filter(|item| filter.matches(item)));
            if limit > 0 && items.len() > limit {
                break;
            }
        }
        let has_more = limit > 0 && items.len() > limit;
        if has_more {
            items.truncate(limit);
        }
        let continue_token = match items.last().filter(|_| has_more) {
            Some(last) => {
                place.cached.retain(snapshot);
                Some(Token::new(snapshot.revision, last.key(), None).encode()?)
            }
            None => None,
        };
        Ok(Rows { items, revision: snapshot.revision, continue_token, remaining: None })
    }
}

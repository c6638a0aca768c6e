//! One webhook that converts, asked in batches.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use bytes::Bytes;
use corten_api::ApiError;
use futures::{StreamExt, TryStreamExt};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Status;
use serde_json::value::RawValue;
use tokio::sync::watch;

use super::judge;
use super::kept::{Answer, Answering, Found, Lane, Progress};
use super::metrics::{Asked, Cause};
use super::review::{self, ReviewError};
use super::{Shared, TOLD_BYTES_MAX};
use crate::aside::outside;
use crate::bounded_text::bounded;
use crate::cache::{Item, KindCache};
use crate::registry::ConversionWebhook;
use crate::webhook::{Bounds, HookClient, Place, Resolve, ReviewVersion, Share};

/// Of one question. An object that is larger is asked about alone.
const BATCH_BYTES_MAX: usize = 1 << 20;
const BATCH_OBJECTS_MAX: usize = 256;
/// Questions at one time for one who wants many objects.
const QUESTIONS_CONCURRENT_MAX: usize = 4;
/// Objects that are looked at before others have their turn.
const LOOKED_BETWEEN_YIELDS: usize = 256;
/// Calls of one webhook under way.
const CALLS_MAX: usize = 16;
/// Of these, those for lists and watches: whoever writes or gets one object does not wait for them all.
const BULK_CALLS_MAX: usize = 12;
/// Of one answer: what it was asked about may become some times as large.
const ANSWER_BYTES_MAX: usize = 8 << 20;
/// Upstream's.
const WITHIN: Duration = Duration::from_secs(30);

static NUMBERS: AtomicU64 = AtomicU64::new(0);

pub(crate) struct Converter {
    number: u64,
    webhook: Arc<ConversionWebhook>,
    place: Result<Place, String>,
    /// Made by who first wants something converted; why there is none is told to whoever does.
    client: OnceLock<Result<Arc<HookClient>, String>>,
    review: Option<ReviewVersion>,
    resolve: Arc<dyn Resolve>,
    shared: Arc<Shared>,
}

/// An object that is wanted in a version.
struct Wanted<T> {
    object: T,
    /// It is of that version already.
    is_there: bool,
}

/// What objects are asked about for.
#[derive(Clone, Copy)]
struct Purpose<'a> {
    /// The version that they are wanted in.
    to: &'a str,
    /// They are to have what is stored.
    is_to_be_stored: bool,
    share: Share,
}

/// Why a question has come to nothing.
struct Failure {
    cause: Cause,
    why: String,
}

impl Converter {
    /// `before`: whose connections go on, if they lead to the same place.
    pub(super) fn new(
        webhook: Arc<ConversionWebhook>,
        before: Option<&Self>,
        resolve: Arc<dyn Resolve>,
        shared: Arc<Shared>,
    ) -> Self {
        let place = Place::of(&webhook.client());
        let client = before.filter(|before| before.place == place).map(|before| before.client.clone());
        let client = client.unwrap_or_default();
        let review = ReviewVersion::first(webhook.review_versions());
        let number = NUMBERS.fetch_add(1, Ordering::Relaxed);
        Self { number, webhook, place, client, review, resolve, shared }
    }

    fn client(&self) -> Result<&HookClient, &str> {
        const BOUNDS: Bounds = Bounds { calls: CALLS_MAX, bulk_calls: BULK_CALLS_MAX, answer_bytes: ANSWER_BYTES_MAX };
        let new = || HookClient::new(self.place.as_ref().map_err(Clone::clone)?, BOUNDS).map(Arc::new);
        self.client.get_or_init(new).as_deref().map_err(String::as_str)
    }

    pub(super) fn asks(&self, webhook: &ConversionWebhook) -> bool {
        self.webhook.is_same_as(webhook)
    }

    /// The cache's objects in a version, in their order. `cached`: where they are from; `share`: whether somebody wants one of them, or
    /// as many as there are. Whoever stops waiting stops nobody else.
    pub(crate) async fn served(
        self: &Arc<Self>,
        items: Vec<Arc<Item>>,
        to: &str,
        cached: &Arc<KindCache>,
        share: Share,
    ) -> Result<Vec<Arc<Item>>, ApiError> {
        let lane = Lane { webhook: self.number, to: to.into() };
        let wanted = self.wanted(items, to, |item| item.object()).await;
        if wanted.iter().all(|wanted| wanted.is_there) {
            return Ok(wanted.into_iter().map(|wanted| wanted.object).collect());
        }
        let count = wanted.len();
        let batches = batches(wanted, |wanted| if wanted.is_there { 0 } else { wanted.object.weight() });
        let asked = batches.into_iter().map(|batch| {
            let (this, lane, cached) = (self.clone(), lane.clone(), cached.clone());
            async move { this.batch(batch, &lane, &cached, share).await }
        });
        let mut converted = futures::stream::iter(asked).buffered(QUESTIONS_CONCURRENT_MAX);
        let mut served = Vec::with_capacity(count);
        while let Some(mut batch) = outside(converted.try_next()).await?? {
            served.append(&mut batch);
        }
        Ok(served)
    }

    async fn batch(
        self: &Arc<Self>,
        batch: Vec<Wanted<Arc<Item>>>,
        lane: &Lane,
        cached: &Arc<KindCache>,
        share: Share,
    ) -> Result<Vec<Arc<Item>>, ApiError> {
        let others: Vec<Arc<Item>> = others(&batch);
        let found = self.shared.kept.find(&others, lane, share, |missing| self.begin(missing, lane, cached, share));
        let mut converted = Vec::with_capacity(found.len());
        for found in found {
            converted.push(answer_of(found).await?);
        }
        completed(batch, converted)
    }

    /// Which of them are of the version already.
    async fn wanted<T>(&self, objects: Vec<T>, to: &str, json: impl Fn(&T) -> Bytes) -> Vec<Wanted<T>> {
        let mut wanted = Vec::with_capacity(objects.len());
        for object in objects {
            let is_there = self.webhook.is_in(&json(&object), to);
            wanted.push(Wanted { object, is_there });
            if wanted.len().is_multiple_of(LOOKED_BETWEEN_YIELDS) {
                tokio::task::yield_now().await;
            }
        }
        wanted
    }

    /// Asks in a task of its own: several may wait for what comes of it, and each may go away.
    fn begin(self: &Arc<Self>, items: Vec<Arc<Item>>, lane: &Lane, cached: &Arc<KindCache>, share: Share) -> Answering {
        let (sender, answering) = watch::channel(match share {
            Share::All => Progress::Begun,
            Share::Bulk => Progress::Queued,
        });
        let (this, lane, cached, told) = (self.clone(), lane.clone(), cached.clone(), answering.clone());
        tokio::spawn(async move {
            let objects: Vec<Bytes> = items.iter().map(|item| item.object()).collect();
            let purpose = Purpose { to: &lane.to, is_to_be_stored: false, share };
            let converted = this.ask(&objects, purpose, || drop(sender.send_replace(Progress::Begun))).await;
            let of = |(item, json): (&Arc<Item>, Vec<u8>)| item.converted(&json, cached.fields()).map(Arc::new);
            let answer: Answer = converted.and_then(|converted| {
                let all: Result<Vec<_>, _> = items.iter().zip(converted).map(of).collect();
                all.map(Arc::from).map_err(ApiError::internal)
            });
            this.shared.kept.settle(&items, &lane, &told, &answer);
            sender.send_replace(Progress::Answered(answer));
        });
        answering
    }

    /// Objects that nobody else has, in another version; each question is answered for these alone. `is_to_be_stored`: they are to have
    /// what is stored.
    pub(crate) async fn converted(
        &self,
        objects: Vec<Bytes>,
        to: &str,
        is_to_be_stored: bool,
    ) -> Result<Vec<Vec<u8>>, ApiError> {
        let wanted = self.wanted(objects, to, Bytes::clone).await;
        let mut converted = Vec::with_capacity(wanted.len());
        let batches = batches(others(&wanted), Bytes::len);
        let purpose = Purpose { to, is_to_be_stored, share: Share::All };
        let asked: Vec<_> = batches.iter().map(|batch| self.ask(batch, purpose, || {})).collect();
        let mut asked = futures::stream::iter(asked).buffered(QUESTIONS_CONCURRENT_MAX);
        while let Some(mut batch) = outside(asked.try_next()).await?? {
            converted.append(&mut batch);
        }
        completed(wanted, converted)
    }

    /// One question. `begins`: is called when it is its turn.
    async fn ask(
        &self,
        objects: &[Bytes],
        purpose: Purpose<'_>,
        begins: impl FnOnce() + Send,
    ) -> Result<Vec<Vec<u8>>, ApiError> {
        let (begun, first) = (Instant::now(), objects.first().map(|first| &**first).unwrap_or_default());
        let outcome = self.exchange(objects, purpose, begins).await;
        let (from, to) = (judge::version_of(first), purpose.to.rsplit('/').next().unwrap_or_default());
        let (definition, took) = (self.webhook.definition(), begun.elapsed());
        let failed = outcome.as_ref().err().map(|failure| failure.cause);
        self.shared.metrics.asked(Asked { definition, from: &from, to, took, failed });
        outcome.map_err(|failure| {
            let internal = ApiError::internal("").status().clone();
            tracing::warn!(definition, to, objects = objects.len(), "{}", failure.why);
            // Upstream gives no reason.
            ApiError::from_status(Status { message: Some(failure.why), reason: None, ..internal })
        })
    }

    async fn exchange(
        &self,
        objects: &[Bytes],
        Purpose { to, is_to_be_stored, share }: Purpose<'_>,
        begins: impl FnOnce() + Send,
    ) -> Result<Vec<Vec<u8>>, Failure> {
        let of = judge::type_of(objects.first().map(|first| &**first).unwrap_or_default());
        let webhook = format!("conversion webhook for {of}");
        let failed =
            |cause: Cause, why: &dyn std::fmt::Display| Failure { cause, why: format!("{webhook} failed: {why}") };
        let call = |why: &dyn std::fmt::Display| failed(Cause::Call, why);
        let version = self.review.ok_or_else(|| call(&"no supported conversion review versions"))?;
        let client = self.client().map_err(|why| call(&format!("could not get REST client: {why}")))?;
        let uid = uuid::Uuid::new_v4().to_string();
        let body = || {
            begins();
            let raw: Result<Vec<&RawValue>, _> = objects.iter().map(|object| serde_json::from_slice(object)).collect();
            review::text(version, &uid, to, &raw?).map(Into::into)
        };
        let answer = client.post(&*self.resolve, body, (share, WITHIN)).await.map_err(|failure| call(&failure.why))?;
        let converted = review::read(&answer, version, &uid).map_err(|err| match &err {
            ReviewError::Unreadable(why) => call(why),
            ReviewError::Malformed(why) => failed(Cause::MalformedResponse, why),
        })?;
        if converted.len() != objects.len() {
            let why = format!("{webhook} returned {} objects, expected {}", converted.len(), objects.len());
            return Err(Failure { cause: Cause::PartialResponse, why });
        }
        let mut all = Vec::with_capacity(objects.len());
        for (index, (object, converted)) in objects.iter().zip(&converted).enumerate() {
            let invalid = |why: String| Failure { cause: Cause::InvalidObject, why };
            let judged = judge::judged(object, converted, to);
            let judged = judged.map_err(|flaw| invalid(flaw.told(&judge::type_of(object), index, objects.len())))?;
            let finished = self.webhook.finished(judged, to, is_to_be_stored);
            all.push(finished.map_err(|err| {
                let err = bounded(err, TOLD_BYTES_MAX);
                invalid(format!("{webhook} returned invalid converted object at index {index}: {err}"))
            })?);
            if index % 32 == 31 {
                tokio::task::yield_now().await;
            }
        }
        Ok(all)
    }
}

async fn answer_of(found: Found) -> Result<Arc<Item>, ApiError> {
    let lost = || ApiError::internal("a conversion has come to no end");
    match found {
        Found::Done(item) => Ok(item),
        Found::Asked(mut answering, at) => {
            let is_answered = |progress: &Progress| matches!(progress, Progress::Answered(_));
            let progress = answering.wait_for(is_answered).await.map_err(|_| lost())?.clone();
            let Progress::Answered(answer) = progress else { return Err(lost()) };
            answer?.get(at).cloned().ok_or_else(lost)
        }
    }
}

/// Those that are to be converted.
fn others<T: Clone>(wanted: &[Wanted<T>]) -> Vec<T> {
    wanted.iter().filter(|wanted| !wanted.is_there).map(|wanted| wanted.object.clone()).collect()
}

/// All in their order, with the others as they were converted.
fn completed<T, U: From<T>>(wanted: Vec<Wanted<T>>, converted: Vec<U>) -> Result<Vec<U>, ApiError> {
    let mut converted = converted.into_iter();
    let all = wanted.into_iter().map(|Wanted { object, is_there }| match is_there {
        true => Some(object.into()),
        false => converted.next(),
    });
    all.collect::<Option<Vec<_>>>().ok_or_else(|| ApiError::internal("an object has no answer"))
}

/// In their order, each of a bounded size. Those that weigh nothing are not counted.
fn batches<T>(all: Vec<T>, weight: impl Fn(&T) -> usize) -> Vec<Vec<T>> {
    let (mut batches, mut batch, mut bytes, mut count) = (Vec::new(), Vec::new(), 0, 0);
    for one in all {
        let weighs = weight(&one);
        if weighs > 0 && (count == BATCH_OBJECTS_MAX || count > 0 && bytes + weighs > BATCH_BYTES_MAX) {
            batches.push(std::mem::take(&mut batch));
            (bytes, count) = (0, 0);
        }
        bytes += weighs;
        count += usize::from(weighs > 0);
        batch.push(one);
    }
    if !batch.is_empty() {
        batches.push(batch);
    }
    batches
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn questions_are_bounded_by_bytes_and_by_number() {
        let sizes = |all: &[usize]| batches(all.to_vec(), |n| *n).iter().map(Vec::len).collect::<Vec<_>>();
        assert_eq!(sizes(&[]), [0; 0]);
        assert_eq!(sizes(&[1; 600]), [256, 256, 88]);
        assert_eq!(sizes(&[BATCH_BYTES_MAX / 2, BATCH_BYTES_MAX / 2, 1, 0, 0]), [2, 3]);
        assert_eq!(sizes(&[1, 5 * BATCH_BYTES_MAX, 1]), [1, 1, 1]);
        assert_eq!(sizes(&[0; 1000]), [1000], "what needs no conversion");
    }
}

//! HorizontalPodAutoscalers: as many replicas as what is measured asks for.
//!
//! An autoscaler is looked at when its spec changes, and then every [`PERIOD`]: nobody tells of what pods use.

pub mod behavior;
pub mod decide;
pub mod measure;
pub mod metric;
pub mod replicas;
pub mod requests;
mod targets;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use corten_api::k8s_openapi::api::autoscaling::v1::Scale as ScaleObject;
use corten_api::k8s_openapi::api::autoscaling::v2::{HorizontalPodAutoscaler, HorizontalPodAutoscalerStatus};
use corten_api::{ApiError, Key, Object, Reason};
use corten_client::{Change, EventType, Next, ScaleClient};
use jiff::Timestamp;
use parking_lot::Mutex;

use crate::context::Context;
use crate::controller::{Controller, Loop, Setup};
use crate::monitors::Monitors;
use behavior::History;
use decide::{Decision, Observed, Rescale, Scale};
use targets::{Selected, Selectors};

/// How often metrics are looked at. Upstream's --horizontal-pod-autoscaler-sync-period.
const PERIOD: Duration = Duration::from_secs(15);
/// How often a scale that somebody else writes at the same time is read again.
const SCALE_TRIES: usize = 5;
/// And how often a status is, that says what was done.
const STATUS_TRIES: usize = 5;

pub fn controller(setup: &Setup) -> Loop {
    let autoscalers = Arc::new(Autoscalers {
        monitors: setup.monitors.clone(),
        histories: Mutex::default(),
        selectors: Selectors::default(),
    });
    Controller::new(setup).watches(&setup.caches.of::<HorizontalPodAutoscaler>(), asks_anew).run(move |context, key| {
        let autoscalers = Arc::clone(&autoscalers);
        async move { autoscalers.sync(&context, &key).await }
    })
}

/// What is written of an autoscaler's status is no reason to look at it again.
fn asks_anew(change: &Change<'_, HorizontalPodAutoscaler>) -> Option<Key> {
    match change {
        Change::Set { old: Some(old), new, .. } if old.metadata.generation == new.metadata.generation => None,
        change => change.key().cloned(),
    }
}

struct Autoscalers {
    monitors: Monitors,
    /// Of the autoscalers that there are.
    histories: Mutex<HashMap<Key, History>>,
    selectors: Selectors,
}

impl Autoscalers {
    async fn sync(&self, context: &Context, key: &Key) -> Result<Next, ApiError> {
        let cache = context.caches.of::<HorizontalPodAutoscaler>();
        let Some(hpa) = cache.get(key) else {
            self.histories.lock().remove(key);
            self.selectors.forget(key);
            return Ok(Next::Done);
        };
        let now = Timestamp::now();
        let (status, is_record) = match self.scale_of(context, &hpa).await {
            Ok((client, scale)) => self.look(context, &hpa, &client, scale, now).await?,
            Err(why) => {
                warn(context, &hpa, "FailedGetScale", &why);
                (decide::without_scale(&hpa, &why, now), false)
            }
        };
        write_status(context, &hpa, status, is_record).await?;
        Ok(Next::After(PERIOD))
    }

    /// The scale of the target; `Err` says why there is none.
    async fn scale_of(
        &self,
        context: &Context,
        hpa: &HorizontalPodAutoscaler,
    ) -> Result<(ScaleClient, ScaleObject), String> {
        let target = &hpa.spec.scale_target_ref;
        let api_version = target.api_version.as_deref().unwrap_or("v1");
        let resource = self.monitors.served(api_version, &target.kind);
        let resource =
            resource.ok_or_else(|| format!("no matches for kind {:?} in group {api_version:?}", target.kind))?;
        let client = ScaleClient::new(&context.client, &resource);
        let scale = client.get(&Key::new(hpa.namespace(), target.name.as_str())).await;
        scale.map(|scale| (client, scale)).map_err(|err| err.to_string())
    }

    /// Scales the target as its metrics ask; returns the status that says so, and whether that was tried.
    async fn look(
        &self,
        context: &Context,
        hpa: &HorizontalPodAutoscaler,
        client: &ScaleClient,
        scale: ScaleObject,
        now: Timestamp,
    ) -> Result<(HorizontalPodAutoscalerStatus, bool), ApiError> {
        let seen = Scale {
            spec_replicas: scale.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(0),
            status_replicas: scale.status.as_ref().map_or(0, |status| status.replicas),
        };
        let selector = scale.status.as_ref().and_then(|status| status.selector.as_deref()).unwrap_or_default();
        let selected = self.selectors.select(context, hpa, selector).await?;
        let metrics = hpa.spec.metrics.as_deref().unwrap_or_default();
        let readings = match &selected {
            Ok(_) => measure::read(&context.client, hpa.namespace(), selector, metrics).await,
            Err(_) => Vec::new(),
        };
        let pods = selected.as_ref().map(|Selected { pods, facts }| (pods.as_slice(), facts.as_slice()));
        let observed = Observed { hpa, scale: &seen, pods, readings: &readings, now };
        let decision = {
            let mut histories = self.histories.lock();
            decide::decide(observed, histories.entry(hpa.key()).or_default())
        };
        for warning in &decision.warnings {
            warn(context, hpa, warning.reason, &warning.message);
        }
        let Some(rescale) = &decision.rescale else { return Ok((decision.status, false)) };
        Ok((self.rescale(context, hpa, client, scale, rescale, &decision).await, true))
    }

    async fn rescale(
        &self,
        context: &Context,
        hpa: &HorizontalPodAutoscaler,
        client: &ScaleClient,
        scale: ScaleObject,
        rescale: &Rescale,
        decision: &Decision,
    ) -> HorizontalPodAutoscalerStatus {
        let Rescale { from, to, reason } = rescale;
        if let Err(err) = set_replicas(client, scale, *to).await {
            let message = format!("New size: {to}; reason: {reason}; error: {err}");
            warn(context, hpa, "FailedRescale", &message);
            return decide::without_rescale(hpa, decision, &err.to_string(), Timestamp::now());
        }
        let message = format!("New size: {to}; reason: {reason}");
        context.recorder.event(&hpa.reference(), EventType::Normal, "SuccessfulRescale", &message);
        if hpa.spec.behavior.is_some()
            && let Some(history) = self.histories.lock().get_mut(&hpa.key())
        {
            history.scaled(*from, *to, Timestamp::now());
        }
        decision.status.clone()
    }
}

/// The same number again for a target that changed meanwhile: it is what its metrics ask for.
async fn set_replicas(client: &ScaleClient, mut scale: ScaleObject, replicas: i32) -> Result<(), ApiError> {
    let mut tries = 0;
    loop {
        scale.spec.get_or_insert_default().replicas = Some(replicas);
        match client.update(&scale).await {
            Ok(_) => return Ok(()),
            Err(err) if err.is(Reason::Conflict) && tries < SCALE_TRIES => {
                tries += 1;
                scale = client.get(&scale.key()).await?;
            }
            Err(err) => return Err(err),
        }
    }
}

/// `is_record`: of what was done, which cannot be seen at the next look: that a target was scaled to zero says nobody else.
async fn write_status(
    context: &Context,
    hpa: &HorizontalPodAutoscaler,
    status: HorizontalPodAutoscalerStatus,
    is_record: bool,
) -> Result<(), ApiError> {
    if hpa.status.as_ref() == Some(&status) {
        return Ok(());
    }
    let mut next = HorizontalPodAutoscaler { status: Some(status), ..hpa.clone() };
    let mut tries = 0;
    let mut written = context.client.update_status(&next).await;
    let may_come_about = |err: &ApiError| err.is(Reason::Conflict) || err.is_doubtful();
    while is_record && tries < STATUS_TRIES && written.as_ref().is_err_and(may_come_about) {
        tries += 1;
        let live: HorizontalPodAutoscaler = match context.client.get(&hpa.key()).await {
            Err(err) if err.is(Reason::NotFound) => return Ok(()),
            live => live?,
        };
        if live.uid() != hpa.uid() {
            return Ok(());
        }
        next = HorizontalPodAutoscaler { status: next.status, ..live };
        written = context.client.update_status(&next).await;
    }
    match written {
        Ok(written) => {
            context.caught_up(&context.caches.of::<HorizontalPodAutoscaler>(), written.revision()).await;
            Ok(())
        }
        // It went meanwhile.
        Err(err) if err.is(Reason::NotFound) => Ok(()),
        Err(err) => {
            // A conflict is looked at again at once, and nobody needs to know.
            if !err.is(Reason::Conflict) {
                warn(context, hpa, "FailedUpdateStatus", &err.to_string());
            }
            Err(err)
        }
    }
}

fn warn(context: &Context, hpa: &HorizontalPodAutoscaler, reason: &str, message: &str) {
    context.recorder.event(&hpa.reference(), EventType::Warning, reason, message);
}

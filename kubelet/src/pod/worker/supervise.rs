//! A worker that panics is contained: its pod runs on, and after a while the worker begins anew from what the runtime holds,
//! as after a restart of the kubelet. No other pod notices.

use std::sync::Arc;
use std::time::Duration;

use corten_api::Object as _;
use corten_api::error::with_causes;
use corten_client::panics;
use jiff::Timestamp;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{error, warn};

use super::{Msg, Signals, Worker, probing};
use crate::images::ImageHandle;
use crate::pod::backoff::Backoff;
use crate::pod::inventory;
use crate::pod::plan::Plan;
use crate::pod::step::{FoundPod, Machine};
use crate::volumes::Paths;

/// Waits before a worker begins anew, each twice the one before.
const RETRY_FIRST: Duration = Duration::from_secs(1);
const RETRY_MAX: Duration = Duration::from_secs(300);
/// A worker that did well for so long begins with the first wait again.
const CALM: Duration = Duration::from_secs(600);

/// What panics over single pods are counted under.
pub const WORKER: &str = "pod-worker";

/// Runs the worker until its pod is gone. `failed`: why it could not even be made.
pub(super) async fn run(mut worker: Worker, mut failed: Option<String>) {
    let mut backoff = Backoff::new(RETRY_FIRST, RETRY_MAX);
    loop {
        let begun = Instant::now();
        let anew = failed.is_some();
        if let Some(why) = failed.take() {
            worker.tell_of_panic(&why);
            worker.drop_orders();
            if !worker.rest(backoff.fail()).await {
                return;
            }
        }
        let whole = async {
            if anew {
                worker.begin_anew().await?;
            }
            worker.run().await
        };
        match panics::catch_future(WORKER, whole).await {
            Ok(Ok(())) => return,
            Ok(Err(why)) => failed = Some(why),
            Err(panicked) => failed = Some(panicked.to_string()),
        }
        if begun.elapsed() > CALM {
            backoff.reset();
        }
    }
}

/// Runs a piece of a worker's work: the worker is told of a panic in it, as no answer will come.
pub(super) async fn contained(tx: &mpsc::Sender<Msg>, work: impl Future<Output = ()>) {
    if let Err(panicked) = panics::catch_future(WORKER, work).await {
        // The worker has ended: nobody waits for an answer.
        let _ = tx.send(Msg::Panicked { why: panicked.to_string() }).await;
    }
}

impl Worker {
    fn tell_of_panic(&self, why: &str) {
        error!(pod = %self.pod.key(), why, "a panic over a pod; it is looked at anew after a while");
        let message = format!("error syncing pod, trying again: the kubelet failed: {why}");
        self.place.cluster.event(&self.pod.reference(), true, "FailedSync", &message);
    }

    /// What is under way ends, and its answers, which belong to what was believed before, with it.
    fn drop_orders(&mut self) {
        std::mem::replace(&mut self.orders, CancellationToken::new()).cancel();
        self.probes = probing::Probes::default();
        self.signals = Signals::default();
    }

    /// Waits, and keeps what it is told of the pod; all else the next look at the runtime shows. So nobody who tells it
    /// something has to wait. False when nobody will tell it anything any more.
    async fn rest(&mut self, wait: Duration) -> bool {
        let until = tokio::time::sleep(wait);
        tokio::pin!(until);
        loop {
            tokio::select! {
                () = &mut until => return true,
                message = self.rx.recv() => match message {
                    Some(message) => self.keep(message),
                    None => return false,
                },
            }
        }
    }

    fn keep(&mut self, message: Msg) {
        match message {
            Msg::Pod { pod, share } => (self.pod, self.share) = (pod, share),
            Msg::Removed { grace } => self.removed = Some(grace),
            Msg::Runtime(_)
            | Msg::Found { .. }
            | Msg::Republish
            | Msg::SourcesChanged
            | Msg::Panicked { .. }
            | Msg::Answer(_) => {}
        }
    }

    /// Forgets all it believed and takes over what the runtime holds.
    async fn begin_anew(&mut self) -> Result<(), String> {
        let found = loop {
            match self.find().await {
                Ok(found) => break found,
                Err(why) => {
                    warn!(pod = %self.pod.key(), why, "cannot find out yet what runs of the pod");
                    if !self.rest(RETRY_FIRST).await {
                        return Ok(());
                    }
                }
            }
        };
        while let Ok(message) = self.rx.try_recv() {
            self.keep(message);
        }
        // What was said of it last is the best that is known of what the runtime has forgotten.
        let told = self.shared.pod.read().status.clone().or_else(|| self.pod.status.clone());
        self.machine = Machine::recover(Plan::of(&self.pod), &found, told.as_ref(), Timestamp::now());
        self.stop_signals = found.containers.iter().map(|c| (c.name.clone(), c.stop_signal)).collect();
        self.paths = Paths::new();
        self.images = std::collections::BTreeMap::<String, ImageHandle>::new();
        self.heard_at.clear();
        self.refreshing = false;
        Ok(())
    }

    async fn find(&self) -> Result<FoundPod, String> {
        let place = Arc::clone(&self.place);
        let held = place.runtime.list().await.map_err(|err| with_causes(&err))?;
        let attached = place.network.list().await.map_err(|err| with_causes(&err))?;
        let uid = self.pod.uid();
        let mut found = inventory::by_pod(&held).remove(uid).map_or_else(FoundPod::default, |found| found.pod);
        inventory::fill_addresses(&mut found, uid, &attached, &place.facts.addresses);
        Ok(found)
    }
}

//! Carries decisions out: placements to the apiserver, refusals to the pod's condition, both to its events; and makes room for
//! pods of higher priority.

mod preempt;
mod volumes;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use corten_api::{ApiError, Key, Object, Reason, pod};
use corten_client::{Binder, Client, EventType, Patch, Pulse, Recorder, panics};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use serde_json::json;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tracing::{debug, error, warn};

use crate::core::PANICS;
use crate::pod::PodInfo;
use crate::snapshot::volumes::progress::Written;
use preempt::Preemption;
pub use preempt::Room;

/// Writes on their way; the scheduler waits while there are more.
const IN_FLIGHT_MAX: usize = 256;
/// A placement that is not answered for so long is asked about: a connection lives, whatever becomes of one of its messages.
const ANSWER_MAX: Duration = Duration::from_secs(15);
/// Who speaks where a placement was refused.
const BIND_PLUGIN: &str = "Bind plugin \"DefaultBinder\"";
/// The reasons in a PodScheduled condition: no node will do, or it was found and could not be given.
const UNSCHEDULABLE: &str = "Unschedulable";
const SCHEDULER_ERROR: &str = "SchedulerError";
/// Between two questions whether a placement was done.
const ASK_AGAIN_AFTER: Duration = Duration::from_secs(1);

/// What came of a placement, or of making room for a pod.
#[derive(Debug)]
pub struct Outcome {
    pub key: Key,
    pub uid: String,
    pub of: Write,
    pub result: Result<(), ApiError>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Write {
    Placement(Try),
    /// The volumes of a pod's claims are reserved, or a node is selected for them.
    Volumes(Try, Written),
    /// Every victim is told to go.
    Preemption,
}

/// A try to place a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Try {
    /// The pod's `schedulerName`.
    pub scheduler: String,
    pub begun: std::time::Instant,
    /// The first has 1.
    pub number: u32,
    /// When the first began.
    pub first: std::time::Instant,
}

/// Its writes end with it: a scheduler that has lost its lease must not place another pod.
#[derive(Debug)]
pub struct Writer {
    client: Client,
    binder: Binder,
    /// By `schedulerName`: events say which scheduler speaks. One for each profile that had something to say.
    recorders: HashMap<String, Recorder>,
    places: Arc<Semaphore>,
    outcomes: mpsc::Sender<Outcome>,
    under_way: JoinSet<()>,
    pulse: Pulse,
}

impl Writer {
    /// Outcomes of placements and preemptions come on the receiver, at most one for each permit. `pulse` is that of all writes.
    pub fn new(client: &Client, pulse: Pulse) -> (Self, mpsc::Receiver<Outcome>) {
        let (outcomes, receiver) = mpsc::channel(IN_FLIGHT_MAX);
        let places = Arc::new(Semaphore::new(IN_FLIGHT_MAX));
        let (client, binder, under_way) = (client.clone(), client.binder(), JoinSet::new());
        (Self { client, binder, recorders: HashMap::new(), places, outcomes, under_way, pulse }, receiver)
    }

    fn recorder(&mut self, pod: &PodInfo) -> Recorder {
        let name = &pod.class.scheduler;
        if !self.recorders.contains_key(name) {
            self.recorders.insert(name.clone(), Recorder::new(&self.client, name, ""));
        }
        self.recorders[name].clone()
    }

    /// A place among the writes in flight; wait for it before deciding.
    pub async fn place(&self) -> Option<OwnedSemaphorePermit> {
        // Never closed: `None` cannot come, and would only stop the scheduler.
        Arc::clone(&self.places).acquire_owned().await.ok()
    }

    /// Returns once nothing is under way any more.
    pub async fn finish(&mut self) {
        while self.under_way.join_next().await.is_some() {}
    }

    fn spawn(&mut self, write: impl Future<Output = ()> + Send + 'static) {
        while self.under_way.try_join_next().is_some() {}
        let beat = self.pulse.begin(Instant::now());
        self.under_way.spawn(async move {
            let _under_way = beat;
            if let Err(panicked) = panics::catch_future(PANICS, write).await {
                error!(%panicked, "a bug: a write ended by itself");
            }
        });
    }

    /// Sends a placement; its outcome comes later.
    pub fn bind(&mut self, place: OwnedSemaphorePermit, pod: &PodInfo, node: String, of: Try) {
        let (binder, recorder, outcomes) = (self.binder.clone(), self.recorder(pod), self.outcomes.clone());
        let (key, uid, client, pod) = (pod.key.clone(), pod.uid.clone(), self.client.clone(), pod.clone());
        self.spawn(async move {
            let placed = panics::catch_future(PANICS, place_on(&client, &binder, &key, &uid, &node)).await;
            // Told of as a failure: the pod is decided on again, and does not hold its node for ever.
            let result = placed.unwrap_or_else(|panicked| Err(ApiError::internal(panicked.to_string())));
            match &result {
                Ok(()) => {
                    let message = format!("Successfully assigned {key} to {node}");
                    recorder.event(&pod.reference(), EventType::Normal, "Scheduled", message);
                }
                Err(err) => debug!(pod = %key, node, %err, "not bound"),
            }
            let refusal = result.as_ref().err().cloned();
            // The scheduler may have stopped meanwhile; its successor looks at the pod itself.
            let _ = outcomes.send(Outcome { key, uid, of: Write::Placement(of), result }).await;
            if let Some(err) = refusal {
                tell_of_refusal(&client, &recorder, &pod, BIND_PLUGIN, &err).await;
            }
            drop(place);
        });
    }

    /// Says on the pod why it has no node, once for each reason. `denominate`: it was nominated for one in vain, though the
    /// cluster may not show that yet.
    pub fn refuse(&mut self, place: OwnedSemaphorePermit, pod: &PodInfo, why: &str, denominate: bool) {
        self.recorder(pod).event(&pod.reference(), EventType::Warning, "FailedScheduling", why);
        let told = pod.pending.as_deref().and_then(|p| p.told.as_deref());
        if told == Some(why) && !denominate {
            return;
        }
        let mut status = json!({"conditions": [not_scheduled(pod, UNSCHEDULABLE, why)]});
        if denominate {
            status["nominatedNodeName"] = json!(null);
        }
        let (client, key, uid) = (self.client.clone(), pod.key.clone(), pod.uid.clone());
        self.spawn(async move {
            if let Err(err) = patch_status(&client, &key, &uid, status).await {
                warn!(pod = %key, %err, "cannot write why the pod has no node");
            }
            drop(place);
        });
    }

    /// Nominates the pod for the node and tells its victims to go; the outcome comes later.
    pub fn preempt(&mut self, place: OwnedSemaphorePermit, pod: &PodInfo, room: Room) {
        let (client, recorder, outcomes) = (self.client.clone(), self.recorder(pod), self.outcomes.clone());
        recorder.event(&pod.reference(), EventType::Warning, "FailedScheduling", &*room.why);
        let (key, uid) = (pod.key.clone(), pod.uid.clone());
        let condition = not_scheduled(pod, UNSCHEDULABLE, &room.why);
        let status = json!({"nominatedNodeName": room.node, "conditions": [condition]});
        let preemption = Preemption { scheduler: pod.class.scheduler.clone(), client, recorder };
        self.spawn(async move {
            let made = panics::catch_future(PANICS, preemption.run(&key, &uid, status, room)).await;
            let result = made.unwrap_or_else(|panicked| Err(ApiError::internal(panicked.to_string())));
            // The scheduler may have stopped meanwhile; its successor looks at the pod itself.
            let _ = outcomes.send(Outcome { key, uid, of: Write::Preemption, result }).await;
            drop(place);
        });
    }
}

/// The condition that says why the pod has no node.
fn not_scheduled(pod: &PodInfo, reason: &str, why: &str) -> serde_json::Value {
    let mut condition = json!({"type": "PodScheduled", "status": "False", "reason": reason, "message": why});
    let pending = pod.pending.as_deref();
    if let Some(generation) = pending.and_then(|p| p.generation) {
        condition["observedGeneration"] = json!(generation);
    }
    if pending.is_none_or(|p| p.told.is_none()) {
        condition["lastTransitionTime"] = json!(Time(Timestamp::now()));
    }
    condition
}

/// Says on a pod, and to its events, that a node was found and could not be given, as upstream words it.
async fn tell_of_refusal(client: &Client, recorder: &Recorder, pod: &PodInfo, plugin: &str, err: &ApiError) {
    let shown = match client.get::<Pod>(&pod.key).await {
        Ok(shown) => shown,
        Err(unknown) => return debug!(pod = %pod.key, %unknown, "whether it still waits is not known"),
    };
    let Some(revision) = still_waits(&shown, &pod.uid) else { return };
    let why = format!("running {plugin}: {}", err.message());
    recorder.event(&pod.reference(), EventType::Warning, "FailedScheduling", &*why);
    let status = json!({"conditions": [not_scheduled(pod, SCHEDULER_ERROR, &why)]});
    // Of the pod as it was looked at: it may be bound by now, and must not say then that it is not.
    let metadata = json!({"uid": pod.uid, "resourceVersion": revision});
    if let Err(err) = patch_status_of(client, &pod.key, metadata, status).await {
        warn!(pod = %pod.key, %err, "cannot write why the pod was not bound");
    }
}

/// The revision of a pod with this uid that has no node and is not deleted.
fn still_waits<'a>(shown: &'a Pod, uid: &str) -> Option<&'a str> {
    let waits = shown.uid() == uid && pod::node_name(shown).is_none() && !shown.is_deleting();
    shown.metadata.resource_version.as_deref().filter(|_| waits)
}

/// Changes what is given of the status of the pod with this uid. One that is gone needs it no more.
async fn patch_status(client: &Client, key: &Key, uid: &str, status: serde_json::Value) -> Result<(), ApiError> {
    patch_status_of(client, key, json!({"uid": uid}), status).await
}

async fn patch_status_of(
    client: &Client,
    key: &Key,
    metadata: serde_json::Value,
    status: serde_json::Value,
) -> Result<(), ApiError> {
    let patch = Patch::Strategic(json!({"metadata": metadata, "status": status}));
    match client.patch::<Pod>(key, "status", patch).await {
        Err(err) if !is_gone(&err) => Err(err),
        _ => Ok(()),
    }
}

/// Gone, or another of its name by now.
fn is_gone(err: &ApiError) -> bool {
    err.is(Reason::NotFound) || err.is(Reason::Conflict)
}

/// Sends a placement, and asks what became of it until somebody knows: what it takes stays taken meanwhile, as the node
/// would get too much if it were given free too early.
async fn place_on(client: &Client, binder: &Binder, key: &Key, uid: &str, node: &str) -> Result<(), ApiError> {
    let result = answered(binder.bind(&key.namespace, &key.name, uid, node)).await;
    while let Err(err) = result.as_ref()
        && err.is_doubtful()
    {
        match settled(client.get::<Pod>(key).await, err, uid, node) {
            Some(known) => return known,
            None => tokio::time::sleep(ASK_AGAIN_AFTER).await,
        }
    }
    result
}

/// The answer to a placement, or that nobody knows what became of it.
async fn answered(bind: impl Future<Output = Result<(), ApiError>>) -> Result<(), ApiError> {
    let silent =
        || Err(ApiError::unavailable(format!("the placement was not answered for {} s", ANSWER_MAX.as_secs())));
    tokio::time::timeout(ANSWER_MAX, bind).await.unwrap_or_else(|_| silent())
}

/// What became of a placement that failed with `err`, by what the apiserver shows of the pod now; `None`: it shows
/// nothing yet.
fn settled(shown: Result<Pod, ApiError>, err: &ApiError, uid: &str, node: &str) -> Option<Result<(), ApiError>> {
    match shown {
        Ok(pod) if pod.uid() != uid => Some(Err(ApiError::not_found("", "pods", pod.name()))),
        Ok(pod) => Some(if pod::node_name(&pod) == Some(node) { Ok(()) } else { Err(err.clone()) }),
        Err(unknown) if unknown.is_doubtful() => None,
        Err(known) => Some(Err(known)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pod::{Pending, PodClass};
    use k8s_openapi::api::core::v1::PodSpec;

    /// A writer without an apiserver.
    fn writer(limit: Duration) -> (Writer, Pulse) {
        let client = Client::over(tonic::transport::Endpoint::from_static("http://127.0.0.1:1").connect_lazy());
        let pulse = Pulse::new(limit, Instant::now());
        (Writer::new(&client, pulse.clone()).0, pulse)
    }

    #[tokio::test(start_paused = true)]
    async fn a_write_that_never_ends_is_a_hang_until_its_term_is_over() {
        let limit = Duration::from_secs(120);
        let (mut writer, pulse) = writer(limit);
        writer.spawn(async {});
        writer.spawn(std::future::pending());
        tokio::time::advance(limit).await;
        assert_eq!(pulse.check(Instant::now(), None), Ok(()));
        tokio::time::advance(Duration::from_secs(1)).await;
        assert!(pulse.check(Instant::now(), None).is_err());
        drop(writer);
        let ended = async {
            while pulse.check(Instant::now(), None).is_err() {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(10), ended).await.expect("its writes end with it");
    }

    #[tokio::test]
    async fn a_write_that_panics_is_counted_and_ends() {
        let (mut writer, pulse) = writer(Duration::ZERO);
        let before = panics::count(PANICS);
        writer.spawn(async { panic!("on purpose") });
        writer.finish().await;
        assert_eq!(panics::count(PANICS), before + 1);
        assert_eq!(pulse.check(Instant::now(), None), Ok(()));
    }

    #[tokio::test]
    async fn events_are_said_by_the_scheduler_that_the_pod_names() {
        let (mut writer, _) = writer(Duration::ZERO);
        for name in ["one", "two", "one"] {
            let class = PodClass { scheduler: name.into(), ..PodClass::default() };
            let pending = Pending { told: Some("no room".into()), ..Pending::default() };
            let pod = PodInfo { class: Arc::new(class), pending: Some(Box::new(pending)), ..PodInfo::default() };
            let place = writer.place().await.unwrap();
            writer.refuse(place, &pod, "no room", false);
        }
        let mut names: Vec<&str> = writer.recorders.keys().map(String::as_str).collect();
        names.sort_unstable();
        assert_eq!(names, ["one", "two"]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_placement_without_an_answer_is_doubtful() {
        let begun = Instant::now();
        let err = answered(std::future::pending()).await.unwrap_err();
        assert!(err.is_doubtful() && begun.elapsed() < Duration::from_secs(60), "{err} after {:?}", begun.elapsed());
        assert_eq!(answered(async { Ok(()) }).await, Ok(()));
    }

    #[test]
    fn a_condition_says_which_generation_it_is_about_and_when_the_pod_began_to_wait() {
        let pod = |told: Option<&str>| {
            let pending = Pending { generation: Some(4), told: told.map(str::to_owned), ..Pending::default() };
            PodInfo { pending: Some(Box::new(pending)), ..PodInfo::default() }
        };
        let mut first = not_scheduled(&pod(None), UNSCHEDULABLE, "no room");
        assert!(first.as_object_mut().unwrap().remove("lastTransitionTime").is_some());
        let expected = json!({"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "no room",
            "observedGeneration": 4});
        assert_eq!(first, expected);
        assert_eq!(not_scheduled(&pod(Some("less room")), UNSCHEDULABLE, "no room"), expected, "it waits since before");
    }

    #[test]
    fn only_a_pod_that_still_waits_is_told_that_it_was_not_bound() {
        let shown = |uid: &str, spec: serde_json::Value, deleted: Option<&str>| -> Pod {
            let metadata = json!({"name": "a", "uid": uid, "resourceVersion": "7", "deletionTimestamp": deleted});
            serde_json::from_value(json!({"metadata": metadata, "spec": spec})).unwrap()
        };
        let (open, bound) = (json!({"containers": []}), json!({"containers": [], "nodeName": "n1"}));
        let cases = [
            ("it waits", shown("u", open.clone(), None), Some("7")),
            ("it is bound", shown("u", bound, None), None),
            ("it is another", shown("v", open.clone(), None), None),
            ("it goes", shown("u", open, Some("2026-01-01T00:00:00Z")), None),
        ];
        for (why, shown, expected) in cases {
            assert_eq!(still_waits(&shown, "u"), expected, "{why}");
        }
    }

    #[test]
    fn doubtful_placements_table() {
        let pod = |uid: &str, node: Option<&str>| {
            let mut pod = Pod { spec: Some(PodSpec::default()), ..Pod::default() };
            (pod.metadata.name, pod.metadata.uid) = (Some("a".into()), Some(uid.into()));
            pod.spec.get_or_insert_default().node_name = node.map(str::to_owned);
            Ok(pod)
        };
        let broken = ApiError::unavailable("the stream broke");
        let gone = || Err(ApiError::not_found("", "pods", "a"));
        let cases = [
            ("it was done", pod("u", Some("n1")), "done"),
            ("it was not done", pod("u", None), "failed"),
            ("another was faster", pod("u", Some("n2")), "failed"),
            ("the pod is another by now", pod("v", Some("n1")), "gone"),
            ("the pod is gone", gone(), "gone"),
            ("nobody answers", Err(broken.clone()), "unknown"),
        ];
        for (why, shown, expected) in cases {
            let got = match settled(shown, &broken, "u", "n1") {
                None => "unknown",
                Some(Ok(())) => "done",
                Some(Err(err)) if err.is(Reason::NotFound) => "gone",
                Some(Err(_)) => "failed",
            };
            assert_eq!(got, expected, "{why}");
        }
    }
}

//! What stories share: a controller's surroundings, a kubelet, and waiting.

use std::time::Duration;

use corten_client::{CancellationToken, Recorder, Writes};
use corten_controllers::balancers::Rules;
use corten_controllers::caches::Caches;
use corten_controllers::certificates::flags::Signing;
use corten_controllers::context::Context;
use corten_controllers::controller::{Loop, Settings, Setup};
use corten_controllers::monitors::Monitors;
use corten_controllers::networks::Networks;
use corten_proto::api::Fence;
use serde_json::{Value, json};

use crate::apiserver::ApiServer;
use crate::store::State;

/// In paused time: a controller that backs off needs it.
const DEADLINE: Duration = Duration::from_secs(7200);
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Runs a story in paused time, on one thread.
pub(crate) fn play(story: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build();
    runtime.unwrap().block_on(story);
}

/// What controllers are made of, and a term in which they may write.
pub(crate) struct World {
    pub(crate) setup: Setup,
    pub(crate) context: Context,
    /// What the term has under way.
    pub(crate) writes: Writes,
}

impl World {
    /// Of a term that ends with `stop`.
    pub(crate) async fn new(server: &ApiServer, stop: &CancellationToken) -> Self {
        let writes = Writes::until(stop);
        let client = server.client(stop).await.fenced(&Fence::default(), CancellationToken::new(), writes.clone());
        let (caches, monitors) = (Caches::new(&client, stop), Monitors::new(stop));
        let recorder = Recorder::new(&client, "test", "");
        let context = Context::new(client.clone(), recorder.clone(), caches.clone(), stop.clone());
        let networks = Networks::of("10.244.0.0/16".parse().unwrap(), 24).unwrap();
        let (root_ca, signing) = (String::new(), Signing::default());
        let balancers = Rules::default();
        let settings = Settings { networks, root_ca, signing, balancers, force_detach_on_timeout: true };
        let setup = Setup { name: "", caches, monitors, client, recorder, settings, stop: stop.clone() };
        Self { setup, context, writes }
    }

    /// Runs it until the stop.
    pub(crate) fn start(&self, name: &'static str, controller: fn(&Setup) -> Loop) {
        let setup = self.setup.of(name, &self.setup.stop);
        let made = controller(&setup);
        tokio::spawn(made.run(Context { recorder: setup.recorder, ..self.context.clone() }));
    }

    /// For controllers that look at all kinds.
    pub(crate) fn monitor(&self) {
        self.setup.monitors.begin(&self.context.client, &self.setup.stop, &self.context.caches);
    }
}

pub(crate) async fn until(server: &ApiServer, what: &str, done: impl Fn(&State) -> bool) {
    let wait = async {
        while !server.with(|state| done(state)) {
            tokio::time::sleep(LOOK_EVERY).await;
        }
    };
    if tokio::time::timeout(DEADLINE, wait).await.is_err() {
        let state = server.with(|state| format!("{:#?}", state.objects.keys().collect::<Vec<_>>()));
        panic!("{what}: not within {DEADLINE:?}; there are {state}");
    }
    assert_fine(server);
}

pub(crate) fn assert_fine(server: &ApiServer) {
    let violation = server.with(|state| state.violation.clone());
    assert_eq!(violation, None);
}

pub(crate) fn is_active(pod: &Value) -> bool {
    pod["metadata"]["deletionTimestamp"].is_null()
}
pub(crate) fn is_ready(pod: &Value) -> bool {
    pod["status"]["conditions"][0]["status"] == "True"
}

pub(crate) fn template(image: &str) -> Value {
    let containers = json!([{"name": "web", "image": image}]);
    json!({"metadata": {"labels": {"app": "web"}}, "spec": {"containers": containers}})
}

/// Starts pods and ends those that are deleted, one at a time.
pub(crate) async fn kubelet(server: ApiServer) {
    loop {
        tokio::time::sleep(Duration::from_millis(30)).await;
        server.with(|state| {
            let keys: Vec<_> = state.of("pods").map(|(key, _)| key.clone()).collect();
            let Some(key) = state.chance.pick(&keys).cloned() else { return };
            let at = ("pods".to_owned(), key);
            let mut pod = state.objects[&at].clone();
            if !is_active(&pod) {
                state.delete(&at, &json!({"gracePeriodSeconds": 0})).unwrap();
                return;
            }
            pod["spec"]["nodeName"] = json!("n1");
            pod["status"]["phase"] = json!("Running");
            let ready = json!({"type": "Ready", "status": "True", "lastTransitionTime": "2020-01-01T00:00:00Z"});
            pod["status"]["conditions"] = json!([ready]);
            state.replace(&at, pod).unwrap();
        });
    }
}

//! How terms end: what a stop lets end, and what never begins after it.

use std::time::Duration;

use corten_client::CancellationToken;
use corten_controllers::replicas;
use serde_json::{Value, json};

use crate::apiserver::ApiServer;
use crate::store::State;
use crate::world::{World, is_active, play, template, until};

/// Far longer than anything takes that is not stopped.
const LONG: Duration = Duration::from_secs(3600);

fn replica_set(replicas: usize) -> Value {
    let selector = json!({"matchLabels": {"app": "web"}});
    let spec = json!({"replicas": replicas, "selector": selector, "template": template("good")});
    json!({"metadata": {"name": "web", "namespace": "ns"}, "spec": spec})
}

fn pods_of_web(state: &State) -> usize {
    state.of("pods").filter(|(key, pod)| key.namespace == "ns" && is_active(pod)).count()
}

#[test]
fn a_stop_lets_what_is_under_way_end_and_nothing_more_begin() {
    play(async {
        let (server, stop) = (ApiServer::new(0), CancellationToken::new());
        server.with(|state| state.create("replicasets", replica_set(1000)).unwrap());
        let world = World::new(&server, &stop).await;
        world.start("replicaset", replicas::owners::replica_sets);
        until(&server, "some of its pods", |state| pods_of_web(state) > 100).await;
        let most = server.with(|state| pods_of_web(state)) + server.inside();
        stop.cancel();
        world.writes.ended().await;
        let ended = server.with(|state| pods_of_web(state));
        assert!(ended <= most && most < 1000, "{ended} pods, and {most} were there or under way");
        tokio::time::sleep(LONG).await;
        assert_eq!(server.with(|state| pods_of_web(state)), ended, "the lease may be another's by now");
    });
}

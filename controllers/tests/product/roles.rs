//! Aggregated ClusterRoles come to the rules of those that they select, and are then left alone.

use corten_api::Key;
use corten_client::CancellationToken;
use corten_client::seeds::for_each_seed;
use corten_controllers::clusterroleaggregation;
use serde_json::{Value, json};

use crate::apiserver::ApiServer;
use crate::store::State;
use crate::world::{World, play, until};

const SEEDS: u64 = 6;
const FAULTS: usize = 8;

fn at(name: &str) -> (String, Key) {
    ("clusterroles".to_owned(), Key::cluster(name))
}
fn rules(verbs: &[&str]) -> Value {
    let rule = |verb: &&str| json!({"apiGroups": [""], "resources": ["pods"], "verbs": [verb]});
    verbs.iter().map(rule).collect()
}
/// A role that others select by the label `to`, and that selects others by it.
fn role(name: &str, to: Option<&str>, verbs: &[&str], selects: Option<&str>) -> Value {
    let selector = selects.map(|to| json!({"clusterRoleSelectors": [{"matchLabels": {"to": to}}]}));
    json!({
        "metadata": {"name": name, "labels": to.map(|to| json!({"to": to}))},
        "rules": rules(verbs),
        "aggregationRule": selector,
    })
}
fn verbs(state: &State, name: &str) -> Vec<String> {
    let rules = state.objects[&at(name)]["rules"].as_array().cloned().unwrap_or_default();
    rules.iter().map(|rule| rule["verbs"][0].as_str().unwrap().to_owned()).collect()
}

#[test]
fn roles_gather_what_they_select_through_each_other_whatever_the_line_does() {
    for_each_seed(SEEDS, |seed| {
        play(async move {
            let (server, stop) = (ApiServer::new(seed), CancellationToken::new());
            server.with(|state| {
                for role in [
                    role("view", Some("edit"), &[], Some("view")),
                    role("edit", None, &[], Some("edit")),
                    role("reads", Some("view"), &["get", "list"], None),
                    role("alone", None, &["watch"], None),
                ] {
                    state.create("clusterroles", role).unwrap();
                }
            });
            let world = World::new(&server, &stop).await;
            world.start("clusterroleaggregation", clusterroleaggregation::controller);
            server.set_faults(FAULTS);
            let is = |state: &State, view: &[&str], edit: &[&str]| {
                verbs(state, "view") == view && verbs(state, "edit") == edit
            };
            until(&server, "both read", |state| is(state, &["get", "list"], &["get", "list"])).await;
            server.with(|state| state.create("clusterroles", role("writes", Some("edit"), &["create"], None)).unwrap());
            until(&server, "one writes, too", |state| is(state, &["get", "list"], &["get", "list", "create"])).await;
            server.with(|state| {
                let meddled = role("view", Some("edit"), &["delete"], Some("view"));
                let mut meddled_with = state.objects[&at("view")].clone();
                meddled_with["rules"] = meddled["rules"].clone();
                state.replace(&at("view"), meddled_with).unwrap();
                state.delete(&at("reads"), &json!({})).unwrap();
            });
            until(&server, "nothing is left to view", |state| is(state, &[], &["create"])).await;
            assert_eq!(server.with(|state| verbs(state, "alone")), ["watch"]);
            stop.cancel();
        });
    });
}

#[test]
fn a_role_that_is_right_is_not_written() {
    play(async {
        let (server, stop) = (ApiServer::new(0), CancellationToken::new());
        server.with(|state| {
            state.create("clusterroles", role("view", None, &["get"], Some("view"))).unwrap();
            state.create("clusterroles", role("reads", Some("view"), &["get"], None)).unwrap();
        });
        let world = World::new(&server, &stop).await;
        world.start("clusterroleaggregation", clusterroleaggregation::controller);
        // What is written after it shows that it was looked at.
        server.with(|state| state.create("clusterroles", role("late", None, &[], Some("view"))).unwrap());
        until(&server, "the one that lacks a rule has it", |state| verbs(state, "late") == ["get"]).await;
        let writes = server.with(|state| state.log.iter().filter(|change| change.at == at("view")).count());
        assert_eq!(writes, 1, "its creation");
        stop.cancel();
    });
}

//! Migrations of what is stored: every object is written anew, whatever the line does.

use corten_api::Key;
use corten_client::CancellationToken;
use corten_client::seeds::for_each_seed;
use corten_controllers::storageversionmigration;
use serde_json::{Value, json};

use crate::apiserver::{ApiServer, STUCK};
use crate::store::State;
use crate::world::{World, play, until};

const SEEDS: u64 = 4;
const FAULTS: usize = 6;
/// More than one page.
const OBJECTS: usize = 600;

/// `kind: message` of the condition that is true.
fn said(state: &State) -> String {
    let migration = &state.objects[&("storageversionmigrations".to_owned(), Key::cluster("m"))];
    let conditions = migration["status"]["conditions"].as_array().cloned().unwrap_or_default();
    let text = |condition: &Value, field: &str| condition[field].as_str().unwrap_or_default().to_owned();
    let now = conditions.iter().find(|condition| condition["status"] == "True");
    now.map(|condition| format!("{}: {}", text(condition, "type"), text(condition, "message"))).unwrap_or_default()
}

fn begin(state: &mut State) {
    for n in 0..OBJECTS {
        let metadata = json!({"name": format!("c{n}"), "namespace": "shop"});
        state.create("configmaps", json!({"metadata": metadata})).unwrap();
    }
    let spec = json!({"resource": {"group": "", "resource": "configmaps"}});
    state.create("storageversionmigrations", json!({"metadata": {"name": "m"}, "spec": spec})).unwrap();
}

#[test]
fn all_objects_are_written_page_by_page_whatever_the_line_does() {
    for_each_seed(SEEDS, |seed| {
        play(async {
            let (server, stop) = (ApiServer::new(seed), CancellationToken::new());
            server.with(begin);
            server.set_faults(FAULTS);
            let world = World::new(&server, &stop).await;
            world.start("storage-version-migrator", storageversionmigration::controller);
            world.monitor();
            let done = format!("Succeeded: {OBJECTS} of {OBJECTS} objects are written");
            until(&server, "all to be written", |state| said(state) == done).await;
            stop.cancel();
        });
    });
}

#[test]
fn one_that_may_not_be_as_it_is_fails_the_migration_and_is_named() {
    play(async {
        let (server, stop) = (ApiServer::new(0), CancellationToken::new());
        server.with(|state| {
            begin(state);
            let metadata = json!({"name": "odd", "namespace": "shop", "labels": {STUCK: "yes"}});
            state.create("configmaps", json!({"metadata": metadata})).unwrap();
        });
        let world = World::new(&server, &stop).await;
        world.start("storage-version-migrator", storageversionmigration::controller);
        world.monitor();
        until(&server, "it to fail", |state| said(state).starts_with("Failed: configmaps shop/odd: ")).await;
        stop.cancel();
    });
}

//! Looks at definitions, one at a time.

use std::time::Duration;

use serde_json::json;

use super::serving::Serving;
use super::*;
use crate::registry::custom::testing::{tabs, version};
use crate::resources::tests::Cluster;
use crate::storage::flaky::Flaky;

const SECOND: Duration = Duration::from_secs(1);

/// As on a second master: the status of what it could not serve says already all that it has to say.
#[tokio::test]
async fn what_was_served_at_last_is_not_tried_for_ever() {
    let storage = Arc::new(Flaky::default());
    let c = Cluster::on(storage.clone()).await;
    c.define(json!({"metadata": {"name": "tabs.example.com"}, "spec": {
        "group": "example.com", "scope": "Namespaced", "names": {"plural": "tabs", "kind": "Tab"},
        "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": {"type": "object"}}}],
    }}))
    .await;
    storage.fail_lists_of("/registry/example.com/tabs/");
    let mut kept = Kept::default();
    assert_eq!(c.resources.look_after_custom_kinds(&mut kept).await.again, Some(SECOND));
    assert_eq!(c.resources.look_after_custom_kinds(&mut kept).await.again, Some(SECOND), "it is not tried yet");
    storage.fail_lists_of("");
    tokio::time::pause();
    tokio::time::advance(2 * SECOND).await;
    assert_eq!(c.resources.look_after_custom_kinds(&mut kept).await.again, None);
    assert!(kept.served.contains_key("example.com/tabs"));
}

#[test]
fn a_write_that_is_not_wanted_any_more_does_not_keep_a_kind_that_could_not_be_served_from_its_turn() {
    let crd = tabs(vec![version("v1", true, json!({"type": "object"}))]);
    let definition = Arc::new(Definition::of(crd, 7).unwrap());
    let (mut kept, name, now) = (Kept::default(), "tabs.example.com", Instant::now());
    kept.unwritten.note(name, 7, now);
    kept.note_serving("example.com/tabs".into(), &definition, Err(ApiError::internal("no")));
    assert!(!kept.unserved.is_due(name, 7, now));
    kept.note_serving("example.com/tabs".into(), &definition, Ok(Serving::Begun));
    assert_eq!((kept.unserved.next(now), kept.unwritten.next(now)), (None, Some(SECOND)));
    assert_eq!(kept.serves(&definition), Served::Yes);
}

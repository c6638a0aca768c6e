//! An object is the same whoever wrote it: with the zeros that a client leaves out or writes, in JSON or in protobuf.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "what a test cannot do without fails it")]

#[path = "normal/faults.rs"]
mod faults;
#[path = "support/objects.rs"]
mod objects;
#[path = "support/protobuf.rs"]
mod protobuf;
#[path = "normal/put.rs"]
mod put;
#[path = "support/server.rs"]
mod server;
#[path = "support/zeros.rs"]
mod zeros;

use corten_apiserver::decode::{self, Format};
use corten_apiserver::registry::{self, ApiResource, Strategy, WriteContext, clock};
use corten_apiserver::request::User;
use objects::ValidObject;
use serde_json::Value;
use zeros::Zeros;

/// The kinds that are served, each with an object.
fn kinds() -> Vec<(ApiResource, ValidObject)> {
    let mut objects = objects::one_of_each_kind();
    let of = |resource: ApiResource| {
        let is_it = |value: &Value| value["apiVersion"] == resource.api_version() && value["kind"] == resource.kind();
        let at = objects.iter().position(|object| is_it(&object.json)).expect("each kind has an object");
        (resource, objects.swap_remove(at))
    };
    registry::builtin().into_iter().map(of).collect()
}

fn normal(resource: &ApiResource, json: &[u8]) -> String {
    let normal = decode::normal(resource.shape(), json).unwrap();
    assert!(normal.findings.is_empty(), "{resource:?}: {:?}", normal.findings);
    normal.json().unwrap_or_else(|err| panic!("{resource:?}: {err}")).to_owned()
}
fn value(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

#[test]
fn what_is_normal_stays_as_it_is() {
    for (resource, ValidObject { json, .. }) in kinds() {
        let once = normal(&resource, json.to_string().as_bytes());
        assert_eq!(normal(&resource, once.as_bytes()), once, "{resource:?}");
    }
}

#[test]
fn what_is_written_of_an_object_is_read_as_the_same() {
    for (resource, ValidObject { json, .. }) in kinds() {
        let object = resource.decode(json.to_string().as_bytes()).unwrap();
        let written = object.to_json().unwrap();
        let again = resource.decode(&written).unwrap();
        assert!(again.same_as(&*object), "{resource:?}");
        assert_eq!(again.to_json().unwrap(), written, "{resource:?}");
        let normal = decode::normal(resource.shape(), &written).unwrap();
        assert!(
            !normal.is_changed(),
            "{resource:?}: {}\n{}",
            value(&String::from_utf8_lossy(&written)),
            normal.json().unwrap()
        );
    }
}

#[test]
fn objects_are_the_same_in_json_and_in_protobuf() {
    for (resource, ValidObject { json, .. }) in kinds() {
        let in_json = normal(&resource, json.to_string().as_bytes());
        let body = decode::decode(Format::Protobuf, protobuf::body(&json).into()).unwrap();
        assert_eq!(value(&normal(&resource, &body.json)), value(&in_json), "{resource:?}");
    }
}

#[test]
fn zeros_that_are_no_pointers_and_nulls_make_no_difference() {
    for (resource, ValidObject { json, .. }) in kinds() {
        let plain = normal(&resource, json.to_string().as_bytes());
        for zeros in Zeros::EACH {
            let mut filled = json.clone();
            zeros.fill(resource.shape().unwrap(), &mut filled);
            assert!(filled != json || zeros == Zeros::OfGo, "{resource:?}: there is something to leave out");
            let read = decode::normal(resource.shape(), filled.to_string().as_bytes()).unwrap();
            assert_eq!(value(read.json().unwrap()), value(&plain), "{resource:?}");
            assert!(read.is_changed() || zeros == Zeros::OfGo, "{resource:?}: {zeros:?}");
        }
    }
}

/// An object that is read back, and written again as it is, is the same: its update would change nothing.
#[test]
fn an_object_that_is_stored_is_read_back_as_it_was() {
    let user = User::default();
    let context = WriteContext { user: &user, now: clock::now() };
    for (resource, ValidObject { json, .. }) in kinds() {
        let rules = resource.rules();
        let mut made = resource.decode(json.to_string().as_bytes()).unwrap();
        rules.fill_defaults(&mut *made);
        rules.prepare(Strategy::Create, &mut *made, &context);
        let stored = made.to_json().unwrap();
        let read = || {
            let mut object = resource.decode(&stored).unwrap();
            rules.fill_defaults(&mut *object);
            object
        };
        let (old, mut new) = (read(), read());
        rules.prepare(Strategy::Update(&*old), &mut *new, &context);
        assert!(new.same_as(&*old), "{resource:?}");
        assert!(!rules.spec_changed(&*new, &*old), "{resource:?}");
        let again = old.to_json().unwrap();
        assert_eq!(value(&normal(&resource, &again)), value(&normal(&resource, &stored)), "{resource:?}");
    }
}

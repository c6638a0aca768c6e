//! The built-in table: it has all kinds that are served, and says of them what the published document says.

use super::*;
use crate::registry::Registry;
use crate::schema::{Around, ListKind, Node, Scalar, Shape};

#[test]
fn the_table_has_every_kind_that_is_served() {
    for resource in Registry::default().table().iter() {
        let shape = resource.shape().unwrap_or_else(|| panic!("{} has no type", resource.kind()));
        let metadata = shape.child("metadata").and_then(Shape::as_struct);
        assert_eq!(metadata.map(|of| &*of.name), Some("meta.v1.ObjectMeta"), "{}", resource.kind());
    }
    assert!(builtin().kinds().count() > 60 && builtin().structs().count() > 500);
}

#[test]
fn the_table_says_what_the_types_crate_says() {
    // Two facts of each sort, so that a wrong table is noticed; the generator's own test compares all of it.
    let spec = builtin().kind("apps/v1", "Deployment").unwrap().child("spec").unwrap();
    let container = spec.child("template").unwrap().child("spec").unwrap().child("containers").unwrap();
    assert!(
        matches!(container.node(), Node::List(list) if matches!(&list.kind, ListKind::Map(keys) if **keys == ["name".into()]))
    );
    let ports = container.element().unwrap().child("ports").unwrap().element().unwrap();
    assert_eq!(ports.field("protocol").unwrap().0.default, Some("TCP".into()));
    let limits = container.element().unwrap().child("resources").unwrap().child("limits").unwrap();
    assert!(matches!(limits.child("cpu").unwrap().node(), Node::Scalar(Scalar::Quantity)));
    // The probe's handler is a message of its own in protobuf, and none in JSON.
    let probe = builtin().named("core.v1.Probe").unwrap().as_struct().unwrap();
    let handler = probe.embedded(Around::NONE, 1).unwrap();
    assert_eq!(probe.numbered(handler, 2).map(|field| &*field.name), Some("httpGet"));
}

#[test]
fn keys_of_lists_are_fields_of_their_items() {
    for of in builtin().structs() {
        let shape = builtin().named(&of.name).unwrap();
        for field in of.fields() {
            let Node::List(list) = shape.of(field).node() else { continue };
            let ListKind::Map(keys) = &list.kind else { continue };
            let item = shape.of(field).element().unwrap();
            for key in keys.iter().chain(&field.patch.merge_key) {
                assert!(item.field(key).is_some(), "{}.{}: no {key}", of.name, field.name);
            }
        }
    }
}

#[test]
fn the_table_is_of_the_release_that_is_served() {
    let first = TABLE.lines().next().unwrap();
    assert!(first.contains(&format!(" v1.{}:", corten_api::version::MINOR)), "{first}");
}

//! Every list of the built-in kinds whose items are told apart: two appliers of different items leave both.

use std::collections::HashSet;

use serde_json::{Value, json};

use crate::apply::testing::Story;
use crate::apply::{ObjectType, Tracked};
use crate::schema::{ListKind, Node, Scalar, Shape, builtin};

/// A step from an object's root to a list.
#[derive(Clone)]
enum Way<'s> {
    Field(&'s str),
    /// The entry `way` of a map.
    Entry,
    /// The first item of a list with keys.
    Item(Shape<'s>, &'s [std::sync::Arc<str>]),
}

/// The `nth` value of a type that keys have.
fn key_value(shape: Shape<'_>, nth: usize) -> Value {
    match shape.node() {
        Node::Scalar(Scalar::Int32 | Scalar::Int64 | Scalar::Float64) => json!(nth),
        Node::Scalar(Scalar::Bool) => json!(nth == 0),
        Node::Scalar(Scalar::String | Scalar::IntOrString | Scalar::Quantity) => json!(format!("k{nth}")),
        other => panic!("a key of the type {other:?}"),
    }
}

/// An item whose first key is the `nth` of its type.
fn item(shape: Shape<'_>, keys: &[std::sync::Arc<str>], nth: usize) -> Value {
    let value = |at: usize, key: &str| key_value(shape.child(key).unwrap(), if at == 0 { nth } else { 0 });
    keys.iter().enumerate().map(|(at, key)| (key.to_string(), value(at, key))).collect::<serde_json::Map<_, _>>().into()
}

fn around(ways: &[Way<'_>], list: Value) -> Value {
    ways.iter().rev().fold(list, |inner, way| match way {
        Way::Field(name) => json!({ *name: inner }),
        Way::Entry => json!({ "way": inner }),
        Way::Item(shape, keys) => {
            let mut item = item(*shape, keys, 0);
            item.as_object_mut().unwrap().extend(inner.as_object().unwrap().clone());
            json!([item])
        }
    })
}

fn at<'v>(ways: &[Way<'_>], object: &'v Value) -> &'v Value {
    ways.iter().fold(object, |value, way| match way {
        Way::Field(name) => &value[*name],
        Way::Entry => &value["way"],
        Way::Item(..) => &value[0],
    })
}

struct Walk<'s> {
    of: ObjectType<'s>,
    seen: HashSet<&'s str>,
    lists: usize,
}

impl<'s> Walk<'s> {
    /// Goes through a type and all below it that has parts, each struct once.
    fn go(&mut self, shape: Shape<'s>, ways: &mut Vec<Way<'s>>) {
        match shape.node() {
            Node::Struct(of) if !of.atomic && self.seen.insert(&of.name) => {
                for field in of.fields() {
                    ways.push(Way::Field(&field.name));
                    self.go(shape.of(field), ways);
                    ways.pop();
                }
            }
            Node::Map(map) if !map.atomic => {
                ways.push(Way::Entry);
                self.go(shape.element().unwrap(), ways);
                ways.pop();
            }
            Node::List(list) => match &list.kind {
                ListKind::Atomic => {}
                ListKind::Set => {
                    let of = shape.element().unwrap();
                    self.two_appliers(ways, |nth| key_value(of, nth));
                }
                ListKind::Map(keys) => {
                    let of = shape.element().unwrap();
                    self.two_appliers(ways, |nth| item(of, keys, nth));
                    ways.push(Way::Item(of, keys));
                    self.go(of, ways);
                    ways.pop();
                }
            },
            Node::Struct(_) | Node::Map(_) | Node::Scalar(_) | Node::Any => {}
        }
    }

    fn two_appliers(&mut self, ways: &[Way<'s>], item: impl Fn(usize) -> Value) {
        self.lists += 1;
        let configuration = |items: Vec<Value>| {
            let mut object = around(ways, items.into());
            let head = json!({"apiVersion": self.of.api_version, "kind": self.of.kind});
            object.as_object_mut().unwrap().extend(head.as_object().unwrap().clone());
            if self.of.shape.is_some_and(|shape| shape.child("metadata").is_some()) {
                object["metadata"]["name"] = json!("x");
            }
            object
        };
        let told = format!("{} {}", self.of.kind, around(ways, json!("…")));
        let mut story = Story::of(self.of);
        let mut apply = |manager: &str, items: Vec<Value>| {
            let applied = story.apply(manager, &configuration(items), false);
            assert_eq!(applied, Ok(true), "{told}");
            at(ways, story.object.as_ref().unwrap()).clone()
        };
        assert_eq!(apply("one", vec![item(0)]), json!([item(0)]), "{told}");
        assert_eq!(apply("two", vec![item(1)]), json!([item(0), item(1)]), "{told}");
        assert_eq!(apply("one", vec![item(0), item(1)]), json!([item(0), item(1)]), "{told}");
        assert_eq!(apply("two", Vec::new()), json!([item(0), item(1)]), "{told}");
        assert_eq!(apply("one", vec![item(1)]), json!([item(1)]), "{told}");
    }
}

#[test]
fn every_list_with_keys_and_every_set_is_shared_and_not_replaced() {
    let mut lists = 0;
    for (api_version, kind) in builtin().kinds() {
        let shape = builtin().kind(api_version, kind).unwrap();
        let of = ObjectType { tracked: &Tracked::All, ..ObjectType::plain(api_version, kind, Some(shape)) };
        let mut walk = Walk { of, seen: HashSet::new(), lists: 0 };
        walk.go(shape, &mut Vec::new());
        assert!(kind != "Deployment" || walk.seen.contains("core.v1.ContainerPort"), "{:?}", walk.seen);
        lists += walk.lists;
    }
    assert!(lists > 300, "{lists}");
}

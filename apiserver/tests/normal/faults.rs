//! What is wrong with a body is told of by its path, wherever it stands.
//!
//! `CORTEN_FAULTS=10000` tries so many of each kind instead of a few.

use std::hash::{BuildHasher, RandomState};

use corten_apiserver::decode::{self, Normal};
use corten_apiserver::registry::ApiResource;
use corten_apiserver::schema::{Node, Scalar, Shape};
use corten_fuzz::Random;
use serde_json::{Value, json};

use super::kinds;
use super::objects::ValidObject;

const FAULTS: u64 = 60;
/// Before a key that is to stand there twice.
const AGAIN: &str = "\u{1}again:";

/// One thing that is wrong, and where: as users write it, and as Go names the fields that lead there.
#[derive(Debug)]
struct Fault {
    json: String,
    path: String,
    go_path: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wrong {
    UnknownField,
    DuplicateField,
    Type,
}

/// Where a walk has come to.
struct Place<'s> {
    of: Shape<'s>,
    path: String,
    go_path: String,
}

impl<'s> Place<'s> {
    fn field(&self, name: &str, of: Shape<'s>) -> Self {
        let below = |path: &str| if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
        Self { of, path: below(&self.path), go_path: below(&self.go_path) }
    }
    fn key(&self, key: &str, of: Shape<'s>) -> Self {
        Self { of, path: format!("{}.{key}", self.path), go_path: self.go_path.clone() }
    }
    fn index(&self, at: usize, of: Shape<'s>) -> Self {
        Self { of, path: format!("{}[{at}]", self.path), go_path: self.go_path.clone() }
    }
}

/// Every value of the object that has a type: its pointer, and its place.
fn places<'s>(place: Place<'s>, pointer: String, value: &Value, found: &mut Vec<(String, Place<'s>)>) {
    match (place.of.node(), value) {
        (Node::Struct(known), Value::Object(map)) => {
            for field in known.fields() {
                let Some(value) = map.get(&*field.name) else { continue };
                let below = place.field(&field.name, place.of.of(field));
                places(below, format!("{pointer}/{}", field.name), value, found);
            }
        }
        (Node::Map(_), Value::Object(map)) => {
            for (key, value) in map {
                let below = place.key(key, place.of.element().unwrap());
                let escaped = key.replace('~', "~0").replace('/', "~1");
                places(below, format!("{pointer}/{escaped}"), value, found);
            }
        }
        (Node::List(_), Value::Array(items)) => {
            for (at, value) in items.iter().enumerate() {
                places(place.index(at, place.of.element().unwrap()), format!("{pointer}/{at}"), value, found);
            }
        }
        _ => {}
    }
    found.push((pointer, place));
}

/// What is of another type than `of`, and what Go calls that; nothing where any JSON may stand.
fn odd(random: &mut Random, of: Shape<'_>) -> Option<Value> {
    let odd = match of.node() {
        Node::Struct(_) | Node::Map(_) => [json!([]), json!("x"), json!(7), json!(true)],
        Node::List(_) => [json!({}), json!("x"), json!(7), json!(true)],
        Node::Scalar(scalar) => match scalar {
            Scalar::String | Scalar::Bytes => [json!(7), json!(false), json!({"a": 1}), json!(["x"])],
            Scalar::Bool => [json!("true"), json!(0), json!({}), json!([])],
            Scalar::Int32 => [json!("1"), json!(1.5), json!(3_000_000_000_u64), json!({})],
            Scalar::Int64 => [json!("1"), json!(1.5), json!(true), json!([1])],
            Scalar::Float64 => [json!("1"), json!(true), json!({}), json!([1])],
            Scalar::Time | Scalar::MicroTime => [json!(7), json!(true), json!({}), json!([])],
            Scalar::IntOrString => [json!(1.5), json!(true), json!({}), json!([])],
            Scalar::ExtraValue => [json!("x"), json!(7), json!(true), json!({})],
            // A schema, or what stands instead of one, is refused in words of its own.
            Scalar::Quantity | Scalar::RawExtension | Scalar::FieldsV1 | Scalar::SchemaOr(_) => return None,
        },
        Node::Any => return None,
    };
    let at = random.below(odd.len());
    odd.into_iter().nth(at)
}

/// A fault of this sort somewhere in the object; `None` where there is no place for it.
fn fault(random: &mut Random, wrong: Wrong, of: Shape<'_>, json: &Value) -> Option<Fault> {
    let mut found = Vec::new();
    let root = Place { of, path: String::new(), go_path: String::new() };
    places(root, String::new(), json, &mut found);
    let mut json = json.clone();
    let (pointer, place) = found.swap_remove(random.below(found.len()));
    let value = json.pointer_mut(&pointer).unwrap();
    let (mut path, go_path) = (place.path.clone(), place.go_path.clone());
    let dot = if path.is_empty() { "" } else { "." };
    match (wrong, value) {
        (Wrong::UnknownField, Value::Object(map)) if place.of.as_struct().is_some() => {
            path += &format!("{dot}odd");
            map.insert("odd".into(), json!({"name": [null, {"name": 1}]}));
        }
        (Wrong::DuplicateField, Value::Object(map))
            if !map.is_empty() && !matches!(place.of.node(), Node::Scalar(_)) =>
        {
            let key = map.keys().nth(random.below(map.len())).unwrap().clone();
            path += &format!("{dot}{key}");
            let again = map[&key].clone();
            map.insert(format!("{AGAIN}{key}"), again);
        }
        (Wrong::Type, value) if !pointer.is_empty() => *value = odd(random, place.of)?,
        _ => return None,
    }
    let again = json!(AGAIN).to_string();
    let json = json.to_string().replace(again.trim_matches('"'), "");
    Some(Fault { json, path, go_path })
}

fn read(resource: &ApiResource, fault: &Fault) -> Normal {
    let read = decode::normal(resource.shape(), fault.json.as_bytes());
    read.unwrap_or_else(|err| panic!("{resource:?}: {err}: {fault:?}"))
}

#[test]
fn faults_are_told_of_by_their_paths_wherever_they_stand() {
    let count = std::env::var("CORTEN_FAULTS").map_or(FAULTS, |text| text.parse().unwrap());
    let seed =
        std::env::var("CORTEN_FUZZ_SEED").map_or_else(|_| RandomState::new().hash_one(0), |text| text.parse().unwrap());
    let mut told = 0;
    for (index, (resource, ValidObject { json, .. })) in kinds().into_iter().enumerate() {
        let mut random = Random::new(seed.wrapping_add(index as u64));
        for _ in 0..count {
            for wrong in [Wrong::UnknownField, Wrong::DuplicateField, Wrong::Type] {
                let Some(fault) = fault(&mut random, wrong, resource.shape().unwrap(), &json) else { continue };
                let (normal, seed) = (read(&resource, &fault), format!("CORTEN_FUZZ_SEED={seed} {resource:?}"));
                told += 1;
                match wrong {
                    Wrong::UnknownField => {
                        assert_eq!(normal.findings, [format!("unknown field \"{}\"", fault.path)], "{seed}: {fault:?}");
                        normal.json().unwrap_or_else(|err| panic!("{seed}: {err}: {fault:?}"));
                    }
                    Wrong::DuplicateField => {
                        assert_eq!(
                            normal.findings,
                            [format!("duplicate field \"{}\"", fault.path)],
                            "{seed}: {fault:?}"
                        );
                        let object = resource.object(&normal).unwrap_or_else(|err| panic!("{seed}: {err}: {fault:?}"));
                        let plain = resource.decode(json.to_string().as_bytes()).unwrap();
                        assert!(object.same_as(&*plain), "{seed}: {fault:?}");
                    }
                    Wrong::Type => {
                        let words = normal.json().expect_err(&fault.json).to_string();
                        let place = format!(".{} of type ", fault.go_path);
                        assert!(
                            words.starts_with("json: cannot unmarshal ") && words.contains(&place),
                            "{seed}: {words}: {fault:?}"
                        );
                    }
                }
            }
        }
    }
    assert!(told > 100, "{told} faults have been tried");
}

//! Specs of things, made at random: few names, so that two of them meet.

use corten_fuzz::Random;
use serde_json::{Map, Value, json};

fn some(random: &mut Random, names: &[&str]) -> Vec<String> {
    names.iter().filter(|_| random.one_in(2)).map(|name| (*name).to_owned()).collect()
}

/// In an order of its own.
fn shuffled(random: &mut Random, mut items: Vec<Value>) -> Vec<Value> {
    for at in 0..items.len() {
        let other = random.below(items.len());
        items.swap(at, other);
    }
    items
}

fn text(random: &mut Random) -> Value {
    json!(random.pick(&["1", "2"]))
}

fn part(random: &mut Random, depth: usize) -> Value {
    let mut part = Map::new();
    if random.one_in(2) {
        part.insert("name".into(), text(random));
    }
    if random.one_in(2) {
        part.insert("number".into(), json!(random.below(2)));
    }
    if depth > 0 && random.one_in(2) {
        part.insert("inner".into(), self::part(random, depth - 1));
    }
    part.into()
}

fn map(random: &mut Random, value: impl Fn(&mut Random) -> Value) -> Value {
    some(random, &["a", "b"]).into_iter().map(|name| (name, value(random))).collect::<Map<_, _>>().into()
}

fn list(random: &mut Random) -> Value {
    let items = some(random, &["a", "b", "c"]).into_iter().map(|name| {
        let mut item = json!({ "name": name });
        if random.one_in(2) {
            item["number"] = json!(random.below(2));
        }
        if random.one_in(3) {
            item["set"] = set(random);
        }
        if random.one_in(4) {
            item["always"] = part(random, 0);
        }
        item
    });
    let items: Vec<Value> = items.collect();
    shuffled(random, items).into()
}

fn set(random: &mut Random) -> Value {
    let items = some(random, &["a", "b", "c"]).into_iter().map(Value::String).collect();
    shuffled(random, items).into()
}

fn ports(random: &mut Random) -> Value {
    let mut items = Vec::new();
    for (port, protocol) in [(80, None), (80, Some("UDP")), (81, Some("TCP"))] {
        if random.one_in(2) {
            items.push(match protocol {
                Some(protocol) => json!({"port": port, "protocol": protocol, "name": text(random)}),
                None => json!({ "port": port }),
            });
        }
    }
    shuffled(random, items).into()
}

type Make = fn(&mut Random) -> Value;

/// Every field of a spec, and how its values are made.
const FIELDS: &[(&str, Make)] = &[
    ("args", set),
    ("flag", |random| json!(random.one_in(2))),
    ("frozen", |random| map(random, text)),
    ("labels", |random| map(random, text)),
    ("list", list),
    ("maps", |random| map(random, |random| part(random, 1))),
    ("nested", |random| map(random, |random| map(random, text))),
    ("number", |random| json!(random.below(2))),
    ("part", |random| part(random, 2)),
    ("ports", ports),
    ("raw", |random| map(random, text)),
    ("set", set),
    ("text", text),
    ("whole", |random| map(random, text)),
];

/// A spec in whose lists no two items have the same keys.
pub(in crate::apply) fn spec(random: &mut Random) -> Value {
    let mut spec = Map::new();
    for (name, make) in FIELDS {
        if random.one_in(3) {
            let value = if random.one_in(12) { Value::Null } else { make(random) };
            spec.insert((*name).to_owned(), value);
        }
    }
    spec.into()
}

/// Two specs that say nothing of the same fields, of the same items and entries though.
pub(in crate::apply) fn apart(random: &mut Random) -> (Value, Value) {
    let whole = spec(random);
    let (mut one, mut other) = (Map::new(), Map::new());
    for (name, value) in whole.as_object().cloned().unwrap_or_default() {
        let granular = matches!(&*name, "labels" | "set" | "list" | "ports");
        match value {
            Value::Object(entries) if granular => {
                let (these, those): (Map<_, _>, Map<_, _>) = entries.into_iter().partition(|_| random.one_in(2));
                put(&mut one, &name, these.into());
                put(&mut other, &name, those.into());
            }
            Value::Array(items) if granular => {
                let (these, those): (Vec<_>, Vec<_>) = items.into_iter().partition(|_| random.one_in(2));
                put(&mut one, &name, these.into());
                put(&mut other, &name, those.into());
            }
            value => put(if random.one_in(2) { &mut one } else { &mut other }, &name, value),
        }
    }
    (one.into(), other.into())
}

/// What is empty is not said.
fn put(spec: &mut Map<String, Value>, name: &str, value: Value) {
    let value = filled(value);
    if !value.is_null() {
        spec.insert(name.to_owned(), value);
    }
}

/// A value without the parts of it that are empty; null if it is.
pub(in crate::apply) fn filled(value: Value) -> Value {
    let is_there = |value: &Value| !value.is_null();
    match value {
        Value::Object(fields) => {
            let fields = fields.into_iter().map(|(name, value)| (name, filled(value)));
            let fields: Map<_, _> = fields.filter(|(_, value)| is_there(value)).collect();
            if fields.is_empty() { Value::Null } else { fields.into() }
        }
        Value::Array(items) => {
            let items: Vec<Value> = items.into_iter().map(filled).filter(is_there).collect();
            if items.is_empty() { Value::Null } else { items.into() }
        }
        plain => plain,
    }
}

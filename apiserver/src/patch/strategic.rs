//! Strategic merge patch: a merge patch that knows which lists merge, by which key, and what order they keep.
//!
//! Directives: `$patch: replace|delete|merge`, `$retainKeys`, `$setElementOrder/<list>`,
//! `$deleteFromPrimitiveList/<list>`.
//! <https://github.com/kubernetes/community/blob/master/contributors/devel/sig-api-machinery/strategic-merge-patch.md>

use std::collections::{HashMap, HashSet};

use corten_api::{ApiError, Reason};
use serde_json::{Map, Value};

use super::order;
use crate::schema::{Node, Shape};

const PATCH: &str = "$patch";
const RETAIN_KEYS: &str = "$retainKeys";
const SET_ORDER: &str = "$setElementOrder/";
const DELETE_FROM: &str = "$deleteFromPrimitiveList/";

/// What all merges of a patch may look at: an item of a list, there before or in the patch, is a step, and so is each
/// [`STEP_BYTES`] of what tells it from others. A patch that names one item again and again has the lists in it looked
/// through as often.
const MAX_STEPS: usize = 1_000_000;
const STEP_BYTES: usize = 64;

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum StrategicError {
    #[error("unable to apply the patch: an item of {field:?} does not contain the declared merge key: {key}")]
    NoMergeKey { field: String, key: String },
    #[error("unable to apply the patch: {field:?} must be a {wanted}")]
    WrongShape { field: String, wanted: &'static str },
    #[error("invalid patch format of retainKeys")]
    RetainKeys,
    #[error("unknown patch directive {0:?}: use replace, merge or delete")]
    Directive(String),
    #[error("the merges of the patch take more than {MAX_STEPS} steps")]
    Steps,
}

impl From<StrategicError> for ApiError {
    fn from(err: StrategicError) -> Self {
        match err {
            StrategicError::Steps => Self::new(Reason::RequestEntityTooLarge, err.to_string()),
            StrategicError::NoMergeKey { .. }
            | StrategicError::WrongShape { .. }
            | StrategicError::RetainKeys
            | StrategicError::Directive(_) => Self::bad_request(err.to_string()),
        }
    }
}

/// Merges `patch` into `object`, which is of the type `of`; without a type, objects merge and lists are replaced.
pub(super) fn merge(of: Option<Shape<'_>>, object: &mut Value, patch: Value) -> Result<(), StrategicError> {
    let patch = as_map("", patch)?;
    let current = std::mem::take(object);
    let current = if let Value::Object(map) = current { map } else { Map::new() };
    *object = Value::Object(merge_map(of, current, patch, &mut Steps::default())?);
    Ok(())
}

/// The steps that a patch has taken.
#[derive(Default)]
struct Steps(usize);

impl Steps {
    /// Pays for a look at all of `items`, which `key` tells apart.
    fn pay(&mut self, items: &[Value], key: Option<&str>) -> Result<(), StrategicError> {
        let bytes = |item: &Value| match key.map_or(Some(item), |key| item.get(key)) {
            Some(Value::String(text)) => text.len(),
            Some(other @ (Value::Array(_) | Value::Object(_))) => other.to_string().len(),
            Some(Value::Null | Value::Bool(_) | Value::Number(_)) | None => 0,
        };
        self.0 += items.iter().map(|item| 1 + bytes(item) / STEP_BYTES).sum::<usize>();
        if self.0 > MAX_STEPS { Err(StrategicError::Steps) } else { Ok(()) }
    }
}

/// A list that is merged and not replaced.
#[derive(Clone, Copy)]
struct MergedList<'s> {
    /// The field that tells its items apart; `None` for a list of plain values, which is a set.
    key: Option<&'s str>,
    items: Option<Shape<'s>>,
}

impl<'s> MergedList<'s> {
    /// The list `field` of an object of the type `of`, if it is merged.
    fn of(of: Option<Shape<'s>>, field: &str) -> Option<Self> {
        let (field, shape) = of?.field(field)?;
        let is_list = matches!(shape.node(), Node::List(_));
        (is_list && field.patch.merge).then(|| Self { key: field.patch.merge_key.as_deref(), items: shape.element() })
    }
}

fn merge_map(
    of: Option<Shape<'_>>,
    mut current: Map<String, Value>,
    mut patch: Map<String, Value>,
    steps: &mut Steps,
) -> Result<Map<String, Value>, StrategicError> {
    match take_directive(&mut patch)?.as_deref() {
        Some("replace") => return Ok(without_directives(patch)),
        Some("delete") => return Ok(Map::new()),
        _ => {}
    }
    retain_keys(&mut current, &mut patch)?;
    let orders = take_prefixed(&mut patch, SET_ORDER);
    for (field, gone) in take_prefixed(&mut patch, DELETE_FROM) {
        let gone = as_list(&field, gone)?;
        if let Some(Value::Array(items)) = current.get_mut(&field) {
            steps.pay(items, None)?;
            steps.pay(&gone, None)?;
            let gone = order::places(&gone, None);
            items.retain(|item| !gone.contains_key(&item.to_string()));
        }
    }
    // Lists as they were, where the patch says in which order they shall be.
    let mut servers = HashMap::new();
    for field in orders.keys() {
        if let (Some(list), Some(Value::Array(items))) = (MergedList::of(of, field), current.get(field)) {
            steps.pay(items, list.key)?;
            servers.insert(field.clone(), order::places(items, list.key));
        }
    }
    for (field, value) in patch {
        merge_field(of, &mut current, field, value, steps)?;
    }
    // An order alone, without a change of the list, still reorders.
    for (field, order) in &orders {
        let Some(list) = MergedList::of(of, field) else { continue };
        if let Some(Value::Array(items)) = current.get_mut(field) {
            let server = servers.remove(field).unwrap_or_else(|| order::places(items, list.key));
            let asked = as_list(field, order.clone())?;
            steps.pay(items, list.key)?;
            steps.pay(&asked, list.key)?;
            let asked = order::places(&asked, list.key);
            *items = order::ordered(std::mem::take(items), &asked, &server, list.key);
        }
    }
    Ok(current)
}

fn merge_field(
    of: Option<Shape<'_>>,
    current: &mut Map<String, Value>,
    field: String,
    value: Value,
    steps: &mut Steps,
) -> Result<(), StrategicError> {
    match value {
        Value::Null => {
            current.remove(&field);
        }
        Value::Object(patch) => {
            let have = match current.remove(&field) {
                Some(Value::Object(map)) => map,
                _ => Map::new(),
            };
            // `$patch: delete` takes the field away; all else leaves an object, be it empty.
            let deleted = patch.get(PATCH).and_then(Value::as_str) == Some("delete");
            let merged = merge_map(of.and_then(|of| of.child(&field)), have, patch, steps)?;
            if !deleted {
                current.insert(field, Value::Object(merged));
            }
        }
        Value::Array(patch) => {
            let merged = match (MergedList::of(of, &field), current.remove(&field)) {
                (Some(list), Some(Value::Array(have))) => merge_list(&field, list, have, patch, steps)?,
                (Some(list), _) => new_list(list.items, patch, steps)?,
                (None, _) => patch,
            };
            current.insert(field, Value::Array(merged));
        }
        plain => {
            current.insert(field, plain);
        }
    }
    Ok(())
}

fn merge_list(
    field: &str,
    list: MergedList<'_>,
    have: Vec<Value>,
    patch: Vec<Value>,
    steps: &mut Steps,
) -> Result<Vec<Value>, StrategicError> {
    steps.pay(&have, list.key)?;
    steps.pay(&patch, list.key)?;
    let Some(key) = list.key else { return Ok(merge_set(have, patch)) };
    // One item `{"$patch": "replace"}` makes the others the whole list.
    if patch.iter().any(|item| item.get(PATCH).and_then(Value::as_str) == Some("replace")) {
        return new_list(list.items, patch, steps);
    }
    let mut have = have;
    let mut wanted = Vec::with_capacity(patch.len());
    let mut deleted = HashSet::new();
    for item in patch {
        let mut item = as_map(field, item)?;
        let directive = take_directive(&mut item)?;
        let no_key = || StrategicError::NoMergeKey { field: field.into(), key: key.into() };
        let id = item.get(key).ok_or_else(no_key)?.to_string();
        if directive.as_deref() == Some("delete") {
            deleted.insert(id);
        } else {
            wanted.push((id, item));
        }
    }
    have.retain(|item| !deleted.contains(&order::id_of(item, Some(key))));
    let server = order::places(&have, Some(key));
    let (mut places, mut asked) = (server.clone(), HashMap::new());
    for (id, item) in wanted {
        let next = asked.len();
        asked.entry(id.clone()).or_insert(next);
        let Some(at) = places.get(&id).copied() else {
            places.insert(id, have.len());
            have.push(Value::Object(merge_map(list.items, Map::new(), item, steps)?));
            continue;
        };
        have[at] = Value::Object(match have[at].take() {
            Value::Object(current) => merge_map(list.items, current, item, steps)?,
            _ => merge_map(list.items, Map::new(), item, steps)?,
        });
    }
    Ok(order::ordered(have, &asked, &server, Some(key)))
}

/// A list where there was none to merge with: all its items, also those that share a merge key, as port 53 of UDP and of
/// TCP do. Items that are directives say nothing here.
fn new_list(of: Option<Shape<'_>>, patch: Vec<Value>, steps: &mut Steps) -> Result<Vec<Value>, StrategicError> {
    let items = patch.into_iter().filter(|item| item.get(PATCH).is_none());
    let new = |item| match item {
        Value::Object(item) => merge_map(of, Map::new(), item, steps).map(Value::Object),
        plain => Ok(plain),
    };
    items.map(new).collect()
}

/// A list of plain values, which are there once.
fn merge_set(have: Vec<Value>, patch: Vec<Value>) -> Vec<Value> {
    let (server, asked) = (order::places(&have, None), order::places(&patch, None));
    let mut seen = HashSet::new();
    let merged = have.into_iter().chain(patch).filter(|value| seen.insert(value.to_string())).collect();
    order::ordered(merged, &asked, &server, None)
}

fn retain_keys(current: &mut Map<String, Value>, patch: &mut Map<String, Value>) -> Result<(), StrategicError> {
    if let Some(keys) = patch.remove(RETAIN_KEYS) {
        let keys = as_list(RETAIN_KEYS, keys)?;
        let keys: HashSet<&str> = keys.iter().filter_map(Value::as_str).collect();
        let is_directive = |name: &str| name == PATCH || name.starts_with(SET_ORDER) || name.starts_with(DELETE_FROM);
        let lost =
            |(name, value): (&String, &Value)| !value.is_null() && !is_directive(name) && !keys.contains(&**name);
        if patch.iter().any(lost) {
            return Err(StrategicError::RetainKeys);
        }
        current.retain(|name, _| keys.contains(&**name));
    }
    Ok(())
}

fn take_directive(patch: &mut Map<String, Value>) -> Result<Option<String>, StrategicError> {
    match patch.remove(PATCH) {
        None => Ok(None),
        Some(Value::String(word)) if matches!(word.as_str(), "replace" | "delete" | "merge") => Ok(Some(word)),
        Some(other) => Err(StrategicError::Directive(other.to_string())),
    }
}

fn take_prefixed(patch: &mut Map<String, Value>, prefix: &str) -> Map<String, Value> {
    let names: Vec<String> = patch.keys().filter(|k| k.starts_with(prefix)).cloned().collect();
    names.into_iter().filter_map(|k| Some((k[prefix.len()..].to_owned(), patch.remove(&k)?))).collect()
}

/// What a replacement keeps: directives are never stored.
fn without_directives(mut map: Map<String, Value>) -> Map<String, Value> {
    map.retain(|name, _| name != RETAIN_KEYS && !name.starts_with(SET_ORDER) && !name.starts_with(DELETE_FROM));
    map
}

fn as_map(field: &str, value: Value) -> Result<Map<String, Value>, StrategicError> {
    if let Value::Object(map) = value {
        Ok(map)
    } else {
        Err(StrategicError::WrongShape { field: field.into(), wanted: "map" })
    }
}
fn as_list(field: &str, value: Value) -> Result<Vec<Value>, StrategicError> {
    if let Value::Array(list) = value {
        Ok(list)
    } else {
        Err(StrategicError::WrongShape { field: field.into(), wanted: "list" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::builtin;
    use serde_json::json;

    fn merge(kind: &str, object: &mut Value, patch: Value) -> Result<(), StrategicError> {
        let api_version = if kind == "Deployment" { "apps/v1" } else { "v1" };
        super::merge(Some(builtin().kind(api_version, kind).unwrap()), object, patch)
    }

    fn pod_spec(containers: Value) -> Value {
        json!({"spec": {"containers": containers}})
    }

    #[test]
    fn merge_table() {
        let cases = [
            (
                "containers merge by name",
                pod_spec(json!([{"name": "a", "image": "1"}, {"name": "b", "image": "1"}])),
                pod_spec(json!([{"name": "b", "image": "2"}])),
                pod_spec(json!([{"name": "a", "image": "1"}, {"name": "b", "image": "2"}])),
            ),
            (
                "a new one goes first, as upstream has it",
                pod_spec(json!([{"name": "a"}])),
                pod_spec(json!([{"name": "b"}])),
                pod_spec(json!([{"name": "b"}, {"name": "a"}])),
            ),
            (
                "the patch's items as it orders them, the server's others before what they were in front of",
                pod_spec(json!([{"name": "a"}, {"name": "b"}, {"name": "c"}, {"name": "d"}])),
                pod_spec(json!([{"name": "d"}, {"name": "new"}, {"name": "b"}])),
                pod_spec(json!([{"name": "a"}, {"name": "c"}, {"name": "d"}, {"name": "new"}, {"name": "b"}])),
            ),
            (
                "what is deleted is no neighbour",
                pod_spec(json!([{"name": "a"}, {"name": "b"}, {"name": "c"}])),
                pod_spec(json!([{"$patch": "delete", "name": "a"}, {"name": "c", "image": "2"}, {"name": "n"}])),
                pod_spec(json!([{"name": "b"}, {"name": "c", "image": "2"}, {"name": "n"}])),
            ),
            (
                "an item named twice is merged twice",
                pod_spec(json!([{"name": "a"}])),
                pod_spec(json!([{"name": "b", "image": "1"}, {"name": "b", "tty": true}])),
                pod_spec(json!([{"name": "b", "image": "1", "tty": true}, {"name": "a"}])),
            ),
            (
                "one is deleted by its key",
                pod_spec(json!([{"name": "a"}, {"name": "b"}])),
                pod_spec(json!([{"$patch": "delete", "name": "a"}])),
                pod_spec(json!([{"name": "b"}])),
            ),
            (
                "the list is replaced",
                pod_spec(json!([{"name": "a"}, {"name": "b"}])),
                pod_spec(json!([{"$patch": "replace"}, {"name": "c"}])),
                pod_spec(json!([{"name": "c"}])),
            ),
            (
                "nested lists merge by their own keys",
                pod_spec(json!([{"name": "a", "env": [{"name": "X", "value": "1"}, {"name": "Y", "value": "1"}]}])),
                pod_spec(json!([{"name": "a", "env": [{"name": "Y", "value": null, "valueFrom": {}}]}])),
                pod_spec(json!([{"name": "a", "env": [{"name": "X", "value": "1"}, {"name": "Y", "valueFrom": {}}]}])),
            ),
            (
                "a list without a rule is replaced",
                pod_spec(json!([{"name": "a", "args": ["1", "2"]}])),
                pod_spec(json!([{"name": "a", "args": ["3"]}])),
                pod_spec(json!([{"name": "a", "args": ["3"]}])),
            ),
            (
                "null deletes, finalizers are a set",
                json!({"metadata": {"labels": {"a": "1", "b": "2"}, "finalizers": ["x"]}}),
                json!({"metadata": {"labels": {"a": null}, "finalizers": ["y", "x"]}}),
                json!({"metadata": {"labels": {"b": "2"}, "finalizers": ["y", "x"]}}),
            ),
            (
                "values leave a set",
                json!({"metadata": {"finalizers": ["x", "y"]}}),
                json!({"metadata": {"$deleteFromPrimitiveList/finalizers": ["x"]}}),
                json!({"metadata": {"finalizers": ["y"]}}),
            ),
            (
                "retainKeys drops what it does not name",
                json!({"spec": {"volumes": [{"name": "v", "emptyDir": {}}]}}),
                json!({"spec": {"volumes": [{"name": "v", "$retainKeys": ["name", "hostPath"], "hostPath": {"path": "/x"}}]}}),
                json!({"spec": {"volumes": [{"name": "v", "hostPath": {"path": "/x"}}]}}),
            ),
            (
                "a map is replaced whole",
                json!({"spec": {"nodeSelector": {"a": "1"}}}),
                json!({"spec": {"nodeSelector": {"$patch": "replace", "b": "2"}}}),
                json!({"spec": {"nodeSelector": {"b": "2"}}}),
            ),
            (
                "the order is as asked; what it does not know stays after what it followed",
                pod_spec(json!([{"name": "a"}, {"name": "mine"}, {"name": "b"}])),
                json!({"spec": {"$setElementOrder/containers": [{"name": "b"}, {"name": "a"}, {"name": "c"}],
                    "containers": [{"name": "c"}]}}),
                pod_spec(json!([{"name": "mine"}, {"name": "b"}, {"name": "a"}, {"name": "c"}])),
            ),
        ];
        for (why, mut object, patch, expected) in cases {
            merge("Pod", &mut object, patch).unwrap();
            assert_eq!(object, expected, "{why}");
        }
    }

    /// Field by field, from an object's root to a list: with the merge key where the field is a list on the way.
    type Path<'s> = Vec<(&'s str, Option<&'s str>)>;

    /// An object with `list` at the end of `path`. The items of lists on the way have the same key, and so are the same.
    fn around(path: &Path<'_>, list: Value) -> Value {
        path.iter().rev().fold(list, |mut inner, (field, key)| match key {
            Some(key) => {
                inner[key] = "way".into();
                json!({ *field: [inner] })
            }
            None => json!({ *field: inner }),
        })
    }

    /// Walks all types below `of`, each once, and patches every list that is merged by a key.
    fn patch_lists<'s>(root: Shape<'s>, of: Shape<'s>, path: &mut Path<'s>, seen: &mut HashSet<&'s str>) {
        let Some(known) = of.as_struct().filter(|known| seen.insert(&known.name)) else { return };
        for field in known.fields() {
            let shape = of.of(field);
            let list = MergedList::of(Some(of), &field.name);
            if let Some(key) = list.and_then(|list| list.key) {
                let with = |ids: &[&str]| {
                    let items: Vec<Value> = ids.iter().map(|id| json!({ key: id })).collect();
                    around(path, json!({ &*field.name: items }))
                };
                let mut object = with(&["a", "b"]);
                super::merge(Some(root), &mut object, with(&["b", "c"])).unwrap();
                assert_eq!(object, with(&["a", "b", "c"]), "{path:?} {}", field.name);
            }
            path.push((&field.name, list.and_then(|list| list.key)));
            // Lists that are replaced, and maps, have no single item to go down into.
            let below = if list.is_some() { shape.element() } else { shape.as_struct().map(|_| shape) };
            if let Some(below) = below {
                patch_lists(root, below, path, seen);
            }
            path.pop();
        }
    }

    #[test]
    fn every_published_merge_key_keeps_what_a_patch_does_not_name() {
        let mut types = 0;
        for (api_version, kind) in builtin().kinds() {
            let root = builtin().kind(api_version, kind).unwrap();
            let mut seen = HashSet::new();
            patch_lists(root, root, &mut Vec::new(), &mut seen);
            types += seen.len();
            assert!(kind != "Deployment" || seen.contains("core.v1.ContainerPort"), "{seen:?}");
        }
        assert!(types > 500, "{types}");
    }

    #[test]
    fn strategy_of_a_deployment_retains_keys() {
        let mut object = json!({"spec": {"strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1}}}});
        let patch = json!({"spec": {"strategy": {"$retainKeys": ["type"], "type": "Recreate"}}});
        merge("Deployment", &mut object, patch).unwrap();
        assert_eq!(object, json!({"spec": {"strategy": {"type": "Recreate"}}}));
    }

    #[test]
    fn bad_patches_are_refused_in_words() {
        let mut object = pod_spec(json!([{"name": "a"}]));
        let no_key = merge("Pod", &mut object.clone(), pod_spec(json!([{"image": "x"}]))).unwrap_err();
        assert!(no_key.to_string().contains("does not contain the declared merge key: name"));
        assert!(merge("Pod", &mut object.clone(), json!({"spec": {"$patch": "explode"}})).is_err());
        assert!(merge("Pod", &mut object, pod_spec(json!(["a"]))).is_err());
        let lost = json!({"spec": {"volumes": [{"name": "v", "$retainKeys": ["name"], "emptyDir": {}}]}});
        assert_eq!(merge("Pod", &mut object, lost), Err(StrategicError::RetainKeys));
    }

    #[test]
    fn a_patch_that_has_a_long_list_looked_through_again_and_again_is_too_large() {
        let env: Vec<Value> = (0..40_000).map(|n| json!({"name": n.to_string()})).collect();
        let again = json!({"name": "a", "env": [{"name": "x"}]});
        let ordered = json!({"name": "a", "$setElementOrder/env": [{"name": "x"}]});
        let emptied = json!({"name": "a", "$deleteFromPrimitiveList/args": ["x"]});
        let long_names = json!({"name": "a", "env": [{"name": "y".repeat(1 << 20)}]});
        let long_args = json!({"name": "a", "env": env, "args": (0..40_000).collect::<Vec<_>>()});
        let cases = [
            ("a list in an item named again", json!({"name": "a", "env": env}), again.clone()),
            ("an order", json!({"name": "a", "env": env}), ordered),
            ("what goes of a list", long_args, emptied),
            ("names that are long", long_names, again),
        ];
        for (why, first, item) in cases {
            let mut patch = vec![item; 100];
            patch.insert(0, first);
            let mut object = pod_spec(json!([{"name": "a"}]));
            assert_eq!(merge("Pod", &mut object, pod_spec(patch.into())), Err(StrategicError::Steps), "{why}");
        }
        let err = ApiError::from(StrategicError::Steps);
        assert_eq!(err.code(), 413);
        assert_eq!(err.message(), "the merges of the patch take more than 1000000 steps");
    }

    #[test]
    fn long_lists_merge_in_time_that_grows_with_them() {
        let items = |from: usize| (from..from + 60_000).map(|n| json!({"name": n.to_string()})).collect::<Vec<_>>();
        let mut object = pod_spec(items(0).into());
        let began = std::time::Instant::now();
        let mut patch = pod_spec(items(30_000).into());
        patch["spec"]["$setElementOrder/containers"] = items(30_000).into();
        merge("Pod", &mut object, patch).unwrap();
        assert_eq!(object["spec"]["containers"].as_array().map(Vec::len), Some(90_000));
        assert!(began.elapsed() < std::time::Duration::from_secs(20), "{:?}", began.elapsed());
    }
}

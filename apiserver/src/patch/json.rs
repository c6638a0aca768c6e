//! JSON patch, RFC 6902, each operation checked before it is done: how deep the object gets, what is copied, what is moved about.

use corten_api::{ApiError, Reason};
use json_patch::jsonptr::Pointer;
use json_patch::{AddOperation, PatchErrorKind, PatchOperation};
use serde_json::Value;

use crate::decode::{MAX_BODY_BYTES, MAX_NESTING};

/// Upstream's number.
pub const MAX_OPERATIONS: usize = 10_000;
/// What all `copy` operations of a patch may add to the object's text. Upstream allows as much as a body.
const MAX_COPIED_BYTES: usize = MAX_BODY_BYTES;
/// List items that all operations of a patch may push along, and values they may look through.
const MAX_STEPS: usize = 20_000_000;

pub(super) fn read(patch: Value) -> Result<json_patch::Patch, ApiError> {
    let patch: json_patch::Patch =
        serde_json::from_value(patch).map_err(|err| ApiError::bad_request(format!("error decoding patch: {err}")))?;
    if patch.0.len() > MAX_OPERATIONS {
        let why = format!("The allowed maximum operations in a JSON patch is {MAX_OPERATIONS}, got {}", patch.0.len());
        return Err(ApiError::new(Reason::RequestEntityTooLarge, why));
    }
    Ok(patch)
}

pub(super) fn apply(object: &mut Value, patch: &json_patch::Patch) -> Result<(), ApiError> {
    apply_each(object, patch).map_err(|undone| {
        let (Undone::TestFailed(why) | Undone::Failed(why)) = undone;
        let why = format!("the server rejected our request due to an error in our request: {why}");
        ApiError::new(Reason::Invalid, why)
    })
}

/// Why a patch is not done.
pub(super) enum Undone {
    /// One of its tests does not hold.
    TestFailed(String),
    Failed(String),
}

pub(super) fn apply_each(object: &mut Value, patch: &json_patch::Patch) -> Result<(), Undone> {
    let mut limits = Limits { depth: depth(object, &mut 0), copied: 0, steps: 0 };
    for operation in &patch.0 {
        limits.allow(object, operation).map_err(|err| Undone::Failed(err.to_string()))?;
        apply_one(object, operation)?;
    }
    Ok(())
}

/// A field that an object does not have upstream's library sets, where RFC 6902 refuses to replace it, and finds it null, where that
/// cannot test it.
fn apply_one(object: &mut Value, operation: &PatchOperation) -> Result<(), Undone> {
    let done = match operation {
        PatchOperation::Replace(replace) if lacks(object, &replace.path) => {
            let (path, value) = (replace.path.clone(), replace.value.clone());
            json_patch::patch(object, &[PatchOperation::Add(AddOperation { path, value })])
        }
        PatchOperation::Test(test) if lacks(object, &test.path) && test.value.is_null() => Ok(()),
        PatchOperation::Test(test) if lacks(object, &test.path) => {
            return Err(Undone::TestFailed(format!("testing value {} failed", test.path)));
        }
        other => json_patch::patch(object, std::slice::from_ref(other)),
    };
    done.map_err(|err| match err.kind {
        PatchErrorKind::TestFailed => Undone::TestFailed(err.to_string()),
        _ => Undone::Failed(err.to_string()),
    })
}

/// Whether `path` is of a field that its object does not have.
fn lacks(object: &Value, path: &Pointer) -> bool {
    let Some((parent, last)) = path.split_back() else { return false };
    matches!(parent.resolve(object), Ok(Value::Object(fields)) if !fields.contains_key(&*last.decoded()))
}

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
enum LimitError {
    #[error("exceeded max depth: objects and arrays may be nested {MAX_NESTING} deep")]
    TooDeep,
    #[error(
        "Unable to complete the copy, the accumulated size increase of copy is {0}, exceeding the limit {MAX_COPIED_BYTES}"
    )]
    Copied(usize),
    #[error("the operations of the patch take more than {MAX_STEPS} steps")]
    Steps,
}

/// How far a patch has come towards its bounds.
struct Limits {
    /// The object is at most so deep.
    depth: usize,
    copied: usize,
    steps: usize,
}

impl Limits {
    fn allow(&mut self, object: &Value, operation: &PatchOperation) -> Result<(), LimitError> {
        match operation {
            PatchOperation::Add(add) => {
                self.shift(object, &add.path)?;
                let depth = depth(&add.value, &mut self.steps);
                self.place(&add.path, depth)
            }
            PatchOperation::Replace(replace) => {
                let depth = depth(&replace.value, &mut self.steps);
                self.place(&replace.path, depth)
            }
            PatchOperation::Move(mov) => {
                self.shift(object, &mov.from)?;
                self.shift(object, &mov.path)?;
                self.place_other(object, &mov.from, &mov.path)
            }
            PatchOperation::Copy(copy) => {
                self.copied += copy.from.resolve(object).map_or(0, |value| value.to_string().len());
                if self.copied > MAX_COPIED_BYTES {
                    return Err(LimitError::Copied(self.copied));
                }
                self.shift(object, &copy.path)?;
                self.place_other(object, &copy.from, &copy.path)
            }
            PatchOperation::Remove(remove) => self.shift(object, &remove.path),
            PatchOperation::Test(_) => Ok(()),
        }
    }

    /// A value of this depth is put at `path`.
    fn place(&mut self, path: &Pointer, depth: usize) -> Result<(), LimitError> {
        let reaches = path.count() + depth;
        if reaches > MAX_NESTING {
            return Err(LimitError::TooDeep);
        }
        self.depth = self.depth.max(reaches);
        self.pay(0)
    }

    /// What stands at `from` is put at `path`. It is looked through only if its place alone does not say that it is
    /// shallow enough.
    fn place_other(&mut self, object: &Value, from: &Pointer, path: &Pointer) -> Result<(), LimitError> {
        let at_most = self.depth.saturating_sub(from.count());
        let depth = if path.count() + at_most <= MAX_NESTING {
            at_most
        } else {
            // What is not there is refused when the operation is done.
            from.resolve(object).map_or(0, |value| depth(value, &mut self.steps))
        };
        self.place(path, depth)
    }

    /// Whatever follows in a list is pushed along.
    fn shift(&mut self, object: &Value, path: &Pointer) -> Result<(), LimitError> {
        let Some((parent, last)) = path.split_back() else { return Ok(()) };
        match parent.resolve(object) {
            Ok(Value::Array(items)) if last.encoded() != "-" => self.pay(items.len()),
            Ok(_) | Err(_) => Ok(()),
        }
    }

    fn pay(&mut self, steps: usize) -> Result<(), LimitError> {
        self.steps += steps;
        if self.steps > MAX_STEPS { Err(LimitError::Steps) } else { Ok(()) }
    }
}

/// Objects and arrays within each other. `value` came out of a bounded decoder, or grew within these limits.
fn depth(value: &Value, steps: &mut usize) -> usize {
    *steps += 1;
    let deepest = match value {
        Value::Array(items) => items.iter().map(|item| depth(item, steps)).max(),
        Value::Object(fields) => fields.values().map(|field| depth(field, steps)).max(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => return 0,
    };
    1 + deepest.unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn error(object: Value, patch: Vec<Value>) -> ApiError {
        patched(&mut object.clone(), patch.into()).unwrap_err()
    }
    fn patched(object: &mut Value, patch: Value) -> Result<(), ApiError> {
        apply(object, &read(patch)?)
    }
    fn nested(depth: usize) -> Value {
        (1..depth).fold(json!([]), |inside, _| json!([inside]))
    }

    #[test]
    fn a_patch_that_grows_into_its_own_depth_is_refused_where_it_gets_too_deep() {
        let inside = format!("/new{}", "/0".repeat(90));
        let round = [
            json!({"op": "add", "path": "/new", "value": nested(90)}),
            json!({"op": "move", "from": "/deep", "path": inside}),
            json!({"op": "move", "from": "/new", "path": "/deep"}),
        ];
        let patch: Vec<Value> = round.iter().cycle().take(6000).cloned().collect();
        assert!(serde_json::to_string(&patch).unwrap().len() > 800_000);
        // On a stack that the drop of a value as deep as the patch wanted would not fit on.
        let err = error(json!({"deep": nested(8)}), patch);
        assert_eq!(err.reason(), Reason::Invalid);
        assert!(err.message().contains("exceeded max depth"), "{err}");
    }

    #[test]
    fn depth_is_counted_at_every_place_a_value_gets_to() {
        let at = |depth: usize| "/a".to_owned() + &"/0".repeat(depth - 1);
        let object = || json!({"a": nested(60), "b": nested(60), "c": nested(3)});
        for (why, op, good) in [
            ("added", json!({"op": "add", "path": at(60), "value": nested(40)}), true),
            ("added too deep", json!({"op": "add", "path": at(60), "value": nested(41)}), false),
            ("replaced", json!({"op": "replace", "path": "/c", "value": nested(99)}), true),
            ("replaced too deep", json!({"op": "replace", "path": "/c", "value": nested(100)}), false),
            ("a shallow one moved", json!({"op": "move", "from": "/c", "path": at(60)}), true),
            ("a deep one moved", json!({"op": "move", "from": "/b", "path": at(60)}), false),
            ("a deep one copied", json!({"op": "copy", "from": "/b", "path": at(60)}), false),
            ("the whole copied", json!({"op": "copy", "from": "", "path": at(60)}), false),
        ] {
            let mut object = object();
            let applied = patched(&mut object, json!([op]));
            assert_eq!(applied.is_ok(), good, "{why}: {applied:?}");
            assert!(depth(&object, &mut 0) <= MAX_NESTING, "{why}");
        }
    }

    #[test]
    fn copies_are_bounded_in_upstreams_words() {
        let doubling = vec![json!({"op": "copy", "from": "/a", "path": "/a/-"}); 40];
        let err = error(json!({"a": ["x".repeat(1000)]}), doubling);
        assert_eq!((err.code(), err.reason()), (422, Reason::Invalid));
        assert!(err.message().contains("the accumulated size increase of copy is"), "{err}");
        assert!(err.message().ends_with("exceeding the limit 3145728"), "{err}");
    }

    #[test]
    fn operations_are_bounded() {
        let err = error(json!({}), vec![json!({"op": "test", "path": "", "value": {}}); 10_001]);
        assert_eq!(err.code(), 413);
        assert_eq!(err.message(), "The allowed maximum operations in a JSON patch is 10000, got 10001");
        let shifting = vec![json!({"op": "move", "from": "/a/0", "path": "/a/0"}); 9000];
        let err = error(json!({"a": vec![0; 100_000]}), shifting);
        assert!(err.message().contains("steps"), "{err}");
        let appending = vec![json!({"op": "add", "path": "/a/-", "value": 1}); 9000];
        patched(&mut json!({"a": vec![0; 100_000]}), appending.into()).unwrap();
    }

    #[test]
    fn a_field_that_is_not_there_is_set_by_replace_and_tested_as_null() {
        let object = || json!({"a": {"b": 1}, "list": [1], "null": null});
        for (why, patch, wanted) in [
            ("replaced", json!([{"op": "replace", "path": "/a/c", "value": 2}]), Some(json!({"b": 1, "c": 2}))),
            ("tested as null", json!([{"op": "test", "path": "/a/c", "value": null}]), Some(json!({"b": 1}))),
            (
                "and as null that is there",
                json!([{"op": "test", "path": "/null", "value": null}]),
                Some(json!({"b": 1})),
            ),
            ("tested otherwise", json!([{"op": "test", "path": "/a/c", "value": 2}]), None),
            ("within what is not there", json!([{"op": "replace", "path": "/x/y", "value": 2}]), None),
            ("of a list", json!([{"op": "replace", "path": "/list/7", "value": 2}]), None),
        ] {
            let mut object = object();
            let done = patched(&mut object, patch).map(|()| object["a"].clone());
            assert_eq!(done.ok(), wanted, "{why}");
        }
    }

    #[test]
    fn a_failed_test_is_invalid() {
        let mut object = json!({"a": 1});
        let patch = json!([{"op": "test", "path": "/a", "value": 2}, {"op": "replace", "path": "/a", "value": 3}]);
        assert_eq!(patched(&mut object, patch).unwrap_err().reason(), Reason::Invalid);
        assert_eq!(object, json!({"a": 1}));
    }
}

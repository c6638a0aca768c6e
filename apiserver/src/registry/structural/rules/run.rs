//! Whether an object keeps the rules of its schema.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::fmt::Display;
use std::sync::Arc;

use corten_api::Problems;
use corten_cel::{Budget, EvalError, Program, RUNTIME_BUDGET, Value as Cel};
use serde_json::Value;

use super::super::value::Room;
use super::{Node, OLD_SELF, Rule, SELF, TEXT_BYTES_MAX, ValidationRules};
use crate::bounded_text::bounded;
use crate::schema::ListKind;

/// Of one path. Names of fields come from clients.
const PATH_BYTES_MAX: usize = 1024;
/// Of a value that breaks a rule.
const SHOWN_BYTES_MAX: usize = 5 * 1024;
/// Where upstream's messages have nowhere to point to.
const NOWHERE: &str = "<nil>";
const OUT_OF_BUDGET: &str =
    "validation failed due to running out of cost budget, no further validation rules will be run";

const OUT_OF_TIME: &str = "validation failed due to running out of time, no further validation rules will be run";

impl ValidationRules {
    /// Asks all rules of a whole object, which is as its schema wants it in all else. `old`: the object before. `is_late`: whether
    /// they have taken too long.
    pub fn check(&self, new: &Value, old: Option<&Value>, is_late: &dyn Fn() -> bool, problems: &mut Problems) {
        self.check_within(&mut Budget::new(RUNTIME_BUDGET).until(is_late), (new, old), "", problems);
    }
    /// As [`check`](Self::check), of a value that stands at `base`, and within what is left for it and others. Whether there is
    /// anything left.
    pub fn check_within(
        &self,
        budget: &mut Budget<'_>,
        (new, old): (&Value, Option<&Value>),
        base: &str,
        problems: &mut Problems,
    ) -> bool {
        let mut asking = Asking { problems, budget, at: base.to_owned(), room: Room::default(), is_over: false };
        asking.node(&self.0, new, Before { old, is_parent_same: false });
        !asking.is_over
    }
}

/// What a value was.
#[derive(Clone, Copy)]
struct Before<'o> {
    old: Option<&'o Value>,
    /// Of a value that cannot be found before: the nearest around it that can has not changed.
    is_parent_same: bool,
}

struct Asking<'p, 'b> {
    problems: &'p mut Problems,
    budget: &'p mut Budget<'b>,
    at: String,
    /// For what is told.
    room: Room,
    /// No more rules are asked.
    is_over: bool,
}

impl Asking<'_, '_> {
    fn node(&mut self, node: &Node, value: &Value, before: Before<'_>) {
        if value.is_null() || self.is_over {
            return;
        }
        let is_same = before.old.map_or(before.is_parent_same, |old| old == value);
        if is_same && !node.names_old {
            return;
        }
        self.rules(node, value, before.old, is_same);
        match value {
            Value::Object(fields) => {
                for (name, field) in fields {
                    let before = Before { old: before.old.and_then(|old| old.get(name)), is_parent_same: is_same };
                    if let Some(of) = &node.additional {
                        self.below(&format!("[{name}]"), of, field, before);
                    }
                    if let Some(of) = node.properties.get(name) {
                        let step = if self.at.is_empty() { name.clone() } else { format!(".{name}") };
                        self.below(&step, of, field, before);
                    }
                }
            }
            Value::Array(items) => {
                let Some(of) = &node.items else { return };
                let old = before.old.and_then(Value::as_array);
                let known = match (&node.list, old) {
                    (Some(ListKind::Map(keys)), Some(old)) => Some((keys, by_key(old, keys))),
                    _ => None,
                };
                for (index, item) in items.iter().enumerate() {
                    let old = known.as_ref().and_then(|(keys, known)| known.get(&key_of(item, keys)).copied());
                    self.below(&format!("[{index}]"), of, item, Before { old, is_parent_same: is_same });
                }
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }

    fn below(&mut self, step: &str, of: &Node, value: &Value, before: Before<'_>) {
        let len = self.at.len();
        self.at.push_str(step);
        self.node(of, value, before);
        self.at.truncate(len);
    }

    fn rules(&mut self, node: &Node, value: &Value, old: Option<&Value>, is_same: bool) {
        let Some(seen) = &node.seen else { return };
        let old = old.filter(|old| !old.is_null());
        let is_asked = |rule: &&Rule| {
            if rule.expressions.names_old() { old.is_some() || rule.optional_old } else { !is_same }
        };
        for rule in node.here.iter().filter(is_asked) {
            if self.budget.remaining == 0 {
                return self.stop(node, OUT_OF_BUDGET);
            }
            // Most take too little time to look by themselves.
            if self.budget.is_interrupted() {
                return self.stop(node, OUT_OF_TIME);
            }
            let program = match &rule.expressions.rule {
                Ok(program) => program,
                Err(why) => {
                    self.invalid(node, format_args!("rule compile error: {why}"));
                    continue;
                }
            };
            let variables = match variables((node, seen), value, old, rule) {
                Ok(variables) => variables,
                Err(err) => {
                    self.invalid(node, format_args!("{err} evaluating rule: {}", rule.shown()));
                    continue;
                }
            };
            match program.evaluate(&variables, self.budget).and_then(|kept| kept.as_bool()) {
                Ok(true) => {}
                Ok(false) => self.broken(node, rule, value, &variables),
                Err(EvalError::OutOfBudget) => return self.stop(node, OUT_OF_BUDGET),
                Err(EvalError::Interrupted) => return self.stop(node, OUT_OF_TIME),
                Err(err @ EvalError::CostLimit) => {
                    let why = "no further validation rules will be run due to call cost exceeds limit for rule";
                    return self.stop(node, format_args!("'{err}': {why}: {}", rule.shown()));
                }
                Err(err @ EvalError::NoSuchOverload) => {
                    let why = "call arguments did not match a supported operator, function or macro signature for rule";
                    self.invalid(node, format_args!("'{err}': {why}: {}", rule.shown()));
                }
                Err(err) => self.invalid(node, format_args!("{err} evaluating rule: {}", rule.shown())),
            }
            if self.is_over {
                return;
            }
        }
    }

    /// Tells of a rule that is not kept.
    fn broken(&mut self, node: &Node, rule: &Rule, value: &Value, variables: &BTreeMap<&str, Cel<'_>>) {
        let plain = || rule.message.clone().unwrap_or_else(|| format!("failed rule: {}", rule.text));
        let detail = match rule.expressions.message.as_ref().and_then(|message| message.as_ref().ok()) {
            None => plain(),
            Some(message) => match self.message(message, variables) {
                Ok(text) => text.unwrap_or_else(plain),
                Err(EvalError::OutOfBudget) => {
                    let why = "messageExpression evaluation failed due to running out of cost budget, no further validation rules will be run";
                    return self.stop(node, why);
                }
                Err(EvalError::Interrupted) => return self.stop(node, OUT_OF_TIME),
                Err(EvalError::CostLimit) => {
                    let why =
                        "no further validation rules will be run due to call cost exceeds limit for messageExpression";
                    return self.stop(node, format_args!("{why}: {:?}", rule.message_text));
                }
                Err(_) => plain(),
            },
        };
        let at = match &rule.field_path {
            Some(path) if self.at.is_empty() => path.clone(),
            Some(path) => format!("{}.{path}", self.place()),
            None => self.place(),
        };
        if !self.has_room(2 * at.len() + detail.len() + SHOWN_BYTES_MAX) {
            return;
        }
        // As upstream, which shows no objects and lists.
        let is_shown = !matches!(node.kind.as_str(), "object" | "array");
        match rule.reason.as_deref() {
            Some("FieldValueForbidden") => self.problems.forbidden(at, &detail),
            Some("FieldValueRequired") => self.problems.required(at, &detail),
            Some("FieldValueDuplicate") if is_shown => self.problems.duplicate(at, shown(value)),
            Some("FieldValueDuplicate") => self.problems.duplicate_unshown(at),
            _ if is_shown => self.problems.invalid(at, shown(value), &detail),
            _ => self.problems.invalid_unshown(at, &detail),
        }
    }

    /// What an expression has to say; `None`: nothing that can be told.
    fn message(&mut self, message: &Program, variables: &BTreeMap<&str, Cel<'_>>) -> Result<Option<String>, EvalError> {
        let said = message.evaluate(variables, self.budget)?;
        let text = said.as_text()?.trim();
        let is_good = !text.is_empty() && text.len() <= TEXT_BYTES_MAX && !text.contains('\n');
        Ok(is_good.then(|| text.to_owned()))
    }

    fn place(&self) -> String {
        if self.at.is_empty() { NOWHERE.to_owned() } else { bounded(&self.at, PATH_BYTES_MAX) }
    }
    /// Whether there is some for a fault that takes so many bytes; no more rules are asked once there is none.
    fn has_room(&mut self, bytes: usize) -> bool {
        let has_room = self.room.take(bytes);
        if !has_room && !self.is_over {
            self.problems.invalid_unshown(
                NOWHERE,
                "there may be more that are not told, no further validation rules will be run",
            );
            self.is_over = true;
        }
        has_room
    }
    fn invalid(&mut self, node: &Node, why: impl Display) {
        let (at, why) = (self.place(), bounded(why, 2 * TEXT_BYTES_MAX));
        if self.has_room(2 * at.len() + why.len()) {
            self.problems.invalid(at, &node.kind, &why);
        }
    }
    fn stop(&mut self, node: &Node, why: impl Display) {
        self.invalid(node, why);
        self.is_over = true;
    }
}

/// A value as a fault shows it.
fn shown(value: &Value) -> Cow<'_, Value> {
    let text = match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => return Cow::Borrowed(value),
        Value::String(text) if text.len() <= SHOWN_BYTES_MAX => return Cow::Borrowed(value),
        Value::String(text) => bounded(text, SHOWN_BYTES_MAX),
        Value::Array(_) | Value::Object(_) => bounded(value, SHOWN_BYTES_MAX),
    };
    // What was cut is no JSON any more.
    let is_whole = !value.is_string() && text.len() <= SHOWN_BYTES_MAX;
    if is_whole { Cow::Borrowed(value) } else { Cow::Owned(text.into()) }
}

fn variables<'v>(
    (node, seen): (&Node, &'v Arc<corten_cel::Schema>),
    value: &'v Value,
    old: Option<&'v Value>,
    rule: &Rule,
) -> Result<BTreeMap<&'static str, Cel<'v>>, EvalError> {
    let mut variables = BTreeMap::from([(SELF, Cel::of(value, seen)?)]);
    if node.binds_old {
        let old = match old.map(|old| Cel::of(old, seen)).transpose() {
            // Only those that name it fail for it.
            Err(_) if !rule.expressions.names_old() => return Ok(variables),
            old => old?,
        };
        match (rule.optional_old, old) {
            (true, old) => {
                variables.insert(OLD_SELF, Cel::Optional(old.map(Arc::new)));
            }
            (false, Some(old)) => {
                variables.insert(OLD_SELF, old);
            }
            (false, None) => {}
        }
    }
    Ok(variables)
}

/// The items of a list that is a map: of several with the same key the first.
fn by_key<'o>(items: &'o [Value], keys: &[Arc<str>]) -> HashMap<String, &'o Value> {
    let mut known = HashMap::with_capacity(items.len());
    for item in items {
        known.entry(key_of(item, keys)).or_insert(item);
    }
    known
}

fn key_of(item: &Value, keys: &[Arc<str>]) -> String {
    let texts = keys.iter().map(|key| item.get(&**key).map(Value::to_string).unwrap_or_default());
    texts.collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::super::testing::props;
    use super::*;

    fn found(schema: Value, new: Value, old: Option<Value>) -> Vec<String> {
        let rules = ValidationRules::of(&props(schema)).unwrap();
        let mut problems = Problems::default();
        rules.check(&new, old.as_ref(), &|| false, &mut problems);
        problems.causes().iter().map(ToString::to_string).collect()
    }
    fn spec(rule: Value) -> Value {
        json!({"type": "object", "properties": {"spec": {"type": "object", "x-kubernetes-validations": [rule], "properties": {
            "n": {"type": "integer"}, "m": {"type": "integer"}, "any": {"x-kubernetes-int-or-string": true},
        }}}})
    }

    #[test]
    fn broken_rules_are_told_in_upstreams_words() {
        for (rule, spec_, expected) in [
            (json!({"rule": "self.n <= self.m"}), json!({"n": 1, "m": 2}), ""),
            (
                json!({"rule": "self.n <= self.m"}),
                json!({"n": 3, "m": 2}),
                "spec: Invalid value: failed rule: self.n <= self.m",
            ),
            (
                json!({"rule": "self.n <= self.m", "message": "too many", "fieldPath": ".n", "reason": "FieldValueForbidden"}),
                json!({"n": 3, "m": 2}),
                "spec.n: Forbidden: too many",
            ),
            (
                json!({"rule": "self.n <= self.m", "message": "m", "messageExpression": "'at most ' + string(self.m)"}),
                json!({"n": 3, "m": 2}),
                "spec: Invalid value: at most 2",
            ),
            (
                json!({"rule": "self.n <= self.m", "message": "m", "messageExpression": "' '"}),
                json!({"n": 3, "m": 2}),
                "spec: Invalid value: m",
            ),
            (
                json!({"rule": "self.n <= self.m"}),
                json!({"n": 3}),
                r#"spec: Invalid value: "object": no such key: m evaluating rule: self.n <= self.m"#,
            ),
            (json!({"rule": "self.n > oldSelf.n"}), json!({"n": 1}), ""),
            (
                json!({"rule": "self.n <= self.m", "reason": "FieldValueDuplicate"}),
                json!({"n": 3, "m": 2}),
                "spec: Duplicate value",
            ),
        ] {
            let told = found(spec(rule.clone()), json!({"spec": spec_}), None);
            assert_eq!(told.join("; "), expected, "{rule}");
        }
    }

    #[test]
    fn transitions_are_asked_where_there_was_a_value() {
        let rule = json!({"rule": "self.n > oldSelf.n", "message": "n grows"});
        let spec_of = |n: i64| json!({"spec": {"n": n}});
        assert_eq!(found(spec(rule.clone()), spec_of(1), Some(spec_of(1))), ["spec: Invalid value: n grows"]);
        assert!(found(spec(rule.clone()), spec_of(2), Some(spec_of(1))).is_empty());
        assert!(found(spec(rule.clone()), spec_of(1), Some(json!({}))).is_empty());
        assert!(found(spec(rule), spec_of(1), Some(json!({"spec": null}))).is_empty());
        let rule =
            json!({"rule": "oldSelf.hasValue() || self.n == 0", "message": "begins at 0", "optionalOldSelf": true});
        assert_eq!(found(spec(rule.clone()), spec_of(1), None), ["spec: Invalid value: begins at 0"]);
        assert!(found(spec(rule), spec_of(2), Some(spec_of(1))).is_empty());
    }

    #[test]
    fn what_has_not_changed_is_not_asked_about_again() {
        let item = json!({"type": "object", "properties": {"k": {"type": "string"}, "n": {"type": "integer"}},
            "x-kubernetes-validations": [{"rule": "self.n < 5", "message": "small"}]});
        let of = |kind: &str| {
            json!({"type": "object", "properties": {"list": {"type": "array", "items": item,
                "x-kubernetes-list-type": kind, "x-kubernetes-list-map-keys": ["k"]}}})
        };
        let list = |n: i64| json!({"list": [{"k": "b", "n": n}, {"k": "a", "n": 9}]});
        let old = json!({"list": [{"k": "a", "n": 9}]});
        assert_eq!(found(of("map"), list(7), Some(old.clone())), ["list[0]: Invalid value: small"]);
        assert!(found(of("map"), list(1), Some(old.clone())).is_empty());
        assert_eq!(found(of("atomic"), list(1), Some(old.clone())), ["list[1]: Invalid value: small"]);
        assert!(found(of("atomic"), old.clone(), Some(old)).is_empty());
    }

    #[test]
    fn what_stands_in_atomic_maps_is_found_by_its_name() {
        let number = |rule: Value| json!({"type": "integer", "x-kubernetes-validations": [rule]});
        let of = |part: &str, rule: Value| {
            let parts = match part {
                "properties" => json!({"a": number(rule.clone()), "b": number(rule)}),
                _ => number(rule),
            };
            json!({"type": "object", "properties": {"map": {"type": "object", "x-kubernetes-map-type": "atomic", part: parts}}})
        };
        let (grows, small) =
            (json!({"rule": "self > oldSelf", "message": "grows"}), json!({"rule": "self < 5", "message": "small"}));
        let (old, new) = (json!({"map": {"a": 9}}), json!({"map": {"a": 9, "b": 1}}));
        for (part, place) in [("properties", "map.a"), ("additionalProperties", "map[a]")] {
            let told = found(of(part, grows.clone()), new.clone(), Some(old.clone()));
            assert_eq!(told, [format!("{place}: Invalid value: 9: grows")]);
            assert!(found(of(part, small.clone()), new.clone(), Some(old.clone())).is_empty(), "{part}");
        }
    }

    #[test]
    fn what_is_told_is_bounded() {
        let (long, message) = ("é".repeat(300_000), "é".repeat(6_000));
        let rules: Vec<Value> = (0..800)
            .map(|_| json!({"rule": "self == 'x'", "message": message, "reason": "FieldValueDuplicate"}))
            .chain((0..200).map(|_| json!({"rule": "self.startsWith('x')", "message": message})))
            .collect();
        let of =
            json!({"type": "object", "properties": {"text": {"type": "string", "x-kubernetes-validations": rules}}});
        let told = found(of, json!({"text": long}), None);
        let bytes: usize = told.iter().map(String::len).sum();
        assert!(bytes < 5 << 20, "{bytes}");
        assert!(told[0].starts_with("text: Duplicate value: \"éé") && told[0].ends_with("é...\""));
        let last = "<nil>: Invalid value: there may be more that are not told, no further validation rules will be run";
        assert_eq!(told.last().unwrap(), last);
        for (value, expected) in [
            (json!([1, "a"]), json!([1, "a"])),
            (json!("short"), json!("short")),
            (json!(vec![7; 5000]), json!(format!("[{}...", "7,".repeat(SHOWN_BYTES_MAX / 2)))),
        ] {
            let shown = shown(&value).into_owned();
            assert_eq!(
                shown.to_string()[..20.min(shown.to_string().len())],
                expected.to_string()[..20.min(expected.to_string().len())]
            );
            assert!(shown.to_string().len() <= SHOWN_BYTES_MAX + 8);
        }
    }

    #[test]
    fn rules_end_when_nobody_waits_any_more() {
        let item = json!({"type": "string", "x-kubernetes-validations": [{"rule": "self != 'x'"}]});
        let of = json!({"type": "object", "properties": {"list": {"type": "array", "items": item}}});
        let (looks, mut problems) = (std::cell::Cell::new(0), Problems::default());
        let is_late = || {
            looks.set(looks.get() + 1);
            looks.get() > 5
        };
        let rules = ValidationRules::of(&props(of)).unwrap();
        rules.check(&json!({"list": vec!["x"; 1000]}), None, &is_late, &mut problems);
        let told: Vec<String> = problems.causes().iter().map(ToString::to_string).collect();
        assert_eq!(told.last().unwrap(), &format!("list[5]: Invalid value: \"string\": {OUT_OF_TIME}"));
        assert_eq!(told.len(), 6);
    }

    #[test]
    fn messages_see_what_was_before_where_a_rule_beside_them_does() {
        let of = json!({"type": "object", "properties": {"n": {"type": "integer", "x-kubernetes-validations": [
            {"rule": "self >= oldSelf"},
            {"rule": "self < 5", "message": "small", "messageExpression": "'was ' + string(oldSelf)"},
        ]}}});
        assert_eq!(found(of, json!({"n": 7}), Some(json!({"n": 3}))), ["n: Invalid value: 7: was 3"]);
    }

    #[test]
    fn how_costly_rules_may_be_is_known() {
        let cost = |most: Value| {
            let item = json!({"type": "string", "maxLength": 10, "x-kubernetes-validations": [{"rule": "self.contains('x')"}]});
            let mut list = json!({"type": "array", "items": item});
            list.as_object_mut().unwrap().extend(most.as_object().unwrap().clone());
            ValidationRules::of(&props(json!({"type": "object", "properties": {"list": list}}))).unwrap().cost_max()
        };
        let one = cost(json!({"maxItems": 1}));
        assert!(one > 0 && cost(json!({"maxItems": 50})) == 50 * one && cost(json!({})) > 50 * one);
    }

    #[test]
    fn all_rules_of_an_object_have_one_budget() {
        let rule = format!("self.matches('^{}$')", "a*".repeat(200));
        let item = json!({"type": "string", "x-kubernetes-validations": [{"rule": rule}]});
        let of = json!({"type": "object", "properties": {"list": {"type": "array", "items": item}}});
        let told = found(of, json!({"list": vec!["a".repeat(1000); 5000]}), None);
        assert!(told.len() == 1 && told[0].contains("running out of cost budget"), "{told:?}");
    }
}

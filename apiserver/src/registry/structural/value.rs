//! Whether a value is as its schema wants it, told in upstream's words and with its paths.
//!
//! A schema and an object can be made for each other: whatever is compared, scanned or looked at is paid for out of [`MAX_STEPS`],
//! and of faults no more than [`MAX_FAULTS`] are kept at any time.

mod fault;

use std::collections::HashMap;
use std::fmt::Write;
use std::sync::Arc;

use corten_api::{Cause, Problems};
use serde_json::{Map, Number, Value, json};

pub(super) use self::fault::Room;
use self::fault::{At, Fault, Found, What, place};
use super::{Additional, SchemaType, Structural, formats};
use crate::schema::ListKind;

/// Values looked at and bytes matched in one validation, however a schema and an object are made for each other.
const MAX_STEPS: usize = 5_000_000;
/// Bytes that are compared or counted in one step.
const SCAN_BYTES: usize = 16;
/// Faults that are kept at a time, those of alternatives too; others are counted. As many as are told of one object.
const MAX_FAULTS: usize = 1000;
/// Where upstream's messages have nowhere to point to.
const NOWHERE: &str = "<nil>";

/// Whether a value is such as its schema says, so that expressions that were made for that can be asked of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    AsWanted,
    Otherwise,
    /// Not all of it was looked at, or not all that is wrong was kept.
    Unknown,
}

/// Finds what is wrong with `value`. `old`: the value before; what has not changed is not asked about again. `base`: what stands
/// before all paths, or "". There may be faults of a value that has the shape that is wanted.
pub fn check(value: &Value, old: Option<&Value>, of: &Structural, base: &str, problems: &mut Problems) -> Shape {
    let mut look = Look { left: MAX_STEPS, room: MAX_FAULTS };
    let found = look.value(value, old, of, &At::Root);
    if look.left == 0 {
        problems.invalid_unshown(place(base), "the schema is too costly for this object");
        return Shape::Unknown;
    }
    let before = problems.causes().len();
    let untold = found.tell(base, problems);
    if problems.causes()[before..].iter().any(Cause::is_of_shape) {
        Shape::Otherwise
    } else if untold > 0 || problems.has_untold() {
        Shape::Unknown
    } else {
        Shape::AsWanted
    }
}

struct Look {
    /// Steps.
    left: usize,
    /// Faults that may still be kept.
    room: usize,
}

impl Look {
    fn pay(&mut self, steps: usize) -> bool {
        self.left = self.left.saturating_sub(steps);
        self.left > 0
    }
    fn note<'v>(&mut self, found: &mut Found<'v>, at: &At<'_>, what: What<'v>) {
        self.keep(found, what, |what| Fault { at: Some(at.text()), what });
    }
    /// What upstream tells without a path.
    fn elsewhere<'v>(&mut self, found: &mut Found<'v>, why: String) {
        self.keep(found, What::Elsewhere(why), |what| Fault { at: None, what });
    }
    fn keep<'v>(&mut self, found: &mut Found<'v>, what: What<'v>, fault: impl FnOnce(What<'v>) -> Fault<'v>) {
        if self.room == 0 {
            found.more += 1;
            return;
        }
        self.room -= 1;
        found.faults.push(fault(what));
    }
    /// What came of an alternative that does not count.
    fn forget(&mut self, found: Option<Found<'_>>) {
        self.room += found.map_or(0, |found| found.faults.len());
    }

    /// Whether two values are the same.
    fn same(&mut self, one: &Value, other: &Value) -> bool {
        if !self.pay(1) {
            return false;
        }
        match (one, other) {
            (Value::String(one), Value::String(other)) => {
                one.len() == other.len() && self.pay(one.len() / SCAN_BYTES) && one == other
            }
            (Value::Array(one), Value::Array(other)) => {
                one.len() == other.len() && one.iter().zip(other).all(|(one, other)| self.same(one, other))
            }
            (Value::Object(one), Value::Object(other)) => {
                one.len() == other.len()
                    && one.iter().all(|(name, one)| {
                        self.pay(name.len() / SCAN_BYTES) && other.get(name).is_some_and(|other| self.same(one, other))
                    })
            }
            (one, other) => one == other,
        }
    }

    fn value<'v>(&mut self, value: &'v Value, old: Option<&Value>, of: &'v Structural, at: &At<'_>) -> Found<'v> {
        if old.is_some_and(|old| self.same(value, old)) {
            return Found::default();
        }
        self.changed(value, old, of, at)
    }

    /// Of a value that is not as it was.
    fn changed<'v>(&mut self, value: &'v Value, old: Option<&Value>, of: &'v Structural, at: &At<'_>) -> Found<'v> {
        let mut found = Found::default();
        if !self.pay(1) {
            return found;
        }
        if value.is_null() {
            if let (Some(wanted), false) = (type_names(of), of.nullable) {
                self.note(&mut found, at, What::Type { wanted, is: "null" });
            }
            self.enumeration(value, of, at, &mut found);
            return found;
        }
        self.kind(value, of, at, &mut found);
        self.junctors(value, old, of, at, &mut found);
        match value {
            Value::String(text) => self.text(text, of, at, &mut found),
            Value::Number(number) => self.number(number, of, at, &mut found),
            Value::Array(items) => self.items(items, old, of, at, &mut found),
            Value::Null | Value::Bool(_) | Value::Object(_) => {}
        }
        self.enumeration(value, of, at, &mut found);
        if let Value::Object(fields) = value {
            self.fields(fields, old, of, at, &mut found);
        }
        found.matched += 1;
        found
    }

    fn kind<'v>(&mut self, value: &'v Value, of: &Structural, at: &At<'_>, found: &mut Found<'v>) {
        let Some(wanted) = type_names(of) else { return };
        let is = |kind: SchemaType| match kind {
            SchemaType::Array => value.is_array(),
            SchemaType::Boolean => value.is_boolean(),
            SchemaType::Integer => is_integer(value),
            SchemaType::Number => value.is_number(),
            SchemaType::Object => value.is_object(),
            SchemaType::String => value.is_string(),
        };
        let fits =
            if of.int_or_string { is(SchemaType::Integer) || is(SchemaType::String) } else { of.kind.is_none_or(is) };
        if fits {
            found.matched += 1;
        } else {
            self.note(found, at, What::Type { wanted, is: type_name(value) });
        }
    }

    fn junctors<'v>(
        &mut self,
        value: &'v Value,
        old: Option<&Value>,
        of: &'v Structural,
        at: &At<'_>,
        found: &mut Found<'v>,
    ) {
        let limits = of.limits();
        let mut best: Option<Found<'v>> = None;
        let mut is_met = limits.any_of.is_empty();
        for alternative in &limits.any_of {
            let one = self.changed(value, old, alternative, at);
            if one.is_good() {
                is_met = true;
                break;
            }
            self.keep_better(one, &mut best);
        }
        if is_met {
            self.forget(best);
        } else {
            self.elsewhere(found, format!("{:?} must validate at least one schema (anyOf)", at.text()));
            found.merge(best.unwrap_or_default());
        }
        let (mut met, mut best) = (0, None);
        for alternative in &limits.one_of {
            let one = self.changed(value, old, alternative, at);
            if one.is_good() {
                met += 1;
            } else if met == 0 {
                self.keep_better(one, &mut best);
            } else {
                self.forget(Some(one));
            }
        }
        if met != 0 {
            self.forget(best.take());
        }
        if met != 1 && !limits.one_of.is_empty() {
            let more = if met == 0 { "Found none valid".to_owned() } else { format!("Found {met} valid alternatives") };
            self.elsewhere(found, format!("{:?} must validate one and only one schema (oneOf). {more}", at.text()));
            found.merge(best.unwrap_or_default());
        }
        let mut met = 0;
        for schema in &limits.all_of {
            let one = self.changed(value, old, schema, at);
            met += usize::from(one.is_good());
            found.merge(one);
        }
        if met != limits.all_of.len() {
            let more = if met == 0 { ". None validated" } else { "" };
            self.elsewhere(found, format!("{:?} must validate all the schemas (allOf){more}", at.text()));
        }
        if let Some(not) = &limits.not {
            // What has not changed is never met by being left alone.
            let one = self.changed(value, None, not, at);
            let is_met = one.is_good();
            self.forget(Some(one));
            if is_met {
                self.elsewhere(found, format!("{:?} must not validate the schema (not)", at.text()));
            }
        }
    }

    /// Of alternatives that are not met, the one that a value is nearest to is told of.
    fn keep_better<'v>(&mut self, one: Found<'v>, best: &mut Option<Found<'v>>) {
        if best.as_ref().is_none_or(|best| one.matched > best.matched) {
            self.forget(best.replace(one));
        } else {
            self.forget(Some(one));
        }
    }

    fn text<'v>(&mut self, text: &'v str, of: &'v Structural, at: &At<'_>, found: &mut Found<'v>) {
        let limits = of.limits();
        if (limits.max_length.is_some() || limits.min_length.is_some()) && self.pay(text.len() / SCAN_BYTES) {
            let length = i64::try_from(text.chars().count()).unwrap_or(i64::MAX);
            if let Some(most) = limits.max_length.filter(|most| length > *most) {
                self.note(found, at, What::TooLong(most));
            }
            if let Some(least) = limits.min_length.filter(|least| length < *least) {
                self.note(found, at, What::TooShort { text, least });
            }
        }
        if let Some(pattern) = &limits.pattern {
            let (compiled, steps) = pattern.compiled();
            self.pay(steps);
            match compiled {
                Ok(compiled) if self.pay(compiled.steps(text)) && !compiled.matches(text) => {
                    self.note(found, at, What::Pattern { text, wanted: pattern.text().to_owned() });
                }
                Ok(_) => {}
                Err(why) => {
                    let wanted = format!("{}, but pattern is invalid: {why}", pattern.text());
                    self.note(found, at, What::Pattern { text, wanted });
                }
            }
        }
        if let Some(format) = limits.format.as_deref()
            && self.pay(text.len())
            && !formats::is_of(format, text)
        {
            self.note(found, at, What::Format { text, format });
        }
    }

    fn items<'v>(
        &mut self,
        items: &'v [Value],
        old: Option<&Value>,
        of: &'v Structural,
        at: &At<'_>,
        found: &mut Found<'v>,
    ) {
        let (limits, size) = (of.limits(), i64::try_from(items.len()).unwrap_or(i64::MAX));
        let too_many = limits.max_items.filter(|most| size > *most);
        let before = match (&of.list, old.and_then(Value::as_array)) {
            (Some(ListKind::Map(keys)), Some(old)) => Some((keys, self.by_key(old, keys))),
            _ => None,
        };
        for (index, item) in items.iter().enumerate().take(looked_at(too_many)) {
            let Some(of_item) = of.items.as_deref() else { break };
            let before = before.as_ref().and_then(|(keys, old)| old.get(&self.key_of(item, keys)).copied());
            found.merge(self.value(item, before, of_item, &At::Item(at, index)));
        }
        if let Some(least) = limits.min_items.filter(|least| size < *least) {
            let why = format!("should have at least {least} items");
            self.note(found, at, What::Number { value: size.into(), why });
        }
        if let Some(most) = too_many {
            self.note(found, at, What::TooMany { have: items.len(), most });
        }
    }

    /// The items of a list that is a map: of several with the same key the first.
    fn by_key<'o>(&mut self, items: &'o [Value], keys: &[Arc<str>]) -> HashMap<String, &'o Value> {
        let mut known = HashMap::with_capacity(items.len());
        for item in items {
            known.entry(self.key_of(item, keys)).or_insert(item);
        }
        known
    }
    fn key_of(&mut self, item: &Value, keys: &[Arc<str>]) -> String {
        let mut text = String::new();
        for key in keys {
            if let Some(value) = item.get(&**key) {
                // Writing to a String cannot fail.
                let _ = write!(text, "{value}");
            }
            text.push('\n');
        }
        self.pay(1 + text.len() / SCAN_BYTES);
        text
    }

    fn enumeration<'v>(&mut self, value: &'v Value, of: &'v Structural, at: &At<'_>, found: &mut Found<'v>) {
        let known = &of.limits().enumeration;
        let is_it = |one: &Value| !value.is_null() && (self.same(one, value) || is_same_number(one, value));
        if !known.is_empty() && !known.iter().any(is_it) {
            self.note(found, at, What::Unsupported { value, known });
        }
    }

    fn fields<'v>(
        &mut self,
        fields: &'v Map<String, Value>,
        old: Option<&Value>,
        of: &'v Structural,
        at: &At<'_>,
        found: &mut Found<'v>,
    ) {
        let (limits, size) = (of.limits(), i64::try_from(fields.len()).unwrap_or(i64::MAX));
        let too_many = limits.max_properties.filter(|most| size > *most);
        if let Some(least) = limits.min_properties.filter(|least| size < *least) {
            let why = format!("should have at least {least} properties");
            self.note(found, at, What::Number { value: size.into(), why });
        }
        if let Some(most) = too_many {
            self.note(found, at, What::TooMany { have: fields.len(), most });
        }
        let says_something = !of.properties.is_empty() || of.additional.is_some();
        let looked_at = if says_something { looked_at(too_many).min(fields.len()) } else { 0 };
        if !self.pay(looked_at + limits.required.len()) {
            return;
        }
        for (name, value) in fields.iter().take(looked_at) {
            let before = old.and_then(|old| old.get(name));
            match (of.properties.get(name), &of.additional) {
                (Some(property), _) => found.merge(self.value(value, before, property, &At::Field(at, name))),
                (None, Some(Additional::Schema(schema))) => {
                    found.merge(self.value(value, before, schema, &At::Entry(at, name)));
                }
                (None, Some(Additional::Any(false))) => self.note(found, at, What::Forbidden(name)),
                (None, Some(Additional::Any(true)) | None) => {}
            }
        }
        for name in limits.required.iter().filter(|name| !fields.contains_key(*name)) {
            self.note(found, &At::Entry(at, name), What::Required);
        }
    }

    fn number<'v>(&mut self, number: &Number, of: &Structural, at: &At<'_>, found: &mut Found<'v>) {
        for (value, why) in numbers(number, of) {
            self.note(found, at, What::Number { value, why });
        }
    }
}

/// How many are looked at where there are too many: the others are refused in any case.
fn looked_at(too_many: Option<i64>) -> usize {
    too_many.map_or(usize::MAX, |most| usize::try_from(most).unwrap_or(0))
}

/// Why a number is not as wanted, and what to show of it.
fn numbers(number: &Number, of: &Structural) -> Vec<(Value, String)> {
    let (limits, mut found) = (of.limits(), Vec::new());
    let value = number.as_f64().unwrap_or(f64::NAN);
    let is_whole = number.is_i64() || number.is_u64();
    let shown = |limit: f64| if is_whole { format!("{}", limit.trunc()) } else { go_float(limit) };
    if let Some(factor) = limits.multiple_of {
        let times = if factor < 1.0 { 1.0 / factor * value } else { value / factor };
        if factor <= 0.0 {
            found.push((json!(factor), format!("factor MultipleOf must be positive: {}", go_float(factor))));
        } else if !is_almost_whole(times) {
            found.push((number.clone().into(), format!("should be a multiple of {}", go_float(factor))));
        }
    }
    if let Some(most) = limits.maximum
        && (value > most || (limits.exclusive_maximum && value >= most))
    {
        let words = if limits.exclusive_maximum { "less than" } else { "less than or equal to" };
        found.push((number.clone().into(), format!("should be {words} {}", shown(most))));
    }
    if let Some(least) = limits.minimum
        && (value < least || (limits.exclusive_minimum && value <= least))
    {
        let words = if limits.exclusive_minimum { "greater than" } else { "greater than or equal to" };
        found.push((number.clone().into(), format!("should be {words} {}", shown(least))));
    }
    found
}

/// The types that a schema names, as messages have them.
fn type_names(of: &Structural) -> Option<&'static str> {
    if of.int_or_string {
        return Some("integer,string");
    }
    of.kind.map(SchemaType::as_str)
}

fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

fn is_integer(value: &Value) -> bool {
    let Value::Number(number) = value else { return false };
    !number.is_f64() || number.as_f64().is_some_and(|value| value.fract() == 0.0)
}

fn is_almost_whole(value: f64) -> bool {
    value.is_finite() && (value - value.round()).abs() <= 1e-9 * value.abs().max(1.0)
}

/// Whether two values are the same number, however it is written.
fn is_same_number(one: &Value, other: &Value) -> bool {
    matches!((one.as_f64(), other.as_f64()), (Some(one), Some(other)) if one == other)
}

/// As Go prints a number: `10`, `0.5`, `1e+21`.
fn go_float(value: f64) -> String {
    if value != 0.0 && !(1e-5..1e21).contains(&value.abs()) {
        let text = format!("{value:e}");
        return match text.split_once('e') {
            Some((digits, exponent)) if exponent.starts_with('-') => format!("{digits}e-{:0>2}", &exponent[1..]),
            Some((digits, exponent)) => format!("{digits}e+{exponent:0>2}"),
            None => text,
        };
    }
    format!("{value}")
}

#[cfg(test)]
mod tests;

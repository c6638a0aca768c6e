//! Whether a value is as its schema wants it, told in upstream's words and with its paths.

use std::fmt::Display;

use corten_api::Problems;
use serde_json::{Map, Number, Value, json};

use super::{Additional, Kind, Structural, formats};
use crate::schema::ListKind;

/// Values looked at and bytes matched in one validation, however a schema and an object are made for each other.
const MAX_STEPS: usize = 5_000_000;
/// Where upstream's messages have nowhere to point to.
const NOWHERE: &str = "<nil>";

/// Finds what is wrong with `value`. `old`: the value before; what has not changed is not asked about again. `base`: what stands
/// before all paths, or "".
pub fn check(value: &Value, old: Option<&Value>, of: &Structural, base: &str, problems: &mut Problems) {
    let mut left = MAX_STEPS;
    let found = Look { left: &mut left }.value(value, old, of, "");
    if left == 0 {
        let at = if base.is_empty() { NOWHERE } else { base };
        return problems.invalid_unshown(at, "the schema is too costly for this object");
    }
    for fault in found.faults {
        fault.tell(base, problems);
    }
}

/// What is wrong somewhere.
struct Fault {
    /// Below the value that was asked about; "" for itself, `None` for what upstream tells without a path.
    at: Option<String>,
    what: What,
}

enum What {
    Required,
    Unsupported { value: Value, known: Vec<String> },
    TooLong(i64),
    TooMany { have: usize, most: i64 },
    Type { value: Value, why: String },
    Invalid { value: Value, why: String },
}

impl Fault {
    fn tell(self, base: &str, problems: &mut Problems) {
        let at = match self.at.as_deref().map(|at| at.strip_prefix('.').unwrap_or(at)) {
            None | Some("") if base.is_empty() => NOWHERE.to_owned(),
            None | Some("") => base.to_owned(),
            Some(at) if base.is_empty() => at.to_owned(),
            Some(at) => format!("{base}.{at}"),
        };
        let size = |n: i64| usize::try_from(n).unwrap_or(0);
        match self.what {
            What::Required => problems.required(at, ""),
            What::Unsupported { value, known } => {
                let known: Vec<&str> = known.iter().map(String::as_str).collect();
                problems.unsupported(at, value, &known);
            }
            What::TooLong(most) => problems.too_long(at, size(most)),
            What::TooMany { have, most } => problems.too_many(at, have, size(most)),
            What::Type { value, why } => problems.type_invalid(at, value, &why),
            What::Invalid { value, why } => problems.invalid(at, value, &why),
        }
    }
}

/// What came of a look. `matched`: how much of a value was as wanted, which tells the best of several alternatives.
#[derive(Default)]
struct Found {
    faults: Vec<Fault>,
    matched: usize,
}

impl Found {
    fn is_good(&self) -> bool {
        self.faults.is_empty()
    }
    fn note(&mut self, at: &str, what: What) {
        self.faults.push(Fault { at: Some(at.to_owned()), what });
    }
    fn invalid(&mut self, at: &str, value: impl Into<Value>, why: impl Display) {
        self.note(at, What::Invalid { value: value.into(), why: format!("{at} in body {why}") });
    }
    fn wrong_type(&mut self, at: &str, wanted: &str, value: &str) {
        let why = format!("{at} in body must be of type {wanted}: {value:?}");
        self.note(at, What::Type { value: value.into(), why });
    }
    /// What upstream tells without a path.
    fn elsewhere(&mut self, why: String) {
        self.faults.push(Fault { at: None, what: What::Invalid { value: "".into(), why } });
    }
    fn merge(&mut self, other: Self) {
        self.faults.extend(other.faults);
        self.matched += other.matched;
    }
}

struct Look<'l> {
    left: &'l mut usize,
}

impl Look<'_> {
    fn pay(&mut self, steps: usize) -> bool {
        *self.left = self.left.saturating_sub(steps);
        *self.left > 0
    }

    fn value(&mut self, value: &Value, old: Option<&Value>, of: &Structural, at: &str) -> Found {
        let mut found = Found::default();
        if !self.pay(1) || old == Some(value) {
            return found;
        }
        if value.is_null() {
            if let (Some(wanted), false) = (type_names(of), of.nullable) {
                found.wrong_type(at, &wanted, "null");
            }
            self.one_of_values(value, of, at, &mut found);
            return found;
        }
        self.kind(value, of, at, &mut found);
        self.junctors(value, old, of, at, &mut found);
        match value {
            Value::String(text) => self.text(text, of, at, &mut found),
            Value::Number(number) => numbers(number, of, at, &mut found),
            Value::Array(items) => self.items(items, old, of, at, &mut found),
            Value::Null | Value::Bool(_) | Value::Object(_) => {}
        }
        self.one_of_values(value, of, at, &mut found);
        if let Value::Object(fields) = value {
            self.fields(fields, old, of, at, &mut found);
        }
        found.matched += 1;
        found
    }

    fn kind(&mut self, value: &Value, of: &Structural, at: &str, found: &mut Found) {
        let Some(wanted) = type_names(of) else { return };
        let is = |kind: Kind| match kind {
            Kind::Array => value.is_array(),
            Kind::Boolean => value.is_boolean(),
            Kind::Integer => is_integer(value),
            Kind::Number => value.is_number(),
            Kind::Object => value.is_object(),
            Kind::String => value.is_string(),
        };
        let fits = if of.int_or_string { is(Kind::Integer) || is(Kind::String) } else { of.kind.is_none_or(is) };
        if fits {
            found.matched += 1;
        } else {
            found.wrong_type(at, &wanted, type_name(value));
        }
    }

    fn junctors(&mut self, value: &Value, old: Option<&Value>, of: &Structural, at: &str, found: &mut Found) {
        let limits = of.limits();
        let mut best: Option<Found> = None;
        let is_better = |one: &Found, best: &Option<Found>| best.as_ref().is_none_or(|best| one.matched > best.matched);
        let mut is_met = limits.any_of.is_empty();
        for alternative in &limits.any_of {
            let one = self.value(value, old, alternative, at);
            if one.is_good() {
                is_met = true;
                break;
            }
            if is_better(&one, &best) {
                best = Some(one);
            }
        }
        if !is_met {
            found.elsewhere(format!("{at:?} must validate at least one schema (anyOf)"));
            found.merge(best.take().unwrap_or_default());
        }
        let (mut met, mut best) = (0, None);
        for alternative in &limits.one_of {
            let one = self.value(value, old, alternative, at);
            if one.is_good() {
                met += 1;
            } else if met == 0 && is_better(&one, &best) {
                best = Some(one);
            }
        }
        if met != 1 && !limits.one_of.is_empty() {
            let more = if met == 0 { "Found none valid".to_owned() } else { format!("Found {met} valid alternatives") };
            found.elsewhere(format!("{at:?} must validate one and only one schema (oneOf). {more}"));
            found.merge(best.filter(|_| met == 0).unwrap_or_default());
        }
        let mut met = 0;
        for schema in &limits.all_of {
            let one = self.value(value, old, schema, at);
            met += usize::from(one.is_good());
            found.merge(one);
        }
        if met != limits.all_of.len() {
            let more = if met == 0 { ". None validated" } else { "" };
            found.elsewhere(format!("{at:?} must validate all the schemas (allOf){more}"));
        }
        // What has not changed is never met by being left alone.
        if limits.not.as_ref().is_some_and(|not| self.value(value, None, not, at).is_good()) {
            found.elsewhere(format!("{at:?} must not validate the schema (not)"));
        }
    }

    fn text(&mut self, text: &str, of: &Structural, at: &str, found: &mut Found) {
        let limits = of.limits();
        let length = i64::try_from(text.chars().count()).unwrap_or(i64::MAX);
        if let Some(most) = limits.max_length.filter(|most| length > *most) {
            found.note(at, What::TooLong(most));
        }
        if let Some(least) = limits.min_length.filter(|least| length < *least) {
            found.invalid(at, text, format_args!("should be at least {least} chars long"));
        }
        if let Some(pattern) = &limits.pattern
            && self.pay(text.len())
            && !pattern.matches(text)
        {
            found.invalid(at, text, format_args!("should match '{}'", pattern.text()));
        }
        if let Some(format) = limits.format.as_deref().filter(|format| !formats::is_of(format, text)) {
            let why = format!("{at} in body must be of type {format}: {text:?}");
            found.note(at, What::Type { value: text.into(), why });
        }
    }

    fn items(&mut self, items: &[Value], old: Option<&Value>, of: &Structural, at: &str, found: &mut Found) {
        let old = old.and_then(Value::as_array).map(Vec::as_slice);
        for (index, item) in items.iter().enumerate() {
            let Some(of_item) = &of.items else { break };
            let before = old.and_then(|old| same_item(item, old, of));
            found.merge(self.value(item, before, of_item, &format!("{at}[{index}]")));
        }
        let size = i64::try_from(items.len()).unwrap_or(i64::MAX);
        if let Some(least) = of.limits().min_items.filter(|least| size < *least) {
            found.invalid(at, size, format_args!("should have at least {least} items"));
        }
        if let Some(most) = of.limits().max_items.filter(|most| size > *most) {
            found.note(at, What::TooMany { have: items.len(), most });
        }
    }

    fn one_of_values(&mut self, value: &Value, of: &Structural, at: &str, found: &mut Found) {
        let known = &of.limits().one_of_values;
        if known.is_empty() || !self.pay(known.len()) || known.iter().any(|one| !value.is_null() && is_same(one, value))
        {
            return;
        }
        let shown = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        let known = known.iter().map(shown).collect();
        found.note(at, What::Unsupported { value: value.clone(), known });
    }

    fn fields(
        &mut self,
        fields: &Map<String, Value>,
        old: Option<&Value>,
        of: &Structural,
        at: &str,
        found: &mut Found,
    ) {
        let size = i64::try_from(fields.len()).unwrap_or(i64::MAX);
        if let Some(least) = of.limits().min_properties.filter(|least| size < *least) {
            found.invalid(at, size, format_args!("should have at least {least} properties"));
        }
        if let Some(most) = of.limits().max_properties.filter(|most| size > *most) {
            found.note(at, What::TooMany { have: fields.len(), most });
        }
        for (name, value) in fields {
            let before = old.and_then(|old| old.get(name));
            match (of.properties.get(name), &of.additional) {
                (Some(property), _) => {
                    let at = if at.is_empty() { name.clone() } else { format!("{at}.{name}") };
                    found.merge(self.value(value, before, property, &at));
                }
                (None, Some(Additional::Schema(schema))) => {
                    found.merge(self.value(value, before, schema, &format!("{at}.{name}")));
                }
                (None, Some(Additional::Any(false))) => {
                    let why = format!("{at}.{name} in body is a forbidden property");
                    found.note(at, What::Invalid { value: name.as_str().into(), why });
                }
                (None, Some(Additional::Any(true)) | None) => {}
            }
        }
        for name in of.limits().required.iter().filter(|name| !fields.contains_key(*name)) {
            found.note(&format!("{at}.{name}"), What::Required);
        }
    }
}

fn numbers(number: &Number, of: &Structural, at: &str, found: &mut Found) {
    let limits = of.limits();
    let value = number.as_f64().unwrap_or(f64::NAN);
    let is_whole = number.is_i64() || number.is_u64();
    let shown = |limit: f64| if is_whole { format!("{}", limit.trunc()) } else { go_float(limit) };
    if let Some(factor) = limits.multiple_of {
        let times = if factor < 1.0 { 1.0 / factor * value } else { value / factor };
        if factor <= 0.0 {
            found.invalid(at, json!(factor), format_args!("factor MultipleOf must be positive: {}", go_float(factor)));
        } else if !is_almost_whole(times) {
            found.invalid(at, number.clone(), format_args!("should be a multiple of {}", go_float(factor)));
        }
    }
    if let Some(most) = limits.maximum
        && (value > most || (limits.exclusive_maximum && value >= most))
    {
        let words = if limits.exclusive_maximum { "less than" } else { "less than or equal to" };
        found.invalid(at, number.clone(), format_args!("should be {words} {}", shown(most)));
    }
    if let Some(least) = limits.minimum
        && (value < least || (limits.exclusive_minimum && value <= least))
    {
        let words = if limits.exclusive_minimum { "greater than" } else { "greater than or equal to" };
        found.invalid(at, number.clone(), format_args!("should be {words} {}", shown(least)));
    }
}

/// The types that a schema names, as messages have them.
fn type_names(of: &Structural) -> Option<String> {
    if of.int_or_string {
        return Some("integer,string".into());
    }
    of.kind.map(|kind| kind.as_str().to_owned())
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

/// Whether two values are the same, however a number is written.
fn is_same(one: &Value, other: &Value) -> bool {
    one == other || matches!((one.as_f64(), other.as_f64()), (Some(one), Some(other)) if one == other)
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

/// The item before of a list that is a map.
fn same_item<'o>(item: &Value, old: &'o [Value], of: &Structural) -> Option<&'o Value> {
    let Some(ListKind::Map(keys)) = &of.list else { return None };
    old.iter().find(|before| keys.iter().all(|key| before.get(&**key) == item.get(&**key)))
}

#[cfg(test)]
mod tests;

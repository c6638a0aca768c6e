//! Paths to one value, of those that columns may have: `.status.conditions[?(@.type=="Ready")].status`.
//!
//! A subset of <https://kubernetes.io/docs/reference/kubectl/jsonpath/>: fields, also in brackets and with escaped dots, items by
//! their place (from the end if negative), all of them, of which the first counts, and those that have a field of some value.

use std::cell::OnceCell;

use serde_json::{Map, Value};

#[derive(Clone, Debug, PartialEq)]
pub(super) struct JsonPath(Vec<Step>);

#[derive(Clone, Debug, PartialEq)]
enum Step {
    Field(String),
    Index(i64),
    All,
    Where { path: Vec<String>, is: bool, value: Value },
}

/// What columns are shown of: the parts of an object.
pub(super) struct Parts<'o> {
    body: &'o Map<String, Value>,
    /// Makes all else, type and metadata, which is done once at most.
    make: &'o dyn Fn() -> Value,
    made: OnceCell<Value>,
}

impl<'o> Parts<'o> {
    pub(super) fn new(body: &'o Map<String, Value>, make: &'o dyn Fn() -> Value) -> Self {
        Self { body, make, made: OnceCell::new() }
    }
    fn get(&self, name: &str) -> Option<&Value> {
        self.body.get(name).or_else(|| self.made.get_or_init(self.make).get(name))
    }
}

impl JsonPath {
    /// `None`: it is none of these.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut steps = Vec::new();
        let mut rest = text.trim();
        while !rest.is_empty() {
            rest = match rest.strip_prefix('[') {
                Some(inner) => {
                    let end = closing(inner)?;
                    steps.push(bracket(&inner[..end])?);
                    &inner[end + 1..]
                }
                None => {
                    let (name, after) = field(rest.strip_prefix('.')?);
                    if !name.is_empty() {
                        steps.push(Step::Field(name));
                    } else if !after.starts_with('[') {
                        return None;
                    }
                    after
                }
            };
        }
        (!steps.is_empty()).then_some(Self(steps))
    }

    pub(super) fn find<'p>(&self, of: &'p Parts<'_>) -> Option<&'p Value> {
        let (first, rest) = self.0.split_first()?;
        let Step::Field(name) = first else { return None };
        follow(of.get(name)?, rest)
    }
}

fn follow<'v>(value: &'v Value, steps: &[Step]) -> Option<&'v Value> {
    let Some((step, rest)) = steps.split_first() else { return Some(value) };
    match step {
        Step::Field(name) => follow(value.get(name)?, rest),
        Step::Index(at) => {
            let items = value.as_array()?;
            let at = if *at < 0 {
                items.len().checked_sub(usize::try_from(at.unsigned_abs()).ok()?)?
            } else {
                usize::try_from(*at).ok()?
            };
            follow(items.get(at)?, rest)
        }
        Step::All => match value {
            Value::Array(items) => items.iter().find_map(|item| follow(item, rest)),
            Value::Object(fields) => fields.values().find_map(|field| follow(field, rest)),
            _ => None,
        },
        Step::Where { path, is, value: wanted } => value.as_array()?.iter().find_map(|item| {
            let found = path.iter().try_fold(item, |at, name| at.get(name));
            let is_it = found.is_some_and(|found| (found == wanted) == *is);
            if is_it { follow(item, rest) } else { None }
        }),
    }
}

/// A name up to the next dot or bracket; a dot that is escaped belongs to it.
fn field(text: &str) -> (String, &str) {
    let (mut name, mut chars) = (String::new(), text.char_indices());
    while let Some((at, c)) = chars.next() {
        match c {
            '\\' => name.extend(chars.next().map(|(_, escaped)| escaped)),
            '.' | '[' => return (name, &text[at..]),
            _ => name.push(c),
        }
    }
    (name, "")
}

/// Where the bracket closes that has been opened.
fn closing(text: &str) -> Option<usize> {
    let mut quote = None;
    for (at, c) in text.char_indices() {
        match (quote, c) {
            (None, '"' | '\'') => quote = Some(c),
            (Some(open), c) if open == c => quote = None,
            (None, ']') => return Some(at),
            _ => {}
        }
    }
    None
}

fn bracket(inner: &str) -> Option<Step> {
    let inner = inner.trim();
    if inner == "*" {
        return Some(Step::All);
    }
    if let Some(name) = quoted(inner) {
        return Some(Step::Field(name));
    }
    if let Some(filter) = inner.strip_prefix("?(").and_then(|rest| rest.strip_suffix(')')) {
        let (path, is, value) = match (filter.split_once("=="), filter.split_once("!=")) {
            (Some((path, value)), _) => (path, true, value),
            (None, Some((path, value))) => (path, false, value),
            (None, None) => return None,
        };
        let path = path.trim().strip_prefix("@.")?.split('.').map(str::to_owned).collect();
        let value = value.trim();
        let value = quoted(value).map(Value::from).or_else(|| serde_json::from_str(value).ok())?;
        return Some(Step::Where { path, is, value });
    }
    inner.parse().ok().map(Step::Index)
}

fn quoted(text: &str) -> Option<String> {
    let unquoted = |quote: char| text.strip_prefix(quote)?.strip_suffix(quote);
    unquoted('"').or_else(|| unquoted('\'')).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use serde_json::json;

    use super::*;

    #[test]
    fn paths_lead_to_values() {
        let object = json!({
            "spec": {"a.b": 1, "n": 5, "list": [{"x": 1}, {"x": 2}]},
            "status": {"conditions": [{"type": "A", "status": "1"}, {"type": "Ready", "status": "True"}]},
        });
        let made = Cell::new(0);
        let make = || {
            made.set(made.get() + 1);
            json!({"metadata": {"name": "me"}})
        };
        let parts = Parts::new(object.as_object().unwrap(), &make);
        let find = |path: &str| JsonPath::parse(path)?.find(&parts).cloned();
        for (path, expected) in [
            (".spec.n", json!(5)),
            (".spec.a\\.b", json!(1)),
            (".spec['a.b']", json!(1)),
            (".spec.list[1].x", json!(2)),
            (".spec.list[-1].x", json!(2)),
            (".spec.list[*].x", json!(1)),
            (r#".status.conditions[?(@.type=="Ready")].status"#, json!("True")),
            (".status.conditions[?(@.type!='A')].type", json!("Ready")),
            (".metadata.name", json!("me")),
        ] {
            assert_eq!(find(path), Some(expected), "{path}");
        }
        for nothing in [".spec.x", ".spec.list[5]", ".other", "spec", "", ".", ".spec[", ".spec[?(1)]"] {
            assert_eq!(find(nothing), None, "{nothing}");
        }
        assert_eq!(made.get(), 1, "type and metadata are made once, however many ask");
    }
}

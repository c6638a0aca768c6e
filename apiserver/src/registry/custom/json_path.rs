//! Paths to values, as columns have them: `.status.conditions[?(@.type=="Ready")].status`.
//!
//! What <https://kubernetes.io/docs/reference/kubectl/jsonpath/> says of one expression, but for `range`, and upstream's ways where
//! that says nothing: a name in brackets is read as one behind a dot (`['a\.b']` is one field, `['a.b']` two), a slice that ends beyond
//! its list fails, and so does comparing values of two types. What fails has no value, nor has what looks at more than [`VISITS_MAX`].

mod parse;

use std::cell::OnceCell;
use std::cmp::Ordering;

use serde_json::{Map, Value};

/// Values that are looked at for one path: it may go through all of an object again and again.
const VISITS_MAX: usize = 100_000;

#[derive(Clone, Debug, PartialEq)]
pub(super) struct JsonPath(Vec<Step>);

/// From some values to others.
#[derive(Clone, Debug, PartialEq)]
enum Step {
    Field(String),
    /// All items, or fields.
    All,
    /// Each value and all that is in it.
    Recursive,
    Slice(Slice),
    Union(Vec<Vec<Step>>),
    Where(Filter),
    /// Whatever stands there.
    Literal(Value),
    /// A word that means nothing here.
    Unknown,
}

/// Items from one place to another, from the end where they are negative.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Slice {
    from: Option<i64>,
    to: Option<i64>,
    /// One item was asked for.
    is_one: bool,
    step: Option<i64>,
}

#[derive(Clone, Debug, PartialEq)]
struct Filter {
    left: Vec<Step>,
    /// `None`: whether there is a left one.
    is: Option<(Comparison, Vec<Step>)>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

/// What columns are shown of: the parts of an object.
pub(super) struct Parts<'o> {
    body: &'o Map<String, Value>,
    /// Makes all else, type and metadata, which is done once at most.
    make: &'o dyn Fn() -> Value,
    made: OnceCell<Value>,
    /// All of it, for who does not begin with a field.
    whole: OnceCell<Value>,
}

impl<'o> Parts<'o> {
    pub(super) fn new(body: &'o Map<String, Value>, make: &'o dyn Fn() -> Value) -> Self {
        Self { body, make, made: OnceCell::new(), whole: OnceCell::new() }
    }
    fn made(&self) -> &Value {
        self.made.get_or_init(self.make)
    }
    fn get(&self, name: &str) -> Option<&Value> {
        self.body.get(name).or_else(|| self.made().get(name))
    }
    fn whole(&self) -> &Value {
        self.whole.get_or_init(|| {
            let mut whole = self.body.clone();
            let made = self.made().as_object().into_iter().flatten();
            whole.extend(made.map(|(name, value)| (name.clone(), value.clone())));
            Value::Object(whole)
        })
    }
}

/// It has no value: it fails, or is too costly.
struct Fails;

impl JsonPath {
    /// `None`: it is none.
    pub(super) fn parse(text: &str) -> Option<Self> {
        parse::steps(text).filter(|steps| !steps.is_empty()).map(Self)
    }

    /// The first of the values that it leads to.
    pub(super) fn find<'p>(&'p self, of: &'p Parts<'_>) -> Option<&'p Value> {
        let mut looking = Looking { visits_left: VISITS_MAX };
        let found = match self.0.split_first()? {
            (Step::Field(name), rest) => looking.all(of.get(name).into_iter().collect(), rest),
            _ => looking.all(vec![of.whole()], &self.0),
        };
        found.ok()?.first().copied()
    }
}

struct Looking {
    visits_left: usize,
}

impl Looking {
    fn pay(&mut self, visits: usize) -> Result<(), Fails> {
        self.visits_left = self.visits_left.checked_sub(visits).ok_or(Fails)?;
        Ok(())
    }

    fn all<'v>(&mut self, from: Vec<&'v Value>, steps: &'v [Step]) -> Result<Vec<&'v Value>, Fails> {
        steps.iter().try_fold(from, |from, step| self.step(&from, step))
    }

    fn step<'v>(&mut self, from: &[&'v Value], step: &'v Step) -> Result<Vec<&'v Value>, Fails> {
        let mut found = Vec::new();
        self.pay(1 + from.len())?;
        match step {
            Step::Field(name) => found.extend(from.iter().filter_map(|value| value.get(name))),
            Step::All => {
                for value in from {
                    found.extend(parts(value));
                }
                self.pay(found.len())?;
            }
            Step::Recursive => {
                for value in from {
                    self.descend(value, &mut found)?;
                }
            }
            Step::Slice(slice) => {
                for value in from.iter().filter(|value| !value.is_null()) {
                    let items = slice.of(value.as_array().ok_or(Fails)?)?;
                    self.pay(items.len())?;
                    found.extend(items);
                }
            }
            Step::Union(all) => {
                for steps in all {
                    found.extend(self.all(from.to_vec(), steps)?);
                }
            }
            Step::Where(filter) => {
                for value in from {
                    for item in value.as_array().ok_or(Fails)? {
                        if self.is_met(filter, item)? {
                            found.push(item);
                        }
                    }
                }
            }
            Step::Literal(value) => found.extend(from.iter().map(|_| value)),
            Step::Unknown => return Err(Fails),
        }
        Ok(found)
    }

    /// What has parts, and all of those that have some.
    fn descend<'v>(&mut self, value: &'v Value, found: &mut Vec<&'v Value>) -> Result<(), Fails> {
        self.pay(1)?;
        let mut parts = parts(value).peekable();
        if parts.peek().is_some() {
            found.push(value);
        }
        parts.try_for_each(|part| self.descend(part, found))
    }

    fn is_met(&mut self, filter: &Filter, item: &Value) -> Result<bool, Fails> {
        let left = self.all(vec![item], &filter.left);
        let Some((comparison, right)) = &filter.is else {
            return Ok(left.is_ok_and(|left| !left.is_empty()));
        };
        let (left, right) = (left?, self.all(vec![item], right)?);
        match (&left[..], &right[..]) {
            ([], _) | (_, []) => Ok(false),
            ([left], [right]) => comparison.holds(left, right),
            _ => Err(Fails),
        }
    }
}

fn parts(value: &Value) -> Box<dyn Iterator<Item = &Value> + '_> {
    match value {
        Value::Array(items) => Box::new(items.iter()),
        Value::Object(fields) => Box::new(fields.values()),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Box::new(std::iter::empty()),
    }
}

impl Slice {
    fn of(self, items: &[Value]) -> Result<Vec<&Value>, Fails> {
        let len = i64::try_from(items.len()).map_err(|_| Fails)?;
        let at_end = |at: i64| if at < 0 { at + len } else { at };
        let from = at_end(self.from.unwrap_or(0));
        let to = match self.to {
            None => len,
            // One before the first is the last.
            Some(0) if self.is_one => len,
            Some(to) => at_end(to),
        };
        if from == to {
            return Ok(Vec::new());
        }
        let is_within = (0..len).contains(&from) && (0..=len).contains(&to) && from <= to;
        let step = usize::try_from(self.step.unwrap_or(1)).ok().filter(|step| *step > 0);
        let (Ok(from), Ok(to), Some(step), true) = (usize::try_from(from), usize::try_from(to), step, is_within) else {
            return Err(Fails);
        };
        Ok(items.get(from..to).ok_or(Fails)?.iter().step_by(step).collect())
    }
}

impl Comparison {
    /// Fails for values that cannot be compared.
    fn holds(self, left: &Value, right: &Value) -> Result<bool, Fails> {
        let order = match (left, right) {
            (Value::Bool(left), Value::Bool(right)) => match self {
                Self::Equal => return Ok(left == right),
                Self::NotEqual => return Ok(left != right),
                Self::Less | Self::LessOrEqual | Self::Greater | Self::GreaterOrEqual => return Err(Fails),
            },
            (Value::String(left), Value::String(right)) => Some(left.cmp(right)),
            (Value::Number(left), Value::Number(right)) => match (left.as_i64(), right.as_i64()) {
                (Some(left), Some(right)) => Some(left.cmp(&right)),
                // A whole number and another one are of two types.
                (None, None) => left.as_f64().zip(right.as_f64()).and_then(|(left, right)| left.partial_cmp(&right)),
                (Some(_), None) | (None, Some(_)) => return Err(Fails),
            },
            _ => return Err(Fails),
        };
        let order = order.ok_or(Fails)?;
        Ok(match self {
            Self::Equal => order == Ordering::Equal,
            Self::NotEqual => order != Ordering::Equal,
            Self::Less => order == Ordering::Less,
            Self::LessOrEqual => order != Ordering::Greater,
            Self::Greater => order == Ordering::Greater,
            Self::GreaterOrEqual => order != Ordering::Less,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use serde_json::json;

    use super::*;

    #[test]
    fn paths_lead_to_values() {
        let object = json!({
            "spec": {"a.b": 1, "a": {"b": 2}, "n": 5, "half": 0.5, "none": null, "list": [{"x": 1}, {"x": 2}, {"y": 3}],
                "topology.kubernetes.io/zone": "z1", "it's": 7},
            "status": {"conditions": [
                {"type": "A", "status": "1", "n": 1}, {"type": "Ready", "status": "True", "n": 2, "is": true},
            ]},
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
            (".spec['a\\.b']", json!(1)),
            (".spec['a.b']", json!(2)),
            (r".spec['topology\.kubernetes\.io/zone']", json!("z1")),
            (".spec.list[1].x", json!(2)),
            (".spec.list[-2].x", json!(2)),
            (".spec.list[-1].y", json!(3)),
            (".spec.list[-1:].y", json!(3)),
            (".spec.list[1:].x", json!(2)),
            (".spec.list[:2].x", json!(1)),
            (".spec.list[0:3:2].y", json!(3)),
            (".spec.list[].x", json!(1)),
            (".spec.list[*].x", json!(1)),
            (".spec.list[*].y", json!(3)),
            (".spec.list[2,0].x", json!(1)),
            (".spec['x', 'n']", json!(5)),
            (r#".status.conditions[?(@.type=="Ready")].status"#, json!("True")),
            (r#".status.conditions[?(@.type == "Ready")].status"#, json!("True")),
            (r#".status.conditions[?(@.status==")]")].type"#, Value::Null),
            (".status.conditions[?(@.type!='A')].type", json!("Ready")),
            (".status.conditions[?(@.is)].type", json!("Ready")),
            (".status.conditions[?(@.is==true)].type", json!("Ready")),
            (".status.conditions[?(@.n>1)].type", json!("Ready")),
            (".status.conditions[?(@.n>=2)].type", json!("Ready")),
            (".status.conditions[?(@.n<2)].type", json!("A")),
            (".status.conditions[?(@.n<=1)].type", json!("A")),
            (".status.conditions[?(@.type>'B')].type", json!("Ready")),
            ("..status", json!({"conditions": object["status"]["conditions"]})),
            (".status..type", json!("A")),
            (".spec..y", json!(3)),
            (".spec.list..x", json!(1)),
            (".spec .n", json!(5)),
            ("$.spec.n", json!(5)),
            (".metadata.name", json!("me")),
        ] {
            assert_eq!(find(path).unwrap_or_default(), expected, "{path}");
        }
        for nothing in [
            ".spec.x",
            ".spec.list[5]",
            ".spec.list[1:9]",
            ".spec.list[2:1]",
            ".spec.list[0:2:0]",
            ".spec.list[1:1]",
            ".spec.n[0]",
            ".other",
            "spec",
            "",
            ".",
            ".spec[",
            ".spec[?(1)]",
            ".spec.list[?(@.x==\"1\")]",
            ".spec.list[?(@.x=1)]",
            ".spec.list[?(@.x==1.5)]",
            ".spec.list[a]",
            ".spec.list[\"x\"]",
            ".spec....x",
            ".spec.list[?(@.x",
        ] {
            assert_eq!(find(nothing), None, "{nothing}");
        }
        assert_eq!(made.get(), 1, "type and metadata are made once, however many ask");
    }

    #[test]
    fn no_path_goes_through_an_object_for_ever() {
        let object = json!({"list": vec![vec![json!({"a": {"b": [1, 2, 3]}}); 300]; 30]});
        let make = || json!({});
        let parts = Parts::new(object.as_object().unwrap(), &make);
        let path = JsonPath::parse(&format!(".list{}", "..[*]".repeat(50))).unwrap();
        assert_eq!(path.find(&parts), None);
        assert!(JsonPath::parse(".list..a").unwrap().find(&parts).is_some());
    }
}

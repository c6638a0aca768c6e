//! Label and field selectors: from the query string, from `LabelSelector`, and what they match.
//!
//! Grammar: <https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/#api>.

mod matcher;

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;

use crate::names;

pub use matcher::Matcher;

pub type Labels = BTreeMap<String, String>;

/// Requirements of a selector in a query, and values in their sets, together. A watch keeps them for as long as it lasts.
pub const TERMS_MAX: usize = 1000;

/// All requirements must hold; none at all matches everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selector {
    requirements: Vec<Requirement>,
    nothing: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Requirement {
    pub key: String,
    pub op: Op,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Op {
    In(Values),
    NotIn(Values),
    Exists,
    DoesNotExist,
    GreaterThan(i64),
    LessThan(i64),
}

/// A set of label values: sorted, each once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Values(Box<[Box<str>]>);

impl Values {
    fn of<'a>(values: impl IntoIterator<Item = &'a str>) -> Self {
        let mut values: Vec<&str> = values.into_iter().collect();
        values.sort_unstable();
        values.dedup();
        Self(values.into_iter().map(Box::from).collect())
    }
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &str> {
        self.0.iter().map(|value| &**value)
    }
    fn contains(&self, value: &str) -> bool {
        self.0.binary_search_by(|own| (**own).cmp(value)).is_ok()
    }
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SelectorError {
    #[error("unable to parse requirement: {0}")]
    Syntax(String),
    #[error("key: Invalid value: {0:?}: {why}", why = names::QUALIFIED_NAME_WHY)]
    Key(String),
    #[error("values: Invalid value: {0:?}: {why}", why = names::LABEL_VALUE_WHY)]
    Value(String),
    #[error("{0:?} is not a valid label selector operator")]
    Operator(String),
    #[error("values: Invalid value: null: for 'in', 'notin' operators, values set can't be empty")]
    NoValues,
    #[error("values set must be empty for exists and does not exist")]
    UnexpectedValues,
    #[error("a selector may have at most {TERMS_MAX} requirements and values")]
    TooMany,
}

impl Requirement {
    pub fn matches(&self, labels: &Labels) -> bool {
        self.holds(labels.get(&self.key).map(String::as_str))
    }
    fn holds(&self, value: Option<&str>) -> bool {
        let number = || value.and_then(|v| v.parse::<i64>().ok());
        match &self.op {
            Op::In(set) => value.is_some_and(|v| set.contains(v)),
            // A missing label is in no set.
            Op::NotIn(set) => value.is_none_or(|v| !set.contains(v)),
            Op::Exists => value.is_some(),
            Op::DoesNotExist => value.is_none(),
            Op::GreaterThan(n) => number().is_some_and(|v| v > *n),
            Op::LessThan(n) => number().is_some_and(|v| v < *n),
        }
    }
}

impl Selector {
    pub fn everything() -> Self {
        Self::default()
    }
    pub fn nothing() -> Self {
        Self { requirements: Vec::new(), nothing: true }
    }
    pub fn new(requirements: Vec<Requirement>) -> Self {
        Self { requirements, nothing: false }
    }
    pub fn is_everything(&self) -> bool {
        self.requirements.is_empty() && !self.nothing
    }
    pub fn requirements(&self) -> &[Requirement] {
        &self.requirements
    }
    pub fn matches(&self, labels: &Labels) -> bool {
        self.matches_by(|key| labels.get(key).map(String::as_str))
    }
    /// As `matches`, for an object that may have no labels at all.
    pub fn matches_opt(&self, labels: Option<&Labels>) -> bool {
        self.matches_by(|key| labels?.get(key).map(String::as_str))
    }
    /// For any store of labels: `value_of` gives a key's value.
    pub fn matches_by<'a>(&self, value_of: impl Fn(&str) -> Option<&'a str>) -> bool {
        !self.nothing && self.requirements.iter().all(|r| r.holds(value_of(&r.key)))
    }
    /// Exactly these labels: a Service's or ReplicationController's selector. An empty map selects nothing.
    pub fn from_labels(labels: Option<&Labels>) -> Self {
        match labels {
            Some(labels) if !labels.is_empty() => Self::new(
                labels
                    .iter()
                    .map(|(k, v)| Requirement { key: k.clone(), op: Op::In(Values::of([v.as_str()])) })
                    .collect(),
            ),
            _ => Self::nothing(),
        }
    }
    /// `LabelSelector`: an absent one selects nothing, an empty one everything.
    pub fn from_label_selector(selector: Option<&LabelSelector>) -> Result<Self, SelectorError> {
        let Some(selector) = selector else { return Ok(Self::nothing()) };
        let mut requirements = Vec::new();
        for (key, value) in selector.match_labels.iter().flatten() {
            requirements.push(checked(key, Op::In(Values::of([value.as_str()])))?);
        }
        for expr in selector.match_expressions.iter().flatten() {
            let values = expr.values.as_deref().unwrap_or_default();
            let set = || Values::of(values.iter().map(String::as_str));
            let op = match (expr.operator.as_str(), values.is_empty()) {
                ("In" | "NotIn", true) => return Err(SelectorError::NoValues),
                ("In", _) => Op::In(set()),
                ("NotIn", _) => Op::NotIn(set()),
                ("Exists" | "DoesNotExist", false) => return Err(SelectorError::UnexpectedValues),
                ("Exists", _) => Op::Exists,
                ("DoesNotExist", _) => Op::DoesNotExist,
                (other, _) => return Err(SelectorError::Operator(other.into())),
            };
            requirements.push(checked(&expr.key, op)?);
        }
        Ok(Self::new(requirements))
    }
    /// The query form: `a=b,c!=d,e in (f, g),h,!i,j>1`.
    pub fn parse(text: &str) -> Result<Self, SelectorError> {
        let mut requirements = Vec::new();
        let mut terms = 0;
        for part in split_outside_parens(text).filter(|part| !part.trim().is_empty()) {
            let requirement = parse_requirement(part)?;
            terms += 1 + match &requirement.op {
                Op::In(set) | Op::NotIn(set) => set.0.len(),
                Op::Exists | Op::DoesNotExist | Op::GreaterThan(_) | Op::LessThan(_) => 0,
            };
            if terms > TERMS_MAX {
                return Err(SelectorError::TooMany);
            }
            requirements.push(requirement);
        }
        requirements.shrink_to_fit();
        Ok(Self::new(requirements))
    }
}

/// The query form that [`Selector::parse`] reads.
impl std::fmt::Display for Selector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let part = |r: &Requirement| match &r.op {
            Op::In(Values(set)) if set.len() == 1 => format!("{}={}", r.key, set[0]),
            Op::In(Values(set)) => format!("{} in ({})", r.key, set.join(",")),
            Op::NotIn(Values(set)) if set.len() == 1 => format!("{}!={}", r.key, set[0]),
            Op::NotIn(Values(set)) => format!("{} notin ({})", r.key, set.join(",")),
            Op::Exists => r.key.clone(),
            Op::DoesNotExist => format!("!{}", r.key),
            Op::GreaterThan(n) => format!("{}>{n}", r.key),
            Op::LessThan(n) => format!("{}<{n}", r.key),
        };
        f.write_str(&self.requirements.iter().map(part).collect::<Vec<_>>().join(","))
    }
}

fn checked(key: &str, op: Op) -> Result<Requirement, SelectorError> {
    if !names::is_qualified_name(key) {
        return Err(SelectorError::Key(key.into()));
    }
    if let Op::In(values) | Op::NotIn(values) = &op
        && let Some(bad) = values.0.iter().find(|v| !names::is_label_value(v))
    {
        return Err(SelectorError::Value(bad.as_ref().into()));
    }
    Ok(Requirement { key: key.into(), op })
}

fn split_outside_parens(text: &str) -> impl Iterator<Item = &str> {
    let mut depth = 0_u32;
    text.split(move |c| {
        match c {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            _ => {}
        }
        c == ',' && depth == 0
    })
}

fn parse_requirement(text: &str) -> Result<Requirement, SelectorError> {
    let text = text.trim();
    let syntax = || SelectorError::Syntax(format!("found '{text}'"));
    if let Some(key) = text.strip_prefix('!').filter(|k| !k.starts_with('=')) {
        return checked(key.trim(), Op::DoesNotExist);
    }
    if let Some(open) = text.find('(') {
        let values = text[open + 1..].strip_suffix(')').ok_or_else(syntax)?;
        let values = Values::of(values.split(',').map(str::trim));
        let (key, word) = text[..open].trim().rsplit_once(char::is_whitespace).ok_or_else(syntax)?;
        return match word {
            "in" => checked(key.trim(), Op::In(values)),
            "notin" => checked(key.trim(), Op::NotIn(values)),
            _ => Err(syntax()),
        };
    }
    for (sign, negated) in [("!=", true), ("==", false), ("=", false)] {
        if let Some((key, value)) = text.split_once(sign) {
            let values = Values::of([value.trim()]);
            return checked(key.trim(), if negated { Op::NotIn(values) } else { Op::In(values) });
        }
    }
    for sign in ['>', '<'] {
        if let Some((key, value)) = text.split_once(sign) {
            let n = value.trim().parse().map_err(|_| syntax())?;
            return checked(key.trim(), if sign == '>' { Op::GreaterThan(n) } else { Op::LessThan(n) });
        }
    }
    checked(text, Op::Exists).map_err(|_| syntax())
}

/// `metadata.name=x,spec.nodeName!=y`: equality only.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FieldSelector(pub Vec<FieldTerm>);

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldTerm {
    pub field: String,
    pub value: String,
    pub negated: bool,
}

impl FieldSelector {
    pub fn parse(text: &str) -> Result<Self, SelectorError> {
        let term = |part: &str| {
            for (sign, negated) in [("!=", true), ("==", false), ("=", false)] {
                if let Some((field, value)) = part.split_once(sign) {
                    return Ok(FieldTerm { field: field.trim().into(), value: value.trim().into(), negated });
                }
            }
            Err(SelectorError::Syntax(format!("invalid selector: '{part}'; can't understand '{part}'")))
        };
        let parts = text.split(',').filter(|part| !part.trim().is_empty());
        let mut terms = parts.take(TERMS_MAX + 1).map(term).collect::<Result<Vec<_>, _>>()?;
        if terms.len() > TERMS_MAX {
            return Err(SelectorError::TooMany);
        }
        terms.shrink_to_fit();
        Ok(Self(terms))
    }
    pub fn is_everything(&self) -> bool {
        self.0.is_empty()
    }
    /// `value_of` gives a field's value; a field that an object lacks is "".
    pub fn matches_by<'a>(&self, value_of: impl Fn(&str) -> Option<&'a str>) -> bool {
        self.0.iter().all(|t| (value_of(&t.field).unwrap_or_default() == t.value) != t.negated)
    }
    /// The value that `field` must have, if the selector fixes it.
    pub fn exact(&self, field: &str) -> Option<&str> {
        self.0.iter().find(|t| !t.negated && t.field == field).map(|t| t.value.as_str())
    }
}

impl std::fmt::Display for FieldSelector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let part = |t: &FieldTerm| format!("{}{}{}", t.field, if t.negated { "!=" } else { "=" }, t.value);
        f.write_str(&self.0.iter().map(part).collect::<Vec<_>>().join(","))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_and_nothing_are_not_the_same() {
        let cases = [
            (Selector::everything(), true),
            (Selector::nothing(), false),
            (Selector::parse("").unwrap(), true),
            (Selector::parse("a=b").unwrap(), false),
        ];
        for (selector, everything) in cases {
            assert_eq!(selector.is_everything(), everything, "{selector:?}");
        }
        assert!(!Selector::nothing().matches(&Labels::new()));
    }

    fn labels(text: &str) -> Labels {
        text.split(',').filter_map(|p| p.split_once('=')).map(|(k, v)| (k.into(), v.into())).collect()
    }

    #[test]
    fn label_selector_table() {
        let cases = [
            ("", "a=1", true),
            ("a=1", "a=1", true),
            ("a==1", "a=2", false),
            ("a!=1", "b=1", true),
            ("a in (1, 2)", "a=2", true),
            ("a in (1,2),b", "a=2", false),
            ("a notin (1,2)", "a=3", true),
            ("!a", "a=1", false),
            ("a", "a=", true),
            ("a>3", "a=4", true),
            ("a>3", "a=3", false),
            ("a<3", "a=2", true),
            ("a<3", "a=3", false),
            ("a<3", "a=4", false),
            ("a<3", "a=x", false),
            ("tier in (web),env!=prod", "tier=web,env=dev", true),
        ];
        for (selector, on, expected) in cases {
            let parsed = Selector::parse(selector).unwrap();
            assert_eq!(parsed.matches(&labels(on)), expected, "{selector} on {on}");
            assert_eq!(parsed.matches_opt(Some(&labels(on))), expected, "{selector} on {on}");
            assert_eq!(parsed.requirements().iter().all(|r| r.matches(&labels(on))), expected, "{selector} on {on}");
            assert_eq!(Selector::parse(&parsed.to_string()).unwrap(), parsed, "{selector} survives printing");
        }
        for bad in ["a in 1", "a in (1", "=1", "a b", "a=-x", "a>x", "-"] {
            assert!(Selector::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_set_has_each_value_once_and_a_selector_has_so_many() {
        let again = Selector::parse(&format!("a in ({}b,b)", ",".repeat(60_000))).unwrap();
        assert_eq!(again.to_string(), "a in (,b)");
        assert!(again.matches(&labels("a=b")) && again.matches(&labels("a=")) && !again.matches(&labels("a=c")));
        let list = |n: usize| (0..n).map(|n| format!("v{n}")).collect::<Vec<_>>().join(",");
        let good = [format!("a in ({})", list(TERMS_MAX - 1)), list(TERMS_MAX), format!("a notin ({})", list(500))];
        for text in &good {
            assert!(Selector::parse(text).is_ok(), "{text}");
        }
        let bad = [
            format!("a in ({})", list(TERMS_MAX)),
            list(TERMS_MAX + 1),
            format!("a in ({0}),b notin ({0})", list(TERMS_MAX / 2)),
        ];
        for text in &bad {
            assert_eq!(Selector::parse(text), Err(SelectorError::TooMany), "{text}");
        }
        let fields = |n: usize| vec!["metadata.name!=x"; n].join(",");
        assert_eq!(FieldSelector::parse(&fields(TERMS_MAX)).map(|selector| selector.0.len()), Ok(TERMS_MAX));
        assert_eq!(FieldSelector::parse(&fields(TERMS_MAX + 1)), Err(SelectorError::TooMany));
    }

    #[test]
    fn absent_selects_nothing_and_empty_everything() {
        assert!(!Selector::from_label_selector(None).unwrap().matches(&labels("a=1")));
        assert!(Selector::from_label_selector(Some(&LabelSelector::default())).unwrap().matches(&labels("a=1")));
        for none in [None, Some(&Labels::new())] {
            assert!(!Selector::from_labels(none).matches(&labels("a=1")));
        }
        let exact = Selector::from_labels(Some(&labels("a=1,b=2")));
        assert!(exact.matches(&labels("a=1,b=2,c=3")) && !exact.matches(&labels("a=1")));
        let of_none = |text: &str| Selector::parse(text).unwrap().matches_opt(None);
        assert!(of_none("!a") && of_none("a!=1") && !of_none("a"), "an object without labels");
    }

    #[test]
    fn field_selector_table() {
        let value_of = |f: &str| (f == "spec.nodeName").then_some("n1");
        for (text, expected) in
            [("spec.nodeName=n1", true), ("spec.nodeName!=n1", false), ("metadata.name=", true), ("", true)]
        {
            assert_eq!(FieldSelector::parse(text).unwrap().matches_by(value_of), expected, "{text}");
        }
        assert!(FieldSelector::parse("nonsense").is_err());
        assert!(
            FieldSelector::parse("").unwrap().is_everything() && !FieldSelector::parse("a=b").unwrap().is_everything()
        );
    }
}

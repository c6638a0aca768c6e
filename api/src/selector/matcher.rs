//! A selector that is made once and asked often: what it says of each key, in the order of the keys.

use super::{Labels, Op, Selector, Values};

/// Asking costs what an object's labels are, or what the selector is, whichever is less.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Matcher {
    /// Each key once, sorted.
    rules: Box<[(Box<str>, Rule)]>,
    /// How many of the rules no object keeps that lacks the key.
    needed: usize,
    nothing: bool,
}

/// All that a selector requires of one key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Rule {
    among: Option<Values>,
    none_of: Option<Values>,
    present: bool,
    absent: bool,
    above: Option<i64>,
    below: Option<i64>,
}

impl Rule {
    fn add(&mut self, op: Op) {
        match op {
            Op::In(values) => {
                self.among = Some(match self.among.take() {
                    Some(before) => Values(before.0.into_iter().filter(|value| values.contains(value)).collect()),
                    None => values,
                });
            }
            Op::NotIn(values) => {
                self.none_of = Some(match self.none_of.take() {
                    Some(before) => Values::of(before.0.iter().chain(&values.0).map(|value| &**value)),
                    None => values,
                });
            }
            Op::Exists => self.present = true,
            Op::DoesNotExist => self.absent = true,
            Op::GreaterThan(n) => self.above = self.above.max(Some(n)),
            Op::LessThan(n) => self.below = Some(self.below.map_or(n, |before| before.min(n))),
        }
    }

    fn needs_key(&self) -> bool {
        self.among.is_some() || self.present || self.above.is_some() || self.below.is_some()
    }

    fn holds(&self, value: Option<&str>) -> bool {
        let Some(value) = value else { return !self.needs_key() };
        let is_number = |holds: &dyn Fn(i64) -> bool| value.parse().is_ok_and(holds);
        !self.absent
            && self.among.as_ref().is_none_or(|set| set.contains(value))
            && self.none_of.as_ref().is_none_or(|set| !set.contains(value))
            && self.above.is_none_or(|n| is_number(&|v| v > n))
            && self.below.is_none_or(|n| is_number(&|v| v < n))
    }
}

impl From<Selector> for Matcher {
    fn from(selector: Selector) -> Self {
        let mut requirements = selector.requirements;
        requirements.sort_by(|a, b| a.key.cmp(&b.key));
        let mut rules: Vec<(Box<str>, Rule)> = Vec::new();
        for requirement in requirements {
            if rules.last().is_none_or(|(key, _)| **key != *requirement.key) {
                rules.push((requirement.key.into(), Rule::default()));
            }
            if let Some((_, rule)) = rules.last_mut() {
                rule.add(requirement.op);
            }
        }
        let needed = rules.iter().filter(|(_, rule)| rule.needs_key()).count();
        Self { rules: rules.into(), needed, nothing: selector.nothing }
    }
}

impl Matcher {
    /// It says nothing of any label.
    pub fn is_everything(&self) -> bool {
        self.rules.is_empty() && !self.nothing
    }

    /// It was made of a selector of nothing.
    pub fn is_nothing(&self) -> bool {
        self.nothing
    }

    pub fn matches(&self, labels: &Labels) -> bool {
        if self.nothing || self.needed > labels.len() {
            return false;
        }
        if self.rules.len() <= labels.len() {
            return self.rules.iter().all(|(key, rule)| rule.holds(labels.get(&**key).map(String::as_str)));
        }
        let mut kept = 0;
        for (key, value) in labels {
            let Ok(at) = self.rules.binary_search_by(|(own, _)| (**own).cmp(key)) else { continue };
            let rule = &self.rules[at].1;
            if !rule.holds(Some(value)) {
                return false;
            }
            kept += usize::from(rule.needs_key());
        }
        // Rules of keys that the labels lack hold, but for those that need the key.
        kept == self.needed
    }

    /// The keys that all have that it matches, and the values of which each has one (`None`: it may be any).
    pub fn needs(&self) -> impl Iterator<Item = (&str, Option<&Values>)> {
        let rules = self.rules.iter().filter(|(_, rule)| rule.needs_key());
        rules.map(|(key, rule)| (&**key, rule.among.as_ref()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every selector of up to three of these parts, on every object of up to three of these labels.
    #[test]
    fn a_matcher_says_what_its_selector_says() {
        let parts = [
            "a=1",
            "a in (1,2)",
            "a in (2,3)",
            "a!=1",
            "a notin (2,3)",
            "a",
            "!a",
            "a>1",
            "a<3",
            "b",
            "!b",
            "c notin (1)",
        ];
        let labels = ["a=1", "a=2", "a=x", "b=1", "c=1"];
        let up_to_three = |parts: &[&str]| {
            let some: Vec<Option<&str>> = [None].into_iter().chain(parts.iter().copied().map(Some)).collect();
            let mut all = Vec::new();
            for x in &some {
                for y in &some {
                    all.extend(some.iter().map(|z| [*x, *y, *z].into_iter().flatten().collect::<Vec<_>>().join(",")));
                }
            }
            all
        };
        let objects: Vec<Labels> = up_to_three(&labels)
            .iter()
            .map(|text| text.split(',').filter_map(|p| p.split_once('=')).map(|(k, v)| (k.into(), v.into())).collect())
            .collect();
        for text in up_to_three(&parts) {
            let selector = Selector::parse(&text).unwrap();
            let matcher = Matcher::from(selector.clone());
            assert_eq!(matcher.is_everything(), selector.is_everything(), "{text}");
            for object in &objects {
                assert_eq!(matcher.matches(object), selector.matches(object), "{text:?} on {object:?}");
            }
        }
        assert!(!Matcher::from(Selector::nothing()).matches(&Labels::new()));
    }

    #[test]
    fn what_is_needed_is_said_once_for_each_key() {
        let needs = |text: &str| {
            let matcher = Matcher::from(Selector::parse(text).unwrap());
            let said = |(key, values): (&str, Option<&Values>)| {
                format!("{key}:{}", values.map_or("*".into(), |v| v.iter().collect::<Vec<_>>().join("|")))
            };
            matcher.needs().map(said).collect::<Vec<_>>().join(" ")
        };
        let cases = [
            ("b=2,a=1", "a:1 b:2"),
            ("a in (1,2,3),a in (2,3,4),a!=2", "a:2|3"),
            ("a,a=1", "a:1"),
            ("a", "a:*"),
            ("a>3", "a:*"),
            ("!a,b!=1", ""),
            ("a=1,a=2", "a:"),
        ];
        for (text, expected) in cases {
            assert_eq!(needs(text), expected, "{text}");
        }
    }
}

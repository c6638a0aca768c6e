//! What is missing in the rules that somebody has, so that he had all that other rules allow.
//!
//! Rules are broken down into atoms: one verb on one resource of one group, with one name or for all names; or one verb at one
//! path. One rule covers an atom, or none does.
//!
//! A rule's atoms are the product of its lists, which a request can make larger than any memory. So values that the same rules
//! cover are looked at once: as a class. And all that one question may cost is bounded, as both sides can be made by who asks:
//! beyond that nothing is covered.

use std::collections::{HashMap, HashSet};

use corten_api::rbac::{ALL, Lists};
use k8s_openapi::api::rbac::v1::PolicyRule;

use super::rule::url_covers;

/// Steps that one question may cost, of all its rules together: words of sets that are made or met, and paths that are compared.
/// About a quarter of a second, and as many words are in memory at most.
const STEPS_MAX: usize = 20_000_000;
/// Atoms that are told of.
const ATOMS_MAX: usize = 1_000;

/// What is not covered: atoms, in the order of the rules and of their lists.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Uncovered {
    pub atoms: Vec<PolicyRule>,
    /// There are more of them than [`ATOMS_MAX`].
    pub and_more: bool,
    /// They would take more than [`STEPS_MAX`] to compare: some were not looked at, and count as not covered.
    pub too_many: bool,
}

impl Uncovered {
    pub fn is_empty(&self) -> bool {
        self.atoms.is_empty() && !self.and_more && !self.too_many
    }
}

/// What is left of [`STEPS_MAX`].
struct Steps(usize);

impl Steps {
    /// `None`: there are not as many left as the product of these. They are spent either way.
    fn take(&mut self, product: &[usize]) -> Option<()> {
        let wanted = product.iter().try_fold(1_usize, |n, factor| n.checked_mul(*factor));
        let left = wanted.and_then(|wanted| self.0.checked_sub(wanted));
        self.0 = left.unwrap_or(0);
        left.map(drop)
    }
}

/// What of `wanted` the rules in `owned` do not allow.
pub fn uncovered<'a>(owned: impl IntoIterator<Item = &'a PolicyRule>, wanted: &[PolicyRule]) -> Uncovered {
    let owned = Owned::new(owned.into_iter().map(Lists::of).collect());
    let (mut found, mut steps) = (Uncovered::default(), Steps(STEPS_MAX));
    for rule in wanted.iter().map(Lists::of) {
        let looked = owned.uncovered_on_resources(&rule, &mut found, &mut steps);
        if looked.and_then(|()| owned.uncovered_at_paths(&rule, &mut found, &mut steps)).is_none() {
            found.too_many = true;
            break;
        }
    }
    found
}

/// A set of rules that are owned, by their places in the list.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct Set(Box<[u64]>);

impl Set {
    fn of(places: impl IntoIterator<Item = usize>, len: usize) -> Self {
        let mut words = vec![0; len.div_ceil(64)].into_boxed_slice();
        for place in places {
            if let Some(word) = words.get_mut(place / 64) {
                *word |= 1 << (place % 64);
            }
        }
        Self(words)
    }
    fn with(mut self, other: &Self) -> Self {
        self.0.iter_mut().zip(&other.0).for_each(|(own, other)| *own |= other);
        self
    }
    /// Whether some rule is in all of these sets.
    fn meet(sets: &[&Self]) -> bool {
        let [first, others @ ..] = sets else { return false };
        first.0.iter().enumerate().any(|(i, word)| {
            others.iter().fold(*word, |met, other| met & other.0.get(i).copied().unwrap_or_default()) != 0
        })
    }
}

/// Values of one list that the same rules cover, by their places in it.
struct Class {
    covered_by: Set,
    places: Vec<usize>,
}

/// The rules that are owned, found by what they list.
struct Owned<'a> {
    rules: Vec<Lists<'a>>,
    verbs: Listing<'a>,
    groups: Listing<'a>,
    resources: Listing<'a>,
    names: Listing<'a>,
    /// Rules for all names.
    nameless: Set,
    /// Paths in all rules together.
    paths: usize,
}

/// By a value, the rules that list it. As places, not as sets: those would take values times rules.
struct Listing<'a> {
    rules: usize,
    by_value: HashMap<&'a str, Vec<usize>>,
    /// The rules that list all values.
    all: Set,
}

impl<'a> Listing<'a> {
    fn new(rules: &[Lists<'a>], list: impl Fn(&Lists<'a>) -> &'a [String]) -> Self {
        let mut by_value: HashMap<&str, Vec<usize>> = HashMap::new();
        for (place, rule) in rules.iter().enumerate() {
            list(rule).iter().for_each(|value| by_value.entry(value).or_default().push(place));
        }
        let all = Set::of(by_value.get(ALL).into_iter().flatten().copied(), rules.len());
        Self { rules: rules.len(), by_value, all }
    }
    fn get(&self, value: &str) -> Set {
        Set::of(self.by_value.get(value).into_iter().flatten().copied(), self.rules)
    }
    /// The rules that list the value, or all values.
    fn covering(&self, value: &str) -> Set {
        self.get(value).with(&self.all)
    }
}

/// The classes of a list's values, in the order in which they begin.
fn classes(values: &[String], covering: impl Fn(&str) -> Set) -> Vec<Class> {
    let (mut classes, mut known): (Vec<Class>, HashMap<Set, usize>) = (Vec::new(), HashMap::new());
    let mut seen = HashSet::new();
    for (place, value) in values.iter().enumerate() {
        if !seen.insert(value) {
            continue;
        }
        let covered_by = covering(value);
        let next = classes.len();
        let class = *known.entry(covered_by.clone()).or_insert(next);
        match classes.get_mut(class) {
            Some(class) => class.places.push(place),
            None => classes.push(Class { covered_by, places: vec![place] }),
        }
    }
    classes
}

impl<'a> Owned<'a> {
    fn new(rules: Vec<Lists<'a>>) -> Self {
        let nameless = rules.iter().enumerate().filter(|(_, rule)| rule.names.is_empty()).map(|(place, _)| place);
        Self {
            nameless: Set::of(nameless, rules.len()),
            verbs: Listing::new(&rules, |rule| rule.verbs),
            groups: Listing::new(&rules, |rule| rule.groups),
            resources: Listing::new(&rules, |rule| rule.resources),
            names: Listing::new(&rules, |rule| rule.names),
            paths: rules.iter().map(|rule| rule.urls.len()).sum(),
            rules,
        }
    }
    /// `*/scale` covers this subresource of each resource.
    fn covering_resource(&self, resource: &str) -> Set {
        let own = self.resources.covering(resource);
        match resource.split_once('/') {
            Some((_, subresource)) => own.with(&self.resources.get(&format!("*/{subresource}"))),
            None => own,
        }
    }

    /// Words of a set.
    fn words(&self) -> usize {
        self.rules.len().div_ceil(64).max(1)
    }

    /// `None`: it takes too many steps.
    fn uncovered_on_resources(&self, rule: &Lists<'_>, found: &mut Uncovered, steps: &mut Steps) -> Option<()> {
        let values = rule.groups.len() + rule.resources.len() + rule.verbs.len() + rule.names.len();
        steps.take(&[values, self.words()])?;
        let groups = classes(rule.groups, |group| self.groups.covering(group));
        let resources = classes(rule.resources, |resource| self.covering_resource(resource));
        let verbs = classes(rule.verbs, |verb| self.verbs.covering(verb));
        let mut names = classes(rule.names, |name| self.names.get(name).with(&self.nameless));
        let has_names = !names.is_empty();
        if !has_names {
            // What is for all names, only rules for all names cover.
            names.push(Class { covered_by: self.nameless.clone(), places: vec![0] });
        }
        let lists = [&groups, &resources, &verbs, &names];
        let all: Vec<&Set> = lists.into_iter().flatten().map(|class| &class.covered_by).collect();
        if Set::meet(&all) {
            // One rule covers it all, as those of admins do.
            return Some(());
        }
        steps.take(&[groups.len(), resources.len(), verbs.len(), names.len(), self.words()])?;
        let mut places = Places::default();
        for (group, resource) in pairs(&groups, &resources) {
            for (verb, name) in pairs(&verbs, &names) {
                let met = [&group.covered_by, &resource.covered_by, &verb.covered_by, &name.covered_by];
                if !Set::meet(&met) {
                    places.extend([&group.places, &resource.places, &verb.places, &name.places]);
                }
            }
        }
        places.tell(found, |[group, resource, verb, name]| {
            let one = |list: &[String], place: usize| list.get(place).cloned().into_iter().collect::<Vec<_>>();
            PolicyRule {
                api_groups: Some(one(rule.groups, group)),
                resources: Some(one(rule.resources, resource)),
                verbs: one(rule.verbs, verb),
                resource_names: has_names.then(|| one(rule.names, name)),
                non_resource_urls: None,
            }
        });
        Some(())
    }

    /// `None`: it takes too many steps.
    fn uncovered_at_paths(&self, rule: &Lists<'_>, found: &mut Uncovered, steps: &mut Steps) -> Option<()> {
        if rule.urls.is_empty() {
            return Some(());
        }
        steps.take(&[rule.urls.len(), self.paths + self.rules.len() + 1])?;
        steps.take(&[rule.verbs.len(), self.words()])?;
        let covering = |url: &str| {
            let covers = |own: &Lists<'_>| own.names.is_empty() && own.urls.iter().any(|own| url_covers(own, url));
            let places = self.rules.iter().enumerate().filter(|(_, own)| covers(own)).map(|(place, _)| place);
            Set::of(places, self.rules.len())
        };
        let (urls, verbs) = (classes(rule.urls, covering), classes(rule.verbs, |verb| self.verbs.covering(verb)));
        steps.take(&[urls.len(), verbs.len(), self.words()])?;
        let mut places = Places::default();
        for (url, verb) in pairs(&urls, &verbs) {
            if !Set::meet(&[&url.covered_by, &verb.covered_by]) {
                places.extend([&url.places, &verb.places, &[0], &[0]]);
            }
        }
        places.tell(found, |[url, verb, ..]| PolicyRule {
            non_resource_urls: Some(rule.urls.get(url).cloned().into_iter().collect()),
            verbs: rule.verbs.get(verb).cloned().into_iter().collect(),
            ..PolicyRule::default()
        });
        Some(())
    }
}

fn pairs<'a>(one: &'a [Class], other: &'a [Class]) -> impl Iterator<Item = (&'a Class, &'a Class)> {
    one.iter().flat_map(move |one| other.iter().map(move |other| (one, other)))
}

/// Places of values in the lists of a rule that make atoms.
#[derive(Default)]
struct Places {
    atoms: Vec<[usize; 4]>,
    and_more: bool,
}

impl Places {
    /// All combinations, as long as there is room.
    fn extend(&mut self, [a, b, c, d]: [&[usize]; 4]) {
        let each = a.iter().flat_map(|a| b.iter().flat_map(move |b| c.iter().map(move |c| (*a, *b, *c))));
        let each = each.flat_map(|(a, b, c)| d.iter().map(move |d| [a, b, c, *d]));
        for atom in each {
            if self.atoms.len() == ATOMS_MAX {
                self.and_more = true;
                return;
            }
            self.atoms.push(atom);
        }
    }
    /// In the order of the lists.
    fn tell(mut self, found: &mut Uncovered, atom: impl Fn([usize; 4]) -> PolicyRule) {
        self.atoms.sort_unstable();
        let room = ATOMS_MAX.saturating_sub(found.atoms.len());
        found.and_more |= self.and_more || self.atoms.len() > room;
        found.atoms.extend(self.atoms.into_iter().take(room).map(atom));
    }
}

#[cfg(test)]
mod tests;

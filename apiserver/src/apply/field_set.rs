//! A set of fields of one object: a tree of steps, in order, each of which is a field of the set, leads to some, or both.
//!
//! All operations go through two trees at once, and go down only where both have something. Names and keys are shared
//! between sets.

use std::fmt;
use std::slice;

use super::element::{Element, Path};

/// Fields, none of them twice. A field is not its parent: `.spec.replicas` may be there without `.spec`, and the other way
/// round.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FieldSet {
    /// In order of their elements, no two equal, none of them without use.
    nodes: Vec<Node>,
}

/// A step, and what is below it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Node {
    pub(super) element: Element,
    /// Whether the field itself is in the set.
    pub(super) member: bool,
    pub(super) below: FieldSet,
}

impl Node {
    fn is_used(&self) -> bool {
        self.member || !self.below.is_empty()
    }
    fn unite(&mut self, other: Self) {
        self.member |= other.member;
        self.below.unite(other.below);
    }
}

impl FieldSet {
    pub const fn new() -> Self {
        Self { nodes: Vec::new() }
    }

    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// How many fields there are. Counts them all.
    pub fn len(&self) -> usize {
        self.nodes.iter().map(|node| usize::from(node.member) + node.below.len()).sum()
    }

    pub fn has(&self, path: &[Element]) -> bool {
        match path {
            // Nobody owns the whole.
            [] => false,
            [last] => self.node(last).is_some_and(|node| node.member),
            [first, rest @ ..] => self.node(first).is_some_and(|node| node.below.has(rest)),
        }
    }

    /// Whether all of `other` is here.
    pub fn contains(&self, other: &Self) -> bool {
        other.nodes.iter().all(|theirs| match self.node(&theirs.element) {
            Some(ours) => ours.member >= theirs.member && ours.below.contains(&theirs.below),
            None => false,
        })
    }

    /// Adds one field, not those that it is in. Many are added faster as a set.
    pub fn insert(&mut self, path: &[Element]) {
        let Some((first, rest)) = path.split_first() else { return };
        let at = self.find(first).unwrap_or_else(|at| {
            self.nodes.insert(at, Node { element: first.clone(), member: false, below: Self::default() });
            at
        });
        if let Some(node) = self.nodes.get_mut(at) {
            node.member |= rest.is_empty();
            node.below.insert(rest);
        }
    }

    /// What is in either.
    pub fn unite(&mut self, other: Self) {
        if self.nodes.is_empty() || other.nodes.is_empty() {
            self.nodes.extend(other.nodes);
            return;
        }
        let mut ours = std::mem::take(&mut self.nodes).into_iter().peekable();
        self.nodes.reserve(ours.len().max(other.nodes.len()));
        for theirs in other.nodes {
            while let Some(before) = ours.next_if(|node| node.element < theirs.element) {
                self.nodes.push(before);
            }
            match ours.next_if(|node| node.element == theirs.element) {
                Some(mut both) => {
                    both.unite(theirs);
                    self.nodes.push(both);
                }
                None => self.nodes.push(theirs),
            }
        }
        self.nodes.extend(ours);
    }

    /// What is in any of them. Costs the size of all, and as many times again as their number can be halved.
    pub(super) fn all_of(mut sets: Vec<Self>) -> Self {
        while sets.len() > 1 {
            let mut pairs = sets.into_iter();
            sets = std::iter::from_fn(|| {
                let mut one = pairs.next()?;
                one.unite(pairs.next().unwrap_or_default());
                Some(one)
            })
            .collect();
        }
        sets.pop().unwrap_or_default()
    }

    /// Takes away what is in `other`. What is below a field goes only if it is there itself.
    pub fn subtract(&mut self, other: &Self) {
        self.retain_unless(other, |ours, theirs| {
            ours.member &= !theirs.member;
            ours.below.subtract(&theirs.below);
        });
    }

    /// Takes away what is in `other`, and all that is below it.
    pub fn subtract_with_all_below(&mut self, other: &Self) {
        self.retain_unless(other, |ours, theirs| {
            if theirs.member {
                (ours.member, ours.below) = (false, Self::default());
            } else {
                ours.below.subtract_with_all_below(&theirs.below);
            }
        });
    }

    fn retain_unless(&mut self, other: &Self, take: impl Fn(&mut Node, &Node)) {
        if other.is_empty() {
            return;
        }
        self.nodes.retain_mut(|ours| {
            if let Some(theirs) = other.node(&ours.element) {
                take(ours, theirs);
            }
            ours.is_used()
        });
    }

    /// What is in both.
    #[must_use]
    pub fn intersection(&self, other: &Self) -> Self {
        let (few, many) = if self.nodes.len() <= other.nodes.len() { (self, other) } else { (other, self) };
        let both = few.nodes.iter().filter_map(|one| {
            let other = many.node(&one.element)?;
            let below = one.below.intersection(&other.below);
            let node = Node { element: one.element.clone(), member: one.member && other.member, below };
            node.is_used().then_some(node)
        });
        Self { nodes: both.collect() }
    }

    /// The fields one by one: those of a level first, then what is below each of them, which is upstream's order.
    pub fn iter(&self) -> Paths<'_> {
        Paths { levels: vec![Level::of(self)], at: Path::default() }
    }

    pub(super) fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// Goes through the steps at the top. Those that are of no use afterwards go.
    pub(super) fn retain_nodes(&mut self, mut look: impl FnMut(&mut Node)) {
        self.nodes.retain_mut(|node| {
            look(node);
            node.is_used()
        });
    }

    pub(super) fn node(&self, element: &Element) -> Option<&Node> {
        self.find(element).ok().and_then(|at| self.nodes.get(at))
    }

    fn find(&self, element: &Element) -> Result<usize, usize> {
        self.nodes.binary_search_by(|node| node.element.cmp(element))
    }
}

/// Nodes in any order, also several for one element.
impl FromIterator<Node> for FieldSet {
    fn from_iter<I: IntoIterator<Item = Node>>(nodes: I) -> Self {
        let mut nodes: Vec<Node> = nodes.into_iter().filter(Node::is_used).collect();
        let in_order = |one: &Node, next: &Node| one.element < next.element;
        if !nodes.is_sorted_by(in_order) {
            nodes.sort_by(|one, other| one.element.cmp(&other.element));
            nodes.dedup_by(|next, one| {
                let same = next.element == one.element;
                if same {
                    one.member |= next.member;
                    one.below.unite(std::mem::take(&mut next.below));
                }
                same
            });
        }
        Self { nodes }
    }
}

impl FromIterator<Path> for FieldSet {
    fn from_iter<I: IntoIterator<Item = Path>>(paths: I) -> Self {
        let mut set = Self::default();
        paths.into_iter().for_each(|path| set.insert(&path.0));
        set
    }
}

impl<'s> IntoIterator for &'s FieldSet {
    type Item = Path;
    type IntoIter = Paths<'s>;
    fn into_iter(self) -> Paths<'s> {
        self.iter()
    }
}

/// One field a line.
impl fmt::Display for FieldSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.iter().try_for_each(|path| writeln!(f, "{path}"))
    }
}

/// The fields of a set.
#[derive(Debug)]
pub struct Paths<'s> {
    levels: Vec<Level<'s>>,
    /// Where the last of `levels` is.
    at: Path,
}

/// A level is gone through twice: for its fields, and for what is below them.
#[derive(Debug)]
struct Level<'s> {
    members: slice::Iter<'s, Node>,
    below: slice::Iter<'s, Node>,
}

impl<'s> Level<'s> {
    fn of(set: &'s FieldSet) -> Self {
        Self { members: set.nodes.iter(), below: set.nodes.iter() }
    }
}

impl Iterator for Paths<'_> {
    type Item = Path;

    fn next(&mut self) -> Option<Path> {
        loop {
            let level = self.levels.last_mut()?;
            if let Some(member) = level.members.find(|node| node.member) {
                return Some(self.at.0.iter().chain([&member.element]).cloned().collect());
            }
            match level.below.find(|node| !node.below.is_empty()) {
                Some(parent) => {
                    self.at.0.push(parent.element.clone());
                    self.levels.push(Level::of(&parent.below));
                }
                None => {
                    self.levels.pop();
                    self.at.0.pop();
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;

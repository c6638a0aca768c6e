//! Who must be woken by a change: watchers are found by what they watch.
//!
//! Each watcher has one interest, the narrowest that its selectors allow; watchers with the same one share a [`Topic`].
//! A change is put into the topics of its old and its new state, so that it costs as much as the watchers that may want
//! it, however many others there are. A topic holds numbers of steps in the kind's ring, and no more of them than it.

use std::collections::{HashMap, VecDeque};

use tokio::sync::watch;

use super::Item;
use super::ring::{Ring, Step};

/// What a watcher may want. Selectors that cannot be told by equality (of labels) are the watcher's to apply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Interest {
    All,
    Namespace(Box<str>),
    /// By its key, `namespace/name`.
    Object(Box<str>),
    /// A name in any namespace, or that of an object without one.
    Name(Box<str>),
    /// A value of the selectable field with this index.
    Field(usize, Box<str>),
}

/// The watchers of one interest, and the steps for them.
#[derive(Debug)]
struct Topic {
    /// Numbers in the ring, rising.
    steps: VecDeque<u64>,
    /// All of the topic's steps from this number on are in `steps`.
    complete_from: u64,
    watchers: usize,
    /// The batch of changes that last woke the watchers.
    woken_by: u64,
    /// The number that the next step of the ring has; watchers wait for it to rise.
    next: watch::Sender<u64>,
}

/// The topics that have watchers.
#[derive(Debug, Default)]
pub(super) struct Topics {
    all: Option<Topic>,
    namespaces: HashMap<Box<str>, Topic>,
    objects: HashMap<Box<str>, Topic>,
    names: HashMap<Box<str>, Topic>,
    fields: HashMap<usize, HashMap<Box<str>, Topic>>,
    batch: u64,
}

/// Topics whose watchers are to be told, once the changes can be read.
pub(super) type Wakes = Vec<watch::Sender<u64>>;

impl Topics {
    /// A new watcher, which reads from step `from` on: that, or a later one, must be in the ring.
    pub(super) fn join(&mut self, interest: &Interest, from: u64, ring: &Ring) -> watch::Receiver<u64> {
        let topic = self.slot(interest);
        if topic.watchers == 0 || from < topic.complete_from {
            let wanted = |(number, step): (u64, &Step)| interest.concerns(step).then_some(number);
            topic.steps = ring.since(from).filter_map(wanted).collect();
            topic.complete_from = from;
        }
        topic.watchers += 1;
        topic.next.subscribe()
    }
    pub(super) fn leave(&mut self, interest: &Interest) {
        let topic = self.slot(interest);
        topic.watchers = topic.watchers.saturating_sub(1);
        if topic.watchers > 0 {
            return;
        }
        match interest {
            Interest::All => self.all = None,
            Interest::Namespace(namespace) => drop(self.namespaces.remove(namespace)),
            Interest::Object(key) => drop(self.objects.remove(key)),
            Interest::Name(name) => drop(self.names.remove(name)),
            Interest::Field(field, value) => {
                if let Some(values) = self.fields.get_mut(field) {
                    values.remove(value);
                    if values.is_empty() {
                        self.fields.remove(field);
                    }
                }
            }
        }
    }
    /// Up to `max` steps of an interest from number `from` on, and the number to go on with; `None` if some are gone.
    pub(super) fn read(&self, interest: &Interest, from: u64, max: usize, ring: &Ring) -> Option<(Vec<Step>, u64)> {
        let topic = self.find(interest)?;
        if from < topic.complete_from {
            return None;
        }
        let skip = topic.steps.partition_point(|number| *number < from);
        let mut steps: Vec<Step> = Vec::new();
        for number in topic.steps.range(skip..) {
            let step = ring.get(*number)?;
            // Never break off within a revision: who resumes after it would miss the rest.
            if steps.len() >= max && steps.last().is_none_or(|last| last.item.revision < step.item.revision) {
                return Some((steps, *number));
            }
            steps.push(step.clone());
        }
        Some((steps, ring.next()))
    }
    /// Steps that are told together begin here: they wake a watcher once.
    pub(super) fn begin_batch(&mut self) {
        self.batch += 1;
    }
    /// Step `number` has been put into the ring.
    pub(super) fn record(&mut self, number: u64, step: &Step, wakes: &mut Wakes) {
        let batch = self.batch;
        self.each(step, |topic| {
            if topic.steps.back() != Some(&number) {
                topic.steps.push_back(number);
            }
            if topic.woken_by != batch {
                topic.woken_by = batch;
                wakes.push(topic.next.clone());
            }
        });
    }
    /// Step `number` has left the ring.
    pub(super) fn expire(&mut self, number: u64, step: &Step) {
        self.each(step, |topic| {
            if topic.steps.front() == Some(&number) {
                topic.steps.pop_front();
                topic.complete_from = topic.complete_from.max(number + 1);
                if topic.steps.capacity() > 4 * topic.steps.len().max(16) {
                    topic.steps.shrink_to(2 * topic.steps.len());
                }
            }
        });
    }
    /// All steps are void: whoever is before `first` is cut off.
    pub(super) fn reset(&mut self, first: u64, wakes: &mut Wakes) {
        let values = self.fields.values_mut().flat_map(HashMap::values_mut);
        let named = self.namespaces.values_mut().chain(self.objects.values_mut()).chain(self.names.values_mut());
        for topic in self.all.iter_mut().chain(named).chain(values) {
            topic.steps.clear();
            topic.complete_from = first;
            wakes.push(topic.next.clone());
        }
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        let named = [&self.namespaces, &self.objects, &self.names];
        self.all.is_none() && self.fields.is_empty() && named.iter().all(|topics| topics.is_empty())
    }
    fn slot(&mut self, interest: &Interest) -> &mut Topic {
        match interest {
            Interest::All => self.all.get_or_insert_with(Topic::default),
            Interest::Namespace(namespace) => self.namespaces.entry(namespace.clone()).or_default(),
            Interest::Object(key) => self.objects.entry(key.clone()).or_default(),
            Interest::Name(name) => self.names.entry(name.clone()).or_default(),
            Interest::Field(field, value) => self.fields.entry(*field).or_default().entry(value.clone()).or_default(),
        }
    }
    fn find(&self, interest: &Interest) -> Option<&Topic> {
        match interest {
            Interest::All => self.all.as_ref(),
            Interest::Namespace(namespace) => self.namespaces.get(namespace),
            Interest::Object(key) => self.objects.get(key),
            Interest::Name(name) => self.names.get(name),
            Interest::Field(field, value) => self.fields.get(field)?.get(value),
        }
    }
    /// The topics that a step concerns; some twice.
    fn each(&mut self, step: &Step, mut then: impl FnMut(&mut Topic)) {
        if let Some(all) = &mut self.all {
            then(all);
        }
        for item in step.old.iter().chain([&step.item]) {
            let named = [
                (&mut self.namespaces, item.namespace()),
                (&mut self.objects, item.key()),
                (&mut self.names, item.name()),
            ];
            let fields = self.fields.iter_mut().map(|(field, values)| (values, item.field(*field)));
            for (topics, value) in named.into_iter().chain(fields) {
                // Most kinds have no such watchers: no look-up then.
                if !topics.is_empty()
                    && let Some(topic) = topics.get_mut(value)
                {
                    then(topic);
                }
            }
        }
    }
}

impl Default for Topic {
    fn default() -> Self {
        Self { steps: VecDeque::new(), complete_from: 0, watchers: 0, woken_by: 0, next: watch::Sender::new(0) }
    }
}

impl Interest {
    fn concerns(&self, step: &Step) -> bool {
        step.old.iter().chain([&step.item]).any(|item| self.includes(item))
    }
    fn includes(&self, item: &Item) -> bool {
        match self {
            Self::All => true,
            Self::Namespace(namespace) => item.namespace() == &**namespace,
            Self::Object(key) => item.key() == &**key,
            Self::Name(name) => item.name() == &**name,
            Self::Field(field, value) => item.field(*field) == &**value,
        }
    }
}

//! The cluster as its store has it, with as much of its past as judges need: programs may act on what was true a while ago.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use serde_json::Value;

use crate::read;

/// Who acts on something older than this has slept: no fault of a simulation lasts longer.
pub const STALE_MAX: Duration = Duration::from_secs(120);

/// An object's place: what its kind is called in the store, its namespace (empty: none) and name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    pub kind: String,
    pub namespace: String,
    pub name: String,
}

impl Place {
    pub fn new(kind: &str, namespace: &str, name: &str) -> Self {
        Self { kind: kind.into(), namespace: namespace.into(), name: name.into() }
    }

    /// Of a key such as `/registry/pods/default/web-1`. None: it is no object's that is judged.
    pub fn of_key(key: &str) -> Option<Self> {
        let mut parts = key.strip_prefix("/registry/")?.split('/');
        let (kind, second, third) = (parts.next()?, parts.next()?, parts.next());
        let place = match third {
            Some(name) => Self::new(kind, second, name),
            None => Self::new(kind, "", second),
        };
        // An apiserver's own are no objects.
        (parts.next().is_none() && kind != "corten").then_some(place)
    }
}

/// One change of one object.
#[derive(Clone, Debug)]
pub struct Step {
    pub at: Duration,
    /// The program that asked for it; empty: none is known, or an apiserver of itself.
    pub author: String,
    pub place: Place,
    pub old: Option<Value>,
    pub new: Option<Value>,
}

impl Step {
    pub fn is_of(&self, kind: &str) -> bool {
        self.place.kind == kind
    }
    /// The object as it was last.
    pub fn object(&self) -> &Value {
        self.new.as_ref().or(self.old.as_ref()).unwrap_or(&Value::Null)
    }
    pub fn created(&self) -> Option<&Value> {
        self.new.as_ref().filter(|_| self.old.is_none())
    }
    /// The object, if its deletion begins or, without a beginning, is done here.
    pub fn deletion_begins(&self) -> Option<&Value> {
        let old = self.old.as_ref().filter(|old| !read::is_deleting(old))?;
        match &self.new {
            None => Some(old),
            Some(new) => read::is_deleting(new).then_some(new),
        }
    }
}

/// A pod that served its users no more.
#[derive(Clone, Debug)]
pub struct Loss {
    pub at: Duration,
    pub pod: Value,
    /// An eviction that a budget paid for.
    pub evicted: bool,
    /// Its workload's controller has deleted it.
    pub replaced: bool,
}

/// What is known of a Job's counting.
#[derive(Clone, Debug, Default)]
pub struct Counted {
    pub succeeded: BTreeSet<String>,
    pub failed: BTreeSet<String>,
}

#[derive(Debug, Default)]
pub struct Cluster {
    objects: BTreeMap<Place, Value>,
    /// Versions that were the newest at some moment of the last [`STALE_MAX`], with when they came.
    versions: BTreeMap<Place, VecDeque<(Duration, Value)>>,
    pub losses: VecDeque<Loss>,
    /// By a Job's uid.
    pub counted: BTreeMap<String, Counted>,
    /// The last state of each pod that there ever was, by its uid.
    pub pods: BTreeMap<String, Value>,
    /// Owners that a user has deleted and whose dependents are to stay.
    pub orphaned: BTreeSet<String>,
}

/// Kinds whose past matters.
const REMEMBERED: [&str; 5] = ["deployments", "replicasets", "statefulsets", "jobs", "poddisruptionbudgets"];

impl Cluster {
    pub fn of(&self, kind: &str) -> impl Iterator<Item = (&Place, &Value)> {
        let first = Place::new(kind, "", "");
        self.objects.range(first..).take_while({
            let kind = kind.to_owned();
            move |(place, _)| place.kind == kind
        })
    }

    pub fn get(&self, kind: &str, namespace: &str, name: &str) -> Option<&Value> {
        self.objects.get(&Place::new(kind, namespace, name))
    }

    pub fn in_namespace<'a>(&'a self, kind: &str, namespace: &'a str) -> impl Iterator<Item = &'a Value> {
        self.of(kind).filter(move |(place, _)| place.namespace == namespace).map(|(_, object)| object)
    }

    /// The object of a kind with this uid, if it is there.
    pub fn by_uid(&self, kind: &str, uid: &str) -> Option<&Value> {
        self.of(kind).map(|(_, object)| object).find(|object| read::uid(object) == uid)
    }

    /// What an object of this uid was at some moment of the last [`STALE_MAX`], also if it is gone.
    pub fn recent<'a>(&'a self, kind: &'a str, uid: &'a str) -> impl Iterator<Item = &'a Value> {
        let of_kind = self.versions.iter().filter(move |(place, _)| place.kind == kind);
        of_kind.flat_map(|(_, versions)| versions).map(|(_, object)| object).filter(move |o| read::uid(o) == uid)
    }

    /// Takes the change in.
    pub fn apply(&mut self, step: &Step) {
        match &step.new {
            Some(new) => drop(self.objects.insert(step.place.clone(), new.clone())),
            None => drop(self.objects.remove(&step.place)),
        }
        self.forget(step.at);
        if REMEMBERED.contains(&step.place.kind.as_str()) {
            let versions = self.versions.entry(step.place.clone()).or_default();
            versions.extend(step.new.clone().map(|new| (step.at, new)));
        }
        if step.is_of("pods") {
            self.note_pod(step);
        }
        if step.is_of("jobs") {
            let job = step.object();
            let counted = self.counted.entry(read::uid(job).to_owned()).or_default();
            let uncounted = "/status/uncountedTerminatedPods";
            counted.succeeded.extend(read::strings(job, &format!("{uncounted}/succeeded")).map(str::to_owned));
            counted.failed.extend(read::strings(job, &format!("{uncounted}/failed")).map(str::to_owned));
        }
    }

    fn forget(&mut self, now: Duration) {
        let begin = now.saturating_sub(STALE_MAX);
        while self.losses.front().is_some_and(|loss| loss.at < begin) {
            self.losses.pop_front();
        }
        for (place, versions) in &mut self.versions {
            // The version that was the newest when the time began stays, and that of an object that is there.
            while versions.get(1).is_some_and(|(at, _)| *at < begin)
                || (versions.len() == 1 && versions[0].0 < begin && !self.objects.contains_key(place))
            {
                versions.pop_front();
            }
        }
    }

    fn note_pod(&mut self, step: &Step) {
        let pod = step.object();
        self.pods.insert(read::uid(pod).to_owned(), pod.clone());
        let was = step.old.as_ref().is_some_and(read::is_available);
        if was && !step.new.as_ref().is_some_and(read::is_available) {
            let disruption = read::disruption(pod);
            let begins = step.deletion_begins().is_some();
            let evicted = begins && disruption == Some("EvictionByEvictionAPI");
            let replaced = begins && disruption.is_none();
            self.losses.push_back(Loss { at: step.at, pod: pod.clone(), evicted, replaced });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_of_keys() {
        let cases = [
            ("/registry/pods/default/web-1", Some(Place::new("pods", "default", "web-1"))),
            ("/registry/namespaces/a", Some(Place::new("namespaces", "", "a"))),
            ("/registry/a/b/c/d", None),
            ("/corten/marks/1", None),
        ];
        for (key, expected) in cases {
            assert_eq!(Place::of_key(key), expected, "{key}");
        }
    }
}

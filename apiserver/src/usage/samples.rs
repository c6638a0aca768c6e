//! The last two points of each container and node, and what was used between them. Pure.

use std::collections::HashMap;

use jiff::{SignedDuration, Timestamp};

use super::summary::{PodSummary, Summary};

/// What was measured at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Point {
    /// Of what is measured; `None`: not told.
    pub started: Option<Timestamp>,
    pub at: Timestamp,
    /// Since the start.
    pub cpu_nanos: u64,
    /// The working set.
    pub memory_bytes: u64,
}

/// What was used between two points.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Used {
    pub nano_cores: u64,
    pub memory_bytes: u64,
    pub at: Timestamp,
    pub window: SignedDuration,
}

/// The last point, and the one before if both are of the same run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pair {
    before: Option<Point>,
    last: Point,
}

impl Pair {
    /// `None` where something was measured for the first time.
    fn then(old: Option<&Self>, new: Point) -> Self {
        let fresh = Self { before: None, last: new };
        let Some(old) = old else { return fresh };
        let last = old.last;
        // Started anew, or a clock that was set back: what lies between is not to be had.
        let is_another_run = last.started != new.started || new.cpu_nanos < last.cpu_nanos;
        if is_another_run || new.at < last.at {
            fresh
        } else if new.at == last.at {
            *old
        } else {
            Self { before: Some(last), last: new }
        }
    }

    /// `None`: it was seen only once.
    pub fn used(&self) -> Option<Used> {
        let (before, last) = (self.before?, self.last);
        let window = last.at.duration_since(before.at);
        let window_nanos = u128::try_from(window.as_nanos()).ok().filter(|nanos| *nanos > 0)?;
        let cpu_nanos = u128::from(last.cpu_nanos.saturating_sub(before.cpu_nanos));
        let nano_cores = u64::try_from(cpu_nanos * 1_000_000_000 / window_nanos).ok()?;
        Some(Used { nano_cores, memory_bytes: last.memory_bytes, at: last.at, window })
    }
}

/// What one kubelet has told.
#[derive(Clone, Debug, Default)]
pub struct NodeSamples {
    node: Option<Pair>,
    /// By `namespace/name`.
    pods: HashMap<Box<str>, PodSamples>,
}

#[derive(Clone, Debug)]
struct PodSamples {
    uid: Box<str>,
    containers: Vec<(Box<str>, Pair)>,
}

/// A pod's containers, each with what it used; and when, of the one that was measured first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodUsed<'a> {
    pub containers: Vec<(&'a str, Used)>,
    pub at: Timestamp,
    pub window: SignedDuration,
}

impl NodeSamples {
    pub fn then(old: Option<&Self>, new: Summary) -> Self {
        let node = new.node.point().map(|point| Pair::then(old.and_then(|old| old.node.as_ref()), point));
        let pods = new.pods.into_iter().map(|pod| {
            let key = format!("{}/{}", pod.pod_ref.namespace, pod.pod_ref.name).into_boxed_str();
            let before = old.and_then(|old| old.pods.get(&key)).filter(|before| *before.uid == *pod.pod_ref.uid);
            let samples = PodSamples::then(before, pod);
            (key, samples)
        });
        Self { node, pods: pods.collect() }
    }

    /// How many points it holds, about.
    pub fn weight(&self) -> usize {
        1 + self.pods.values().map(|pod| 1 + pod.containers.len()).sum::<usize>()
    }

    pub fn used(&self) -> Option<Used> {
        self.node.as_ref()?.used()
    }

    /// `pod`: `namespace/name`. `None`: the pod is not known, or one of its containers was seen only once.
    pub fn pod_used(&self, pod: &str) -> Option<PodUsed<'_>> {
        let containers = &self.pods.get(pod)?.containers;
        let used = containers.iter().map(|(name, pair)| Some((&**name, pair.used()?)));
        let containers = used.collect::<Option<Vec<_>>>()?;
        let (at, window) = containers.iter().map(|(_, used)| (used.at, used.window)).min_by_key(|(at, _)| *at)?;
        Some(PodUsed { containers, at, window })
    }
}

impl PodSamples {
    fn then(old: Option<&Self>, new: PodSummary) -> Self {
        let before = |name: &str| {
            let containers = old.map(|old| old.containers.as_slice()).unwrap_or_default();
            containers.iter().find(|(known, _)| **known == *name).map(|(_, pair)| pair)
        };
        let pair = |container: &super::summary::Measured| {
            let name = container.name.as_deref().unwrap_or_default();
            Some((Box::from(name), Pair::then(before(name), container.point()?)))
        };
        Self { containers: new.containers.iter().filter_map(pair).collect(), uid: new.pod_ref.uid.into() }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn at(secs: i64) -> Timestamp {
        Timestamp::from_second(secs).unwrap()
    }
    fn measured(name: &str, started: i64, secs: i64, cpu_secs: u64) -> Value {
        json!({
            "name": name,
            "startTime": at(started).to_string(),
            "cpu": {"time": at(secs).to_string(), "usageCoreNanoSeconds": cpu_secs * 1_000_000_000},
            "memory": {"workingSetBytes": 1000 + secs},
        })
    }
    fn summary(uid: &str, containers: &[Value]) -> Summary {
        let pod = json!({"podRef": {"name": "web", "namespace": "n", "uid": uid}, "containers": containers});
        Summary::parse(&serde_json::to_vec(&json!({"node": {}, "pods": [pod]})).unwrap()).unwrap()
    }
    /// (nano cores, memory, at, window) of the container `a` after these points (started, at, cpu).
    fn after(points: &[(i64, i64, u64)]) -> Option<(u64, u64, i64, i64)> {
        let mut samples = None;
        for (started, secs, cpu) in points {
            samples = Some(NodeSamples::then(samples.as_ref(), summary("u", &[measured("a", *started, *secs, *cpu)])));
        }
        let samples = samples.unwrap();
        let used = samples.pod_used("n/web")?.containers[0].1;
        Some((used.nano_cores, used.memory_bytes, used.at.as_second(), used.window.as_secs()))
    }

    type Case<'a> = (&'a str, &'a [(i64, i64, u64)], Option<(u64, u64, i64, i64)>);

    #[test]
    fn what_was_used_lies_between_two_points_of_one_run() {
        let half = Some((500_000_000, 1020, 20, 10));
        let cases: [Case<'_>; 7] = [
            ("seen once", &[(0, 10, 5)], None),
            ("half a core for ten seconds", &[(0, 10, 5), (0, 20, 10)], half),
            ("the newest two count", &[(0, 0, 0), (0, 10, 5), (0, 20, 10)], half),
            ("the same point twice is one", &[(0, 10, 5), (0, 20, 10), (0, 20, 10)], half),
            ("started anew", &[(0, 10, 5), (15, 20, 9)], None),
            ("the counter went back", &[(0, 10, 5), (0, 20, 1)], None),
            ("the clock went back", &[(0, 10, 5), (0, 9, 6)], None),
        ];
        for (why, points, expected) in cases {
            assert_eq!(after(points), expected, "{why}");
        }
    }

    #[test]
    fn a_pod_is_told_of_when_all_of_its_containers_are_known() {
        let first = NodeSamples::then(None, summary("u", &[measured("a", 0, 10, 1)]));
        let both = [measured("a", 0, 20, 2), measured("b", 12, 21, 1)];
        let second = NodeSamples::then(Some(&first), summary("u", &both));
        assert_eq!(second.pod_used("n/web"), None, "b was seen once");
        let both = [measured("a", 0, 30, 3), measured("b", 12, 32, 2)];
        let third = NodeSamples::then(Some(&second), summary("u", &both));
        let used = third.pod_used("n/web").unwrap();
        assert_eq!(used.containers.iter().map(|(name, _)| *name).collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!((used.at, used.window), (at(30), SignedDuration::from_secs(10)), "of the one measured first");
        assert_eq!(third.pod_used("n/other"), None);
        assert_eq!((third.used(), third.weight()), (None, 4));
        let another = NodeSamples::then(Some(&third), summary("v", &both));
        assert_eq!(another.pod_used("n/web"), None, "another pod of the same name");
        let without = NodeSamples::then(Some(&third), summary("u", &[]));
        assert_eq!(without.pod_used("n/web"), None, "nothing runs in it");
    }
}

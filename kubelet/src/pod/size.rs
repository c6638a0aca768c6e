//! How large containers and their pod are: what was asked for, and what runs. Pure.
//!
//! <https://kubernetes.io/docs/tasks/configure-pod-container/resize-container-resources/>

use corten_api::pod::amounts;
use corten_api::quantity::{Format, Quantity};
use k8s_openapi::api::core::v1::{ContainerResizePolicy, ResourceRequirements};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity as Wire;
use std::collections::BTreeMap;

use crate::cgroup::PodLimits;

const CPU: &str = "cpu";
const MEMORY: &str = "memory";

/// cpu in thousandths, memory in bytes; 0 where nothing is said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Size {
    pub cpu_request: i64,
    pub cpu_limit: i64,
    pub memory_request: i64,
    pub memory_limit: i64,
}

impl Size {
    pub fn of(resources: Option<&ResourceRequirements>) -> Self {
        let requests = amounts(resources.and_then(|r| r.requests.as_ref()));
        let limits = amounts(resources.and_then(|r| r.limits.as_ref()));
        let get = |list: &BTreeMap<String, i64>, name: &str| list.get(name).copied().unwrap_or(0);
        Self {
            cpu_request: get(&requests, CPU),
            cpu_limit: get(&limits, CPU),
            memory_request: get(&requests, MEMORY),
            memory_limit: get(&limits, MEMORY),
        }
    }

    /// As it is kept with a container: four numbers with spaces between.
    pub fn text(self) -> String {
        format!("{} {} {} {}", self.cpu_request, self.cpu_limit, self.memory_request, self.memory_limit)
    }
    /// `None`: not a text of [`Size::text`].
    pub fn parse(text: &str) -> Option<Self> {
        let numbers: Vec<i64> = text.split(' ').map(str::parse).collect::<Result<_, _>>().ok()?;
        let [cpu_request, cpu_limit, memory_request, memory_limit] = numbers[..] else { return None };
        Some(Self { cpu_request, cpu_limit, memory_request, memory_limit })
    }

    /// `resources` with this size instead of their own. What is the same amount keeps its words.
    pub fn put_into(self, resources: &ResourceRequirements) -> ResourceRequirements {
        let own = Self::of(Some(resources));
        let mut all = resources.clone();
        set(&mut all.requests, CPU, own.cpu_request, self.cpu_request);
        set(&mut all.limits, CPU, own.cpu_limit, self.cpu_limit);
        set(&mut all.requests, MEMORY, own.memory_request, self.memory_request);
        set(&mut all.limits, MEMORY, own.memory_limit, self.memory_limit);
        all
    }
}

fn set(list: &mut Option<BTreeMap<String, Wire>>, name: &str, have: i64, want: i64) {
    if have == want {
        return;
    }
    let list = list.get_or_insert_default();
    if want == 0 {
        list.remove(name);
    } else {
        list.insert(name.into(), wire(name, want));
    }
}

/// An amount as the API writes it.
pub fn wire(name: &str, amount: i64) -> Wire {
    match name {
        CPU => Quantity::from_millis(amount).to_wire(),
        _ => Quantity::from_units(amount, Format::BinarySi).to_wire(),
    }
}

/// Which changes of its size a container only gets with a new process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ResizeRestarts {
    cpu: bool,
    memory: bool,
}

impl ResizeRestarts {
    pub fn of(policies: Option<&Vec<ContainerResizePolicy>>) -> Self {
        let restarts = |name: &str| {
            let mut of_name = policies.into_iter().flatten().filter(|policy| policy.resource_name == name);
            of_name.any(|policy| policy.restart_policy == "RestartContainer")
        };
        Self { cpu: restarts(CPU), memory: restarts(MEMORY) }
    }
    /// Whether this change needs a new process.
    pub fn needed(self, from: Size, to: Size) -> bool {
        let cpu = (from.cpu_request, from.cpu_limit) != (to.cpu_request, to.cpu_limit);
        let memory = (from.memory_request, from.memory_limit) != (to.memory_request, to.memory_limit);
        (self.cpu && cpu) || (self.memory && memory)
    }
}

/// One change of what runs. They are made in the order in which they are given, and none after one that fails.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ResizeStep {
    Pod(PodLimits),
    Container { name: String, id: String, from: Size, to: Size },
}

/// The larger of both, limit by limit. None is the largest.
pub fn larger(a: PodLimits, b: PodLimits) -> PodLimits {
    let limit = |a: Option<i64>, b: Option<i64>| a.zip(b).map(|(a, b)| a.max(b));
    PodLimits {
        cpu_shares: a.cpu_shares.max(b.cpu_shares),
        cpu_limit_millis: limit(a.cpu_limit_millis, b.cpu_limit_millis),
        memory_limit_bytes: limit(a.memory_limit_bytes, b.memory_limit_bytes),
        pids_limit: limit(a.pids_limit, b.pids_limit),
    }
}

/// What the node gave a pod, as far as it is to be told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Share {
    /// `metadata.generation` of the pod whose wishes were granted last.
    pub generation: Option<i64>,
    pub wish: Wish,
}

/// What the node says to a size that the pod does not have yet.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Wish {
    /// Nothing: it does not know yet of all its pods.
    #[default]
    Unjudged,
    /// The pod has got what it asked for.
    Granted,
    Pending(Pending),
}

/// Why a pod does not get the size that it asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pending {
    /// `Deferred`: it may get it later; `Infeasible`: never on this node.
    pub reason: &'static str,
    pub message: String,
    /// Of the pod that asks for it.
    pub generation: Option<i64>,
}

pub const DEFERRED: &str = "Deferred";
pub const INFEASIBLE: &str = "Infeasible";

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_size_is_read_as_it_was_written() {
        let size = Size { cpu_request: 100, cpu_limit: 0, memory_request: 1 << 30, memory_limit: 2 << 30 };
        assert_eq!(Size::parse(&size.text()), Some(size));
        for broken in ["", "1 2 3", "1 2 3 4 5", "1 2 3 x"] {
            assert_eq!(Size::parse(broken), None, "{broken}");
        }
    }

    #[test]
    fn what_runs_is_told_in_the_words_of_who_asked_for_it() {
        let resources: ResourceRequirements = serde_json::from_value(json!({
            "requests": {"cpu": "0.5", "memory": "64Mi", "x.com/y": "1"}, "limits": {"cpu": "1"}}))
        .unwrap();
        let size = Size::of(Some(&resources));
        assert_eq!(size.put_into(&resources), resources);
        let runs = Size { cpu_request: 250, memory_request: 32 << 20, cpu_limit: 0, ..size };
        assert_eq!(
            serde_json::to_value(runs.put_into(&resources)).unwrap(),
            json!({"requests": {"cpu": "250m", "memory": "32Mi", "x.com/y": "1"}, "limits": {}})
        );
    }

    #[test]
    fn policies_say_which_changes_need_a_new_process() {
        let policy = |name: &str, policy: &str| ContainerResizePolicy {
            resource_name: name.into(),
            restart_policy: policy.into(),
        };
        let (small, more_cpu) = (Size::default(), Size { cpu_limit: 1, ..Size::default() });
        let more_memory = Size { memory_request: 1, ..Size::default() };
        let of = |policies: Vec<ContainerResizePolicy>| ResizeRestarts::of(Some(&policies));
        let memory_only = of(vec![policy("cpu", "NotRequired"), policy("memory", "RestartContainer")]);
        for (why, restarts, to, expected) in [
            ("no policy", ResizeRestarts::of(None), more_cpu, false),
            ("cpu with another policy", memory_only, more_cpu, false),
            ("memory", memory_only, more_memory, true),
            ("no change", memory_only, small, false),
        ] {
            assert_eq!(restarts.needed(small, to), expected, "{why}");
        }
    }
}

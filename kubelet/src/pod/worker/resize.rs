//! Making what runs larger or smaller, step by step: the pod's cgroup, and its containers through the runtime.

use std::collections::BTreeMap;
use std::sync::Arc;

use corten_api::Object as _;
use corten_api::error::with_causes;
use k8s_openapi::api::core::v1::{Container, Pod};
use serde_json::json;

use super::prepare::cgroup_path;
use super::{Answer, Worker};
use crate::cgroup::PodLimits;
use crate::place::Place;
use crate::pod::container::{self, SIZE_LABEL};
use crate::pod::model::Event;
use crate::pod::size::{ResizeStep, Size};

impl Worker {
    pub(super) fn resize(&self, steps: Vec<ResizeStep>) {
        let (place, pod) = (Arc::clone(&self.place), Arc::clone(&self.pod));
        self.spawn(async move {
            let mut done = Vec::new();
            let mut failure = too_small(&place, &pod, &steps).await.err();
            for step in steps {
                if failure.is_some() {
                    break;
                }
                match take(&place, &pod, &step).await {
                    Ok(()) => done.push(step),
                    Err(why) => failure = Some(why),
                }
            }
            Answer::Event(Event::Resized { done, failure })
        });
    }
}

/// The message of the event at the end: what the pod has now.
pub(super) fn completed(pod: &Pod) -> String {
    let one = |c: &Container| json!({"name": c.name, "resources": c.resources.clone().unwrap_or_default()});
    let mut has = serde_json::Map::new();
    if let Some(spec) = &pod.spec {
        let lists =
            [("initContainers", spec.init_containers.as_deref().unwrap_or_default()), ("containers", &spec.containers)];
        for (name, list) in lists.into_iter().filter(|(_, list)| !list.is_empty()) {
            has.insert(name.into(), list.iter().map(one).collect());
        }
    }
    format!("Pod resize completed: {}", serde_json::Value::Object(has))
}

async fn take(place: &Arc<Place>, pod: &Arc<Pod>, step: &ResizeStep) -> Result<(), String> {
    match step {
        ResizeStep::Pod(limits) => set_limits(place, pod, *limits).await,
        ResizeStep::Container { name, id, to, .. } => {
            let Some(spec) = container::find(pod, name) else {
                return Err(format!("container {name} is not in the pod's spec any more"));
            };
            let resources = container::resources(pod, &spec, place.memory_bytes());
            let labels = BTreeMap::from([(SIZE_LABEL.to_owned(), to.text())]);
            place.runtime.update_container(id, &resources, &labels).await.map_err(|err| with_causes(&err))
        }
    }
}

async fn set_limits(place: &Arc<Place>, pod: &Arc<Pod>, limits: PodLimits) -> Result<(), String> {
    let Some(cgroups) = place.cgroups.clone() else { return Ok(()) };
    let path = cgroup_path(place, pod);
    let set = tokio::task::spawn_blocking(move || cgroups.set_limits(&path, &limits)).await;
    set.map_err(|err| format!("setting the pod's limits was interrupted: {err}"))?.map_err(|err| with_causes(&err))
}

/// The kernel kills who uses more than a limit that is set: one that is below what is used is not set, but tried again later.
async fn too_small(place: &Arc<Place>, pod: &Arc<Pod>, steps: &[ResizeStep]) -> Result<(), String> {
    let mut problems = Vec::new();
    let of_pod = steps.iter().rev().find_map(|step| match step {
        ResizeStep::Pod(limits) => limits.memory_limit_bytes,
        ResizeStep::Container { .. } => None,
    });
    if let (Some(limit), Some(cgroups)) = (of_pod, place.cgroups.clone()) {
        let path = cgroup_path(place, pod);
        let usage = tokio::task::spawn_blocking(move || cgroups.usage(&path)).await;
        let usage = usage.map_err(|err| format!("unable to read memory usage for pod {:?}: {err}", pod.name()))?;
        // What is full of page cache is at its limit all the time: only a lower one takes something away.
        let is_lower = |has: Option<u64>| has.is_none_or(|has| u64::try_from(limit).is_ok_and(|limit| limit < has));
        let used = usage.filter(|usage| is_lower(usage.memory_limit_bytes)).map(|usage| usage.memory_bytes);
        problems.extend(
            used.filter(|used| is_below(limit, *used))
                .map(|used| format!("attempting to set pod memory limit ({limit}) below current usage ({used})")),
        );
    }
    let shrinks =
        |from: Size, to: Size| to.memory_limit > 0 && (from.memory_limit == 0 || to.memory_limit < from.memory_limit);
    let shrinking: Vec<(&String, &String, i64)> = steps
        .iter()
        .filter_map(|step| match step {
            ResizeStep::Container { name, id, from, to } if shrinks(*from, *to) => Some((name, id, to.memory_limit)),
            _ => None,
        })
        .collect();
    if !shrinking.is_empty() {
        let stats = place.runtime.stats().await.map_err(|err| with_causes(&err))?;
        for (name, id, limit) in shrinking {
            let used = stats.iter().find(|stats| stats.container_id == *id).map(|stats| stats.usage.memory_bytes);
            match used {
                None => problems.push(format!("missing container {name:?} memory usage")),
                Some(used) if is_below(limit, used) => problems.push(format!(
                    "attempting to set container {name:?} memory limit ({limit}) below current usage ({used})"
                )),
                Some(_) => {}
            }
        }
    }
    match problems.as_slice() {
        [] => Ok(()),
        [one] => Err(format!("cannot decrease memory limits: {one}")),
        many => Err(format!("cannot decrease memory limits: [{}]", many.join(", "))),
    }
}

fn is_below(limit: i64, used: u64) -> bool {
    u64::try_from(limit).is_ok_and(|limit| used >= limit)
}

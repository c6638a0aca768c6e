//! What a pod's status says of its size: what the node gave, what runs, and how a resize goes on. Pure.

use corten_api::conditions::set;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Container, ContainerStatus, Pod, PodCondition, PodStatus};

use super::whole_second;
use crate::pod::model::Stage;
use crate::pod::size::{Share, Wish, wire};
use crate::pod::step::Machine;

const PENDING: &str = "PodResizePending";
const IN_PROGRESS: &str = "PodResizeInProgress";

/// Adds it to a status that says all else. `pod`: with the resources that the node gives it.
pub fn add(status: &mut PodStatus, machine: &Machine, pod: &Pod, share: &Share, now: Timestamp) {
    let Some(spec) = &pod.spec else { return };
    let lists = [
        (&mut status.container_statuses, Some(&spec.containers)),
        (&mut status.init_container_statuses, spec.init_containers.as_ref()),
    ];
    for (statuses, containers) in lists {
        for status in statuses.iter_mut().flatten() {
            if let Some(container) = containers.and_then(|list| list.iter().find(|c| c.name == status.name)) {
                of_container(status, container, machine);
            }
        }
    }
    let given = corten_api::pod::requests(spec);
    status.allocated_resources =
        (!given.is_empty()).then(|| given.into_iter().map(|(name, n)| (name.clone(), wire(&name, n))).collect());
    // While the pod's cgroup is not there yet the last that was told stands.
    if machine.resizing.pod.is_none_or(|pod| pod == machine.plan.size) {
        status.resources.clone_from(&spec.resources);
    }
    conditions(status, machine, share, now);
}

fn of_container(status: &mut ContainerStatus, container: &Container, machine: &Machine) {
    let given = container.resources.clone().unwrap_or_default();
    status.allocated_resources = given.requests.clone().filter(|list| !list.is_empty());
    let runs = machine.container(&container.name).filter(|c| c.is_running());
    status.resources = Some(runs.map_or_else(|| given.clone(), |c| c.size_in_use.put_into(&given)));
}

fn conditions(status: &mut PodStatus, machine: &Machine, share: &Share, now: Timestamp) {
    let list = status.conditions.get_or_insert_default();
    let condition = |kind: &str, reason: &str, message: &str, observed_generation: Option<i64>| PodCondition {
        type_: kind.into(),
        status: "True".into(),
        reason: Some(reason.to_owned()).filter(|text| !text.is_empty()),
        message: Some(message.to_owned()).filter(|text| !text.is_empty()),
        observed_generation,
        ..PodCondition::default()
    };
    let now = whole_second(now);
    match &share.wish {
        Wish::Pending(pending) if machine.stage == Stage::Live => {
            set(list, condition(PENDING, pending.reason, &pending.message, pending.generation), &now);
        }
        // What the kubelet before this one said stands until this one knows better.
        Wish::Unjudged if machine.stage == Stage::Live => {}
        Wish::Unjudged | Wish::Granted | Wish::Pending(_) => list.retain(|c| c.type_ != PENDING),
    }
    if machine.is_resizing() {
        let failure = machine.resizing.failure.as_deref();
        let reason = if failure.is_some() { "Error" } else { "" };
        set(list, condition(IN_PROGRESS, reason, failure.unwrap_or_default(), share.generation), &now);
    } else {
        list.retain(|c| c.type_ != IN_PROGRESS);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::pod::model::{Now, SandboxUp, Setup};
    use crate::pod::plan::Plan;
    use crate::pod::size::{DEFERRED, Pending};

    fn pod(cpu: &str) -> Pod {
        let resources = json!({"requests": {"cpu": cpu, "memory": "64Mi"}, "limits": {"cpu": "2"}});
        serde_json::from_value(json!({"spec": {"containers": [{"name": "a", "image": "x", "resources": resources}]}}))
            .unwrap()
    }
    fn running(cpu: &str) -> Machine {
        let mut machine = Machine::new(Plan::of(&pod(cpu)), Timestamp::UNIX_EPOCH);
        machine.containers[0].now = Now::Running { id: "a0".into(), started_at: Timestamp::UNIX_EPOCH };
        let up = SandboxUp { id: "s".into(), addresses: vec![], network: crate::runtime::Network::Host };
        machine.sandbox = Setup::Done(up);
        machine
    }
    fn told(machine: &Machine, pod: &Pod, share: &Share, before: Value) -> Value {
        let statuses = json!([{"name": "a", "image": "", "imageID": "", "ready": true, "restartCount": 0}]);
        let mut status = PodStatus {
            container_statuses: serde_json::from_value(statuses).unwrap(),
            conditions: serde_json::from_value(before).unwrap(),
            ..PodStatus::default()
        };
        add(&mut status, machine, pod, share, Timestamp::UNIX_EPOCH);
        serde_json::to_value(status).unwrap()
    }

    #[test]
    fn what_runs_and_what_was_given_are_told_apart() {
        let mut machine = running("500m");
        let granted = Share { generation: Some(2), wish: Wish::Granted };
        let before = json!([{"type": "PodResizePending", "status": "True"}, {"type": "Ready", "status": "True"}]);
        let status = told(&machine, &pod("500m"), &granted, before);
        let own = json!({"requests": {"cpu": "500m", "memory": "64Mi"}, "limits": {"cpu": "2"}});
        assert_eq!(status["containerStatuses"][0]["resources"], own);
        assert_eq!(status["allocatedResources"], json!({"cpu": "500m", "memory": "64Mi"}));
        assert_eq!(status["conditions"], json!([{"type": "Ready", "status": "True"}]), "nothing is pending");

        machine.containers[0].size_in_use.cpu_request = 250;
        let status = told(&machine, &pod("500m"), &granted, json!([]));
        let of_container = &status["containerStatuses"][0];
        assert_eq!(of_container["resources"]["requests"]["cpu"], "250m");
        assert_eq!(of_container["allocatedResources"]["cpu"], "500m");
        let condition = &status["conditions"][0];
        assert_eq!((&condition["type"], &condition["observedGeneration"]), (&json!("PodResizeInProgress"), &json!(2)));

        machine.resizing.failure = Some("no".into());
        let condition = told(&machine, &pod("500m"), &granted, json!([]))["conditions"][0].clone();
        assert_eq!((&condition["reason"], &condition["message"]), (&json!("Error"), &json!("no")));
    }

    #[test]
    fn what_waits_is_told_until_somebody_decides() {
        let machine = running("500m");
        let pending = Pending { reason: DEFERRED, message: "full".into(), generation: Some(3) };
        let share = Share { generation: Some(2), wish: Wish::Pending(pending) };
        let status = told(&machine, &pod("500m"), &share, json!([]));
        let condition = &status["conditions"][0];
        assert_eq!(
            (&condition["type"], &condition["reason"], &condition["message"], &condition["observedGeneration"]),
            (&json!("PodResizePending"), &json!("Deferred"), &json!("full"), &json!(3))
        );
        let kept = told(&machine, &pod("500m"), &Share::default(), status["conditions"].clone());
        assert_eq!(kept["conditions"], status["conditions"], "a kubelet that has just begun does not know yet");
    }
}

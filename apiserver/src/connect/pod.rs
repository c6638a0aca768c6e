//! Which container of which pod is meant, and where its kubelet is.

use corten_api::pod::node_name;
use corten_api::{ApiError, Object};
use k8s_openapi::api::core::v1::{ContainerStatus, Node, Pod};

use super::kubelets::KubeletAddress;
use crate::request::Target;
use crate::resources::{Authorized, ReadAt, Resources, to};

/// Where kubelets serve if their Node does not say.
const KUBELET_PORT: u16 = 10250;
const DEFAULT_CONTAINER_ANNOTATION: &str = "kubectl.kubernetes.io/default-container";

/// The pod that a connection leads to.
pub async fn read_pod(resources: &Resources, may: &Authorized<to::Connect>) -> Result<Pod, ApiError> {
    let target = Target { subresource: String::new(), ..may.target().clone() };
    let json = resources.get(&Authorized::own(target), ReadAt::Newest).await?;
    serde_json::from_slice(&json).map_err(ApiError::internal)
}

/// The address of the pod's kubelet; an error for a pod that has no node yet.
pub async fn kubelet_of(resources: &Resources, pod: &Pod) -> Result<KubeletAddress, ApiError> {
    let Some(node) = node_name(pod) else {
        return Err(ApiError::bad_request(format!("pod {} does not have a host assigned", pod.name())));
    };
    let target = Target { version: "v1".into(), resource: "nodes".into(), name: node.to_owned(), ..Target::default() };
    let json = resources.get(&Authorized::own(target), ReadAt::Any).await?;
    address_of(&serde_json::from_slice(&json).map_err(ApiError::internal)?)
}

/// Of the node's kubelet.
pub fn address_of(node: &Node) -> Result<KubeletAddress, ApiError> {
    let status = node.status.as_ref();
    let addresses = || status.and_then(|s| s.addresses.as_ref()).into_iter().flatten();
    let found = ["InternalIP", "ExternalIP"].iter().find_map(|kind| addresses().find(|a| a.type_ == *kind));
    let Some(found) = found else {
        return Err(ApiError::internal(format!("node {} has told no address yet", node.name())));
    };
    let port = status.and_then(|s| s.daemon_endpoints.as_ref()?.kubelet_endpoint.as_ref()).map(|e| e.port);
    let port = port.and_then(|p| u16::try_from(p).ok()).filter(|p| *p != 0).unwrap_or(KUBELET_PORT);
    Ok(KubeletAddress { node: node.name().to_owned(), host: found.address.clone(), port })
}

/// The names of all containers, the main ones first.
fn names(pod: &Pod) -> (Vec<&str>, Vec<&str>) {
    let Some(spec) = &pod.spec else { return (Vec::new(), Vec::new()) };
    let main = spec.containers.iter().map(|c| c.name.as_str()).collect();
    let init = spec.init_containers.iter().flatten().map(|c| c.name.as_str());
    let ephemeral = spec.ephemeral_containers.iter().flatten().map(|c| c.name.as_str());
    (main, init.chain(ephemeral).collect())
}

/// The container asked for, or the one there is. For logs with none given and several there, upstream wants a choice.
pub fn choose_container(pod: &Pod, asked: Option<&str>) -> Result<String, ApiError> {
    let (main, other) = names(pod);
    let name = pod.name();
    if let Some(asked) = asked {
        if main.contains(&asked) || other.contains(&asked) {
            return Ok(asked.to_owned());
        }
        return Err(ApiError::bad_request(format!("container {asked} is not valid for pod {name}")));
    }
    match (main.as_slice(), pod.annotation(DEFAULT_CONTAINER_ANNOTATION)) {
        ([only], _) => Ok((*only).to_owned()),
        (list, Some(default)) if list.contains(&default) => Ok(default.to_owned()),
        (list, _) => {
            let mut text =
                format!("a container name must be specified for pod {name}, choose one of: [{}]", list.join(" "));
            if let Some(init) = pod.spec.as_ref().and_then(|s| s.init_containers.as_ref()).filter(|l| !l.is_empty()) {
                let init: Vec<&str> = init.iter().map(|c| c.name.as_str()).collect();
                text += &format!(" or one of the init containers: [{}]", init.join(" "));
            }
            Err(ApiError::bad_request(text))
        }
    }
}

/// The container's own status, wherever it is listed.
fn status_of<'a>(pod: &'a Pod, container: &str) -> Option<&'a ContainerStatus> {
    let status = pod.status.as_ref()?;
    let lists = [&status.container_statuses, &status.init_container_statuses, &status.ephemeral_container_statuses];
    lists.into_iter().flatten().flatten().find(|c| c.name == container)
}

/// Why a container has no logs yet, in upstream's words. The kubelet knows better when it has told nothing so far.
pub fn check_has_logs(pod: &Pod, container: &str, previous: bool) -> Result<(), ApiError> {
    let Some(status) = status_of(pod, container) else { return Ok(()) };
    let (name, last) = (pod.name(), status.last_state.as_ref().and_then(|s| s.terminated.as_ref()));
    if previous && last.is_none() {
        return Err(ApiError::bad_request(format!(
            "previous terminated container {container:?} in pod {name:?} not found"
        )));
    }
    let waiting = status.state.as_ref().and_then(|s| s.waiting.as_ref());
    if let Some(waiting) = waiting.filter(|_| !previous && last.is_none()) {
        let reason = waiting.reason.as_deref().unwrap_or_default();
        let why = match reason {
            "ErrImagePull" => "image can't be pulled",
            "ImagePullBackOff" => "trying and failing to pull image",
            other => other,
        };
        return Err(ApiError::bad_request(format!(
            "container {container:?} in pod {name:?} is waiting to start: {why}"
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn pod(json: serde_json::Value) -> Pod {
        serde_json::from_value(json).unwrap()
    }

    #[test]
    fn which_container() {
        let one = json!({"metadata": {"name": "p"}, "spec": {"containers": [{"name": "a"}], "initContainers": [{"name": "i"}]}});
        let two = json!({"metadata": {"name": "p"}, "spec": {"containers": [{"name": "a"}, {"name": "b"}], "initContainers": [{"name": "i"}]}});
        let mut hinted = two.clone();
        hinted["metadata"]["annotations"] = json!({DEFAULT_CONTAINER_ANNOTATION: "b"});
        let cases = [
            (&one, None, Ok("a")),
            (&one, Some("i"), Ok("i")),
            (&one, Some("x"), Err("container x is not valid for pod p")),
            (
                &two,
                None,
                Err(
                    "a container name must be specified for pod p, choose one of: [a b] or one of the init containers: [i]",
                ),
            ),
            (&two, Some("b"), Ok("b")),
            (&hinted, None, Ok("b")),
        ];
        for (json, asked, expected) in cases {
            let have = choose_container(&pod(json.clone()), asked);
            assert_eq!(have.as_deref().map_err(|e| e.message()), expected, "{asked:?} of {json}");
        }
    }

    #[test]
    fn why_there_are_no_logs() {
        let waiting = |reason: &str, last: serde_json::Value| {
            pod(
                json!({"metadata": {"name": "p"}, "spec": {"containers": [{"name": "a"}]}, "status": {"containerStatuses": [
                {"name": "a", "image": "i", "imageID": "", "ready": false, "restartCount": 0, "state": {"waiting": {"reason": reason}}, "lastState": last}]}}),
            )
        };
        let ended = json!({"terminated": {"exitCode": 1}});
        let cases = [
            (
                waiting("ContainerCreating", json!({})),
                false,
                Some(r#"container "a" in pod "p" is waiting to start: ContainerCreating"#),
            ),
            (
                waiting("ImagePullBackOff", json!({})),
                false,
                Some(r#"container "a" in pod "p" is waiting to start: trying and failing to pull image"#),
            ),
            (waiting("CrashLoopBackOff", ended.clone()), false, None),
            (waiting("CrashLoopBackOff", ended), true, None),
            (
                waiting("ContainerCreating", json!({})),
                true,
                Some(r#"previous terminated container "a" in pod "p" not found"#),
            ),
        ];
        for (pod, previous, expected) in cases {
            assert_eq!(check_has_logs(&pod, "a", previous).err().as_ref().map(ApiError::message), expected);
        }
    }

    #[test]
    fn where_a_kubelet_serves() {
        let node = |status: serde_json::Value| -> Node {
            serde_json::from_value(json!({"metadata": {"name": "n"}, "status": status})).unwrap()
        };
        let address = address_of(&node(json!({"addresses": [
            {"type": "Hostname", "address": "n"}, {"type": "InternalIP", "address": "10.0.0.2"}]})))
        .unwrap();
        assert_eq!((address.host.as_str(), address.port), ("10.0.0.2", 10250));
        let address = address_of(&node(json!({"addresses": [{"type": "InternalIP", "address": "10.0.0.2"}],
            "daemonEndpoints": {"kubeletEndpoint": {"Port": 1234}}})))
        .unwrap();
        assert_eq!(address.port, 1234);
        assert!(address_of(&node(json!({}))).is_err());
    }
}

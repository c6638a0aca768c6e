//! Certificates that a node may ask for: its own, and those of pods that run on it.

use corten_api::{ApiError, Object as _, pod};
use k8s_openapi::api::certificates::v1::{CertificateSigningRequest, PodCertificateRequest, PodCertificateRequestSpec};
use k8s_openapi::api::core::v1::{Node, Pod, ServiceAccount};

use crate::admission::{AdmissionRequest, Refusal};
use crate::authn::NODE_PREFIX;
use crate::registry::certificates::pkcs10::{self, RequestError};
use crate::request::Verb;

/// Who signs for kubelets: what they serve with, and what they are known to the API by.
const SIGNERS: [&str; 2] = ["kubernetes.io/kubelet-serving", "kubernetes.io/kube-apiserver-client-kubelet"];

/// What else such a request has to be, its signer looks at.
pub(super) fn on_request(request: &AdmissionRequest<'_>, node: &str) -> Result<(), String> {
    if request.verb != Verb::Create {
        return Ok(());
    }
    let Some(asked) = request.object::<CertificateSigningRequest>() else { return Err("unexpected type".into()) };
    if !SIGNERS.contains(&asked.spec.signer_name.as_str()) {
        return Ok(());
    }
    let own = format!("{NODE_PREFIX}{node}");
    match names_only(&asked.spec.request.0, &own) {
        Ok(true) => Ok(()),
        Ok(false) => Err(format!("can only create a node CSR with CN={own}")),
        Err(err) => Err(format!("unable to parse csr: {err}")),
    }
}

/// Whether the subject of the request has this common name and, as one signer takes the first and another the last, no other.
fn names_only(pem: &[u8], own: &str) -> Result<bool, RequestError> {
    let der = pkcs10::from_pem(pem)?;
    let request = pkcs10::parse(&der)?;
    Ok(pkcs10::common_names(&request)? == [own])
}

/// A pod's certificate goes to the node that it runs on.
pub(super) fn on_pod_request(request: &AdmissionRequest<'_>, node: &str) -> Result<(), Refusal> {
    if request.verb != Verb::Create {
        return Err(request.forbidden(format!("unexpected operation {}", request.verb.as_str().to_uppercase())));
    }
    if !request.is_plain() {
        return Err(request.forbidden(format!("unexpected subresource {}", request.target.subresource)));
    }
    let Some(asked) = request.object::<PodCertificateRequest>() else {
        return Err(request.forbidden("unexpected type"));
    };
    let spec = &asked.spec;
    if spec.node_name != node {
        return Err(request.forbidden(format!(
            "PodCertificateRequest.Spec.NodeName={:?}, which is not the requesting node {node:?}",
            spec.node_name
        )));
    }
    let of = format!("{}/{}", request.target.namespace, spec.pod_name);
    let own: Node = request.find("", "nodes", "", node).ok_or_else(|| missing("node", node, "nodes", node))?;
    if own.uid() != spec.node_uid {
        return Err(not_yet(format!(
            "PodCertificateRequest for pod {of:?} names node UID {:?}, inconsistent with the running node ({:?})",
            spec.node_uid,
            own.uid()
        )));
    }
    on_pods_request(request, spec, &of, node)
}

/// `of`: the pod's namespace and name.
fn on_pods_request(
    request: &AdmissionRequest<'_>,
    spec: &PodCertificateRequestSpec,
    of: &str,
    node: &str,
) -> Result<(), Refusal> {
    let forbidden = |why: String| Err(request.forbidden(why));
    let namespace = request.target.namespace.as_str();
    let running: Option<Pod> = request.find("", "pods", namespace, &spec.pod_name);
    let running = running.ok_or_else(|| missing("pod", of, "pods", &spec.pod_name))?;
    if running.uid() != spec.pod_uid {
        return Err(not_yet(format!(
            "PodCertificateRequest for pod {of:?} contains pod UID ({:?}) which differs from running pod {:?}",
            spec.pod_uid,
            running.uid()
        )));
    }
    if pod::node_name(&running) != Some(node) {
        return forbidden(format!("pod {of:?} is not running on node {node:?} named in the PodCertificateRequest"));
    }
    if pod::is_mirror(&running) {
        return forbidden(format!("pod {of:?} is a mirror pod"));
    }
    let account = running.spec.as_ref().and_then(|spec| spec.service_account_name.as_deref()).unwrap_or_default();
    if spec.service_account_name != account {
        return forbidden(format!(
            "PodCertificateRequest for pod {of:?} contains serviceAccountName ({:?}) that differs from running pod \
             ({account:?})",
            spec.service_account_name
        ));
    }
    let live: Option<ServiceAccount> = request.find("", "serviceaccounts", namespace, account);
    let key = format!("{namespace}/{account}");
    let live = live.ok_or_else(|| missing("service account", &key, "serviceaccounts", account))?;
    if live.uid() != spec.service_account_uid {
        return Err(not_yet(format!(
            "PodCertificateRequest for pod {of:?} names service account UID {:?}, which differs from the running service \
             account ({:?})",
            spec.service_account_uid,
            live.uid()
        )));
    }
    if !has_signer(&running, &spec.signer_name) {
        let signer = &spec.signer_name;
        return forbidden(format!("pod {of:?} has no podCertificate volume source with signerName {signer:?}"));
    }
    Ok(())
}

/// Whether the pod asks for certificates of this signer in its volumes.
fn has_signer(running: &Pod, signer: &str) -> bool {
    let volumes = running.spec.iter().flat_map(|spec| spec.volumes.iter().flatten());
    let sources = volumes.flat_map(|volume| volume.projected.iter().flat_map(|all| all.sources.iter().flatten()));
    sources.filter_map(|source| source.pod_certificate.as_ref()).any(|wanted| wanted.signer_name == signer)
}

/// What this server may not have seen yet is no refusal for good: the kubelet asks again.
fn not_yet(why: String) -> Refusal {
    Refusal::Final(ApiError::internal(why))
}

fn missing(what: &str, key: &str, plural: &str, name: &str) -> Refusal {
    let why =
        format!("while retrieving {what} {key:?} named in the PodCertificateRequest: {plural} {name:?} not found");
    not_yet(why)
}

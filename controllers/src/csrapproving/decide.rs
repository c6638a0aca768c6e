//! Which permission approves a request for a certificate without anybody's looking at it.
//!
//! <https://kubernetes.io/docs/reference/access-authn-authz/kubelet-tls-bootstrapping/#approval>

use corten_api::k8s_openapi::api::authorization::v1::{
    ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec,
};
use corten_api::k8s_openapi::api::certificates::v1::{CertificateSigningRequest, CertificateSigningRequestCondition};

use crate::certificates::request::{RequestError, parse};
use crate::certificates::{self, APPROVED, DENIED, KUBELET_CLIENT, kubelet};

/// A permission of who asks, by which the request is approved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Permission {
    pub subresource: &'static str,
    pub message: &'static str,
}

/// A node renews its own certificate.
pub const SELF_NODE_CLIENT: Permission = Permission {
    subresource: "selfnodeclient",
    message: "Auto approving self kubelet client certificate after SubjectAccessReview.",
};
/// Somebody, with a bootstrap token mostly, asks for a node's first.
pub const NODE_CLIENT: Permission = Permission {
    subresource: "nodeclient",
    message: "Auto approving kubelet client certificate after SubjectAccessReview.",
};

/// The permissions that would do, in the order in which they are tried. None: it is not for us to approve.
pub fn permissions(csr: &CertificateSigningRequest) -> Result<Vec<Permission>, RequestError> {
    let is_decided = [APPROVED, DENIED].iter().any(|kind| certificates::condition(csr, kind).is_some());
    if is_decided || certificates::certificate(csr).is_some() || csr.spec.signer_name != KUBELET_CLIENT {
        return Ok(Vec::new());
    }
    let request = parse(&csr.spec.request.0)?;
    if kubelet::check_client(&request, certificates::usages(csr)).is_err() {
        return Ok(Vec::new());
    }
    let is_own = request.common_names.first().map(String::as_str) == csr.spec.username.as_deref();
    Ok(if is_own { vec![SELF_NODE_CLIENT, NODE_CLIENT] } else { vec![NODE_CLIENT] })
}

/// The question whether who asks for the certificate has the permission.
pub fn review(csr: &CertificateSigningRequest, permission: Permission) -> SubjectAccessReview {
    let attributes = ResourceAttributes {
        group: Some("certificates.k8s.io".into()),
        resource: Some("certificatesigningrequests".into()),
        verb: Some("create".into()),
        subresource: Some(permission.subresource.into()),
        version: Some("*".into()),
        ..ResourceAttributes::default()
    };
    SubjectAccessReview {
        spec: SubjectAccessReviewSpec {
            user: csr.spec.username.clone(),
            uid: csr.spec.uid.clone(),
            groups: csr.spec.groups.clone(),
            extra: csr.spec.extra.clone(),
            resource_attributes: Some(attributes),
            ..SubjectAccessReviewSpec::default()
        },
        ..SubjectAccessReview::default()
    }
}

/// The request, approved.
pub fn approved(csr: &CertificateSigningRequest, permission: Permission) -> CertificateSigningRequest {
    let mut csr = csr.clone();
    csr.status.get_or_insert_default().conditions.get_or_insert_default().push(CertificateSigningRequestCondition {
        type_: APPROVED.into(),
        status: "True".into(),
        reason: Some("AutoApproved".into()),
        message: Some(permission.message.into()),
        ..CertificateSigningRequestCondition::default()
    });
    csr
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::certificates::testing::{Wanted, csr, pem};
    use crate::certificates::{CLIENT_AUTH, DIGITAL_SIGNATURE, KUBE_APISERVER_CLIENT, KUBELET_SERVING};

    #[test]
    fn approvals_table() {
        let node = Wanted { name: "system:node:n1", groups: &["system:nodes"], ..Wanted::default() };
        let (node, jane) = (pem(&node), pem(&Wanted { name: "jane", ..Wanted::default() }));
        let usages = [CLIENT_AUTH, DIGITAL_SIGNATURE];
        let of = |signer, asker, conditions: &[&str], pem: &str| csr(signer, asker, &usages, conditions, pem);
        let both = &["selfnodeclient", "nodeclient"][..];
        let mut signed = of(KUBELET_CLIENT, "system:node:n1", &[], &node);
        signed.status.as_mut().unwrap().certificate = Some(corten_api::k8s_openapi::ByteString(b"x".to_vec()));
        let cases = [
            ("a node's own", of(KUBELET_CLIENT, "system:node:n1", &[], &node), both),
            ("its first", of(KUBELET_CLIENT, "system:bootstrap:abcdef", &[], &node), &["nodeclient"]),
            ("nobody's", of(KUBELET_CLIENT, "", &[], &node), &["nodeclient"]),
            ("no node's", of(KUBELET_CLIENT, "jane", &[], &jane), &[]),
            ("of another signer", of(KUBELET_SERVING, "system:node:n1", &[], &node), &[]),
            ("a user's", of(KUBE_APISERVER_CLIENT, "jane", &[], &jane), &[]),
            ("approved already", of(KUBELET_CLIENT, "system:node:n1", &[APPROVED], &node), &[]),
            ("denied", of(KUBELET_CLIENT, "system:node:n1", &[DENIED], &node), &[]),
            ("signed", signed, &[]),
            ("other usages", csr(KUBELET_CLIENT, "system:node:n1", &["any"], &[], &node), &[]),
        ];
        for (why, csr, expected) in cases {
            let got: Vec<_> = permissions(&csr).unwrap().into_iter().map(|p| p.subresource).collect();
            assert_eq!(got, expected, "{why}");
        }
        assert_eq!(permissions(&of(KUBELET_CLIENT, "jane", &[], "x")), Err(RequestError::NotARequest));
    }

    #[test]
    fn it_is_asked_whether_who_asked_may_and_not_whether_we_may() {
        let mut csr = csr(KUBELET_CLIENT, "system:bootstrap:abcdef", &[], &[], "");
        csr.spec.groups = Some(vec!["system:bootstrappers".into()]);
        let spec = review(&csr, NODE_CLIENT).spec;
        assert_eq!((spec.user, spec.groups), (csr.spec.username.clone(), csr.spec.groups.clone()));
        let attributes = spec.resource_attributes.unwrap();
        assert_eq!(
            (attributes.verb.as_deref(), attributes.subresource.as_deref()),
            (Some("create"), Some("nodeclient"))
        );
        let approved = approved(&csr, NODE_CLIENT);
        let condition = certificates::condition(&approved, APPROVED).unwrap();
        assert_eq!((condition.status.as_str(), condition.reason.as_deref()), ("True", Some("AutoApproved")));
    }
}

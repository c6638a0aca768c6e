//! The signers that Kubernetes has of its own, and that a cluster's authority may be.

use corten_api::k8s_openapi::api::certificates::v1::CertificateSigningRequest;

use super::{KUBE_APISERVER_CLIENT, KUBELET_CLIENT, KUBELET_SERVING, LEGACY_UNKNOWN};

/// Signers of Kubernetes' own that this program may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Signer {
    KubeletServing,
    KubeletClient,
    KubeApiserverClient,
    LegacyUnknown,
}

impl Signer {
    pub const ALL: [Self; 4] =
        [Self::KubeletServing, Self::KubeletClient, Self::KubeApiserverClient, Self::LegacyUnknown];

    pub fn name(self) -> &'static str {
        match self {
            Self::KubeletServing => KUBELET_SERVING,
            Self::KubeletClient => KUBELET_CLIENT,
            Self::KubeApiserverClient => KUBE_APISERVER_CLIENT,
            Self::LegacyUnknown => LEGACY_UNKNOWN,
        }
    }
    pub fn of(csr: &CertificateSigningRequest) -> Option<Self> {
        Self::ALL.into_iter().find(|signer| signer.name() == csr.spec.signer_name)
    }
}

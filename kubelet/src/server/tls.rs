//! The server's certificate, and who may call: holders of a certificate of the client CA that may act for the cluster.

use std::path::Path;
use std::sync::Arc;

use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;

use super::{Server, ServerError};

/// What `cortenadm` names the apiserver in its certificate for kubelets.
const APISERVER: &str = "kube-apiserver-kubelet-client";
const MASTERS: &str = "system:masters";

/// Read anew for every connection, so that a renewed certificate needs no restart.
pub(super) fn config(server: &Server) -> Result<Arc<rustls::ServerConfig>, ServerError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(&server.client_ca_file)? {
        roots.add(certificate)?;
    }
    let verifier = WebPkiClientVerifier::builder(Arc::new(roots)).build()?;
    let key = read(&server.key_file)?;
    let key = PrivateKeyDer::from_pem_slice(&key)
        .map_err(|_| ServerError::Pem { path: server.key_file.clone(), what: "private key" })?;
    let chain = certificates(&server.cert_file)?;
    let mut config =
        rustls::ServerConfig::builder().with_client_cert_verifier(verifier).with_single_cert(chain, key)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

fn read(path: &Path) -> Result<Vec<u8>, ServerError> {
    std::fs::read(path).map_err(|source| ServerError::Read { path: path.into(), source })
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, ServerError> {
    let bad = || ServerError::Pem { path: path.into(), what: "certificate" };
    let pem = read(path)?;
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    all.ok().filter(|all| !all.is_empty()).ok_or_else(bad)
}

/// A certificate that is signed by the CA but belongs to a node or a user opens nothing here.
pub(super) fn may_call(certificate: &CertificateDer<'_>) -> bool {
    let Ok((_, parsed)) = x509_parser::parse_x509_certificate(certificate) else { return false };
    let subject = parsed.subject();
    let is = |attribute: &x509_parser::x509::AttributeTypeAndValue<'_>, wanted: &str| attribute.as_str() == Ok(wanted);
    subject.iter_common_name().any(|cn| is(cn, APISERVER)) || subject.iter_organization().any(|o| is(o, MASTERS))
}

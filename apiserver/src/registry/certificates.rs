//! The kinds of certificates.k8s.io: requests for certificates, and whom a cluster trusts.

pub mod certificatesigningrequest;
pub mod clustertrustbundle;
pub mod podcertificaterequest;

pub mod pem;
pub mod pkcs10;
pub mod signer;

use x509_parser::prelude::{FromDer, X509Certificate};

/// The label of a certificate's PEM block.
pub const CERTIFICATE: &str = "CERTIFICATE";

/// A certificate, if the bytes are one and nothing more.
pub fn certificate(der: &[u8]) -> Option<X509Certificate<'_>> {
    let (rest, certificate) = X509Certificate::from_der(der).ok()?;
    rest.is_empty().then_some(certificate)
}

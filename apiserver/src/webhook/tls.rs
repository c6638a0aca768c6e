//! Whose certificates count as a webhook's, or as another server's that answers for group versions.

use std::sync::{Arc, LazyLock};

use corten_api::error::with_causes;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};

use crate::registry::webhook_client::NO_CERTIFICATE;

/// Where systems keep the certificates that everybody trusts: the first that is there counts.
const SYSTEM_ROOTS: &[&str] = &[
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/pki/tls/cacert.pem",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// Read once: as with every other program, a machine's new roots count after a restart.
static SYSTEM: LazyLock<Vec<CertificateDer<'static>>> = LazyLock::new(|| {
    let found = SYSTEM_ROOTS.iter().find_map(|path| std::fs::read(path).ok());
    let all = found.map(|pem| certificates(&pem)).unwrap_or_default();
    if all.is_empty() {
        tracing::warn!("no certificates of the system's: webhooks without a caBundle cannot be asked");
    }
    all
});

fn certificates(pem: &[u8]) -> Vec<CertificateDer<'static>> {
    CertificateDer::pem_slice_iter(pem).filter_map(Result::ok).collect()
}

/// `ca_bundle`: PEM; empty: whom the system trusts. `protocols`: best first.
pub(super) fn config(ca_bundle: &[u8], protocols: &[&[u8]]) -> Result<ClientConfig, String> {
    let builder = ClientConfig::builder().dangerous().with_custom_certificate_verifier(verifier(ca_bundle)?);
    let mut config = builder.with_no_client_auth();
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
    Ok(config)
}

/// Who takes the certificates of these authorities, and none else. `ca_bundle`: as `config` has it.
pub(crate) fn verifier(ca_bundle: &[u8]) -> Result<Arc<dyn ServerCertVerifier>, String> {
    let trusted = if ca_bundle.is_empty() { SYSTEM.clone() } else { certificates(ca_bundle) };
    let mut roots = RootCertStore::empty();
    let (good, _) = roots.add_parsable_certificates(trusted.iter().cloned());
    if good == 0 {
        return Err(NO_CERTIFICATE.into());
    }
    let verifier = WebPkiServerVerifier::builder(Arc::new(roots)).build().map_err(|err| with_causes(&err))?;
    Ok(Arc::new(Bundle { verifier, trusted }))
}

/// What the bundle's authorities have signed, and what stands in it itself: many webhooks show one certificate that is its own
/// authority, which no chain of certificates may end with.
#[derive(Debug)]
struct Bundle {
    verifier: Arc<WebPkiServerVerifier>,
    trusted: Vec<CertificateDer<'static>>,
}

impl Bundle {
    fn is_named_itself(&self, shown: &CertificateDer<'_>, name: &ServerName<'_>, now: UnixTime) -> Result<bool, Error> {
        if !self.trusted.iter().any(|one| one == shown) {
            return Ok(false);
        }
        let Ok((_, parsed)) = x509_parser::parse_x509_certificate(shown) else { return Ok(false) };
        let now =
            i64::try_from(now.as_secs()).ok().and_then(|secs| x509_parser::time::ASN1Time::from_timestamp(secs).ok());
        if !now.is_some_and(|now| parsed.validity().is_valid_at(now)) {
            return Err(Error::InvalidCertificate(CertificateError::Expired));
        }
        rustls::client::verify_server_name(&ParsedCertificate::try_from(shown)?, name)?;
        Ok(true)
    }
}

impl ServerCertVerifier for Bundle {
    fn verify_server_cert(
        &self,
        shown: &CertificateDer<'_>,
        between: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        match self.verifier.verify_server_cert(shown, between, name, ocsp, now) {
            // What rustls has no word for: an authority that shows itself.
            Err(Error::InvalidCertificate(err @ CertificateError::Other(_))) => {
                if self.is_named_itself(shown, name, now)? {
                    return Ok(ServerCertVerified::assertion());
                }
                Err(Error::InvalidCertificate(err))
            }
            verified => verified,
        }
    }
    fn verify_tls12_signature(
        &self,
        message: &[u8],
        shown: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verifier.verify_tls12_signature(message, shown, signed)
    }
    fn verify_tls13_signature(
        &self,
        message: &[u8],
        shown: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verifier.verify_tls13_signature(message, shown, signed)
    }
    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.verifier.supported_verify_schemes()
    }
}

/// Why a handshake has failed, in Go's words where it has some.
pub(crate) fn told(err: &std::io::Error) -> String {
    let Some(err) = err.get_ref().and_then(|err| err.downcast_ref::<Error>()) else {
        return if err.kind() == std::io::ErrorKind::UnexpectedEof { "EOF".into() } else { with_causes(err) };
    };
    let why = match err {
        // An authority of the same name has another key.
        Error::InvalidCertificate(CertificateError::UnknownIssuer | CertificateError::BadSignature) => {
            "certificate signed by unknown authority".into()
        }
        Error::InvalidCertificate(
            CertificateError::Expired
            | CertificateError::ExpiredContext { .. }
            | CertificateError::NotValidYet
            | CertificateError::NotValidYetContext { .. },
        ) => "certificate has expired or is not yet valid".into(),
        Error::InvalidCertificate(CertificateError::NotValidForNameContext { expected, presented }) => {
            let names: Vec<&str> = presented.iter().filter_map(|name| name.split('"').nth(1)).collect();
            format!("certificate is valid for {}, not {}", names.join(", "), expected.to_str())
        }
        Error::InvalidCertificate(other) => other.to_string(),
        other => return format!("tls: {}", with_causes(other)),
    };
    format!("tls: failed to verify certificate: x509: {why}")
}

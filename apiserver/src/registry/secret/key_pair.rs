//! Whether the certificate and the key of a TLS secret belong together, in the words of Go's `tls.X509KeyPair`.

use rustls::crypto::ring::sign::any_supported_type;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs1KeyDer, PrivatePkcs8KeyDer, PrivateSec1KeyDer};
use rustls::sign::SigningKey;
use x509_parser::oid_registry::OID_NIST_EC_P521;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::registry::certificates::pem::{self, Block};

const CERTIFICATE: &str = "CERTIFICATE";
const PRIVATE_KEY: &str = "PRIVATE KEY";

/// What is wrong with the pair; `None`: nothing that can be told. A P-521 key is taken as it is: it cannot be read here.
pub(super) fn problem(cert: &[u8], key: &[u8]) -> Option<String> {
    let chain = match certificates(cert) {
        Ok(chain) => chain,
        Err(problem) => return Some(problem),
    };
    let key = match private_key(key) {
        Ok(key) => key,
        Err(problem) => return Some(problem),
    };
    let Ok((_, leaf)) = X509Certificate::from_der(&chain) else {
        return Some("x509: malformed certificate".into());
    };
    let algorithm = &leaf.subject_pki.algorithm;
    if algorithm.parameters.as_ref().and_then(|p| p.as_oid().ok()).is_some_and(|curve| curve == OID_NIST_EC_P521) {
        return None;
    }
    let Some(signer) = signer(&key) else { return Some("tls: failed to parse private key".into()) };
    let public = signer.public_key()?;
    let (public, of_leaf) = (public.as_ref(), leaf.subject_pki.raw);
    if public == of_leaf {
        return None;
    }
    let same_type = x509_parser::x509::SubjectPublicKeyInfo::from_der(public)
        .is_ok_and(|(_, public)| public.algorithm.algorithm == algorithm.algorithm);
    Some(if same_type {
        "tls: private key does not match public key".into()
    } else {
        "tls: private key type does not match public key type".into()
    })
}

/// The leaf's DER.
fn certificates(text: &[u8]) -> Result<CertificateDer<'static>, String> {
    let blocks = pem::blocks(text).unwrap_or_default();
    let skipped: Vec<&str> = blocks.iter().map(|block| block.label.as_str()).filter(|of| *of != CERTIFICATE).collect();
    if let Some(leaf) = blocks.iter().find(|block| block.label == CERTIFICATE) {
        return Ok(CertificateDer::from(leaf.contents.clone()));
    }
    Err(match skipped[..] {
        [] => "tls: failed to find any PEM data in certificate input".into(),
        [one] if one.ends_with(PRIVATE_KEY) => {
            "tls: failed to find certificate PEM data in certificate input, but did \
             find a private key; PEM inputs may have been switched"
                .into()
        }
        _ => format!(
            "tls: failed to find \"CERTIFICATE\" PEM block in certificate input after skipping PEM blocks of the \
             following types: [{}]",
            skipped.join(" ")
        ),
    })
}

fn private_key(text: &[u8]) -> Result<Vec<u8>, String> {
    let blocks = pem::blocks(text).unwrap_or_default();
    let is_key = |block: &&Block| block.label == PRIVATE_KEY || block.label.ends_with(" PRIVATE KEY");
    if let Some(key) = blocks.iter().find(is_key) {
        return Ok(key.contents.clone());
    }
    let skipped: Vec<&str> = blocks.iter().map(|block| block.label.as_str()).collect();
    Err(match skipped[..] {
        [] => "tls: failed to find any PEM data in key input".into(),
        [CERTIFICATE] => "tls: found a certificate rather than a key in the PEM for the private key".into(),
        _ => format!(
            "tls: failed to find PEM block with type ending in \"PRIVATE KEY\" in key input after skipping PEM blocks of \
             the following types: [{}]",
            skipped.join(" ")
        ),
    })
}

/// The key in whichever of the three encodings it is: its label is not believed, as Go does not.
fn signer(key: &[u8]) -> Option<std::sync::Arc<dyn SigningKey>> {
    let encodings: [PrivateKeyDer<'_>; 3] = [
        PrivatePkcs1KeyDer::from(key).into(),
        PrivatePkcs8KeyDer::from(key).into(),
        PrivateSec1KeyDer::from(key).into(),
    ];
    encodings.iter().find_map(|key| any_supported_type(key).ok())
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair, PKCS_ECDSA_P384_SHA384, PKCS_ED25519};

    use super::*;

    fn pair() -> (String, KeyPair) {
        let key = KeyPair::generate().unwrap();
        let cert = CertificateParams::new(vec!["a.example".into()]).unwrap().self_signed(&key).unwrap();
        (cert.pem(), key)
    }

    #[test]
    fn a_pair_that_does_not_fit_is_told_of_in_go_s_words() {
        let (cert, key) = pair();
        let other = KeyPair::generate().unwrap().serialize_pem();
        let curve = KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384).unwrap().serialize_pem();
        let kind = KeyPair::generate_for(&PKCS_ED25519).unwrap().serialize_pem();
        let key = key.serialize_pem();
        let broken = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
        let both = format!("{key}{cert}");
        let cases = [
            ("they fit", cert.as_str(), key.as_str(), ""),
            ("what is no certificate is skipped", &both, &both, ""),
            ("another's key", &cert, &other, "tls: private key does not match public key"),
            ("another curve", &cert, &curve, "tls: private key does not match public key"),
            ("another sort", &cert, &kind, "tls: private key type does not match public key type"),
            ("no certificate", "", &key, "tls: failed to find any PEM data in certificate input"),
            ("no key", &cert, "", "tls: failed to find any PEM data in key input"),
            (
                "switched",
                &key,
                &cert,
                "tls: failed to find certificate PEM data in certificate input, but did find a private key; PEM inputs may \
                 have been switched",
            ),
            ("twice", &cert, &cert, "tls: found a certificate rather than a key in the PEM for the private key"),
            ("no such key", &cert, broken, "tls: failed to parse private key"),
        ];
        for (why, cert, key, expected) in cases {
            assert_eq!(problem(cert.as_bytes(), key.as_bytes()).unwrap_or_default(), expected, "{why}");
        }
    }
}

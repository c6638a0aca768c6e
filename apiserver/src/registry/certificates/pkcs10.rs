//! Requests for certificates in PKCS#10: read, and shown to come from who has the key.
//!
//! <https://www.rfc-editor.org/rfc/rfc2986>

use x509_parser::error::X509Error;
use x509_parser::prelude::{FromDer, X509CertificationRequest};
use x509_parser::public_key::PublicKey;

use super::pem;

const LABEL: &str = "CERTIFICATE REQUEST";

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    #[error("PEM block type must be CERTIFICATE REQUEST")]
    NotARequest,
    #[error(transparent)]
    NotPem(#[from] pem::NotPem),
    #[error("x509: malformed certificate request: {0}")]
    Malformed(String),
    /// Signed in a way that cannot be checked here: a P-521 key, a digest that is not its curve's.
    #[error("x509: cannot verify signature: algorithm unimplemented")]
    UnknownAlgorithm,
    #[error("{}", unsigned(.0))]
    NotSigned(Key),
}

/// The kinds of keys that upstream has words of its own for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Key {
    Rsa,
    Ecdsa,
    Other,
}

fn unsigned(key: &Key) -> &'static str {
    match key {
        Key::Rsa => "crypto/rsa: verification error",
        Key::Ecdsa => "x509: ECDSA verification failure",
        Key::Other => "x509: Ed25519 verification failure",
    }
}

/// The request in the first PEM block of a text, as DER. Other blocks may follow, which count for nothing.
pub fn from_pem(text: &[u8]) -> Result<Vec<u8>, RequestError> {
    let first = pem::blocks(text)?.into_iter().next().filter(|block| block.label == LABEL);
    first.map(|block| block.contents).ok_or(RequestError::NotARequest)
}

/// Reads DER in which nothing else may stand.
pub fn parse(der: &[u8]) -> Result<X509CertificationRequest<'_>, RequestError> {
    let malformed = |why: String| RequestError::Malformed(why);
    let (rest, request) =
        X509CertificationRequest::from_der(der).map_err(|err| malformed(X509Error::from(err).to_string()))?;
    if rest.is_empty() { Ok(request) } else { Err(malformed("trailing data".into())) }
}

/// Whether the request is signed with the key that it asks a certificate for.
pub fn check_signature(request: &X509CertificationRequest<'_>) -> Result<(), RequestError> {
    match request.verify_signature() {
        Ok(()) => Ok(()),
        Err(X509Error::SignatureUnsupportedAlgorithm) => Err(RequestError::UnknownAlgorithm),
        Err(_) => Err(RequestError::NotSigned(match request.certification_request_info.subject_pki.parsed() {
            Ok(PublicKey::RSA(_)) => Key::Rsa,
            Ok(PublicKey::EC(_)) => Key::Ecdsa,
            _ => Key::Other,
        })),
    }
}

/// The organizations of the subject: the groups of whom the certificate is for.
pub fn organizations<'a>(request: &'a X509CertificationRequest<'_>) -> Result<Vec<&'a str>, RequestError> {
    let subject = &request.certification_request_info.subject;
    let text = |err: X509Error| RequestError::Malformed(err.to_string());
    subject.iter_organization().map(|organization| organization.as_str().map_err(text)).collect()
}

/// The common names of the subject, in their order: mostly one, whom the certificate is for.
pub fn common_names<'a>(request: &'a X509CertificationRequest<'_>) -> Result<Vec<&'a str>, RequestError> {
    let subject = &request.certification_request_info.subject;
    let text = |err: X509Error| RequestError::Malformed(err.to_string());
    subject.iter_common_name().map(|name| name.as_str().map_err(text)).collect()
}

/// Requests for tests.
#[cfg(test)]
pub mod testing {
    use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair, SignatureAlgorithm};

    pub fn key(algorithm: &'static SignatureAlgorithm) -> KeyPair {
        KeyPair::generate_for(algorithm).unwrap()
    }
    /// A request of this subject, as DER.
    pub fn request(common_name: &str, organizations: &[&str], key: &KeyPair) -> Vec<u8> {
        request_of(&[common_name], organizations, key)
    }
    /// A request of a subject with up to two common names.
    pub fn request_of(common_names: &[&str], organizations: &[&str], key: &KeyPair) -> Vec<u8> {
        let mut params = CertificateParams::default();
        let mut name = DistinguishedName::new();
        // The library keeps one value of a type: a second needs another name for the same type.
        let types = [DnType::CommonName, DnType::CustomDnType(vec![2, 5, 4, 3])];
        for (kind, common_name) in types.into_iter().zip(common_names) {
            name.push(kind, *common_name);
        }
        let types = [DnType::OrganizationName, DnType::CustomDnType(vec![2, 5, 4, 10])];
        for (kind, organization) in types.into_iter().zip(organizations) {
            name.push(kind, *organization);
        }
        params.distinguished_name = name;
        params.serialize_request(key).unwrap().der().to_vec()
    }
    pub fn as_pem(label: &str, der: &[u8]) -> String {
        use base64::Engine;
        let base64 = base64::engine::general_purpose::STANDARD.encode(der);
        format!("-----BEGIN {label}-----\n{base64}\n-----END {label}-----\n")
    }
}

#[cfg(test)]
mod tests {
    use super::testing::{as_pem, key, request};
    use super::*;

    fn checked(der: &[u8]) -> String {
        parse(der).and_then(|request| check_signature(&request)).map_or_else(|err| err.to_string(), |()| "good".into())
    }

    #[test]
    fn a_request_shows_that_its_author_has_the_key() {
        for algorithm in [&rcgen::PKCS_ECDSA_P256_SHA256, &rcgen::PKCS_ECDSA_P384_SHA384, &rcgen::PKCS_ED25519] {
            assert_eq!(checked(&request("jane", &["dev"], &key(algorithm))), "good", "{algorithm:?}");
        }
        for (algorithm, expected) in [
            (&rcgen::PKCS_ECDSA_P256_SHA256, "x509: ECDSA verification failure"),
            (&rcgen::PKCS_ED25519, "x509: Ed25519 verification failure"),
        ] {
            // Another's name under the same signature.
            let mut forged = request("jane", &["dev"], &key(algorithm));
            let at = forged.windows(4).position(|bytes| bytes == b"jane").unwrap();
            forged[at..at + 4].copy_from_slice(b"root");
            assert_eq!(checked(&forged), expected);
        }
    }

    #[test]
    fn what_is_no_request_is_said_so() {
        let good = request("jane", &["dev", "ops"], &key(&rcgen::PKCS_ED25519));
        assert_eq!(organizations(&parse(&good).unwrap()).unwrap(), ["dev", "ops"]);
        let with_more = [&*good, b"x"].concat();
        assert_eq!(checked(&with_more), "x509: malformed certificate request: trailing data");
        assert!(checked(b"x").starts_with("x509: malformed certificate request: "));
        assert_eq!(from_pem(as_pem("CERTIFICATE REQUEST", &good).as_bytes()).unwrap(), good);
        for text in ["", "x", &as_pem("NEW CERTIFICATE REQUEST", &good), &as_pem("CERTIFICATE", &good)] {
            assert_eq!(from_pem(text.as_bytes()), Err(RequestError::NotARequest), "{text}");
        }
    }
    /// Go's decoder forgives bits that are left over, and so would sign what stands first.
    #[test]
    fn a_request_that_others_read_does_not_hide_behind_one_that_is_looked_at() {
        let of = |organization| request("jane", &[organization], &key(&rcgen::PKCS_ED25519));
        let looked_at = as_pem("CERTIFICATE REQUEST", &of("dev"));
        // Of a length that leaves bits over.
        let hidden = ["system:masters", "system:masters,", "system:masters,,"].map(of);
        let hidden = hidden.iter().map(|der| as_pem("CERTIFICATE REQUEST", der)).find(|pem| pem.contains('=')).unwrap();
        let at = hidden.find('=').unwrap() - 1;
        let next = char::from(hidden.as_bytes()[at] + 1);
        let forgiven = format!("{}{next}{}", &hidden[..at], &hidden[at + 1..]);
        assert_eq!(from_pem(format!("{forgiven}{looked_at}").as_bytes()), Err(pem::NotPem { line: 3 }.into()));
        let first = from_pem(format!("{looked_at}{hidden}").as_bytes()).unwrap();
        assert_eq!(organizations(&parse(&first).unwrap()).unwrap(), ["dev"]);
    }
}

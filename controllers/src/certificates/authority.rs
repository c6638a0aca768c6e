//! An authority: its certificate and key, as they are in files.

use std::io;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use rcgen::{KeyPair, PublicKeyData};
use x509_parser::extensions::ParsedExtension;
use x509_parser::pem::parse_x509_pem;

/// The largest file that is read: a chain of a few certificates has some kilobytes.
const FILE_MAX_BYTES: u64 = 1 << 20;

/// Algorithms by which keys sign, as a certificate names them.
const ECDSA_SHA256: &[u8] = &[0x30, 10, 6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 2];
const ECDSA_SHA384: &[u8] = &[0x30, 10, 6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 3];
const ED25519: &[u8] = &[0x30, 5, 6, 3, 0x2b, 0x65, 0x70];
const RSA_SHA256: &[u8] = &[0x30, 13, 6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 11, 5, 0];

#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    #[error("cannot read {}: check the path and that we may read it", path.display())]
    File {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("expected one certificate in PEM")]
    Certificate,
    #[error("is not a private key in PKCS#8 (BEGIN PRIVATE KEY): convert it with `openssl pkcs8 -topk8 -nocrypt`")]
    Key(#[source] rcgen::Error),
    #[error("the key is of a kind that cannot sign certificates: use RSA, ECDSA on P-256 or P-384, or Ed25519")]
    Kind,
    #[error("the key is not that of the certificate")]
    OtherKey,
}

pub struct Authority {
    /// In DER, as its certificates name their issuer.
    pub subject: Vec<u8>,
    /// By which others tell its key from older ones.
    pub key_id: Option<Vec<u8>>,
    pub until: Timestamp,
    pub key: KeyPair,
    /// By which the key signs, in DER.
    pub algorithm: &'static [u8],
}

/// Where an authority's certificate and key are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Files {
    pub cert: PathBuf,
    pub key: PathBuf,
}

impl Files {
    /// Reads both. They are read whenever something is to be signed, so that an authority is renewed without a restart.
    pub fn read(&self) -> Result<Authority, AuthorityError> {
        Authority::read(&text(&self.cert)?, &text(&self.key)?)
    }
}

fn text(path: &Path) -> Result<String, AuthorityError> {
    use io::Read;
    let read = || {
        let mut text = String::new();
        std::fs::File::open(path)?.take(FILE_MAX_BYTES).read_to_string(&mut text)?;
        Ok(text)
    };
    read().map_err(|source| AuthorityError::File { path: path.to_owned(), source })
}

impl Authority {
    pub fn read(cert: &str, key: &str) -> Result<Self, AuthorityError> {
        let (rest, block) = parse_x509_pem(cert.as_bytes()).map_err(|_| AuthorityError::Certificate)?;
        if block.label != "CERTIFICATE" || !rest.trim_ascii().is_empty() {
            return Err(AuthorityError::Certificate);
        }
        let cert = block.parse_x509().map_err(|_| AuthorityError::Certificate)?;
        let key = KeyPair::from_pem(key).map_err(AuthorityError::Key)?;
        if key.der_bytes() != &*cert.public_key().subject_public_key.data {
            return Err(AuthorityError::OtherKey);
        }
        let key_id = cert.extensions().iter().find_map(|extension| match extension.parsed_extension() {
            ParsedExtension::SubjectKeyIdentifier(id) => Some(id.0.to_vec()),
            _ => None,
        });
        let until = cert.validity().not_after.timestamp();
        Ok(Self {
            subject: cert.subject().as_raw().to_vec(),
            key_id,
            until: Timestamp::from_second(until).map_err(|_| AuthorityError::Certificate)?,
            algorithm: algorithm(&key).ok_or(AuthorityError::Kind)?,
            key,
        })
    }
}

fn algorithm(key: &KeyPair) -> Option<&'static [u8]> {
    let known = [
        (&rcgen::PKCS_ECDSA_P256_SHA256, ECDSA_SHA256),
        (&rcgen::PKCS_ECDSA_P384_SHA384, ECDSA_SHA384),
        (&rcgen::PKCS_ED25519, ED25519),
        (&rcgen::PKCS_RSA_SHA256, RSA_SHA256),
    ];
    known.into_iter().find(|(algorithm, _)| *algorithm == key.algorithm()).map(|(_, der)| der)
}

#[cfg(test)]
mod tests {
    use rcgen::CertificateParams;

    use super::*;

    #[test]
    fn what_cannot_sign_is_refused_with_what_to_do() {
        let (key, other) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
        let cert = CertificateParams::default().self_signed(&key).unwrap().pem();
        let (good, other) = (key.serialize_pem(), other.serialize_pem());
        assert!(Authority::read(&cert, &good).is_ok());
        for (why, cert, key, expected) in [
            ("no certificate", "", &good, "expected one certificate in PEM"),
            ("a chain", &format!("{cert}{cert}"), &good, "expected one certificate in PEM"),
            ("the key of another", &cert, &other, "the key is not that of the certificate"),
            (
                "no key",
                &cert,
                &cert,
                "is not a private key in PKCS#8 (BEGIN PRIVATE KEY): convert it with `openssl pkcs8 -topk8 -nocrypt`",
            ),
        ] {
            assert_eq!(Authority::read(cert, key).err().unwrap().to_string(), expected, "{why}");
        }
        let files = Files { cert: "/nowhere/ca.crt".into(), key: "/nowhere/ca.key".into() };
        let expected = "cannot read /nowhere/ca.crt: check the path and that we may read it";
        assert_eq!(files.read().err().unwrap().to_string(), expected);
    }
}

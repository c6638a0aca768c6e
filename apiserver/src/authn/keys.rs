//! The keys of service-account tokens, RSA (RS256) and ECDSA P-256 (ES256): PEM texts become keys, and keys become JSON
//! Web Keys. Pure.
//!
//! Private keys are read as openssl and our own `cortenadm` write them (PKCS#1, SEC 1, PKCS#8); public ones from a
//! SubjectPublicKeyInfo or a certificate. RFC 7517, RFC 7518.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::SystemRandom;
use ring::signature::{self, EcdsaKeyPair, KeyPair, RsaKeyPair, UnparsedPublicKey};
use rustls::pki_types::pem::{self, PemObject, SectionKind};
use serde::Serialize;
use sha2::{Digest, Sha256};
use x509_parser::prelude::{FromDer, X509Certificate};
use x509_parser::public_key;
use x509_parser::x509::SubjectPublicKeyInfo;

const RSA_BITS_MIN: usize = 2048;
/// What stands before the point in a SubjectPublicKeyInfo of P-256: id-ecPublicKey and prime256v1.
const P256_PUBLIC_HEAD: &[u8] = &[
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce,
    0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];
/// The version and the algorithm in a PKCS#8 key of P-256.
const P256_PRIVATE_HEAD: &[u8] = &[
    0x02, 0x01, 0x00, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86, 0x48,
    0xce, 0x3d, 0x03, 0x01, 0x07,
];
/// The algorithm of a SubjectPublicKeyInfo of RSA.
const RSA_ALGORITHM: &[u8] =
    &[0x30, 0x0d, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01, 0x05, 0x00];
const SEQUENCE: u8 = 0x30;
const OCTET_STRING: u8 = 0x04;
const BIT_STRING: u8 = 0x03;
/// The point is not compressed.
const UNCOMPRESSED: u8 = 0x04;
const P256_BYTES: usize = 32;

/// Why a PEM text gives no keys.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    #[error("it is not PEM: {0}")]
    NotPem(pem::Error),
    #[error("it has no private key: give one of RSA (2048 bits or more) or ECDSA P-256")]
    NoPrivateKey,
    #[error("it has no key: give keys of RSA (2048 bits or more) or ECDSA P-256, or certificates with such")]
    NoKey,
    #[error("a private key in it cannot be used ({0}): RSA with 2048 to 4096 bits and ECDSA P-256 can")]
    Private(String),
    #[error("a public key in it cannot be used: RSA with 2048 bits or more and ECDSA P-256 can")]
    Public,
}

/// How a key signs, as JOSE names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Algorithm {
    Es256,
    Rs256,
}

impl Algorithm {
    pub fn name(self) -> &'static str {
        match self {
            Self::Es256 => "ES256",
            Self::Rs256 => "RS256",
        }
    }
    fn verification(self) -> &'static dyn signature::VerificationAlgorithm {
        match self {
            Self::Es256 => &signature::ECDSA_P256_SHA256_FIXED,
            Self::Rs256 => &signature::RSA_PKCS1_2048_8192_SHA256,
        }
    }
}

/// A public key for others to read. Its fields stand in upstream's order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Jwk {
    #[serde(rename = "use")]
    usage: &'static str,
    #[serde(rename = "kty")]
    family: &'static str,
    #[serde(rename = "kid")]
    pub id: String,
    #[serde(rename = "crv", skip_serializing_if = "Option::is_none")]
    curve: Option<&'static str>,
    #[serde(rename = "alg")]
    algorithm: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    x: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    y: Option<String>,
    #[serde(rename = "n", skip_serializing_if = "Option::is_none")]
    modulus: Option<String>,
    #[serde(rename = "e", skip_serializing_if = "Option::is_none")]
    exponent: Option<String>,
}

/// A key that signatures are verified with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicKey {
    pub algorithm: Algorithm,
    pub jwk: Jwk,
    /// An RSAPublicKey, or a point of the curve.
    bytes: Vec<u8>,
}

impl PublicKey {
    fn of_info(der: &[u8]) -> Result<Self, KeyError> {
        let (rest, info) = SubjectPublicKeyInfo::from_der(der).map_err(|_| KeyError::Public)?;
        if !rest.is_empty() {
            return Err(KeyError::Public);
        }
        let (algorithm, family) = match info.parsed().map_err(|_| KeyError::Public)? {
            public_key::PublicKey::RSA(key) if key.key_size() >= RSA_BITS_MIN => (Algorithm::Rs256, "RSA"),
            public_key::PublicKey::EC(_) if der.starts_with(P256_PUBLIC_HEAD) => (Algorithm::Es256, "EC"),
            _ => return Err(KeyError::Public),
        };
        let bytes = info.subject_public_key.data.to_vec();
        // Upstream's: nobody gets from it to the key.
        let id = URL_SAFE_NO_PAD.encode(Sha256::digest(der));
        let mut jwk = Jwk {
            usage: "sig",
            family,
            id,
            curve: None,
            algorithm: algorithm.name(),
            x: None,
            y: None,
            modulus: None,
            exponent: None,
        };
        match algorithm {
            Algorithm::Es256 => {
                let (x, y) = coordinates(&bytes).ok_or(KeyError::Public)?;
                jwk.curve = Some("P-256");
                jwk.x = Some(URL_SAFE_NO_PAD.encode(x));
                jwk.y = Some(URL_SAFE_NO_PAD.encode(y));
            }
            Algorithm::Rs256 => {
                let (_, key) = public_key::RSAPublicKey::from_der(&bytes).map_err(|_| KeyError::Public)?;
                jwk.modulus = Some(URL_SAFE_NO_PAD.encode(without_sign(key.modulus)));
                jwk.exponent = Some(URL_SAFE_NO_PAD.encode(without_sign(key.exponent)));
            }
        }
        Ok(Self { algorithm, jwk, bytes })
    }

    /// As upstream has it: the SHA-256 of the key's SubjectPublicKeyInfo, base64url.
    pub fn id(&self) -> &str {
        &self.jwk.id
    }

    pub(super) fn verifies(&self, signed: &[u8], signature: &[u8]) -> bool {
        UnparsedPublicKey::new(self.algorithm.verification(), &self.bytes).verify(signed, signature).is_ok()
    }
}

/// The numbers of a point that is not compressed.
fn coordinates(point: &[u8]) -> Option<(&[u8], &[u8])> {
    let (form, numbers) = point.split_first()?;
    let (x, y) = numbers.split_at_checked(P256_BYTES)?;
    (*form == UNCOMPRESSED && y.len() == P256_BYTES).then_some((x, y))
}

/// DER says by a zero in front that a number is not negative; JOSE has no negative ones.
fn without_sign(number: &[u8]) -> &[u8] {
    number.strip_prefix(&[0]).unwrap_or(number)
}

#[derive(Debug)]
enum Pair {
    Ecdsa(EcdsaKeyPair),
    Rsa(RsaKeyPair),
}

/// The key that new tokens are signed with.
#[derive(Debug)]
pub struct SigningKey {
    pair: Pair,
    public: PublicKey,
}

/// The system has no random numbers to sign with.
#[derive(Debug, thiserror::Error)]
#[error("a token cannot be signed: the system's random source failed")]
pub struct SignError;

impl SigningKey {
    fn of_private(kind: SectionKind, der: &[u8]) -> Result<Self, KeyError> {
        let refused = |why: ring::error::KeyRejected| KeyError::Private(why.to_string());
        let ecdsa = |pkcs8: &[u8]| {
            EcdsaKeyPair::from_pkcs8(&signature::ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8, &SystemRandom::new())
        };
        let pair = match kind {
            SectionKind::RsaPrivateKey => Pair::Rsa(RsaKeyPair::from_der(der).map_err(refused)?),
            SectionKind::EcPrivateKey => Pair::Ecdsa(ecdsa(&pkcs8_of(der)).map_err(refused)?),
            _ => match ecdsa(der) {
                Ok(pair) => Pair::Ecdsa(pair),
                Err(_) => Pair::Rsa(RsaKeyPair::from_pkcs8(der).map_err(refused)?),
            },
        };
        let info = match &pair {
            Pair::Ecdsa(pair) => [P256_PUBLIC_HEAD, pair.public_key().as_ref()].concat(),
            Pair::Rsa(pair) => {
                let key = element(BIT_STRING, &[&[0], pair.public_key().as_ref()].concat());
                element(SEQUENCE, &[RSA_ALGORITHM, &key].concat())
            }
        };
        Ok(Self { public: PublicKey::of_info(&info)?, pair })
    }

    pub fn public(&self) -> &PublicKey {
        &self.public
    }

    pub(super) fn sign(&self, message: &[u8]) -> Result<Vec<u8>, SignError> {
        let random = SystemRandom::new();
        match &self.pair {
            Pair::Ecdsa(pair) => Ok(pair.sign(&random, message).map_err(|_| SignError)?.as_ref().to_vec()),
            Pair::Rsa(pair) => {
                let mut signed = vec![0; pair.public().modulus_len()];
                pair.sign(&signature::RSA_PKCS1_SHA256, &random, message, &mut signed).map_err(|_| SignError)?;
                Ok(signed)
            }
        }
    }
}

/// A SEC 1 key as PKCS#8 has it: RFC 5915 within RFC 5208.
fn pkcs8_of(sec1: &[u8]) -> Vec<u8> {
    element(SEQUENCE, &[P256_PRIVATE_HEAD, &element(OCTET_STRING, sec1)].concat())
}

/// One element of DER.
fn element(tag: u8, content: &[u8]) -> Vec<u8> {
    let bytes = content.len().to_be_bytes();
    let length: Vec<u8> = bytes.into_iter().skip_while(|byte| *byte == 0).collect();
    let mut out = vec![tag];
    match (length.as_slice(), u8::try_from(length.len())) {
        ([], _) => out.push(0),
        ([short @ 0..=0x7f], _) => out.push(*short),
        (_, count) => {
            // A usize has eight bytes at most.
            out.push(0x80 | count.unwrap_or_default());
            out.extend(&length);
        }
    }
    out.extend(content);
    out
}

/// The keys at one time: one signs, and all verify.
#[derive(Debug)]
pub struct Keys {
    signing: SigningKey,
    verifying: Vec<PublicKey>,
}

impl Keys {
    /// `signing`: a PEM text with the private key. `others`: PEM texts with keys whose tokens are good, too.
    pub fn of_pem(signing: &[u8], others: &[Vec<u8>]) -> Result<Self, KeyError> {
        let private = |section: &(SectionKind, Vec<u8>)| is_private(section.0);
        let (kind, der) = sections(signing)?.into_iter().find(private).ok_or(KeyError::NoPrivateKey)?;
        let signing = SigningKey::of_private(kind, &der)?;
        let mut verifying = Vec::new();
        for text in others {
            verifying.extend(public_keys(text)?);
        }
        verifying.push(signing.public.clone());
        let mut seen = std::collections::BTreeSet::new();
        verifying.retain(|key| seen.insert(key.id().to_owned()));
        Ok(Self { signing, verifying })
    }

    pub fn signing(&self) -> &SigningKey {
        &self.signing
    }

    pub fn verifying(&self) -> &[PublicKey] {
        &self.verifying
    }

    /// Keys that a signature may be of: the one that it names, or all if it names none.
    pub fn candidates(&self, id: Option<&str>) -> impl Iterator<Item = &PublicKey> {
        let id = id.filter(|id| !id.is_empty());
        self.verifying.iter().filter(move |key| id.is_none_or(|id| id == key.id()))
    }
}

fn sections(text: &[u8]) -> Result<Vec<(SectionKind, Vec<u8>)>, KeyError> {
    <(SectionKind, Vec<u8>)>::pem_slice_iter(text).collect::<Result<_, _>>().map_err(KeyError::NotPem)
}

fn is_private(kind: SectionKind) -> bool {
    matches!(kind, SectionKind::RsaPrivateKey | SectionKind::EcPrivateKey | SectionKind::PrivateKey)
}

/// Every key of a PEM text, the public halves of private ones too.
fn public_keys(text: &[u8]) -> Result<Vec<PublicKey>, KeyError> {
    let mut keys = Vec::new();
    for (kind, der) in sections(text)? {
        keys.push(match kind {
            kind if is_private(kind) => SigningKey::of_private(kind, &der)?.public,
            SectionKind::PublicKey => PublicKey::of_info(&der)?,
            SectionKind::Certificate => {
                let (_, certificate) = X509Certificate::from_der(&der).map_err(|_| KeyError::Public)?;
                PublicKey::of_info(certificate.public_key().raw)?
            }
            _ => continue,
        });
    }
    if keys.is_empty() { Err(KeyError::NoKey) } else { Ok(keys) }
}

#[cfg(test)]
mod tests;

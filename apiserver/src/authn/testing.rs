//! Keys for tests of identities.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};

use super::keys::Keys;
use super::tokens::{Rules, Tokens};

pub(crate) const ISSUER: &str = "https://kubernetes.default.svc";

/// A new private key, as PEM.
pub(crate) fn ecdsa_pem() -> Vec<u8> {
    let key = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new()).unwrap();
    format!("-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n", STANDARD.encode(key)).into_bytes()
}

/// A new key, each time another one.
pub(crate) fn ecdsa() -> Keys {
    Keys::of_pem(&ecdsa_pem(), &[]).unwrap()
}

/// The same each time.
pub(crate) fn rsa() -> Keys {
    Keys::of_pem(include_bytes!("testdata/rsa-pkcs8.pem"), &[]).unwrap()
}

/// Signs with RSA.
pub(crate) fn rsa_and_ecdsa() -> Keys {
    let other = include_bytes!("testdata/ecdsa-public.pem").to_vec();
    Keys::of_pem(include_bytes!("testdata/rsa-pkcs8.pem"), &[other]).unwrap()
}

/// A token with any claims.
pub(crate) fn signed(claims: &impl serde::Serialize, keys: &Keys) -> String {
    super::jws::make(claims, keys.signing()).unwrap()
}

pub(crate) fn rules() -> Rules {
    Rules {
        issuer: ISSUER.into(),
        other_issuers: vec!["https://before.example.com".into()],
        audiences: vec![ISSUER.into(), "api".into()],
        max_life_secs: None,
        extends_pods: true,
    }
}

/// With a key of their own.
pub(crate) fn tokens() -> Arc<Tokens> {
    Arc::new(Tokens::new(rules(), ecdsa()))
}

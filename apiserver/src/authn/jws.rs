//! Signed tokens in their compact form (RFC 7515): taken apart, verified, made. Pure.
//!
//! Ours and not a crate's: what is needed of JOSE is two algorithms in one serialization, and the crates that keep up
//! bring a second cryptography library with them, where ring is in the program anyway.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};

use super::keys::{PublicKey, SignError, SigningKey};

#[derive(Debug, Deserialize)]
struct Header {
    alg: String,
    #[serde(default)]
    kid: Option<String>,
    /// Extensions without which the token cannot be understood. We know none.
    #[serde(default)]
    crit: Option<IgnoredAny>,
}

#[derive(Serialize)]
struct NewHeader<'a> {
    alg: &'static str,
    kid: &'a str,
}

/// A token taken apart. Nothing in it is true before a key has verified it.
#[derive(Debug)]
pub(super) struct Compact<'a> {
    header: Header,
    signed: &'a [u8],
    signature: Vec<u8>,
    /// The JSON of an object.
    pub(super) payload: Vec<u8>,
}

impl<'a> Compact<'a> {
    /// `None`: it is no such token.
    pub(super) fn parse(token: &'a str) -> Option<Self> {
        let (signed, signature) = token.rsplit_once('.')?;
        let (header, payload) = signed.split_once('.')?;
        let decode = |part: &str| URL_SAFE_NO_PAD.decode(part).ok();
        // serde takes lists for structs, too, and others do not.
        let object = |part: &str| decode(part).filter(|json| json.trim_ascii_start().starts_with(b"{"));
        let header: Header = serde_json::from_slice(&object(header)?).ok()?;
        if header.crit.is_some() {
            return None;
        }
        let (payload, signature) = (object(payload)?, decode(signature)?);
        Some(Self { header, signed: signed.as_bytes(), signature, payload })
    }

    /// Which key it says that it is signed with.
    pub(super) fn key_id(&self) -> Option<&str> {
        self.header.kid.as_deref()
    }

    /// The algorithm is the key's: what the token says of it may only agree.
    pub(super) fn is_signed_by(&self, key: &PublicKey) -> bool {
        self.header.alg == key.algorithm.name() && key.verifies(self.signed, &self.signature)
    }
}

/// Why a token could not be made.
#[derive(Debug, thiserror::Error)]
pub enum MakeError {
    #[error(transparent)]
    Sign(#[from] SignError),
    #[error("a token's claims cannot be written")]
    Json(#[from] serde_json::Error),
}

/// A token with these claims.
pub(super) fn make(claims: &impl Serialize, key: &SigningKey) -> Result<String, MakeError> {
    let public = key.public();
    let header = serde_json::to_vec(&NewHeader { alg: public.algorithm.name(), kid: public.id() })?;
    let mut token = URL_SAFE_NO_PAD.encode(header);
    token.push('.');
    URL_SAFE_NO_PAD.encode_string(serde_json::to_vec(claims)?, &mut token);
    let signature = key.sign(token.as_bytes())?;
    token.push('.');
    URL_SAFE_NO_PAD.encode_string(signature, &mut token);
    Ok(token)
}

#[cfg(test)]
mod tests {
    use super::super::testing;
    use super::*;

    fn b64(text: &str) -> String {
        URL_SAFE_NO_PAD.encode(text)
    }

    #[test]
    fn what_is_made_is_read_again_and_signed_by_its_key_alone() {
        let (keys, others) = (testing::ecdsa(), testing::ecdsa());
        for keys in [&keys, &testing::rsa()] {
            let token = make(&serde_json::json!({"sub": "me"}), keys.signing()).unwrap();
            let read = Compact::parse(&token).unwrap();
            assert_eq!(read.payload, br#"{"sub":"me"}"#);
            assert_eq!(read.key_id(), Some(keys.signing().public().id()));
            assert!(read.is_signed_by(keys.signing().public()));
            assert!(!read.is_signed_by(others.signing().public()), "another key");
        }
    }

    #[test]
    fn a_token_does_not_choose_how_it_is_verified() {
        let keys = testing::ecdsa();
        let key = keys.signing();
        for alg in ["none", "HS256", "RS256", "es256", ""] {
            let signed = format!("{}.{}", b64(&format!(r#"{{"alg":"{alg}"}}"#)), b64("{}"));
            for signature in [key.sign(signed.as_bytes()).unwrap(), Vec::new()] {
                let token = format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature));
                assert!(!Compact::parse(&token).unwrap().is_signed_by(key.public()), "{alg:?}");
            }
        }
    }

    #[test]
    fn what_is_no_token_is_none() {
        let (header, payload) = (b64(r#"{"alg":"ES256"}"#), b64("{}"));
        for (why, token) in [
            ("empty", String::new()),
            ("two parts", format!("{header}.{payload}")),
            ("four parts", format!("{header}.{payload}.AA.AA")),
            ("padding", format!("{header}=.{payload}.AA")),
            ("the other alphabet", format!("{header}.{payload}.++")),
            ("bits left over", format!("{header}.{payload}.AB")),
            ("blanks", format!(" {header}.{payload}.AA")),
            ("a header that is a list", format!("{}.{payload}.AA", b64(r#"["ES256"]"#))),
            ("a payload that is a list", format!("{header}.{}.AA", b64("[]"))),
            ("no algorithm", format!("{}.{payload}.AA", b64(r#"{"kid":"x"}"#))),
            ("an algorithm twice", format!("{}.{payload}.AA", b64(r#"{"alg":"ES256","alg":"none"}"#))),
            ("an extension that must be known", format!("{}.{payload}.AA", b64(r#"{"alg":"ES256","crit":["exp"]}"#))),
        ] {
            assert!(Compact::parse(&token).is_none(), "{why}");
        }
        assert!(Compact::parse(&format!("{header}.{payload}.AA")).is_some());
    }
}

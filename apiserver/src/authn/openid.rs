//! What others verify our tokens with: the OpenID Connect discovery document, and the keys. Pure.
//!
//! <https://kubernetes.io/docs/tasks/configure-pod-container/configure-service-account/#service-account-issuer-discovery>

use std::collections::BTreeSet;

use serde::Serialize;

use super::keys::{Jwk, Keys};

pub const CONFIGURATION_PATH: &str = "/.well-known/openid-configuration";
pub const KEYS_PATH: &str = "/openid/v1/jwks";
/// For how long others may keep these documents: a new key must be among those that verify for so long before it signs.
pub const MAX_AGE_SECS: u32 = 3600;

#[derive(Serialize)]
struct Configuration<'a> {
    issuer: &'a str,
    jwks_uri: &'a str,
    response_types_supported: [&'static str; 1],
    subject_types_supported: [&'static str; 1],
    id_token_signing_alg_values_supported: BTreeSet<&'static str>,
}

#[derive(Serialize)]
struct KeySet<'a> {
    keys: Vec<&'a Jwk>,
}

/// An issuer that others can look up: an https URL without query and fragment.
pub fn is_discoverable(issuer: &str) -> bool {
    let uri = issuer.parse::<http::Uri>().ok();
    let is_https =
        uri.is_some_and(|uri| uri.scheme_str() == Some("https") && uri.host().is_some_and(|h| !h.is_empty()));
    is_https && !issuer.contains(['?', '#'])
}

/// `server`: the host and port under which this server is reached; the issuer's own address if there is none.
pub fn keys_uri(issuer: &str, server: Option<&str>) -> String {
    match server {
        Some(server) => format!("https://{server}{KEYS_PATH}"),
        None => format!("{}{KEYS_PATH}", issuer.trim_end_matches('/')),
    }
}

pub fn configuration(issuer: &str, keys_uri: &str, keys: &Keys) -> Result<Vec<u8>, serde_json::Error> {
    serde_json::to_vec(&Configuration {
        issuer,
        jwks_uri: keys_uri,
        response_types_supported: ["id_token"],
        subject_types_supported: ["public"],
        id_token_signing_alg_values_supported: keys.verifying().iter().map(|key| key.algorithm.name()).collect(),
    })
}

pub fn key_set(keys: &Keys) -> Result<Vec<u8>, serde_json::Error> {
    serde_json::to_vec(&KeySet { keys: keys.verifying().iter().map(|key| &key.jwk).collect() })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::testing;
    use super::*;

    #[test]
    fn issuers_that_can_be_looked_up() {
        for (issuer, expected) in [
            ("https://kubernetes.default.svc.cluster.local", true),
            ("https://issuer.example.com:8443/cluster/a", true),
            ("http://issuer.example.com", false),
            ("https://issuer.example.com/?a=b", false),
            ("https://issuer.example.com/#a", false),
            ("kubernetes/serviceaccount", false),
            ("https://", false),
            ("", false),
        ] {
            assert_eq!(is_discoverable(issuer), expected, "{issuer:?}");
        }
    }

    #[test]
    fn documents() {
        let keys = testing::rsa_and_ecdsa();
        let issuer = "https://issuer.example.com/";
        let document: Value =
            serde_json::from_slice(&configuration(issuer, &keys_uri(issuer, Some("10.0.0.1:6443")), &keys).unwrap())
                .unwrap();
        let expected = json!({
            "issuer": issuer,
            "jwks_uri": "https://10.0.0.1:6443/openid/v1/jwks",
            "response_types_supported": ["id_token"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["ES256", "RS256"],
        });
        assert_eq!(document, expected);
        assert_eq!(keys_uri(issuer, None), "https://issuer.example.com/openid/v1/jwks");
        let set: Value = serde_json::from_slice(&key_set(&keys).unwrap()).unwrap();
        let kinds: Vec<&str> = set["keys"].as_array().unwrap().iter().map(|key| key["kty"].as_str().unwrap()).collect();
        assert_eq!(kinds, ["EC", "RSA"]);
        assert!(!set.to_string().contains("\"d\""), "no private half");
    }
}

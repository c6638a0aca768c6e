//! Tokens that stand in Secrets of type kubernetes.io/service-account-token: as long as the Secret holds the same text, they
//! are good. Pure over a view of the cluster.

use k8s_openapi::api::core::v1::Secret;
use serde::Deserialize;
use subtle::ConstantTimeEq;

use super::TokenError;
use super::account::{self, Seen};
use super::claims::Reference;
use crate::view::Objects;

pub const ISSUER: &str = "kubernetes/serviceaccount";
const TOKEN_KEY: &str = "token";
/// A controller that cleans up marks tokens so that nobody has used for long.
const INVALID_SINCE: &str = "kubernetes.io/legacy-token-invalid-since";

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
pub struct Claims {
    #[serde(default)]
    sub: String,
    #[serde(default, rename = "kubernetes.io/serviceaccount/namespace")]
    namespace: String,
    #[serde(default, rename = "kubernetes.io/serviceaccount/secret.name")]
    secret: String,
    #[serde(default, rename = "kubernetes.io/serviceaccount/service-account.name")]
    account: String,
    #[serde(default, rename = "kubernetes.io/serviceaccount/service-account.uid")]
    uid: String,
}

/// Why such a token is not believed, in upstream's words.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LegacyError {
    #[error("{0} claim is missing")]
    Missing(&'static str),
    #[error("sub claim is invalid")]
    Subject,
    #[error("Token has been invalidated")]
    Invalidated,
    #[error("Token does not match server's copy")]
    OtherText,
    #[error("ServiceAccount {namespace}/{name} has been deleted")]
    AccountDeleted { namespace: String, name: String },
    #[error("ServiceAccount UID ({have}) does not match claim ({claimed})")]
    AccountUid { have: String, claimed: String },
    #[error(
        "the token in secret {namespace}/{secret} for service account {namespace}/{account} has been marked invalid. Use \
         tokens from the TokenRequest API or manually created secret-based tokens, or remove the '{INVALID_SINCE}' label \
         from the secret to temporarily allow use of this token"
    )]
    MarkedInvalid { namespace: String, secret: String, account: String },
}

impl Claims {
    pub(super) fn reference(&self) -> Reference {
        Reference { name: self.account.clone(), uid: self.uid.clone() }
    }
    pub(super) fn namespace(&self) -> &str {
        &self.namespace
    }

    /// What the claims must say by themselves.
    fn check_own(&self) -> Result<(), LegacyError> {
        let missing = [
            ("sub", &self.sub),
            ("namespace", &self.namespace),
            ("secretName", &self.secret),
            ("serviceAccountName", &self.account),
            ("serviceAccountUID", &self.uid),
        ];
        if let Some((name, _)) = missing.into_iter().find(|(_, value)| value.is_empty()) {
            return Err(LegacyError::Missing(name));
        }
        match account::split_user_name(&self.sub) {
            Some((namespace, name)) if namespace == self.namespace && name == self.account => Ok(()),
            _ => Err(LegacyError::Subject),
        }
    }
}

/// Whether the Secret still has this token, and the account is the same as then.
pub(super) fn check(claims: &Claims, token: &str, objects: &dyn Objects) -> Result<(), TokenError> {
    claims.check_own()?;
    let secret: Option<Secret> = objects.find("", "secrets", &claims.namespace, &claims.secret);
    let secret = secret.filter(|secret| secret.metadata.deletion_timestamp.is_none());
    let secret = secret.ok_or(LegacyError::Invalidated)?;
    let copy = secret.data.as_ref().and_then(|data| data.get(TOKEN_KEY)).map_or(&[][..], |copy| &copy.0);
    if !bool::from(copy.ct_eq(token.as_bytes())) {
        return Err(LegacyError::OtherText.into());
    }
    let (namespace, name) = (claims.namespace.clone(), claims.account.clone());
    let seen = Seen::look(objects, "serviceaccounts", &namespace, &name);
    let seen = seen.ok_or_else(|| account::missing_account(&name))?;
    if seen.is_deleting() {
        return Err(LegacyError::AccountDeleted { namespace, name }.into());
    }
    if seen.uid != claims.uid {
        return Err(LegacyError::AccountUid { have: seen.uid, claimed: claims.uid.clone() }.into());
    }
    let mark = secret.metadata.labels.as_ref().and_then(|labels| labels.get(INVALID_SINCE));
    if mark.is_some_and(|since| !since.is_empty()) {
        return Err(LegacyError::MarkedInvalid { namespace, secret: claims.secret.clone(), account: name }.into());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::view::testing::Cluster;

    #[test]
    fn claims_that_a_token_must_have() {
        let whole = json!({
            "sub": "system:serviceaccount:ns:sa",
            "kubernetes.io/serviceaccount/namespace": "ns",
            "kubernetes.io/serviceaccount/secret.name": "s",
            "kubernetes.io/serviceaccount/service-account.name": "sa",
            "kubernetes.io/serviceaccount/service-account.uid": "1",
        });
        let told = |key: &str, value: &str| {
            let mut claims = whole.clone();
            claims[key] = value.into();
            let claims: Claims = serde_json::from_value(claims).unwrap();
            claims.check_own().err().map(|err| err.to_string()).unwrap_or_default()
        };
        for (key, value, expected) in [
            ("iss", ISSUER, ""),
            ("sub", "", "sub claim is missing"),
            ("kubernetes.io/serviceaccount/namespace", "", "namespace claim is missing"),
            ("kubernetes.io/serviceaccount/secret.name", "", "secretName claim is missing"),
            ("kubernetes.io/serviceaccount/service-account.name", "", "serviceAccountName claim is missing"),
            ("kubernetes.io/serviceaccount/service-account.uid", "", "serviceAccountUID claim is missing"),
            ("sub", "system:serviceaccount:ns:other", "sub claim is invalid"),
            ("sub", "jane", "sub claim is invalid"),
        ] {
            assert_eq!(told(key, value), expected, "{key} {value:?}");
        }
    }

    #[test]
    fn the_secret_and_the_account_decide() {
        let token = k8s_openapi::ByteString(b"the token".to_vec());
        let secret = |more: serde_json::Value| json!({"metadata": more, "data": {"token": token}});
        let account = json!({"metadata": {"uid": "1"}});
        let look = |secret: Option<serde_json::Value>, account: Option<serde_json::Value>, text: &str| {
            let objects = [secret.map(|s| ("secrets/ns/s", s)), account.map(|a| ("serviceaccounts/ns/sa", a))];
            let view = Cluster::of(&objects.into_iter().flatten().collect::<Vec<_>>());
            let claims = Claims {
                sub: "system:serviceaccount:ns:sa".into(),
                namespace: "ns".into(),
                secret: "s".into(),
                account: "sa".into(),
                uid: "1".into(),
            };
            check(&claims, text, &view).err().map(|err| err.to_string()).unwrap_or_default()
        };
        let plain = || Some(secret(json!({})));
        let own = || Some(account.clone());
        let of = |meta: serde_json::Value| Some(json!({"metadata": meta}));
        let deleted = json!({"uid": "1", "deletionTimestamp": "2026-01-01T00:00:00Z"});
        let marked = json!({"labels": {INVALID_SINCE: "2026-01-01"}});
        assert_eq!(look(plain(), own(), "the token"), "");
        assert_eq!(look(None, own(), "the token"), "Token has been invalidated");
        assert_eq!(look(Some(secret(deleted.clone())), own(), "the token"), "Token has been invalidated");
        assert_eq!(look(plain(), own(), "another"), "Token does not match server's copy");
        assert_eq!(look(plain(), None, "the token"), r#"serviceaccounts "sa" not found"#);
        assert_eq!(look(plain(), of(deleted), "the token"), "ServiceAccount ns/sa has been deleted");
        assert_eq!(
            look(plain(), of(json!({"uid": "2"})), "the token"),
            "ServiceAccount UID (2) does not match claim (1)"
        );
        let told = look(Some(secret(marked)), own(), "the token");
        assert!(
            told.starts_with("the token in secret ns/s for service account ns/sa has been marked invalid."),
            "{told}"
        );
    }
}

//! Bootstrap tokens: `<id>.<secret>`, kept in Secrets of kube-system, for those who join a cluster and have nothing yet. Pure
//! over a view of the cluster.
//!
//! <https://kubernetes.io/docs/reference/access-authn-authz/bootstrap-tokens/>

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::Secret;
use subtle::ConstantTimeEq;

use super::AUTHENTICATED_GROUP;
use crate::request::User;
use crate::view::Objects;

const NAMESPACE: &str = "kube-system";
const NAME_PREFIX: &str = "bootstrap-token-";
const TYPE: &str = "bootstrap.kubernetes.io/token";
const USER_PREFIX: &str = "system:bootstrap:";
const GROUP: &str = "system:bootstrappers";
/// A group's name after [`GROUP`] and a colon is at most so long.
const GROUP_REST_BYTES_MAX: usize = 256;
const ID_BYTES: usize = 6;
const SECRET_BYTES: usize = 16;

/// A text that has the form of such a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parts<'a> {
    id: &'a str,
    secret: &'a str,
}

/// `None`: it is another kind of token.
pub fn parse(token: &str) -> Option<Parts<'_>> {
    let (id, secret) = token.split_once('.')?;
    let fits = |part: &str, bytes| {
        part.len() == bytes && part.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
    };
    (fits(id, ID_BYTES) && fits(secret, SECRET_BYTES)).then_some(Parts { id, secret })
}

/// Why a token of the right form is nobody's: for the log alone, as a stranger is told nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BootstrapError {
    #[error("there is no such Secret")]
    NotFound,
    #[error("its Secret is being deleted")]
    Deleting,
    #[error("its Secret is of another type than {TYPE}")]
    Type,
    #[error("its Secret has another token-secret")]
    Secret,
    #[error("its Secret has another token-id")]
    Id,
    #[error("it has expired, or its expiration is no time")]
    Expired,
    #[error("its Secret does not say usage-bootstrap-authentication: \"true\"")]
    Usage,
    #[error("its Secret has a group in auth-extra-groups that is none of {GROUP}:…")]
    Groups,
}

pub(super) fn authenticate(parts: Parts<'_>, now_secs: i64, objects: &dyn Objects) -> Result<User, BootstrapError> {
    let secret: Option<Secret> = objects.find("", "secrets", NAMESPACE, &format!("{NAME_PREFIX}{}", parts.id));
    let secret = secret.ok_or(BootstrapError::NotFound)?;
    if secret.metadata.deletion_timestamp.is_some() {
        return Err(BootstrapError::Deleting);
    }
    if secret.type_.as_deref() != Some(TYPE) {
        return Err(BootstrapError::Type);
    }
    let bytes = |key: &str| secret.data.as_ref().and_then(|data| data.get(key)).map_or(&[][..], |value| &value.0);
    let text = |key: &str| std::str::from_utf8(bytes(key)).unwrap_or_default();
    if !bool::from(bytes("token-secret").ct_eq(parts.secret.as_bytes())) {
        return Err(BootstrapError::Secret);
    }
    if text("token-id") != parts.id {
        return Err(BootstrapError::Id);
    }
    if !bytes("expiration").is_empty() && !is_ahead(text("expiration"), now_secs) {
        return Err(BootstrapError::Expired);
    }
    if text("usage-bootstrap-authentication") != "true" {
        return Err(BootstrapError::Usage);
    }
    let mut groups = groups(bytes("auth-extra-groups")).ok_or(BootstrapError::Groups)?;
    groups.push(AUTHENTICATED_GROUP.to_owned());
    Ok(User { name: format!("{USER_PREFIX}{}", parts.id), groups, ..User::default() })
}

/// Whether an RFC 3339 time is still to come.
fn is_ahead(time: &str, now_secs: i64) -> bool {
    let at = time.parse::<jiff::Timestamp>();
    at.is_ok_and(|at| at.as_second() > now_secs || (at.as_second() == now_secs && at.subsec_nanosecond() > 0))
}

/// Sorted, each once.
fn groups(listed: &[u8]) -> Option<Vec<String>> {
    let listed = std::str::from_utf8(listed).ok()?;
    let mut groups = BTreeSet::from([GROUP.to_owned()]);
    for group in listed.split(',').filter(|_| !listed.is_empty()) {
        let rest = group.strip_prefix(GROUP)?.strip_prefix(':')?;
        let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        let all_fit = rest.bytes().all(|byte| fits(byte) || matches!(byte, b':' | b'-'));
        if rest.len() > GROUP_REST_BYTES_MAX || !all_fit || !rest.bytes().last().is_some_and(fits) {
            return None;
        }
        groups.insert(group.to_owned());
    }
    Some(groups.into_iter().collect())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::view::testing::Cluster;

    const TOKEN: &str = "abcdef.0123456789abcdef";

    #[test]
    fn what_has_the_form_of_a_bootstrap_token() {
        assert_eq!(parse(TOKEN), Some(Parts { id: "abcdef", secret: "0123456789abcdef" }));
        for other in [
            "",
            "abcdef",
            "abcde.0123456789abcdef",
            "abcdef.0123456789abcde",
            "ABCDEF.0123456789abcdef",
            "abcdef.0123456789abcde-",
            "abcdef.0123456789abcdef.x",
            "abcdef.0123456789abcdeé",
        ] {
            assert_eq!(parse(other), None, "{other}");
        }
    }

    /// A good Secret with some keys changed; "" takes one away.
    fn secret(changes: &[(&str, &str)]) -> Value {
        let mut data = std::collections::BTreeMap::from([
            ("token-id", "abcdef"),
            ("token-secret", "0123456789abcdef"),
            ("usage-bootstrap-authentication", "true"),
        ]);
        data.extend(changes.iter().copied());
        data.retain(|_, value| !value.is_empty());
        let data: std::collections::BTreeMap<_, _> =
            data.into_iter().map(|(key, value)| (key, k8s_openapi::ByteString(value.into()))).collect();
        json!({"metadata": {}, "type": TYPE, "data": data})
    }

    fn ask(secret: Value) -> Result<String, BootstrapError> {
        let view = Cluster::of(&[("secrets/kube-system/bootstrap-token-abcdef", secret)]);
        let now = "2026-06-01T12:00:00Z".parse::<jiff::Timestamp>().unwrap().as_second();
        let user = authenticate(parse(TOKEN).unwrap(), now, &view)?;
        Ok(format!("{} {}", user.name, user.groups.join(" ")))
    }

    #[test]
    fn the_secret_decides() {
        use BootstrapError as E;
        let plain = "system:bootstrap:abcdef system:bootstrappers system:authenticated";
        let more = "system:bootstrap:abcdef system:bootstrappers system:bootstrappers:a:b system:bootstrappers:z system:authenticated";
        let longest = format!("system:bootstrappers:{}", "x".repeat(256));
        for (why, changes, expected) in [
            ("as it should be", vec![], Ok(plain)),
            (
                "more groups",
                vec![("auth-extra-groups", "system:bootstrappers:z,system:bootstrappers:a:b,system:bootstrappers:z")],
                Ok(more),
            ),
            ("another secret", vec![("token-secret", "0123456789abcdeg")], Err(E::Secret)),
            ("a longer secret", vec![("token-secret", "0123456789abcdef0")], Err(E::Secret)),
            ("no secret", vec![("token-secret", "")], Err(E::Secret)),
            ("another id", vec![("token-id", "abcdeg")], Err(E::Id)),
            ("not yet expired", vec![("expiration", "2026-06-01T12:00:01Z")], Ok(plain)),
            ("not yet expired elsewhere", vec![("expiration", "2026-06-01T14:00:01+02:00")], Ok(plain)),
            ("expired now", vec![("expiration", "2026-06-01T12:00:00Z")], Err(E::Expired)),
            ("no time", vec![("expiration", "tomorrow")], Err(E::Expired)),
            (
                "for signing alone",
                vec![("usage-bootstrap-authentication", ""), ("usage-bootstrap-signing", "true")],
                Err(E::Usage),
            ),
            ("not quite true", vec![("usage-bootstrap-authentication", "True")], Err(E::Usage)),
            ("masters", vec![("auth-extra-groups", "system:masters")], Err(E::Groups)),
            ("a capital", vec![("auth-extra-groups", "system:bootstrappers:A")], Err(E::Groups)),
            ("nothing after the colon", vec![("auth-extra-groups", "system:bootstrappers:")], Err(E::Groups)),
            ("a dash at the end", vec![("auth-extra-groups", "system:bootstrappers:a-")], Err(E::Groups)),
            ("a comma at the end", vec![("auth-extra-groups", "system:bootstrappers:a,")], Err(E::Groups)),
            ("too long", vec![("auth-extra-groups", &format!("{longest}x"))], Err(E::Groups)),
        ] {
            assert_eq!(ask(secret(&changes)), expected.map(str::to_owned), "{why}");
        }
        assert!(ask(secret(&[("auth-extra-groups", &longest)])).is_ok());
        let with = |key: &str, value: Value| {
            let mut secret = secret(&[]);
            secret[key] = value;
            secret
        };
        assert_eq!(ask(with("type", json!("Opaque"))), Err(E::Type));
        assert_eq!(ask(with("data", Value::Null)), Err(E::Secret));
        assert_eq!(ask(with("metadata", json!({"deletionTimestamp": "2026-06-01T00:00:00Z"}))), Err(E::Deleting));
        assert_eq!(authenticate(parse(TOKEN).unwrap(), 0, &Cluster::default()), Err(E::NotFound));
    }
}

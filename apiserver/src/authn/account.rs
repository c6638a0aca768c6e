//! Service accounts as users, and whether what a token is bound to is still there. Pure over a view of the cluster.

use std::borrow::Cow;
use std::collections::BTreeMap;

use corten_api::names;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde::Deserialize;

use super::claims::{Bound, Claims, LEEWAY_SECS, Reference};
use super::{AUTHENTICATED_GROUP, CREDENTIAL_ID, TokenError};
use crate::request::User;
use crate::view::Objects;

/// The names of all accounts' users begin so, and go on with `namespace:name`.
pub const USER_PREFIX: &str = "system:serviceaccount:";
const ALL_ACCOUNTS_GROUP: &str = "system:serviceaccounts";
/// What is told of a token's holder besides its name.
const POD_NAME: &str = "authentication.kubernetes.io/pod-name";
const POD_UID: &str = "authentication.kubernetes.io/pod-uid";
pub const NODE_NAME: &str = "authentication.kubernetes.io/node-name";
const NODE_UID: &str = "authentication.kubernetes.io/node-uid";

pub fn user_name(namespace: &str, name: &str) -> String {
    format!("{USER_PREFIX}{namespace}:{name}")
}

/// The namespace and name of the account that a user is, if he is one.
pub fn split_user_name(user: &str) -> Option<(&str, &str)> {
    let (namespace, name) = user.strip_prefix(USER_PREFIX)?.split_once(':')?;
    (names::is_dns1123_label(namespace) && names::is_dns1123_subdomain(name)).then_some((namespace, name))
}

/// The groups that all accounts of a namespace are in, without that of all who are authenticated.
pub fn groups(namespace: &str) -> Vec<String> {
    vec![ALL_ACCOUNTS_GROUP.to_owned(), format!("{ALL_ACCOUNTS_GROUP}:{namespace}")]
}

/// An account as a user. `extra`: what there is to tell of the token.
pub(super) fn user(namespace: &str, account: &Reference, extra: BTreeMap<String, Vec<String>>) -> User {
    let mut groups = groups(namespace);
    groups.push(AUTHENTICATED_GROUP.to_owned());
    User { name: user_name(namespace, &account.name), uid: account.uid.clone(), groups, extra }
}

/// Whom a token makes its bearer.
pub(super) fn user_of(claims: &Claims) -> User {
    let bound = &claims.bound;
    let mut extra = BTreeMap::new();
    let mut tell = |key: &str, value: &str| {
        if !value.is_empty() {
            extra.insert(key.to_owned(), vec![value.to_owned()]);
        }
    };
    if let Some(pod) = bound.pod.as_ref().filter(|pod| !pod.name.is_empty() && !pod.uid.is_empty()) {
        tell(POD_NAME, &pod.name);
        tell(POD_UID, &pod.uid);
    }
    if let Some(node) = bound.node.as_ref().filter(|node| !node.name.is_empty()) {
        tell(NODE_NAME, &node.name);
        tell(NODE_UID, &node.uid);
    }
    if !claims.jti.is_empty() {
        tell(CREDENTIAL_ID, &format!("JTI={}", claims.jti));
    }
    user(&bound.namespace, &bound.account, extra)
}

/// What the checks ask of an object.
#[derive(Debug, PartialEq)]
pub(crate) struct Seen {
    pub(crate) uid: String,
    deleted_at_secs: Option<i64>,
}

impl Seen {
    /// Reads the metadata alone, whatever else there is.
    pub(crate) fn look(objects: &dyn Objects, plural: &str, namespace: &str, name: &str) -> Option<Self> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Meta<'a> {
            #[serde(default, borrow)]
            uid: Cow<'a, str>,
            deletion_timestamp: Option<Time>,
        }
        #[derive(Deserialize)]
        struct Shell<'a> {
            #[serde(borrow)]
            metadata: Meta<'a>,
        }
        if name.is_empty() {
            return None;
        }
        let json = objects.get("", plural, namespace, name)?;
        // What the store holds was valid when it was written; what no longer parses is as good as not there.
        let Shell { metadata } = serde_json::from_slice(&json).ok()?;
        let deleted_at_secs = metadata.deletion_timestamp.map(|at| at.0.as_second());
        Some(Self { uid: metadata.uid.into_owned(), deleted_at_secs })
    }
    pub(super) fn is_deleting(&self) -> bool {
        self.deleted_at_secs.is_some()
    }
    /// Its end came longer ago than clocks may differ.
    fn is_over(&self, now_secs: i64) -> bool {
        self.deleted_at_secs.is_some_and(|at| at < now_secs - LEEWAY_SECS)
    }
}

/// Whether all that a token is bound to is there, is the same object as then, and is not going away.
pub(super) fn check(bound: &Bound, now_secs: i64, objects: &dyn Objects) -> Result<(), TokenError> {
    let (namespace, account) = (bound.namespace.as_str(), &bound.account);
    let seen = Seen::look(objects, "serviceaccounts", namespace, &account.name);
    let seen = seen.ok_or_else(|| missing_account(&account.name))?;
    if seen.uid != account.uid {
        return Err(TokenError::AccountUid { have: seen.uid, claimed: account.uid.clone() });
    }
    if seen.is_over(now_secs) {
        return Err(TokenError::AccountDeleted { namespace: namespace.into(), name: account.name.clone() });
    }
    // A pod's node is told of, and the pod decides.
    let node = bound.node.as_ref().filter(|_| bound.pod.is_none());
    for (kind, plural, namespace, reference) in [
        ("secret", "secrets", namespace, bound.secret.as_ref()),
        ("pod", "pods", namespace, bound.pod.as_ref()),
        ("node", "nodes", "", node),
    ] {
        let Some(reference) = reference else { continue };
        check_bound(kind, reference, Seen::look(objects, plural, namespace, &reference.name), now_secs)?;
    }
    Ok(())
}

pub(super) fn missing_account(name: &str) -> TokenError {
    TokenError::NoAccount { name: name.to_owned() }
}

fn check_bound(kind: &'static str, reference: &Reference, seen: Option<Seen>, now_secs: i64) -> Result<(), TokenError> {
    let seen = seen.ok_or(TokenError::Invalidated)?;
    if seen.uid != reference.uid {
        return Err(TokenError::BoundUid { kind, have: seen.uid, claimed: reference.uid.clone() });
    }
    if seen.is_over(now_secs) { Err(TokenError::Invalidated) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::view::testing::Cluster;

    fn reference(name: &str, uid: &str) -> Reference {
        Reference { name: name.into(), uid: uid.into() }
    }

    #[test]
    fn user_names() {
        assert_eq!(split_user_name("system:serviceaccount:ns:sa"), Some(("ns", "sa")));
        assert_eq!(split_user_name(&user_name("kube-system", "a.b")), Some(("kube-system", "a.b")));
        for bad in [
            "sa",
            "system:serviceaccount:ns",
            "system:serviceaccount::sa",
            "system:serviceaccount:ns:a:b",
            "system:serviceaccount:n.s:a",
        ] {
            assert_eq!(split_user_name(bad), None, "{bad}");
        }
    }

    #[test]
    fn what_is_told_of_a_tokens_holder() {
        let mut claims = Claims { jti: "7".into(), ..Claims::default() };
        claims.bound = Bound { namespace: "ns".into(), account: reference("sa", "1"), ..Bound::default() };
        claims.bound.pod = Some(reference("p", "2"));
        claims.bound.node = Some(reference("n", ""));
        let user = user_of(&claims);
        assert_eq!((user.name.as_str(), user.uid.as_str()), ("system:serviceaccount:ns:sa", "1"));
        assert_eq!(user.groups, ["system:serviceaccounts", "system:serviceaccounts:ns", "system:authenticated"]);
        let told: Vec<String> = user.extra.iter().map(|(key, values)| format!("{key}={}", values.join(","))).collect();
        let prefix = "authentication.kubernetes.io/";
        let told: Vec<&str> = told.iter().map(|line| line.trim_start_matches(prefix)).collect();
        assert_eq!(told, ["credential-id=JTI=7", "node-name=n", "pod-name=p", "pod-uid=2"]);
    }

    #[test]
    fn what_a_token_is_bound_to_decides() {
        let at = |secs: i64| jiff::Timestamp::from_second(secs).unwrap().to_string();
        let object = |uid: &str, deleted: i64| match deleted {
            0 => json!({"metadata": {"uid": uid}, "spec": {"x": [1, {}]}}),
            secs => json!({"metadata": {"uid": uid, "deletionTimestamp": at(secs)}}),
        };
        let view = Cluster::of(&[
            ("serviceaccounts/ns/sa", object("1", 0)),
            ("serviceaccounts/ns/going", object("1", 1500)),
            ("serviceaccounts/ns/gone", object("1", 1439)),
            ("pods/ns/p", object("2", 0)),
            ("pods/ns/ending", object("2", 1440)),
            ("pods/ns/ended", object("2", 1439)),
            ("secrets/ns/s", object("3", 0)),
            ("nodes//n", object("4", 0)),
        ]);
        let sa = Bound { namespace: "ns".into(), account: reference("sa", "1"), ..Bound::default() };
        let of = |name: &str, uid: &str| Bound { account: reference(name, uid), ..sa.clone() };
        let pod = |name: &str, uid: &str| Bound { pod: Some(reference(name, uid)), ..sa.clone() };
        let secret = |name: &str, uid: &str| Bound { secret: Some(reference(name, uid)), ..sa.clone() };
        let node = |name: &str, uid: &str| Bound { node: Some(reference(name, uid)), ..sa.clone() };
        let of_pod = Bound { node: Some(reference("gone", "9")), ..pod("p", "2") };
        let invalidated = "service account token has been invalidated";
        for (why, bound, expected) in [
            ("all there", sa.clone(), ""),
            ("another account of that name", of("sa", "9"), "service account UID (1) does not match claim (9)"),
            ("no account", of("other", "1"), r#"serviceaccounts "other" not found"#),
            ("no name", of("", ""), r#"serviceaccounts "" not found"#),
            (
                "another namespace",
                Bound { namespace: "other".into(), ..sa.clone() },
                r#"serviceaccounts "sa" not found"#,
            ),
            ("an account that is going", of("going", "1"), ""),
            ("an account that should be gone", of("gone", "1"), "service account ns/gone has been deleted"),
            ("its pod", pod("p", "2"), ""),
            ("its pod ends", pod("ending", "2"), ""),
            ("its pod should have ended", pod("ended", "2"), invalidated),
            ("no pod", pod("q", "2"), invalidated),
            ("another pod", pod("p", "9"), "pod UID (2) does not match service account pod ref claim (9)"),
            ("its secret", secret("s", "3"), ""),
            ("no secret", secret("t", "3"), invalidated),
            ("another secret", secret("s", "9"), "secret UID (3) does not match service account secret ref claim (9)"),
            ("its node", node("n", "4"), ""),
            ("no node", node("m", "4"), invalidated),
            ("another node", node("n", "9"), "node UID (4) does not match service account node ref claim (9)"),
            ("its pod's node is gone", of_pod, ""),
        ] {
            let told = check(&bound, 1500, &view).err().map(|err| err.to_string()).unwrap_or_default();
            assert_eq!(told, expected, "{why}");
        }
    }
}

//! Who is it? A client certificate's CN and O, or nobody in particular.
//!
//! <https://kubernetes.io/docs/reference/access-authn-authz/authentication/#x509-client-certificates>.

use std::sync::Arc;
use std::time::SystemTime;

use corten_api::{ApiError, Reason};
use http::HeaderMap;
use http::header::AUTHORIZATION;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::authz::{Attributes, Authorizer};
use crate::request::{Target, User};

pub const ANONYMOUS: &str = "system:anonymous";
pub const AUTHENTICATED_GROUP: &str = "system:authenticated";
pub const UNAUTHENTICATED_GROUP: &str = "system:unauthenticated";
pub const MASTERS_GROUP: &str = "system:masters";
pub const NODES_GROUP: &str = "system:nodes";
pub const NODE_PREFIX: &str = "system:node:";
/// Every node's proxy has a name and a key of its own, as its kubelet has.
pub const PROXIES_GROUP: &str = "system:node-proxiers";
pub const PROXY_PREFIX: &str = "system:kube-proxy:";

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AuthnError {
    #[error("the client certificate cannot be read: {0}")]
    Malformed(String),
    #[error("the client certificate has no CN to take the user's name from: issue one with CN=<user>")]
    NoCommonName,
    #[error("the client certificate is not accepted: {0}")]
    Refused(String),
}

/// What a connection has shown of its owner. Made once for each connection.
#[derive(Clone, Debug)]
pub enum Identity {
    Anonymous(Arc<User>),
    /// `until_secs`: Unix time at which the certificate ends; connections live longer than certificates.
    Known {
        user: Arc<User>,
        until_secs: i64,
    },
    /// A certificate that is no good. Upstream answers such requests with 401, it does not cut the connection.
    Refused(AuthnError),
}

impl Identity {
    pub fn anonymous() -> Self {
        let groups = vec![UNAUTHENTICATED_GROUP.to_owned()];
        Self::Anonymous(Arc::new(User { name: ANONYMOUS.to_owned(), uid: String::new(), groups }))
    }

    /// From the DER of a certificate whose chain has been verified.
    pub fn of_certificate(der: &[u8]) -> Self {
        match read_certificate(der) {
            Ok((user, until_secs)) => Self::Known { user: Arc::new(user), until_secs },
            Err(err) => Self::Refused(err),
        }
    }

    /// The user of a request that arrives now. `has_token`: it carries an Authorization header, which no method here
    /// can verify; like upstream, a certificate wins over it, and without one it is a failed attempt to log in.
    pub fn user(&self, now: SystemTime, has_token: bool) -> Result<&Arc<User>, ApiError> {
        match self {
            Self::Known { user, until_secs } if unix_secs(now) <= *until_secs => Ok(user),
            Self::Anonymous(user) if !has_token => Ok(user),
            Self::Known { .. } | Self::Anonymous(_) | Self::Refused(_) => {
                Err(ApiError::new(Reason::Unauthorized, "Unauthorized"))
            }
        }
    }
}

/// Who sent a request.
#[derive(Debug)]
pub struct Caller {
    /// Whether its connection or the request itself has shown who that is: true also for one who may not be whom he asks to
    /// be.
    pub is_authenticated: bool,
    /// Whom the request counts as.
    pub user: Result<Arc<User>, ApiError>,
}

/// Who sent a request with these headers that arrives now. REST and gRPC ask this alike, once for each request.
pub fn caller(identity: &Identity, headers: &HeaderMap, now: SystemTime, authorizer: &Authorizer) -> Caller {
    let shown = identity.user(now, headers.contains_key(AUTHORIZATION));
    let is_authenticated = shown.as_ref().is_ok_and(|user| user.in_group(AUTHENTICATED_GROUP));
    Caller { is_authenticated, user: shown.and_then(|user| impersonated(user, headers, authorizer)) }
}

/// `kubectl --as`: whom the request is to count as. Who may be others is decided by the verb `impersonate`.
/// <https://kubernetes.io/docs/reference/access-authn-authz/authentication/#user-impersonation>.
fn impersonated(user: &Arc<User>, headers: &HeaderMap, authorizer: &Authorizer) -> Result<Arc<User>, ApiError> {
    let text = |v: &http::HeaderValue| {
        v.to_str().map(str::to_owned).map_err(|_| ApiError::bad_request("an Impersonate- header is not text"))
    };
    let groups = headers.get_all("impersonate-group").iter().map(text).collect::<Result<Vec<_>, ApiError>>()?;
    let Some(name) = headers.get("impersonate-user").map(text).transpose()? else {
        let strays = !groups.is_empty() || headers.contains_key("impersonate-uid");
        let err = || ApiError::bad_request("requested impersonation without impersonating a user");
        return if strays { Err(err()) } else { Ok(user.clone()) };
    };
    let may = |resource: &str, name: &str| {
        let target = Target { resource: resource.into(), name: name.into(), version: "v1".into(), ..Target::default() };
        authorizer.authorize(user, Attributes::Resource { verb: "impersonate", target: &target })
    };
    may("users", &name)?;
    groups.iter().try_for_each(|group| may("groups", group))?;
    let uid = headers.get("impersonate-uid").map(text).transpose()?.unwrap_or_default();
    let everybody = if name == ANONYMOUS { UNAUTHENTICATED_GROUP } else { AUTHENTICATED_GROUP };
    let mut groups = groups;
    if !groups.iter().any(|g| g == everybody) {
        groups.push(everybody.to_owned());
    }
    Ok(Arc::new(User { name, uid, groups }))
}

fn unix_secs(now: SystemTime) -> i64 {
    now.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |d| i64::try_from(d.as_secs()).unwrap_or(i64::MAX))
}

fn read_certificate(der: &[u8]) -> Result<(User, i64), AuthnError> {
    let (_, cert) = X509Certificate::from_der(der).map_err(|err| AuthnError::Malformed(err.to_string()))?;
    let text = |value: Result<&str, x509_parser::error::X509Error>| {
        value.map(str::to_owned).map_err(|err| AuthnError::Malformed(err.to_string()))
    };
    let name = cert.subject().iter_common_name().next().ok_or(AuthnError::NoCommonName)?;
    let name = text(name.as_str())?;
    if name.is_empty() {
        return Err(AuthnError::NoCommonName);
    }
    let mut groups =
        cert.subject().iter_organization().map(|o| text(o.as_str())).collect::<Result<Vec<_>, AuthnError>>()?;
    groups.push(AUTHENTICATED_GROUP.to_owned());
    Ok((User { name, uid: String::new(), groups }, cert.validity().not_after.timestamp()))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn who_a_request_counts_as() {
        let user = Arc::new(User { name: "jane".into(), uid: String::new(), groups: vec!["dev".into()] });
        let known = Identity::Known { user, until_secs: 100 };
        let at = |secs| SystemTime::UNIX_EPOCH + Duration::from_secs(secs);
        let cases = [
            ("a valid certificate", &known, at(100), false, Some("jane")),
            ("a certificate wins over a token", &known, at(100), true, Some("jane")),
            ("an ended certificate", &known, at(101), false, None),
            ("nothing shown", &Identity::anonymous(), at(0), false, Some(ANONYMOUS)),
            ("a token nobody can verify", &Identity::anonymous(), at(0), true, None),
            ("a foreign certificate", &Identity::Refused(AuthnError::NoCommonName), at(0), false, None),
        ];
        for (why, identity, now, has_token, expected) in cases {
            assert_eq!(identity.user(now, has_token).ok().map(|u| u.name.as_str()), expected, "{why}");
        }
    }

    #[test]
    fn who_is_authenticated_is_so_whomever_the_request_counts_as() {
        let user = |groups: &[&str]| {
            let groups = groups.iter().map(|&group| group.into()).collect();
            Identity::Known {
                user: Arc::new(User { name: "jane".into(), uid: String::new(), groups }),
                until_secs: 100,
            }
        };
        let (master, jane) = (user(&[MASTERS_GROUP, AUTHENTICATED_GROUP]), user(&[AUTHENTICATED_GROUP]));
        let at = |secs| SystemTime::UNIX_EPOCH + Duration::from_secs(secs);
        let cases = [
            ("a valid certificate", &jane, at(0), None, (true, Some("jane"))),
            ("an ended one", &jane, at(101), None, (false, None)),
            ("nothing shown", &Identity::anonymous(), at(0), None, (false, Some(ANONYMOUS))),
            ("who may be another", &master, at(0), Some(ANONYMOUS), (true, Some(ANONYMOUS))),
            ("who may not", &jane, at(0), Some("root"), (true, None)),
            ("nobody as another", &Identity::anonymous(), at(0), Some("root"), (false, None)),
        ];
        for (why, identity, now, as_user, expected) in cases {
            let mut headers = HeaderMap::new();
            if let Some(name) = as_user {
                headers.insert("impersonate-user", name.parse().unwrap());
            }
            let caller = caller(identity, &headers, now, &Authorizer::fixed());
            let name = caller.user.as_ref().ok().map(|user| user.name.as_str());
            assert_eq!((caller.is_authenticated, name), expected, "{why}");
        }
    }

    #[test]
    fn garbage_is_refused_not_trusted() {
        assert!(matches!(Identity::of_certificate(b"no certificate"), Identity::Refused(_)));
    }
}

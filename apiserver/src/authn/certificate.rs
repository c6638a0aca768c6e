//! What a connection has shown of its owner: a client certificate's CN and O, or nothing.
//!
//! <https://kubernetes.io/docs/reference/access-authn-authz/authentication/#x509-client-certificates>.

use std::sync::Arc;

use sha2::{Digest, Sha256};
use x509_parser::prelude::{FromDer, X509Certificate};

use super::front_proxy::Rules;
use super::{ANONYMOUS, AUTHENTICATED_GROUP, CREDENTIAL_ID, UNAUTHENTICATED_GROUP};
use crate::request::User;

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AuthnError {
    #[error("the client certificate cannot be read: {0}")]
    Malformed(String),
    #[error("the client certificate has no CN to take the user's name from: issue one with CN=<user>")]
    NoCommonName,
    #[error("the client certificate is not accepted: {0}")]
    Refused(String),
}

/// Made once for each connection.
#[derive(Clone, Debug)]
pub enum Identity {
    Anonymous(Arc<User>),
    /// `until_secs`: Unix time at which the certificate ends; connections live longer than certificates.
    Known {
        user: Arc<User>,
        until_secs: i64,
    },
    /// A front proxy's, which names the users of its requests.
    FrontProxy {
        rules: Arc<Rules>,
        until_secs: i64,
        /// Who it is where it names none: its certificate may be a user's, too.
        itself: Box<Self>,
    },
    /// A certificate that is no good. Upstream answers such requests with 401, it does not cut the connection.
    Refused(AuthnError),
}

impl Identity {
    pub fn anonymous() -> Self {
        let groups = vec![UNAUTHENTICATED_GROUP.to_owned()];
        Self::Anonymous(Arc::new(User { name: ANONYMOUS.to_owned(), groups, ..User::default() }))
    }

    /// From the DER of a certificate whose chain has been verified.
    pub fn of_certificate(der: &[u8]) -> Self {
        match read_certificate(der) {
            Ok((user, until_secs)) => Self::Known { user: Arc::new(user), until_secs },
            Err(err) => Self::Refused(err),
        }
    }

    /// As `itself` where it names no user.
    pub fn of_front_proxy(der: &[u8], rules: &Arc<Rules>, itself: Self) -> Self {
        let Ok((_, cert)) = X509Certificate::from_der(der) else { return itself };
        let mut names = cert.subject().iter_common_name().filter_map(|name| name.as_str().ok());
        if !rules.allows(names.next().unwrap_or_default()) {
            return itself;
        }
        let until_secs = cert.validity().not_after.timestamp();
        Self::FrontProxy { rules: rules.clone(), until_secs, itself: Box::new(itself) }
    }

    /// Whether a certificate has shown who it is.
    pub fn is_certified(&self) -> bool {
        matches!(self, Self::Known { .. } | Self::FrontProxy { .. })
    }

    /// What requests are read by that may name their users, while the certificate is good.
    pub fn front_proxy(&self, now_secs: i64) -> Option<&Rules> {
        match self {
            Self::FrontProxy { rules, until_secs, .. } if now_secs <= *until_secs => Some(rules),
            Self::FrontProxy { .. } | Self::Known { .. } | Self::Anonymous(_) | Self::Refused(_) => None,
        }
    }

    /// The user that the certificate names, while it is good.
    pub fn certified(&self, now_secs: i64) -> Option<&Arc<User>> {
        match self {
            Self::Known { user, until_secs } if now_secs <= *until_secs => Some(user),
            Self::FrontProxy { itself, .. } => itself.certified(now_secs),
            Self::Known { .. } | Self::Anonymous(_) | Self::Refused(_) => None,
        }
    }

    /// Who asks when neither a certificate nor a token says it. `None`: a certificate was shown, and is no good.
    pub fn nobody(&self) -> Option<&Arc<User>> {
        match self {
            Self::Anonymous(user) => Some(user),
            Self::FrontProxy { .. } | Self::Known { .. } | Self::Refused(_) => None,
        }
    }
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
    let digest: String = Sha256::digest(der).iter().map(|byte| format!("{byte:02x}")).collect();
    let extra = [(CREDENTIAL_ID.to_owned(), vec![format!("X509SHA256={digest}")])].into();
    Ok((User { name, groups, extra, ..User::default() }, cert.validity().not_after.timestamp()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_a_connection_is() {
        let user = Arc::new(User { name: "jane".into(), groups: vec!["dev".into()], ..User::default() });
        let known = Identity::Known { user, until_secs: 100 };
        let refused = Identity::Refused(AuthnError::NoCommonName);
        let cases = [
            ("a valid certificate", &known, 100, Some("jane"), None),
            ("an ended certificate", &known, 101, None, None),
            ("nothing shown", &Identity::anonymous(), 0, None, Some(ANONYMOUS)),
            ("a foreign certificate", &refused, 0, None, None),
        ];
        for (why, identity, now, certified, nobody) in cases {
            let name = |user: Option<&Arc<User>>| user.map(|user| user.name.clone());
            let expected = (certified.map(str::to_owned), nobody.map(str::to_owned));
            assert_eq!((name(identity.certified(now)), name(identity.nobody())), expected, "{why}");
        }
    }

    #[test]
    fn a_front_proxy_is_one_by_its_name_and_while_its_certificate_is_good() {
        let mut params = rcgen::CertificateParams::default();
        params.distinguished_name.push(rcgen::DnType::CommonName, "front-proxy-client");
        params.not_after = rcgen::date_time_ymd(2030, 1, 1);
        let der = params.self_signed(&rcgen::KeyPair::generate().unwrap()).unwrap().der().to_vec();
        let of = |allowed: &[&str]| {
            let rules = Arc::new(super::super::front_proxy::rules(allowed));
            Identity::of_front_proxy(&der, &rules, Identity::Refused(AuthnError::NoCommonName))
        };
        for allowed in [&[][..], &["front-proxy-client"]] {
            let proxy = of(allowed);
            assert!(proxy.is_certified() && proxy.front_proxy(0).is_some());
            assert!(proxy.front_proxy(i64::MAX).is_none() && proxy.certified(0).is_none() && proxy.nobody().is_none());
        }
        assert!(matches!(of(&["another"]), Identity::Refused(_)));
    }

    #[test]
    fn garbage_is_refused_not_trusted() {
        assert!(matches!(Identity::of_certificate(b"no certificate"), Identity::Refused(_)));
    }

    #[test]
    fn a_certificate_tells_name_groups_and_which_it_is() {
        let mut params = rcgen::CertificateParams::default();
        params.distinguished_name.push(rcgen::DnType::CommonName, "jane");
        params.distinguished_name.push(rcgen::DnType::OrganizationName, "dev");
        let key = rcgen::KeyPair::generate().unwrap();
        let der = params.self_signed(&key).unwrap().der().to_vec();
        let Identity::Known { user, .. } = Identity::of_certificate(&der) else { panic!("it is good") };
        assert_eq!((user.name.as_str(), user.groups.join(" ").as_str()), ("jane", "dev system:authenticated"));
        let [id] = user.extra[CREDENTIAL_ID].as_slice() else { panic!("one id") };
        let hex = id.strip_prefix("X509SHA256=").unwrap();
        assert!(hex.len() == 64 && hex.bytes().all(|b| b.is_ascii_hexdigit()), "{id}");
    }
}

//! What a connection has shown of its owner: a client certificate's CN and O, or nothing.
//!
//! <https://kubernetes.io/docs/reference/access-authn-authz/authentication/#x509-client-certificates>.

use std::sync::Arc;

use sha2::{Digest, Sha256};
use x509_parser::prelude::{FromDer, X509Certificate};

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

    /// The user that the certificate names, while it is good.
    pub fn certified(&self, now_secs: i64) -> Option<&Arc<User>> {
        match self {
            Self::Known { user, until_secs } if now_secs <= *until_secs => Some(user),
            Self::Known { .. } | Self::Anonymous(_) | Self::Refused(_) => None,
        }
    }

    /// Who asks when neither a certificate nor a token says it. `None`: a certificate was shown, and is no good.
    pub fn nobody(&self) -> Option<&Arc<User>> {
        match self {
            Self::Anonymous(user) => Some(user),
            Self::Known { .. } | Self::Refused(_) => None,
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

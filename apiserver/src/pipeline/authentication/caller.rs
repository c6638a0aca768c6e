//! Who sent a request: whom a front proxy names, then its certificate, then the token it carries, else nobody.

use std::sync::Arc;

use corten_api::ApiError;
use http::HeaderMap;

use crate::authn::{Identity, TokenError, bearer, unauthorized};
use crate::connect::websocket;
use crate::request::User;
use crate::resources::Resources;

/// Whom a front proxy names, if it is one.
pub(super) fn proxied(identity: &Identity, headers: &HeaderMap) -> Option<Arc<User>> {
    let rules = identity.front_proxy(crate::resources::now_secs())?;
    rules.user(headers).map(Arc::new)
}

/// Whose the connection is, if its certificate says so and is good still. Nothing of the request is looked at then.
pub(super) fn certified(identity: &Identity) -> Option<&Arc<User>> {
    identity.certified(crate::resources::now_secs())
}

/// Who sent a request on a connection that is not [`certified`].
pub(super) async fn shown(
    resources: &Resources,
    identity: &Identity,
    headers: &HeaderMap,
) -> Result<Arc<User>, ApiError> {
    let token = bearer::carried(headers, websocket::is_upgrade(headers)).map_err(|why| {
        tracing::debug!("a request is not whose it says: {why}");
        unauthorized()
    })?;
    // A token that is no good never makes its bearer nobody: he would not learn what is wrong.
    let Some(token) = token else { return identity.nobody().cloned().ok_or_else(unauthorized) };
    match resources.authenticate(&token, &[]).await {
        Ok(authenticated) => Ok(authenticated.user),
        Err(TokenError::Unanswered(err)) => Err(err),
        Err(why) => {
            tracing::debug!("a token is not accepted: {why}");
            Err(unauthorized())
        }
    }
}

#[cfg(test)]
mod tests {
    use http::header::AUTHORIZATION;

    use super::*;
    use crate::authn::{ANONYMOUS, AUTHENTICATED_GROUP, AuthnError};
    use crate::registry::Registry;
    use crate::resources::testing::settings;
    use crate::storage::memory::Memory;

    #[tokio::test]
    async fn who_a_request_is_of() {
        let store = Arc::new(Memory::default());
        let resources = Resources::start(store, Registry::default(), settings()).await.unwrap();
        let user = |groups: &[&str]| {
            let groups = groups.iter().map(|&group| group.into()).collect();
            Arc::new(User { name: "jane".into(), groups, ..User::default() })
        };
        let jane = |until_secs| Identity::Known { user: user(&[AUTHENTICATED_GROUP]), until_secs };
        let foreign = Identity::Refused(AuthnError::NoCommonName);
        let cases = [
            ("a valid certificate", jane(i64::MAX), None, Some("jane")),
            ("a certificate wins over a token", jane(i64::MAX), Some("Bearer abc"), Some("jane")),
            ("an ended certificate", jane(0), None, None),
            ("a foreign certificate", foreign.clone(), None, None),
            ("a foreign certificate and a bad token", foreign, Some("Bearer abc"), None),
            ("nothing shown", Identity::anonymous(), None, Some(ANONYMOUS)),
            ("a bad token", Identity::anonymous(), Some("Bearer abc"), None),
            ("a way to log in that we do not know", Identity::anonymous(), Some("Basic abc"), None),
        ];
        for (why, identity, header, expected) in cases {
            let mut headers = HeaderMap::new();
            if let Some(value) = header {
                headers.insert(AUTHORIZATION, value.parse().unwrap());
            }
            let user = match certified(&identity) {
                Some(user) => Some(user.clone()),
                None => shown(&resources, &identity, &headers).await.ok(),
            };
            assert_eq!(user.as_ref().map(|user| user.name.as_str()), expected, "{why}");
        }
    }
}

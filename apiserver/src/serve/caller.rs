//! Who sent a request: its certificate first, then the token it carries, else nobody. REST and gRPC ask this alike, once for
//! each request.

use std::sync::Arc;

use corten_api::ApiError;
use http::HeaderMap;

use crate::authn::{AUTHENTICATED_GROUP, Identity, TokenError, bearer, unauthorized};
use crate::connect::websocket;
use crate::request::User;
use crate::resources::Resources;

/// Who sent a request.
#[derive(Debug)]
pub(super) struct Caller {
    /// Whether its connection or the request itself has shown who that is.
    pub(super) is_authenticated: bool,
    pub(super) user: Result<Arc<User>, ApiError>,
}

pub(super) async fn of(resources: &Resources, identity: &Identity, headers: &HeaderMap) -> Caller {
    let user = shown(resources, identity, headers).await;
    let is_authenticated = user.as_ref().is_ok_and(|user| user.in_group(AUTHENTICATED_GROUP));
    Caller { is_authenticated, user }
}

async fn shown(resources: &Resources, identity: &Identity, headers: &HeaderMap) -> Result<Arc<User>, ApiError> {
    if let Some(user) = identity.certified(crate::resources::now_secs()) {
        return Ok(user.clone());
    }
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
    use crate::authn::{ANONYMOUS, AuthnError};
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
            ("a valid certificate", jane(i64::MAX), None, (true, Some("jane"))),
            ("a certificate wins over a token", jane(i64::MAX), Some("Bearer abc"), (true, Some("jane"))),
            ("an ended certificate", jane(0), None, (false, None)),
            ("a foreign certificate", foreign.clone(), None, (false, None)),
            ("a foreign certificate and a bad token", foreign, Some("Bearer abc"), (false, None)),
            ("nothing shown", Identity::anonymous(), None, (false, Some(ANONYMOUS))),
            ("a bad token", Identity::anonymous(), Some("Bearer abc"), (false, None)),
            ("a way to log in that we do not know", Identity::anonymous(), Some("Basic abc"), (false, None)),
        ];
        for (why, identity, header, expected) in cases {
            let mut headers = HeaderMap::new();
            if let Some(value) = header {
                headers.insert(AUTHORIZATION, value.parse().unwrap());
            }
            let caller = of(&resources, &identity, &headers).await;
            let name = caller.user.as_ref().ok().map(|user| user.name.as_str());
            assert_eq!((caller.is_authenticated, name), expected, "{why}");
        }
    }
}

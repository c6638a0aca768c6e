//! Whom a request counts as: its sender, or another whom he may be.

use std::sync::Arc;

use corten_api::ApiError;
use corten_api::selector::FieldSelector;
use http::HeaderMap;

use super::Front;
use crate::authn::impersonate::{self, Mode};
use crate::authn::unauthorized;
use crate::authz::{self, Attributes};
use crate::request::{Target, User};

impl Front {
    /// `asked`: what the request is about.
    pub(super) async fn counted_as(
        &self,
        sender: Result<Arc<User>, ApiError>,
        headers: &HeaderMap,
        asked: Attributes<'_>,
    ) -> Result<Arc<User>, ApiError> {
        let sender = sender?;
        let Some(wish) = impersonate::wish(headers)? else { return Ok(sender) };
        let mut refusal = None;
        for mode in impersonate::modes(&wish, &sender) {
            match self.may_become(&sender, &mode, asked).await {
                Ok(()) => return Ok(Arc::new(mode.user)),
                // What the first way lacks is told, as upstream does.
                Err(err) => {
                    let _first = refusal.get_or_insert(err);
                }
            }
        }
        Err(refusal.unwrap_or_else(unauthorized))
    }

    async fn may_become(&self, sender: &User, mode: &Mode, asked: Attributes<'_>) -> Result<(), ApiError> {
        match asked {
            Attributes::Resource { verb, target } => {
                if let Some(on) = mode.verb_on(verb) {
                    self.may(sender, &on, target).await?;
                }
            }
            Attributes::Path { verb, path } => {
                if let Some(on) = mode.verb_on(verb) {
                    let asked = Attributes::Path { verb: &on, path };
                    self.resources.authorizer().authorize(sender, asked)?;
                }
            }
        }
        let verb = mode.verb();
        if let Some((target, why)) = &mode.never {
            return Err(authz::refusal(sender, Attributes::Resource { verb: &verb, target }, why));
        }
        for target in &mode.checks {
            self.may(sender, &verb, target).await?;
        }
        Ok(())
    }

    async fn may(&self, sender: &User, verb: &str, target: &Target) -> Result<(), ApiError> {
        self.resources.check(sender, verb, target, &FieldSelector::default()).await
    }
}

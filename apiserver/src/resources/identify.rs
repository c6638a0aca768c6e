//! Who bears a token, in the light of what the cluster holds now.

use std::net::SocketAddr;

use super::Resources;
use crate::authn::{Authenticated, TokenError, Tokens};

/// Unix time.
pub fn now_secs() -> i64 {
    k8s_openapi::jiff::Timestamp::now().as_second()
}

impl Resources {
    /// What gives tokens, and believes them.
    pub fn tokens(&self) -> &Tokens {
        &self.inner.settings.tokens
    }

    /// Where clients reach this server, if anywhere.
    pub fn advertised(&self) -> Option<SocketAddr> {
        self.inner.settings.advertise
    }

    /// `audiences`: for whom the token should be; none for this API. Asks again with a newer view before it refuses what may be
    /// new.
    pub async fn authenticate(&self, token: &str, audiences: &[String]) -> Result<Authenticated, TokenError> {
        let ask = || self.tokens().authenticate(token, audiences, now_secs(), self);
        match ask() {
            Err(err) if err.may_be_outdated() => {
                self.catch_up().await.map_err(TokenError::Unanswered)?;
                ask()
            }
            known => known,
        }
    }
}

//! Bearer tokens, from the text to a user; and new ones for service accounts. No I/O: keys are handed in, the cluster is a
//! view, time is an argument.

use std::sync::Arc;

use arc_swap::ArcSwap;
use serde::Deserialize;
use sha2::{Digest as _, Sha256};

use super::claims::{self, Bound, Claims, Life};
use super::jws::{self, Compact, MakeError};
use super::keys::Keys;
use super::verified::Verified;
use super::{TokenError, account, bootstrap, legacy, openid};
use crate::request::User;
use crate::view::Objects;

/// A token that is longer is refused unread, and none that is longer is made.
pub const TOKEN_BYTES_MAX: usize = 16 * 1024;

/// What the token of every pod's own volume is asked for. Nobody asks for that by chance, so it tells which tokens these are.
pub const POD_TOKEN_SECS: i64 = 3607;

/// What holds for all tokens of a cluster; the command line says it.
#[derive(Clone, Debug)]
pub struct Rules {
    /// Whose tokens are good. The first makes new ones, and stands for itself where no audiences are named.
    pub issuer: String,
    /// Issuers whose tokens are good, too.
    pub other_issuers: Vec<String>,
    /// Who we are, as a token's audience.
    pub audiences: Vec<String>,
    /// No token is given for longer.
    pub max_life_secs: Option<i64>,
    /// A pod's token of the usual life lives on for a year: programs that read it only once go on.
    pub extends_pods: bool,
}

/// Who a token's bearer is, and which of the audiences that were asked for it is meant for.
#[derive(Clone, Debug, PartialEq)]
pub struct Authenticated {
    pub user: Arc<User>,
    pub audiences: Vec<String>,
}

/// The keys, and how often they were replaced before.
#[derive(Debug)]
struct Loaded {
    keys: Keys,
    generation: u64,
}

/// A token whose signature is good.
#[derive(Debug)]
enum Signed {
    Bound { claims: Claims, user: Arc<User> },
    Legacy { claims: legacy::Claims, user: Arc<User> },
}

/// One for the process.
#[derive(Debug)]
pub struct Tokens {
    rules: Rules,
    loaded: ArcSwap<Loaded>,
    verified: Verified<Signed>,
}

impl Tokens {
    pub fn new(rules: Rules, keys: Keys) -> Self {
        let loaded = ArcSwap::from_pointee(Loaded { keys, generation: 1 });
        Self { rules, loaded, verified: Verified::default() }
    }

    /// From now on these keys sign and verify. Called by one who is alone in it.
    pub fn replace_keys(&self, keys: Keys) {
        let generation = self.loaded.load().generation + 1;
        self.loaded.store(Arc::new(Loaded { keys, generation }));
    }

    pub fn rules(&self) -> &Rules {
        &self.rules
    }

    /// Who bears this token, if it is meant for one of `audiences`, or for us if there are none.
    pub fn authenticate(
        &self,
        token: &str,
        audiences: &[String],
        now_secs: i64,
        objects: &dyn Objects,
    ) -> Result<Authenticated, TokenError> {
        if token.len() > TOKEN_BYTES_MAX {
            return Err(TokenError::TooLong);
        }
        let ours = self.rules.audiences.as_slice();
        let wanted = if audiences.is_empty() { ours } else { audiences };
        if let Some(parts) = bootstrap::parse(token) {
            let audiences = common(ours, wanted);
            if audiences.is_empty() {
                return Err(TokenError::Unknown);
            }
            let user = bootstrap::authenticate(parts, now_secs, objects).map_err(|why| {
                tracing::debug!("a bootstrap token is not accepted: {why}");
                TokenError::Unknown
            })?;
            return Ok(Authenticated { user: Arc::new(user), audiences });
        }
        let signed = self.signed(token, now_secs)?;
        // A token that names no audience is an old one, for this API alone.
        let (meant_for, user) = match &*signed {
            Signed::Bound { claims, user } if !claims.aud.is_empty() => (claims.aud.as_slice(), user),
            Signed::Bound { user, .. } | Signed::Legacy { user, .. } => (ours, user),
        };
        let audiences = common(meant_for, wanted);
        if audiences.is_empty() {
            return Err(TokenError::Audience { have: meant_for.to_vec(), wanted: wanted.to_vec() });
        }
        match &*signed {
            Signed::Bound { claims, .. } => {
                claims::check_times(claims, now_secs)?;
                account::check(&claims.bound, now_secs, objects)?;
            }
            Signed::Legacy { claims, .. } => legacy::check(claims, token, objects)?,
        }
        Ok(Authenticated { user: user.clone(), audiences })
    }

    /// The claims of a token that one of our keys has signed.
    fn signed(&self, token: &str, now_secs: i64) -> Result<Arc<Signed>, TokenError> {
        let loaded = self.loaded.load();
        let digest = Sha256::digest(token).into();
        if let Some(known) = self.verified.get(loaded.generation, &digest, now_secs) {
            return Ok(known);
        }
        let signed = Arc::new(self.verify(token, &loaded.keys)?);
        self.verified.put(loaded.generation, digest, signed.clone(), now_secs);
        Ok(signed)
    }

    fn verify(&self, token: &str, keys: &Keys) -> Result<Signed, TokenError> {
        /// Not to be believed yet: it only tells whose token it would be.
        #[derive(Deserialize)]
        struct Issued {
            #[serde(default)]
            iss: String,
        }
        let compact = Compact::parse(token).ok_or(TokenError::Unknown)?;
        let Issued { iss } = serde_json::from_slice(&compact.payload).map_err(|_| TokenError::Unknown)?;
        let is_legacy = iss == legacy::ISSUER;
        if !is_legacy && iss != self.rules.issuer && !self.rules.other_issuers.contains(&iss) {
            return Err(TokenError::Unknown);
        }
        let mut candidates = keys.candidates(compact.key_id()).peekable();
        if candidates.peek().is_none() {
            return Err(TokenError::NoKey);
        }
        if !candidates.any(|key| compact.is_signed_by(key)) {
            return Err(TokenError::Signature);
        }
        let malformed = |err: serde_json::Error| TokenError::Claims(err.to_string());
        if is_legacy {
            let claims: legacy::Claims = serde_json::from_slice(&compact.payload).map_err(malformed)?;
            let user = account::user(claims.namespace(), &claims.reference(), Default::default());
            return Ok(Signed::Legacy { claims, user: Arc::new(user) });
        }
        let claims: Claims = serde_json::from_slice(&compact.payload).map_err(malformed)?;
        let user = Arc::new(account::user_of(&claims));
        Ok(Signed::Bound { claims, user })
    }

    /// A new token. `id`: what tells it from all others.
    pub fn issue(&self, id: String, audiences: Vec<String>, bound: Bound, life: Life) -> Result<String, IssueError> {
        let claims = claims::new(&self.rules.issuer, id, audiences, bound, life);
        let token = jws::make(&claims, self.loaded.load().keys.signing())?;
        if token.len() > TOKEN_BYTES_MAX { Err(IssueError::TooLong) } else { Ok(token) }
    }

    /// Whether others can look up what they verify our tokens with.
    pub fn is_discoverable(&self) -> bool {
        openid::is_discoverable(&self.rules.issuer)
    }

    /// The OpenID Connect discovery document. `server`: the host and port under which this server is reached.
    pub fn openid_configuration(&self, server: Option<&str>) -> Result<Vec<u8>, serde_json::Error> {
        let issuer = &self.rules.issuer;
        openid::configuration(issuer, &openid::keys_uri(issuer, server), &self.loaded.load().keys)
    }

    /// The keys that our tokens are verified with, as others read them.
    pub fn openid_keys(&self) -> Result<Vec<u8>, serde_json::Error> {
        openid::key_set(&self.loaded.load().keys)
    }
}

/// Why a token could not be given.
#[derive(Debug, thiserror::Error)]
pub enum IssueError {
    #[error("it would be longer than {TOKEN_BYTES_MAX} bytes")]
    TooLong,
    #[error(transparent)]
    Make(#[from] MakeError),
}

/// Those of `have` that are wanted.
fn common(have: &[String], wanted: &[String]) -> Vec<String> {
    have.iter().filter(|audience| wanted.contains(audience)).cloned().collect()
}

#[cfg(test)]
mod tests;

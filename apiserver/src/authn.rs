//! Who is it? A client certificate, a bearer token, or nobody in particular; and whom he asks to count as.
//!
//! <https://kubernetes.io/docs/reference/access-authn-authz/authentication/>. The rooms are pure: what they ask of the cluster
//! is a view ([`Objects`](crate::view::Objects)), time and keys are handed in. `key_files` reads files; requests are led
//! through by `serve`.

pub mod account;
pub mod bearer;
pub mod bootstrap;
pub mod certificate;
pub mod claims;
pub mod front_proxy;
pub mod impersonate;
mod jws;
pub mod key_files;
pub mod keys;
pub mod legacy;
pub mod openid;
#[cfg(test)]
pub(crate) mod testing;
pub mod tokens;
mod verified;

use corten_api::{ApiError, Reason};

use crate::quoted_list::quoted_list;

pub use certificate::{AuthnError, Identity};
pub use tokens::{Authenticated, Tokens};

pub const ANONYMOUS: &str = "system:anonymous";
pub const AUTHENTICATED_GROUP: &str = "system:authenticated";
pub const UNAUTHENTICATED_GROUP: &str = "system:unauthenticated";
pub const MASTERS_GROUP: &str = "system:masters";
pub const NODES_GROUP: &str = "system:nodes";
pub const NODE_PREFIX: &str = "system:node:";
/// Every node's proxy has a name and a key of its own, as its kubelet has.
pub const PROXIES_GROUP: &str = "system:node-proxiers";
pub const PROXY_PREFIX: &str = "system:kube-proxy:";
/// What a user's extra information says of the certificate or token that he was known by.
pub const CREDENTIAL_ID: &str = "authentication.kubernetes.io/credential-id";

/// Why a token is not believed, in upstream's words. A TokenReview tells it; who bears the token hears "Unauthorized".
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum TokenError {
    #[error("invalid bearer token")]
    Unknown,
    #[error("the token is longer than {} bytes", tokens::TOKEN_BYTES_MAX)]
    TooLong,
    #[error("invalid signature, no keys found")]
    NoKey,
    #[error("invalid signature")]
    Signature,
    #[error("service account token claims could not be validated: {0}")]
    Claims(String),
    #[error("token audiences {} is invalid for the target audiences {}", quoted_list(.have), quoted_list(.wanted))]
    Audience { have: Vec<String>, wanted: Vec<String> },
    #[error("service account token has expired")]
    Expired,
    #[error("service account token is not valid yet")]
    NotYet,
    #[error("service account token is issued in the future")]
    OfTheFuture,
    #[error("serviceaccounts {name:?} not found")]
    NoAccount { name: String },
    #[error("service account UID ({have}) does not match claim ({claimed})")]
    AccountUid { have: String, claimed: String },
    #[error("service account {namespace}/{name} has been deleted")]
    AccountDeleted { namespace: String, name: String },
    #[error("service account token has been invalidated")]
    Invalidated,
    #[error("{kind} UID ({have}) does not match service account {kind} ref claim ({claimed})")]
    BoundUid { kind: &'static str, have: String, claimed: String },
    #[error(transparent)]
    Legacy(#[from] legacy::LegacyError),
    /// Whether it is good nobody can tell now.
    #[error("{}", .0.message())]
    Unanswered(ApiError),
}

impl TokenError {
    /// Whether a newer view of the cluster could have it otherwise: the token, or what it is bound to, may be that new.
    pub fn may_be_outdated(&self) -> bool {
        use legacy::LegacyError as L;
        match self {
            Self::NoAccount { .. } | Self::AccountUid { .. } | Self::Invalidated | Self::BoundUid { .. } => true,
            Self::Legacy(L::Invalidated | L::OtherText | L::AccountUid { .. } | L::MarkedInvalid { .. }) => true,
            Self::Legacy(L::Missing(_) | L::Subject | L::AccountDeleted { .. }) => false,
            Self::Unknown
            | Self::TooLong
            | Self::NoKey
            | Self::Signature
            | Self::Claims(_)
            | Self::Audience { .. }
            | Self::Expired
            | Self::NotYet
            | Self::OfTheFuture
            | Self::AccountDeleted { .. }
            | Self::Unanswered(_) => false,
        }
    }
}

/// What a request is told whose sender is not whom he says: no more than that.
pub fn unauthorized() -> ApiError {
    ApiError::new(Reason::Unauthorized, "Unauthorized")
}

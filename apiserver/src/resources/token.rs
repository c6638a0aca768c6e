//! Continue tokens: which snapshot a list goes on in, and behind which key. Opaque to clients.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use corten_api::ApiError;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ListMeta;

/// The revision of a token that goes on in whatever is there now.
pub(super) const INCONSISTENT: i64 = -1;
const VERSION: &str = "meta.k8s.io/v1";

#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(super) struct Token {
    #[serde(rename = "v")]
    version: String,
    #[serde(rename = "rv")]
    pub(super) revision: i64,
    /// The last key of the page before.
    #[serde(rename = "start")]
    pub(super) after: String,
    /// How many objects follow, where that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) left: Option<i64>,
}

impl Token {
    pub(super) fn new(revision: i64, after: &str, left: Option<i64>) -> Self {
        Self { version: VERSION.into(), revision, after: after.into(), left }
    }
    pub(super) fn encode(&self) -> Result<String, ApiError> {
        Ok(URL_SAFE_NO_PAD.encode(serde_json::to_vec(self).map_err(ApiError::internal)?))
    }
    pub(super) fn decode(text: &str) -> Result<Self, ApiError> {
        let bad = |why: String| ApiError::bad_request(format!("continue key is not valid: {why}"));
        let json = URL_SAFE_NO_PAD.decode(text.trim_end_matches('=')).map_err(|err| bad(err.to_string()))?;
        let token: Self = serde_json::from_slice(&json).map_err(|err| bad(err.to_string()))?;
        let is_known = token.version == VERSION && (token.revision == INCONSISTENT || token.revision > 0);
        // One that leads on has something behind it: less would be counted down below all bounds.
        if !is_known || token.after.is_empty() || token.left.is_some_and(|left| left <= 0) {
            return Err(bad("incorrect encoded token".into()));
        }
        Ok(token)
    }

    /// The store has forgotten this token's snapshot. The error has a token to go on with what is there now.
    pub(super) fn expired(&self) -> ApiError {
        let text = "The provided continue parameter is too old to display a consistent list result. You can start a \
                    new list without the continue parameter, or use the continue token in this response to retrieve \
                    the remainder of the results. Continuing with the provided token results in an inconsistent list \
                    - objects that were created, modified, or deleted between the time the first chunk was returned \
                    and now may show up in the list.";
        let again = Self::new(INCONSISTENT, &self.after, None).encode().ok();
        let mut status = ApiError::expired(text).status().clone();
        status.metadata = ListMeta { continue_: again, ..ListMeta::default() };
        ApiError::from_status(status)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_survive_the_wire_and_nonsense_does_not() {
        let token = Token::new(7, "default/web", Some(3));
        assert_eq!(Token::decode(&token.encode().unwrap()).unwrap(), token);
        let other = URL_SAFE_NO_PAD.encode(r#"{"v":"meta.k8s.io/v1","rv":0,"start":"a"}"#);
        let less_than_none = URL_SAFE_NO_PAD.encode(r#"{"v":"meta.k8s.io/v1","rv":7,"start":"a","left":-1}"#);
        for bad in ["", "?", "e30", &other, &less_than_none] {
            assert_eq!(Token::decode(bad).unwrap_err().code(), 400, "{bad}");
        }
    }

    #[test]
    fn an_expired_token_leads_on() {
        let err = Token::new(7, "default/web", None).expired();
        assert_eq!(err.code(), 410);
        let again = Token::decode(err.status().metadata.continue_.as_deref().unwrap()).unwrap();
        assert_eq!((again.revision, &*again.after), (INCONSISTENT, "default/web"));
    }
}

//! Bootstrap tokens, as their Secrets have them: what those who join a cluster show, and trust it by.
//!
//! <https://kubernetes.io/docs/reference/access-authn-authz/bootstrap-tokens/>

use corten_api::Object;
use corten_api::k8s_openapi::api::core::v1::Secret;
use corten_client::{Client, Watch};
use jiff::Timestamp;

pub const NAMESPACE: &str = "kube-system";
const TYPE: &str = "bootstrap.kubernetes.io/token";
const NAME_PREFIX: &str = "bootstrap-token-";
const ID_BYTES: usize = 6;

/// How long a token is good.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Until {
    #[default]
    ForGood,
    At(Timestamp),
    /// What stands there is no time: it counts as past.
    Unreadable,
}

impl Until {
    pub fn is_past(self, now: Timestamp) -> bool {
        match self {
            Self::ForGood => false,
            Self::At(at) => at <= now,
            Self::Unreadable => true,
        }
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SeenToken {
    pub uid: String,
    /// As the data and the Secret's name have it, if both have the same.
    pub id: Option<String>,
    pub secret: String,
    pub until: Until,
    /// It may sign the ConfigMap cluster-info.
    pub signs: bool,
    pub deleting: bool,
}

impl SeenToken {
    pub fn of(object: Secret) -> Self {
        let text = |key: &str| {
            let bytes = object.data.as_ref().and_then(|data| data.get(key)).map_or(&[][..], |value| &value.0);
            String::from_utf8_lossy(bytes).into_owned()
        };
        let id = text("token-id");
        let named = object.name().strip_prefix(NAME_PREFIX).filter(|name| is_id(name));
        let until = match text("expiration").as_str() {
            "" => Until::ForGood,
            at => at.parse().map_or(Until::Unreadable, Until::At),
        };
        Self {
            uid: object.uid().to_owned(),
            until,
            secret: text("token-secret"),
            signs: text("usage-bootstrap-signing") == "true",
            deleting: object.is_deleting(),
            id: (named == Some(id.as_str())).then_some(id),
        }
    }
}

fn is_id(name: &str) -> bool {
    name.len() == ID_BYTES && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
}

pub fn watch(client: &Client) -> Watch<Secret> {
    Watch::all(client).namespace(NAMESPACE).fields(&format!("type={TYPE}"))
}

#[cfg(test)]
mod tests {
    use corten_api::k8s_openapi::ByteString;

    use super::*;

    #[test]
    fn tokens_table() {
        let of = |name: &str, data: &[(&str, &str)]| {
            let mut secret = Secret::default();
            secret.metadata.name = Some(name.into());
            let bytes = |text: &str| ByteString(text.as_bytes().to_vec());
            secret.data = Some(data.iter().map(|(key, value)| ((*key).to_owned(), bytes(value))).collect());
            SeenToken::of(secret)
        };
        let good = of(
            "bootstrap-token-abc123",
            &[("token-id", "abc123"), ("token-secret", "s"), ("usage-bootstrap-signing", "true")],
        );
        assert_eq!((good.id.as_deref(), good.secret.as_str(), good.signs), (Some("abc123"), "s", true));
        for (why, name, id) in [
            ("another id", "bootstrap-token-abc123", "abc124"),
            ("no id", "bootstrap-token-abc123", ""),
            ("another name", "token-abc123", "abc123"),
            ("too long", "bootstrap-token-abc1234", "abc1234"),
            ("capitals", "bootstrap-token-ABC123", "ABC123"),
        ] {
            assert_eq!(of(name, &[("token-id", id)]).id, None, "{why}");
        }
        let now: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        for (text, expected) in [
            ("", false),
            ("2026-01-01T00:00:01Z", false),
            ("2026-01-01T00:00:00Z", true),
            ("2026-01-01T01:00:00+02:00", true),
            ("soon", true),
        ] {
            assert_eq!(of("x", &[("expiration", text)]).until.is_past(now), expected, "{text}");
        }
    }
}

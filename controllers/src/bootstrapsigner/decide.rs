//! The signatures that cluster-info should have: one by each bootstrap token, so that who has the token trusts it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use ring::hmac;
use serde_json::json;

use crate::bootstraptokens::{SeenToken, Until};

const CONTENT: &str = "kubeconfig";
const SIGNATURE_PREFIX: &str = "jws-kubeconfig-";

/// Everything the decision may look at.
pub struct Observed<'a> {
    pub now: Timestamp,
    /// The data of the ConfigMap.
    pub data: &'a BTreeMap<String, String>,
    pub tokens: &'a [Arc<SeenToken>],
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Decision {
    /// What changes in the data; `None` takes a signature away.
    pub changes: BTreeMap<String, Option<String>>,
    /// When the next token is no good any more.
    pub wake_after: Option<Duration>,
}

pub fn decide(seen: &Observed<'_>) -> Decision {
    let Some(content) = seen.data.get(CONTENT) else { return Decision::default() };
    let mut decision = Decision::default();
    let mut signed = BTreeSet::new();
    for token in seen.tokens.iter().filter(|token| signs(token, seen.now)) {
        let Some(id) = &token.id else { continue };
        let (key, signature) = (format!("{SIGNATURE_PREFIX}{id}"), signature(content, id, &token.secret));
        if seen.data.get(&key) != Some(&signature) {
            decision.changes.insert(key.clone(), Some(signature));
        }
        signed.insert(key);
        if let Until::At(at) = token.until {
            let wait = Duration::try_from(at.duration_since(seen.now)).unwrap_or(Duration::ZERO);
            decision.wake_after = Some(decision.wake_after.map_or(wait, |next| next.min(wait)));
        }
    }
    let others = seen.data.keys().filter(|key| key.starts_with(SIGNATURE_PREFIX) && !signed.contains(*key));
    decision.changes.extend(others.map(|key| (key.clone(), None)));
    decision
}

fn signs(token: &SeenToken, now: Timestamp) -> bool {
    token.signs && !token.secret.is_empty() && !token.until.is_past(now)
}

/// A JWS without its content, which stands beside it: <https://www.rfc-editor.org/rfc/rfc7515#appendix-F>.
fn signature(content: &str, id: &str, secret: &str) -> String {
    let header = URL_SAFE_NO_PAD.encode(json!({"alg": "HS256", "kid": id}).to_string());
    let signed = format!("{header}.{}", URL_SAFE_NO_PAD.encode(content));
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
    format!("{header}..{}", URL_SAFE_NO_PAD.encode(hmac::sign(&key, signed.as_bytes())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(secs: i64) -> Timestamp {
        Timestamp::from_second(secs).unwrap()
    }
    fn token(id: &str, until: Until) -> SeenToken {
        SeenToken { id: Some(id.into()), secret: "s".into(), signs: true, until, ..SeenToken::default() }
    }

    /// What kubeadm makes of the same.
    #[test]
    fn a_signature_is_as_others_make_it() {
        let content = "Hello from the other side. I must have called a thousand times.";
        let expected = "eyJhbGciOiJIUzI1NiIsImtpZCI6Impvc2h1YSJ9..VShe2taLd-YTrmWuRkcL_8QTNDHYxQIEBsAYYiIj1_8";
        assert_eq!(signature(content, "joshua", "my voice is my passcode"), expected);
    }

    #[test]
    fn signatures_table() {
        let (a, b) = (token("aaaaaa", Until::ForGood), token("bbbbbb", Until::At(at(160))));
        let right = signature("content", "aaaaaa", "s");
        let cases = [
            ("none yet", vec![("kubeconfig", "content")], vec![a.clone(), b.clone()], "+aaaaaa +bbbbbb", Some(60)),
            (
                "it is there",
                vec![("kubeconfig", "content"), ("jws-kubeconfig-aaaaaa", &right)],
                vec![a.clone()],
                "",
                None,
            ),
            (
                "of what stood there before",
                vec![("kubeconfig", "other"), ("jws-kubeconfig-aaaaaa", &right)],
                vec![a.clone()],
                "+aaaaaa",
                None,
            ),
            (
                "the token is gone; what else stands there stays",
                vec![("kubeconfig", "content"), ("jws-kubeconfig-cccccc", "x"), ("y", "z")],
                vec![],
                "-cccccc",
                None,
            ),
            (
                "it is past",
                vec![("kubeconfig", "content"), ("jws-kubeconfig-aaaaaa", &right)],
                vec![token("aaaaaa", Until::At(at(100)))],
                "-aaaaaa",
                None,
            ),
            (
                "it may not sign",
                vec![("kubeconfig", "content")],
                vec![SeenToken { signs: false, ..a.clone() }],
                "",
                None,
            ),
            (
                "it has another's name",
                vec![("kubeconfig", "content")],
                vec![SeenToken { id: None, ..a.clone() }],
                "",
                None,
            ),
            ("nothing to sign", vec![("jws-kubeconfig-aaaaaa", "x")], vec![a], "", None),
        ];
        for (why, data, tokens, expected, wake_secs) in cases {
            let data = data.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
            let tokens: Vec<_> = tokens.into_iter().map(Arc::new).collect();
            let decision = decide(&Observed { now: at(100), data: &data, tokens: &tokens });
            let change = |(key, to): (&String, &Option<String>)| {
                let sign = if to.is_some() { '+' } else { '-' };
                format!("{sign}{}", key.strip_prefix(SIGNATURE_PREFIX).unwrap())
            };
            assert_eq!(decision.changes.iter().map(change).collect::<Vec<_>>().join(" "), expected, "{why}");
            assert_eq!(decision.wake_after, wake_secs.map(Duration::from_secs), "{why}");
        }
    }
}

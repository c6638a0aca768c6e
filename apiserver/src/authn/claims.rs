//! What a service-account token says: whose it is, for whom, from when until when, and what it dies with. Pure.
//!
//! Names and shapes are upstream's: <https://kubernetes.io/docs/reference/access-authn-authz/service-accounts-admin/>.

use serde::de::{Deserializer, Error as _};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::TokenError;

/// What clocks may differ by, and how long a deleted object's tokens stay good.
pub const LEEWAY_SECS: i64 = 60;

/// The claims of a token that TokenRequest gave. In the order of their names, as upstream writes them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Claims {
    #[serde(default, deserialize_with = "one_or_many", skip_serializing_if = "Vec::is_empty")]
    pub aud: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exp: Option<Seconds>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub iat: Option<Seconds>,
    #[serde(default)]
    pub iss: String,
    /// What tells it from all others.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub jti: String,
    #[serde(default, rename = "kubernetes.io")]
    pub bound: Bound,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nbf: Option<Seconds>,
    #[serde(default)]
    pub sub: String,
}

/// The account, and the objects that the token dies with.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bound {
    #[serde(default)]
    pub namespace: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<Reference>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod: Option<Reference>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<Reference>,
    #[serde(default, rename = "serviceaccount")]
    pub account: Reference,
    /// From then on its holder should have had another: it lives longer than was asked for.
    #[serde(default, rename = "warnafter", skip_serializing_if = "Option::is_none")]
    pub warn_after: Option<Seconds>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reference {
    #[serde(default)]
    pub name: String,
    /// Empty for a pod's node that was gone when the token was made.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub uid: String,
}

/// Unix time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Seconds(pub i64);

impl<'de> Deserialize<'de> for Seconds {
    /// RFC 7519 lets times have fractions.
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        const BEYOND: f64 = 1e15;
        let number = serde_json::Number::deserialize(from)?;
        let whole = number.as_i64().or_else(|| {
            let time = number.as_f64().filter(|time| time.abs() < BEYOND)?;
            // Within the bound every whole number is exact.
            Some(time.floor() as i64)
        });
        whole.map(Self).ok_or_else(|| D::Error::custom("a time out of all bounds"))
    }
}

/// An audience may stand alone, without a list.
fn one_or_many<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<String>, D::Error> {
    let text = |value| match value {
        Value::String(text) => Ok(text),
        _ => Err(D::Error::custom("an audience that is no text")),
    };
    match Value::deserialize(from)? {
        Value::Array(many) => many.into_iter().map(text).collect(),
        one => Ok(vec![text(one)?]),
    }
}

/// How long a new token lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Life {
    pub now_secs: i64,
    pub secs: i64,
    /// After so long its holder is expected to have another.
    pub warn_after_secs: Option<i64>,
}

/// The claims of a new token. `id`: what tells it from all others.
pub fn new(issuer: &str, id: String, audiences: Vec<String>, mut bound: Bound, life: Life) -> Claims {
    let after = |secs: i64| Some(Seconds(life.now_secs.saturating_add(secs)));
    bound.warn_after = life.warn_after_secs.and_then(after);
    Claims {
        aud: audiences,
        exp: after(life.secs),
        iat: after(0),
        iss: issuer.to_owned(),
        jti: id,
        nbf: after(0),
        sub: super::account::user_name(&bound.namespace, &bound.account.name),
        bound,
    }
}

/// Whether it is good at this time.
pub fn check_times(claims: &Claims, now_secs: i64) -> Result<(), TokenError> {
    let (late, early) = (Seconds(now_secs + LEEWAY_SECS), Seconds(now_secs - LEEWAY_SECS));
    if claims.nbf.is_some_and(|from| late < from) {
        return Err(TokenError::NotYet);
    }
    if claims.exp.is_some_and(|until| early > until) {
        return Err(TokenError::Expired);
    }
    if claims.iat.is_some_and(|at| late < at) {
        return Err(TokenError::OfTheFuture);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn reference(name: &str) -> Reference {
        Reference { name: name.into(), uid: format!("uid-{name}") }
    }

    #[test]
    fn claims_of_new_tokens() {
        let account = Bound { namespace: "ns".into(), account: reference("sa"), ..Bound::default() };
        let life = Life { now_secs: 1000, secs: 600, warn_after_secs: None };
        let made = |bound: Bound, life| {
            let claims = new("https://issuer", "id".into(), vec!["api".into()], bound, life);
            serde_json::to_value(claims).unwrap()
        };
        let expected = |bound: Value| {
            json!({"aud": ["api"], "exp": 1600, "iat": 1000, "iss": "https://issuer", "jti": "id", "nbf": 1000,
                "sub": "system:serviceaccount:ns:sa", "kubernetes.io": bound})
        };
        let own = json!({"namespace": "ns", "serviceaccount": {"name": "sa", "uid": "uid-sa"}});
        let with = |key: &str, value: Value| {
            let mut bound = own.clone();
            bound[key] = value;
            bound
        };
        let pod = Bound { pod: Some(reference("p")), ..account.clone() };
        let secret = Bound { secret: Some(reference("s")), ..account.clone() };
        let lost = Reference { name: "n".into(), uid: String::new() };
        let node = Bound { node: Some(lost), ..account.clone() };
        for (why, bound, expected) in [
            ("of an account alone", account.clone(), expected(own.clone())),
            ("bound to a pod", pod, expected(with("pod", json!({"name": "p", "uid": "uid-p"})))),
            ("bound to a secret", secret, expected(with("secret", json!({"name": "s", "uid": "uid-s"})))),
            ("of a node that is gone", node, expected(with("node", json!({"name": "n"})))),
        ] {
            assert_eq!(made(bound, life), expected, "{why}");
        }
        let long = made(account, Life { secs: 31_536_000, warn_after_secs: Some(3607), ..life });
        assert_eq!((&long["exp"], &long["kubernetes.io"]["warnafter"]), (&json!(31_537_000), &json!(4607)));
    }

    #[test]
    fn claims_are_read_as_others_may_write_them() {
        for (why, text, expected) in [
            ("one audience", json!({"aud": "a"}), Claims { aud: vec!["a".into()], ..Claims::default() }),
            ("a fraction of a second", json!({"exp": 12.9}), Claims { exp: Some(Seconds(12)), ..Claims::default() }),
            ("what we do not know", json!({"name": "x"}), Claims::default()),
        ] {
            assert_eq!(serde_json::from_value::<Claims>(text).unwrap(), expected, "{why}");
        }
        for bad in [
            json!({"aud": 5}),
            json!({"aud": ["a", 5]}),
            json!({"exp": "12"}),
            json!({"exp": 1e300}),
            json!({"sub": null}),
            json!({"kubernetes.io": "ns"}),
        ] {
            assert!(serde_json::from_value::<Claims>(bad.clone()).is_err(), "{bad}");
        }
        let twice = r#"{"sub":"a","sub":"b"}"#;
        assert!(serde_json::from_str::<Claims>(twice).is_err(), "which of them it is others may see otherwise");
    }

    #[test]
    fn times() {
        let claims = |iat, nbf, exp| {
            let at = |secs: i64| (secs != 0).then_some(Seconds(secs));
            Claims { iat: at(iat), nbf: at(nbf), exp: at(exp), ..Claims::default() }
        };
        for (why, claims, expected) in [
            ("within its life", claims(1000, 1000, 2000), Ok(())),
            ("as clocks may differ", claims(1560, 1560, 1440), Ok(())),
            ("ended", claims(1000, 1000, 1439), Err(TokenError::Expired)),
            ("not begun", claims(1000, 1561, 2000), Err(TokenError::NotYet)),
            ("made later", claims(1561, 1000, 2000), Err(TokenError::OfTheFuture)),
            ("not begun and ended", claims(0, 1561, 1439), Err(TokenError::NotYet)),
            ("without times", claims(0, 0, 0), Ok(())),
        ] {
            assert_eq!(check_times(&claims, 1500), expected, "{why}");
        }
    }
}

//! Tokens from being made to being believed, or not.

use serde_json::{Value, json};

use super::super::claims::Reference;
use super::super::testing::{self, ISSUER};
use super::super::{CREDENTIAL_ID, keys::Keys};
use super::*;
use crate::view::testing::Cluster;

const NOW: i64 = 1_800_000_000;
const LIFE: Life = Life { now_secs: NOW, secs: 3600, warn_after_secs: None };

fn bound() -> Bound {
    let account = Reference { name: "sa".into(), uid: "1".into() };
    Bound { namespace: "ns".into(), account, ..Bound::default() }
}

fn view() -> Cluster {
    Cluster::of(&[("serviceaccounts/ns/sa", json!({"metadata": {"uid": "1"}}))])
}

fn owned(list: &[&str]) -> Vec<String> {
    list.iter().map(|text| (*text).to_owned()).collect()
}

fn issued(tokens: &Tokens, audiences: &[&str]) -> String {
    tokens.issue("id".into(), owned(audiences), bound(), LIFE).unwrap()
}

/// The audiences, or what is said against it.
fn told(tokens: &Tokens, token: &str, audiences: &[&str], now: i64) -> String {
    match tokens.authenticate(token, &owned(audiences), now, &view()) {
        Ok(authenticated) => authenticated.audiences.join(" "),
        Err(err) => err.to_string(),
    }
}

#[test]
fn a_token_makes_its_bearer_the_account() {
    let tokens = testing::tokens();
    let token = issued(&tokens, &["api"]);
    let Authenticated { user, audiences } = tokens.authenticate(&token, &[], NOW, &view()).unwrap();
    assert_eq!((user.name.as_str(), user.uid.as_str()), ("system:serviceaccount:ns:sa", "1"));
    assert_eq!((user.extra[CREDENTIAL_ID].join(" "), audiences), ("JTI=id".to_owned(), owned(&["api"])));
}

#[test]
fn audiences_must_meet() {
    let tokens = testing::tokens();
    for (why, meant_for, wanted, expected) in [
        ("for us", vec!["api"], vec![], "api"),
        ("for us under another name", vec![ISSUER], vec![], ISSUER),
        ("for us and others", vec!["vault", "api", ISSUER], vec![], &*format!("api {ISSUER}")),
        (
            "for others",
            vec!["vault"],
            vec![],
            &*format!(r#"token audiences ["vault"] is invalid for the target audiences ["{ISSUER}" "api"]"#),
        ),
        ("asked for others", vec!["vault", "api"], vec!["vault"], "vault"),
        (
            "asked for a third",
            vec!["vault"],
            vec!["x", "y"],
            r#"token audiences ["vault"] is invalid for the target audiences ["x" "y"]"#,
        ),
        ("for nobody: for us", vec![], vec![], &*format!("{ISSUER} api")),
        (
            "for nobody, asked for others",
            vec![],
            vec!["vault"],
            &*format!(r#"token audiences ["{ISSUER}" "api"] is invalid for the target audiences ["vault"]"#),
        ),
    ] {
        let token = issued(&tokens, &meant_for);
        assert_eq!(told(&tokens, &token, &wanted, NOW), expected, "{why}");
    }
}

#[test]
fn what_is_not_believed() {
    let (own, foreign) = (testing::ecdsa_pem(), testing::ecdsa());
    let keys = || Keys::of_pem(&own, &[]).unwrap();
    let ours = |claims: Value| testing::signed(&claims, &keys());
    let tokens = Tokens::new(testing::rules(), keys());
    let good = issued(&tokens, &["api"]);
    let claims = |issuer: &str| json!({"iss": issuer, "aud": ["api"], "exp": NOW, "kubernetes.io": {"namespace": "ns", "serviceaccount": {"name": "sa", "uid": "1"}}});
    let (body, signature) = good.rsplit_once('.').unwrap();
    let other = issued(&tokens, &["vault"]);
    let (_, other_signature) = other.rsplit_once('.').unwrap();
    let mut wrong_shape = claims(ISSUER);
    wrong_shape["aud"] = json!(5);
    for (why, token, expected) in [
        ("good", good.clone(), "api"),
        ("of an issuer before", ours(claims("https://before.example.com")), "api"),
        ("of a foreign issuer", ours(claims("https://elsewhere.example.com")), "invalid bearer token"),
        ("of no issuer", ours(json!({})), "invalid bearer token"),
        ("no token", "abc".into(), "invalid bearer token"),
        ("a foreign key's", testing::signed(&claims(ISSUER), &foreign), "invalid signature, no keys found"),
        ("another's signature", format!("{body}.{other_signature}"), "invalid signature"),
        ("no signature", format!("{body}."), "invalid signature"),
        ("half a signature", format!("{body}.{}", &signature[..40]), "invalid signature"),
        ("too long", "x".repeat(TOKEN_BYTES_MAX + 1), "the token is longer than 16384 bytes"),
        (
            "a wrong shape",
            ours(wrong_shape),
            "service account token claims could not be validated: an audience that is no text at line 1 column 8",
        ),
        ("no account in it", ours(json!({"iss": ISSUER})), r#"serviceaccounts "" not found"#),
        ("of the old kind, with nothing in it", ours(json!({"iss": legacy::ISSUER})), "sub claim is missing"),
    ] {
        assert_eq!(told(&tokens, &token, &[], NOW), expected, "{why}");
        assert_eq!(told(&tokens, &token, &[], NOW), expected, "{why}: asked again");
    }
}

#[test]
fn a_token_that_is_known_still_ends() {
    let tokens = testing::tokens();
    let token = issued(&tokens, &["api"]);
    for (now, expected) in [
        (NOW - 61, "service account token is not valid yet"),
        (NOW - 60, "api"),
        (NOW + 3660, "api"),
        (NOW + 3661, "service account token has expired"),
    ] {
        assert_eq!(told(&tokens, &token, &[], now), expected, "{}", now - NOW);
    }
    let gone = tokens.authenticate(&token, &[], NOW, &Cluster::default()).unwrap_err();
    assert_eq!(gone, TokenError::NoAccount { name: "sa".into() });
}

#[test]
fn keys_rotate() {
    let [old, new] = [testing::ecdsa_pem(), include_bytes!("../testdata/rsa-pkcs8.pem").to_vec()];
    let keys = |signing: &Vec<u8>, others: &[&Vec<u8>]| {
        Keys::of_pem(signing, &others.iter().map(|text| (*text).clone()).collect::<Vec<_>>()).unwrap()
    };
    let tokens = Tokens::new(testing::rules(), keys(&old, &[]));
    let before = issued(&tokens, &["api"]);
    assert_eq!(told(&tokens, &before, &[], NOW), "api");
    tokens.replace_keys(keys(&old, &[&new]));
    assert_eq!(told(&tokens, &before, &[], NOW), "api", "the new one is known first");
    tokens.replace_keys(keys(&new, &[&old]));
    let after = issued(&tokens, &["api"]);
    for token in [&before, &after] {
        assert_eq!(told(&tokens, token, &[], NOW), "api", "then it signs, and the old one still counts");
    }
    tokens.replace_keys(keys(&new, &[]));
    assert_eq!(told(&tokens, &after, &[], NOW), "api");
    assert_eq!(
        told(&tokens, &before, &[], NOW),
        "invalid signature, no keys found",
        "it is known from before, and is no more"
    );
}

#[test]
fn a_token_without_a_key_id_is_tried_with_all_keys() {
    let keys = testing::rsa_and_ecdsa();
    let tokens = Tokens::new(testing::rules(), testing::rsa_and_ecdsa());
    let token = issued(&tokens, &["api"]);
    let payload = token.split('.').nth(1).unwrap();
    use base64::Engine;
    let encode = |bytes: &[u8]| base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(bytes);
    let body = format!("{}.{payload}", encode(br#"{"alg":"RS256"}"#));
    let signature = keys.signing().sign(body.as_bytes()).unwrap();
    assert_eq!(told(&tokens, &format!("{body}.{}", encode(&signature)), &[], NOW), "api");
}

#[test]
fn bootstrap_tokens_are_for_this_api_alone() {
    let tokens = testing::tokens();
    let data = json!({"token-id": "YWJjZGVm", "token-secret": "MDEyMzQ1Njc4OWFiY2RlZg==", "usage-bootstrap-authentication": "dHJ1ZQ=="});
    let secret = json!({"metadata": {}, "type": "bootstrap.kubernetes.io/token", "data": data});
    let view = Cluster::of(&[("secrets/kube-system/bootstrap-token-abcdef", secret)]);
    let ask = |token: &str, audiences: &[&str]| {
        let found = tokens.authenticate(token, &owned(audiences), NOW, &view);
        found.map(|found| format!("{} {}", found.user.name, found.audiences.join(" "))).map_err(|err| err.to_string())
    };
    assert_eq!(ask("abcdef.0123456789abcdef", &[]), Ok(format!("system:bootstrap:abcdef {ISSUER} api")));
    assert_eq!(ask("abcdef.0123456789abcdef", &["api", "x"]), Ok("system:bootstrap:abcdef api".into()));
    for (token, audiences) in [
        ("abcdef.0123456789abcdef", vec!["x"]),
        ("abcdef.0123456789abcdeg", vec![]),
        ("abcdeg.0123456789abcdef", vec![]),
    ] {
        assert_eq!(ask(token, &audiences), Err("invalid bearer token".into()), "{token}");
    }
}

#[test]
fn no_token_is_made_that_would_not_be_read() {
    let tokens = testing::tokens();
    let much = vec!["x".repeat(TOKEN_BYTES_MAX)];
    assert!(matches!(tokens.issue("id".into(), much, bound(), LIFE), Err(IssueError::TooLong)));
}

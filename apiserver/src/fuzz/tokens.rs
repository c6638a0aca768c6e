//! What strangers send to be somebody, tried with made-up bytes: tokens, the headers that carry them, and headers that name
//! others.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use corten_fuzz::{Inputs, Random, run};
use http::header::{AUTHORIZATION, SEC_WEBSOCKET_PROTOCOL};
use http::{HeaderMap, HeaderName, HeaderValue};
use serde_json::json;

use crate::authn::claims::{Bound, Life, Reference};
use crate::authn::testing;
use crate::authn::{Tokens, bearer, impersonate, keys::Keys};
use crate::request::User;
use crate::view::testing::Cluster;

const NOW: i64 = 1_800_000_000;
const ACCOUNT: &str = "system:serviceaccount:ns:sa";
const TOKENS: &[&[u8]] = &[
    b".",
    b"..",
    b"=",
    b"e30",
    b"eyJhbGciOiJub25lIn0",
    b"eyJhbGciOiJIUzI1NiJ9",
    b"-_",
    b"+/",
    b"\xff",
    b"\0",
    b"abcdef.",
];
const CLAIMS: &[&[u8]] = &[
    b"\"aud\":\"api\",",
    b"\"aud\":[],",
    b"\"exp\":1e308,",
    b"\"exp\":-9223372036854775808,",
    b"\"nbf\":9223372036854775807,",
    b"\"iat\":0.5,",
    b"\"iss\":\"kubernetes/serviceaccount\",",
    b"\"kubernetes.io\":null,",
    b"\"kubernetes.io/serviceaccount/namespace\":\"ns\",",
    b"\"pod\":{},",
    b"\"node\":{\"name\":\"n\"},",
    b"\"serviceaccount\":{\"name\":\"../sa\",\"uid\":\"1\"},",
    b"[[[[[[[[[[[[[[[[",
    b"\\u0000",
    b"null",
];

/// RSA signs the same text always in the same way: a seed gives the same inputs again.
fn rsa() -> (Tokens, Keys) {
    (Tokens::new(testing::rules(), testing::rsa()), testing::rsa())
}

fn view() -> Cluster {
    Cluster::of(&[("serviceaccounts/ns/sa", json!({"metadata": {"uid": "1"}}))])
}

fn issued(tokens: &Tokens) -> String {
    let account = Reference { name: "sa".into(), uid: "1".into() };
    let bound = Bound { namespace: "ns".into(), account, ..Bound::default() };
    let life = Life { now_secs: NOW, secs: 3600, warn_after_secs: None };
    tokens.issue("id".into(), vec!["api".into()], bound, life).unwrap()
}

#[test]
fn no_token_is_believed_but_the_one_that_was_given() {
    let (tokens, _) = rsa();
    let (token, view) = (issued(&tokens), view());
    let [header, payload, signature] = token.split('.').collect::<Vec<_>>().try_into().unwrap();
    let [header, payload] = [header, payload].map(|part| URL_SAFE_NO_PAD.decode(part).unwrap());
    let whole = Inputs { valid: &[token.as_bytes(), b"abcdef.0123456789abcdef"], tokens: TOKENS };
    let headers =
        Inputs { valid: &[&header], tokens: &[b"\"crit\":[],", b"\"alg\":\"none\",", b"\"kid\":\"\",", b"null"] };
    let payloads = Inputs { valid: &[&payload], tokens: CLAIMS };
    run("no_token_is_believed_but_the_one_that_was_given", |random: &mut Random| {
        let text = match random.below(3) {
            0 => String::from_utf8_lossy(&whole.mutate(random)).into_owned(),
            1 => format!(
                "{}.{}.{signature}",
                URL_SAFE_NO_PAD.encode(headers.mutate(random)),
                URL_SAFE_NO_PAD.encode(&payload)
            ),
            _ => format!(
                "{}.{}.{signature}",
                URL_SAFE_NO_PAD.encode(&header),
                URL_SAFE_NO_PAD.encode(payloads.mutate(random))
            ),
        };
        match tokens.authenticate(&text, &[], NOW, &view) {
            Ok(known) => assert_eq!((text.as_str(), known.user.name.as_str()), (token.as_str(), ACCOUNT)),
            Err(_) => assert_ne!(text, token),
        }
    });
}

#[test]
fn whatever_we_have_signed_makes_nobody_but_an_account_that_is_there() {
    let (tokens, keys) = rsa();
    let (token, view) = (issued(&tokens), view());
    let payload = URL_SAFE_NO_PAD.decode(token.split('.').nth(1).unwrap()).unwrap();
    let inputs = Inputs { valid: &[&payload], tokens: CLAIMS };
    run("whatever_we_have_signed_makes_nobody_but_an_account_that_is_there", |random: &mut Random| {
        let payload = inputs.mutate(random);
        let Ok(claims) = serde_json::from_slice::<Box<serde_json::value::RawValue>>(&payload) else { return };
        let text = testing::signed(&claims, &keys);
        if let Ok(known) = tokens.authenticate(&text, &[], NOW, &view) {
            assert_eq!((known.user.name.as_str(), known.user.uid.as_str()), (ACCOUNT, "1"), "{claims}");
        }
    });
}

#[test]
fn headers_that_name_somebody_are_understood_or_refused() {
    let inputs = Inputs {
        valid: &[
            b"Bearer abc.def.ghi",
            b"base64url.bearer.authorization.k8s.io.YWJj, v4.channel.k8s.io",
            b"system:serviceaccount:ns:sa",
            b"system:node:n1",
            b"jane",
        ],
        tokens: &[
            b",",
            b" ",
            b"base64url.bearer.authorization.k8s.io.",
            b":",
            b"%zz",
            b"%2F",
            b"=",
            b"\xff",
            b"\xc3\xa9",
        ],
    };
    let names =
        ["impersonate-user", "impersonate-group", "impersonate-uid", "impersonate-extra-a%2Fb", "impersonate-extra-"];
    run("headers_that_name_somebody_are_understood_or_refused", |random: &mut Random| {
        let mut headers = HeaderMap::new();
        let mut put = |name: HeaderName, random: &mut Random| {
            if let Ok(value) = HeaderValue::from_bytes(&inputs.mutate(random)) {
                headers.append(name, value);
            }
        };
        for name in [AUTHORIZATION, SEC_WEBSOCKET_PROTOCOL] {
            if random.one_in(2) {
                put(name, random);
            }
        }
        for _ in 0..random.below(4) {
            let name = names[random.below(names.len())];
            put(HeaderName::from_static("impersonate-user"), random);
            put(name.parse().unwrap(), random);
        }
        let carried = bearer::carried(&headers, true);
        assert!(!matches!(carried, Ok(Some(token)) if token.is_empty()));
        let _other = bearer::offered_besides_token(&headers);
        match impersonate::wish(&headers) {
            Ok(Some(wish)) => {
                let modes = impersonate::modes(&wish, &User::default());
                assert!(modes.iter().all(|mode| !mode.checks.is_empty() && mode.user.name == wish.name), "{wish:?}");
            }
            Ok(None) => {}
            Err(err) => assert_eq!(err.code(), 400),
        }
    });
}

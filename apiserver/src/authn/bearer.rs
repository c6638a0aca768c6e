//! The token that a request carries: in its Authorization header, or as a WebSocket's subprotocol, because browsers let their
//! scripts set no header there. Pure.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::header::{AUTHORIZATION, HeaderMap, HeaderValue, SEC_WEBSOCKET_PROTOCOL};

const SCHEME: &str = "bearer";
/// What follows is the token in base64url without padding.
const SUBPROTOCOL_PREFIX: &str = "base64url.bearer.authorization.k8s.io.";

/// A request that wants to be somebody and does not say it in a way that we know. It is not taken for nobody's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BearerError {
    #[error("the Authorization header has no bearer token")]
    NotBearer,
    #[error("multiple base64.bearer.authorization tokens specified")]
    Several,
    #[error("invalid base64.bearer.authorization token encoding")]
    Encoding,
    #[error("invalid base64.bearer.authorization token")]
    NotText,
    #[error("missing additional subprotocol")]
    Alone,
}

/// `is_websocket`: the request asks for that protocol.
pub fn carried(headers: &HeaderMap, is_websocket: bool) -> Result<Option<String>, BearerError> {
    if let Some(value) = headers.get(AUTHORIZATION) {
        let text = value.to_str().map_err(|_| BearerError::NotBearer)?;
        let mut words = text.trim().splitn(3, ' ');
        let is_bearer = words.next().is_some_and(|scheme| scheme.eq_ignore_ascii_case(SCHEME));
        let token = words.next().filter(|token| is_bearer && !token.is_empty());
        return token.map(|token| Some(token.to_owned())).ok_or(BearerError::NotBearer);
    }
    if is_websocket { of_subprotocol(headers) } else { Ok(None) }
}

fn of_subprotocol(headers: &HeaderMap) -> Result<Option<String>, BearerError> {
    let (mut token, mut others) = (None, 0);
    for protocol in subprotocols(headers) {
        match protocol.strip_prefix(SUBPROTOCOL_PREFIX) {
            None => others += 1,
            Some(_) if token.is_some() => return Err(BearerError::Several),
            Some(encoded) => {
                let bytes = URL_SAFE_NO_PAD.decode(encoded).map_err(|_| BearerError::Encoding)?;
                token = Some(String::from_utf8(bytes).map_err(|_| BearerError::NotText)?);
            }
        }
    }
    match token {
        // There must be one to answer with: a token goes over the wire once.
        Some(_) if others == 0 => Err(BearerError::Alone),
        Some(token) if token.is_empty() => Err(BearerError::NotText),
        token => Ok(token),
    }
}

fn subprotocols(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    let values = headers.get_all(SEC_WEBSOCKET_PROTOCOL).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).map(str::trim)
}

/// The one subprotocol that a client offers besides its token, if there is a token and one other.
pub fn offered_besides_token(headers: &HeaderMap) -> Option<&str> {
    let (tokens, others): (Vec<&str>, Vec<&str>) =
        subprotocols(headers).partition(|protocol| protocol.starts_with(SUBPROTOCOL_PREFIX));
    match others.as_slice() {
        [one] if !tokens.is_empty() => Some(one),
        _ => None,
    }
}

/// Takes the token out of the subprotocols that are offered: for a server that is not to learn it.
pub fn take_out(headers: &mut HeaderMap) {
    let others: Vec<&str> =
        subprotocols(headers).filter(|protocol| !protocol.starts_with(SUBPROTOCOL_PREFIX)).collect();
    if subprotocols(headers).count() == others.len() {
        return;
    }
    match HeaderValue::try_from(others.join(", ")) {
        Ok(value) if !value.is_empty() => drop(headers.insert(SEC_WEBSOCKET_PROTOCOL, value)),
        _ => drop(headers.remove(SEC_WEBSOCKET_PROTOCOL)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, value.parse().unwrap());
        }
        headers
    }

    #[test]
    fn tokens_of_headers() {
        for (value, expected) in [
            ("Bearer abc", Ok("abc")),
            ("bearer abc", Ok("abc")),
            ("  BEARER abc  ", Ok("abc")),
            ("Bearer abc def", Ok("abc")),
            ("Bearer", Err(BearerError::NotBearer)),
            ("Bearer ", Err(BearerError::NotBearer)),
            ("Bearer  abc", Err(BearerError::NotBearer)),
            ("Basic amFuZTp4", Err(BearerError::NotBearer)),
            ("", Err(BearerError::NotBearer)),
            ("abc", Err(BearerError::NotBearer)),
        ] {
            let expected = expected.map(|token| Some(token.to_owned()));
            assert_eq!(carried(&headers(&[("authorization", value)]), false), expected, "{value:?}");
        }
        assert_eq!(carried(&HeaderMap::new(), true), Ok(None));
    }

    #[test]
    fn tokens_of_subprotocols() {
        let token = |text: &str| format!("{SUBPROTOCOL_PREFIX}{}", URL_SAFE_NO_PAD.encode(text));
        let with = |protocols: String| headers(&[("sec-websocket-protocol", &protocols)]);
        for (why, protocols, expected) in [
            ("beside another", format!("v4.channel.k8s.io, {}", token("abc")), Ok(Some("abc"))),
            ("none", "v4.channel.k8s.io".into(), Ok(None)),
            ("alone", token("abc"), Err(BearerError::Alone)),
            ("two", format!("a,{},{}", token("abc"), token("abc")), Err(BearerError::Several)),
            ("padded", format!("a,{}=", token("ab")), Err(BearerError::Encoding)),
            ("no text", format!("a,{SUBPROTOCOL_PREFIX}_w"), Err(BearerError::NotText)),
            ("nothing in it", format!("a,{}", token("")), Err(BearerError::NotText)),
        ] {
            let expected = expected.map(|token| token.map(str::to_owned));
            assert_eq!(carried(&with(protocols), true), expected, "{why}");
        }
        let both = headers(&[("authorization", "Bearer x"), ("sec-websocket-protocol", &format!("a,{}", token("y")))]);
        assert_eq!(carried(&both, true), Ok(Some("x".into())), "the header counts");
        let apart = headers(&[("sec-websocket-protocol", "a"), ("sec-websocket-protocol", &token("y"))]);
        assert_eq!(carried(&apart, true), Ok(Some("y".into())), "in a header of its own");
        assert_eq!(carried(&apart, false), Ok(None), "no WebSocket");
        assert_eq!(offered_besides_token(&apart), Some("a"));
        assert_eq!(offered_besides_token(&with(format!("a,b,{}", token("y")))), None);
        assert_eq!(offered_besides_token(&with("a".into())), None);
        for (protocols, expected) in [("a,b".to_owned(), "a,b"), (format!("a,{},b", token("y")), "a, b")] {
            let mut headers = with(protocols);
            take_out(&mut headers);
            assert_eq!(headers["sec-websocket-protocol"], expected);
        }
        let mut alone = with(token("y"));
        take_out(&mut alone);
        assert!(alone.is_empty());
    }
}

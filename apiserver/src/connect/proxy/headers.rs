//! Headers on their way through the proxy: what is for this connection alone stays, and so does what says who asks. Pure.

use std::net::IpAddr;

use http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, AUTHORIZATION, CONNECTION, EXPECT, HOST, HeaderMap, HeaderName, HeaderValue,
    PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, TE, TRAILER, TRANSFER_ENCODING, UPGRADE,
};
use http::uri::Authority;

use crate::authn::bearer;

const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");
const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_URI: HeaderName = HeaderName::from_static("x-forwarded-uri");

/// RFC 9110, 7.6.1, and what is widely used so. `Trailer` is apart: what it announces goes on.
const OF_THE_CONNECTION: [HeaderName; 8] =
    [CONNECTION, PROXY_CONNECTION, KEEP_ALIVE, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, TE, TRANSFER_ENCODING, UPGRADE];
/// What is behind the proxy does not say which pages may read the apiserver.
const OF_CROSS_ORIGINS: [HeaderName; 4] = [
    ACCESS_CONTROL_ALLOW_CREDENTIALS,
    ACCESS_CONTROL_ALLOW_HEADERS,
    ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN,
];
/// Headers that say whom a request is to count as: for the apiserver, and for servers that trust it.
const OF_IDENTITY: [&str; 2] = ["impersonate-", "x-remote-"];

/// A request's headers as what is behind the proxy gets them. `peer`: whom it came from; `uri`: the path by which the same
/// page is had of the apiserver; `authority`: of an HTTP/2 request, whose host stands there.
pub fn of_request(mut headers: HeaderMap, peer: Option<IpAddr>, uri: &str, authority: Option<&Authority>) -> HeaderMap {
    let takes_trailers = headers.get_all(TE).iter().any(|te| lists(te, "trailers"));
    take_connections_own(&mut headers);
    headers.remove(TRAILER);
    if takes_trailers {
        headers.insert(TE, HeaderValue::from_static("trailers"));
    }
    // The apiserver itself has told the client to go on.
    headers.remove(EXPECT);
    if let Ok(uri) = HeaderValue::try_from(uri) {
        headers.insert(FORWARDED_URI, uri);
    }
    common_to_requests(&mut headers, peer, authority);
    headers
}

/// As `of_request`, of one that asks for another protocol: with all that says which.
pub fn of_upgrade(mut headers: HeaderMap, peer: Option<IpAddr>) -> HeaderMap {
    common_to_requests(&mut headers, peer, None);
    bearer::take_out(&mut headers);
    headers
}

fn common_to_requests(headers: &mut HeaderMap, peer: Option<IpAddr>, authority: Option<&Authority>) {
    headers.remove(AUTHORIZATION);
    let is_identity = |name: &HeaderName| OF_IDENTITY.iter().any(|prefix| name.as_str().starts_with(prefix));
    let names: Vec<HeaderName> = headers.keys().filter(|name| is_identity(name)).cloned().collect();
    for name in names {
        headers.remove(name);
    }
    if let (false, Some(host)) = (headers.contains_key(HOST), authority)
        && let Ok(host) = HeaderValue::try_from(host.as_str())
    {
        headers.insert(HOST, host);
    }
    if let Some(peer) = peer {
        let before = headers.get_all(FORWARDED_FOR).iter().filter_map(|value| value.to_str().ok());
        let all: Vec<String> = before.map(str::to_owned).chain([peer.to_canonical().to_string()]).collect();
        if let Ok(all) = HeaderValue::try_from(all.join(", ")) {
            headers.insert(FORWARDED_FOR, all);
        }
    }
}

/// A response's headers as the client gets them.
pub fn of_response(mut headers: HeaderMap) -> HeaderMap {
    take_connections_own(&mut headers);
    for name in OF_CROSS_ORIGINS {
        headers.remove(name);
    }
    headers
}

fn take_connections_own(headers: &mut HeaderMap) {
    let values = headers.get_all(CONNECTION).iter().filter_map(|value| value.to_str().ok());
    let named = values.flat_map(|value| value.split(',')).filter_map(|name| name.trim().parse().ok());
    let named: Vec<HeaderName> = named.collect();
    for name in named.iter().chain(&OF_THE_CONNECTION) {
        headers.remove(name);
    }
}

fn lists(value: &HeaderValue, token: &str) -> bool {
    value.to_str().is_ok_and(|text| text.split(',').any(|one| one.trim().eq_ignore_ascii_case(token)))
}

/// Whether a request asks for another protocol.
pub fn is_upgrade(headers: &HeaderMap) -> bool {
    headers.get_all(CONNECTION).iter().any(|value| lists(value, "upgrade"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(lines: &[&str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for line in lines {
            let (name, value) = line.split_once(": ").unwrap();
            headers.append(name.parse::<HeaderName>().unwrap(), value.parse().unwrap());
        }
        headers
    }
    fn lines(headers: &HeaderMap) -> Vec<String> {
        let mut lines: Vec<String> =
            headers.iter().map(|(name, value)| format!("{name}: {}", value.to_str().unwrap())).collect();
        lines.sort();
        lines
    }
    fn peer() -> Option<IpAddr> {
        Some("::ffff:10.0.0.9".parse().unwrap())
    }

    #[test]
    fn what_of_a_request_goes_on() {
        type Case = (&'static str, &'static [&'static str], &'static [&'static str]);
        let cases: [Case; 9] = [
            ("of itself", &["accept: text/html", "cookie: a=b"], &["accept: text/html", "cookie: a=b"]),
            ("its host", &["host: localhost:8001"], &["host: localhost:8001"]),
            ("not who asks", &["authorization: Bearer x", "impersonate-user: root"], &[]),
            ("nor whom a front proxy names", &["x-remote-user: root", "x-remote-extra-a: b"], &[]),
            (
                "not the connection's own",
                &["connection: keep-alive, x-mine", "keep-alive: 5", "x-mine: 1", "proxy-authorization: x", "te: gzip"],
                &[],
            ),
            ("that trailers are taken", &["te: gzip, trailers"], &["te: trailers"]),
            ("the transfer's own", &["transfer-encoding: chunked", "trailer: x", "expect: 100-continue"], &[]),
            ("its length", &["content-length: 5"], &["content-length: 5"]),
            ("a cross-origin question", &["origin: http://x"], &["origin: http://x"]),
        ];
        for (why, given, expected) in cases {
            let mut expected: Vec<String> = expected.iter().map(|&line| line.to_owned()).collect();
            expected.extend(["x-forwarded-for: 10.0.0.9".to_owned(), "x-forwarded-uri: /proxy/a".to_owned()]);
            expected.sort();
            let have = of_request(headers(given), peer(), "/proxy/a", None);
            assert_eq!(lines(&have), expected, "{why}");
        }
    }

    #[test]
    fn whom_it_came_from_is_added() {
        let have = of_request(headers(&["x-forwarded-for: 1.1.1.1", "x-forwarded-for: 2.2.2.2"]), peer(), "/", None);
        assert_eq!(have[FORWARDED_FOR], "1.1.1.1, 2.2.2.2, 10.0.0.9");
        let authority = Authority::from_static("api.local:6443");
        assert_eq!(of_request(HeaderMap::new(), None, "/", Some(&authority))[HOST], "api.local:6443");
        let told = of_request(headers(&["x-forwarded-uri: /lie"]), None, "/proxy/b", None);
        assert_eq!(told[FORWARDED_URI], "/proxy/b");
    }

    #[test]
    fn an_upgrade_goes_on_whole_but_for_who_asks() {
        let token = "base64url.bearer.authorization.k8s.io.YWJj";
        let both = format!("sec-websocket-protocol: v1.x, {token}");
        let given = ["connection: Upgrade", "upgrade: websocket", "sec-websocket-key: k", "authorization: x", &both];
        let have = of_upgrade(headers(&given), peer());
        let expected = [
            "connection: Upgrade",
            "sec-websocket-key: k",
            "sec-websocket-protocol: v1.x",
            "upgrade: websocket",
            "x-forwarded-for: 10.0.0.9",
        ];
        assert_eq!(lines(&have), expected);
        assert!(is_upgrade(&have) && is_upgrade(&headers(&["connection: keep-alive, UPGRADE"])));
        assert!(!is_upgrade(&headers(&["connection: keep-alive", "upgrade: h2c"])));
    }

    #[test]
    fn what_of_a_response_comes_back() {
        let given = [
            "content-type: text/html",
            "set-cookie: a=b",
            "connection: close, x-hop",
            "x-hop: 1",
            "keep-alive: timeout=5",
            "transfer-encoding: chunked",
            "trailer: x-sum",
            "access-control-allow-origin: *",
            "access-control-allow-credentials: true",
            "www-authenticate: Basic",
        ];
        let expected = ["content-type: text/html", "set-cookie: a=b", "trailer: x-sum", "www-authenticate: Basic"];
        assert_eq!(lines(&of_response(headers(&given))), expected);
    }
}

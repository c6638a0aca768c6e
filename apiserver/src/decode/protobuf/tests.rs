//! Messages as clients write them, and as JSON.

use serde_json::json;

use super::super::normal;
use super::*;

/// A message from (number, payload) pairs.
fn fields(pairs: &[(u8, &[u8])]) -> Vec<u8> {
    let mut out = Vec::new();
    for (number, payload) in pairs {
        out.extend([number << 3 | 2, u8::try_from(payload.len()).unwrap()]);
        out.extend_from_slice(payload);
    }
    out
}
fn varint(number: u8, n: u8) -> Vec<u8> {
    vec![number << 3, n]
}
fn body(api_version: &str, kind: &str, raw: &[u8]) -> Vec<u8> {
    let meta = fields(&[(1, api_version.as_bytes()), (2, kind.as_bytes())]);
    [MAGIC, &fields(&[(1, &meta), (2, raw)])].concat()
}
fn read(bytes: &[u8]) -> Result<Value, String> {
    let json = decode(bytes).map_err(|err| err.to_string())?;
    let value: Value = serde_json::from_slice(&json).unwrap();
    let of = builtin().kind(value["apiVersion"].as_str().unwrap(), value["kind"].as_str().unwrap());
    let normal = normal(of.or(builtin().named("meta.v1.DeleteOptions")), &json).unwrap();
    Ok(serde_json::from_str(normal.json().unwrap()).unwrap())
}

#[test]
fn messages_become_json() {
    let metadata = fields(&[(1, b"web"), (2, b""), (8, b""), (11, &fields(&[(1, b"app"), (2, b"web")]))]);
    let data = fields(&[(1, b"key"), (2, b"value")]);
    let quantity = fields(&[(1, b"cpu"), (2, &fields(&[(1, b"100m")]))]);
    let port = [varint(1, 0), varint(2, 80)].concat();
    let http = fields(&[(2, &port)]);
    let probe = [fields(&[(1, &fields(&[(2, &http)]))]), varint(2, 0), varint(7, 0)].concat();
    let container =
        fields(&[(1, b"c"), (2, b""), (3, b"sh"), (3, b"-c"), (8, &fields(&[(2, &quantity)])), (10, &probe)]);
    let spec = [fields(&[(2, &container)]), varint(11, 0), varint(4, 0)].concat();
    let cases = [
        (
            body("v1", "Secret", &fields(&[(1, &metadata), (2, &data), (3, b"")])),
            json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "web", "labels": {"app": "web"}},
                "data": {"key": "dmFsdWU="}}),
        ),
        (
            body("v1", "Pod", &fields(&[(2, &spec)])),
            json!({"apiVersion": "v1", "kind": "Pod", "status": {}, "spec": {"terminationGracePeriodSeconds": 0, "containers": [
                {"name": "c", "command": ["sh", "-c"], "resources": {"requests": {"cpu": "100m"}}, "livenessProbe":
                    {"httpGet": {"port": 80}, "terminationGracePeriodSeconds": 0}}]}}),
        ),
        (
            body("apps/v1", "DeleteOptions", &[varint(1, 0), fields(&[(4, b"Orphan")])].concat()),
            json!({"apiVersion": "apps/v1", "kind": "DeleteOptions", "gracePeriodSeconds": 0, "propagationPolicy": "Orphan"}),
        ),
        (
            body(
                "authorization.k8s.io/v1",
                "SelfSubjectAccessReview",
                &fields(&[(2, &fields(&[(1, &fields(&[(2, b"get")]))]))]),
            ),
            json!({"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview",
                "spec": {"resourceAttributes": {"verb": "get"}}, "status": {}}),
        ),
    ];
    for (bytes, expected) in cases {
        assert_eq!(read(&bytes), Ok(expected));
    }
}

#[test]
fn malformed_bodies_are_errors() {
    let cases: [(&[u8], &str); 5] = [
        (b"{}", "does not appear to be a protobuf message"),
        (b"k8s\0", "names no kind"),
        (&body("v1", "Nonsense", b""), "no kind \"Nonsense\" is registered for version \"v1\""),
        (&body("v1", "Pod", b"\x12\x7f"), "unexpected EOF"),
        (&body("v1", "Pod", &fields(&[(1, &fields(&[(1, b"\xff")]))])), "invalid UTF-8"),
    ];
    for (bytes, expected) in cases {
        let have = read(bytes).unwrap_err();
        assert!(have.contains(expected), "{have}");
    }
}

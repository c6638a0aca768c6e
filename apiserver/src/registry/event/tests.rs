//! Events: both faces, validation, columns.

use super::*;
use crate::registry::check::testing::{found, row};

#[test]
fn both_faces_say_the_same() {
    let stored = r#"{"apiVersion":"v1","kind":"Event","action":"a","count":2,"eventTime":"2026-01-01T00:00:00.000000Z","firstTimestamp":"2026-01-01T00:00:00Z","involvedObject":{"kind":"Pod","name":"p"},"lastTimestamp":"2026-01-01T00:00:01Z","message":"m","metadata":{"name":"p.1"},"reason":"r","reportingComponent":"c","reportingInstance":"i","series":{"count":2,"lastObservedTime":"2026-01-01T00:00:00.000000Z"},"source":{"component":"c"},"type":"Normal"}"#;
    let new = conversion::from_stored(stored.as_bytes()).unwrap();
    let text = String::from_utf8(new.clone()).unwrap();
    for part in [
        r#""note":"m""#,
        r#""regarding":{"kind":"Pod""#,
        r#""apiVersion":"events.k8s.io/v1""#,
        r#""deprecatedCount":2"#,
    ] {
        assert!(text.contains(part), "{part} in {text}");
    }
    let back: serde_json::Value = serde_json::from_slice(&conversion::to_stored(&new).unwrap()).unwrap();
    assert_eq!(back, serde_json::from_str::<serde_json::Value>(stored).unwrap());
}

#[test]
fn bad_events() {
    let about = |own: &str, involved: &str| {
        format!(r#"{{"metadata":{{"namespace":"{own}"}},"involvedObject":{{"namespace":"{involved}"}}}}"#)
    };
    assert!(found::<Event>(&about("a", "a")).is_empty());
    assert!(found::<Event>(&about("default", "")).is_empty());
    let wrong = r#"involvedObject.namespace: Invalid value: "b": does not match event.namespace"#;
    assert_eq!(found::<Event>(&about("a", "b")), [wrong]);

    let new = r#"{"metadata":{"namespace":"a"},"regarding":{"namespace":"a"},"type":"Odd"}"#;
    let required = ["reportingController", "reportingInstance", "action", "reason", "eventTime"];
    let found = found::<NewEvent>(new);
    for field in required {
        assert!(found.contains(&format!("{field}: Required value")), "{field} in {found:?}");
    }
    assert_eq!(found.len(), required.len() + 1);
}

#[test]
fn columns() {
    let json = r#"{"metadata":{"name":"p.1"},"involvedObject":{"kind":"Pod","name":"p","fieldPath":"spec.containers{c}"},
        "type":"Normal","reason":"Pulled","message":"Image is here\n","count":3,
        "source":{"component":"kubelet","host":"n1"},
        "firstTimestamp":"1970-01-01T00:00:00Z","lastTimestamp":"1970-01-01T00:01:00Z"}"#;
    assert_eq!(row::<Event>(json, 65), "5s|Normal|Pulled|pod/p|spec.containers{c}|kubelet, n1|Image is here|65s|3|p.1");
    assert_eq!(row::<Event>("{}", 0), "<unknown>|||||||<unknown>|1|");
}

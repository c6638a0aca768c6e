//! Events: both faces, validation, columns.

use serde_json::{Value, json};

use super::*;
use crate::registry::check::testing::{found, found_on_update, row};

const TIME: &str = "2026-01-01T00:00:00.000000Z";

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
fn an_event_is_where_what_it_is_about_is() {
    let about = |time: &str, own: &str, involved: &str| {
        json!({"metadata": {"namespace": own}, "eventTime": time, "involvedObject": {"namespace": involved},
            "reportingComponent": "c", "reportingInstance": "i", "action": "a", "reason": "r"})
    };
    for (time, own, involved, is_good) in [
        (Value::Null, "a", "a", true),
        (Value::Null, "default", "", true),
        (Value::Null, "kube-system", "", false),
        (Value::Null, "a", "", false),
        (Value::Null, "a", "b", false),
        (json!(TIME), "a", "b", true),
        (json!(TIME), "kube-system", "", true),
        (json!(TIME), "default", "", true),
        (json!(TIME), "a", "", false),
    ] {
        let mut event = about(TIME, own, involved);
        event["eventTime"] = time.clone();
        let wrong = format!("involvedObject.namespace: Invalid value: {involved:?}: does not match event.namespace");
        let expected = if is_good { vec![] } else { vec![wrong] };
        assert_eq!(found::<Event>(&event.to_string()), expected, "{time} {own} {involved}");
    }
}

#[test]
fn the_newer_face_asks_for_more() {
    let with = |changes: Value| {
        let mut event = json!({"metadata": {"namespace": "a"}, "regarding": {"namespace": "a"}, "eventTime": TIME, "type": "Normal",
            "reportingController": "c", "reportingInstance": "i", "action": "a", "reason": "r"});
        json_patch::merge(&mut event, &changes);
        found::<NewEvent>(&event.to_string())
    };
    let unset = |field: &str| vec![format!("{field}: Invalid value: \"\": needs to be unset")];
    assert_eq!(with(json!({})), Vec::<String>::new());
    assert_eq!(with(json!({"deprecatedCount": 1})), unset("count"));
    assert_eq!(with(json!({"deprecatedSource": {"host": "n"}})), unset("source"));
    assert_eq!(with(json!({"deprecatedFirstTimestamp": "2026-01-01T00:00:00Z"})), unset("firstTimestamp"));
    assert_eq!(with(json!({"type": "Odd"})), [r#"type: Invalid value: "": has invalid value: Odd"#]);
    assert_eq!(with(json!({"eventTime": null})), ["eventTime: Required value"]);
    let once = json!({"series": {"count": 1, "lastObservedTime": TIME}});
    assert_eq!(with(once), [r#"series.count: Invalid value: "": should be at least 2"#]);
    for field in ["reportingController", "reportingInstance", "action", "reason"] {
        let mut without = json!({});
        without[field] = Value::Null;
        assert_eq!(with(without), [format!("{field}: Required value")]);
    }
    assert_eq!(
        with(json!({"note": "x".repeat(1025)})),
        [r#"message: Invalid value: "": can have at most 1024 characters"#]
    );
}

#[test]
fn an_event_of_an_old_reporter_can_be_labelled_through_the_newer_face() {
    let old = json!({"metadata": {"namespace": "a", "resourceVersion": "1"}, "regarding": {"namespace": "a"}, "note": "m",
        "deprecatedCount": 3, "deprecatedSource": {"component": "c"}, "reason": "r"});
    let changed = |changes: Value| {
        let mut new = old.clone();
        json_patch::merge(&mut new, &changes);
        found_on_update::<NewEvent>(&old.to_string(), &new.to_string())
    };
    assert_eq!(changed(json!({"metadata": {"labels": {"a": "b"}}})), Vec::<String>::new());
    assert_eq!(changed(json!({"deprecatedCount": 4})), ["count: Invalid value: 4: field is immutable"]);
    assert_eq!(changed(json!({"note": "n"})), [r#"message: Invalid value: "n": field is immutable"#]);
    let series = json!({"series": {"count": 1, "lastObservedTime": TIME}});
    assert_eq!(changed(series), [r#"series.count: Invalid value: "": should be at least 2"#]);
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

//! What query options mean, and which contradict each other.

use super::*;

fn at(query: &str) -> Result<ReadAt, String> {
    let query = Query::parse(Some(query));
    let limit = query.int("limit").unwrap().unwrap_or(0);
    list_at(&query, usize::try_from(limit).unwrap(), query.get("continue").is_some()).map_err(|e| e.message().into())
}

#[test]
fn where_a_list_is_read() {
    let cases = [
        ("", Ok(ReadAt::Newest)),
        ("resourceVersion=", Ok(ReadAt::Newest)),
        ("resourceVersion=0", Ok(ReadAt::Any)),
        ("resourceVersion=7", Ok(ReadAt::NotOlderThan(7))),
        ("resourceVersion=7&limit=5", Ok(ReadAt::Exact(7))),
        ("resourceVersion=7&resourceVersionMatch=Exact", Ok(ReadAt::Exact(7))),
        ("resourceVersion=7&limit=5&resourceVersionMatch=NotOlderThan", Ok(ReadAt::NotOlderThan(7))),
        ("continue=x&resourceVersion=0", Ok(ReadAt::Newest)),
        ("continue=x&resourceVersion=7", Err("specifying resource version is not allowed")),
        ("continue=x&resourceVersionMatch=Exact", Err("forbidden when continue is provided")),
        ("resourceVersionMatch=Exact", Err("forbidden unless resourceVersion is provided")),
        ("resourceVersion=0&resourceVersionMatch=Exact", Err("is forbidden for resourceVersion")),
        ("resourceVersion=1&resourceVersionMatch=Newer", Err("Unsupported value")),
        ("resourceVersion=abc", Err("invalid resource version")),
        ("resourceVersion=-1", Err("invalid resource version")),
    ];
    for (query, expected) in cases {
        match (at(query), expected) {
            (Ok(have), Ok(want)) => assert_eq!(have, want, "{query}"),
            (Err(have), Err(want)) => assert!(have.contains(want), "{query}: {have}"),
            (have, _) => panic!("{query}: {have:?}"),
        }
    }
}

#[test]
fn a_list_sends_no_events() {
    let err = list_options(&Query::parse(Some("sendInitialEvents=true&resourceVersion=1"))).unwrap_err();
    assert!(err.message().contains("sendInitialEvents is forbidden for list") && err.code() == 422, "{err}");
}

#[test]
fn where_a_watch_begins() {
    let state = |at, initial_events_end| Some(WatchFrom::State { at, initial_events_end });
    let cases = [
        ("", state(ReadAt::Newest, false)),
        ("resourceVersion=0", state(ReadAt::Any, false)),
        ("resourceVersion=9", Some(WatchFrom::After(9))),
        ("sendInitialEvents=true&resourceVersionMatch=NotOlderThan", state(ReadAt::Newest, false)),
        (
            "sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=false",
            state(ReadAt::Newest, false),
        ),
        (
            "sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true",
            state(ReadAt::Newest, true),
        ),
        (
            "sendInitialEvents=true&resourceVersionMatch=NotOlderThan&resourceVersion=5&allowWatchBookmarks=1",
            state(ReadAt::NotOlderThan(5), true),
        ),
        ("sendInitialEvents=false&resourceVersionMatch=NotOlderThan", Some(WatchFrom::Now)),
        ("sendInitialEvents=true", None),
        ("sendInitialEvents=true&resourceVersionMatch=Exact&resourceVersion=5", None),
        ("resourceVersionMatch=NotOlderThan&resourceVersion=5", None),
    ];
    for (query, expected) in cases {
        assert_eq!(watch_from(&Query::parse(Some(query))).ok(), expected, "{query}");
    }
}

#[test]
fn how_a_write_is_meant() {
    let read =
        |query: &'static str| write_options(&Query::parse(Some(query)), "CreateOptions", "kubectl/v1.33 (linux)");
    let options = read("dryRun=All&fieldValidation=Strict").unwrap();
    assert!(options.dry_run && options.field_validation == FieldValidation::Strict);
    assert_eq!(options.field_manager, "kubectl");
    assert_eq!(read("fieldManager=me").unwrap().field_manager, "me");
    for (query, message) in [
        (
            "dryRun=Some",
            r#"CreateOptions.meta.k8s.io "" is invalid: dryRun: Unsupported value: "Some": supported values: "All""#,
        ),
        (
            "fieldValidation=Loose",
            r#"CreateOptions.meta.k8s.io "" is invalid: fieldValidation: Unsupported value: "Loose": supported values: "", "Ignore", "Strict", "Warn""#,
        ),
    ] {
        let err = read(query).unwrap_err();
        assert_eq!((err.message(), err.code()), (message, 422));
    }
}

#[test]
fn how_a_delete_is_meant() {
    let read = |query: &'static str, body: &str| delete_options(&Query::parse(Some(query)), body.as_bytes());
    let options = read("gracePeriodSeconds=5&propagationPolicy=Orphan&dryRun=All", "").unwrap();
    assert_eq!((options.grace_period_seconds, options.propagation_policy.as_deref()), (Some(5), Some("Orphan")));
    assert_eq!(options.dry_run, Some(vec!["All".to_owned()]));
    let body = r#"{"kind":"DeleteOptions","apiVersion":"apps/v1","gracePeriodSeconds":1,"preconditions":{"uid":"u"}}"#;
    let options = read("gracePeriodSeconds=5", body).unwrap();
    assert_eq!((options.grace_period_seconds, options.preconditions.unwrap().uid.as_deref()), (Some(1), Some("u")));
    for (query, body, code) in [
        ("gracePeriodSeconds=x", "", 400),
        ("propagationPolicy=Never", "", 422),
        ("propagationPolicy=Orphan&orphanDependents=true", "", 422),
        ("", r#"{"kind":"Pod"}"#, 400),
        ("", r#"{"gracePeriodSeconds":"soon"}"#, 400),
        ("", r#"{"dryRun":["some"]}"#, 422),
    ] {
        assert_eq!(read(query, body).unwrap_err().code(), code, "{query} {body}");
    }
}

#[test]
fn flags_are_true_unless_they_say_no() {
    for (query, expected) in
        [("watch", true), ("watch=", true), ("watch=1", true), ("watch=False", false), ("watch=0", false), ("", false)]
    {
        assert_eq!(Query::parse(Some(query)).flag("watch"), expected, "{query}");
    }
}

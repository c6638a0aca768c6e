//! What clients send, tried with made-up bytes: paths, queries, continue tokens, bodies in every
//! format, patches, SPDY frames, tokens.

mod tokens;

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use corten_fuzz::{Inputs, Random, run};
use k8s_openapi::api::core::v1::Pod;
use serde_json::Value;

use crate::apply::{self, FieldSet, Managers, ObjectType};
use crate::connect::spdy::{HEAD_BYTES, Head, HeaderCodec};
use crate::decode::{self, Format};
use crate::patch;
use crate::registry::{ApiResource, Registry, Strategy};
use crate::request;
use crate::resources::testing::settings;
use crate::resources::{Authorized, ListOptions, Resources};
use crate::rest::query::{self, Query};
use crate::storage::memory::Memory;
use crate::storage::{Storage, Write};

const POD: &str = r#"{"apiVersion":"v1","kind":"Pod","metadata":{"name":"web","labels":{"a":"b"},"finalizers":["x.y/z"]},
"spec":{"containers":[{"name":"c","image":"i","env":[{"name":"A","value":"1"}],"ports":[{"containerPort":80}],
"resources":{"limits":{"cpu":1,"memory":"1Gi"}}}],"volumes":[{"name":"v","emptyDir":{}}]},"status":{"phase":"Running"}}"#;
const POD_YAML: &str = "apiVersion: v1\nkind: Pod\nmetadata: {name: web, labels: &l {a: b}}\nspec:\n  nodeSelector: *l\n  \
                        containers:\n  - &c\n    name: c\n    image: i\n  - <<: *c\n    name: d\n    args: [|-\n      x\n      , y]\n";
const JSON_TOKENS: &[&[u8]] = &[
    b"{",
    b"}",
    b"[",
    b"]",
    b",",
    b":",
    b"\"",
    b"\\u0000",
    b"\\ud800",
    b"null",
    b"true",
    b"-1",
    b"1e999",
    b"{}",
    b"[]",
    b"99999999999999999999",
    b"[[[[[[[[[[[[[[[[",
    b"{\"a\":",
    b"\xc3\xa9",
    b"\xff",
    b"{},",
];
const YAML_TOKENS: &[&[u8]] = &[
    b"&a ",
    b"*a",
    b"<<: *l\n",
    b"- ",
    b"? ",
    b"|\n",
    b">-\n",
    b"!!binary ",
    b"---\n",
    b"\t",
    b"#",
    b"\xef\xbb\xbf",
    b"{a: ",
    b"~",
];

#[test]
fn request_lines_are_understood_or_refused() {
    let inputs = Inputs {
        valid: &[
            b"GET /api/v1/namespaces/x/pods/web/log?follow=true&tailLines=5",
            b"GET /apis/apps/v1/deployments?watch=1&resourceVersion=5&allowWatchBookmarks=true&timeoutSeconds=9",
            b"DELETE /api/v1/namespaces/x/pods?labelSelector=a%3Db&gracePeriodSeconds=0&dryRun=All",
            b"PATCH /api/v1/watch/namespaces/x/services/s/status?fieldManager=k&fieldValidation=Strict",
            b"GET /api/v1/pods?limit=5&continue=abc&resourceVersionMatch=Exact&fieldSelector=spec.nodeName%3Dn",
        ],
        tokens: &[
            b"/",
            b"//",
            b"/../",
            b"%2F",
            b"%00",
            b"%",
            b"%FF",
            b"namespaces",
            b"watch",
            b"?",
            b"&",
            b"=",
            b"+",
            b"-1",
        ],
    };
    run("request_lines_are_understood_or_refused", |random| {
        let line = String::from_utf8_lossy(&inputs.mutate(random)).into_owned();
        let (method, url) = line.split_once(' ').unwrap_or(("GET", &line));
        let (path, raw) = url.split_once('?').unwrap_or((url, ""));
        let query = Query::parse(Some(raw));
        if let Ok(method) = method.parse() {
            let _asked = request::parse(&method, path, query.flag("watch"));
        }
        let _read = (query::list_options(&query), query::watch_options(&query, path), query::get_at(&query));
        let _written =
            (query::write_options(&query, "CreateOptions", raw), query::delete_options(&query, raw.as_bytes()));
    });
}

/// What was read is a Pod or an error that can be shown.
fn read(format: Format, bytes: Vec<u8>) {
    let body = match decode::decode(format, bytes.into()) {
        Ok(body) => body,
        Err(err) => return assert!((400..500).contains(&err.code()), "{err}"),
    };
    let pods = ApiResource::of::<Pod>();
    let normal = match decode::normal(pods.shape(), &body.json) {
        Ok(normal) => normal,
        Err(err) => return assert!((400..500).contains(&corten_api::ApiError::from(err).code())),
    };
    serde_json::from_slice::<serde::de::IgnoredAny>(&body.json).expect("what was read is JSON");
    match pods.object(&normal) {
        Ok(mut pod) => {
            let text = normal.json().expect("what is an object has no fault");
            let again = decode::normal(pods.shape(), text.as_bytes()).expect("what was read is read again");
            assert_eq!(again.json().expect("and is all of its type"), text);
            pods.rules().fill_defaults(&mut *pod);
            let mut problems = corten_api::Problems::default();
            pods.rules().validate(Strategy::Create, &*pod, &mut problems);
            pod.to_json().expect("an object can be written");
        }
        Err(err) => drop(err.of_kind("Pod", "v1")),
    }
}

/// Five ConfigMaps in two namespaces, on a store in memory that has forgotten how they came.
async fn a_few_config_maps() -> Resources {
    let store = Memory::default();
    for at in ["a/x", "a/y", "b/x", "b/y", "b/z"] {
        let value = r#"{"metadata":{}}"#.into();
        let write = Write::Create { key: format!("/registry/configmaps/{at}"), value, ttl_secs: None };
        store.commit(vec![write]).await.unwrap();
    }
    let resources = Resources::start(Arc::new(store.clone()), Registry::default(), settings()).await.unwrap();
    store.compact(resources.catch_up().await.unwrap() - 1).await.unwrap();
    resources
}

#[test]
fn continue_tokens_are_understood_or_refused() {
    let inner = Inputs {
        valid: &[
            br#"{"v":"meta.k8s.io/v1","rv":7,"start":"a/y","left":3}"#,
            br#"{"v":"meta.k8s.io/v1","rv":-1,"start":"b/x"}"#,
            br#"{"v":"meta.k8s.io/v1","rv":-1,"start":"a/x","left":-9223372036854775807}"#,
        ],
        tokens: &[
            b"-2",
            b"0",
            b"9223372036854775807",
            b"9223372036854775808",
            b"\"start\":\"\",",
            b",\"left\":-9223372036854775808",
            b"\\u0000",
            b"..",
            b"/",
            b"null",
            b"[[[[[[[[",
        ],
    };
    let outer = inner.valid.iter().map(|json| URL_SAFE_NO_PAD.encode(json).into_bytes()).collect::<Vec<_>>();
    let outer: Vec<&[u8]> = outer.iter().map(Vec::as_slice).collect();
    let outer = Inputs { valid: &outer, tokens: &[b"=", b"==", b"-_", b"+/", b"%", b" ", b"A", b"\xff", b"\0"] };
    // Time is paused: a revision that nobody has made is waited for.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    let resources = runtime.block_on(a_few_config_maps());
    run("continue_tokens_are_understood_or_refused", |random| {
        let token = match random.one_in(2) {
            true => URL_SAFE_NO_PAD.encode(inner.mutate(random)),
            false => String::from_utf8_lossy(&outer.mutate(random)).into_owned(),
        };
        let namespace = random.pick(&["", "a", "b"]).unwrap_or_default().to_owned();
        let (version, resource) = ("v1".into(), "configmaps".into());
        let target = request::Target { version, resource, namespace, ..request::Target::default() };
        let options = ListOptions { limit: 2, continue_token: Some(token.clone()), ..ListOptions::default() };
        match runtime.block_on(resources.list(&Authorized::own(target), options)) {
            Ok(page) => assert!(page.items.len() <= 2 && page.remaining.is_none_or(|left| left > 0), "{token}"),
            // 504: the server of the page before may be ahead of this one.
            Err(err) => assert!(matches!(err.code(), 400 | 410 | 504), "{token}: {err}"),
        }
    });
}

#[test]
fn json_is_read_or_refused() {
    let inputs = Inputs { valid: &[POD.as_bytes()], tokens: JSON_TOKENS };
    run("json_is_read_or_refused", |random| read(Format::Json, inputs.mutate(random)));
}

#[test]
fn yaml_is_read_or_refused() {
    let inputs = Inputs { valid: &[POD_YAML.as_bytes(), POD.as_bytes()], tokens: YAML_TOKENS };
    run("yaml_is_read_or_refused", |random| read(Format::Yaml, inputs.mutate(random)));
}

#[test]
fn protobuf_is_read_or_refused() {
    // A Pod with a name, and a container with a name, an image and a limit of cpu.
    let pod = b"k8s\0\x0a\x09\x0a\x02v1\x12\x03Pod\x12\x22\x0a\x05\x0a\x03web\x12\x19\x12\x17\x0a\x01c\x12\x01i\
                \x42\x0f\x0a\x0d\x0a\x03cpu\x12\x06\x0a\x04100m";
    let inputs = Inputs {
        valid: &[pod],
        tokens: &[
            b"\x0a",
            b"\x12\x00",
            b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
            b"k8s\0",
            b"\x0a\x02v1\x12\x03Pod",
            b"\x80",
        ],
    };
    run("protobuf_is_read_or_refused", |random| read(Format::Protobuf, inputs.mutate(random)));
}

fn patched(kind: patch::Kind, bytes: &[u8], pod: &Value) {
    let pods = ApiResource::of::<Pod>();
    if let Ok(new) = patch::apply(kind, &pods, pod.clone(), bytes) {
        let _read = pods.decode(new.to_string().as_bytes());
    }
}

#[test]
fn patches_are_applied_or_refused() {
    let pod: Value = serde_json::from_str(POD).unwrap();
    let operations = Inputs {
        valid: &[
            br#"[{"op":"add","path":"/spec/containers/-","value":{"name":"d"}},{"op":"remove","path":"/metadata/labels"}]"#,
            br#"[{"op":"copy","from":"/spec","path":"/status/x"},{"op":"move","from":"/status","path":"/spec/containers/0"}]"#,
            br#"[{"op":"test","path":"/kind","value":"Pod"},{"op":"replace","path":"/spec/volumes/0","value":[[1]]}]"#,
        ],
        tokens: &[b"/0", b"/-", b"~0", b"~1", b"~", b"/spec", br#",{"op":"copy","from":"","path":"/a"}"#, br#""value":null"#],
    };
    let merges = Inputs {
        valid: &[
            br#"{"metadata":{"labels":{"a":null}},"spec":{"containers":[{"name":"c","image":"2"},{"name":"d"}]}}"#,
            br#"{"spec":{"$setElementOrder/containers":[{"name":"d"},{"name":"c"}],"containers":[{"$patch":"delete","name":"c"}]}}"#,
            br#"{"metadata":{"$deleteFromPrimitiveList/finalizers":["x.y/z"]},"spec":{"volumes":[{"name":"v","$retainKeys":["name"]}]}}"#,
        ],
        tokens: &[br#""$patch":"replace""#, br#""$retainKeys":[],"#, br#""$setElementOrder/env":[],"#, b"null", b"{}", b"[", b"\"name\"", b","],
    };
    run("patches_are_applied_or_refused", |random: &mut Random| {
        patched(patch::Kind::Json, &operations.mutate(random), &pod);
        let merge = merges.mutate(random);
        patched(patch::Kind::Merge, &merge, &pod);
        patched(patch::Kind::Strategic, &merge, &pod);
    });
}

/// A body as a value, as the write path reads it.
fn value(bytes: Vec<u8>) -> Option<Value> {
    let body = decode::decode(Format::Json, bytes.into()).ok()?;
    decode::value(&body.json).ok()
}

#[test]
fn fields_v1_is_read_or_refused() {
    let inputs = Inputs {
        valid: &[
            br#"{"f:metadata":{"f:labels":{".":{},"f:a":{}},"f:finalizers":{"v:\"x.y/z\"":{}}},"f:spec":{"f:replicas":{}}}"#,
            br#"{"f:spec":{"f:containers":{"k:{\"name\":\"c\"}":{".":{},"f:ports":{"k:{\"containerPort\":80,\"protocol\":\"TCP\"}":{}}}}}}"#,
            br#"{"v:1":{},"v:2.5":{},"v:true":{},"v:null":{},"i:0":{".":{},"i:1":{}},"r:later":{"x":1}}"#,
        ],
        tokens: &[
            b"\"f:",
            b"\"k:{\\\"",
            b"\"v:\\\"",
            b"\"i:-1\"",
            b"\".\":{}",
            b":{},",
            b"{",
            b"}",
            b"\\\"",
            b"null",
            b"[]",
            b"1e9",
            b"\\u2028",
            b"<&>",
            b"\xc3\xa9",
        ],
    };
    run("fields_v1_is_read_or_refused", |random| {
        let Some(fields) = value(inputs.mutate(random)) else { return };
        let entry = serde_json::json!({"operation": "Update", "apiVersion": "v1", "fieldsType": "FieldsV1", "fieldsV1": fields});
        let managers = Managers::read(&Value::Array(vec![entry]));
        let Ok(set) = FieldSet::from_fields_v1(&fields) else { return assert!(managers.is_err(), "{fields}") };
        let text = set.to_fields_v1_text();
        let again = value(text.clone().into()).and_then(|fields| FieldSet::from_fields_v1(&fields).ok());
        assert_eq!(again.map(|again| again.len()), Some(set.len()), "{text}");
    });
}

#[test]
fn configurations_are_applied_or_refused() {
    let inputs = Inputs {
        valid: &[
            POD.as_bytes(),
            br#"{"apiVersion":"v1","kind":"Pod","metadata":{"name":"web","labels":{"a":"c"}},"spec":{"containers":[{"name":"d"},{"name":"c","ports":[{"containerPort":80,"protocol":"UDP"}]}]}}"#,
            br#"{"apiVersion":"v1","kind":"Pod","metadata":{"name":"web","finalizers":["a.b/c"]},"spec":{"nodeSelector":{"x":"y"},"volumes":[{"name":"v","hostPath":null}]}}"#,
        ],
        tokens: &[b"null", b"{}", b"[]", b"[", b"{", b",", b"\"name\"", b"\"containers\":", b"\"env\":[{\"name\":\"A\"}],", b"1.0"],
    };
    let pods = ApiResource::of::<Pod>();
    let of = ObjectType::plain("v1", "Pod", pods.shape());
    let pod: Value = serde_json::from_str(POD).unwrap();
    let author = |manager| apply::Author { manager, subresource: "", now: jiff::Timestamp::UNIX_EPOCH };
    run("configurations_are_applied_or_refused", |random| {
        let (Some(first), Some(second)) = (value(inputs.mutate(random)), value(inputs.mutate(random))) else { return };
        let mut live = pod.clone();
        live["metadata"]["managedFields"] = apply::update(&of, None, &pod, &author("made")).unwrap();
        for (manager, configuration) in [("one", &first), ("two", &second), ("one", &second)] {
            let _refused = apply::apply(&of, Some(&live), configuration, &author(manager), false).map(drop);
            match apply::apply(&of, Some(&live), configuration, &author(manager), true) {
                Ok(applied) => live = applied.unwrap_or(live),
                Err(err) => {
                    assert!((400..500).contains(&corten_api::ApiError::from(err).code()), "{configuration}");
                    continue;
                }
            }
            let again = apply::apply(&of, Some(&live), configuration, &author(manager), false);
            assert!(matches!(again, Ok(None)), "{configuration}: {again:?}");
        }
        let _read = pods.decode(live.to_string().as_bytes());
    });
}

#[test]
fn spdy_frames_are_read_or_refused() {
    let mut codec = HeaderCodec::default();
    let reply = crate::connect::spdy::syn_reply(1, &mut codec).unwrap();
    let mut stream = reply.to_vec();
    // A SYN_STREAM differs from its reply by six bytes.
    stream[3] = 1;
    stream[7] += 6;
    stream.splice(12..12, [0; 6]);
    let data = [&crate::connect::spdy::data_head(1, 5, true)[..], b"hello"].concat();
    let inputs = Inputs {
        valid: &[&reply, &stream, &data, &crate::connect::spdy::ping(7)],
        tokens: &[
            b"\x80\x03\x00\x01",
            b"\x80\x03\x00\x08",
            b"\x00\x00\x00\x00",
            b"\xff\xff\xff\xff",
            b"\x78\xbb\xe3\xc6\xa7\xc2",
        ],
    };
    run("spdy_frames_are_read_or_refused", |random| {
        // One connection's frames share a codec.
        let mut codec = HeaderCodec::default();
        for _ in 0..=random.below(4) {
            let bytes = inputs.mutate(random);
            let Some((head, payload)) = bytes.split_first_chunk::<HEAD_BYTES>() else { continue };
            if let Ok(head) = Head::read(*head) {
                let payload = Bytes::copy_from_slice(&payload[..head.len.min(payload.len())]);
                let _frame = head.frame(payload, &mut codec);
            }
        }
    });
}

//! One valid request per kind, changed a little again and again, against a real server on a real etcd: whatever comes, the
//! answer is an object or a `Status`, and the connection stands.
//!
//! `CORTEN_MUTANTS=10000` tries so many of each kind instead of a few.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "what a test cannot do without fails it")]

#[path = "support/etcd.rs"]
mod etcd;
#[path = "support/objects.rs"]
mod objects;
#[path = "support/server.rs"]
mod server;

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use bytes::Bytes;
use corten_apiserver::storage::Storage;
use corten_apiserver::storage::etcd::{Endpoints, Etcd};
use corten_fuzz::{Inputs, Random};
use http::Request;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::SendRequest;
use hyper_util::rt::TokioIo;
use objects::ValidObject;
use serde_json::{Map, Value, json};
use server::TestServer;

const MUTANTS: u64 = 40;
const DEADLINE: Duration = Duration::from_secs(60);
const JSON: &str = "application/json";
/// Of a longer body than it wants the server takes some more, so that its answer is not lost; not without end.
const BODY_BYTES_MAX: usize = 8 * 1024 * 1024;

/// Changes one place of a value: takes it away, puts something else there, repeats it or buries it.
fn change(random: &mut Random, value: &mut Value) {
    let deeper = !random.one_in(4);
    match value {
        Value::Object(fields) if deeper && !fields.is_empty() => {
            let key = fields.keys().nth(random.below(fields.len())).unwrap().clone();
            match random.below(12) {
                0 => drop(fields.remove(&key)),
                1 => drop(fields.insert(odd_text(random), json!({"a": [key]}))),
                _ => change(random, &mut fields[&key]),
            }
        }
        Value::Array(items) if deeper && !items.is_empty() => {
            let at = random.below(items.len());
            match random.below(12) {
                0 => drop(items.remove(at)),
                1 => items.extend(vec![items[at].clone(); 1 + random.below(300)]),
                _ => change(random, &mut items[at]),
            }
        }
        other => *other = odd(random, other.take()),
    }
}

fn odd(random: &mut Random, was: Value) -> Value {
    match random.below(16) {
        0 => Value::Null,
        1 => json!([]),
        2 => json!({}),
        3 => json!(random.one_in(2)),
        4 => json!(0),
        5 => json!(-1),
        6 => json!(i64::MAX),
        7 => json!(u64::MAX),
        8 => json!(1.5),
        9 => json!(-1e300),
        10 => json!([was]),
        11 => json!({ odd_text(random): was }),
        12 => (0..random.below(130)).fold(was, |inside, _| json!([inside])),
        _ => json!(odd_text(random)),
    }
}

fn odd_text(random: &mut Random) -> String {
    let texts = [
        "",
        " ",
        "a/b",
        "..",
        "%",
        "A_b",
        "é\u{0}\n",
        "x.y/z",
        "-",
        "*",
        "10.0.0.300",
        "::1",
        "1Gi",
        "1e99",
        "25%",
        "None",
        "\u{feff}",
    ];
    match random.below(8) {
        0 => "x".repeat(random.below(70_000)),
        1 => random.number().to_string(),
        _ => (*random.pick(&texts).unwrap()).to_owned(),
    }
}

const FORMATS: [&str; 3] = [JSON, "application/yaml", "application/vnd.kubernetes.protobuf"];
const PATCHES: [&str; 3] =
    ["application/merge-patch+json", "application/strategic-merge-patch+json", "application/apply-patch+yaml"];
const JSON_PATCH: &str = "application/json-patch+json";

struct Sent {
    method: &'static str,
    path: String,
    content_type: &'static str,
    body: Vec<u8>,
}

fn mutant(random: &mut Random, collection: &str, name: &str, valid: &Value) -> Sent {
    let mut object = valid.clone();
    for _ in 0..random.below(4) {
        change(random, &mut object);
    }
    let one = format!("{collection}/{name}");
    let sub = ["", "", "", "", "/status", "/scale", "/finalize", "/binding", "/eviction", "/approval", "/token"];
    let below = format!("{one}{}", random.pick(&sub).unwrap());
    let (method, path, content_type, mut body) = match random.below(10) {
        0..=3 => ("POST", collection.to_owned(), JSON, object.to_string().into_bytes()),
        4 | 5 => ("PUT", below, JSON, object.to_string().into_bytes()),
        6 => ("PATCH", below, PATCHES[random.below(PATCHES.len())], object.to_string().into_bytes()),
        7 => {
            let at = ["/spec", "/metadata/labels", "/data", "/status", "", "/spec/ports/0", "/metadata/name"];
            let ops: Vec<Value> = (0..random.below(5))
                .map(|_| {
                    let op = random.pick(&["add", "replace", "remove", "move", "copy", "test"]).unwrap();
                    let (from, path) = (random.pick(&at).unwrap(), random.pick(&at).unwrap());
                    json!({"op": op, "path": path, "from": from, "value": object})
                })
                .collect();
            ("PATCH", one, JSON_PATCH, json!(ops).to_string().into_bytes())
        }
        8 => (
            "DELETE",
            one,
            JSON,
            json!({"gracePeriodSeconds": odd(random, json!(0)), "propagationPolicy": "Background"})
                .to_string()
                .into_bytes(),
        ),
        _ => ("GET", below, JSON, Vec::new()),
    };
    if random.one_in(5) {
        let tokens: [&[u8]; 6] = [b"{", b"\"", b"[", b"\xff", b"null", b"k8s\0"];
        body = Inputs { valid: &[&body], tokens: &tokens }.mutate(random);
    }
    body.truncate(BODY_BYTES_MAX);
    let content_type = if method != "PATCH" && random.one_in(6) { FORMATS[random.below(3)] } else { content_type };
    let query = [
        "",
        "",
        "?dryRun=All",
        "?fieldValidation=Strict",
        "?fieldManager=%00",
        "?fieldManager=m&force=true",
        "?pretty=1&limit=-1",
    ];
    let path = path + random.pick(&query).unwrap();
    Sent { method, path, content_type, body }
}

async fn connection(server: &TestServer) -> SendRequest<Full<Bytes>> {
    let tls = server.connect(Some("admin")).await;
    let (sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(tls)).await.unwrap();
    tokio::spawn(connection);
    sender
}

async fn answer(sender: &mut SendRequest<Full<Bytes>>, sent: &Sent) -> Result<(u16, Value), String> {
    let request = Request::builder().method(sent.method).uri(&sent.path).header("host", "localhost");
    let request = request.header("content-type", sent.content_type).body(Full::new(sent.body.clone().into())).unwrap();
    let whole = async {
        sender.ready().await?;
        let response = sender.send_request(request).await?;
        let code = response.status().as_u16();
        Ok::<_, hyper::Error>((code, response.into_body().collect().await?.to_bytes()))
    };
    let done = tokio::time::timeout(DEADLINE, whole).await.map_err(|_| "no answer".to_owned())?;
    let (code, bytes) = done.map_err(|err| format!("the connection ended: {err}"))?;
    let value = serde_json::from_slice(&bytes).map_err(|err| format!("{code}: no JSON: {err}"))?;
    Ok((code, value))
}

/// Whether an answer is one that clients understand.
fn is_good(code: u16, answer: &Value) -> bool {
    let is_status = answer["kind"] == "Status" && answer["apiVersion"] == "v1";
    match code {
        200..=299 => is_status || answer["metadata"].is_object(),
        400..=499 => is_status && answer["code"] == code && answer["message"].as_str().is_some_and(|m| !m.is_empty()),
        _ => false,
    }
}

async fn on_etcd() -> Etcd {
    let _installed = rustls::crypto::ring::default_provider().install_default();
    let etcd = Etcd::connect(&Endpoints { urls: vec![etcd::etcd_url()], tls: None }).await.unwrap();
    let up = async {
        while etcd.current_revision().await.is_err() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(DEADLINE, up).await.expect("etcd answers");
    etcd
}

#[tokio::test(flavor = "multi_thread")]
async fn no_mutant_of_a_valid_request_ends_a_connection_without_a_status() {
    let count = std::env::var("CORTEN_MUTANTS").map_or(MUTANTS, |text| text.parse().unwrap());
    let seed =
        std::env::var("CORTEN_FUZZ_SEED").map_or_else(|_| RandomState::new().hash_one(0), |text| text.parse().unwrap());
    let server = TestServer::start_over(std::sync::Arc::new(on_etcd().await), |_| {}).await;
    let mut codes = Map::new();
    for (index, ValidObject { collection, name, json: valid }) in objects::one_of_each_kind().into_iter().enumerate() {
        let mut sender = connection(&server).await;
        let create =
            Sent { method: "POST", path: collection.clone(), content_type: JSON, body: valid.to_string().into() };
        let (code, made) = answer(&mut sender, &create).await.unwrap();
        assert_eq!(code, 201, "{collection}: a valid request: {made}");
        let mut random = Random::new(seed.wrapping_add(index as u64));
        for n in 0..count {
            let sent = mutant(&mut random, &collection, name, &valid);
            let told = |what: &str| {
                let body = String::from_utf8_lossy(&sent.body[..sent.body.len().min(2000)]).into_owned();
                format!(
                    "{} {} {}: {what}; mutant {n}, CORTEN_FUZZ_SEED={seed}: {body}",
                    sent.method, sent.path, sent.content_type
                )
            };
            // Between two requests a server may close: it has answered, and reads no rest of a body that it did not want.
            if sender.ready().await.is_err() {
                sender = connection(&server).await;
            }
            let answered = answer(&mut sender, &sent).await;
            let (code, shown) = answered.unwrap_or_else(|err| panic!("{}", told(&err)));
            assert!(is_good(code, &shown), "{}", told(&format!("{code} {shown}")));
            let so_far = codes.get(&code.to_string()).and_then(Value::as_u64).unwrap_or(0);
            codes.insert(code.to_string(), json!(so_far + 1));
        }
        // What became of it does not bind the next kinds: limits, quotas and classes do.
        let cleared = Sent { method: "DELETE", path: collection, content_type: JSON, body: Vec::new() };
        let (code, shown) = answer(&mut connection(&server).await, &cleared).await.unwrap();
        assert!(is_good(code, &shown), "{}: {code} {shown}", cleared.path);
    }
    println!("{}", Value::Object(codes));
}

//! Approved requests for certificates are signed, once, whatever the line does.

use std::path::PathBuf;

use corten_api::Key;
use corten_client::CancellationToken;
use corten_client::seeds::for_each_seed;
use corten_controllers::certificates::authority::Files;
use corten_controllers::certificates::flags::Signing;
use corten_controllers::certificates::signer::Signer;
use corten_controllers::csrsigning;
use jiff::SignedDuration;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, KeyPair};
use serde_json::{Value, json};

use crate::apiserver::ApiServer;
use crate::world::{World, play, until};

const SEEDS: u64 = 4;
const FAULTS: usize = 15;

fn at(name: &str) -> (String, Key) {
    ("certificatesigningrequests".to_owned(), Key::cluster(name))
}

/// An authority in two files of their own.
fn authority(seed: u64) -> Files {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let cert = params.self_signed(&key).unwrap().pem();
    let dir = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("authority-{}-{seed}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    let files = Files { cert: dir.join("ca.crt"), key: dir.join("ca.key") };
    std::fs::write(&files.cert, cert).unwrap();
    std::fs::write(&files.key, key.serialize_pem()).unwrap();
    files
}

fn request(name: &str, usages: &[&str], conditions: &[&str]) -> Value {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, "jane");
    let pem = params.serialize_request(&KeyPair::generate().unwrap()).unwrap().pem().unwrap();
    let pem = corten_api::k8s_openapi::ByteString(pem.into_bytes());
    let spec = json!({"signerName": Signer::KubeApiserverClient.name(), "request": pem, "usages": usages});
    let conditions: Vec<_> = conditions.iter().map(|kind| json!({"type": kind, "status": "True"})).collect();
    json!({"metadata": {"name": name}, "spec": spec, "status": {"conditions": conditions}})
}

#[test]
fn what_is_approved_is_signed_once_and_what_may_not_be_fails_with_a_reason() {
    for_each_seed(SEEDS, |seed| {
        play(async move {
            let (server, stop) = (ApiServer::new(seed), CancellationToken::new());
            server.with(|state| {
                let of = |name: &str, usages: &[&str], conditions: &[&str]| request(name, usages, conditions);
                for csr in [
                    of("good", &["client auth"], &["Approved"]),
                    of("bad", &["client auth", "server auth"], &["Approved"]),
                    of("open", &["client auth"], &[]),
                ] {
                    state.create("certificatesigningrequests", csr).unwrap();
                }
            });
            let mut world = World::new(&server, &stop).await;
            let files = [(Signer::KubeApiserverClient, authority(seed))].into();
            world.setup.settings.signing = Signing { files, longest: SignedDuration::from_hours(24) };
            world.start("csrsigning", csrsigning::controller);
            server.set_faults(FAULTS);
            until(&server, "one is signed and one has failed", |state| {
                let signed = state.objects[&at("good")]["status"]["certificate"].is_string();
                signed && state.objects[&at("bad")]["status"]["conditions"][1]["type"] == "Failed"
            })
            .await;
            server.with(|state| {
                let writes = |name: &str| state.log.iter().filter(|change| change.at == at(name)).count();
                assert_eq!([writes("good"), writes("bad"), writes("open")], [2, 2, 1]);
                let condition = &state.objects[&at("bad")]["status"]["conditions"][1];
                assert_eq!(condition["message"], "invalid usage for client certificate: server auth");
            });
            stop.cancel();
        });
    });
}

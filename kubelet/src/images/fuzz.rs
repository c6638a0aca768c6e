//! What a registry sends and what users write of images, tried with made-up bytes. Layers are not here: containerd unpacks
//! them, and what they come to is compared with what the config names.

use corten_fuzz::{Inputs, run};

use super::auth;
use super::documents::{self, Document, Parsed, chain_ids};
use super::platform::Platform;
use super::reference::Reference;

const JSON: &[&[u8]] = &[
    b"{",
    b"}",
    b"[",
    b"]",
    b",",
    b":",
    b"null",
    b"\"\"",
    b"-1",
    b"1e999",
    b"18446744073709551615",
    b"18446744073709551616",
    b"[[[[[[[[[[[[[[[[",
    b"{\"a\":",
    b"\\ud800",
    b"\xff",
    b"sha256:",
    b"../",
];
const MANIFEST: &[u8] = br#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":
{"mediaType":"c","digest":"sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855","size":2},"layers":[
{"mediaType":"l","digest":"sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855","size":1099511627775}]}"#;
const INDEX: &[u8] = br#"{"schemaVersion":2,"manifests":[{"mediaType":"m","size":9,"digest":
"sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855","platform":{"os":"linux","architecture":"amd64",
"variant":"v2"}}]}"#;
const CONFIG: &[u8] =
    br#"{"os":"linux","architecture":"amd64","config":{"User":"a:b","Env":["A=1"],"Entrypoint":["/x"],
"Cmd":null,"WorkingDir":"/","Volumes":{"/data":{}},"StopSignal":"SIGTERM"},"rootfs":{"type":"layers","diff_ids":[
"sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"]}}"#;

fn machine() -> Platform {
    Platform { os: "linux".into(), architecture: "amd64".into(), variant: String::new() }
}

#[test]
fn manifests_and_configs_are_read_or_refused() {
    let inputs = Inputs { valid: &[MANIFEST, INDEX, CONFIG], tokens: JSON };
    run("manifests_and_configs_are_read_or_refused", |random| {
        let bytes = inputs.mutate(random);
        if let Ok(config) = documents::config(&bytes, &machine()) {
            assert_eq!(chain_ids(&config.diff_ids).len(), config.diff_ids.len());
        }
        let document = Document::of(bytes.into());
        let Ok(Parsed::Manifest(manifest)) = documents::parse(&document, &machine()) else { return };
        let names = manifest.layers.iter().chain([&manifest.config]).map(|blob| &blob.digest);
        assert!(names.clone().all(|name| !name.contains(['/', '.', ' '])), "{:?}", names.collect::<Vec<_>>());
        assert!(manifest.size_bytes().checked_add(document.bytes.len() as u64).is_some());
    });
}

#[test]
fn names_and_secrets_are_read_or_refused() {
    let inputs = Inputs {
        valid: &[
            b"nginx",
            b"docker.io/library/nginx:1.27",
            b"localhost:5000/a/b@sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
            br#"{"auths":{"https://index.docker.io/v1/":{"auth":"dXNlcjpwYTpzcw=="}}}"#,
            br#"{"reg.example":{"username":"u","password":"p"}}"#,
        ],
        tokens: &[
            b"@", b":", b"/", b"..", b"sha256:", b"[::1]", b"http://", b"{", b"\"", b"null", b"=", b"\0", b"\xff",
        ],
    };
    run("names_and_secrets_are_read_or_refused", |random| {
        let bytes = inputs.mutate(random);
        let _read = auth::parse(&bytes);
        let text = String::from_utf8_lossy(&bytes);
        if let Ok(reference) = Reference::parse(&text) {
            assert!(!reference.path.split('/').any(|part| part == ".."), "{text:?}");
            // Written out it means the same; beside a digest a tag counts for nothing and is left out.
            if let Ok(again) = Reference::parse(&reference.to_string()) {
                assert_eq!(again.repository(), reference.repository(), "{text:?}");
                assert_eq!(again.version(), reference.version(), "{text:?}");
            }
        }
    });
}

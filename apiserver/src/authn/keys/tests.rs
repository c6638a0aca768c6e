//! Keys as openssl writes them, and as nobody should.

use super::super::testing;
use super::*;

const RSA_ID: &str = "432jlBqBuW8mvJ-Zpzs-2aaix8010jXb8v1z7vALMBk";
const ECDSA_ID: &str = "hUPRHSsvKrfuVwxIef3-BLFd-bTI4N7k34iOHe-DWeM";

#[test]
fn every_form_of_a_key_is_the_same_key() {
    let rsa1 = include_bytes!("../testdata/rsa-pkcs1.pem").to_vec();
    let rsa8 = include_bytes!("../testdata/rsa-pkcs8.pem").to_vec();
    let ecdsa1 = include_bytes!("../testdata/ecdsa-sec1.pem").to_vec();
    let ecdsa8 = include_bytes!("../testdata/ecdsa-pkcs8.pem").to_vec();
    for (text, id) in [(&rsa1, RSA_ID), (&rsa8, RSA_ID), (&ecdsa1, ECDSA_ID), (&ecdsa8, ECDSA_ID)] {
        assert_eq!(Keys::of_pem(text, &[]).unwrap().signing().public().id(), id);
    }
    let rsa_public = include_bytes!("../testdata/rsa-public.pem").to_vec();
    let ecdsa_public = include_bytes!("../testdata/ecdsa-public.pem").to_vec();
    let certificate = include_bytes!("../testdata/ecdsa-certificate.pem").to_vec();
    for (text, id) in [(rsa1, RSA_ID), (rsa_public, RSA_ID), (ecdsa_public, ECDSA_ID), (certificate, ECDSA_ID)] {
        let [key] = public_keys(&text).unwrap().try_into().unwrap();
        assert_eq!(key.id(), id);
    }
}

#[test]
fn one_signs_and_all_verify_each_once() {
    let [a, b] = [testing::ecdsa_pem(), testing::ecdsa_pem()];
    let both = [b.as_slice(), a.as_slice(), b.as_slice()].concat();
    let keys = Keys::of_pem(&a, &[both]).unwrap();
    let id = |text: &[u8]| Keys::of_pem(text, &[]).unwrap().signing().public().id().to_owned();
    assert_eq!(keys.signing().public().id(), id(&a));
    let ids = |named: Option<&str>| keys.candidates(named).map(|key| key.id().to_owned()).collect::<Vec<_>>();
    assert_eq!(ids(None), [id(&b), id(&a)]);
    assert_eq!(ids(Some("")), [id(&b), id(&a)]);
    assert_eq!(ids(Some(&id(&a))), [id(&a)]);
    assert!(ids(Some("another")).is_empty());
}

#[test]
fn keys_for_others() {
    let keys = testing::rsa_and_ecdsa();
    let shown: Vec<_> = keys.verifying().iter().map(|key| serde_json::to_string(&key.jwk).unwrap()).collect();
    assert_eq!(
        shown[0],
        format!(
            r#"{{"use":"sig","kty":"EC","kid":"{ECDSA_ID}","crv":"P-256","alg":"ES256","x":"UAoLtUmEZ2RjI1Gem0FplVB9FGxB3fZdpa8mS49eVsU","y":"V-mAFem8Pn4JTvC2j12VtOupoWcnkYvGtaPnIPH-ZIw"}}"#
        )
    );
    let start = format!(r#"{{"use":"sig","kty":"RSA","kid":"{RSA_ID}","alg":"RS256","n":"vi6ksX3GVoNM"#);
    assert!(shown[1].starts_with(&start) && shown[1].ends_with(r#"","e":"AQAB"}"#), "{}", shown[1]);
}

#[test]
fn what_gives_no_keys_says_why() {
    let good = testing::ecdsa_pem();
    let garbage = |label: &str| format!("-----BEGIN {label}-----\nAAAA\n-----END {label}-----\n").into_bytes();
    let refused = |signing: &[u8], others: &[Vec<u8>]| Keys::of_pem(signing, others).unwrap_err().to_string();
    let public = include_bytes!("../testdata/ecdsa-public.pem");
    assert!(refused(b"", &[]).starts_with("it has no private key"));
    assert!(refused(public, &[]).starts_with("it has no private key"));
    assert!(refused(b"-----BEGIN PRIVATE KEY-----\nAAAA\n", &[]).starts_with("it is not PEM"));
    for label in ["PRIVATE KEY", "RSA PRIVATE KEY", "EC PRIVATE KEY"] {
        assert!(refused(&garbage(label), &[]).starts_with("a private key in it cannot be used"), "{label}");
    }
    for label in ["PUBLIC KEY", "CERTIFICATE"] {
        assert!(refused(&good, &[garbage(label)]).starts_with("a public key in it cannot be used"), "{label}");
    }
    assert!(refused(&good, &[Vec::new()]).starts_with("it has no key"));
    assert!(refused(&good, &[garbage("CERTIFICATE REQUEST")]).starts_with("it has no key"));
}

#[test]
fn lengths_in_der() {
    for (bytes, head) in [
        (0, vec![0x30, 0x00]),
        (127, vec![0x30, 0x7f]),
        (128, vec![0x30, 0x81, 0x80]),
        (256, vec![0x30, 0x82, 0x01, 0x00]),
    ] {
        let element = element(SEQUENCE, &vec![0; bytes]);
        assert_eq!((element.len(), &element[..head.len()]), (bytes + head.len(), head.as_slice()));
    }
}

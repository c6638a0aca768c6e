//! The PKI on disk: made once, kept, made anew where it no longer fits, and accepted by rustls.
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::{env, fs, process};

use jiff::{Timestamp, ToSpan};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};

use super::*;

struct TempDir(PathBuf);

impl TempDir {
    fn new(name: &str) -> Self {
        let dir = env::temp_dir().join(format!("cortenadm-{name}-{}", process::id()));
        fs::create_dir_all(&dir).unwrap();
        Self(dir)
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).ok();
    }
}

fn plan(san: &str) -> ClusterPlan {
    ClusterPlan {
        apiserver_sans: vec![san.into()],
        etcd_sans: vec![san.into()],
        service_ip: Some([10, 96, 0, 1].into()),
        ..ClusterPlan::default()
    }
}

fn outcome(done: &[(String, Outcome)], stem: &str) -> Outcome {
    done.iter().find(|(name, _)| name == stem).unwrap().1
}

#[test]
fn a_second_init_keeps_everything() {
    let dir = TempDir::new("keeps");
    let pki = Pki::new(&dir.0, Timestamp::now());
    assert!(pki.init(&plan("172.30.0.11")).unwrap().iter().all(|(_, outcome)| *outcome == Outcome::Issued));
    assert!(pki.init(&plan("172.30.0.11")).unwrap().iter().all(|(_, outcome)| *outcome == Outcome::Kept));
}

#[test]
fn what_no_longer_fits_is_made_anew_and_the_rest_is_kept() {
    let dir = TempDir::new("renews");
    let now = Timestamp::now();
    Pki::new(&dir.0, now).init(&plan("172.30.0.11")).unwrap();
    let later = Pki::new(&dir.0, now + (340 * 24).hours());
    let cases = [
        ("a new master's address", Pki::new(&dir.0, now), plan("172.30.0.12"), "apiserver", Verdict::NamesMissing),
        ("eleven months later", later, plan("172.30.0.12"), "scheduler", Verdict::NearItsEnd),
    ];
    for (why, pki, plan, stem, verdict) in cases {
        let done = pki.init(&plan).unwrap();
        assert_eq!(outcome(&done, stem), Outcome::Renewed(verdict), "{why}");
        assert_eq!(outcome(&done, "ca"), Outcome::Kept, "{why}");
    }
    fs::remove_file(dir.0.join("ca.crt")).unwrap();
    let done = Pki::new(&dir.0, now).init(&plan("172.30.0.12")).unwrap();
    assert_eq!(outcome(&done, "admin"), Outcome::Renewed(Verdict::OtherAuthority));
}

#[test]
fn a_certificate_that_does_not_fit_its_key_is_made_anew() {
    let dir = TempDir::new("fits");
    let pki = Pki::new(&dir.0, Timestamp::now());
    pki.init(&plan("172.30.0.11")).unwrap();
    // As a crash leaves them that comes after the new key is written and before the new certificate is.
    fs::copy(pki.key("scheduler"), pki.key("controller-manager")).unwrap();
    fs::write(pki.key("admin"), "half a key").unwrap();
    let done = pki.init(&plan("172.30.0.11")).unwrap();
    for stem in ["controller-manager", "admin"] {
        assert_eq!(outcome(&done, stem), Outcome::Renewed(Verdict::OtherKey), "{stem}");
    }
    assert_eq!(outcome(&done, "scheduler"), Outcome::Kept);
    assert!(pki.init(&plan("172.30.0.11")).unwrap().iter().all(|(_, outcome)| *outcome == Outcome::Kept));
}

#[test]
fn an_expired_authority_is_an_error_that_says_what_to_do() {
    let dir = TempDir::new("expired");
    let now = Timestamp::now();
    Pki::new(&dir.0, now).init(&plan("a")).unwrap();
    let error = Pki::new(&dir.0, now + (3651 * 24).hours()).init(&plan("a")).unwrap_err();
    assert!(error.to_string().contains("pki init"), "{error}");
    fs::remove_file(dir.0.join("ca.key")).unwrap();
    let error = Pki::new(&dir.0, now).init(&plan("a")).unwrap_err();
    assert!(matches!(error, PkiError::KeyMissing { .. }), "{error}");
}

#[test]
fn an_authority_with_anothers_key_is_an_error_and_stays_as_it_is() {
    let dir = TempDir::new("authority");
    let pki = Pki::new(&dir.0, Timestamp::now());
    pki.init(&plan("a")).unwrap();
    let before = fs::read_to_string(pki.cert("etcd/ca")).unwrap();
    fs::copy(pki.key("ca"), pki.key("etcd/ca")).unwrap();
    for error in [pki.init(&plan("a")).unwrap_err(), pki.lacking(&plan("a"), &[]).unwrap_err()] {
        assert!(matches!(error, PkiError::AuthorityOtherKey { .. }), "{error}");
    }
    assert_eq!(fs::read_to_string(pki.cert("etcd/ca")).unwrap(), before);
}

#[test]
fn what_a_crash_left_of_a_key_becomes_no_certificate() {
    let dir = TempDir::new("left");
    let pki = Pki::new(&dir.0, Timestamp::now());
    // As a directory, one that is in the way shows which names are used.
    fs::create_dir_all(dir.0.join("admin.new")).unwrap();
    pki.init(&plan("a")).unwrap();
    assert!(!dir.0.join("admin.key.new").exists() && !dir.0.join("admin.crt.new").exists());
}

#[test]
fn what_lacks_is_what_would_be_issued() {
    let dir = TempDir::new("lacking");
    let now = Timestamp::now();
    let node = node_plan("master1", &[]);
    let names = |pki: &Pki, plan: &ClusterPlan| -> Vec<String> {
        let lacking = pki.lacking(plan, &node).unwrap();
        let done = pki.init(plan).unwrap().into_iter().chain(pki.issue_all(&node).unwrap());
        let issued: Vec<String> = done.filter(|(_, outcome)| *outcome != Outcome::Kept).map(|(stem, _)| stem).collect();
        assert_eq!(lacking, issued);
        lacking
    };
    let pki = Pki::new(&dir.0, now);
    assert_eq!(names(&pki, &plan("172.30.0.11")).len(), 3 + 1 + 9 + 3);
    assert_eq!(names(&pki, &plan("172.30.0.11")), Vec::<String>::new());
    assert_eq!(names(&pki, &plan("172.30.0.12")), ["apiserver", "etcd/server", "etcd/peer"]);
    let later = Pki::new(&dir.0, now + (340 * 24).hours());
    assert_eq!(names(&later, &plan("172.30.0.12")).len(), 9 + 3, "authorities last longer");
    fs::remove_file(pki.dir().join("sa.pub")).unwrap();
    assert_eq!(names(&later, &plan("172.30.0.12")), ["sa"]);
}

#[test]
fn keys_are_for_their_owner_alone() {
    let dir = TempDir::new("modes");
    let pki = Pki::new(&dir.0, Timestamp::now());
    pki.init(&plan("a")).unwrap();
    pki.issue_all(&node_plan("worker1", &["172.30.0.21".into()])).unwrap();
    for stem in ["ca", "sa", "admin", "etcd/ca", "nodes/worker1/kubelet"] {
        let mode = fs::metadata(pki.key(stem)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{stem}");
    }
}

#[test]
fn a_key_that_is_renewed_stays_its_owners_and_only_such_a_one() {
    use std::os::unix::fs::{MetadataExt, chown, symlink};
    let dir = TempDir::new("owners");
    let now = Timestamp::now();
    let later = Pki::new(&dir.0, now + (340 * 24).hours());
    let key = later.key("etcd/server");
    let root = nix::unistd::geteuid().as_raw();
    // What is done to a key and its directory, and whose the next key is.
    type Change = fn(&Pki);
    let cases: [(&str, Change, u32); 5] = [
        ("it is etcd's", |_| {}, 12_345),
        (
            "a link is in its place",
            |pki| {
                let (key, away) = (pki.key("etcd/server"), pki.dir().join("away"));
                fs::rename(&key, &away).unwrap();
                symlink(&away, &key).unwrap();
            },
            root,
        ),
        ("the certificate is gone", |pki| fs::remove_file(pki.cert("etcd/server")).unwrap(), root),
        ("the directory is another's", |pki| chown(pki.dir().join("etcd"), Some(12_345), None).unwrap(), root),
        (
            "all may write in the directory",
            |pki| {
                fs::set_permissions(pki.dir().join("etcd"), fs::Permissions::from_mode(0o777)).unwrap();
            },
            root,
        ),
    ];
    for (why, change, expected) in cases {
        fs::remove_dir_all(&dir.0).unwrap();
        Pki::new(&dir.0, now).init(&plan("a")).unwrap();
        if chown(&key, Some(12_345), Some(54_321)).is_err() {
            println!("skipped: only root gives files away");
            return;
        }
        change(&later);
        assert_ne!(outcome(&later.init(&plan("a")).unwrap(), "etcd/server"), Outcome::Kept, "{why}");
        let meta = fs::symlink_metadata(&key).unwrap();
        let gid = if expected == root { nix::unistd::getegid().as_raw() } else { 54_321 };
        assert_eq!((meta.uid(), meta.gid(), meta.mode() & 0o777), (expected, gid, 0o600), "{why}");
        assert_eq!(fs::metadata(later.key("apiserver")).unwrap().uid(), root, "{why}");
    }
}

#[test]
fn certificates_say_who_and_where() {
    let dir = TempDir::new("facts");
    let pki = Pki::new(&dir.0, Timestamp::now());
    pki.init(&plan("172.30.0.11")).unwrap();
    pki.issue_all(&node_plan("worker1", &["172.30.0.21".into()])).unwrap();
    let cases = [
        ("admin", "kubernetes-admin", Some("system:masters"), "corten-ca", vec![]),
        ("scheduler", "system:kube-scheduler", None, "corten-ca", vec![]),
        ("apiserver-etcd-client", "kube-apiserver-etcd-client", None, "corten-etcd-ca", vec![]),
        ("front-proxy-client", "front-proxy-client", None, "corten-front-proxy-ca", vec![]),
        ("apiserver", "kube-apiserver", None, "corten-ca", vec!["10.96.0.1", "172.30.0.11", "kubernetes.default.svc"]),
        ("nodes/worker1/kubelet", "system:node:worker1", Some("system:nodes"), "corten-ca", vec![]),
        ("nodes/worker1/proxy", "system:kube-proxy:worker1", Some("system:node-proxiers"), "corten-ca", vec![]),
        ("nodes/worker1/kubelet-server", "system:node:worker1", Some("system:nodes"), "corten-ca", vec!["172.30.0.21"]),
    ];
    for (stem, user, group, issuer, sans) in cases {
        let facts = facts(&fs::read_to_string(pki.cert(stem)).unwrap()).unwrap();
        assert_eq!((facts.common_name.as_str(), facts.organization.as_deref()), (user, group), "{stem}");
        assert_eq!(facts.issuer, issuer, "{stem}");
        assert!(sans.iter().all(|san| facts.sans.contains(*san)), "{stem}: {:?}", facts.sans);
    }
    assert_eq!(pki.list().unwrap().len(), 3 + 9 + 3);
}

#[test]
fn rustls_believes_the_chain_for_its_names_only() {
    let dir = TempDir::new("chain");
    let pki = Pki::new(&dir.0, Timestamp::now());
    pki.init(&plan("172.30.0.11")).unwrap();
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(pki.cert("ca")).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier = rustls::client::WebPkiServerVerifier::builder_with_provider(roots.into(), provider).build().unwrap();
    let server = CertificateDer::from_pem_file(pki.cert("apiserver")).unwrap();
    let etcd = CertificateDer::from_pem_file(pki.cert("etcd/server")).unwrap();
    let cases = [
        ("its address", &server, "172.30.0.11", true),
        ("its Service", &server, "kubernetes.default.svc", true),
        ("another address", &server, "172.30.0.99", false),
        ("of the other authority", &etcd, "localhost", false),
    ];
    for (why, cert, name, believed) in cases {
        use rustls::client::danger::ServerCertVerifier;
        let name = ServerName::try_from(name).unwrap();
        let result = verifier.verify_server_cert(cert, &[], &name, &[], UnixTime::now());
        assert_eq!(result.is_ok(), believed, "{why}: {result:?}");
    }
}

#[test]
fn every_nodes_proxy_has_a_key_of_its_own() {
    let dir = TempDir::new("proxies");
    let pki = Pki::new(&dir.0, Timestamp::now());
    pki.init(&plan("172.30.0.11")).unwrap();
    assert!(!pki.key("proxy").exists(), "there is none that all share");
    let nodes = ["worker1", "worker2"];
    for node in nodes {
        pki.issue_all(&node_plan(node, &[])).unwrap();
    }
    let keys = nodes.map(|node| fs::read_to_string(pki.key(&format!("nodes/{node}/proxy"))).unwrap());
    assert_ne!(keys[0], keys[1]);
    // A key that was stolen is replaced alone.
    fs::remove_file(pki.key("nodes/worker1/proxy")).unwrap();
    let again = pki.issue_all(&node_plan("worker1", &[])).unwrap();
    assert_eq!(
        (outcome(&again, "nodes/worker1/proxy"), outcome(&again, "nodes/worker1/kubelet")),
        (Outcome::Issued, Outcome::Kept)
    );
}

#[test]
fn another_cluster_domain_is_in_the_apiservers_certificate() {
    let dir = TempDir::new("domain");
    let pki = Pki::new(&dir.0, Timestamp::now());
    let names = |domain: &str| {
        let plan = ClusterPlan { cluster_domain: domain.into(), ..plan("172.30.0.11") };
        let outcome = outcome(&pki.init(&plan).unwrap(), "apiserver");
        let facts = facts(&fs::read_to_string(pki.cert("apiserver")).unwrap()).unwrap();
        let sans: Vec<String> =
            facts.sans.into_iter().filter(|san| san.starts_with("kubernetes.default.svc.")).collect();
        (outcome, sans)
    };
    assert_eq!(names("cluster.local"), (Outcome::Issued, vec!["kubernetes.default.svc.cluster.local".to_owned()]));
    let (outcome, renewed) = names("corp.example.");
    assert!(matches!(outcome, Outcome::Renewed(_)), "{outcome:?}");
    assert_eq!(renewed, ["kubernetes.default.svc.corp.example"]);
    assert_eq!(names("corp.example").0, Outcome::Kept);
}

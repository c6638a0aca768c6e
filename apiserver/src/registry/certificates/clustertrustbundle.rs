//! ClusterTrustBundle: the certificates that a signer's, or anybody's, certificates can be checked with.

use std::collections::HashMap;

use corten_api::{Problems, names};
use k8s_openapi::api::certificates::v1::ClusterTrustBundle;

use super::{pem, signer};
use crate::registry::path::Path;
use crate::registry::{Cell, Column, Kind, NameRule, SelectableField, cells, check};

const BUNDLE_BYTES_MAX: usize = 1024 * 1024;
const COLUMNS: &[Column] = &[cells::NAME, cells::text("SignerName", "Whose certificates it is for")];

impl Kind for ClusterTrustBundle {
    const SINGULAR: &'static str = "clustertrustbundle";
    const STORE_PREFIX: &'static str = "clustertrustbundles";
    const FIELDS: &'static [SelectableField] = &[SelectableField::new("spec.signerName", "spec.signerName", "")];
    const UNCONDITIONAL_UPDATE: bool = false;
    const NAME_RULE: NameRule = NameRule::PathSegment;

    strategy!(spec);
    fn validate(&self, problems: &mut Problems) {
        let at = Path::root("spec");
        let signer = check::text(self.spec.signer_name.as_ref());
        validate_name(check::text(self.metadata.name.as_ref()), signer, problems);
        if !signer.is_empty() {
            signer::validate(signer, &at.field("signerName"), problems);
        }
        validate_bundle(&self.spec.trust_bundle, &at.field("trustBundle"), problems);
    }
    fn validate_update(&self, old: &Self, problems: &mut Problems) {
        let signer = |bundle: &Self| check::text(bundle.spec.signer_name.as_ref()).to_owned();
        check::immutable(problems, &Path::root("spec.signerName"), &signer(self), &signer(old));
    }
    fn columns() -> &'static [Column] {
        COLUMNS
    }
    fn row(&self, _now_secs: i64) -> Vec<Cell> {
        let signer = Cell::text_or(self.spec.signer_name.as_deref(), cells::NONE);
        vec![cells::name(&self.metadata), signer]
    }
}

fn validate_name(name: &str, signer: &str, problems: &mut Problems) {
    if let Some(why) = name_fault(name, signer) {
        problems.invalid("metadata.name", name, &why);
    }
}

/// What is wrong with the name of a bundle of this signer, or of nobody's (""): a signer's bundles stand in a room of their
/// own, which nobody else can write to.
pub fn name_fault(name: &str, signer: &str) -> Option<String> {
    let room = format!("{}:", signer.replace('/', ":"));
    let own = match name.strip_prefix(&room) {
        _ if signer.is_empty() && name.contains(':') => {
            return Some("ClusterTrustBundle without signer name must not have \":\" in its name".into());
        }
        _ if signer.is_empty() => name,
        Some(own) => own,
        None => return Some(format!("ClusterTrustBundle for signerName {signer} must be named with prefix {room}")),
    };
    (!names::is_dns1123_subdomain(own)).then(|| names::DNS1123_SUBDOMAIN_WHY.into())
}

/// Whose bundle it is by its name; "" for nobody's.
pub fn signer_in(name: &str) -> String {
    name.rsplit_once(':').map(|(signer, _)| signer.replace(':', "/")).unwrap_or_default()
}

fn validate_bundle(bundle: &str, at: &Path<'_>, problems: &mut Problems) {
    if bundle.len() > BUNDLE_BYTES_MAX {
        return problems.too_long(at, BUNDLE_BYTES_MAX);
    }
    let mut bad = |why: String| problems.invalid(at, "<value omitted>", &why);
    let (blocks, mut malformed) = match pem::blocks(bundle.as_bytes()) {
        Ok(blocks) => (blocks, false),
        Err(err) => return bad(err.to_string()),
    };
    let mut places: HashMap<&[u8], Vec<usize>> = HashMap::new();
    for (i, block) in blocks.iter().enumerate() {
        match fault(block) {
            Some(why) => {
                malformed = true;
                bad(format!("entry {i} {why}"));
            }
            None => places.entry(&block.contents).or_default().push(i),
        }
    }
    // What is wrong with an entry may be all that is wrong.
    if malformed {
        return;
    }
    if places.is_empty() {
        bad("at least one trust anchor must be provided".into());
    }
    let mut twice: Vec<Vec<usize>> = places.into_values().filter(|places| places.len() > 1).collect();
    twice.sort_unstable();
    for places in twice {
        let places: Vec<String> = places.iter().map(usize::to_string).collect();
        bad(format!("duplicate trust anchor (indices [{}])", places.join(" ")));
    }
}

/// Why a block is no trust anchor.
fn fault(block: &pem::Block) -> Option<String> {
    if block.label != super::CERTIFICATE {
        return Some(format!("has bad block type: {}", block.label));
    }
    if block.has_headers {
        return Some("has PEM block headers".into());
    }
    match super::certificate(&block.contents).map(|certificate| certificate.is_ca()) {
        None => Some("does not parse as X.509".into()),
        Some(false) => Some("does not have the CA bit set".into()),
        Some(true) => None,
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{BasicConstraints, CertificateParams, IsCa};
    use serde_json::json;

    use super::*;
    use crate::registry::certificates::pkcs10::testing::{as_pem, key};
    use crate::registry::check::testing::{found, found_on_update, row};

    fn anchor() -> String {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.self_signed(&key(&rcgen::PKCS_ECDSA_P256_SHA256)).unwrap().pem()
    }
    fn bundle(name: &str, signer: Option<&str>, pem: &str) -> String {
        json!({"metadata": {"name": name}, "spec": {"signerName": signer, "trustBundle": pem}}).to_string()
    }

    #[test]
    fn a_signers_bundles_are_named_after_it() {
        let signer = Some("example.com/a");
        let good = anchor();
        for (name, signer, expected) in [
            ("mine", None, ""),
            ("mine", Some(""), ""),
            ("example.com:a:v1", signer, ""),
            ("a:b", None, "without signer name must not have"),
            ("Mine", None, "a lowercase RFC 1123 subdomain"),
            (
                "mine",
                signer,
                "ClusterTrustBundle for signerName example.com/a must be named with prefix example.com:a:",
            ),
            ("example.com:a:", signer, "a lowercase RFC 1123 subdomain"),
            ("example.com:a:b:c", signer, "a lowercase RFC 1123 subdomain"),
        ] {
            let found = found::<ClusterTrustBundle>(&bundle(name, signer, &good)).join("\n");
            assert!(found.contains(expected) && found.is_empty() == expected.is_empty(), "{name}: {found}");
        }
    }

    #[test]
    fn a_bundle_is_anchors_and_nothing_else() {
        let (one, other) = (anchor(), anchor());
        let leaf = CertificateParams::default().self_signed(&key(&rcgen::PKCS_ED25519)).unwrap().pem();
        let with_headers = one.replacen('\n', "\nA: b\n\n", 1);
        let line_of_garbage = format!("line {}: a PEM block that does not decode", one.lines().count() + 2);
        let cases = [
            (format!("{one}text between\n{other}"), vec![]),
            (String::new(), vec!["at least one trust anchor must be provided"]),
            (format!("{one}-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n"), vec![&*line_of_garbage]),
            (format!("{one}{other}{one}"), vec!["duplicate trust anchor (indices [0 2])"]),
            (format!("{one}{leaf}"), vec!["entry 1 does not have the CA bit set"]),
            (format!("{one}{one}{}", as_pem("PRIVATE KEY", b"x")), vec!["entry 2 has bad block type: PRIVATE KEY"]),
            (
                format!("{with_headers}{}", as_pem("CERTIFICATE", b"x")),
                vec!["entry 0 has PEM block headers", "entry 1 does not parse as X.509"],
            ),
        ];
        for (pem, expected) in cases {
            let expected: Vec<String> = expected
                .iter()
                .map(|why| format!(r#"spec.trustBundle: Invalid value: "<value omitted>": {why}"#))
                .collect();
            assert_eq!(found::<ClusterTrustBundle>(&bundle("a", None, &pem)), expected);
        }
        let long = found::<ClusterTrustBundle>(&bundle("a", None, &"x".repeat(BUNDLE_BYTES_MAX + 1)));
        assert_eq!(long, ["spec.trustBundle: Too long: may not be more than 1048576 bytes"]);
    }

    #[test]
    fn the_signer_stays() {
        let (a, b) = (bundle("a", None, ""), bundle("a", Some("example.com/a"), ""));
        assert!(found_on_update::<ClusterTrustBundle>(&a, &bundle("a", Some(""), "")).is_empty());
        let changed = found_on_update::<ClusterTrustBundle>(&a, &b);
        assert_eq!(changed, [r#"spec.signerName: Invalid value: "example.com/a": field is immutable"#]);
    }

    #[test]
    fn columns() {
        assert_eq!(row::<ClusterTrustBundle>(&bundle("a", None, ""), 0), "a|<none>");
        assert_eq!(row::<ClusterTrustBundle>(&bundle("a", Some("example.com/a"), ""), 0), "a|example.com/a");
    }
}

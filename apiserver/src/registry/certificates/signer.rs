//! Names of signers: `example.com/my-signer`.
//!
//! <https://kubernetes.io/docs/reference/access-authn-authz/certificate-signing-requests/#signers>

use corten_api::{Problems, names};

use crate::registry::path::Path;

const SUBDOMAIN_BYTES_MAX: usize = 253;
/// A subdomain, and `<namespace>.<name>` of an object after it.
const BYTES_MAX: usize = SUBDOMAIN_BYTES_MAX + 1 + 63 + 1 + SUBDOMAIN_BYTES_MAX;
const SHAPE: &str = "must be a fully qualified domain and path of the form 'example.com/signer-name'";

/// Whether the name is Kubernetes' own.
pub fn is_kubernetes(signer: &str) -> bool {
    let host = signer.split('/').next().unwrap_or_default();
    host == "kubernetes.io" || host.ends_with(".kubernetes.io")
}

pub fn validate(signer: &str, at: &Path<'_>, problems: &mut Problems) {
    if signer.is_empty() {
        return problems.required(at, "");
    }
    let Some((host, path)) = signer.split_once('/').filter(|(_, path)| !path.contains('/')) else {
        return problems.invalid(at, signer, SHAPE);
    };
    if host.len() > SUBDOMAIN_BYTES_MAX {
        problems.too_long(at, SUBDOMAIN_BYTES_MAX);
    }
    // The first bad label is enough: what is said of the others would read the same.
    if let Some(label) = host.split('.').find(|label| !names::is_dns1123_label(label)) {
        let why = if label.len() > 63 { "must be no more than 63 bytes" } else { names::DNS1123_LABEL_WHY };
        problems.invalid(at, host, &format!("validating label {label:?}: {why}"));
    }
    if !host.contains('.') {
        problems.invalid(at, host, "should be a domain with at least two segments separated by dots");
    }
    if let Some(label) = path.split('.').find(|label| !names::is_dns1123_subdomain(label)) {
        let long = label.len() > SUBDOMAIN_BYTES_MAX;
        let why = if long { "must be no more than 253 bytes" } else { names::DNS1123_SUBDOMAIN_WHY };
        problems.invalid(at, path, &format!("validating label {label:?}: {why}"));
    }
    if signer.len() > BYTES_MAX {
        problems.too_long(at, BYTES_MAX);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::check::testing::texts;

    #[test]
    fn names_have_a_domain_and_a_path() {
        let long = format!("example.com/{}", ["a".repeat(253), "b".repeat(253), "c".repeat(60)].join("."));
        let cases: &[(&str, &[&str])] = &[
            ("kubernetes.io/kube-apiserver-client", &[]),
            ("example.com/ns.name", &[]),
            ("", &["s: Required value"]),
            ("example.com", &["must be a fully qualified domain"]),
            ("example.com/a/b", &["must be a fully qualified domain"]),
            ("com/a", &["should be a domain with at least two segments"]),
            ("Example.com/a", &["validating label \"Example\""]),
            ("example.com/A", &["validating label \"A\""]),
            ("example.com/", &["validating label \"\""]),
            ("EXAMPLE/", &["validating label \"EXAMPLE\"", "at least two segments", "validating label \"\""]),
            (&long, &["s: Too long: may not be more than 571 bytes"]),
        ];
        for (name, expected) in cases {
            let mut problems = Problems::default();
            validate(name, &Path::root("s"), &mut problems);
            let found = texts(&problems);
            assert_eq!(found.len(), expected.len(), "{name}: {found:?}");
            assert!(found.iter().zip(*expected).all(|(text, part)| text.contains(part)), "{name}: {found:?}");
        }
    }

    #[test]
    fn kubernetes_own_names() {
        for (name, expected) in [
            ("kubernetes.io/a", true),
            ("x.kubernetes.io/a", true),
            ("akubernetes.io/a", false),
            ("example.com/kubernetes.io", false),
        ] {
            assert_eq!(is_kubernetes(name), expected, "{name}");
        }
    }
}

//! Volumes that are put together from several sources: each gives files of its own.

use std::collections::HashSet;

use corten_api::Problems;
use k8s_openapi::api::core::v1::{
    ClusterTrustBundleProjection, PodCertificateProjection, ProjectedVolumeSource, ServiceAccountTokenProjection,
    VolumeProjection,
};

use super::{downward_files, file_path, items, mode};
use crate::registry::certificates::podcertificaterequest::{self as requests, user_annotations};
use crate::registry::certificates::{clustertrustbundle, signer};
use crate::registry::check;
use crate::registry::path::Path;

const KEY_TYPES: &[&str] = &["RSA3072", "RSA4096", "ECDSAP256", "ECDSAP384", "ECDSAP521", "ED25519"];

pub(super) fn validate(all: &ProjectedVolumeSource, at: &Path<'_>, problems: &mut Problems) {
    mode(all.default_mode, &at.field("defaultMode"), problems);
    let list = at.field("sources");
    let mut paths = HashSet::new();
    for (i, one) in all.sources.iter().flatten().enumerate() {
        let at = list.index(i);
        projection(one, &at, problems);
        for path in paths_of(one).filter(|p| !p.is_empty()) {
            if !paths.insert(path) {
                problems.invalid(at, path, "conflicting duplicate paths");
            }
        }
    }
}

fn paths_of(one: &VolumeProjection) -> impl Iterator<Item = &str> {
    let secret = one.secret.iter().filter_map(|s| s.items.as_ref()).flatten().map(|i| i.path.as_str());
    let map = one.config_map.iter().filter_map(|s| s.items.as_ref()).flatten().map(|i| i.path.as_str());
    let downward = one.downward_api.iter().filter_map(|s| s.items.as_ref()).flatten().map(|i| i.path.as_str());
    let token = one.service_account_token.iter().map(|t| t.path.as_str());
    let bundle = one.cluster_trust_bundle.iter().map(|b| b.path.as_str());
    let certificate = one.pod_certificate.iter().flat_map(certificate_paths).map(|(_, path)| path);
    secret.chain(map).chain(downward).chain(token).chain(bundle).chain(certificate)
}

fn projection(one: &VolumeProjection, at: &Path<'_>, problems: &mut Problems) {
    let given = [
        ("secret", one.secret.is_some()),
        ("configMap", one.config_map.is_some()),
        ("downwardAPI", one.downward_api.is_some()),
        ("serviceAccountToken", one.service_account_token.is_some()),
        ("clusterTrustBundle", one.cluster_trust_bundle.is_some()),
        ("podCertificate", one.pod_certificate.is_some()),
    ];
    let given: Vec<&str> = given.into_iter().filter(|(_, is)| *is).map(|(field, _)| field).collect();
    if given.is_empty() {
        problems.required(at, "must specify a source type");
    }
    for field in given.into_iter().skip(1) {
        problems.forbidden(at.field(field), "may not specify more than 1 volume type per source");
    }
    for (field, source) in [
        ("secret", one.secret.as_ref().map(|s| (&s.name, s.items.as_deref()))),
        ("configMap", one.config_map.as_ref().map(|s| (&s.name, s.items.as_deref()))),
    ] {
        let Some((name, list)) = source else { continue };
        let at = at.field(field);
        if name.is_empty() {
            problems.required(at.field("name"), "");
        }
        items(list, &at, problems);
    }
    if let Some(downward) = &one.downward_api {
        downward_files(downward.items.as_deref(), &at.field("downwardAPI"), problems);
    }
    if let Some(source) = &one.service_account_token {
        token(source, &at.field("serviceAccountToken"), problems);
    }
    if let Some(source) = &one.cluster_trust_bundle {
        bundle(source, &at.field("clusterTrustBundle"), problems);
    }
    if let Some(source) = &one.pod_certificate {
        certificate(source, &at.field("podCertificate"), problems);
    }
}

fn token(source: &ServiceAccountTokenProjection, at: &Path<'_>, problems: &mut Problems) {
    file_path(&source.path, &at.field("path"), problems);
    if let Some(secs) = source.expiration_seconds {
        check::token_life(problems, &at.field("expirationSeconds"), secs);
    }
}

/// One bundle by its name, or all of a signer's that have certain labels.
fn bundle(source: &ClusterTrustBundleProjection, at: &Path<'_>, problems: &mut Problems) {
    match (&source.name, &source.signer_name) {
        (Some(_), Some(_)) => problems.invalid(at, source, "only one of name and signerName may be used"),
        (None, None) => problems.required(at, "either name or signerName must be specified"),
        (Some(name), None) => {
            let name_at = at.field("name");
            if name.is_empty() {
                problems.required(name_at, "must be a valid object name");
            } else if let Some(why) = clustertrustbundle::name_fault(name, &clustertrustbundle::signer_in(name)) {
                problems.invalid(name_at, name, &format!("not a valid clustertrustbundlename: {why}"));
            }
            if let Some(selector) = &source.label_selector {
                let why = "labelSelector must be unset if name is specified";
                problems.invalid(at.field("labelSelector"), selector, why);
            }
        }
        (None, Some(name)) => {
            signer::validate(name, &at.field("signerName"), problems);
            if let Some(selector) = &source.label_selector {
                check::label_selector(problems, &at.field("labelSelector"), selector);
            }
        }
    }
    file_path(&source.path, &at.field("path"), problems);
}

fn certificate_paths(source: &PodCertificateProjection) -> impl Iterator<Item = (&'static str, &str)> {
    let paths = [
        ("credentialBundlePath", &source.credential_bundle_path),
        ("keyPath", &source.key_path),
        ("certificateChainPath", &source.certificate_chain_path),
    ];
    paths.into_iter().map(|(field, path)| (field, check::text(path.as_ref()))).filter(|(_, path)| !path.is_empty())
}

fn certificate(source: &PodCertificateProjection, at: &Path<'_>, problems: &mut Problems) {
    signer::validate(&source.signer_name, &at.field("signerName"), problems);
    check::known_word(problems, &at.field("keyType"), &source.key_type, KEY_TYPES);
    if let Some(secs) = source.max_expiration_seconds {
        let (secs_at, range) = (at.field("maxExpirationSeconds"), requests::expiration_secs(&source.signer_name));
        if secs < *range.start() {
            let why = format!("if provided, maxExpirationSeconds must be >= {}", range.start());
            problems.invalid(secs_at, secs, &why);
        }
        if secs > *range.end() {
            problems.invalid(secs_at, secs, &format!("if provided, maxExpirationSeconds must be <= {}", range.end()));
        }
    }
    for (field, path) in certificate_paths(source) {
        file_path(path, &at.field(field), problems);
    }
    if certificate_paths(source).next().is_none() {
        let why = "specify at least one of credentialBundlePath, keyPath, and certificateChainPath";
        problems.required(at, why);
    }
    user_annotations(source.user_annotations.as_ref(), &at.field("userAnnotations"), problems);
}

//! Files of one volume that stand in each other's way.

use std::fmt;

use k8s_openapi::api::core::v1::{DownwardAPIVolumeFile, KeyToPath, PodSpec, VolumeProjection};

use crate::registry::check;
use crate::registry::warnings::Warnings;

/// Pairs of paths that are compared in one pod. A volume of a few hundred files stays below.
const PAIRS_MAX: usize = 100_000;

/// A file's path in a volume, and where it is from ("": there is only one place).
#[derive(Clone, PartialEq, Eq)]
struct File {
    path: String,
    from: String,
}

impl fmt::Display for File {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &*self.from {
            "" => write!(f, "{:?}", self.path),
            from => write!(f, "{:?} ({from})", self.path),
        }
    }
}

pub(super) fn paths(spec: &PodSpec, warnings: &mut Warnings) {
    let mut pairs = 0;
    for volume in spec.volumes.iter().flatten() {
        let mut look = |of: &str, files: Vec<File>| among(&volume.name, of, files, &mut pairs, warnings);
        if let Some(map) = &volume.config_map {
            look(&format!("ConfigMap {:?}", map.name), of_keys(map.items.as_deref(), ""));
        }
        if let Some(secret) = &volume.secret {
            let name = check::text(secret.secret_name.as_ref());
            look(&format!("Secret {name:?}"), of_keys(secret.items.as_deref(), ""));
        }
        if let Some(downward) = &volume.downward_api {
            look("DownwardAPI", of_fields(downward.items.as_deref(), ""));
        }
        let sources = volume.projected.iter().flat_map(|projected| projected.sources.iter().flatten());
        let mut files = Vec::new();
        for source in sources {
            if *source == VolumeProjection::default() {
                warnings.say(format_args!("volume {:?} (Projected) has no sources provided", volume.name));
            }
            files.extend(of_source(source));
        }
        among(&volume.name, "Projected", files, &mut pairs, warnings);
    }
}

fn among(volume: &str, of: &str, files: Vec<File>, pairs: &mut usize, warnings: &mut Warnings) {
    let mut before: Vec<File> = Vec::new();
    for mut file in files {
        *pairs += before.len();
        if *pairs > PAIRS_MAX || warnings.is_full() {
            return;
        }
        file.path.truncate(file.path.trim_end_matches('/').len());
        for other in before.iter().filter(|other| is_in_the_way(&other.path, &file.path)) {
            warnings.say(format_args!("volume {volume:?} ({of}): overlapping paths: {file} with {other}"));
        }
        before.push(file);
    }
}

/// Whether two paths are one, or one is a directory on the way to the other.
fn is_in_the_way(one: &str, other: &str) -> bool {
    let below =
        |path: &str, dir: &str| path.strip_prefix(dir).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    !one.is_empty() && !other.is_empty() && (below(one, other) || below(other, one))
}

fn of_keys(items: Option<&[KeyToPath]>, from: &str) -> Vec<File> {
    items.unwrap_or_default().iter().map(|item| File { path: item.path.clone(), from: from.to_owned() }).collect()
}

fn of_fields(items: Option<&[DownwardAPIVolumeFile]>, from: &str) -> Vec<File> {
    items.unwrap_or_default().iter().map(|item| File { path: item.path.clone(), from: from.to_owned() }).collect()
}

fn of_source(source: &VolumeProjection) -> Vec<File> {
    if let Some(map) = &source.config_map {
        return of_keys(map.items.as_deref(), &format!("ConfigMap {:?}", map.name));
    }
    if let Some(secret) = &source.secret {
        return of_keys(secret.items.as_deref(), &format!("Secret {:?}", secret.name));
    }
    if let Some(downward) = &source.downward_api {
        return of_fields(downward.items.as_deref(), "DownwardAPI");
    }
    let file = |path: &str, from: String| File { path: path.to_owned(), from };
    if let Some(token) = &source.service_account_token {
        return vec![file(&token.path, "ServiceAccountToken".to_owned())];
    }
    if let Some(bundle) = &source.cluster_trust_bundle {
        let name = bundle.name.as_ref().or(bundle.signer_name.as_ref());
        return vec![file(&bundle.path, format!("ClusterTrustBundle {:?}", check::text(name)))];
    }
    let Some(certificate) = &source.pod_certificate else { return Vec::new() };
    [
        (&certificate.certificate_chain_path, "chain"),
        (&certificate.key_path, "key"),
        (&certificate.credential_bundle_path, "credential bundle"),
    ]
    .into_iter()
    .filter_map(|(path, what)| Some(file(path.as_deref()?, format!("PodCertificate {what}"))))
    .collect()
}

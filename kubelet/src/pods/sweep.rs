//! What is left of pods that neither the API, nor a file, nor the runtime knows: cut off in the middle of a making or of a
//! removal. Swept once, at the start.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use corten_api::error::with_causes;
use tracing::{info, warn};

use crate::place::Place;
use crate::volumes;

/// Removes it all. What cannot be removed is said and left for the next start; nobody waits for it.
pub(super) async fn sweep(place: &Arc<Place>, wanted: &BTreeSet<String>) {
    if let Err(err) = place.runtime.sweep().await {
        warn!(err = with_causes(&err), "could not sweep the runtime");
    }
    match place.network.list().await {
        Ok(attachments) => {
            for left in attachments.iter().filter(|a| !wanted.contains(&a.pod_uid)) {
                info!(uid = left.pod_uid, "removing the network of a pod that is gone");
                if let Err(err) = place.network.detach(&left.pod_uid).await {
                    warn!(uid = left.pod_uid, err = with_causes(&err), "could not remove it");
                }
            }
        }
        Err(err) => warn!(err = with_causes(&err), "could not look for networks of pods that are gone"),
    }
    let (place, wanted) = (Arc::clone(place), wanted.clone());
    let swept = tokio::task::spawn_blocking(move || sweep_files(&place, &wanted)).await;
    if let Err(err) = swept {
        warn!(%err, "sweeping was interrupted");
    }
}

fn sweep_files(place: &Place, wanted: &BTreeSet<String>) {
    let is_left = |uid: &str| !wanted.contains(uid);
    for uid in names_in(&place.pods_dir()).iter().filter(|uid| is_left(uid)) {
        info!(uid, "removing the volumes of a pod that is gone");
        if let Err(err) = volumes::remove_pod_dir(&place.pod_dir(uid)) {
            warn!(uid, err = with_causes(&err), "could not remove them");
        }
    }
    // `<namespace>_<name>_<uid>`; other directories are not ours.
    let logs = names_in(&place.facts.log_dir);
    for name in logs.iter().filter(|n| n.splitn(3, '_').nth(2).is_some_and(is_left)) {
        info!(name, "removing the logs of a pod that is gone");
        if let Err(err) = volumes::remove_tree(&place.facts.log_dir.join(name)) {
            warn!(name, %err, "could not remove them");
        }
    }
    let Some(cgroups) = &place.cgroups else { return };
    for (uid, path) in cgroups.pods(&place.facts.cgroup_root).iter().filter(|(uid, _)| is_left(uid)) {
        info!(uid, "removing the cgroup of a pod that is gone");
        if let Err(err) = cgroups.remove(path) {
            warn!(uid, err = with_causes(&err), "could not remove it");
        }
    }
}

fn names_in(dir: &Path) -> Vec<String> {
    let entries = match std::fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(err) if err.kind() == std::io::ErrorKind::NotFound => return Vec::new(),
        Err(err) => {
            warn!(dir = %dir.display(), %err, "could not look for what is left of pods that are gone");
            return Vec::new();
        }
    };
    let name = |entry: std::io::Result<std::fs::DirEntry>| entry.ok()?.file_name().into_string().ok();
    // An entry that vanishes meanwhile, or has a name that no pod can have, is nothing to sweep.
    entries.filter_map(name).collect()
}

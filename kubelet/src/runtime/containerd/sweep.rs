//! What makings and removals that were cut off have left: root file systems, namespaces and FIFOs of no container.

use std::collections::HashSet;
use std::path::Path;

use containerd_client::services::v1::snapshots::ListSnapshotsRequest;

use super::container::OURS;
use super::rpc::Rpc;
use super::{Containerd, RuntimeError};

impl Containerd {
    pub(super) async fn sweep_leftovers(&self) -> Result<(), RuntimeError> {
        // Before the objects: what is made in between is known to be in the making.
        let mut ids = self.snapshots_of_ours().await?;
        for kind in ["sandboxes", "io"] {
            ids.extend(ids_in(&self.inner.config.state_dir.join(kind))?);
        }
        let there: HashSet<String> = self.objects(Vec::new()).await?.into_iter().map(|object| object.id).collect();
        for id in ids {
            if there.contains(&id) || self.inner.known.lock().get(&id).is_some_and(|known| known.being_made) {
                continue;
            }
            tracing::info!(id, "removing what is left of a container that was never finished");
            self.forget(&id).await?;
        }
        Ok(())
    }

    async fn snapshots_of_ours(&self) -> Result<HashSet<String>, RuntimeError> {
        const DOING: &str = "listing root file systems";
        let request = ListSnapshotsRequest {
            snapshotter: self.snapshotter().await?.into(),
            filters: vec![format!("labels.\"{OURS}\"==root")],
        };
        let mut client = self.rpc().client().snapshots();
        let mut pages = self.rpc().ask(DOING, "", client.list(Rpc::request(request))).await?;
        let mut found = HashSet::new();
        while let Some(page) = pages.message().await.map_err(|status| self.rpc().error(DOING, "", status))? {
            found.extend(page.info.into_iter().map(|info| info.name));
        }
        Ok(found)
    }
}

/// The containers and sandboxes that have an entry in the directory.
fn ids_in(dir: &Path) -> Result<Vec<String>, RuntimeError> {
    const ID_LENGTH: usize = 64;
    let failed =
        |source| RuntimeError::Io { doing: "looking for leftovers in", path: dir.display().to_string(), source };
    let entries = match std::fs::read_dir(dir) {
        Err(err) if err.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other.map_err(failed)?,
    };
    let mut ids = Vec::new();
    for entry in entries {
        let name = entry.map_err(failed)?.file_name();
        // Execs have entries too; they end with their sessions.
        ids.extend(name.to_str().filter(|name| name.len() == ID_LENGTH).map(str::to_owned));
    }
    Ok(ids)
}

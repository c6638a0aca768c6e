//! What the node has given all its pods, kept on disk beside each pod's own files, so that a kubelet that is started again
//! takes nothing away and gives nothing twice.

use std::collections::HashMap;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use tracing::warn;

use super::allocation::Allocation;

/// In the pod's directory.
const FILE: &str = "allocation.json";
/// A file that is being written; what a crash leaves of it is written over.
const FRESH_FILE: &str = "allocation.json.new";
/// Larger files are not ours.
const FILE_MAX_BYTES: u64 = 4 << 20;

/// By uid. Only of pods that the API knows: a static pod has what its file says.
#[derive(Debug, Default)]
pub(super) struct Allocations(HashMap<String, Allocation>);

impl Allocations {
    pub(super) fn get(&self, uid: &str) -> Option<&Allocation> {
        self.0.get(uid)
    }

    /// What a kubelet before this one has given, if it did. `dir` is the pod's.
    pub(super) fn recall(&mut self, uid: &str, dir: &Path) -> Option<&Allocation> {
        if !self.0.contains_key(uid) {
            match read(&dir.join(FILE)) {
                Ok(found) => self.0.extend(found.map(|found| (uid.to_owned(), found))),
                Err(err) => warn!(%err, uid, "cannot read what the pod was given; it counts as what it asks for"),
            }
        }
        self.0.get(uid)
    }

    /// Nothing is given that is not on disk.
    pub(super) fn give(&mut self, uid: &str, dir: &Path, allocation: Allocation) -> io::Result<()> {
        write(dir, &allocation)?;
        self.0.insert(uid.to_owned(), allocation);
        Ok(())
    }

    /// The pod is gone, and so is its directory.
    pub(super) fn forget(&mut self, uid: &str) {
        self.0.remove(uid);
    }
}

fn read(path: &PathBuf) -> io::Result<Option<Allocation>> {
    use std::io::Read as _;
    let file = match std::fs::File::open(path) {
        Err(err) if err.kind() == io::ErrorKind::NotFound => return Ok(None),
        other => other?,
    };
    let mut bytes = Vec::new();
    file.take(FILE_MAX_BYTES).read_to_end(&mut bytes)?;
    Ok(Some(serde_json::from_slice(&bytes)?))
}

/// Either the old or the new is there, whenever the node stops.
fn write(dir: &Path, allocation: &Allocation) -> io::Result<()> {
    std::fs::create_dir_all(dir)?;
    let fresh = dir.join(FRESH_FILE);
    let mut file = std::fs::File::create(&fresh)?;
    file.write_all(&serde_json::to_vec(allocation)?)?;
    file.sync_all()?;
    std::fs::rename(fresh, dir.join(FILE))?;
    std::fs::File::open(dir)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allocation(generation: i64) -> Allocation {
        Allocation { generation: Some(generation), ..Allocation::default() }
    }

    #[test]
    fn what_was_given_is_known_after_a_restart() {
        let root = tempfile::tempdir().unwrap();
        let dir = root.path().join("u");
        let mut before = Allocations::default();
        assert_eq!(before.recall("u", &dir), None);
        before.give("u", &dir, allocation(1)).unwrap();
        before.give("u", &dir, allocation(2)).unwrap();
        // The node stopped while something newer was being written.
        std::fs::write(dir.join(FRESH_FILE), "{").unwrap();
        let mut after = Allocations::default();
        assert_eq!(after.get("u"), None);
        assert_eq!(after.recall("u", &dir), Some(&allocation(2)));
        after.give("u", &dir, allocation(3)).unwrap();
        assert_eq!(Allocations::default().recall("u", &dir), Some(&allocation(3)));
        std::fs::write(dir.join(FILE), "{").unwrap();
        assert_eq!(Allocations::default().recall("u", &dir), None, "what cannot be read was never given");
    }

    #[test]
    fn what_cannot_be_kept_is_not_given() {
        let root = tempfile::tempdir().unwrap();
        let dir = root.path().join("u");
        std::fs::write(&dir, "no directory").unwrap();
        let mut allocations = Allocations::default();
        assert!(allocations.give("u", &dir, allocation(1)).is_err());
        assert_eq!(allocations.get("u"), None);
    }
}

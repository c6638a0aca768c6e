//! Which of these volumes a pod's containers were given: a file for each in the pod's directory, from before the first mount
//! until none of its containers runs.
//!
//! The objects of the API do not tell: a claim of the same name may be another by now, and of a pod that was deleted while no
//! kubelet ran nobody knows the volumes.

use std::io;
use std::path::Path;

use tracing::warn;

/// Where these files are, in a pod's directory.
pub const GIVEN: &str = "local-directories";

/// `volume` is a plain name.
pub fn note(pod_dir: &Path, volume: &str) -> io::Result<()> {
    let dir = pod_dir.join(GIVEN);
    std::fs::create_dir_all(&dir)?;
    std::fs::File::create(dir.join(volume)).map(drop)
}

/// Whether containers of one of the pods may still have it. Where that cannot be seen, they may.
pub fn is_given(pods_dir: &Path, volume: &str) -> bool {
    look(pods_dir, volume).unwrap_or_else(|err| {
        warn!(volume, %err, "cannot look whether containers still have it");
        true
    })
}

fn look(pods_dir: &Path, volume: &str) -> io::Result<bool> {
    let pods = match std::fs::read_dir(pods_dir) {
        Err(err) if err.kind() == io::ErrorKind::NotFound => return Ok(false),
        other => other?,
    };
    for pod in pods {
        match std::fs::symlink_metadata(pod?.path().join(GIVEN).join(volume)) {
            Ok(_) => return Ok(true),
            Err(err) if matches!(err.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {}
            Err(err) => return Err(err),
        }
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_pod_was_given_is_known_until_it_is_taken_down() {
        let held = tempfile::tempdir().unwrap();
        let pods = held.path().join("pods");
        assert!(!is_given(&pods, "v"), "no pod has been here");
        std::fs::create_dir(&pods).unwrap();
        std::fs::write(pods.join("a file"), "").unwrap();
        for (pod, volume) in [("a", "v"), ("a", "v"), ("b", "v"), ("b", "w")] {
            note(&pods.join(pod), volume).unwrap();
        }
        for (why, gone, expected) in
            [("both", None, [true, true]), ("one", Some("b"), [true, false]), ("none", Some("a"), [false, false])]
        {
            if let Some(gone) = gone {
                crate::volumes::tear_down(&pods.join(gone)).unwrap();
            }
            assert_eq!(["v", "w"].map(|volume| is_given(&pods, volume)), expected, "{why}");
        }
    }
}

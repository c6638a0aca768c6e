//! Volumes that are mounted inside another one: the directories that the outer one must have for them. Pure.

use std::path::{Component, Path, PathBuf};

use k8s_openapi::api::core::v1::{Pod, VolumeMount};

/// Relative to the volume, for every place where a container mounts it. A mount inside such a mount needs none.
pub(super) fn mount_points(pod: &Pod, volume: &str) -> Vec<PathBuf> {
    let Some(spec) = &pod.spec else { return Vec::new() };
    let usual = spec.containers.iter().chain(spec.init_containers.iter().flatten()).map(|c| &c.volume_mounts);
    let ephemeral = spec.ephemeral_containers.iter().flatten().map(|c| &c.volume_mounts);
    let mut found: Vec<PathBuf> =
        usual.chain(ephemeral).flat_map(|mounts| of_container(mounts.as_deref().unwrap_or_default(), volume)).collect();
    found.sort();
    found.dedup();
    found
}

fn of_container(mounts: &[VolumeMount], volume: &str) -> Vec<PathBuf> {
    let mut all: Vec<PathBuf> = mounts.iter().map(|m| from_root(&m.mount_path)).collect();
    // An outer one comes before those in it.
    all.sort();
    // With a subPath something else than the volume's top is mounted there.
    let whole = |m: &&VolumeMount| m.name == volume && m.sub_path.is_none() && m.sub_path_expr.is_none();
    let mut found = Vec::new();
    for outer in mounts.iter().filter(whole).map(|m| from_root(&m.mount_path)) {
        let mut inside: Vec<&Path> = Vec::new();
        for point in &all {
            let Ok(below) = point.strip_prefix(&outer) else { continue };
            if !below.as_os_str().is_empty() && !inside.iter().any(|have| below.starts_with(have)) {
                inside.push(below);
            }
        }
        found.extend(inside.into_iter().map(Path::to_owned));
    }
    found
}

/// As the runtime understands it: from the root, and never above it.
fn from_root(path: &str) -> PathBuf {
    let mut whole = PathBuf::from("/");
    for part in Path::new(path).components() {
        match part {
            Component::Normal(name) => whole.push(name),
            Component::ParentDir => drop(whole.pop()),
            Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
        }
    }
    whole
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mount_points_table() {
        let mount =
            |name: &str, path: &str| VolumeMount { name: name.into(), mount_path: path.into(), ..Default::default() };
        let cases: [(&str, Vec<VolumeMount>, &[&str]); 6] = [
            ("alone", vec![mount("v", "/dir")], &[]),
            ("one inside", vec![mount("w", "/dir/in"), mount("v", "/dir")], &["in"]),
            ("inside that one", vec![mount("v", "/dir"), mount("w", "/dir/in"), mount("x", "/dir/in/deep")], &["in"]),
            ("a name that begins alike", vec![mount("v", "/dir"), mount("w", "/dir-2"), mount("x", "/dir2/y")], &[]),
            (
                "two places",
                vec![mount("v", "/a"), mount("v", "/b/"), mount("w", "/a/x"), mount("w", "/b/y")],
                &["x", "y"],
            ),
            (
                "never out of it",
                vec![mount("v", "/dir"), mount("w", "/dir/../etc"), mount("x", "/dir/../dir/ok")],
                &["ok"],
            ),
        ];
        for (why, mounts, expected) in cases {
            let got = of_container(&mounts, "v");
            assert_eq!(got, expected.iter().map(PathBuf::from).collect::<Vec<_>>(), "{why}");
        }
    }
}

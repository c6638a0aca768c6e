//! The claims of a pod, each with the volume that it has: what all plugins begin with that look at volumes.

use std::borrow::Cow;

use corten_api::Key;

use super::{Claim, Volume, Volumes};
use crate::pod::PodClass;

const UNBOUND: &str = "pod has unbound immediate PersistentVolumeClaims";

/// A claim that a pod names.
#[derive(Clone, Debug)]
pub struct PodClaim<'a> {
    pub key: Key,
    /// `None`: there is none of that name.
    pub claim: Option<&'a Claim>,
    /// `None`: it has none, or one that does not exist.
    pub volume: Option<&'a Volume>,
}

impl Volumes {
    /// Those of a pod of this class, each once.
    pub fn of_pod<'a>(&'a self, class: &'a PodClass) -> impl Iterator<Item = PodClaim<'a>> {
        class.claim_keys().map(|key| {
            let claim = self.claims.get(&key);
            let volume = claim.and_then(|claim| self.volume(claim.volume.as_ref()?));
            PodClaim { key, claim, volume }
        })
    }

    /// Why this claim keeps its pod from every node.
    pub fn unusable(&self, PodClaim { key, claim, .. }: &PodClaim<'_>) -> Option<String> {
        let name = &key.name;
        let Some(claim) = claim else {
            return Some(format!("persistentvolumeclaim {name:?} not found"));
        };
        if let Some(volume) = &claim.lost {
            return Some(format!("persistentvolumeclaim {name:?} bound to non-existent persistentvolume {volume:?}"));
        }
        if claim.deleting {
            return Some(format!("persistentvolumeclaim {name:?} is being deleted"));
        }
        let is_named = claim.wanted.as_ref().is_some_and(|wanted| wanted.names_volume);
        let has_none = claim.volume.is_none() && (is_named || !self.waits(&claim.class));
        has_none.then(|| UNBOUND.to_owned())
    }

    /// The CSI driver of a claim's volume, and what that calls it; of a claim without one, what its class will make.
    pub fn csi<'a>(&'a self, of: &PodClaim<'a>) -> Option<(&'a str, Cow<'a, str>)> {
        match of.volume {
            Some(volume) => volume.csi.as_ref().map(|(driver, handle)| (driver.as_str(), handle.as_str().into())),
            None => {
                let class = self.classes.get(&of.claim?.class)?;
                // No driver has a handle of this form.
                Some((class.provisioner.as_str(), format!("claim {}", of.key).into()))
            }
        }
    }
}

impl PodClaim<'_> {
    /// It has a volume that does not exist.
    pub fn lacks_volume(&self) -> bool {
        self.volume.is_none() && self.claim.is_some_and(|claim| claim.volume.is_some())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn each_claim_comes_once_with_its_volume() {
        let mut volumes = Volumes::default();
        volumes.set_volume("v", Some(&Volume::default()));
        let claims = [
            ("bound", json!({"spec": {"volumeName": "v"}, "status": {"phase": "Bound"}})),
            ("gone", json!({"spec": {"volumeName": "w"}, "status": {"phase": "Bound"}})),
            ("lost", json!({"spec": {"volumeName": "w"}, "status": {"phase": "Lost"}})),
            ("new", json!({"spec": {}})),
        ];
        for (name, claim) in claims {
            let claim = serde_json::from_value(claim.clone()).map(|claim| Claim::of(&claim)).unwrap();
            volumes.set_claim(&Key::new("ns", name), Some(&claim));
        }
        let names = ["bound", "gone", "bound", "lost", "new", "none"];
        let class = PodClass {
            namespace: "ns".into(),
            claims: names.iter().map(|name| (*name).to_owned()).collect(),
            ..PodClass::default()
        };
        let told = |of: PodClaim<'_>| {
            let volume = if of.volume.is_some() { "here" } else { "none" };
            let lacks = if of.lacks_volume() { ", does not exist" } else { "" };
            format!("{}: {volume}{lacks}; {}", of.key.name, volumes.unusable(&of).unwrap_or_default())
        };
        let found: Vec<String> = volumes.of_pod(&class).map(told).collect();
        let expected = [
            "bound: here; ",
            "gone: none, does not exist; ",
            r#"lost: none; persistentvolumeclaim "lost" bound to non-existent persistentvolume "w""#,
            "new: none; pod has unbound immediate PersistentVolumeClaims",
            r#"none: none; persistentvolumeclaim "none" not found"#,
        ];
        assert_eq!(found, expected);
    }
}

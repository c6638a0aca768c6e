//! What pods are told of their volumes, in the words of upstream's events. Pure.

use std::sync::Arc;

use crate::pods::SeenPod;

pub fn attached(volume: &str) -> String {
    format!("AttachVolume.Attach succeeded for volume {volume:?} ")
}

pub fn failed(volume: &str, why: &str) -> String {
    format!("AttachVolume.Attach failed for volume {volume:?} : {why}")
}

/// Told to a pod of `namespace`, who must not learn the names of pods elsewhere. `others`: who uses it on other nodes.
pub fn refused(volume: &str, namespace: &str, others: &[Arc<SeenPod>]) -> String {
    let (near, far): (Vec<_>, Vec<_>) = others.iter().partition(|pod| pod.key.namespace == namespace);
    let names: Vec<&str> = near.iter().map(|pod| pod.key.name.as_str()).collect();
    let why = match (names.is_empty(), far.len()) {
        (true, 0) => "Volume is already exclusively attached to one node and can't be attached to another".to_owned(),
        (true, far) => format!("Volume is already used by {far} pod(s) in different namespaces"),
        (false, 0) => format!("Volume is already used by pod(s) {}", names.join(", ")),
        (false, far) => {
            format!("Volume is already used by pod(s) {} and {far} pod(s) in different namespaces", names.join(", "))
        }
    };
    format!("Multi-Attach error for volume {volume:?} {why}")
}

#[cfg(test)]
mod tests {
    use corten_api::Key;

    use super::*;

    #[test]
    fn who_is_named_to_whom() {
        let pod =
            |namespace: &str, name: &str| Arc::new(SeenPod { key: Key::new(namespace, name), ..SeenPod::default() });
        let cases = [
            (vec![], "Volume is already exclusively attached to one node and can't be attached to another"),
            (vec![pod("shop", "a"), pod("shop", "b")], "Volume is already used by pod(s) a, b"),
            (vec![pod("bank", "a")], "Volume is already used by 1 pod(s) in different namespaces"),
            (
                vec![pod("bank", "x"), pod("shop", "a")],
                "Volume is already used by pod(s) a and 1 pod(s) in different namespaces",
            ),
        ];
        for (others, expected) in cases {
            assert_eq!(refused("pv", "shop", &others), format!("Multi-Attach error for volume \"pv\" {expected}"));
        }
        assert_eq!(attached("pv"), "AttachVolume.Attach succeeded for volume \"pv\" ");
    }
}

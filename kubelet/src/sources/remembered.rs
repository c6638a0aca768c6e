//! What the ConfigMaps, Secrets and claims of this node's pods were when an apiserver was last asked, for containers that restart
//! while none answers. In memory only: a Secret must not reach a disk.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use corten_api::{ApiError, Key, Object as _, Reason};
use k8s_openapi::api::core::v1::{ConfigMap, PersistentVolume, PersistentVolumeClaim, Pod, Secret};
use parking_lot::Mutex;
use tracing::{debug, warn};

use super::tokens::Tokens;
use super::{claims, references};
use crate::cluster::{Cluster, answered};

/// Bytes of data that are remembered at most; what comes on top of it is not, and a restart then waits for an apiserver.
const REMEMBERED_BYTES_MAX: usize = 64 << 20;
/// What a claim or a persistent volume counts for: they hold names and little else.
const CLAIM_BYTES: usize = 4 << 10;

/// Read through this and not through the cluster port: what is asked for is remembered on the way.
#[derive(Default)]
pub struct Remembered {
    config_maps: Mutex<Known<ConfigMap>>,
    secrets: Mutex<Known<Secret>>,
    claims: Mutex<Known<PersistentVolumeClaim>>,
    volumes: Mutex<Known<PersistentVolume>>,
    pub tokens: Tokens,
}

/// What is known of one object.
pub struct Answer<T> {
    /// As [`Cluster::config_map`] and [`Cluster::secret`] have it.
    pub object: Result<Option<Arc<T>>, ApiError>,
    /// It is from before: no apiserver answered now.
    pub outdated: bool,
}

struct Known<T> {
    objects: BTreeMap<Key, Arc<T>>,
    bytes: usize,
}

impl<T> Default for Known<T> {
    fn default() -> Self {
        Self { objects: BTreeMap::new(), bytes: 0 }
    }
}

/// An object whose size counts.
trait HasSize {
    fn bytes(&self) -> usize;
}

impl HasSize for ConfigMap {
    fn bytes(&self) -> usize {
        let text = self.data.iter().flatten().map(|(k, v)| k.len() + v.len());
        let binary = self.binary_data.iter().flatten().map(|(k, v)| k.len() + v.0.len());
        text.chain(binary).sum()
    }
}

impl HasSize for Secret {
    fn bytes(&self) -> usize {
        self.data.iter().flatten().map(|(k, v)| k.len() + v.0.len()).sum()
    }
}

impl HasSize for PersistentVolumeClaim {
    fn bytes(&self) -> usize {
        CLAIM_BYTES
    }
}

impl HasSize for PersistentVolume {
    fn bytes(&self) -> usize {
        CLAIM_BYTES
    }
}

impl<T: HasSize> Known<T> {
    fn forget(&mut self, key: &Key) {
        if let Some(old) = self.objects.remove(key) {
            self.bytes -= old.bytes();
        }
    }

    fn remember(&mut self, key: &Key, object: &Arc<T>) {
        self.forget(key);
        let bytes = object.bytes();
        if self.bytes + bytes > REMEMBERED_BYTES_MAX {
            warn!(%key, "too much to remember: containers that use it restart only with an apiserver");
            return;
        }
        self.bytes += bytes;
        self.objects.insert(key.clone(), Arc::clone(object));
    }

    /// What the apiserver said; if it said nothing, what it said last.
    fn answer(&mut self, key: &Key, asked: Result<Option<Arc<T>>, ApiError>) -> Answer<T> {
        match &asked {
            Ok(Some(object)) => self.remember(key, object),
            Ok(None) => self.forget(key),
            Err(err) if is_unanswered(err) => {
                if let Some(known) = self.objects.get(key) {
                    debug!(%key, %err, "no apiserver answers; taking what is known from before");
                    return Answer { object: Ok(Some(Arc::clone(known))), outdated: true };
                }
            }
            // An apiserver that says no means it: what was allowed before may not be any more.
            Err(_) => self.forget(key),
        }
        Answer { object: asked, outdated: false }
    }

    fn keep_only(&mut self, wanted: &BTreeSet<Key>) {
        let gone: Vec<Key> = self.objects.keys().filter(|key| !wanted.contains(key)).cloned().collect();
        gone.iter().for_each(|key| self.forget(key));
    }
}

/// Nobody was there to answer, or who was there has nobody to ask.
fn is_unanswered(err: &ApiError) -> bool {
    [Reason::ServiceUnavailable, Reason::Timeout, Reason::TooManyRequests, Reason::InternalError]
        .iter()
        .any(|reason| err.is(*reason))
}

impl Remembered {
    pub async fn config_map(&self, cluster: &dyn Cluster, key: &Key) -> Answer<ConfigMap> {
        let asked = answered(cluster.config_map(key)).await;
        self.config_maps.lock().answer(key, asked)
    }

    pub async fn secret(&self, cluster: &dyn Cluster, key: &Key) -> Answer<Secret> {
        let asked = answered(cluster.secret(key)).await;
        self.secrets.lock().answer(key, asked)
    }

    pub async fn claim(&self, cluster: &dyn Cluster, key: &Key) -> Answer<PersistentVolumeClaim> {
        let asked = answered(cluster.claim(key)).await;
        self.claims.lock().answer(key, asked)
    }

    pub async fn persistent_volume(&self, cluster: &dyn Cluster, name: &str) -> Answer<PersistentVolume> {
        let asked = answered(cluster.persistent_volume(name)).await;
        self.volumes.lock().answer(&Key::cluster(name), asked)
    }

    /// Whether a pod that was here at the last look refers to the claim; with a uid, to that one and none of the same name.
    pub fn has_claim(&self, key: &Key, uid: Option<&str>) -> bool {
        self.claims.lock().objects.get(key).is_some_and(|claim| uid.is_none_or(|uid| claim.uid() == uid))
    }

    /// Whether a pod that was here at the last look has the volume of that name.
    pub fn has_volume(&self, name: &str) -> bool {
        self.volumes.lock().objects.contains_key(&Key::cluster(name))
    }

    /// Forgets what no pod of these refers to.
    pub fn keep_only(&self, pods: &[Arc<Pod>]) {
        let (mut config_maps, mut secrets) = (BTreeSet::new(), BTreeSet::new());
        for pod in pods {
            for reference in references(pod) {
                let key = Key::new(pod.namespace(), reference.name.as_str());
                match reference.kind {
                    super::SourceKind::ConfigMap => config_maps.insert(key),
                    super::SourceKind::Secret => secrets.insert(key),
                };
            }
        }
        let of_pod = |pod: &Arc<Pod>| {
            let namespace = pod.namespace().to_owned();
            claims::claims(pod).into_iter().map(move |claim| Key::new(namespace.as_str(), claim.name))
        };
        let claims = pods.iter().flat_map(of_pod).collect();
        let mut known = self.claims.lock();
        known.keep_only(&claims);
        let named = known.objects.values().filter_map(|claim| claim.spec.as_ref()?.volume_name.as_deref());
        self.volumes.lock().keep_only(&named.map(Key::cluster).collect());
        drop(known);
        self.tokens.keep_only(pods);
        self.config_maps.lock().keep_only(&config_maps);
        self.secrets.lock().keep_only(&secrets);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(text: &str) -> Arc<ConfigMap> {
        Arc::new(ConfigMap { data: Some([("k".to_owned(), text.to_owned())].into()), ..Default::default() })
    }

    #[test]
    fn what_was_said_last_counts_while_nobody_answers() {
        let key = Key::new("default", "cfg");
        let (away, denied) = (ApiError::unavailable("away"), ApiError::forbidden("", "configmaps", "cfg", "no"));
        let mut known = Known::default();
        assert!(known.answer(&key, Err(away.clone())).object.is_err(), "nothing is known yet");
        let steps = [
            ("it is there", Ok(Some(map("1"))), Ok(Some(map("1")))),
            ("away", Err(away.clone()), Ok(Some(map("1")))),
            ("another version", Ok(Some(map("22"))), Ok(Some(map("22")))),
            ("away again", Err(away.clone()), Ok(Some(map("22")))),
            ("deleted", Ok(None), Ok(None)),
            ("away, after that", Err(away.clone()), Err(())),
            ("made anew", Ok(Some(map("3"))), Ok(Some(map("3")))),
            ("forbidden", Err(denied), Err(())),
            ("away, after that", Err(away.clone()), Err(())),
        ];
        for (why, asked, expected) in steps {
            let outdated = asked.is_err() && expected.is_ok();
            let answer = known.answer(&key, asked);
            assert_eq!((answer.object.map_err(drop), answer.outdated), (expected, outdated), "{why}");
        }
        known.answer(&key, Ok(Some(map("1234567")))).object.unwrap();
        assert_eq!(known.bytes, 8);
        known.keep_only(&BTreeSet::from([Key::new("default", "other")]));
        assert_eq!((known.bytes, known.objects.len()), (0, 0));
    }

    #[test]
    fn a_claim_made_again_is_another() {
        let (key, remembered) = (Key::new("default", "data"), Remembered::default());
        let mut claim = PersistentVolumeClaim::default();
        claim.metadata.uid = Some("new".to_owned());
        remembered.claims.lock().remember(&key, &Arc::new(claim));
        for (uid, expected) in [(Some("new"), true), (Some("old"), false), (None, true)] {
            assert_eq!(remembered.has_claim(&key, uid), expected, "{uid:?}");
        }
        assert!(!remembered.has_claim(&Key::new("default", "other"), None));
        remembered.volumes.lock().remember(&Key::cluster("v"), &Arc::new(PersistentVolume::default()));
        assert!(remembered.has_volume("v") && !remembered.has_volume("w"));
    }

    #[test]
    fn no_more_is_remembered_than_there_is_room_for() {
        let mut known = Known::default();
        let large = map(&"x".repeat(1 << 20));
        for n in 0..100 {
            known
                .answer(&Key::new("default", format!("cfg-{n}").as_str()), Ok(Some(Arc::clone(&large))))
                .object
                .unwrap();
        }
        assert!(known.bytes <= REMEMBERED_BYTES_MAX && known.objects.len() > 60);
    }
}

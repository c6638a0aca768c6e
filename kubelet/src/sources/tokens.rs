//! Tokens of pods' service accounts: asked for when a volume wants one, and again in time before it ends. In memory only: a
//! token must not reach a disk.
//!
//! <https://kubernetes.io/docs/concepts/storage/projected-volumes/#serviceaccounttoken>

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use corten_api::{Key, Object as _};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::authentication::v1::{BoundObjectReference, TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::{Pod, ServiceAccountTokenProjection};
use parking_lot::Mutex;
use tracing::warn;

use crate::cluster::{Cluster, answered};

/// What the apiserver fills in where a volume does not say.
const LIFE_SECS: i64 = 3600;
/// A token is replaced when so much of its life is over, and no later than after a day.
const RENEW_AFTER_PERCENT: i64 = 80;
const RENEW_AFTER_SECS_MAX: i64 = 24 * 3600;
/// So much earlier at most, each pod at a time of its own: those that were made together do not ask together for ever.
const EARLIER_MS_MAX: u64 = 10_000;

/// Which token of a pod.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TokenRef {
    /// Empty for the API's own.
    pub audience: String,
    pub life_secs: i64,
}

impl TokenRef {
    pub fn of(wanted: &ServiceAccountTokenProjection) -> Self {
        Self {
            audience: wanted.audience.clone().unwrap_or_default(),
            life_secs: wanted.expiration_seconds.unwrap_or(LIFE_SECS),
        }
    }
}

/// All tokens that the pod's volumes want.
pub fn wanted(pod: &Pod) -> BTreeSet<TokenRef> {
    let volumes = pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten());
    let parts = volumes.flat_map(|volume| volume.projected.iter().flat_map(|all| all.sources.iter().flatten()));
    parts.filter_map(|part| part.service_account_token.as_ref()).map(TokenRef::of).collect()
}

/// A token, and its times.
#[derive(Clone, Debug, PartialEq)]
struct Known {
    text: Arc<str>,
    ends_at: Timestamp,
    renew_at: Timestamp,
}

/// What asking for a token led to.
#[derive(Clone, Debug, PartialEq)]
pub struct Given {
    /// `Err` is why there is none.
    pub text: Result<Arc<str>, String>,
    /// When there is to be another; `None`: as soon as an apiserver can give one.
    pub renew_at: Option<Timestamp>,
}

/// The tokens of this node's pods, by the pods' uids.
#[derive(Default)]
pub struct Tokens {
    known: Mutex<BTreeMap<String, BTreeMap<TokenRef, Known>>>,
}

impl Tokens {
    pub async fn get(&self, cluster: &dyn Cluster, pod: &Pod, wanted: &TokenRef, now: Timestamp) -> Given {
        let before = self.known.lock().get(pod.uid()).and_then(|of_pod| of_pod.get(wanted)).cloned();
        if let Some(known) = before.as_ref().filter(|known| known.renew_at > now) {
            return Given { text: Ok(known.text.clone()), renew_at: Some(known.renew_at) };
        }
        let account = pod.spec.as_ref().and_then(|spec| spec.service_account_name.as_deref()).unwrap_or_default();
        let asked = match account {
            "" => Err("the pod has no service account".to_owned()),
            account => {
                let key = Key::new(pod.namespace(), account);
                let answer = answered(cluster.token(&key, &request(pod, wanted))).await;
                answer.map_err(|err| err.to_string()).and_then(|answer| read(&answer, pod.uid(), wanted))
            }
        };
        match (asked, before) {
            (Ok(known), _) => {
                let given = Given { text: Ok(known.text.clone()), renew_at: Some(known.renew_at) };
                self.known.lock().entry(pod.uid().to_owned()).or_default().insert(wanted.clone(), known);
                given
            }
            // What there is is good for a while.
            (Err(why), Some(known)) if known.ends_at > now => {
                warn!(pod = %pod.key(), why, "a token could not be renewed; the old one is kept until it ends");
                Given { text: Ok(known.text), renew_at: None }
            }
            (Err(why), Some(_)) => Given { text: Err(format!("it expired and refresh failed: {why}")), renew_at: None },
            (Err(why), None) => Given { text: Err(why), renew_at: None },
        }
    }

    /// Forgets those of all other pods.
    pub fn keep_only(&self, pods: &[Arc<Pod>]) {
        let uids: BTreeSet<&str> = pods.iter().map(|pod| pod.uid()).collect();
        self.known.lock().retain(|uid, _| uids.contains(uid.as_str()));
    }
}

fn request(pod: &Pod, wanted: &TokenRef) -> TokenRequest {
    let bound_object_ref = BoundObjectReference {
        api_version: Some("v1".into()),
        kind: Some("Pod".into()),
        name: Some(pod.name().into()),
        uid: Some(pod.uid().into()),
    };
    let spec = TokenRequestSpec {
        audiences: Some(vec![wanted.audience.clone()]).filter(|_| !wanted.audience.is_empty()),
        expiration_seconds: Some(wanted.life_secs),
        bound_object_ref: Some(bound_object_ref),
        ..TokenRequestSpec::default()
    };
    TokenRequest { spec: Some(spec), ..TokenRequest::default() }
}

/// The apiserver may have given a shorter life than was asked for.
fn read(answer: &TokenRequest, uid: &str, wanted: &TokenRef) -> Result<Known, String> {
    let status = answer.status.as_ref();
    let text = status.and_then(|status| status.token.as_deref()).filter(|text| !text.is_empty());
    let ends_at = status.and_then(|status| status.expiration_timestamp.as_ref()).map(|time| time.0);
    let (Some(text), Some(ends_at)) = (text, ends_at) else { return Err("the answer has no token".into()) };
    let secs = answer.spec.as_ref().and_then(|spec| spec.expiration_seconds).unwrap_or(wanted.life_secs);
    Ok(Known { text: text.into(), ends_at, renew_at: renew_at(ends_at, secs, earlier(uid, wanted, ends_at)) })
}

fn renew_at(ends_at: Timestamp, life_secs: i64, earlier: SignedDuration) -> Timestamp {
    let after_secs = (life_secs.saturating_mul(RENEW_AFTER_PERCENT) / 100).min(RENEW_AFTER_SECS_MAX);
    let before_end = SignedDuration::from_secs(life_secs.saturating_sub(after_secs)) + earlier;
    ends_at.saturating_sub(before_end).unwrap_or(ends_at)
}

fn earlier(uid: &str, wanted: &TokenRef, ends_at: Timestamp) -> SignedDuration {
    let mut hasher = DefaultHasher::new();
    (uid, wanted, ends_at.as_second()).hash(&mut hasher);
    let millis = hasher.finish() % EARLIER_MS_MAX;
    SignedDuration::from_millis(i64::try_from(millis).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::fake::FakeCluster;

    fn at(secs: i64) -> Timestamp {
        Timestamp::from_second(secs).unwrap()
    }

    #[test]
    fn when_a_token_is_renewed() {
        let after = |life: i64, earlier: i64| {
            renew_at(at(1_000_000 + life), life, SignedDuration::from_secs(earlier)).as_second() - 1_000_000
        };
        for (why, life, earlier, expected) in [
            ("at 80 %", 3600, 0, 2880),
            ("or a little before", 3600, 9, 2871),
            ("the pods' own", 3607, 0, 2885),
            ("the shortest", 600, 0, 480),
            ("after a day", 30 * 24 * 3600, 0, 24 * 3600),
        ] {
            assert_eq!(after(life, earlier), expected, "{why}");
        }
        let wanted = TokenRef { audience: String::new(), life_secs: 3600 };
        let spread: BTreeSet<_> = (0..100).map(|n| earlier(&format!("uid-{n}"), &wanted, at(0))).collect();
        assert!(spread.len() > 90, "pods ask at times of their own");
        assert!(spread.iter().all(|earlier| earlier.as_millis() < i128::from(EARLIER_MS_MAX)));
    }

    fn pod(uid: &str, account: &str) -> Pod {
        let token = |audience: &str| serde_json::json!({"serviceAccountToken": {"path": "t", "audience": audience, "expirationSeconds": 1000}});
        serde_json::from_value(serde_json::json!({
            "metadata": {"name": "web", "namespace": "default", "uid": uid},
            "spec": {"serviceAccountName": account, "containers": [], "volumes": [
                {"name": "a", "projected": {"sources": [token(""), token("vault"), {"serviceAccountToken": {"path": "u"}}]}},
                {"name": "b", "projected": {"sources": [token("vault")]}},
                {"name": "c", "emptyDir": {}},
            ]},
        }))
        .unwrap()
    }

    #[test]
    fn what_volumes_want_is_asked_for_once() {
        let of = |audience: &str, life_secs| TokenRef { audience: audience.into(), life_secs };
        assert_eq!(wanted(&pod("1", "sa")), BTreeSet::from([of("", 1000), of("", 3600), of("vault", 1000)]));
        let asked = request(&pod("1", "sa"), &of("vault", 1000));
        let expected = serde_json::json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "metadata": {}, "spec": {
            "audiences": ["vault"], "expirationSeconds": 1000,
            "boundObjectRef": {"apiVersion": "v1", "kind": "Pod", "name": "web", "uid": "1"}}});
        assert_eq!(serde_json::to_value(asked).unwrap(), expected);
        assert_eq!(request(&pod("1", "sa"), &of("", 1000)).spec.unwrap().audiences, None);
    }

    #[tokio::test]
    async fn a_token_is_kept_renewed_and_kept_on_while_nobody_answers() {
        let (tokens, cluster, pod) = (Tokens::default(), FakeCluster::default(), pod("1", "sa"));
        let wanted = TokenRef { audience: "vault".into(), life_secs: 1000 };
        let begun = at(1_000_000);
        cluster.shared.lock().clock = Some(begun);
        let ask = async |secs: i64| {
            let given = tokens.get(&cluster, &pod, &wanted, begun + SignedDuration::from_secs(secs)).await;
            (given.text.map(|text| text.to_string()), given.renew_at.is_some())
        };
        let first = "token-1 of default/sa for vault".to_owned();
        assert_eq!(ask(0).await, (Ok(first.clone()), true));
        assert_eq!(ask(789).await, (Ok(first.clone()), true), "not yet");
        cluster.shared.lock().away = true;
        assert_eq!(ask(801).await, (Ok(first), false), "nobody answers");
        let (refused, _) = ask(1001).await;
        assert!(refused.is_err_and(|why| why.starts_with("it expired and refresh failed")));
        cluster.shared.lock().away = false;
        assert_eq!(ask(1001).await, (Ok("token-2 of default/sa for vault".into()), true));
        tokens.keep_only(&[Arc::new(Pod::default())]);
        assert_eq!(ask(1001).await.0, Ok("token-3 of default/sa for vault".into()), "the pod was gone");
    }

    #[tokio::test]
    async fn a_pod_without_an_account_gets_none() {
        let wanted = TokenRef { audience: String::new(), life_secs: 600 };
        let given = Tokens::default().get(&FakeCluster::default(), &pod("1", ""), &wanted, at(0)).await;
        assert_eq!(given, Given { text: Err("the pod has no service account".into()), renew_at: None });
    }
}

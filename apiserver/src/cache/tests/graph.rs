//! What the pods of a node refer to, as the cache keeps it, is what reading them all again would find.

use std::collections::BTreeSet;
use std::time::Instant;

use corten_fuzz::Random;
use k8s_openapi::api::core::v1::Pod;
use serde_json::json;

use super::*;
use crate::cache::shelves::Shelves;
use crate::registry::pod::references::{self, Source};
use crate::storage::{Listed, Stored};

const SOURCES: [Source; 5] =
    [Source::Secret, Source::ConfigMap, Source::ServiceAccount, Source::PersistentVolumeClaim, Source::ResourceClaim];

async fn write(store: &dyn Storage, key: &str, pod: Option<serde_json::Value>) {
    let key = format!("{ROOT}pods/{key}");
    let write = match (store.get(&key).await.unwrap(), pod.map(|pod| pod.to_string().into())) {
        (None, None) => return,
        (None, Some(value)) => Write::Create { key, value, ttl_secs: None },
        (Some(stored), Some(value)) => Write::Update { key, value, expected: stored.revision, ttl_secs: None },
        (Some(stored), None) => Write::Delete { key, expected: stored.revision },
    };
    assert!(matches!(store.commit(vec![write]).await.unwrap(), Outcome::Committed { .. }));
}

fn pod(name: &str, node: &str, secret: &str, config_map: &str, account: &str, claim: &str) -> serde_json::Value {
    let env = json!([{"secretRef": {"name": secret}}, {"configMapRef": {"name": config_map}}]);
    let volumes = json!([
        {"name": "v", "persistentVolumeClaim": {"claimName": claim}},
        {"name": "w", "secret": {"secretName": secret}},
    ]);
    let containers = json!([{"name": "c", "image": "i", "envFrom": env}]);
    let spec = json!({"nodeName": node, "serviceAccountName": account, "volumes": volumes, "containers": containers});
    json!({"metadata": {"name": name, "uid": "u"}, "spec": spec})
}

fn random_pod(random: &mut Random, name: &str) -> serde_json::Value {
    let mut one = |of: &[&str]| random.pick(of).unwrap().to_owned();
    let node = one(&["", "n1", "n2", "n3"]);
    let mut pod = pod(name, &node, &one(&["a", "b", "c"]), &one(&["", "a", "d"]), &one(&["a", ""]), &one(&["a", "e"]));
    pod["spec"]["resourceClaims"] = json!([{"name": "c", "resourceClaimTemplateName": "t"}]);
    let made = one(&["", "b", "d"]);
    pod["status"] = json!({"resourceClaimStatuses": [{"name": "c", "resourceClaimName": made}]});
    if random.one_in(5) {
        pod["metadata"]["annotations"] = json!({"kubernetes.io/config.mirror": "hash"});
    }
    pod
}

/// `node source namespace/name` of all references, by reading every pod.
fn brute_force(kind: &KindCache) -> BTreeSet<String> {
    let mut all = BTreeSet::new();
    for row in &kind.snapshot(0).items {
        let pod: Pod = serde_json::from_slice(&row.0.object()).unwrap();
        if corten_api::pod::is_mirror(&pod) {
            continue;
        }
        let spec = pod.spec.unwrap();
        let Some(node) = spec.node_name.clone().filter(|n| !n.is_empty()) else { continue };
        let namespace = row.0.namespace();
        references::each(row.0.name(), &spec, |source, name| {
            all.extend([format!("{node} {source:?} {namespace}/{name}")])
        });
        references::each_claim(&spec, pod.status.as_ref(), |name| {
            all.extend([format!("{node} {:?} {namespace}/{name}", Source::ResourceClaim)])
        });
    }
    all
}

fn by_the_graph(kind: &KindCache) -> BTreeSet<String> {
    let mut all = BTreeSet::new();
    for node in ["n1", "n2", "n3"] {
        for source in SOURCES {
            for namespace in ["x", "y", "z"] {
                for name in ["a", "b", "c", "d", "e"] {
                    if kind.refers(node, source, namespace, name) {
                        all.insert(format!("{node} {source:?} {namespace}/{name}"));
                    }
                }
            }
        }
    }
    all
}

#[tokio::test]
async fn what_a_node_may_read_is_what_its_pods_refer_to_whatever_happened_to_them() {
    let mut random = Random::new(17);
    let store = Arc::new(Flaky::default());
    for i in 0..20 {
        let pod = random_pod(&mut random, &format!("p{i}"));
        write(&*store, &format!("x/p{i}"), Some(pod)).await;
    }
    let cache = Cache::start(store.clone(), &Registry::default()).await.unwrap();
    let kind = cache.kind("pods").unwrap();
    assert_eq!(by_the_graph(&kind), brute_force(&kind), "as it was filled");
    for round in 0..60 {
        let gap = round % 10 == 9;
        if gap {
            store.cut();
        }
        for _ in 0..=random.below(8) {
            let name = format!("p{}", random.below(12));
            let key = format!("{}/{name}", random.pick(&["x", "y"]).unwrap());
            let pod = (!random.one_in(3)).then(|| random_pod(&mut random, &name));
            write(&*store, &key, pod).await;
        }
        if gap {
            // The cache has to list all again.
            store.compact(store.current_revision().await.unwrap()).await.unwrap();
            store.mend();
        }
        cache.catch_up().await.unwrap();
        assert_eq!(by_the_graph(&kind), brute_force(&kind), "round {round}");
    }
    let keys: Vec<String> = kind.snapshot(0).items.iter().map(|row| row.0.key().to_owned()).collect();
    for key in keys {
        write(&*store, &key, None).await;
    }
    cache.catch_up().await.unwrap();
    assert!(kind.graph_is_empty(), "nothing is left of pods that are gone");
}

#[tokio::test]
async fn the_secrets_of_a_claims_volume_are_found_while_it_is_bound() {
    let store: Arc<dyn Storage> = Arc::new(Memory::default());
    let volume = |claim: Option<&str>, secret: &str| {
        let claim = claim.map(|name| json!({"namespace": "n", "name": name}));
        let secret = json!({"namespace": "s", "name": secret});
        let csi = json!({"driver": "d", "volumeHandle": "h", "nodeStageSecretRef": secret});
        json!({"metadata": {"name": "v"}, "spec": {"claimRef": claim, "csi": csi}}).to_string()
    };
    let put = async |object: Option<String>| {
        let key = format!("{ROOT}persistentvolumes/v");
        let write = match (store.get(&key).await.unwrap(), object) {
            (Some(stored), Some(object)) => {
                Write::Update { key, value: object.into(), expected: stored.revision, ttl_secs: None }
            }
            (Some(stored), None) => Write::Delete { key, expected: stored.revision },
            (None, object) => Write::Create { key, value: object.unwrap().into(), ttl_secs: None },
        };
        store.commit(vec![write]).await.unwrap();
    };
    put(Some(volume(Some("c"), "one"))).await;
    let cache = Cache::start(store.clone(), &Registry::default()).await.unwrap();
    let volumes = cache.kind("persistentvolumes").unwrap();
    let refers = |claim: &str, secret: &str| volumes.refers(claim, Source::Secret, "s", secret);
    assert!(refers("n/c", "one") && !refers("n/other", "one") && !refers("n/c", "two"));
    for (object, expected) in [
        (Some(volume(Some("c"), "two")), [false, true, false]),
        (Some(volume(Some("other"), "two")), [false, false, true]),
        (Some(volume(None, "two")), [false, false, false]),
        (Some(volume(Some("c"), "one")), [true, false, false]),
        (None, [false, false, false]),
    ] {
        put(object.clone()).await;
        cache.catch_up().await.unwrap();
        assert_eq!([refers("n/c", "one"), refers("n/c", "two"), refers("n/other", "two")], expected, "{object:?}");
    }
    assert!(volumes.graph_is_empty(), "nothing is left of it");
}

#[test]
fn a_question_about_a_node_reads_no_pod() {
    let kind = Shelves::of(&Registry::default().table(), &Arc::default()).get("pods").unwrap();
    let object = |i: usize, node: &str| {
        let name = format!("p{i}");
        let value = pod(&name, node, &format!("s{i}"), "c", "default", "v").to_string().into();
        Stored { key: format!("{ROOT}pods/n/{name}"), value, revision: 2 }
    };
    let elsewhere = (110..30_110).map(|i| object(i, &format!("m{}", i % 300)));
    let items = (0..110).map(|i| object(i, "n1")).chain(elsewhere).collect();
    kind.fill(Listed { items, revision: 2, unreadable_keys: 0 });
    let began = Instant::now();
    for i in 0..20_000 {
        assert_eq!(kind.refers("n1", Source::Secret, "n", &format!("s{i}")), i < 110);
    }
    // There is no time to read the 110 pods of the node for each.
    let took = began.elapsed();
    assert!(took < Duration::from_secs(2), "{took:?}");
}

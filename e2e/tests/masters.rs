//! Three masters: what is written stays written when one of them is gone, and nothing is given twice or done twice.
#![allow(clippy::unwrap_used, reason = "a story that cannot go on fails")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use corten_e2e::manifest::{container, deployment, pod};
use corten_e2e::{Cluster, Dead, Kubectl, Node, SOON, eventually, program};
use futures::{StreamExt, TryStreamExt};
use k8s_openapi::api::core::v1::{ConfigMap, Service};
use kube::api::{ListParams, PostParams, WatchEvent, WatchParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config};
use serde_json::json;

/// One request may hang this long in an apiserver that dies before the writer asks the next.
const ASK_WITHIN: Duration = Duration::from_secs(2);
/// Objects that must have been written since a master went before the next one goes.
const WRITES_BETWEEN: usize = 30;
const SERVICES: usize = 40;
/// The lease of the controllers' leader.
const CONTROLLERS: &str = "kube-controller-manager";
const WATCH_SECS: u32 = 120;

/// A client of one master's apiserver alone.
async fn client_of(cluster: &Cluster, master: &Node) -> Client {
    // Fails only when one is installed already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let kubeconfig = Kubeconfig::read_from(cluster.kubeconfig()).unwrap();
    let mut config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.unwrap();
    config.cluster_url = master.apiserver().parse().unwrap();
    config.connect_timeout = Some(ASK_WITHIN);
    Client::try_from(config).unwrap()
}

/// The same collection through each of the masters.
async fn through_each<K>(cluster: &Cluster, namespace: &str) -> Vec<Api<K>>
where
    K: kube::Resource<Scope = k8s_openapi::NamespaceResourceScope>,
    K::DynamicType: Default,
{
    let mut apis = Vec::new();
    for master in cluster.masters() {
        apis.push(Api::namespaced(client_of(cluster, &master).await, namespace));
    }
    assert_eq!(apis.len(), 3);
    apis
}

fn numbered(number: usize) -> ConfigMap {
    let mut map = ConfigMap::default();
    map.metadata.name = Some(format!("x{number:05}"));
    map.metadata.labels = Some([("story".to_owned(), "masters".to_owned())].into());
    map
}

/// Creates numbered objects until told to stop, at whichever master answers; the number of those acknowledged.
async fn write_on(masters: Vec<Api<ConfigMap>>, written: Arc<AtomicUsize>, stop: Arc<AtomicBool>) {
    let mut at = 0;
    while !stop.load(Ordering::Relaxed) {
        let number = written.load(Ordering::Relaxed);
        let (params, object) = (PostParams::default(), numbered(number));
        match tokio::time::timeout(ASK_WITHIN, masters[at].create(&params, &object)).await {
            Ok(Ok(_)) => _ = written.fetch_add(1, Ordering::Relaxed),
            // An answer that was lost on the way: the first try was committed.
            Ok(Err(kube::Error::Api(status))) if status.reason == "AlreadyExists" => {
                written.fetch_add(1, Ordering::Relaxed);
            }
            Ok(Err(_)) | Err(_) => at = (at + 1) % masters.len(),
        }
    }
}

/// Watches from a revision until told to stop and all is seen, at whichever master answers; how often each name came.
async fn watch_on(
    masters: Vec<Api<ConfigMap>>,
    mut revision: String,
    written: Arc<AtomicUsize>,
    stop: Arc<AtomicBool>,
) -> BTreeMap<String, usize> {
    let mut seen = BTreeMap::new();
    let params = WatchParams::default().labels("story=masters").timeout(WATCH_SECS);
    for at in (0..masters.len()).cycle() {
        let asked = tokio::time::timeout(ASK_WITHIN, masters[at].watch(&params, &revision)).await;
        let Ok(Ok(events)) = asked else { continue };
        let mut events = events.boxed();
        loop {
            if stop.load(Ordering::Relaxed) && seen.len() >= written.load(Ordering::Relaxed) {
                return seen;
            }
            // Silence for long is a master that is gone without a word.
            match tokio::time::timeout(ASK_WITHIN, events.try_next()).await {
                Ok(Ok(Some(WatchEvent::Added(map)))) => {
                    revision = map.metadata.resource_version.unwrap();
                    *seen.entry(map.metadata.name.unwrap()).or_default() += 1;
                }
                Ok(Ok(Some(WatchEvent::Bookmark(mark)))) => revision = mark.metadata.resource_version,
                Ok(Ok(Some(other))) => panic!("{other:?}"),
                Ok(Ok(None) | Err(_)) | Err(_) => break,
            }
        }
    }
    seen
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_the_master_that_leads_crashes_nothing_acknowledged_is_lost_or_told_twice() {
    let cluster = Cluster::with_three_masters();
    let ns = cluster.namespace("crash");
    let masters: Vec<Api<ConfigMap>> = through_each(&cluster, &ns.name).await;
    let revision = masters[0].list(&ListParams::default()).await.unwrap().metadata.resource_version.unwrap();
    let (written, stop) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
    let writer = tokio::spawn(write_on(masters.clone(), written.clone(), stop.clone()));
    let watcher = tokio::spawn(watch_on(masters.clone(), revision, written.clone(), stop.clone()));
    let writes_go_on = |why: &str| {
        let before = written.load(Ordering::Relaxed);
        eventually(&format!("writes to go on {why}"), SOON, || {
            let more = written.load(Ordering::Relaxed) - before;
            if more >= WRITES_BETWEEN { Ok(()) } else { Err(format!("{more} since then")) }
        });
    };
    writes_go_on("at first");
    let leader = etcd_leader(&cluster);
    cluster.lab(&format!("stop-node {}", leader.name));
    writes_go_on(&format!("without {}", leader.name));
    cluster.lab(&format!("start-node {}", leader.name));
    cluster.kubectl().with_flag(&format!("--server={}", leader.apiserver())).shows("get --raw /readyz", "ok");
    writes_go_on("with all of them again");
    stop.store(true, Ordering::Relaxed);
    writer.await.unwrap();
    let seen = tokio::time::timeout(SOON, watcher).await.expect("the watcher sees all").unwrap();
    let acknowledged: BTreeSet<String> =
        (0..written.load(Ordering::Relaxed)).map(|n| numbered(n).metadata.name.unwrap()).collect();
    // Not over the connections of before: the crash left some that only the next use finds dead.
    for (at, master) in through_each::<ConfigMap>(&cluster, &ns.name).await.iter().enumerate() {
        let listed = master.list(&ListParams::default().labels("story=masters")).await.unwrap();
        let names: BTreeSet<String> = listed.items.into_iter().filter_map(|map| map.metadata.name).collect();
        let lost: Vec<&String> = acknowledged.difference(&names).collect();
        assert!(lost.is_empty(), "master {at} lost {lost:?} of {}", acknowledged.len());
    }
    let unseen: Vec<&String> = acknowledged.iter().filter(|name| !seen.contains_key(*name)).collect();
    let again: Vec<_> = seen.iter().filter(|(_, times)| **times != 1).collect();
    assert!(unseen.is_empty() && again.is_empty(), "not seen: {unseen:?}, seen more than once: {again:?}");
}

/// The master whose etcd member leads: the one whose loss is felt the most.
fn etcd_leader(cluster: &Cluster) -> Node {
    let pki = cluster.kubeconfig().parent().unwrap().join("pki");
    let ask = format!(
        "curl -sf --cacert {pki}/etcd/ca.crt --cert {pki}/apiserver-etcd-client.crt --key {pki}/apiserver-etcd-client.key \
         https://127.0.0.1:2379/metrics | grep -c '^etcd_server_is_leader 1'",
        pki = pki.display()
    );
    let masters = cluster.masters();
    masters.into_iter().find(|master| cluster.try_node_sh(&master.name, &ask).ok).unwrap()
}

/// The master that holds a lease; "" if nobody does.
fn holder(kubectl: &Kubectl, lease: &str) -> String {
    // `<master>_<uuid>`: unique to the process.
    let identity = kubectl.field(&format!("lease {lease} -n kube-system"), "/spec/holderIdentity");
    identity.split('_').next().unwrap_or_default().to_owned()
}

#[test]
fn the_endpoints_of_a_master_that_dies_as_leader_of_the_controllers_leave_within_20_s() {
    /// From the death on, with the time until another leads.
    const OUT_WITHIN: Duration = Duration::from_secs(20);
    /// Where a node has answered a leader: its silence then means that it is dead.
    const ANSWERED: &str = "/metadata/annotations/corten.io~1answered";
    let cluster = Cluster::with_three_masters();
    let ns = cluster.namespace("dead-leader");
    let leader = eventually("leading controllers", SOON, || match holder(&cluster.kubectl(), CONTROLLERS) {
        name if name.is_empty() => Err("nobody".into()),
        name => Ok(name),
    });
    let masters = cluster.masters();
    let alive = masters.iter().find(|master| master.name != leader).unwrap();
    let wide = cluster.kubectl().with_flag(&format!("--server={}", alive.apiserver()));
    let kubectl = wide.in_namespace(&ns.name);
    for node in [&leader, &alive.name] {
        let spec = json!({"nodeName": node, "containers": [container("exec sleep 3600")]});
        ns.apply(&pod(&format!("on-{node}"), &spec));
        ns.pod_is_ready(&format!("on-{node}"));
        ns.ok(&format!("label --overwrite pod on-{node} app=web"));
        eventually(&format!("{node} has answered a leader"), SOON, || {
            let at = wide.field(&format!("node {node}"), ANSWERED);
            if at.is_empty() { Err("not yet".into()) } else { Ok(()) }
        });
    }
    ns.ok("create service clusterip web --tcp=80");
    let endpoints = |wanted: usize| match kubectl.ready_endpoints("web") {
        n if n == wanted => Ok(()),
        n => Err(format!("{n}")),
    };
    eventually("both are endpoints", SOON, || endpoints(2));
    let dead = Dead::from_now(&cluster, &leader);
    eventually("one endpoint is left", OUT_WITHIN, || endpoints(1));
    assert_ne!(holder(&wide, CONTROLLERS), leader);
    wide.shows(&format!("describe node {leader}"), "NodeStatusUnknown");
    drop(dead);
    eventually("both are endpoints again", SOON, || endpoints(2));
    let back = masters.iter().find(|master| master.name == leader).unwrap();
    cluster.kubectl().with_flag(&format!("--server={}", back.apiserver())).shows("get --raw /readyz", "ok");
}

#[test]
fn another_scheduler_and_other_controllers_take_over_from_those_that_die() {
    let cluster = Cluster::with_three_masters();
    let ns = cluster.namespace("leader");
    let kubectl = cluster.kubectl();
    let holder = |lease: &str| holder(&kubectl, lease);
    let leaders = [("scheduler", "kube-scheduler"), ("controllers", CONTROLLERS)];
    let before = leaders.map(|(daemon, lease)| {
        eventually(&format!("a leading {daemon}"), SOON, || {
            let name = holder(lease);
            if name.is_empty() { Err("nobody".into()) } else { Ok(name) }
        })
    });
    for ((daemon, _), leader) in leaders.iter().zip(&before) {
        cluster.lab(&format!("kill {leader} {daemon}"));
    }
    ns.apply(&deployment("web", 1).to_string());
    ns.ok("rollout status deployment/web --timeout=60s");
    for ((daemon, lease), leader) in leaders.iter().zip(&before) {
        assert_ne!(&holder(lease), leader, "{lease}");
        cluster.lab(&format!("start {leader} {daemon}"));
    }
}

/// As `hack/systemd/README.md` tells it, without the hour: nobody here keeps what he has read of the keys.
#[test]
fn the_key_of_tokens_is_replaced_on_every_master_and_no_token_dies_of_it() {
    let cluster = Cluster::with_three_masters();
    let ns = cluster.namespace("new-key");
    let pki = cluster.kubeconfig().with_file_name("pki");
    let fresh = pki.with_file_name(format!("next-{}", ns.name));
    let made = Command::new(program("cortenadm")).args(["pki", "init", "--dir"]).arg(&fresh).status().unwrap();
    assert!(made.success(), "{made}");
    let each = || cluster.masters().into_iter().map(|master| format!("--server={}", master.apiserver()));
    let create = |server: &str| ns.with_flag(server).ok("create token default");
    // Its header names the key.
    let header = |token: &str| token.split('.').next().map(str::to_owned);
    let old = create(&each().next().unwrap());

    let known = fs::read_to_string(pki.join("sa.pub")).unwrap() + &fs::read_to_string(fresh.join("sa.pub")).unwrap();
    fs::write(pki.join("sa.pub"), &known).unwrap();
    let keys = known.matches("-----BEGIN").count();
    for server in each() {
        eventually(&format!("both keys at {server}"), SOON, || {
            let told = cluster.kubectl().with_flag(&server).ok("get --raw /openid/v1/jwks");
            if told.matches("\"kid\"").count() == keys { Ok(()) } else { Err(told) }
        });
    }
    _ = fs::copy(fresh.join("sa.key"), pki.join("sa.key")).unwrap();
    let new = each().map(|server| {
        eventually(&format!("the new key signs at {server}"), SOON, || match create(&server) {
            token if header(&token) == header(&old) => Err("the old one does".into()),
            token => Ok(token),
        })
    });
    for token in [old.clone()].into_iter().chain(new) {
        let bearer = cluster.kubectl_with_token(token.trim());
        for server in each() {
            bearer.with_flag(&server).shows("auth whoami", &format!("system:serviceaccount:{}:default", ns.name));
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn apiservers_that_allocate_at_the_same_time_give_no_address_and_no_port_twice() {
    let cluster = Cluster::with_three_masters();
    let ns = cluster.namespace("allocate");
    let masters: Vec<Api<Service>> = through_each(&cluster, &ns.name).await;
    let service = |name: String, node_port: Option<u16>| -> Service {
        let port = json!({"port": 80, "nodePort": node_port});
        serde_json::from_value(json!({"metadata": {"name": name}, "spec": {"type": "NodePort", "ports": [port]}}))
            .unwrap()
    };
    let params = PostParams::default();
    let wanted = (0..SERVICES).map(|n| (n, service(format!("any-{n}"), None)));
    let creates = wanted.map(|(n, service)| {
        let (master, params) = (&masters[n % masters.len()], &params);
        async move { master.create(params, &service).await.unwrap() }
    });
    let created = futures::future::join_all(creates).await;
    let (mut addresses, mut ports) = (BTreeSet::new(), BTreeSet::new());
    for service in created {
        let spec = service.spec.unwrap();
        addresses.insert(spec.cluster_ip.unwrap());
        ports.insert(spec.ports.unwrap()[0].node_port.unwrap());
    }
    assert_eq!((addresses.len(), ports.len()), (SERVICES, SERVICES));

    // One port that all three are asked for at once: one of them gives it, the others say why not.
    let free = (31_900..32_000).find(|port| !ports.contains(&i32::from(*port))).unwrap();
    let same = masters.iter().enumerate().map(|(n, master)| {
        let (service, params) = (service(format!("same-{n}"), Some(free)), &params);
        async move { master.create(params, &service).await }
    });
    let answers = futures::future::join_all(same).await;
    assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 1, "{answers:?}");
    for refused in answers.into_iter().filter_map(Result::err) {
        assert!(refused.to_string().contains("provided port is already allocated"), "{refused}");
    }
}

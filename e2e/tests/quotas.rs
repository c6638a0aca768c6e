//! Quotas: what a namespace may take is never exceeded, and what goes is given back.

use std::collections::BTreeSet;

use corten_e2e::manifest::deployment;
use corten_e2e::{Cluster, Namespace, SOON, eventually};

const WRITERS: usize = 12;

fn with_quota(story: &str, hard: &str) -> Namespace {
    let ns = Cluster::running().namespace(story);
    ns.ok(&format!("create quota q --hard={hard}"));
    ns
}

fn used(ns: &Namespace, resource: &str) -> String {
    ns.field("resourcequota q", &format!("/status/used/{resource}"))
}

#[test]
fn of_many_who_create_at_once_as_many_succeed_as_the_quota_allows() {
    let ns = with_quota("crowd", "count/configmaps=6,services=2");
    // The root certificate is there, or comes.
    ns.shows("get configmap kube-root-ca.crt", "kube-root-ca.crt");
    let attempts: Vec<_> = std::thread::scope(|scope| {
        let one = |n: usize| {
            let ns = &ns;
            scope.spawn(move || ns.attempt(&format!("create configmap c{n} --from-literal=n={n}")))
        };
        let running: Vec<_> = (0..WRITERS).map(one).collect();
        running.into_iter().map(|one| one.join().expect("kubectl runs")).collect()
    });
    let made = attempts.iter().filter(|attempt| attempt.ok).count();
    let refusals: BTreeSet<&str> = attempts.iter().filter(|attempt| !attempt.ok).map(|a| a.stderr.trim()).collect();
    assert_eq!(made, 5, "{refusals:?}");
    let words = "is forbidden: exceeded quota: q, requested: count/configmaps=1, used: count/configmaps=6, limited: count/configmaps=6";
    assert!(refusals.iter().all(|refusal| refusal.ends_with(words)), "{refusals:?}");
    assert_eq!(ns.list("configmaps").len(), 6);
    assert_eq!(used(&ns, "count~1configmaps"), "6");

    let first = attempts.iter().find(|attempt| attempt.ok).expect("some were made");
    let name = first.stdout.trim().trim_start_matches("configmap/").trim_end_matches(" created");
    ns.ok(&format!("delete configmap {name}"));
    assert_eq!(used(&ns, "count~1configmaps"), "5");
    ns.ok("create configmap again");
    assert!(ns.refused("create configmap more").contains("exceeded quota: q"));
    ns.ok("patch quota q --type=merge -p {\"spec\":{\"hard\":{\"count/configmaps\":\"7\"}}}");
    ns.ok("create configmap more");
    assert!(ns.refused("create configmap most").contains("limited: count/configmaps=7"));
    let described = ns.ok("describe quota q");
    assert!(described.lines().any(|line| line.split_whitespace().eq(["count/configmaps", "7", "7"])), "{described}");
}

#[test]
fn a_deployment_gets_as_many_pods_as_its_quota_allows_and_the_rest_when_it_allows_more() {
    let ns = with_quota("rest", "pods=2");
    ns.apply(&deployment("web", 3).to_string());
    ns.becomes("deployment web", "/status/availableReplicas", "2");
    let condition = "conditions of the ReplicaSet";
    eventually(condition, SOON, || {
        let sets = ns.list("replicasets -l app=web");
        let told = sets.first().map(|set| set["status"]["conditions"].to_string()).unwrap_or_default();
        if told.contains("ReplicaFailure") && told.contains("exceeded quota: q") { Ok(()) } else { Err(told) }
    });
    assert_eq!(used(&ns, "pods"), "2");
    ns.ok("patch quota q --type=merge -p {\"spec\":{\"hard\":{\"pods\":\"3\"}}}");
    ns.ok("rollout status deployment/web --timeout=120s");
    assert_eq!(used(&ns, "pods"), "3");
    ns.ok("delete deployment web");
    ns.becomes("resourcequota q", "/status/used/pods", "0");
}

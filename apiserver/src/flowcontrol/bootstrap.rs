//! The priority levels and flow schemas of a cluster that configures none: upstream's mandatory and suggested objects, and a
//! schema for Corten's kube-proxies, of which each has a name of its own and none is a service account of kube-system.

use super::configuration::{
    CATCH_ALL, Configuration, Distinguisher, Enablement, FlowSchema, LimitResponse, NonResourceRule, PolicyRules,
    PriorityLevel, Queuing, ResourceRule, Subject,
};
use crate::authn::{AUTHENTICATED_GROUP, MASTERS_GROUP, NODES_GROUP, PROXIES_GROUP, UNAUTHENTICATED_GROUP};

const MANAGER: &str = "system:kube-controller-manager";
const SCHEDULER: &str = "system:kube-scheduler";
const SERVICE_ACCOUNTS_GROUP: &str = "system:serviceaccounts";

/// name, shares, lendable percent, (queues, hand size), which hold 50 requests each
type Limited = (&'static str, u32, u32, (u32, u32));

const QUEUE_LENGTH_LIMIT: u32 = 50;
const LIMITED: [Limited; 6] = [
    ("system", 30, 33, (64, 6)),
    ("node-high", 40, 25, (64, 6)),
    ("leader-election", 10, 0, (16, 4)),
    ("workload-high", 40, 50, (128, 6)),
    ("workload-low", 100, 90, (128, 6)),
    ("global-default", 20, 50, (128, 6)),
];
const CATCH_ALL_SHARES: u32 = 5;

/// Upstream's defaults.
pub fn configuration() -> Configuration {
    match Configuration::new(levels(), schemas()) {
        Ok(configuration) => configuration,
        // A constant, which the test below checks.
        Err(err) => unreachable!("the built-in flow control is no good: {err}"),
    }
}

fn levels() -> Vec<PriorityLevel> {
    let limited = |name: &str, shares, lendable_percent, response| PriorityLevel {
        name: name.into(),
        nominal_concurrency_shares: shares,
        lendable_percent,
        enablement: Enablement::Limited { borrowing_limit_percent: None, response },
    };
    let mut levels = vec![
        PriorityLevel {
            name: "exempt".into(),
            nominal_concurrency_shares: 0,
            lendable_percent: 0,
            enablement: Enablement::Exempt,
        },
        limited(CATCH_ALL, CATCH_ALL_SHARES, 0, LimitResponse::Reject),
    ];
    levels.extend(LIMITED.iter().map(|(name, shares, lendable_percent, (queues, hand_size))| {
        let queuing = Queuing { queues: *queues, hand_size: *hand_size, queue_length_limit: QUEUE_LENGTH_LIMIT };
        limited(name, *shares, *lendable_percent, LimitResponse::Queue(queuing))
    }));
    levels
}

fn schemas() -> Vec<FlowSchema> {
    use Distinguisher::{ByNamespace, ByUser};
    let everybody = || groups(&[UNAUTHENTICATED_GROUP, AUTHENTICATED_GROUP]);
    let manager_and_scheduler = || vec![Subject::User(MANAGER.into()), Subject::User(SCHEDULER.into())];
    let kube_system = || Subject::ServiceAccount { namespace: "kube-system".into(), name: "*".into() };
    let leases = |verbs: &[&str]| resources(verbs, "coordination.k8s.io", &["leases"], false);
    let probes = PolicyRules {
        subjects: everybody(),
        resource_rules: Vec::new(),
        non_resource_rules: vec![NonResourceRule {
            verbs: texts(&["get"]),
            urls: texts(&["/healthz", "/readyz", "/livez"]),
        }],
    };
    let leader_election = PolicyRules {
        subjects: manager_and_scheduler().into_iter().chain([kube_system()]).collect(),
        resource_rules: vec![leases(&["get", "create", "update"])],
        non_resource_rules: Vec::new(),
    };
    let node_health = PolicyRules {
        subjects: groups(&[NODES_GROUP]),
        resource_rules: vec![resources(&["*"], "", &["nodes", "nodes/status"], true), leases(&["*"])],
        non_resource_rules: Vec::new(),
    };
    let user = |name: &str| vec![Subject::User(name.into())];
    vec![
        schema("exempt", "exempt", 1, None, all(groups(&[MASTERS_GROUP]))),
        schema("probes", "exempt", 2, None, probes),
        schema("system-leader-election", "leader-election", 100, Some(ByUser), leader_election),
        schema("system-node-high", "node-high", 400, Some(ByUser), node_health),
        schema("system-nodes", "system", 500, Some(ByUser), all(groups(&[NODES_GROUP]))),
        schema("kube-controller-manager", "workload-high", 800, Some(ByNamespace), all(user(MANAGER))),
        schema("kube-scheduler", "workload-high", 800, Some(ByNamespace), all(user(SCHEDULER))),
        schema("kube-proxy", "workload-high", 850, Some(ByUser), all(groups(&[PROXIES_GROUP]))),
        schema("kube-system-service-accounts", "workload-high", 900, Some(ByNamespace), all(vec![kube_system()])),
        schema("service-accounts", "workload-low", 9000, Some(ByUser), all(groups(&[SERVICE_ACCOUNTS_GROUP]))),
        schema("global-default", "global-default", 9900, Some(ByUser), all(everybody())),
        schema(CATCH_ALL, CATCH_ALL, 10_000, Some(ByUser), all(everybody())),
    ]
}

fn schema(
    name: &str,
    level: &str,
    matching_precedence: u32,
    distinguisher: Option<Distinguisher>,
    rules: PolicyRules,
) -> FlowSchema {
    FlowSchema {
        name: name.into(),
        priority_level: level.into(),
        matching_precedence,
        distinguisher,
        rules: vec![rules],
    }
}

/// Whatever they ask.
fn all(subjects: Vec<Subject>) -> PolicyRules {
    PolicyRules {
        subjects,
        resource_rules: vec![resources(&["*"], "*", &["*"], true)],
        non_resource_rules: vec![NonResourceRule { verbs: texts(&["*"]), urls: texts(&["*"]) }],
    }
}
fn groups(names: &[&str]) -> Vec<Subject> {
    names.iter().map(|name| Subject::Group((*name).to_owned())).collect()
}
fn resources(verbs: &[&str], group: &str, resources: &[&str], cluster_scope: bool) -> ResourceRule {
    ResourceRule {
        verbs: texts(verbs),
        api_groups: texts(&[group]),
        resources: texts(resources),
        namespaces: texts(&["*"]),
        cluster_scope,
    }
}
fn texts(of: &[&str]) -> Vec<String> {
    of.iter().map(|text| (*text).to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_can_be_obeyed_and_are_in_order() {
        let configuration = configuration();
        let names: Vec<&str> = configuration.schemas().iter().map(|s| &*s.name).collect();
        assert_eq!((names[0], names[names.len() - 1]), ("exempt", "catch-all"));
        let shares: u32 = configuration.levels().iter().map(|l| l.nominal_concurrency_shares).sum();
        assert_eq!(shares, 245, "upstream's");
    }
}

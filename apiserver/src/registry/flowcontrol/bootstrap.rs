//! The priority levels and flow schemas of a cluster that configures none: upstream's mandatory and suggested objects, and a
//! schema for Corten's kube-proxies, of which each has a name of its own and none is a service account of kube-system.

use std::sync::LazyLock;

use k8s_openapi::api::flowcontrol::v1::{
    ExemptPriorityLevelConfiguration, FlowDistinguisherMethod, FlowSchema, FlowSchemaSpec, GroupSubject, LimitResponse,
    LimitedPriorityLevelConfiguration, NonResourcePolicyRule, PolicyRulesWithSubjects, PriorityLevelConfiguration,
    PriorityLevelConfigurationReference, PriorityLevelConfigurationSpec, QueuingConfiguration, ResourcePolicyRule,
    ServiceAccountSubject, Subject, UserSubject,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::{CATCH_ALL, EXEMPT};

/// Says of an object whether the server keeps its spec as it is here.
pub const AUTO_UPDATE: &str = "apf.kubernetes.io/autoupdate-spec";

/// Objects that the server makes and keeps.
#[derive(Debug)]
pub struct Bootstrap {
    pub levels: Vec<PriorityLevelConfiguration>,
    pub schemas: Vec<FlowSchema>,
}

/// Without them requests would have no place to go. Nobody changes them but for the shares of the exempt level.
pub fn mandatory() -> &'static Bootstrap {
    static MANDATORY: LazyLock<Bootstrap> = LazyLock::new(|| Bootstrap {
        levels: vec![exempt_level(), limited_level(CATCH_ALL, 5, 0, reject())],
        schemas: vec![
            schema(EXEMPT, EXEMPT, 1, None, all(groups(&[MASTERS]))),
            schema(CATCH_ALL, CATCH_ALL, 10_000, Some(BY_USER), all(everybody())),
        ],
    });
    &MANDATORY
}

/// A good beginning, which a cluster's administrators may change.
pub fn suggested() -> &'static Bootstrap {
    static SUGGESTED: LazyLock<Bootstrap> = LazyLock::new(|| {
        let level = |(name, shares, lendable, queuing)| limited_level(name, shares, lendable, queue(queuing));
        Bootstrap { levels: LEVELS.into_iter().map(level).collect(), schemas: suggested_schemas() }
    });
    &SUGGESTED
}

// Groups and users as `authn` names them; a test compares.
const MASTERS: &str = "system:masters";
const NODES: &str = "system:nodes";
const PROXIES: &str = "system:node-proxiers";
const SERVICE_ACCOUNTS: &str = "system:serviceaccounts";
const EVERYBODY: [&str; 2] = ["system:unauthenticated", "system:authenticated"];
const MANAGER: &str = "system:kube-controller-manager";
const SCHEDULER: &str = "system:kube-scheduler";

const BY_USER: &str = "ByUser";
const BY_NAMESPACE: &str = "ByNamespace";

/// name, shares, lendable percent, (queues, hand size)
type Level = (&'static str, i32, i32, (i32, i32));

const LEVELS: [Level; 6] = [
    ("system", 30, 33, (64, 6)),
    ("node-high", 40, 25, (64, 6)),
    ("leader-election", 10, 0, (16, 4)),
    ("workload-high", 40, 50, (128, 6)),
    ("workload-low", 100, 90, (128, 6)),
    ("global-default", 20, 50, (128, 6)),
];
const QUEUE_LENGTH_LIMIT: i32 = 50;

fn suggested_schemas() -> Vec<FlowSchema> {
    let leases = |verbs: &[&str]| resources(verbs, "coordination.k8s.io", &["leases"], false);
    let probes = PolicyRulesWithSubjects {
        subjects: everybody(),
        resource_rules: None,
        non_resource_rules: Some(vec![paths(&["get"], &["/healthz", "/readyz", "/livez"])]),
    };
    let leader_election = PolicyRulesWithSubjects {
        subjects: vec![user(MANAGER), user(SCHEDULER), kube_system()],
        resource_rules: Some(vec![leases(&["get", "create", "update"])]),
        non_resource_rules: None,
    };
    let node_health = PolicyRulesWithSubjects {
        subjects: groups(&[NODES]),
        resource_rules: Some(vec![resources(&["*"], "", &["nodes", "nodes/status"], true), leases(&["*"])]),
        non_resource_rules: None,
    };
    vec![
        schema("probes", EXEMPT, 2, None, probes),
        schema("system-leader-election", "leader-election", 100, Some(BY_USER), leader_election),
        schema("system-node-high", "node-high", 400, Some(BY_USER), node_health),
        schema("system-nodes", "system", 500, Some(BY_USER), all(groups(&[NODES]))),
        schema("kube-controller-manager", "workload-high", 800, Some(BY_NAMESPACE), all(vec![user(MANAGER)])),
        schema("kube-scheduler", "workload-high", 800, Some(BY_NAMESPACE), all(vec![user(SCHEDULER)])),
        schema("kube-proxy", "workload-high", 850, Some(BY_USER), all(groups(&[PROXIES]))),
        schema("kube-system-service-accounts", "workload-high", 900, Some(BY_NAMESPACE), all(vec![kube_system()])),
        schema("service-accounts", "workload-low", 9000, Some(BY_USER), all(groups(&[SERVICE_ACCOUNTS]))),
        schema("global-default", "global-default", 9900, Some(BY_USER), all(everybody())),
    ]
}

fn metadata(name: &str) -> ObjectMeta {
    let annotations = Some([(AUTO_UPDATE.to_owned(), true.to_string())].into());
    ObjectMeta { name: Some(name.into()), annotations, ..ObjectMeta::default() }
}

fn exempt_level() -> PriorityLevelConfiguration {
    let none = ExemptPriorityLevelConfiguration { nominal_concurrency_shares: Some(0), lendable_percent: Some(0) };
    PriorityLevelConfiguration {
        metadata: metadata(EXEMPT),
        spec: PriorityLevelConfigurationSpec { type_: "Exempt".into(), exempt: Some(none), limited: None },
        status: None,
    }
}

fn limited_level(name: &str, shares: i32, lendable: i32, limit_response: LimitResponse) -> PriorityLevelConfiguration {
    let limited = LimitedPriorityLevelConfiguration {
        nominal_concurrency_shares: Some(shares),
        lendable_percent: Some(lendable),
        borrowing_limit_percent: None,
        limit_response,
    };
    PriorityLevelConfiguration {
        metadata: metadata(name),
        spec: PriorityLevelConfigurationSpec { type_: "Limited".into(), limited: Some(limited), exempt: None },
        status: None,
    }
}
fn reject() -> LimitResponse {
    LimitResponse { type_: "Reject".into(), queuing: None }
}
fn queue((queues, hand_size): (i32, i32)) -> LimitResponse {
    let queuing = QueuingConfiguration {
        queues: Some(queues),
        hand_size: Some(hand_size),
        queue_length_limit: Some(QUEUE_LENGTH_LIMIT),
    };
    LimitResponse { type_: "Queue".into(), queuing: Some(queuing) }
}

fn schema(
    name: &str,
    level: &str,
    matching_precedence: i32,
    distinguisher: Option<&str>,
    rules: PolicyRulesWithSubjects,
) -> FlowSchema {
    FlowSchema {
        metadata: metadata(name),
        spec: FlowSchemaSpec {
            priority_level_configuration: PriorityLevelConfigurationReference { name: level.into() },
            matching_precedence: Some(matching_precedence),
            distinguisher_method: distinguisher.map(|kind| FlowDistinguisherMethod { type_: kind.into() }),
            rules: Some(vec![rules]),
        },
        status: None,
    }
}

/// Whatever they ask.
fn all(subjects: Vec<Subject>) -> PolicyRulesWithSubjects {
    PolicyRulesWithSubjects {
        subjects,
        resource_rules: Some(vec![resources(&["*"], "*", &["*"], true)]),
        non_resource_rules: Some(vec![paths(&["*"], &["*"])]),
    }
}
fn everybody() -> Vec<Subject> {
    groups(&EVERYBODY)
}
fn groups(names: &[&str]) -> Vec<Subject> {
    let group = |name: &&str| Some(GroupSubject { name: (*name).into() });
    names.iter().map(|name| Subject { kind: "Group".into(), group: group(name), ..Subject::default() }).collect()
}
fn user(name: &str) -> Subject {
    Subject { kind: "User".into(), user: Some(UserSubject { name: name.into() }), ..Subject::default() }
}
/// All service accounts of kube-system.
fn kube_system() -> Subject {
    let account = ServiceAccountSubject { namespace: "kube-system".into(), name: "*".into() };
    Subject { kind: "ServiceAccount".into(), service_account: Some(account), ..Subject::default() }
}
fn resources(verbs: &[&str], group: &str, resources: &[&str], cluster_scope: bool) -> ResourcePolicyRule {
    ResourcePolicyRule {
        verbs: texts(verbs),
        api_groups: texts(&[group]),
        resources: texts(resources),
        namespaces: Some(texts(&["*"])),
        cluster_scope: cluster_scope.then_some(true),
    }
}
fn paths(verbs: &[&str], urls: &[&str]) -> NonResourcePolicyRule {
    NonResourcePolicyRule { verbs: texts(verbs), non_resource_urls: texts(urls) }
}
fn texts(of: &[&str]) -> Vec<String> {
    of.iter().map(|text| (*text).to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use corten_api::Problems;

    use super::*;
    use crate::authn;
    use crate::registry::Kind;
    use crate::registry::check::testing::texts;

    fn good<K: Kind>(object: &K) {
        let mut defaulted = object.clone();
        defaulted.fill_defaults();
        assert_eq!(&defaulted, object, "the objects are told in full");
        let mut problems = Problems::default();
        object.validate(&mut problems);
        assert_eq!(texts(&problems), [""; 0], "{:?}", object.metadata().name);
    }

    #[test]
    fn they_are_good_and_told_in_full() {
        for Bootstrap { levels, schemas } in [mandatory(), suggested()] {
            levels.iter().for_each(good);
            schemas.iter().for_each(good);
        }
        let shares = |b: &Bootstrap| {
            let limited = b.levels.iter().filter_map(|level| level.spec.limited.as_ref());
            limited.filter_map(|l| l.nominal_concurrency_shares).sum::<i32>()
        };
        assert_eq!(shares(mandatory()) + shares(suggested()), 245, "upstream's");
    }

    #[test]
    fn groups_have_their_names() {
        assert_eq!(
            (MASTERS, NODES, PROXIES, EVERYBODY),
            (
                authn::MASTERS_GROUP,
                authn::NODES_GROUP,
                authn::PROXIES_GROUP,
                [authn::UNAUTHENTICATED_GROUP, authn::AUTHENTICATED_GROUP]
            )
        );
    }
}

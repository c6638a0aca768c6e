//! From the cluster's PriorityLevelConfigurations and FlowSchemas to what the engine obeys.
//!
//! An object that cannot be obeyed counts as not there, and the mandatory ones always are: whatever is written, deleted or
//! damaged, administrators and everybody else have a place to go. Validation lets no such object in; this is for what
//! stands in the store all the same, and [`broken_levels`] says what that is.

use std::collections::HashSet;

use k8s_openapi::api::flowcontrol::v1::{
    FlowSchema, LimitedPriorityLevelConfiguration, PolicyRulesWithSubjects, PriorityLevelConfiguration, Subject,
};

use super::configuration::{
    self, Configuration, ConfigurationError, Distinguisher, Enablement, LimitResponse, NonResourceRule, PolicyRules,
    PriorityLevel, QUEUES_MAX, Queuing, ResourceRule,
};
use crate::registry::flowcontrol::bootstrap::mandatory;
use crate::registry::flowcontrol::{CATCH_ALL, EXEMPT};

/// The error is for what no list from the store has: two objects of one name, a catch-all level without a share.
pub fn configuration(
    levels: &[PriorityLevelConfiguration],
    schemas: &[FlowSchema],
) -> Result<Configuration, ConfigurationError> {
    let mut obeyed: Vec<PriorityLevel> = levels.iter().filter_map(|l| level(l).ok()).collect();
    let good: HashSet<&str> = good_levels(levels).collect();
    let leads_somewhere = |s: &&FlowSchema| good.contains(s.spec.priority_level_configuration.name.as_str());
    let mut sorted: Vec<configuration::FlowSchema> = schemas.iter().filter(leads_somewhere).map(schema).collect();
    for name in [EXEMPT, CATCH_ALL] {
        if !good.contains(name) {
            obeyed.extend(mandatory().levels.iter().filter(|l| is_named(l, name)).filter_map(|l| level(l).ok()));
        }
        if !sorted.iter().any(|s| &*s.name == name) {
            sorted.extend(mandatory().schemas.iter().filter(|s| s.metadata.name.as_deref() == Some(name)).map(schema));
        }
    }
    Configuration::new(obeyed, sorted)
}

/// The names of the levels that can be obeyed: a schema that names another leads nowhere.
pub fn good_levels(levels: &[PriorityLevelConfiguration]) -> impl Iterator<Item = &str> {
    levels.iter().filter(|l| level(l).is_ok()).filter_map(|l| l.metadata.name.as_deref())
}

/// The others, and why. A level that says both or neither of what it may be, and the like.
pub fn broken_levels(levels: &[PriorityLevelConfiguration]) -> Vec<(String, Broken)> {
    let name = |l: &PriorityLevelConfiguration| l.metadata.name.clone().unwrap_or_default();
    levels.iter().filter_map(|l| level(l).err().map(|why| (name(l), why))).collect()
}

/// Why a priority level cannot be obeyed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Broken {
    #[error("it has no name")]
    NoName,
    #[error(
        "type is Exempt with spec.exempt alone, and that for the level named exempt; or Limited with spec.limited alone"
    )]
    Type,
    #[error("limitResponse is Reject without queuing, or Queue with it")]
    Response,
    #[error("spec.limited.nominalConcurrencyShares is missing")]
    NoShares,
    #[error("a number is negative, or a percentage above 100")]
    Number,
    #[error("queues must be 1 or more, handSize 1 to queues and small enough to be dealt from a hash")]
    Queuing,
}

fn is_named(level: &PriorityLevelConfiguration, name: &str) -> bool {
    level.metadata.name.as_deref() == Some(name)
}

fn level(object: &PriorityLevelConfiguration) -> Result<PriorityLevel, Broken> {
    let (name, spec) = (object.metadata.name.as_deref().ok_or(Broken::NoName)?, &object.spec);
    let (shares, lendable, enablement) = match (spec.type_.as_str(), &spec.exempt, &spec.limited) {
        ("Exempt", exempt, None) if name == EXEMPT => {
            let of = exempt.as_ref();
            let number = |n: Option<i32>| n.unwrap_or(0);
            let shares = number(of.and_then(|e| e.nominal_concurrency_shares));
            (shares, number(of.and_then(|e| e.lendable_percent)), Enablement::Exempt)
        }
        ("Limited", None, Some(limited)) if name != EXEMPT => {
            let shares = limited.nominal_concurrency_shares.ok_or(Broken::NoShares)?;
            (shares, limited.lendable_percent.unwrap_or(0), limited_enablement(limited)?)
        }
        _ => return Err(Broken::Type),
    };
    let number = |n: i32| u32::try_from(n).map_err(|_| Broken::Number);
    Ok(PriorityLevel {
        name: name.into(),
        uid: object.metadata.uid.as_deref().unwrap_or_default().into(),
        nominal_concurrency_shares: number(shares)?,
        lendable_percent: number(lendable)
            .and_then(|percent| if percent <= 100 { Ok(percent) } else { Err(Broken::Number) })?,
        enablement,
    })
}

fn limited_enablement(limited: &LimitedPriorityLevelConfiguration) -> Result<Enablement, Broken> {
    let number = |n: Option<i32>| n.and_then(|n| u32::try_from(n).ok()).ok_or(Broken::Number);
    let response = match (limited.limit_response.type_.as_str(), &limited.limit_response.queuing) {
        ("Reject", None) => LimitResponse::Reject,
        ("Queue", Some(queuing)) => LimitResponse::Queue(
            Queuing {
                // An object may wish for a thousand times more. A hand of many queues is one of fewer, too.
                queues: number(queuing.queues)?.min(QUEUES_MAX),
                hand_size: number(queuing.hand_size)?,
                queue_length_limit: number(queuing.queue_length_limit)?,
            }
            .checked()
            .ok_or(Broken::Queuing)?,
        ),
        _ => return Err(Broken::Response),
    };
    let borrowing_limit_percent = match limited.borrowing_limit_percent {
        None => None,
        limit => Some(number(limit)?),
    };
    Ok(Enablement::Limited { borrowing_limit_percent, response })
}

fn schema(object: &FlowSchema) -> configuration::FlowSchema {
    let spec = &object.spec;
    configuration::FlowSchema {
        name: object.metadata.name.as_deref().unwrap_or_default().into(),
        uid: object.metadata.uid.as_deref().unwrap_or_default().into(),
        priority_level: spec.priority_level_configuration.name.as_str().into(),
        matching_precedence: u32::try_from(spec.matching_precedence.unwrap_or(0)).unwrap_or(0),
        distinguisher: match spec.distinguisher_method.as_ref().map(|method| method.type_.as_str()) {
            Some("ByUser") => Some(Distinguisher::ByUser),
            Some("ByNamespace") => Some(Distinguisher::ByNamespace),
            _ => None,
        },
        rules: spec.rules.iter().flatten().map(rules).collect(),
    }
}

fn rules(of: &PolicyRulesWithSubjects) -> PolicyRules {
    let resource_rules = of.resource_rules.iter().flatten().map(|rule| ResourceRule {
        verbs: rule.verbs.clone(),
        api_groups: rule.api_groups.clone(),
        resources: rule.resources.clone(),
        namespaces: rule.namespaces.clone().unwrap_or_default(),
        cluster_scope: rule.cluster_scope == Some(true),
    });
    let non_resource_rules = of.non_resource_rules.iter().flatten();
    let non_resource_rules = non_resource_rules
        .map(|rule| NonResourceRule { verbs: rule.verbs.clone(), urls: rule.non_resource_urls.clone() });
    PolicyRules {
        subjects: of.subjects.iter().filter_map(subject).collect(),
        resource_rules: resource_rules.collect(),
        non_resource_rules: non_resource_rules.collect(),
    }
}

fn subject(of: &Subject) -> Option<configuration::Subject> {
    match of.kind.as_str() {
        "User" => Some(configuration::Subject::User(of.user.as_ref()?.name.clone())),
        "Group" => Some(configuration::Subject::Group(of.group.as_ref()?.name.clone())),
        "ServiceAccount" => {
            let account = of.service_account.as_ref()?;
            let (namespace, name) = (account.namespace.clone(), account.name.clone());
            Some(configuration::Subject::ServiceAccount { namespace, name })
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests;

//! Priority levels and flow schemas as the engine obeys them, checked when they are put together.
//!
//! <https://kubernetes.io/docs/concepts/cluster-administration/flow-control/#resources>.

use std::collections::HashSet;
use std::sync::Arc;

pub use crate::registry::flowcontrol::CATCH_ALL;
use crate::registry::flowcontrol::prioritylevelconfiguration::hash_tells_hands_apart;

/// Requests wait in at most so many queues of one level: each costs a few dozen bytes and a look at every dispatch.
pub const QUEUES_MAX: u32 = 10_000;

/// What the engine obeys; made by [`Configuration::new`] alone.
#[derive(Clone, Debug, PartialEq)]
pub struct Configuration {
    levels: Vec<PriorityLevel>,
    /// In order of precedence.
    schemas: Vec<FlowSchema>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct PriorityLevel {
    pub name: Arc<str>,
    /// Of its object; empty while there is none.
    pub uid: Arc<str>,
    pub nominal_concurrency_shares: u32,
    pub lendable_percent: u32,
    pub enablement: Enablement,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Enablement {
    /// Never waits and is never refused.
    Exempt,
    /// `borrowing_limit_percent`: `None` is no limit.
    Limited { borrowing_limit_percent: Option<u32>, response: LimitResponse },
}

/// What becomes of a request that finds all seats of its level taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LimitResponse {
    Reject,
    Queue(Queuing),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Queuing {
    pub queues: u32,
    pub hand_size: u32,
    pub queue_length_limit: u32,
}

#[derive(Clone, Debug, PartialEq)]
pub struct FlowSchema {
    pub name: Arc<str>,
    /// Of its object; empty while there is none.
    pub uid: Arc<str>,
    pub priority_level: Arc<str>,
    /// The lowest wins; equal ones by name.
    pub matching_precedence: u32,
    pub distinguisher: Option<Distinguisher>,
    pub rules: Vec<PolicyRules>,
}

/// What makes requests of one schema different flows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Distinguisher {
    ByUser,
    ByNamespace,
}

/// Holds if any subject and any rule of the request's kind hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PolicyRules {
    pub subjects: Vec<Subject>,
    pub resource_rules: Vec<ResourceRule>,
    pub non_resource_rules: Vec<NonResourceRule>,
}

/// `*` stands for all names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subject {
    User(String),
    Group(String),
    ServiceAccount { namespace: String, name: String },
}

/// `*` alone stands for all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResourceRule {
    pub verbs: Vec<String>,
    pub api_groups: Vec<String>,
    /// `pods`, `pods/status`.
    pub resources: Vec<String>,
    pub namespaces: Vec<String>,
    /// Whether requests without a namespace match.
    pub cluster_scope: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NonResourceRule {
    pub verbs: Vec<String>,
    /// Exact, or all below `/path/` if it ends with `/*`.
    pub urls: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigurationError {
    #[error("there are two objects named {0:?}: names are unique")]
    Twice(Arc<str>),
    #[error("flow schema {schema:?} names the priority level {level:?}, which is not there")]
    NoLevel { schema: Arc<str>, level: Arc<str> },
    #[error("there is no {0:?}: it must always be there")]
    NoCatchAll(&'static str),
    #[error(
        "priority level {0:?}: queues must be 1 to {QUEUES_MAX}, handSize 1 to queues and small enough to be dealt from a hash"
    )]
    Queuing(Arc<str>),
    #[error("priority level {0:?}: lendablePercent must be 0 to 100")]
    Lendable(Arc<str>),
    #[error("no priority level has nominalConcurrencyShares")]
    NoShares,
}

impl Configuration {
    pub fn new(levels: Vec<PriorityLevel>, mut schemas: Vec<FlowSchema>) -> Result<Self, ConfigurationError> {
        unique(levels.iter().map(|l| &l.name))?;
        unique(schemas.iter().map(|s| &s.name))?;
        for level in &levels {
            if level.lendable_percent > 100 {
                return Err(ConfigurationError::Lendable(level.name.clone()));
            }
            if let Enablement::Limited { response: LimitResponse::Queue(queuing), .. } = level.enablement
                && !queuing.can_be_dealt()
            {
                return Err(ConfigurationError::Queuing(level.name.clone()));
            }
        }
        let names: HashSet<&str> = levels.iter().map(|l| &*l.name).collect();
        for schema in &schemas {
            if !names.contains(&*schema.priority_level) {
                let (schema, level) = (schema.name.clone(), schema.priority_level.clone());
                return Err(ConfigurationError::NoLevel { schema, level });
            }
        }
        if !schemas.iter().any(|s| &*s.name == CATCH_ALL) {
            return Err(ConfigurationError::NoCatchAll(CATCH_ALL));
        }
        if levels.iter().all(|l| l.nominal_concurrency_shares == 0) {
            return Err(ConfigurationError::NoShares);
        }
        schemas.sort_by(|a, b| (a.matching_precedence, &a.name).cmp(&(b.matching_precedence, &b.name)));
        Ok(Self { levels, schemas })
    }
    pub fn levels(&self) -> &[PriorityLevel] {
        &self.levels
    }
    pub fn schemas(&self) -> &[FlowSchema] {
        &self.schemas
    }
}

fn unique<'a>(names: impl Iterator<Item = &'a Arc<str>>) -> Result<(), ConfigurationError> {
    let mut names: Vec<&Arc<str>> = names.collect();
    names.sort_unstable();
    match names.windows(2).find(|pair| pair[0] == pair[1]) {
        Some(pair) => Err(ConfigurationError::Twice(pair[0].clone())),
        None => Ok(()),
    }
}

impl Queuing {
    pub(super) fn checked(self) -> Option<Self> {
        self.can_be_dealt().then_some(self)
    }
    /// Whether a hash has enough bits to tell all hands apart, and the hand fits the deck.
    fn can_be_dealt(self) -> bool {
        (1..=QUEUES_MAX).contains(&self.queues)
            && (1..=self.queues).contains(&self.hand_size)
            && hash_tells_hands_apart(self.queues, self.hand_size)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn level(name: &str, queues: u32, hand_size: u32) -> PriorityLevel {
        let queuing = Queuing { queues, hand_size, queue_length_limit: 50 };
        let response = LimitResponse::Queue(queuing);
        PriorityLevel {
            name: name.into(),
            uid: "".into(),
            nominal_concurrency_shares: 10,
            lendable_percent: 0,
            enablement: Enablement::Limited { borrowing_limit_percent: None, response },
        }
    }
    fn schema(name: &str, level: &str) -> FlowSchema {
        FlowSchema {
            name: name.into(),
            uid: "".into(),
            priority_level: level.into(),
            matching_precedence: 1,
            distinguisher: None,
            rules: Vec::new(),
        }
    }

    #[test]
    fn what_cannot_be_obeyed_is_refused() {
        use ConfigurationError as E;
        let all = || vec![schema(CATCH_ALL, "a")];
        let cases = [
            (vec![level("a", 64, 6)], all(), None),
            (vec![level("a", 64, 6), level("a", 64, 6)], all(), Some(E::Twice("a".into()))),
            (vec![level("b", 64, 6)], all(), Some(E::NoLevel { schema: CATCH_ALL.into(), level: "a".into() })),
            (vec![level("a", 64, 6)], vec![schema("x", "a")], Some(E::NoCatchAll(CATCH_ALL))),
            (vec![level("a", 4, 5)], all(), Some(E::Queuing("a".into()))),
            (vec![level("a", 0, 0)], all(), Some(E::Queuing("a".into()))),
            (vec![level("a", 10_000, 5)], all(), Some(E::Queuing("a".into()))),
            (vec![PriorityLevel { lendable_percent: 101, ..level("a", 4, 2) }], all(), Some(E::Lendable("a".into()))),
            (vec![PriorityLevel { nominal_concurrency_shares: 0, ..level("a", 4, 2) }], all(), Some(E::NoShares)),
        ];
        for (levels, schemas, expected) in cases {
            assert_eq!(Configuration::new(levels, schemas).err(), expected);
        }
    }
}

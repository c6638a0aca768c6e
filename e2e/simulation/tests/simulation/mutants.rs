//! Bugs that are seeded into what the product sends and stores, one at a time, so that no program has a switch for them. Each
//! must be found: by the invariant that is named beside it, or by another that it breaks first.

mod store;
mod wire;

use axum::extract::Request;
use axum::middleware::Next;
use axum::response::Response;
use corten_apiserver::storage::memory::Memory;
use corten_apiserver::storage::{Changes, Outcome, Storage, StorageError, Write};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mutant {
    // What apiservers do with their store.
    /// Conditions on keys that stay as they are do not count: fences, guards of quotas.
    ConditionsAreIgnored,
    /// The revision that an update is made of does not count.
    UpdatesAreUnconditional,
    /// A commit of several keys is not whole.
    LastWriteIsForgotten,
    /// What is there is replaced by what is created.
    CreatesReplace,
    /// Caches miss one change of a pod in so many.
    ChangesAreMissed,
    /// Caches miss that something is gone.
    DeletionsAreMissed,
    /// Quotas are not given back.
    DeletionsAreNotCounted,
    /// Who is deleted goes at once, whoever holds it.
    FinalizersDoNotHold,
    /// Each pod is placed on the first node.
    AllOnOneNode,
    /// A lease passes on and does not say so.
    TransitionsStandStill,
    /// A placed pod is placed again.
    PlacedPodsMove,

    // What programs ask for.
    /// Leaders do not say in which term they write.
    FencesAreDropped,
    /// Controllers create each tenth pod twice.
    PodsAreCreatedTwice,
    /// Pods have no owners.
    OwnersAreDropped,
    /// Dependents go with who was deleted without them.
    OrphansGo,
    /// Whatever version somebody has read, he replaces the newest.
    RevisionsAreDropped,
    /// The status of Jobs is answered and not written.
    JobStatusIsLost,
    /// A budget allows one eviction more.
    BudgetsAllowMore,
    /// ReplicaSets are made larger by one more.
    SurgeIsExceeded,
    /// ReplicaSets that shrink are emptied.
    ShrinksToNothing,
    /// Controllers delete pods without waiting for their end.
    GraceIsSkipped,
    /// A Job counts one success more.
    JobsCountOneMore,
    /// A Job does not note what it counts before it lets a pod go.
    UncountedIsForgotten,
    /// Pods of Jobs are not held until they are counted.
    JobPodsAreNotHeld,
}

/// The bugs, and what is to find each: what the verdict begins with.
pub(crate) const ALL: &[(Mutant, &[&str])] = &[
    (Mutant::ConditionsAreIgnored, &[QUOTAS, LEADERS]),
    (Mutant::UpdatesAreUnconditional, &[LOST_UPDATES, JOBS, QUOTAS]),
    (Mutant::LastWriteIsForgotten, &[QUOTAS]),
    (Mutant::CreatesReplace, &[IDENTITY]),
    (Mutant::ChangesAreMissed, &[REST]),
    (Mutant::DeletionsAreMissed, &[REST]),
    (Mutant::DeletionsAreNotCounted, &[QUOTAS]),
    (Mutant::FinalizersDoNotHold, &[FINALIZERS]),
    (Mutant::AllOnOneNode, &[NODES]),
    (Mutant::TransitionsStandStill, &[LEASES]),
    (Mutant::PlacedPodsMove, &[PLACED]),
    (Mutant::FencesAreDropped, &[LEADERS]),
    (Mutant::PodsAreCreatedTwice, &[REPLICAS]),
    (Mutant::OwnersAreDropped, &[REST]),
    (Mutant::OrphansGo, &[ORPHANS]),
    (Mutant::RevisionsAreDropped, &[LOST_UPDATES]),
    (Mutant::JobStatusIsLost, &[REST]),
    (Mutant::BudgetsAllowMore, &[BUDGETS]),
    (Mutant::SurgeIsExceeded, &[SURGE]),
    (Mutant::ShrinksToNothing, &[MINIMUM]),
    (Mutant::GraceIsSkipped, &[TWINS]),
    (Mutant::JobsCountOneMore, &[JOBS]),
    (Mutant::UncountedIsForgotten, &[JOBS]),
    (Mutant::JobPodsAreNotHeld, &[JOBS, REST]),
];

const REPLICAS: &str = "no more replicas than wanted";
const SURGE: &str = "never above surge";
const MINIMUM: &str = "never below the available minimum because of us";
const LOST_UPDATES: &str = "what users write is not taken back";
const JOBS: &str = "Jobs count exactly";
const BUDGETS: &str = "budgets are not broken by evictions";
const QUOTAS: &str = "quotas are exact and never overshot";
const NODES: &str = "nodes are not overcommitted";
const PLACED: &str = "a placed pod stays where it is";
const ORPHANS: &str = "what is orphaned stays";
const FINALIZERS: &str = "finalizers are waited for";
const IDENTITY: &str = "uids, generations and creation do not change";
const LEADERS: &str = "who leads no more writes no more";
const LEASES: &str = "leases pass on as they must";
/// No invariant, but the machines'.
const TWINS: &str = "one pod of a name at a time";
/// Nor this one: once nothing fails any more the cluster must come to rest.
const REST: &str = "not at rest";

impl Mutant {
    /// As the store would, but for the bug; and what was written.
    pub(crate) async fn commit(
        self,
        memory: &Memory,
        mut writes: Vec<Write>,
    ) -> Result<(Outcome, Vec<Write>), StorageError> {
        if let Some(key) = self.replaced_key(&writes) {
            let now = memory.get(&key).await?.map(|stored| stored.revision);
            store::replace(&mut writes, &key, now);
        }
        let writes = store::changed(self, writes);
        if writes.is_empty() {
            return Ok((Outcome::Committed { revision: memory.current_revision().await? }, writes));
        }
        Ok((memory.commit(writes.clone()).await?, writes))
    }

    fn replaced_key(self, writes: &[Write]) -> Option<String> {
        let is_meant = |write: &&Write| match write {
            Write::Create { .. } => self == Self::CreatesReplace,
            Write::Update { .. } => self == Self::UpdatesAreUnconditional,
            Write::Delete { .. } | Write::Expect { .. } => false,
        };
        writes.iter().find(is_meant).map(|write| write.key().to_owned())
    }

    /// What the store tells of changes.
    pub(crate) fn told(self, changes: Changes) -> Changes {
        store::told(self, changes)
    }

    /// A request on its way, and its answer.
    pub(crate) async fn answer(self, author: &str, request: Request, next: Next) -> Response {
        wire::answer(self, author, request, next).await
    }
}

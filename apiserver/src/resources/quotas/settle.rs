//! A namespace is counted anew, and its quotas written, while nothing that counts can be committed in it.

use std::time::Duration;

use corten_api::ApiError;
use k8s_openapi::api::core::v1::ResourceQuota;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use tokio::time::{Instant, timeout_at};

use super::count::is_right;
use super::guard::Guard;
use super::{PLURAL, name, revision};
use crate::admission::resource_quota as reckoning;
use crate::cache::api_error;
use crate::resources::encode::Encoded;
use crate::resources::place::Place;
use crate::resources::{Resources, now_secs};
use crate::storage::{Outcome, Stored, Write};

/// Who counts for longer is thought to be dead.
const COUNT_MAX: Duration = Duration::from_secs(10);
/// Guards that others change first.
const TRIES_MAX: u32 = 40;

/// What is written of a quota.
#[derive(Clone, Debug)]
pub(in crate::resources) enum Change {
    Make(Box<ResourceQuota>),
    Put { new: Box<ResourceQuota>, old: Box<ResourceQuota> },
    Remove { old: Box<ResourceQuota> },
}

impl Change {
    /// The revision at which the quota must be. What is charged meanwhile is no reason to refuse: who changes a quota would lose
    /// against a busy namespace again and again.
    fn expected(&self, now: &[ResourceQuota]) -> Result<i64, ApiError> {
        let old = match self {
            Self::Make(_) => return Ok(0),
            Self::Put { old, .. } | Self::Remove { old } => old,
        };
        let metadata = |quota: &ResourceQuota| ObjectMeta { resource_version: None, ..quota.metadata.clone() };
        let same = |now: &&ResourceQuota| now.spec == old.spec && metadata(now) == metadata(old);
        revision(now.iter().find(|now| name(now) == name(old)).filter(same).unwrap_or(old))
    }
}

/// What came of it.
#[derive(Debug)]
pub(in crate::resources) enum Settled {
    /// At this revision. The quota with its status; `None`: it is gone, or there was no change.
    Done { revision: i64, quota: Option<Box<ResourceQuota>> },
    /// Somebody else was there first: what the quota's key holds.
    Refused { current: Option<Stored> },
    /// A condition from outside did not hold.
    Unconditioned,
}

/// One count, which goes on when nobody waits for it any more.
struct Settling {
    resources: Resources,
    namespace: String,
    change: Option<Change>,
    /// What the change is conditioned on besides.
    beside: Vec<Write>,
    /// Tells our counting from others'.
    token: String,
    /// The revision of a guard whose author is thought to be dead.
    dead: Option<i64>,
}

impl Resources {
    /// Counts all quotas of a namespace anew, and writes them with a change of one, if there is one.
    pub(in crate::resources) async fn settle(
        &self,
        namespace: &str,
        change: Option<Change>,
        beside: Vec<Write>,
    ) -> Result<Settled, ApiError> {
        Settling::new(self, namespace, change, beside).start().await
    }

    /// Returns when nobody counts the namespace any more; counts it if that takes too long.
    pub(super) async fn wait_for_count(&self, namespace: &str, guard: &Guard) -> Result<(), ApiError> {
        if self.outlasts(namespace, guard).await? {
            let dead = Some(guard.revision);
            Settling { dead, ..Settling::new(self, namespace, None, Vec::new()) }.start().await?;
        }
        Ok(())
    }

    /// Whether a guard that says that somebody counts stands for too long.
    async fn outlasts(&self, namespace: &str, guard: &Guard) -> Result<bool, ApiError> {
        let deadline = Instant::now() + COUNT_MAX;
        let mut changed = self.inner.cache.changes();
        while Guard::of(&self.inner.cache, namespace)?.is_some_and(|now| now.revision == guard.revision) {
            match timeout_at(deadline, changed.changed()).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) => return Err(ApiError::unavailable("the store is not followed any more")),
                Err(_) => return Ok(true),
            }
        }
        Ok(false)
    }
}

impl Settling {
    fn new(resources: &Resources, namespace: &str, change: Option<Change>, beside: Vec<Write>) -> Self {
        let (resources, namespace) = (resources.clone(), namespace.to_owned());
        Self { resources, namespace, change, beside, token: uuid::Uuid::new_v4().to_string(), dead: None }
    }

    /// In a task of its own: it must come to its end though the client goes away.
    async fn start(self) -> Result<Settled, ApiError> {
        tokio::spawn(self.run()).await.map_err(ApiError::internal)?
    }

    async fn run(self) -> Result<Settled, ApiError> {
        for _ in 0..TRIES_MAX {
            let Some(guard) = self.begin().await? else { continue };
            match self.finish(&guard).await {
                Ok(Some(settled @ Settled::Done { .. })) => return Ok(settled),
                Ok(Some(settled)) => {
                    self.give_up(&guard).await;
                    return Ok(settled);
                }
                Ok(None) => drop(self.resources.inner.cache.catch_up().await?),
                Err(err) => {
                    self.give_up(&guard).await;
                    return Err(err);
                }
            }
        }
        let why = "the resource quotas of the namespace are being changed by too many others, please try again";
        Err(ApiError::too_many_requests(why, 1))
    }

    /// Keeps others from writing. `None`: somebody was quicker.
    async fn begin(&self) -> Result<Option<Guard>, ApiError> {
        let cache = &self.resources.inner.cache;
        let guard = Guard::of(cache, &self.namespace)?;
        match &guard {
            Some(mine) if mine.counting.as_deref() == Some(&self.token) => return Ok(guard),
            Some(other) if other.counting.is_some() && self.dead != Some(other.revision) => {
                if !self.resources.outlasts(&self.namespace, other).await? {
                    return Ok(None);
                }
            }
            Some(_) | None => {}
        }
        let as_of_secs = guard.as_ref().map_or_else(now_secs, |guard| guard.as_of_secs);
        let counting = Some(self.token.clone());
        let write = Guard::changed(guard.as_ref(), &self.namespace, as_of_secs, counting.as_deref())?;
        match cache.storage().commit(vec![write]).await.map_err(|err| api_error(&err))? {
            Outcome::Committed { revision } => {
                let guard = Guard { revision, as_of_secs, counting };
                // What was under way is in the cache by then.
                if let Err(err) = cache.wait_for(revision).await {
                    self.give_up(&guard).await;
                    return Err(err);
                }
                Ok(Some(guard))
            }
            Outcome::Refused { .. } => {
                cache.catch_up().await?;
                Ok(None)
            }
        }
    }

    /// Lets others write again. If that fails they wait, and count themselves.
    async fn give_up(&self, guard: &Guard) {
        let undo = || -> Result<Write, ApiError> {
            if self.resources.quotas_of(&self.namespace)?.is_empty() {
                return Ok(guard.removed(&self.namespace));
            }
            Guard::changed(Some(guard), &self.namespace, guard.as_of_secs, None)
        };
        let undone = match undo() {
            Ok(write) => self.resources.inner.cache.storage().commit(vec![write]).await.map_err(|err| api_error(&err)),
            Err(err) => Err(err),
        };
        if let Err(err) = undone {
            tracing::warn!(%err, namespace = self.namespace, "the quotas of a namespace stay locked for a while");
        }
    }

    /// `None`: to be tried again.
    async fn finish(&self, guard: &Guard) -> Result<Option<Settled>, ApiError> {
        let place = &self.resources.builtin("", "v1", PLURAL)?;
        let before = self.resources.quotas_of(&self.namespace)?;
        self.check(&before, guard.as_of_secs)?;
        let as_of_secs = now_secs();
        let mut quotas = self.changed(before.clone());
        let mut counted = self.resources.counted(&self.namespace, &quotas, as_of_secs).await?;
        let mut writes = Vec::new();
        let mut mine = None;
        for quota in &mut quotas {
            let is_mine = self.is_mine(quota);
            if !is_mine && is_right(quota, counted.get(name(quota))) {
                continue;
            }
            quota.status = counted.remove(name(quota));
            writes.push(self.write(place, quota, &before, is_mine)?);
            if is_mine {
                // The caller's index is the first.
                writes.rotate_right(1);
                mine = Some(Box::new(quota.clone()));
            }
        }
        if let Some(change @ Change::Remove { old }) = &self.change {
            let key = place.store_key(&place.short_key(&self.namespace, name(old)));
            writes.insert(0, Write::Delete { key, expected: change.expected(&before)? });
        }
        writes.push(if quotas.is_empty() {
            guard.removed(&self.namespace)
        } else {
            Guard::changed(Some(guard), &self.namespace, as_of_secs, None)?
        });
        let own = writes.len();
        writes.extend(self.beside.iter().cloned());
        let storage = self.resources.inner.cache.storage();
        Ok(match storage.commit(writes).await.map_err(|err| api_error(&err))? {
            Outcome::Committed { revision } => Some(Settled::Done { revision, quota: mine }),
            Outcome::Refused { index: 0, current } if self.change.is_some() => Some(Settled::Refused { current }),
            Outcome::Refused { index, .. } if index >= own => Some(Settled::Unconditioned),
            Outcome::Refused { .. } => None,
        })
    }

    /// A quota may be one too many itself.
    fn check(&self, quotas: &[ResourceQuota], as_of_secs: i64) -> Result<(), ApiError> {
        let Some(Change::Make(new)) = &self.change else { return Ok(()) };
        let change = reckoning::Change { group: "", plural: PLURAL, subresource: "", old: None, new: Some(&**new) };
        let refused = |why| ApiError::forbidden("", PLURAL, name(new), why);
        reckoning::charges(&change, quotas, as_of_secs).map(drop).map_err(refused)
    }

    /// The quotas of the namespace as they are to be.
    fn changed(&self, mut quotas: Vec<ResourceQuota>) -> Vec<ResourceQuota> {
        match &self.change {
            None => {}
            Some(Change::Make(new)) => quotas.push(ResourceQuota::clone(new)),
            Some(Change::Put { new, .. }) => {
                quotas.retain(|other| name(other) != name(new));
                quotas.push(ResourceQuota::clone(new));
            }
            Some(Change::Remove { old }) => quotas.retain(|other| name(other) != name(old)),
        }
        quotas
    }

    fn is_mine(&self, quota: &ResourceQuota) -> bool {
        match &self.change {
            Some(Change::Make(mine) | Change::Put { new: mine, .. }) => name(mine) == name(quota),
            Some(Change::Remove { .. }) | None => false,
        }
    }

    fn write(
        &self,
        place: &Place<'_>,
        quota: &mut ResourceQuota,
        before: &[ResourceQuota],
        is_mine: bool,
    ) -> Result<Write, ApiError> {
        let (key, ttl_secs) = (place.store_key(&place.short_key(&self.namespace, name(quota))), None);
        let expected = match self.change.as_ref().filter(|_| is_mine) {
            Some(Change::Make(_)) => {
                let Encoded { value, .. } = Encoded::builtin(quota)?;
                return Ok(Write::Create { key, value, ttl_secs });
            }
            Some(change) => change.expected(before)?,
            None => revision(quota)?,
        };
        let Encoded { value, .. } = Encoded::builtin(quota)?;
        Ok(Write::Update { key, value, expected, ttl_secs })
    }
}

//! What a write of a counted object commits beside itself.

use std::collections::BTreeMap;

use corten_api::ApiError;
use k8s_openapi::api::core::v1::ResourceQuota;

use super::guard::Guard;
use super::{Latest, Turn};
use super::{PLURAL, name, quota, revision};
use crate::admission::resource_quota::{Change, Charge, charges, may_change};
use crate::registry::AnyObject;
use crate::resources::Resources;
use crate::resources::encode::Encoded;
use crate::resources::place::Place;
use crate::storage::{Stored, Write};

/// Commits that others' charges made vain; upstream gives up after three.
const LOSSES_MAX: u32 = 40;
/// Looks at quotas that are changed again and again.
const LOOKS_MAX: u32 = 100;

/// One write, through all its tries.
pub(in crate::resources) struct Charger<'a> {
    resources: &'a Resources,
    place: &'a Place<'a>,
    /// Empty: what is in no namespace is in no quota.
    namespace: &'a str,
    subresource: &'a str,
    is_dry_run: bool,
    /// Whether the cache was asked for the newest since the write began: it is refused for nothing older.
    is_fresh: bool,
    turn: Option<Turn>,
    /// As they are to be, in the order of their writes, which stand behind the guard's.
    charged: Vec<ResourceQuota>,
    losses: u32,
}

impl<'a> Charger<'a> {
    pub(in crate::resources) fn new(
        resources: &'a Resources,
        place: &'a Place<'a>,
        namespace: &'a str,
        subresource: &'a str,
        is_dry_run: bool,
    ) -> Self {
        let (is_fresh, turn, charged, losses) = (false, None, Vec::new(), 0);
        Self { resources, place, namespace, subresource, is_dry_run, is_fresh, turn, charged, losses }
    }

    /// What must be written with an object that is `old` and becomes `new`, or the refusal of that. To be asked again for each
    /// try.
    pub(in crate::resources) async fn charge(
        &mut self,
        old: Option<&dyn AnyObject>,
        new: Option<&dyn AnyObject>,
    ) -> Result<Vec<Write>, ApiError> {
        let (group, plural) = (self.place.resource.group(), self.place.resource.plural());
        self.charged.clear();
        let is_quota = old.and_then(quota).is_some() && new.and_then(quota).is_some();
        if self.namespace.is_empty() || !is_quota && !may_change(group, plural, old.is_some() && new.is_some()) {
            return Ok(Vec::new());
        }
        for _ in 0..LOOKS_MAX {
            let cache = &self.resources.inner.cache;
            let Some(guard) = Guard::of(cache, self.namespace)? else {
                return Ok(vec![Guard::condition(None, self.namespace)]);
            };
            if guard.counting.is_some() {
                self.turn = None;
                self.resources.wait_for_count(self.namespace, &guard).await?;
                continue;
            }
            if is_quota {
                return Ok(vec![Guard::changed(Some(&guard), self.namespace, guard.as_of_secs, None)?]);
            }
            cache.wait_for(guard.revision).await?;
            let change = Change { group, plural, subresource: self.subresource, old, new };
            let quotas = self.quotas()?;
            match charges(&change, &quotas, guard.as_of_secs) {
                Ok(charges) if charges.is_empty() => {
                    self.turn = None;
                    return Ok(vec![Guard::condition(Some(&guard), self.namespace)]);
                }
                Ok(charges) if self.turn.is_some() || self.is_dry_run => {
                    return self.writes(&guard, &quotas, charges);
                }
                Ok(_) => self.turn = Some(self.resources.inner.quotas.take(self.namespace).await?),
                Err(why) if self.is_fresh => {
                    let name = new.or(old).and_then(|object| object.meta().name.as_deref()).unwrap_or_default();
                    return Err(ApiError::forbidden(group, plural, name, why));
                }
                // What is used may just have been given back.
                Err(_) => self.refresh().await?,
            }
        }
        Err(too_busy())
    }

    /// The quotas of the namespace, the newest that is known of each.
    fn quotas(&self) -> Result<Vec<ResourceQuota>, ApiError> {
        let none = Latest::new();
        let latest = self.turn.as_deref().unwrap_or(&none);
        let newest = |cached: ResourceQuota| match latest.get(name(&cached)) {
            Some(known) if revision(known)? > revision(&cached)? => Ok(known.clone()),
            Some(_) | None => Ok(cached),
        };
        self.resources.quotas_of(self.namespace)?.into_iter().map(newest).collect()
    }

    fn writes(
        &mut self,
        guard: &Guard,
        quotas: &[ResourceQuota],
        charges: Vec<Charge>,
    ) -> Result<Vec<Write>, ApiError> {
        let by_name: BTreeMap<&str, &ResourceQuota> = quotas.iter().map(|quota| (name(quota), quota)).collect();
        let place = &self.resources.builtin("", "v1", PLURAL)?;
        let mut writes = vec![Guard::condition(Some(guard), self.namespace)];
        for Charge { quota, used } in charges {
            let before = by_name.get(quota.as_str()).ok_or_else(|| ApiError::internal("a charge of no quota"))?;
            let expected = revision(before)?;
            let mut after = ResourceQuota::clone(before);
            after.status.get_or_insert_default().used = Some(used);
            let Encoded { value, .. } = Encoded::builtin(&mut after)?;
            let key = place.store_key(&place.short_key(self.namespace, &quota));
            writes.push(Write::Update { key, value, expected, ttl_secs: None });
            self.charged.push(after);
        }
        Ok(writes)
    }

    /// The write waits for somebody: others may charge meanwhile.
    pub(in crate::resources) fn steps_aside(&mut self) {
        self.turn = None;
    }

    /// It was committed.
    pub(in crate::resources) fn done(&mut self, revision: i64) {
        let Some(mut turn) = self.turn.take() else { return };
        for mut quota in self.charged.drain(..) {
            quota.metadata.resource_version = Some(revision.to_string());
            turn.insert(name(&quota).to_owned(), quota);
        }
    }

    /// The condition of one of its writes did not hold: its key holds `current`. An error: that was once too often.
    pub(in crate::resources) async fn refused(
        &mut self,
        index: usize,
        current: Option<Stored>,
    ) -> Result<(), ApiError> {
        self.losses += 1;
        if self.losses > LOSSES_MAX {
            return Err(too_busy());
        }
        let charged = index.checked_sub(1).and_then(|at| self.charged.get(at));
        if let (Some(quota), Some(stored), Some(turn)) = (charged, current, self.turn.as_mut()) {
            let mut newer: ResourceQuota = serde_json::from_slice(&stored.value).map_err(ApiError::internal)?;
            newer.metadata.resource_version = Some(stored.revision.to_string());
            turn.insert(name(quota).to_owned(), newer);
            return Ok(());
        }
        // Which quotas there are has changed.
        self.refresh().await
    }

    /// Nobody waits for the store behind this write.
    async fn refresh(&mut self) -> Result<(), ApiError> {
        self.turn = None;
        self.resources.inner.cache.catch_up().await?;
        self.is_fresh = true;
        Ok(())
    }
}

fn too_busy() -> ApiError {
    let why = "the resource quotas of the namespace are being changed by too many others, please try again";
    ApiError::too_many_requests(why, 1)
}

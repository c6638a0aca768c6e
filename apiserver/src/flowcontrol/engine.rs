//! A configuration at work: its levels with their queues, its schemas with their counters.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use super::allocation::{Claim, allocate, limits, target};
use super::configuration::{Configuration, FlowSchema, PriorityLevel};
use super::level::Level;
use super::metrics::{Metrics, SchemaMetrics};
use super::uids::Uids;

#[derive(Debug)]
pub(super) struct Engine {
    pub(super) configuration: Configuration,
    /// In the configuration's order, as are the schemas.
    pub(super) levels: Vec<Arc<Level>>,
    pub(super) schemas: Vec<Arc<Schema>>,
    /// Levels that are configured no more and still have requests. They keep their share until the last of them is done.
    leaving: Vec<(PriorityLevel, Arc<Level>)>,
}

#[derive(Debug)]
pub(super) struct Schema {
    pub(super) name: Arc<str>,
    /// The index of its level.
    pub(super) level: usize,
    pub(super) metrics: SchemaMetrics,
    pub(super) uids: Uids,
}

impl Engine {
    pub(super) fn new(
        configuration: Configuration,
        seats: u32,
        metrics: &Metrics,
        now: Duration,
        before: Option<&Self>,
    ) -> Self {
        let names: HashSet<&str> = configuration.levels().iter().map(|level| &*level.name).collect();
        let there: HashMap<&str, &Arc<Level>> =
            before.into_iter().flat_map(Self::all).map(|(level, at_work)| (&*level.name, at_work)).collect();
        let gone = before.into_iter().flat_map(Self::all).filter(|(level, _)| !names.contains(&*level.name));
        let (idle, busy): (Vec<_>, Vec<_>) = gone.partition(|(_, at_work)| at_work.is_idle());
        let leaving: Vec<_> = busy.into_iter().map(|(level, at_work)| (level.clone(), at_work.clone())).collect();
        let wanted: Vec<&PriorityLevel> = configuration.levels().iter().chain(leaving.iter().map(|l| &l.0)).collect();
        let mut at_work: Vec<Arc<Level>> = wanted
            .iter()
            .zip(limits(seats, &wanted))
            .map(|(level, limits)| match there.get(&*level.name).copied() {
                Some(kept) => {
                    kept.configure(&level.enablement, limits, now);
                    kept.clone()
                }
                None => Arc::new(Level::new(level.name.clone(), &level.enablement, limits, metrics, now)),
            })
            .collect();
        at_work.truncate(configuration.levels().len());
        let schemas = schemas(&configuration, metrics);
        if let Some(before) = before {
            idle.iter().for_each(|(level, _)| metrics.forget_level(&level.name));
            before.forget_schemas_but(&configuration, metrics);
        }
        Self { schemas, levels: at_work, leaving, configuration }
    }

    /// Those that are configured, and those that were.
    pub(super) fn all(&self) -> impl Iterator<Item = (&PriorityLevel, &Arc<Level>)> {
        let leaving = self.leaving.iter().map(|(level, at_work)| (level, at_work));
        self.configuration.levels().iter().zip(&self.levels).chain(leaving)
    }
    pub(super) fn is_leaving(&self, level: &Level) -> bool {
        self.leaving.iter().any(|(_, leaving)| std::ptr::eq(&**leaving, level))
    }
    /// Whether there is a level that is to go and has nothing more to do.
    pub(super) fn has_left(&self) -> bool {
        self.leaving.iter().any(|(_, level)| level.is_idle())
    }

    fn forget_schemas_but(&self, configuration: &Configuration, metrics: &Metrics) {
        let of = |schema: &FlowSchema| (schema.priority_level.clone(), schema.name.clone());
        let kept: HashSet<_> = configuration.schemas().iter().map(of).collect();
        for (level, schema) in self.configuration.schemas().iter().map(of).filter(|key| !kept.contains(key)) {
            metrics.forget_schema(&level, &schema);
        }
    }

    /// How many wait, at all levels.
    #[cfg(test)]
    pub(super) fn waiting(&self) -> u32 {
        self.all().map(|(_, level)| level.waiting()).sum()
    }

    /// Moves seats to where they are wanted.
    pub(super) fn adjust(&self, seats: u32, now: Duration, metrics: &Metrics) {
        let levels: Vec<&Arc<Level>> = self.all().map(|(_, level)| level).collect();
        let claims: Vec<Claim> = levels.iter().map(|level| level.claim(now)).collect();
        // Limits are rounded up: what they sum to is shared, so that idle levels have at least their own.
        let total = claims.iter().map(|c| c.limits.nominal).sum::<u32>().max(seats);
        let (limits, fair) = allocate(total, &claims);
        metrics.adjusted(fair);
        for ((level, limit), claim) in levels.into_iter().zip(limits).zip(&claims) {
            level.set_limit(limit, claim, target(claim), now);
        }
    }
}

fn schemas(configuration: &Configuration, metrics: &Metrics) -> Vec<Arc<Schema>> {
    let levels = configuration.levels();
    let indexes: HashMap<&str, usize> = levels.iter().enumerate().map(|(i, level)| (&*level.name, i)).collect();
    let schema = |schema: &FlowSchema| {
        let metrics = metrics.of_schema(&schema.priority_level, &schema.name);
        // The configuration has checked that it is there.
        let level = indexes.get(&*schema.priority_level).copied().unwrap_or(0);
        let uids = Uids::new(&schema.uid, levels.get(level).map_or("", |level| &*level.uid));
        Arc::new(Schema { name: schema.name.clone(), level, metrics, uids })
    };
    configuration.schemas().iter().map(schema).collect()
}

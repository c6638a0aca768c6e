//! A profile: the plugins by which pods of one `schedulerName` are placed, and how much each counts.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::framework::Plugin;
use crate::plugins;
use crate::pod::PodClass;

/// As upstream's, and enough for three times the plugins that there are: refusals are kept as a set of bits.
pub const PLUGINS_MAX: usize = 64;
/// Fewer nodes than this are always all looked at.
const NODES_TO_FIND_MIN: usize = 100;

/// One plugin, and what it is asked for.
#[derive(Clone, Debug)]
pub struct Enabled {
    pub plugin: Arc<dyn Plugin>,
    pub filters: bool,
    pub scores: bool,
    pub weight: i64,
}

#[derive(Clone, Debug)]
pub struct Profile {
    /// In the order in which they are asked.
    pub plugins: Vec<Enabled>,
    /// Makes room for pods that fit nowhere; `None`: it is disabled.
    pub preemption: Option<Preemption>,
    /// Looks no further when so many nodes will do; 0: as the size of the cluster says.
    pub percentage_of_nodes_to_score: usize,
}

/// How many nodes are looked at for victims: at least so many, and at least so many of a hundred.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Preemption {
    pub min_candidate_nodes_percentage: usize,
    pub min_candidate_nodes_absolute: usize,
}

impl Default for Preemption {
    fn default() -> Self {
        Self { min_candidate_nodes_percentage: 10, min_candidate_nodes_absolute: 100 }
    }
}

impl Preemption {
    pub fn candidates(&self, nodes: usize) -> usize {
        (nodes * self.min_candidate_nodes_percentage / 100).max(self.min_candidate_nodes_absolute).min(nodes)
    }
}

impl Default for Profile {
    fn default() -> Self {
        Self { plugins: defaults(), preemption: Some(Preemption::default()), percentage_of_nodes_to_score: 0 }
    }
}

/// All plugins, with the weights that they have where nobody says another.
pub fn defaults() -> Vec<Enabled> {
    let enable =
        |(plugin, weight): (Arc<dyn Plugin>, i64)| Enabled { plugin, filters: true, scores: weight > 0, weight };
    plugins::all().into_iter().map(enable).collect()
}

impl Profile {
    /// Why pods of this class are not to be looked at yet.
    pub fn pre_enqueue(&self, class: &PodClass) -> Result<(), String> {
        self.plugins.iter().try_for_each(|enabled| enabled.plugin.pre_enqueue(class))
    }

    /// How many nodes that will do are enough, of `nodes` in all.
    /// <https://kubernetes.io/docs/concepts/scheduling-eviction/scheduler-perf-tuning/>
    pub fn nodes_to_find(&self, nodes: usize) -> usize {
        let percentage = match self.percentage_of_nodes_to_score {
            0 => 50_usize.saturating_sub(nodes / 125).max(5),
            percentage => percentage,
        };
        (nodes * percentage / 100).max(NODES_TO_FIND_MIN).min(nodes)
    }
}

/// By `schedulerName`.
pub type Profiles = BTreeMap<String, Profile>;

/// A set of a profile's plugins, by their place in it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PluginBits(u64);

impl PluginBits {
    pub fn insert(&mut self, plugin: usize) {
        self.0 |= 1 << plugin;
    }
    pub fn iter(self) -> impl Iterator<Item = usize> {
        (0..PLUGINS_MAX).filter(move |plugin| self.0 & (1 << plugin) != 0)
    }
}

impl FromIterator<usize> for PluginBits {
    fn from_iter<I: IntoIterator<Item = usize>>(plugins: I) -> Self {
        let mut set = Self::default();
        plugins.into_iter().for_each(|plugin| set.insert(plugin));
        set
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_many_nodes_are_enough() {
        let nodes = |percentage, nodes| {
            Profile { percentage_of_nodes_to_score: percentage, ..Profile::default() }.nodes_to_find(nodes)
        };
        for (why, percentage, of, expected) in [
            ("few: all", 0, 90, 90),
            ("at least a hundred", 0, 150, 100),
            ("by the size of the cluster", 0, 1000, 420),
            ("a large one", 0, 5000, 500),
            ("at least a twentieth", 0, 20_000, 1000),
            ("as it was set", 30, 5000, 1500),
            ("all", 100, 5000, 5000),
            ("as it was set, but a hundred", 1, 5000, 100),
        ] {
            assert_eq!(nodes(percentage, of), expected, "{why}");
        }
    }

    #[test]
    fn candidates_of_preemption() {
        let default = Preemption::default();
        assert_eq!([50, 500, 5000].map(|n| default.candidates(n)), [50, 100, 500]);
    }

    #[test]
    fn a_set_of_plugins() {
        let set: PluginBits = [0, 3, 63, 3].into_iter().collect();
        assert_eq!(set.iter().collect::<Vec<_>>(), [0, 3, 63]);
        assert_eq!(PluginBits::default().iter().count(), 0);
    }
}

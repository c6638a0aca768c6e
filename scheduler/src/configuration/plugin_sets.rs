//! `plugins` of a profile: which are enabled at which extension point, and with which weight.

use serde::Deserialize;

use super::Invalid;
use super::args::Configured;
use crate::plugins::DEFAULT_PREEMPTION;
use crate::profile::{Enabled, PLUGINS_MAX, Profile};

/// Of upstream's default plugins those that this scheduler always or never has: they can be named, not changed.
const ALWAYS: [&str; 2] = ["PrioritySort", "DefaultBinder"];
const NOT_YET: [&str; 1] = ["DynamicResources"];

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(super) struct Plugins {
    multi_point: PluginSet,
    pre_enqueue: PluginSet,
    queue_sort: PluginSet,
    pre_filter: PluginSet,
    filter: PluginSet,
    post_filter: PluginSet,
    pre_score: PluginSet,
    score: PluginSet,
    reserve: PluginSet,
    permit: PluginSet,
    pre_bind: PluginSet,
    bind: PluginSet,
    post_bind: PluginSet,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct PluginSet {
    enabled: Vec<Named>,
    disabled: Vec<Named>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Named {
    name: String,
    weight: Option<i64>,
}

impl PluginSet {
    fn disables(&self, name: &str) -> bool {
        self.disabled.iter().any(|d| d.name == name || d.name == "*")
    }
    fn enabled(&self, name: &str) -> Option<&Named> {
        self.enabled.iter().find(|e| e.name == name)
    }
}

impl Plugins {
    pub(super) fn apply(&self, path: &str, configured: Configured) -> Result<Profile, Invalid> {
        self.check(path, &configured)?;
        let mut profile = Profile { plugins: Vec::new(), preemption: None, percentage_of_nodes_to_score: 0 };
        for (plugin, default_weight) in configured.plugins {
            let name = plugin.name();
            let everywhere = self.is_everywhere(name);
            let at = |sets: &[&PluginSet]| {
                sets.iter().any(|s| s.enabled(name).is_some()) || everywhere && !sets.iter().any(|s| s.disables(name))
            };
            let weight = self.weight(name, default_weight);
            let enabled = Enabled {
                filters: if name == "SchedulingGates" {
                    at(&[&self.pre_enqueue])
                } else {
                    at(&[&self.pre_filter, &self.filter])
                },
                scores: default_weight > 0 && at(&[&self.pre_score, &self.score]),
                plugin,
                weight,
            };
            if enabled.filters || enabled.scores {
                profile.plugins.push(enabled);
            }
        }
        let everywhere = self.is_everywhere(DEFAULT_PREEMPTION);
        let point = &self.post_filter;
        let preempts = point.enabled(DEFAULT_PREEMPTION).is_some() || everywhere && !point.disables(DEFAULT_PREEMPTION);
        profile.preemption = preempts.then_some(configured.preemption);
        Ok(profile)
    }

    fn is_everywhere(&self, name: &str) -> bool {
        self.multi_point.enabled(name).is_some() || !self.multi_point.disables(name)
    }

    /// A plugin that is enabled by name has the weight that is given there, or 1.
    fn weight(&self, name: &str, default: i64) -> i64 {
        let given = [&self.score, &self.pre_score, &self.multi_point].into_iter().find_map(|set| set.enabled(name));
        match given {
            Some(named) => named.weight.filter(|w| *w != 0).unwrap_or(1),
            None => default,
        }
    }

    fn check(&self, path: &str, configured: &Configured) -> Result<(), Invalid> {
        let known: Vec<&str> = configured.plugins.iter().map(|(plugin, _)| plugin.name()).collect();
        for (point, set, mine) in self.points() {
            let field = format!("{path}.{point}");
            for (at, named) in set.enabled.iter().enumerate() {
                let at = format!("{field}.enabled[{at}]");
                let name = named.name.as_str();
                if NOT_YET.contains(&name) {
                    return Err(Invalid::new(at, format!("{name} is not supported by this scheduler yet")));
                }
                let is_known = known.contains(&name) || name == DEFAULT_PREEMPTION || ALWAYS.contains(&name);
                if !is_known {
                    return Err(Invalid::new(at, format!("there is no plugin {name:?}")));
                }
                if !mine.is_none_or(|mine| mine.contains(&name)) {
                    return Err(Invalid::new(at, format!("{name} does nothing at this extension point")));
                }
                if named.weight.is_some_and(|w| !(0..=i64::from(i32::MAX) / 100 / PLUGINS_MAX as i64).contains(&w)) {
                    return Err(Invalid::new(format!("{at}.weight"), "not in valid range"));
                }
                if set.enabled.iter().filter(|other| other.name == name).count() > 1 {
                    return Err(Invalid::new(at, format!("Duplicate value: {name:?}")));
                }
            }
            for (at, named) in set.disabled.iter().enumerate() {
                let at = format!("{field}.disabled[{at}]");
                let name = named.name.as_str();
                let again = |always: &&str| set.enabled(always).is_some() || self.multi_point.enabled(always).is_some();
                let missing = ALWAYS.iter().find(|always| (name == **always || name == "*") && !again(always));
                if let Some(always) = missing.filter(|_| matches!(point, "multiPoint" | "queueSort" | "bind")) {
                    return Err(Invalid::new(
                        at,
                        format!("{always} cannot be disabled: there is no other to do its work"),
                    ));
                }
                let is_known = known.contains(&name)
                    || NOT_YET.contains(&name)
                    || ALWAYS.contains(&name)
                    || matches!(name, "*" | DEFAULT_PREEMPTION);
                if !is_known {
                    return Err(Invalid::new(at, format!("there is no plugin {name:?}")));
                }
            }
        }
        Ok(())
    }

    /// Each extension point, with the plugins that do anything there; `None`: any.
    fn points(&self) -> [(&'static str, &PluginSet, Option<&'static [&'static str]>); 13] {
        const SCORING: &[&str] = &[
            "TaintToleration",
            "NodeAffinity",
            "NodeResourcesFit",
            "PodTopologySpread",
            "InterPodAffinity",
            "NodeResourcesBalancedAllocation",
            "ImageLocality",
        ];
        const FILTERING: &[&str] = &[
            "NodeUnschedulable",
            "NodeName",
            "TaintToleration",
            "NodeAffinity",
            "NodePorts",
            "NodeResourcesFit",
            "VolumeRestrictions",
            "NodeVolumeLimits",
            "VolumeBinding",
            "VolumeZone",
            "PodTopologySpread",
            "InterPodAffinity",
        ];
        [
            ("multiPoint", &self.multi_point, None),
            ("preEnqueue", &self.pre_enqueue, Some(&["SchedulingGates"])),
            ("queueSort", &self.queue_sort, Some(&["PrioritySort"])),
            ("preFilter", &self.pre_filter, Some(FILTERING)),
            ("filter", &self.filter, Some(FILTERING)),
            ("postFilter", &self.post_filter, Some(&[DEFAULT_PREEMPTION])),
            ("preScore", &self.pre_score, Some(SCORING)),
            ("score", &self.score, Some(SCORING)),
            ("reserve", &self.reserve, Some(&[])),
            ("permit", &self.permit, Some(&[])),
            ("preBind", &self.pre_bind, Some(&[])),
            ("bind", &self.bind, Some(&["DefaultBinder"])),
            ("postBind", &self.post_bind, Some(&[])),
        ]
    }
}

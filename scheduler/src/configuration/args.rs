//! `pluginConfig` of a profile: the arguments of its plugins.

use std::sync::Arc;

use corten_api::names;
use k8s_openapi::api::core::v1::{NodeAffinity as Affinity, TopologySpreadConstraint};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{Invalid, strict};
use crate::framework::Plugin;
use crate::plugins::inter_pod_affinity::InterPodAffinity;
use crate::plugins::node_affinity::NodeAffinity;
use crate::plugins::node_resources_balanced_allocation::NodeResourcesBalancedAllocation;
use crate::plugins::node_resources_fit::NodeResourcesFit;
use crate::plugins::node_resources_fit::strategy::{Kind, MAX_SHAPE_SCORE, Strategy, Weighted, default_resources};
use crate::plugins::pod_topology_spread::PodTopologySpread;
use crate::plugins::{self, DEFAULT_PREEMPTION};
use crate::profile::Preemption;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PluginConfig {
    name: String,
    #[serde(default)]
    args: Value,
}

/// All plugins with their arguments, and with the weights that they have by default.
pub(super) struct Configured {
    pub(super) plugins: Vec<(Arc<dyn Plugin>, i64)>,
    pub(super) preemption: Preemption,
}

pub(super) fn configured(path: &str, given: Vec<PluginConfig>) -> Result<Configured, Invalid> {
    let mut all = Configured { plugins: plugins::all(), preemption: Preemption::default() };
    let mut seen: Vec<String> = Vec::new();
    for (at, PluginConfig { name, args }) in given.into_iter().enumerate() {
        let path = format!("{path}[{at}]");
        if seen.contains(&name) {
            return Err(Invalid::new(format!("{path}.name"), format!("Duplicate value: {name:?}")));
        }
        let args = Args { path: format!("{path}.args"), name: &name, args };
        let plugin: Arc<dyn Plugin> = match name.as_str() {
            DEFAULT_PREEMPTION => {
                all.preemption = preemption(&args)?;
                seen.push(name);
                continue;
            }
            "InterPodAffinity" => Arc::new(inter_pod_affinity(&args)?),
            "NodeAffinity" => Arc::new(node_affinity(&args)?),
            "NodeResourcesFit" => Arc::new(fit(&args)?),
            "NodeResourcesBalancedAllocation" => Arc::new(balanced(&args)?),
            "PodTopologySpread" => Arc::new(spread(&args)?),
            _ => return Err(Invalid::new(format!("{path}.name"), format!("{name:?} takes no arguments here"))),
        };
        if let Some(default) = all.plugins.iter_mut().find(|(known, _)| known.name() == name) {
            default.0 = plugin;
        }
        seen.push(name);
    }
    Ok(all)
}

/// What was given for one plugin.
struct Args<'a> {
    path: String,
    name: &'a str,
    args: Value,
}

impl Args<'_> {
    fn read<T: DeserializeOwned + Default>(&self) -> Result<T, Invalid> {
        let mut args = self.args.clone();
        let Some(fields) = args.as_object_mut() else {
            return if args.is_null() { Ok(T::default()) } else { Err(Invalid::new(&*self.path, "must be an object")) };
        };
        for (field, expected) in [("apiVersion", super::API_VERSION.to_owned()), ("kind", format!("{}Args", self.name))]
        {
            if fields.remove(field).is_some_and(|given| given != Value::String(expected.clone())) {
                return Err(self.invalid(field, format!("must be {expected}")));
            }
        }
        serde_json::from_value(args).map_err(|err| Invalid::new(&*self.path, err.to_string()))
    }
    fn invalid(&self, field: &str, why: impl Into<String>) -> Invalid {
        Invalid::new(format!("{}.{field}", self.path), why)
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct DefaultPreemptionArgs {
    min_candidate_nodes_percentage: Option<i64>,
    min_candidate_nodes_absolute: Option<i64>,
}

fn preemption(args: &Args<'_>) -> Result<Preemption, Invalid> {
    let read: DefaultPreemptionArgs = args.read()?;
    let default = Preemption::default();
    let number = |field: &str, given: Option<i64>, or: usize, max: usize| match given.map(usize::try_from) {
        None => Ok(or),
        Some(Ok(n)) if n <= max => Ok(n),
        Some(_) if max == usize::MAX => Err(args.invalid(field, "not in valid range [0, inf)")),
        Some(_) => Err(args.invalid(field, format!("not in valid range [0, {max}]"))),
    };
    let (percentage, absolute) = ("minCandidateNodesPercentage", "minCandidateNodesAbsolute");
    let settings = Preemption {
        min_candidate_nodes_percentage: number(
            percentage,
            read.min_candidate_nodes_percentage,
            default.min_candidate_nodes_percentage,
            100,
        )?,
        min_candidate_nodes_absolute: number(
            absolute,
            read.min_candidate_nodes_absolute,
            default.min_candidate_nodes_absolute,
            usize::MAX,
        )?,
    };
    if settings.min_candidate_nodes_percentage == 0 && settings.min_candidate_nodes_absolute == 0 {
        return Err(args.invalid(percentage, format!("cannot be zero at the same time as {absolute}")));
    }
    Ok(settings)
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct InterPodAffinityArgs {
    hard_pod_affinity_weight: Option<i64>,
    ignore_preferred_terms_of_existing_pods: bool,
}

fn inter_pod_affinity(args: &Args<'_>) -> Result<InterPodAffinity, Invalid> {
    let read: InterPodAffinityArgs = args.read()?;
    let weight = read.hard_pod_affinity_weight.unwrap_or(InterPodAffinity::default().hard_pod_affinity_weight);
    if !(0..=100).contains(&weight) {
        return Err(args.invalid("hardPodAffinityWeight", "not in valid range [0, 100]"));
    }
    let ignore_preferred_terms_of_existing_pods = read.ignore_preferred_terms_of_existing_pods;
    Ok(InterPodAffinity { hard_pod_affinity_weight: weight, ignore_preferred_terms_of_existing_pods })
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct NodeAffinityArgs {
    added_affinity: Option<Value>,
}

fn node_affinity(args: &Args<'_>) -> Result<NodeAffinity, Invalid> {
    let read: NodeAffinityArgs = args.read()?;
    let at = |(rest, why): (String, String)| args.invalid(&format!("addedAffinity{rest}"), why);
    let added: Affinity =
        read.added_affinity.map(|given| strict::read(&given)).transpose().map_err(at)?.unwrap_or_default();
    strict::check_affinity(&added).map_err(at)?;
    Ok(NodeAffinity { added })
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct NodeResourcesFitArgs {
    ignored_resources: Vec<String>,
    ignored_resource_groups: Vec<String>,
    scoring_strategy: Option<ScoringStrategy>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ScoringStrategy {
    #[serde(rename = "type")]
    kind: Option<String>,
    #[serde(default)]
    resources: Vec<ResourceSpec>,
    requested_to_capacity_ratio: Option<Ratio>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ResourceSpec {
    name: String,
    weight: Option<i64>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Ratio {
    #[serde(default)]
    shape: Vec<ShapePoint>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ShapePoint {
    utilization: i64,
    score: i64,
}

fn fit(args: &Args<'_>) -> Result<NodeResourcesFit, Invalid> {
    let read: NodeResourcesFitArgs = args.read()?;
    for (at, name) in read.ignored_resources.iter().enumerate() {
        if !names::is_qualified_name(name) {
            return Err(args.invalid(&format!("ignoredResources[{at}]"), names::QUALIFIED_NAME_WHY));
        }
    }
    for (at, group) in read.ignored_resource_groups.iter().enumerate() {
        if group.contains('/') || !names::is_qualified_name(group) {
            let why = "resource group name can't contain '/', and must be a qualified name";
            return Err(args.invalid(&format!("ignoredResourceGroups[{at}]"), why));
        }
    }
    let strategy = read.scoring_strategy.map(|given| strategy(args, given)).transpose()?.unwrap_or_default();
    let (ignored_resources, ignored_resource_groups) = (read.ignored_resources, read.ignored_resource_groups);
    Ok(NodeResourcesFit { ignored_resources, ignored_resource_groups, strategy })
}

fn strategy(args: &Args<'_>, given: ScoringStrategy) -> Result<Strategy, Invalid> {
    let shape = given.requested_to_capacity_ratio.map(|ratio| ratio.shape);
    let kind = match given.kind.as_deref() {
        None | Some("LeastAllocated") => Kind::LeastAllocated,
        Some("MostAllocated") => Kind::MostAllocated,
        Some("RequestedToCapacityRatio") => {
            let shape: Vec<(i64, i64)> = shape.iter().flatten().map(|point| (point.utilization, point.score)).collect();
            check_shape(args, &shape)?;
            Kind::RequestedToCapacityRatio(shape)
        }
        Some(other) => {
            let why = format!(
                "Unsupported value: {other:?}: supported values: \"LeastAllocated\", \"MostAllocated\", \"RequestedToCapacityRatio\""
            );
            return Err(args.invalid("scoringStrategy.type", why));
        }
    };
    if shape.is_some() && !matches!(kind, Kind::RequestedToCapacityRatio(_)) {
        let why = "is for the type RequestedToCapacityRatio alone";
        return Err(args.invalid("scoringStrategy.requestedToCapacityRatio", why));
    }
    let resources = resources(args, "scoringStrategy.resources", given.resources, 100)?;
    Ok(Strategy { kind, resources })
}

fn check_shape(args: &Args<'_>, shape: &[(i64, i64)]) -> Result<(), Invalid> {
    let field = "scoringStrategy.requestedToCapacityRatio.shape";
    if shape.is_empty() {
        return Err(args.invalid(field, "at least one point must be specified"));
    }
    if !shape.is_sorted_by(|a, b| a.0 < b.0) {
        return Err(args.invalid(field, "utilization values must be sorted in increasing order"));
    }
    if shape.iter().any(|(percent, score)| !(0..=100).contains(percent) || !(0..=MAX_SHAPE_SCORE).contains(score)) {
        let why = format!("utilization must be in [0, 100] and score in [0, {MAX_SHAPE_SCORE}]");
        return Err(args.invalid(field, why));
    }
    Ok(())
}

fn resources(
    args: &Args<'_>,
    field: &str,
    given: Vec<ResourceSpec>,
    weight_max: i64,
) -> Result<Vec<Weighted>, Invalid> {
    let mut all: Vec<Weighted> = Vec::new();
    for (at, ResourceSpec { name, weight }) in given.into_iter().enumerate() {
        let weight = weight.filter(|w| *w != 0).unwrap_or(1);
        if !(1..=weight_max).contains(&weight) {
            return Err(args.invalid(&format!("{field}[{at}].weight"), format!("not in valid range [1, {weight_max}]")));
        }
        if all.iter().any(|known| known.name == name) {
            return Err(args.invalid(&format!("{field}[{at}].name"), format!("Duplicate value: {name:?}")));
        }
        all.push(Weighted { name, weight });
    }
    Ok(if all.is_empty() { default_resources() } else { all })
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct BalancedAllocationArgs {
    resources: Vec<ResourceSpec>,
}

fn balanced(args: &Args<'_>) -> Result<NodeResourcesBalancedAllocation, Invalid> {
    let read: BalancedAllocationArgs = args.read()?;
    Ok(NodeResourcesBalancedAllocation { resources: resources(args, "resources", read.resources, 1)? })
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct PodTopologySpreadArgs {
    default_constraints: Vec<Value>,
    defaulting_type: Option<String>,
}

fn spread(args: &Args<'_>) -> Result<PodTopologySpread, Invalid> {
    let read: PodTopologySpreadArgs = args.read()?;
    match read.defaulting_type.as_deref() {
        None | Some("System") if read.default_constraints.is_empty() => return Ok(PodTopologySpread::default()),
        None | Some("System") => {
            return Err(args.invalid("defaultingType", "must be List when .defaultConstraints are not empty"));
        }
        Some("List") => {}
        Some(other) => {
            let why = format!("Unsupported value: {other:?}: supported values: \"System\", \"List\"");
            return Err(args.invalid("defaultingType", why));
        }
    }
    let at = |at: usize, (rest, why): (String, String)| args.invalid(&format!("defaultConstraints[{at}]{rest}"), why);
    let read = read.default_constraints.iter().enumerate();
    let defaults: Vec<TopologySpreadConstraint> =
        read.map(|(n, given)| strict::read(given).map_err(|err| at(n, err))).collect::<Result<_, _>>()?;
    for (at, constraint) in defaults.iter().enumerate() {
        let invalid = |field: &str, why: &str| Err(args.invalid(&format!("defaultConstraints[{at}].{field}"), why));
        if constraint.max_skew <= 0 {
            return invalid("maxSkew", "not in valid range (0, inf)");
        }
        if !names::is_qualified_name(&constraint.topology_key) {
            return invalid("topologyKey", names::QUALIFIED_NAME_WHY);
        }
        if !matches!(constraint.when_unsatisfiable.as_str(), "DoNotSchedule" | "ScheduleAnyway") {
            return invalid("whenUnsatisfiable", "supported values: \"DoNotSchedule\", \"ScheduleAnyway\"");
        }
        if constraint.label_selector.is_some() {
            return invalid("labelSelector", "constraint must not define a selector, as they deduced for each pod");
        }
        let same = |other: &TopologySpreadConstraint| {
            other.topology_key == constraint.topology_key && other.when_unsatisfiable == constraint.when_unsatisfiable
        };
        if defaults[..at].iter().any(same) {
            return invalid("topologyKey", "Duplicate value");
        }
    }
    Ok(PodTopologySpread { defaults, system_defaulted: false })
}

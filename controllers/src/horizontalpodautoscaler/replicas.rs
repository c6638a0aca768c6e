//! How many replicas a metric asks for. Pure.
//!
//! <https://kubernetes.io/docs/tasks/run-application/horizontal-pod-autoscale/#algorithm-details>

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};

use super::behavior::rounded;

/// What a pod uses in the time after its start says little of what it will use.
pub const CPU_INITIALIZATION: SignedDuration = SignedDuration::from_mins(5);
/// A pod that becomes unready so soon after its start has never been ready.
pub const INITIAL_READINESS_DELAY: SignedDuration = SignedDuration::from_secs(30);
/// How far usage may be from its target before anything is done, as a share of the target.
pub const TOLERANCE: f64 = 0.1;

/// A pod of the target, as far as it counts.
#[derive(Clone, Debug, PartialEq)]
pub struct PodFacts {
    pub name: String,
    pub deleting: bool,
    pub phase: Phase,
    pub started: Option<Timestamp>,
    /// Its Ready condition: whether it is not False, and since when.
    pub ready: Option<(bool, Timestamp)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    Pending,
    Running,
    Failed,
    Other,
}

/// What a pod used, in thousandths of the metric's unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sample {
    pub milli: i64,
    pub at: Timestamp,
    pub window: SignedDuration,
}

pub type Samples = BTreeMap<String, Sample>;

/// What each pod should use on average.
#[derive(Clone, Debug, PartialEq)]
pub enum Target {
    /// In percent of what the pods request, which is given by pod, in thousandths.
    Utilization { percent: i32, requests: BTreeMap<String, i64> },
    /// In thousandths.
    AverageValue(i64),
}

/// How much above and below its target usage may be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tolerances {
    pub up: f64,
    pub down: f64,
}

impl Default for Tolerances {
    fn default() -> Self {
        Self { up: TOLERANCE, down: TOLERANCE }
    }
}

impl Tolerances {
    pub fn include(self, ratio: f64) -> bool {
        (1.0 - self.down) <= ratio && ratio <= (1.0 + self.up)
    }
}

/// What a metric asks for, and what it was found to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Proposal {
    pub replicas: i32,
    /// In percent of the requests, for such a target.
    pub utilization: Option<i32>,
    /// On average, in thousandths.
    pub average_milli: i64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CalculationError {
    #[error("no pods returned by selector while calculating replica count")]
    NoPods,
    #[error("did not receive metrics for targeted pods (pods might be unready)")]
    NoMetrics,
    #[error("no metrics returned matched known pods")]
    NoRequests,
}

/// What is measured of the pods themselves.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    pub pods: &'a [PodFacts],
    pub samples: &'a Samples,
    pub target: &'a Target,
    /// What the target has now.
    pub current: i32,
    pub tolerances: Tolerances,
    /// The processor's usage is high while a pod starts.
    pub is_cpu: bool,
    pub now: Timestamp,
}

/// For metrics of pods: their resources, or any other number that each of them has.
pub fn of_pods(asked: Asked<'_>) -> Result<Proposal, CalculationError> {
    let Asked { current, tolerances, target, .. } = asked;
    if asked.pods.is_empty() {
        return Err(CalculationError::NoPods);
    }
    let groups = Groups::of(asked);
    let mut used = groups.used.clone();
    if used.is_empty() {
        return Err(CalculationError::NoMetrics);
    }
    let seen = Usage::of(&used, target)?;
    let proposal = |replicas| Proposal { replicas, utilization: seen.utilization, average_milli: seen.average_milli };
    let counts_unready = !groups.unready.is_empty() && seen.ratio > 1.0;
    if !counts_unready && groups.missing.is_empty() {
        let is_near = tolerances.include(seen.ratio);
        let wanted = seen.ratio * count(groups.ready);
        return Ok(proposal(if is_near { current } else { rounded(wanted.ceil()) }));
    }
    // Nothing is known of these. They are taken for what speaks against the change.
    if seen.ratio < 1.0 {
        used.extend(groups.missing.iter().map(|pod| (*pod, target.of_unmeasured(pod))));
    } else if seen.ratio > 1.0 {
        used.extend(groups.missing.iter().map(|pod| (*pod, 0)));
    }
    if counts_unready {
        used.extend(groups.unready.iter().map(|pod| (*pod, 0)));
    }
    let ratio = Usage::of(&used, target)?.ratio;
    let turns = (seen.ratio < 1.0 && ratio > 1.0) || (seen.ratio > 1.0 && ratio < 1.0);
    let wanted = rounded((ratio * count(used.len())).ceil());
    let turns_by_count = (ratio < 1.0 && wanted > current) || (ratio > 1.0 && wanted < current);
    let stays = tolerances.include(ratio) || turns || turns_by_count;
    Ok(proposal(if stays { current } else { wanted }))
}

/// For one number that all replicas together bring to `target_milli`. `ready`: how many are.
pub fn of_value(
    used_milli: i64,
    target_milli: i64,
    current: i32,
    tolerances: Tolerances,
    ready: impl FnOnce() -> Result<usize, CalculationError>,
) -> Result<i32, CalculationError> {
    let ratio = ratio(used_milli, target_milli);
    if current == 0 {
        return Ok(rounded(ratio.ceil()));
    }
    if tolerances.include(ratio) {
        return Ok(current);
    }
    Ok(rounded((ratio * count(ready()?)).ceil()))
}

/// For one number of which each replica takes its share, at best `target_milli`. `current`: the replicas that there are.
/// Returns what is wanted, and each one's share now.
pub fn of_share(used_milli: i64, target_milli: i64, current: i32, tolerances: Tolerances) -> (i32, i64) {
    let used = wide(used_milli);
    let ratio = used / (wide(target_milli) * f64::from(current));
    let replicas = if tolerances.include(ratio) { current } else { rounded((used / wide(target_milli)).ceil()) };
    // Where nobody is there to share it, it is one's.
    (replicas, whole((used / f64::from(current.max(1))).ceil()))
}

/// Those that run and are ready.
pub fn ready(pods: &[PodFacts]) -> Result<usize, CalculationError> {
    if pods.is_empty() {
        return Err(CalculationError::NoPods);
    }
    Ok(pods.iter().filter(|pod| pod.phase == Phase::Running && pod.ready.is_some_and(|(ready, _)| ready)).count())
}

/// The pods by what is known of them.
struct Groups<'a> {
    ready: usize,
    /// By pod, of those that are ready.
    used: BTreeMap<&'a str, i64>,
    unready: Vec<&'a str>,
    missing: Vec<&'a str>,
}

impl<'a> Groups<'a> {
    fn of(asked: Asked<'a>) -> Self {
        let mut groups = Self { ready: 0, used: BTreeMap::new(), unready: Vec::new(), missing: Vec::new() };
        let mut ignored = Vec::new();
        for pod in asked.pods {
            let name = pod.name.as_str();
            if pod.deleting || pod.phase == Phase::Failed {
                ignored.push(name);
            } else if pod.phase == Phase::Pending {
                groups.unready.push(name);
            } else if let Some(sample) = asked.samples.get(name) {
                if asked.is_cpu && is_unready(pod, sample, asked.now) {
                    groups.unready.push(name);
                } else {
                    groups.ready += 1;
                }
            } else {
                groups.missing.push(name);
            }
        }
        let counts = |name: &&str| !ignored.contains(name) && !groups.unready.contains(name);
        let used = asked.samples.iter().map(|(name, sample)| (name.as_str(), sample.milli));
        groups.used = used.filter(|(name, _)| counts(name)).collect();
        groups
    }
}

/// Whether what a pod used is not what it will use.
fn is_unready(pod: &PodFacts, sample: &Sample, now: Timestamp) -> bool {
    let (Some((ready, since)), Some(started)) = (pod.ready, pod.started) else { return true };
    if started + CPU_INITIALIZATION > now {
        return !ready || sample.at < since + sample.window;
    }
    !ready && started + INITIAL_READINESS_DELAY > since
}

struct Usage {
    /// To the target.
    ratio: f64,
    utilization: Option<i32>,
    average_milli: i64,
}

impl Usage {
    fn of(used: &BTreeMap<&str, i64>, target: &Target) -> Result<Self, CalculationError> {
        match target {
            Target::AverageValue(target) => {
                let average_milli = average(used.values().copied()).ok_or(CalculationError::NoMetrics)?;
                Ok(Self { ratio: ratio(average_milli, *target), utilization: None, average_milli })
            }
            Target::Utilization { percent, requests } => {
                let known: Vec<(i64, i64)> =
                    used.iter().filter_map(|(name, used)| Some((*used, *requests.get(*name)?))).collect();
                let requested: i128 = known.iter().map(|(_, requested)| i128::from(*requested)).sum();
                let used: i128 = known.iter().map(|(used, _)| i128::from(*used)).sum();
                if requested == 0 {
                    return Err(CalculationError::NoRequests);
                }
                let utilization = i32::try_from(used * 100 / requested).unwrap_or(i32::MAX);
                let average_milli = average(known.iter().map(|(used, _)| *used)).ok_or(CalculationError::NoRequests)?;
                let ratio = f64::from(utilization) / f64::from(*percent);
                Ok(Self { ratio, utilization: Some(utilization), average_milli })
            }
        }
    }
}

impl Target {
    /// What a pod is taken to use of which nothing is known, where others use too little.
    fn of_unmeasured(&self, pod: &str) -> i64 {
        match self {
            Self::AverageValue(target) => *target,
            Self::Utilization { percent, requests } => {
                let requested = requests.get(pod).copied().unwrap_or(0);
                requested.saturating_mul(i64::from((*percent).max(100))) / 100
            }
        }
    }
}

fn average(values: impl Iterator<Item = i64> + Clone) -> Option<i64> {
    let count = i128::try_from(values.clone().count()).ok().filter(|count| *count > 0)?;
    i64::try_from(values.map(i128::from).sum::<i128>() / count).ok()
}

fn ratio(used: i64, target: i64) -> f64 {
    wide(used) / wide(target)
}

#[expect(clippy::cast_precision_loss, reason = "shares of a target need no more than 52 bits")]
fn wide(value: i64) -> f64 {
    value as f64
}

#[expect(clippy::cast_possible_truncation, reason = "a cast from f64 saturates")]
fn whole(value: f64) -> i64 {
    value as i64
}

#[expect(clippy::cast_precision_loss, reason = "no target has 2^52 pods")]
fn count(pods: usize) -> f64 {
    pods as f64
}

#[cfg(test)]
mod tests;

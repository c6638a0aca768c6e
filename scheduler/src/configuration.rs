//! The configuration file: `KubeSchedulerConfiguration` of `kubescheduler.config.k8s.io/v1`, read strictly. What it may say
//! and this scheduler does not do is refused: nothing in it is ignored.
//!
//! <https://kubernetes.io/docs/reference/scheduling/config/>

mod args;
mod plugin_sets;
mod strict;

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;

use crate::profile::{Profile, Profiles};
use crate::queue::Backoff;
use args::PluginConfig;
use plugin_sets::Plugins;

const API_VERSION: &str = "kubescheduler.config.k8s.io/v1";
const KIND: &str = "KubeSchedulerConfiguration";

/// What the file decides.
#[derive(Clone, Debug)]
pub struct Configuration {
    pub profiles: Profiles,
    pub backoff: Backoff,
}

#[derive(Debug, thiserror::Error)]
pub enum ConfigurationError {
    #[error("cannot read {}", .path.display())]
    Read { path: PathBuf, source: std::io::Error },
    #[error("{} is not a {KIND} of {API_VERSION}", .path.display())]
    Decode { path: PathBuf, source: Box<serde_saphyr::Error> },
    #[error("{}: {invalid}", .path.display())]
    Invalid { path: PathBuf, invalid: Invalid },
}

/// A field that cannot be what it is.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {why}")]
pub struct Invalid {
    pub field: String,
    pub why: String,
}

impl Invalid {
    fn new(field: impl Into<String>, why: impl Into<String>) -> Self {
        Self { field: field.into(), why: why.into() }
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct File {
    api_version: String,
    kind: String,
    leader_election: Option<LeaderElection>,
    percentage_of_nodes_to_score: Option<i64>,
    pod_initial_backoff_seconds: Option<i64>,
    pod_max_backoff_seconds: Option<i64>,
    #[serde(default)]
    profiles: Vec<FileProfile>,
    /// The API's fields that other arguments set here, or that this scheduler has no use for. They are known, so that the
    /// answer is a better one than that there is no such field.
    parallelism: Option<serde_json::Value>,
    client_connection: Option<serde_json::Value>,
    extenders: Option<serde_json::Value>,
    enable_profiling: Option<bool>,
    enable_contention_profiling: Option<bool>,
    delay_cache_until_active: Option<bool>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct LeaderElection {
    leader_elect: Option<bool>,
    resource_lock: Option<String>,
    resource_name: Option<String>,
    resource_namespace: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct FileProfile {
    scheduler_name: Option<String>,
    percentage_of_nodes_to_score: Option<i64>,
    #[serde(default)]
    plugins: Plugins,
    #[serde(default)]
    plugin_config: Vec<PluginConfig>,
}

impl Configuration {
    /// Without a file: the default profile, under this name.
    pub fn named(scheduler_name: &str) -> Self {
        Self { profiles: [(scheduler_name.to_owned(), Profile::default())].into(), backoff: Backoff::default() }
    }

    pub fn read(path: &Path) -> Result<Self, ConfigurationError> {
        let at = || path.to_path_buf();
        let text = std::fs::read_to_string(path).map_err(|source| ConfigurationError::Read { path: at(), source })?;
        let file: File = serde_saphyr::from_str(&text)
            .map_err(|source| ConfigurationError::Decode { path: at(), source: Box::new(source) })?;
        file.check().map_err(|invalid| ConfigurationError::Invalid { path: at(), invalid })
    }
}

impl File {
    fn check(self) -> Result<Configuration, Invalid> {
        if self.api_version != API_VERSION {
            return Err(Invalid::new("apiVersion", format!("must be {API_VERSION}, not {:?}", self.api_version)));
        }
        if self.kind != KIND {
            return Err(Invalid::new("kind", format!("must be {KIND}, not {:?}", self.kind)));
        }
        self.check_unserved()?;
        let backoff = self.backoff()?;
        let everywhere = percentage("percentageOfNodesToScore", self.percentage_of_nodes_to_score)?.unwrap_or(0);
        let mut given = self.profiles;
        if given.is_empty() {
            given.push(FileProfile::default());
        }
        let is_alone = given.len() == 1;
        let mut profiles = Profiles::new();
        for (at, profile) in given.into_iter().enumerate() {
            let path = format!("profiles[{at}]");
            let name = match &profile.scheduler_name {
                Some(name) if !name.is_empty() => name.clone(),
                None if is_alone => "default-scheduler".into(),
                _ => return Err(Invalid::new(format!("{path}.schedulerName"), "Required value")),
            };
            if profiles.contains_key(&name) {
                return Err(Invalid::new(format!("{path}.schedulerName"), format!("Duplicate value: {name:?}")));
            }
            profiles.insert(name, profile.build(&path, everywhere)?);
        }
        Ok(Configuration { profiles, backoff })
    }

    fn check_unserved(&self) -> Result<(), Invalid> {
        let refuse = |is_set: bool, field: &str, why: &str| if is_set { Err(Invalid::new(field, why)) } else { Ok(()) };
        refuse(self.extenders.is_some(), "extenders", "this scheduler has no extenders")?;
        let by_arguments = "the apiservers and how to reach them are arguments of the program";
        refuse(self.client_connection.is_some(), "clientConnection", by_arguments)?;
        refuse(self.parallelism.is_some(), "parallelism", "this scheduler decides in one thread")?;
        let no_profiling = "this scheduler serves no profiles of itself";
        refuse(self.enable_profiling == Some(true), "enableProfiling", no_profiling)?;
        refuse(self.enable_contention_profiling == Some(true), "enableContentionProfiling", no_profiling)?;
        let always = "caches are always filled when a term begins";
        refuse(self.delay_cache_until_active == Some(false), "delayCacheUntilActive", always)?;
        let Some(election) = &self.leader_election else { return Ok(()) };
        refuse(election.leader_elect == Some(false), "leaderElection.leaderElect", "a leader is always elected")?;
        for (field, given, ours) in [
            ("resourceLock", &election.resource_lock, "leases"),
            ("resourceName", &election.resource_name, "kube-scheduler"),
            ("resourceNamespace", &election.resource_namespace, "kube-system"),
        ] {
            let differs = given.as_deref().is_some_and(|given| given != ours);
            refuse(differs, &format!("leaderElection.{field}"), &format!("must be {ours}"))?;
        }
        Ok(())
    }

    fn backoff(&self) -> Result<Backoff, Invalid> {
        let default = Backoff::default();
        let secs = |field: &str, given: Option<i64>, or: Duration| match given.map(u64::try_from) {
            None => Ok(or),
            Some(Ok(secs)) if secs > 0 => Ok(Duration::from_secs(secs)),
            Some(_) => Err(Invalid::new(field, "must be greater than 0")),
        };
        let first = secs("podInitialBackoffSeconds", self.pod_initial_backoff_seconds, default.first)?;
        let max = secs("podMaxBackoffSeconds", self.pod_max_backoff_seconds, default.max)?;
        if max < first {
            return Err(Invalid::new(
                "podMaxBackoffSeconds",
                "must be greater than or equal to podInitialBackoffSeconds",
            ));
        }
        Ok(Backoff { first, max })
    }
}

impl FileProfile {
    fn build(self, path: &str, everywhere: usize) -> Result<Profile, Invalid> {
        let field = format!("{path}.percentageOfNodesToScore");
        let own = percentage(&field, self.percentage_of_nodes_to_score)?;
        let configured = args::configured(&format!("{path}.pluginConfig"), self.plugin_config)?;
        let mut profile = self.plugins.apply(&format!("{path}.plugins"), configured)?;
        profile.percentage_of_nodes_to_score = own.unwrap_or(everywhere);
        Ok(profile)
    }
}

fn percentage(field: &str, given: Option<i64>) -> Result<Option<usize>, Invalid> {
    let Some(given) = given else { return Ok(None) };
    match usize::try_from(given) {
        Ok(percentage) if percentage <= 100 => Ok(Some(percentage)),
        _ => Err(Invalid::new(field, "not in valid range [0-100]")),
    }
}

#[cfg(test)]
mod tests;

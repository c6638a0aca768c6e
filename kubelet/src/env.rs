//! The environment of a container: what its spec says, with every reference looked up and every variable expanded.

mod expand;
pub mod services;

use std::collections::BTreeMap;

use corten_api::names::is_env_var_name;
use k8s_openapi::api::core::v1::{Container, EnvFromSource, EnvVar, EnvVarSource};

use crate::downward::{self, Downward};
use crate::sources::{Missing, Sources};

pub use expand::{ExpandError, PROCESS_BYTES_MAX, Room, expand, expand_path};

/// Why a container cannot be configured: the message of `CreateContainerConfigError`.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum EnvError {
    #[error(transparent)]
    Missing(#[from] Missing),
    #[error(transparent)]
    Field(#[from] downward::FieldError),
    #[error("couldn't find key {key} in {kind} {namespace}/{name}")]
    NoKey { key: String, kind: &'static str, namespace: String, name: String },
    #[error("its environment is too large: {0}")]
    TooLarge(ExpandError),
    #[error("environment variable {name} takes its value from a {what}, which this node cannot read")]
    Unsupported { name: String, what: &'static str },
}

/// Everything the environment is made from.
pub struct EnvInput<'a> {
    pub sources: &'a Sources,
    pub downward: &'a Downward<'a>,
    /// See [`services`]; empty with `enableServiceLinks: false` but for the `kubernetes` Service.
    pub service_variables: BTreeMap<String, String>,
}

/// A finished environment, in the order in which it was first named.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Environment {
    pub variables: Vec<(String, String)>,
    /// Keys of envFrom sources that cannot be names of variables, for the event that says so.
    pub skipped: Vec<String>,
}

/// Later definitions of a name win: Services, then `envFrom`, then `env`.
pub fn environment(container: &Container, input: &EnvInput<'_>) -> Result<Environment, EnvError> {
    let mut list = Variables::default();
    let mut skipped = Vec::new();
    for source in container.env_from.iter().flatten() {
        for (name, value) in env_from(source, input.sources, &mut skipped)? {
            list.put(name, value)?;
        }
    }
    for variable in container.env.iter().flatten() {
        // Variables of Services can be referred to, but stand below all others.
        let visible =
            |name: &str| list.known.get(name).or_else(|| input.service_variables.get(name)).map(String::as_str);
        if let Some(value) = value_of(variable, container, input, visible)? {
            list.put(variable.name.clone(), value)?;
        }
    }
    for (name, value) in &input.service_variables {
        if !list.known.contains_key(name) {
            list.put(name.clone(), value.clone())?;
        }
    }
    let Variables { mut known, order, .. } = list;
    let variables = order.into_iter().filter_map(|name| known.remove(&name).map(|value| (name, value))).collect();
    Ok(Environment { variables, skipped })
}

/// What is known so far.
struct Variables {
    known: BTreeMap<String, String>,
    order: Vec<String>,
    /// Counts all that was ever defined, also what was defined anew: it bounds the work as well.
    room: Room,
}

impl Default for Variables {
    fn default() -> Self {
        Self { known: BTreeMap::new(), order: Vec::new(), room: Room::new(PROCESS_BYTES_MAX) }
    }
}

impl Variables {
    fn put(&mut self, name: String, value: String) -> Result<(), EnvError> {
        self.room.take(variable_bytes(&name, &value)).map_err(EnvError::TooLarge)?;
        if self.known.insert(name.clone(), value).is_none() {
            self.order.push(name);
        }
        Ok(())
    }
}

/// What the kernel counts for an argument or a `NAME=value` of so many bytes: a zero ends it, and a pointer leads to it.
pub fn kernel_bytes(len: usize) -> usize {
    len + 1 + size_of::<usize>()
}

pub fn variable_bytes(name: &str, value: &str) -> usize {
    kernel_bytes(name.len() + 1 + value.len())
}

fn env_from(
    source: &EnvFromSource,
    sources: &Sources,
    skipped: &mut Vec<String>,
) -> Result<Vec<(String, String)>, EnvError> {
    let prefix = source.prefix.as_deref().unwrap_or_default();
    let mut found = Vec::new();
    let mut take = |key: &str, value: String| {
        let name = format!("{prefix}{key}");
        if is_env_var_name(&name) { found.push((name, value)) } else { skipped.push(name) }
    };
    if let Some(from) = &source.config_map_ref
        && let Some(map) = sources.config_map(&from.name, from.optional == Some(true))?
    {
        map.data.iter().flatten().for_each(|(key, value)| take(key, value.clone()));
    }
    if let Some(from) = &source.secret_ref
        && let Some(secret) = sources.secret(&from.name, from.optional == Some(true))?
    {
        let data = secret.data.iter().flatten();
        data.for_each(|(key, value)| take(key, String::from_utf8_lossy(&value.0).into_owned()));
    }
    Ok(found)
}

/// `None`: an optional reference that leads nowhere; the variable is left out.
fn value_of<'a>(
    variable: &'a EnvVar,
    container: &Container,
    input: &EnvInput<'_>,
    visible: impl Fn(&str) -> Option<&'a str>,
) -> Result<Option<String>, EnvError> {
    if let Some(from) = &variable.value_from {
        return referred(&variable.name, from, container, input);
    }
    let text = variable.value.as_deref().unwrap_or_default();
    expand(text, visible, &mut Room::new(PROCESS_BYTES_MAX)).map(Some).map_err(EnvError::TooLarge)
}

fn referred(
    variable: &str,
    from: &EnvVarSource,
    container: &Container,
    input: &EnvInput<'_>,
) -> Result<Option<String>, EnvError> {
    let namespace = input.sources.namespace.as_str();
    let no_key = |kind, name: &str, key: &str| EnvError::NoKey {
        key: key.into(),
        kind,
        namespace: namespace.into(),
        name: name.into(),
    };
    if let Some(field) = &from.field_ref {
        return Ok(Some(input.downward.field(&field.field_path)?));
    }
    if let Some(resource) = &from.resource_field_ref {
        return Ok(Some(input.downward.resource(resource, Some(container))?));
    }
    if let Some(key) = &from.config_map_key_ref {
        let optional = key.optional == Some(true);
        let Some(map) = input.sources.config_map(&key.name, optional)? else { return Ok(None) };
        let value = map.data.as_ref().and_then(|d| d.get(&key.key)).cloned();
        return if value.is_none() && !optional { Err(no_key("ConfigMap", &key.name, &key.key)) } else { Ok(value) };
    }
    if let Some(key) = &from.secret_key_ref {
        let optional = key.optional == Some(true);
        let Some(secret) = input.sources.secret(&key.name, optional)? else { return Ok(None) };
        let value = secret.data.as_ref().and_then(|d| d.get(&key.key));
        let value = value.map(|bytes| String::from_utf8_lossy(&bytes.0).into_owned());
        return if value.is_none() && !optional { Err(no_key("Secret", &key.name, &key.key)) } else { Ok(value) };
    }
    let what = if from.file_key_ref.is_some() { "file in a volume (fileKeyRef)" } else { "source without a name" };
    Err(EnvError::Unsupported { name: variable.into(), what })
}

#[cfg(test)]
mod tests;

//! Query options of requests, checked: what to list, where a watch begins, how to write.
//!
//! <https://kubernetes.io/docs/reference/using-api/api-concepts/>.

use std::borrow::Cow;
use std::time::Duration;

use corten_api::selector::{FieldSelector, Selector};
use corten_api::{ApiError, Problems};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::DeleteOptions;

use crate::apply::names;
use crate::decode::{self, DecodeError};
use crate::resources::{FieldValidation, ListOptions, ReadAt, WatchFrom, WatchOptions, WriteOptions, check_options};
use crate::schema::builtin;

/// The pairs of a query string, decoded.
#[derive(Clone, Debug, Default)]
pub struct Query<'a>(Vec<(Cow<'a, str>, Cow<'a, str>)>);

impl<'a> Query<'a> {
    pub fn parse(raw: Option<&'a str>) -> Self {
        Self(raw.map(|raw| form_urlencoded::parse(raw.as_bytes()).collect()).unwrap_or_default())
    }
    /// The first value of `key`; an empty one counts as absent, as it does upstream.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.0.iter().find(|(k, _)| k == key).map(|(_, v)| v.as_ref()).filter(|v| !v.is_empty())
    }
    pub fn all<'s>(&'s self, key: &'s str) -> impl Iterator<Item = &'s str> {
        self.0.iter().filter(move |(k, _)| k == key).map(|(_, v)| v.as_ref())
    }
    /// Upstream takes every value but these for true, an empty one too.
    pub fn flag(&self, key: &str) -> bool {
        self.all(key).next().is_some_and(|v| !matches!(v.to_ascii_lowercase().as_str(), "false" | "0"))
    }
    pub fn int(&self, key: &str) -> Result<Option<i64>, ApiError> {
        let parsed = self.get(key).map(|text| text.parse::<i64>().map_err(|_| not_a_number(key, text)));
        parsed.transpose()
    }
}

fn not_a_number(key: &str, text: &str) -> ApiError {
    ApiError::bad_request(format!("{key}: strconv.ParseInt: parsing {text:?}: invalid syntax"))
}

fn invalid(kind: &str, fill: impl FnOnce(&mut Problems)) -> ApiError {
    let mut problems = Problems::default();
    fill(&mut problems);
    ApiError::invalid("meta.k8s.io", kind, "", problems)
}

fn selectors(query: &Query<'_>, name: &str) -> Result<(Selector, FieldSelector), ApiError> {
    let bad = |err: corten_api::selector::SelectorError| ApiError::bad_request(err.to_string());
    let labels = query.get("labelSelector").map(Selector::parse).transpose().map_err(bad)?.unwrap_or_default();
    let mut fields = query.get("fieldSelector").map(FieldSelector::parse).transpose().map_err(bad)?.unwrap_or_default();
    if !name.is_empty() {
        fields.0.push(corten_api::selector::FieldTerm {
            field: "metadata.name".into(),
            value: name.into(),
            negated: false,
        });
    }
    Ok((labels, fields))
}

/// `resourceVersion`: `None` if absent.
fn revision(query: &Query<'_>) -> Result<Option<i64>, ApiError> {
    let Some(text) = query.get("resourceVersion") else { return Ok(None) };
    let parsed = text.parse::<i64>().ok().filter(|n| *n >= 0);
    parsed.map(Some).ok_or_else(|| ApiError::bad_request(format!("invalid resource version: {text:?} is not a number")))
}

pub fn get_at(query: &Query<'_>) -> Result<ReadAt, ApiError> {
    Ok(match revision(query)? {
        None => ReadAt::Newest,
        Some(0) => ReadAt::Any,
        Some(n) => ReadAt::NotOlderThan(n),
    })
}

pub fn list_options(query: &Query<'_>) -> Result<ListOptions, ApiError> {
    let (labels, fields) = selectors(query, "")?;
    if query.get("sendInitialEvents").is_some() {
        let why = "sendInitialEvents is forbidden for list";
        return Err(invalid("ListOptions", |p| p.forbidden("sendInitialEvents", why)));
    }
    let limit = query.int("limit")?.unwrap_or(0);
    let limit = usize::try_from(limit)
        .map_err(|_| invalid("ListOptions", |p| p.invalid("limit", limit, "must be greater than or equal to 0")))?;
    let continue_token = query.get("continue").map(str::to_owned);
    let at = list_at(query, limit, continue_token.is_some())?;
    Ok(ListOptions { labels, fields, at, limit, continue_token, metadata_only: false })
}

/// <https://kubernetes.io/docs/reference/using-api/api-concepts/#semantics-for-get-and-list>
fn list_at(query: &Query<'_>, limit: usize, continues: bool) -> Result<ReadAt, ApiError> {
    let forbidden = |why: &str| invalid("ListOptions", |p| p.forbidden("resourceVersionMatch", why));
    let revision = revision(query)?;
    let rule = query.get("resourceVersionMatch");
    if continues {
        if rule.is_some() {
            return Err(forbidden("resourceVersionMatch is forbidden when continue is provided"));
        }
        if revision.is_some_and(|n| n != 0) {
            return Err(ApiError::bad_request("specifying resource version is not allowed when using continue"));
        }
        return Ok(ReadAt::Newest);
    }
    match (rule, revision) {
        (None, None) => Ok(ReadAt::Newest),
        (None | Some("NotOlderThan"), Some(0)) => Ok(ReadAt::Any),
        (None, Some(n)) if limit > 0 => Ok(ReadAt::Exact(n)),
        (None | Some("NotOlderThan"), Some(n)) => Ok(ReadAt::NotOlderThan(n)),
        (Some("Exact"), Some(0)) => {
            Err(forbidden(r#"resourceVersionMatch "exact" is forbidden for resourceVersion "0""#))
        }
        (Some("Exact"), Some(n)) => Ok(ReadAt::Exact(n)),
        (Some("Exact" | "NotOlderThan"), None) => {
            Err(forbidden("resourceVersionMatch is forbidden unless resourceVersion is provided"))
        }
        (Some(other), _) => Err(invalid("ListOptions", |p| {
            p.unsupported("resourceVersionMatch", other, &["", "Exact", "NotOlderThan"]);
        })),
    }
}

/// A watch, and how long the client wants it to last.
pub fn watch_options(query: &Query<'_>, name: &str) -> Result<(WatchOptions, Option<Duration>), ApiError> {
    let (labels, fields) = selectors(query, name)?;
    let bookmarks = query.flag("allowWatchBookmarks");
    let from = watch_from(query)?;
    let secs = query.int("timeoutSeconds")?.and_then(|n| u64::try_from(n).ok()).filter(|n| *n > 0);
    Ok((WatchOptions { labels, fields, from, bookmarks, ..WatchOptions::default() }, secs.map(Duration::from_secs)))
}

/// <https://kubernetes.io/docs/reference/using-api/api-concepts/#semantics-for-watch>, and
/// <https://kubernetes.io/docs/reference/using-api/api-concepts/#streaming-lists>.
fn watch_from(query: &Query<'_>) -> Result<WatchFrom, ApiError> {
    let forbidden = |why: &str| invalid("ListOptions", |p| p.forbidden("resourceVersionMatch", why));
    let revision = revision(query)?;
    let rule = query.get("resourceVersionMatch");
    let at = match revision {
        None => ReadAt::Newest,
        Some(0) => ReadAt::Any,
        Some(n) => ReadAt::NotOlderThan(n),
    };
    if query.get("sendInitialEvents").is_none() {
        if rule.is_some() {
            return Err(forbidden("resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided"));
        }
        return Ok(match revision {
            None | Some(0) => WatchFrom::State { at, initial_events_end: false },
            Some(n) => WatchFrom::After(n),
        });
    }
    match rule {
        None => return Err(forbidden("sendInitialEvents requires setting resourceVersionMatch to NotOlderThan")),
        Some("NotOlderThan") => {}
        Some(other) => {
            return Err(invalid("ListOptions", |p| p.unsupported("resourceVersionMatch", other, &["NotOlderThan"])));
        }
    }
    Ok(match (query.flag("sendInitialEvents"), revision) {
        // The end of the state is told by a bookmark, to those who want any.
        (true, _) => WatchFrom::State { at, initial_events_end: query.flag("allowWatchBookmarks") },
        (false, None | Some(0)) => WatchFrom::Now,
        (false, Some(n)) => WatchFrom::After(n),
    })
}

/// The options of an apply, for [`write_options`].
pub const APPLY_OPTIONS: &str = "ApplyOptions";

/// `kind`: `CreateOptions`, `UpdateOptions`, …, for messages. `agent` names the manager of the fields if the query
/// does not.
pub fn write_options(query: &Query<'_>, kind: &str, agent: &str) -> Result<WriteOptions, ApiError> {
    let mut problems = Problems::default();
    let mut dry_run = false;
    for value in query.all("dryRun").filter(|v| !v.is_empty()) {
        dry_run = true;
        if value != "All" {
            problems.unsupported("dryRun", value, &["All"]);
        }
    }
    let field_validation = match query.get("fieldValidation") {
        None | Some("Warn") => FieldValidation::Warn,
        Some("Ignore") => FieldValidation::Ignore,
        Some("Strict") => FieldValidation::Strict,
        Some(other) => {
            problems.unsupported("fieldValidation", other, &["", "Ignore", "Strict", "Warn"]);
            FieldValidation::Warn
        }
    };
    let is_apply = kind == APPLY_OPTIONS;
    let manager = match query.get("fieldManager") {
        Some(manager) if !manager.is_empty() => manager.to_owned(),
        // Who applies says who he is.
        _ if is_apply => String::new(),
        _ => names::manager_of_agent(agent),
    };
    let force = query.get("force").map(|_| query.flag("force"));
    names::check_manager(&manager, "fieldManager", &mut problems);
    names::check_apply_options(is_apply, &manager, force, &mut problems);
    if !problems.is_empty() {
        return Err(ApiError::invalid("meta.k8s.io", if is_apply { "PatchOptions" } else { kind }, "", problems));
    }
    let (findings, fence) = (Vec::new(), None);
    Ok(WriteOptions { dry_run, field_validation, field_manager: manager, force, findings, fence })
}

/// Options of a delete from its body, or, if there is none, from its query.
pub fn delete_options(query: &Query<'_>, body: &[u8]) -> Result<DeleteOptions, ApiError> {
    let mut options = if body.is_empty() {
        let orphan = query.all("orphanDependents").next().map(|_| query.flag("orphanDependents"));
        DeleteOptions {
            grace_period_seconds: query.int("gracePeriodSeconds")?,
            propagation_policy: query.get("propagationPolicy").map(str::to_owned),
            orphan_dependents: orphan,
            ..DeleteOptions::default()
        }
    } else {
        read_delete_options(body)?
    };
    if options.dry_run.is_none() && query.get("dryRun").is_some() {
        options.dry_run = Some(query.all("dryRun").map(str::to_owned).collect());
    }
    check_options(&options)?;
    Ok(options)
}

/// The body's `apiVersion` may be any group's: clients encode DeleteOptions in the version of what they delete.
pub(crate) fn read_delete_options(body: &[u8]) -> Result<DeleteOptions, ApiError> {
    let of_kind = |err: DecodeError| err.of_kind("DeleteOptions", "v1");
    let normal = decode::normal(builtin().named("meta.v1.DeleteOptions"), body).map_err(of_kind)?;
    if !matches!(normal.kind.as_str(), "" | "DeleteOptions") {
        return Err(ApiError::bad_request(format!(
            "the body of a delete must be DeleteOptions, not {:?}",
            normal.kind
        )));
    }
    let mut value = decode::value(normal.json().map_err(of_kind)?.as_bytes())?;
    if let Some(map) = value.as_object_mut() {
        map.remove("kind");
        map.remove("apiVersion");
    }
    serde_json::from_value(value).map_err(|err| of_kind(err.into()))
}

#[cfg(test)]
mod tests;

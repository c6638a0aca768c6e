//! What is to be done about the APIServices of what this server answers itself. Pure.

use std::collections::BTreeMap;
use std::sync::Arc;

use corten_api::Object;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::kube_aggregator::pkg::apis::apiregistration::v1::{APIService, APIServiceSpec};

use crate::registry::apiregistration::apiservice::{Availability, has, is_remote};
use crate::registry::apiregistration::priority::Priority;

/// Says that a server looks after the object, and when.
const MANAGED_LABEL: &str = "kube-aggregator.kubernetes.io/automanaged";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Managed {
    /// When a server starts, and never between: who changes it then has his way until the next start.
    OnStart,
    Always,
}

impl Managed {
    fn as_str(self) -> &'static str {
        match self {
            Self::OnStart => "onstart",
            Self::Always => "true",
        }
    }
    fn of(service: &APIService) -> Option<Self> {
        let label = service.metadata.labels.as_ref()?.get(MANAGED_LABEL)?;
        [Self::OnStart, Self::Always].into_iter().find(|managed| managed.as_str() == label)
    }
}

/// A group version that is answered here.
#[derive(Clone, Debug)]
pub(super) struct Wanted {
    pub(super) group: String,
    pub(super) version: String,
    pub(super) priority: Priority,
    pub(super) managed: Managed,
}

impl Wanted {
    pub(super) fn name(&self) -> String {
        format!("{}.{}", self.version, self.group)
    }
    fn spec(&self) -> APIServiceSpec {
        APIServiceSpec {
            group: Some(self.group.clone()).filter(|group| !group.is_empty()),
            version: Some(self.version.clone()),
            group_priority_minimum: self.priority.group,
            version_priority: self.priority.version,
            ..APIServiceSpec::default()
        }
    }
    fn object(&self) -> APIService {
        let labels = [(MANAGED_LABEL.to_owned(), self.managed.as_str().to_owned())].into();
        let metadata = ObjectMeta { name: Some(self.name()), labels: Some(labels), ..ObjectMeta::default() };
        APIService { metadata, spec: Some(self.spec()), status: None }
    }
}

/// The next write of one, which leads to another look.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Step {
    Create(Box<APIService>),
    Update(Box<APIService>),
    Delete,
    SayLocal,
}

/// `is_start`: whether the server is about to serve.
pub(super) fn steps(
    there: &[Arc<APIService>],
    wanted: &BTreeMap<String, Wanted>,
    is_start: bool,
) -> Vec<(String, Step)> {
    let is_there = |name: &str| there.iter().any(|service| service.name() == name);
    let missing = wanted.values().filter(|one| is_start || one.managed == Managed::Always);
    let missing = missing.filter(|one| !is_there(&one.name()));
    let mut steps: Vec<(String, Step)> =
        missing.map(|one| (one.name(), Step::Create(Box::new(one.object())))).collect();
    for service in there.iter().filter(|service| service.metadata.deletion_timestamp.is_none()) {
        let step = of(service, wanted.get(service.name()), is_start);
        steps.extend(step.map(|step| (service.name().to_owned(), step)));
    }
    steps
}

fn of(service: &APIService, wanted: Option<&Wanted>, is_start: bool) -> Option<Step> {
    let is_due = match Managed::of(service) {
        None => false,
        Some(Managed::OnStart) => is_start,
        Some(Managed::Always) => wanted.is_none_or(|wanted| is_start || wanted.managed == Managed::Always),
    };
    match wanted {
        // At the start, definitions are not looked at yet by every server: what is theirs is left to the next look.
        None if is_due && !(is_start && Managed::of(service) == Some(Managed::Always)) => return Some(Step::Delete),
        Some(wanted) if is_due && service.spec.as_ref() != Some(&wanted.spec()) => {
            let mut new = service.clone();
            new.spec = Some(wanted.spec());
            return Some(Step::Update(Box::new(new)));
        }
        None | Some(_) => {}
    }
    (!is_remote(service) && !has(service, &Availability::local())).then_some(Step::SayLocal)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::registry::apiregistration::priority;

    fn wanted(group: &str, version: &str, managed: Managed) -> Wanted {
        Wanted { group: group.into(), version: version.into(), priority: priority::CUSTOM, managed }
    }
    /// As it is wanted, with this label and these fields of its spec other.
    fn there(of: &Wanted, label: Option<&str>, changes: Value) -> Arc<APIService> {
        let mut json = serde_json::to_value(of.object()).unwrap();
        json["metadata"]["labels"] = label.map_or(json!({}), |label| json!({ MANAGED_LABEL: label }));
        for (key, value) in changes.as_object().unwrap() {
            json["spec"][key] = value.clone();
        }
        json["status"] = json!({"conditions": [{"type": "Available", "status": "True", "reason": "Local",
            "message": "Local APIServices are always available"}]});
        Arc::new(serde_json::from_value(json).unwrap())
    }
    fn word(step: Option<&(String, Step)>) -> &'static str {
        match step {
            None => "rest",
            Some((_, Step::Create(_))) => "create",
            Some((_, Step::Update(_))) => "update",
            Some((_, Step::Delete)) => "delete",
            Some((_, Step::SayLocal)) => "say",
        }
    }

    #[test]
    fn what_becomes_of_one_at_the_start_and_later() {
        use Managed::{Always, OnStart};
        type Case = (&'static str, Option<Managed>, Option<(Option<&'static str>, Value)>, [&'static str; 2]);
        let same = || json!({});
        let other = || json!({"versionPriority": 7});
        let service = || json!({"service": {"name": "s", "namespace": "n", "port": 443}});
        let cases: Vec<Case> = vec![
            ("built in and missing", Some(OnStart), None, ["create", "rest"]),
            ("defined and missing", Some(Always), None, ["create", "create"]),
            ("built in and there", Some(OnStart), Some((Some("onstart"), same())), ["rest", "rest"]),
            ("built in and other", Some(OnStart), Some((Some("onstart"), other())), ["update", "rest"]),
            ("built in and taken over", Some(OnStart), Some((Some("onstart"), service())), ["update", "rest"]),
            ("built in and a user's", Some(OnStart), Some((None, service())), ["rest", "rest"]),
            ("defined and other", Some(Always), Some((Some("true"), other())), ["update", "update"]),
            ("defined and a user's", Some(Always), Some((None, service())), ["rest", "rest"]),
            ("no more defined", None, Some((Some("true"), same())), ["rest", "delete"]),
            ("no more built in", None, Some((Some("onstart"), same())), ["delete", "rest"]),
            ("a user's own", None, Some((None, service())), ["rest", "rest"]),
            ("with a label that says nothing", None, Some((Some("x"), same())), ["rest", "rest"]),
        ];
        for (why, managed, is_there, expected) in cases {
            let one = wanted("a.example", "v1", managed.unwrap_or(Always));
            let all: BTreeMap<String, Wanted> = managed.map(|_| (one.name(), one.clone())).into_iter().collect();
            let there: Vec<Arc<APIService>> =
                is_there.map(|(label, changes)| there(&one, label, changes)).into_iter().collect();
            for (is_start, expected) in [true, false].into_iter().zip(expected) {
                let steps = steps(&there, &all, is_start);
                assert_eq!(word(steps.first()), expected, "{why}, at the start: {is_start}");
                assert!(steps.len() <= 1, "{why}");
            }
        }
    }

    #[test]
    fn what_is_answered_here_says_so() {
        let one = wanted("a.example", "v1", Managed::Always);
        let mut local = (*there(&one, None, json!({}))).clone();
        local.status = None;
        assert_eq!(
            steps(&[Arc::new(local.clone())], &BTreeMap::new(), false),
            [("v1.a.example".to_owned(), Step::SayLocal)]
        );
        local.metadata.deletion_timestamp = Some(crate::registry::clock::now());
        assert!(steps(&[Arc::new(local)], &BTreeMap::new(), false).is_empty());
    }

    #[test]
    fn the_core_has_a_name_without_a_group() {
        let core = wanted("", "v1", Managed::OnStart).object();
        assert_eq!((core.name(), core.spec.as_ref().unwrap().group.as_deref()), ("v1.", None));
    }
}

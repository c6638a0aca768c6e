//! Setting a condition in a status list: the transition time moves only when the status does.

use k8s_openapi::api::apps::v1::{DeploymentCondition, ReplicaSetCondition};
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscalerCondition;
use k8s_openapi::api::batch::v1::JobCondition;
use k8s_openapi::api::core::v1::{
    NamespaceCondition, NodeCondition, PersistentVolumeClaimCondition, PodCondition, ReplicationControllerCondition,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{self as meta, Time};

/// What all condition types share.
pub trait Condition {
    fn kind(&self) -> &str;
    fn status(&self) -> &str;
    fn since(&self) -> Option<&Time>;
    fn set_since(&mut self, since: Option<Time>);
}

macro_rules! conditions {
    ($($ty:ty),*: $text:expr) => {$(
        impl Condition for $ty {
            fn kind(&self) -> &str { $text(&self.type_) }
            fn status(&self) -> &str { $text(&self.status) }
            fn since(&self) -> Option<&Time> { self.last_transition_time.as_ref() }
            fn set_since(&mut self, since: Option<Time>) { self.last_transition_time = since; }
        }
    )*};
}
conditions!(
    PodCondition, NodeCondition, NamespaceCondition, ReplicationControllerCondition, JobCondition,
    HorizontalPodAutoscalerCondition, PersistentVolumeClaimCondition: String::as_str
);
// The published document of v1.37 says of these that type and status may be missing.
conditions!(DeploymentCondition, ReplicaSetCondition: text_or_empty);

fn text_or_empty(text: &Option<String>) -> &str {
    text.as_deref().unwrap_or_default()
}

impl Condition for meta::Condition {
    fn kind(&self) -> &str {
        &self.type_
    }
    fn status(&self) -> &str {
        &self.status
    }
    fn since(&self) -> Option<&Time> {
        Some(&self.last_transition_time)
    }
    /// Such a condition always has a time: without another it keeps its own.
    fn set_since(&mut self, since: Option<Time>) {
        if let Some(since) = since {
            self.last_transition_time = since;
        }
    }
}

/// Puts `new` in its place in the list; keeps the old transition time if the status is the same.
pub fn set<C: Condition>(list: &mut Vec<C>, mut new: C, now: &Time) {
    let place = list.iter_mut().find(|c| c.kind() == new.kind());
    let unchanged = place.as_ref().is_some_and(|old| old.status() == new.status());
    match place {
        Some(old) => {
            new.set_since(if unchanged { old.since().cloned() } else { Some(now.clone()) });
            *old = new;
        }
        None => {
            new.set_since(Some(now.clone()));
            list.push(new);
        }
    }
}

pub fn find<'a, C: Condition>(list: Option<&'a Vec<C>>, kind: &str) -> Option<&'a C> {
    list?.iter().find(|c| c.kind() == kind)
}

/// True only for a condition that is there and `True`.
pub fn is_true<C: Condition>(list: Option<&Vec<C>>, kind: &str) -> bool {
    find(list, kind).is_some_and(|c| c.status() == "True")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn transition_time_moves_only_with_the_status() {
        let at = |s: &str| Time(s.parse().unwrap());
        let ready = |status: &str| PodCondition { type_: "Ready".into(), status: status.into(), ..Default::default() };
        let mut list = vec![];
        set(&mut list, ready("False"), &at("2026-01-01T00:00:00Z"));
        set(&mut list, ready("False"), &at("2026-01-01T00:00:09Z"));
        assert_eq!(list[0].last_transition_time, Some(at("2026-01-01T00:00:00Z")));
        set(&mut list, ready("True"), &at("2026-01-01T00:00:10Z"));
        assert_eq!(list[0].last_transition_time, Some(at("2026-01-01T00:00:10Z")));
        assert!(is_true(Some(&list), "Ready") && list.len() == 1);
    }

    #[test]
    fn newer_kinds_conditions_which_must_have_a_time_get_the_same() {
        let at = |secs: i64| Time(k8s_openapi::jiff::Timestamp::from_second(secs).unwrap());
        let allowed = |status: &str| meta::Condition {
            type_: "DisruptionAllowed".into(),
            status: status.into(),
            reason: "R".into(),
            message: String::new(),
            last_transition_time: at(0),
            observed_generation: None,
        };
        let mut list = vec![];
        for (status, now, expected) in [("True", 1, 1), ("True", 9, 1), ("False", 10, 10)] {
            set(&mut list, allowed(status), &at(now));
            assert_eq!(list[0].last_transition_time, at(expected), "{status} at {now}");
        }
        assert_eq!(list.len(), 1);
    }

    #[test]
    fn only_a_condition_that_is_there_and_true_is_true() {
        let list =
            |status: &str| vec![PodCondition { type_: "Ready".into(), status: status.into(), ..Default::default() }];
        for (why, list, expected) in [
            ("it holds", Some(list("True")), true),
            ("it does not", Some(list("False")), false),
            ("nobody knows", Some(list("Unknown")), false),
            ("there are none", None, false),
        ] {
            assert_eq!(is_true(list.as_ref(), "Ready"), expected, "{why}");
            assert!(!is_true(list.as_ref(), "Initialized"), "{why}: another is not there");
        }
    }
}

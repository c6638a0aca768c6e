//! Rules that are younger than some of what is stored: an update is held to one if what it changes kept it.

use std::collections::BTreeMap;

use corten_api::Problems;
use k8s_openapi::api::core::v1::PodSpec;

use super::{annotations, hosts, placement};
use crate::registry::path::Path;

/// A pod, or what a template says of one.
#[derive(Clone, Copy)]
pub struct Described<'a> {
    pub spec: &'a PodSpec,
    pub annotations: Option<&'a BTreeMap<String, String>>,
}

/// Of the annotations and of the spec.
#[derive(Clone, Copy)]
pub struct Paths<'a> {
    pub annotations: &'a Path<'a>,
    pub spec: &'a Path<'a>,
}

type Rule = fn(Described<'_>, Paths<'_>, &mut Problems);

const RULES: &[Rule] = &[
    |of, at, problems| annotations::deletion_cost(of.annotations, at.annotations, problems),
    |of, at, problems| placement::node_labels(of.spec, at.spec, problems),
    |of, at, problems| hosts::devices(of.spec, at.spec, problems),
    |of, at, problems| placement::few_terms(of.spec, at.spec, problems),
];

pub fn validate(of: Described<'_>, at: Paths<'_>, problems: &mut Problems) {
    RULES.iter().for_each(|rule| rule(of, at, problems));
}

pub fn validate_update(new: Described<'_>, old: Described<'_>, at: Paths<'_>, problems: &mut Problems) {
    for rule in RULES {
        let mut before = Problems::default();
        rule(old, at, &mut before);
        if before.is_empty() {
            rule(new, at, problems);
        }
    }
}

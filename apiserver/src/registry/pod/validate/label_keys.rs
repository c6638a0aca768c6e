//! Labels whose values a selector takes from the pod itself.

use std::collections::HashSet;

use corten_api::Problems;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;

use crate::registry::check;
use crate::registry::path::Path;

/// `like` and `unlike`: what selected pods share with this one, and what they do not. In a new pod the selector has
/// requirements made of them already; a key that has another beside that is the author's twice.
pub(super) fn validate(
    like: &[String],
    unlike: &[String],
    selector: Option<&LabelSelector>,
    at: &Path<'_>,
    problems: &mut Problems,
) {
    let like_at = at.field("matchLabelKeys");
    for (keys, keys_at) in [(like, like_at), (unlike, at.field("mismatchLabelKeys"))] {
        if !keys.is_empty() && selector.is_none() {
            problems.forbidden(keys_at, "must not be specified when labelSelector is not set");
            continue;
        }
        for (i, key) in keys.iter().enumerate() {
            check::qualified_name(problems, &keys_at.index(i), key);
        }
    }
    if like.is_empty() {
        return;
    }
    let mut required: HashSet<&str> =
        selector.iter().filter_map(|s| s.match_labels.as_ref()).flatten().map(|(key, _)| key.as_str()).collect();
    let mut twice = HashSet::new();
    for requirement in selector.iter().filter_map(|s| s.match_expressions.as_ref()).flatten() {
        if !required.insert(&requirement.key) {
            twice.insert(requirement.key.as_str());
        }
    }
    let unlike: HashSet<&String> = unlike.iter().collect();
    for (i, key) in like.iter().enumerate() {
        if twice.contains(key.as_str()) {
            problems.invalid(like_at.index(i), key, "exists in both matchLabelKeys and labelSelector");
        }
        if unlike.contains(key) {
            problems.invalid(like_at.index(i), key, "exists in both matchLabelKeys and mismatchLabelKeys");
        }
    }
}

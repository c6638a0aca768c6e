//! The requests of a claim: how many devices, of which class.

use std::collections::{HashMap, HashSet};

use corten_api::Problems;
use k8s_openapi::api::resource::v1::{
    CapacityRequirements, DeviceClaim, DeviceRequest, DeviceSubRequest, ExactDeviceRequest,
};

use super::lists::{bounded, unique};
use super::{amounts, selectors, taints};
use crate::registry::check;
use crate::registry::defaults::fill;
use crate::registry::path::Path;

pub const REQUESTS_MAX: usize = 32;
const SUBREQUESTS_MAX: usize = 8;
const MODES: &[&str] = &["All", "ExactCount"];
const EXACT: &str = "ExactCount";
const NO_REQUEST: &str =
    "must be the name of a request in the claim or the name of a request and a subrequest separated by '/'";

/// Fills in what was left out: one device.
pub fn fill_defaults(requests: Option<&mut Vec<DeviceRequest>>) {
    for request in requests.into_iter().flatten() {
        if let Some(exactly) = &mut request.exactly {
            mode(&mut exactly.allocation_mode, &mut exactly.count);
            taints::tolerate(exactly.tolerations.as_mut());
        }
        for sub in request.first_available.iter_mut().flatten() {
            mode(&mut sub.allocation_mode, &mut sub.count);
            taints::tolerate(sub.tolerations.as_mut());
        }
    }
}

fn mode(mode: &mut Option<String>, count: &mut Option<i64>) {
    fill(mode, EXACT);
    if mode.as_deref() == Some(EXACT) && count.unwrap_or(0) == 0 {
        *count = Some(1);
    }
}

/// Fields of features that are off unless asked for: derived attributes.
pub fn drop_disabled(requests: Option<&mut Vec<DeviceRequest>>) {
    for request in requests.into_iter().flatten() {
        if let Some(exactly) = &mut request.exactly {
            exactly.derived_attributes = None;
        }
        for sub in request.first_available.iter_mut().flatten() {
            sub.derived_attributes = None;
        }
    }
}

pub fn validate(requests: Option<&Vec<DeviceRequest>>, list: &Path<'_>, problems: &mut Problems) {
    let requests = bounded(requests, REQUESTS_MAX, list, problems);
    for (i, request) in requests.iter().enumerate() {
        one(request, &list.index(i), problems);
    }
    unique(requests, |request| &request.name, list, problems);
}

fn one(request: &DeviceRequest, at: &Path<'_>, problems: &mut Problems) {
    check::dns_label(problems, &at.field("name"), &request.name);
    let alternatives = request.first_available.as_ref().filter(|list| !list.is_empty());
    match (&request.exactly, alternatives) {
        (None, None) => problems.required(at, "exactly one of `exactly` or `firstAvailable` is required"),
        (Some(_), Some(_)) => {
            let why = "exactly one of `exactly` or `firstAvailable` is required, but multiple fields are set";
            problems.invalid(at, serde_json::Value::Null, why);
        }
        (Some(exactly), None) => exact(exactly, &at.field("exactly"), problems),
        (None, Some(_)) => {
            let list = at.field("firstAvailable");
            let alternatives = bounded(alternatives, SUBREQUESTS_MAX, &list, problems);
            for (i, sub) in alternatives.iter().enumerate() {
                alternative(sub, &list.index(i), problems);
            }
            unique(alternatives, |sub| &sub.name, &list, problems);
        }
    }
}

fn exact(request: &ExactDeviceRequest, at: &Path<'_>, problems: &mut Problems) {
    class(&request.device_class_name, &at.field("deviceClassName"), problems);
    selectors::validate(request.selectors.as_ref(), &at.field("selectors"), problems);
    count(request.allocation_mode.as_ref(), request.count, at, problems);
    capacity(request.capacity.as_ref(), at, problems);
    taints::tolerations(request.tolerations.as_ref(), &at.field("tolerations"), problems);
}

fn alternative(sub: &DeviceSubRequest, at: &Path<'_>, problems: &mut Problems) {
    check::dns_label(problems, &at.field("name"), &sub.name);
    class(&sub.device_class_name, &at.field("deviceClassName"), problems);
    selectors::validate(sub.selectors.as_ref(), &at.field("selectors"), problems);
    count(sub.allocation_mode.as_ref(), sub.count, at, problems);
    capacity(sub.capacity.as_ref(), at, problems);
    taints::tolerations(sub.tolerations.as_ref(), &at.field("tolerations"), problems);
}

fn class(name: &str, at: &Path<'_>, problems: &mut Problems) {
    match name {
        "" => problems.required(at, ""),
        name => check::dns_subdomain(problems, at, name),
    }
}

fn capacity(capacity: Option<&CapacityRequirements>, at: &Path<'_>, problems: &mut Problems) {
    let amounts = capacity.and_then(|capacity| capacity.requests.as_ref());
    amounts::by_name(amounts, &at.field("capacity").field("requests"), problems);
}

fn count(mode: Option<&String>, count: Option<i64>, at: &Path<'_>, problems: &mut Problems) {
    let count = count.unwrap_or(0);
    match check::text(mode) {
        "All" if count != 0 => {
            problems.invalid(at.field("count"), count, "must not be specified when allocationMode is 'All'");
        }
        "All" => {}
        EXACT if count <= 0 => problems.invalid(at.field("count"), count, "must be greater than zero"),
        EXACT => {}
        other => problems.unsupported(at.field("allocationMode"), other, MODES),
    }
}

/// The names of a claim's requests, each with those of its alternatives.
pub struct Names<'a>(HashMap<&'a str, HashSet<&'a str>>);

impl<'a> Names<'a> {
    pub fn of(claim: &'a DeviceClaim) -> Self {
        let subs = |request: &'a DeviceRequest| {
            request.first_available.iter().flatten().map(|sub| sub.name.as_str()).collect()
        };
        Self(claim.requests.iter().flatten().map(|request| (request.name.as_str(), subs(request))).collect())
    }

    /// Whether `request` or `request/alternative` is one of them.
    pub fn check(&self, reference: &str, at: &Path<'_>, problems: &mut Problems) {
        let (name, sub) = match reference.split_once('/') {
            Some((_, rest)) if rest.contains('/') => return problems.invalid(at, reference, NO_REQUEST),
            Some((name, sub)) => (name, Some(sub)),
            None => (reference, None),
        };
        for part in std::iter::once(name).chain(sub) {
            check::dns_label(problems, at, part);
        }
        let known = self.0.get(name).is_some_and(|subs| sub.is_none_or(|sub| subs.contains(sub)));
        if !known {
            problems.invalid(at, reference, NO_REQUEST);
        }
    }

    /// Those that a constraint or a configuration is about; none means all.
    pub fn check_all(&self, references: Option<&Vec<String>>, list: &Path<'_>, problems: &mut Problems) {
        let references = bounded(references, REQUESTS_MAX, list, problems);
        for (i, reference) in references.iter().enumerate() {
            self.check(reference, &list.index(i), problems);
        }
        unique(references, |reference| reference, list, problems);
    }
}

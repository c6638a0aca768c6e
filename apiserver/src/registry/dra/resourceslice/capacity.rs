//! How much a device has, and how much of it a claim may ask for where many share the device.

use std::cmp::Ordering;

use corten_api::Problems;
use corten_api::quantity::Quantity;
use k8s_openapi::api::resource::v1::{CapacityRequestPolicy, CapacityRequestPolicyRange, DeviceCapacity};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity as Wire;

use crate::registry::dra::amounts;
use crate::registry::dra::lists::{bounded, unique};
use crate::registry::path::Path;
use crate::registry::quantities;

const VALUES_MAX: usize = 10;
const ONE_POLICY: &str =
    "exactly one policy can be specified, cannot specify \"validValues\" and \"validRange\" at the same time";

/// `shared`: more than one claim can have the device.
pub(super) fn validate(capacity: &DeviceCapacity, shared: bool, at: &Path<'_>, problems: &mut Problems) {
    let all = amounts::given(&capacity.value, &at.field("value"), problems);
    let Some(policy) = &capacity.request_policy else { return };
    let at = at.field("requestPolicy");
    let values = policy.valid_values.as_ref().filter(|values| !values.is_empty());
    match (values, &policy.valid_range) {
        _ if !shared => problems.forbidden(at, "allowMultipleAllocations must be true"),
        (Some(_), Some(_)) => problems.forbidden(at, ONE_POLICY),
        (Some(values), None) => {
            let default = default(policy, "required when validValues is defined", &at, problems);
            if let (Some(all), Some(default)) = (all, default) {
                one_of(values, default, all, &at.field("validValues"), problems);
            }
        }
        (None, Some(range)) => {
            let default = default(policy, "required when validRange is defined", &at, problems);
            if let (Some(all), Some(default)) = (all, default) {
                within(range, default, all, &at.field("validRange"), problems);
            }
        }
        (None, None) => {}
    }
}

fn default(policy: &CapacityRequestPolicy, why: &str, at: &Path<'_>, problems: &mut Problems) -> Option<Quantity> {
    match &policy.default {
        Some(wire) => quantities::well_formed(problems, &at.field("default"), wire),
        None => {
            problems.required(at.field("default"), why);
            None
        }
    }
}

fn one_of(values: &Vec<Wire>, default: Quantity, all: Quantity, list: &Path<'_>, problems: &mut Problems) {
    let mut amounts = Vec::new();
    for (i, wire) in bounded(Some(values), VALUES_MAX, list, problems).iter().enumerate() {
        let at = list.index(i);
        let Some(amount) = quantities::well_formed(problems, &at, wire) else { continue };
        if amounts.last().is_some_and(|last| *last > amount) {
            problems.invalid(at, amount.to_string(), "values must be sorted in ascending order");
        }
        if amount > all {
            problems.invalid(at, amount.to_string(), &format!("option is larger than capacity value: {all}"));
        }
        amounts.push(amount);
    }
    let texts: Vec<String> = amounts.iter().map(Quantity::to_string).collect();
    unique(&texts, |text| text, list, problems);
    if !amounts.iter().any(|amount| amount.partial_cmp(&default) == Some(Ordering::Equal)) {
        problems.invalid(list, default.to_string(), "default value is not valid according to the requestPolicy");
    }
}

fn within(
    range: &CapacityRequestPolicyRange,
    default: Quantity,
    all: Quantity,
    at: &Path<'_>,
    problems: &mut Problems,
) {
    let (min_at, max_at, step_at) = (at.field("min"), at.field("max"), at.field("step"));
    // An absent one reads as an empty text.
    if range.min.0.is_empty() {
        return problems.required(min_at, "required when validRange is defined");
    }
    let Some(min) = quantities::well_formed(problems, &min_at, &range.min) else { return };
    let max = range.max.as_ref().and_then(|wire| quantities::well_formed(problems, &max_at, wire));
    let step = range.step.as_ref().and_then(|wire| quantities::well_formed(problems, &step_at, wire));
    let mut refuse = |at: &Path<'_>, value: Quantity, why: String| problems.invalid(at, value.to_string(), &why);
    if min > all {
        refuse(&min_at, min, format!("min is larger than capacity value: {all}"));
    }
    if default < min {
        refuse(&min_at, default, format!("default is less than min: {min}"));
    }
    if let Some(max) = max {
        if min > max {
            refuse(&max_at, min, format!("min is larger than max: {max}"));
        }
        if max > all {
            refuse(&max_at, max, format!("max is larger than capacity value: {all}"));
        }
        if default > max {
            refuse(&max_at, default, format!("default is more than max: {max}"));
        }
    }
    let Some(step) = step else { return };
    let first = min + step;
    if first > all {
        refuse(&step_at, step, format!("one step {first} is larger than capacity value: {all}"));
    }
    for value in [Some(default), max].into_iter().flatten() {
        if !is_steps_from(min, value, step) {
            refuse(&step_at, value, format!("value is not a multiple of a given step ({step}) from ({min})"));
        }
    }
}

/// In whole units. No steps lead anywhere if they are of no length.
fn is_steps_from(min: Quantity, value: Quantity, step: Quantity) -> bool {
    let [min, value, step] = [min, value, step].map(|amount| i128::from(amount.units()));
    (value - min).checked_rem(step).map_or(value == min, |rest| rest == 0)
}

//! Which devices are meant.

use corten_api::Problems;
use k8s_openapi::api::resource::v1::DeviceSelector;

use super::lists::bounded;
use crate::registry::path::Path;

const SELECTORS_MAX: usize = 32;
const EXPRESSION_BYTES_MAX: usize = 10 * 1024;

pub fn validate(selectors: Option<&Vec<DeviceSelector>>, list: &Path<'_>, problems: &mut Problems) {
    for (i, selector) in bounded(selectors, SELECTORS_MAX, list, problems).iter().enumerate() {
        let at = list.index(i);
        match &selector.cel {
            None => problems.required(at.field("cel"), ""),
            Some(cel) => expression(&cel.expression, &at.field("cel").field("expression"), problems),
        }
    }
}

/// Whether an expression compiles, and what it may cost at most (1,000,000), will be checked here once there is a CEL engine.
/// Until then a bad one is stored, and no device can be allocated with it.
fn expression(expression: &str, at: &Path<'_>, problems: &mut Problems) {
    if expression.len() > EXPRESSION_BYTES_MAX {
        problems.too_long(at, EXPRESSION_BYTES_MAX);
    }
}

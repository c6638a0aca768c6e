//! What a driver is told about the devices that it prepares.

use corten_api::Problems;
use k8s_openapi::api::resource::v1::OpaqueDeviceConfiguration;
use k8s_openapi::apimachinery::pkg::runtime::RawExtension;
use serde_json::Value;

use super::names;
use crate::registry::path::Path;

/// In a claim, and in a class.
pub const CONFIGS_MAX: usize = 32;
const PARAMETERS_BYTES_MAX: usize = 10 * 1024;

/// `at` is the path of the configuration that the parameters stand in.
pub fn validate(opaque: Option<&OpaqueDeviceConfiguration>, at: &Path<'_>, problems: &mut Problems) {
    let at = at.field("opaque");
    let Some(opaque) = opaque else { return problems.required(at, "") };
    names::driver(&opaque.driver, &at.field("driver"), problems);
    raw(&opaque.parameters, PARAMETERS_BYTES_MAX, &at.field("parameters"), problems);
}

/// An object of a kind that only the driver knows.
pub fn raw(data: &RawExtension, bytes_max: usize, at: &Path<'_>, problems: &mut Problems) {
    match &data.0 {
        Value::Null => problems.required(at, ""),
        Value::Object(_) if data.0.to_string().len() > bytes_max => problems.too_long(at, bytes_max),
        Value::Object(_) => {}
        _ => problems.invalid(at, "<value omitted>", "must be a valid JSON object"),
    }
}

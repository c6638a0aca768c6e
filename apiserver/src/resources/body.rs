//! A body becomes a typed object; fields that nobody knows are ignored, warned of or refused, as asked.

use corten_api::ApiError;

use super::{FieldValidation, WriteOptions};
use crate::decode::wrong_type;
use crate::registry::{AnyObject, Entry};

pub(super) fn decode(
    entry: &dyn Entry,
    json: &[u8],
    options: &WriteOptions,
    warnings: &mut Vec<String>,
) -> Result<Box<dyn AnyObject>, ApiError> {
    let mut findings = Vec::new();
    let mut unknown = |path: String| {
        if options.field_validation != FieldValidation::Ignore {
            findings.push(format!("unknown field \"{path}\""));
        }
    };
    let object = entry.decode(json, &mut unknown).map_err(|err| wrong_type(entry, json, err))?;
    if options.field_validation != FieldValidation::Ignore {
        findings.extend(options.duplicates.iter().map(|path| format!("duplicate field \"{path}\"")));
    }
    match options.field_validation {
        FieldValidation::Strict if !findings.is_empty() => Err(ApiError::bad_request(format!(
            "{kind} in version {:?} cannot be handled as a {kind}: strict decoding error: {}",
            entry.version(),
            findings.join(", "),
            kind = entry.kind(),
        ))),
        FieldValidation::Ignore | FieldValidation::Warn | FieldValidation::Strict => {
            warnings.append(&mut findings);
            Ok(object)
        }
    }
}

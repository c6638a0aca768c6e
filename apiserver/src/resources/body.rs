//! A body becomes a typed object; fields that nobody knows are ignored, warned of or refused, as asked.

use corten_api::ApiError;

use super::{FieldValidation, WriteOptions};
use crate::decode::{DecodeError, check_kind};
use crate::registry::{AnyObject, ApiResource};

/// Of all that is told of one body; the first findings are enough to mend it.
const FINDINGS_BYTES_MAX: usize = 4 * 1024;

pub(super) fn decode(
    resource: &ApiResource,
    json: &[u8],
    options: &WriteOptions,
    warnings: &mut Vec<String>,
) -> Result<Box<dyn AnyObject>, ApiError> {
    let of_kind = |err: DecodeError| err.of_kind(resource.kind(), resource.version());
    let mut body = resource.normal(json).map_err(of_kind)?;
    check_kind(&body, resource.group(), resource.version(), resource.kind())?;
    let object = resource.object(&body).map_err(of_kind)?;
    let mut findings = Vec::new();
    if options.field_validation != FieldValidation::Ignore {
        findings.extend(options.findings.iter().cloned());
        findings.append(&mut body.findings);
    }
    shorten(&mut findings);
    match options.field_validation {
        FieldValidation::Strict if !findings.is_empty() => Err(ApiError::bad_request(format!(
            "{kind} in version {:?} cannot be handled as a {kind}: strict decoding error: {}",
            resource.version(),
            findings.join(", "),
            kind = resource.kind(),
        ))),
        FieldValidation::Ignore | FieldValidation::Warn | FieldValidation::Strict => {
            warnings.append(&mut findings);
            Ok(object)
        }
    }
}

/// Leaves out what is too much, and says how much that is.
fn shorten(findings: &mut Vec<String>) {
    let mut bytes = 0;
    let kept = findings.iter().take_while(|finding| {
        bytes += finding.len();
        bytes <= FINDINGS_BYTES_MAX
    });
    let kept = kept.count();
    let more = findings.len() - kept;
    if more > 0 {
        findings.truncate(kept);
        findings.push(format!("and {more} more"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_much_is_told_of_a_body_and_the_rest_is_counted() {
        let mut few = vec!["x".repeat(200); 20];
        shorten(&mut few);
        assert_eq!(few.len(), 20);
        let mut many = vec!["x".repeat(200); 130];
        shorten(&mut many);
        assert_eq!((many.len(), many.last().map(String::as_str)), (21, Some("and 110 more")));
    }
}

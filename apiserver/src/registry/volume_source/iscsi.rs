//! iSCSI: a disk behind a portal, named as RFC 3720 names them.

use corten_api::Problems;
use k8s_openapi::api::core::v1::{ISCSIPersistentVolumeSource, ISCSIVolumeSource};

use super::required;
use crate::registry::path::Path;

const LUNS: std::ops::RangeInclusive<i32> = 0..=255;
const LUN_RANGE: &str = "must be between 0 and 255, inclusive";
/// The initiator's session is called `<volume name>:<portal>`.
const SESSION_BYTES_MAX: usize = 64;
const SESSION_TOO_LONG: &str = "Total length of <volume name>:<iscsi.targetPortal> must be under 64 characters if iscsi.initiatorName is specified.";

/// What both kinds of source have.
struct Target<'a> {
    portal: &'a str,
    iqn: &'a str,
    lun: i32,
    initiator: Option<&'a str>,
    /// Whether anybody has to log in.
    with_chap: bool,
    has_secret: bool,
}

pub fn of_pod(source: &ISCSIVolumeSource, volume: &str, at: &Path<'_>, problems: &mut Problems) {
    let target = Target {
        portal: &source.target_portal,
        iqn: &source.iqn,
        lun: source.lun,
        initiator: source.initiator_name.as_deref(),
        with_chap: source.chap_auth_discovery == Some(true) || source.chap_auth_session == Some(true),
        has_secret: source.secret_ref.is_some(),
    };
    validate(&target, volume, at, problems);
}

pub fn of_volume(source: &ISCSIPersistentVolumeSource, volume: &str, at: &Path<'_>, problems: &mut Problems) {
    let target = Target {
        portal: &source.target_portal,
        iqn: &source.iqn,
        lun: source.lun,
        initiator: source.initiator_name.as_deref(),
        with_chap: source.chap_auth_discovery == Some(true) || source.chap_auth_session == Some(true),
        has_secret: source.secret_ref.is_some(),
    };
    validate(&target, volume, at, problems);
    if let Some(secret) = &source.secret_ref {
        required(&[("name", super::Secret::of(secret).name)], &at.field("secretRef"), problems);
    }
}

fn validate(target: &Target<'_>, volume: &str, at: &Path<'_>, problems: &mut Problems) {
    required(&[("targetPortal", target.portal), ("iqn", target.iqn)], at, problems);
    if !target.iqn.is_empty() {
        name(target.iqn, &at.field("iqn"), problems);
    }
    if !LUNS.contains(&target.lun) {
        problems.invalid(at.field("lun"), target.lun, LUN_RANGE);
    }
    if target.with_chap && !target.has_secret {
        problems.required(at.field("secretRef"), "");
    }
    if let Some(initiator) = target.initiator {
        name(initiator, &at.field("initiatorName"), problems);
        if volume.len() + 1 + target.portal.len() > SESSION_BYTES_MAX {
            problems.invalid(at.field("targetPortal"), target.portal, SESSION_TOO_LONG);
        }
    }
}

fn name(name: &str, at: &Path<'_>, problems: &mut Problems) {
    let good = match name.get(..3) {
        Some("iqn") => is_iqn(name),
        Some("eui") => is_number(name, 16),
        Some("naa") => is_number(name, 32),
        _ => return problems.invalid(at, name, "must be valid format starting with iqn, eui, or naa"),
    };
    if !good {
        problems.invalid(at, name, "must be valid format");
    }
}

/// `iqn.2015-06.com.example:disk`
fn is_iqn(name: &str) -> bool {
    let parts = name.strip_prefix("iqn.").and_then(|rest| rest.split_once('.'));
    let Some((date, (authority, own))) = parts.and_then(|(date, rest)| Some((date, rest.split_once(':')?))) else {
        return false;
    };
    let is_digits = |text: &str, count: usize| text.len() == count && text.bytes().all(|b| b.is_ascii_digit());
    let date = date.split_once('-').is_some_and(|(year, month)| is_digits(year, 4) && is_digits(month, 2));
    let authority = !authority.is_empty() && authority.bytes().all(|b| b.is_ascii_alphanumeric() || b"-.".contains(&b));
    let own = !own.is_empty() && !own.contains([',', ';', '*', '&', '$', '|', ' ', '\t', '\n', '\r', '\x0c']);
    date && authority && own
}

/// `eui.` or `naa.`, and so many letters and digits.
fn is_number(name: &str, digits: usize) -> bool {
    let number = name.get(4..).unwrap_or_default();
    number.len() == digits && number.bytes().all(|b| b.is_ascii_alphanumeric())
}

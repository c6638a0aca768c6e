//! Whether a priority level makes sense: its shares, and queues that a hash can deal.

use corten_api::Problems;
use k8s_openapi::api::flowcontrol::v1::{
    LimitResponse, LimitedPriorityLevelConfiguration, PriorityLevelConfiguration, PriorityLevelConfigurationSpec,
    QueuingConfiguration,
};

use crate::registry::check;
use crate::registry::flowcontrol::{EXEMPT, bootstrap};
use crate::registry::path::Path;

const QUEUES_MAX: i32 = 10_000_000;
/// Bits of a flow's hash that are spent on dealing it a hand of queues.
const HASH_BITS: u8 = 60;
const KINDS: &[&str] = &["Exempt", "Limited"];
const RESPONSES: &[&str] = &["Queue", "Reject"];
/// Only for v1beta3, which has no other way to say it.
const PRESERVE_ZERO: &str = "flowcontrol.k8s.io/v1beta3-preserve-zero-concurrency-shares";

pub(super) fn validate(level: &PriorityLevelConfiguration, problems: &mut Problems) {
    if level.metadata.annotations.as_ref().is_some_and(|a| a.contains_key(PRESERVE_ZERO)) {
        problems.forbidden("metadata.annotations", &format!("annotation '{PRESERVE_ZERO}' is forbidden"));
    }
    let (at, name) = (Path::root("spec"), check::text(level.metadata.name.as_ref()));
    validate_spec(&level.spec, name, &at, problems);
    let fixed = bootstrap::mandatory().levels.iter().find(|l| l.metadata.name == level.metadata.name);
    let Some(fixed) = fixed.map(|l| &l.spec) else { return };
    if name != EXEMPT && level.spec != *fixed {
        problems.invalid(at, &level.spec, &format!("spec of '{name}' must equal the fixed value"));
    }
    // How large a share the exempt have is for administrators to say.
    let but_shares = PriorityLevelConfigurationSpec { exempt: fixed.exempt.clone(), ..level.spec.clone() };
    if name == EXEMPT && but_shares != *fixed {
        let why = format!("spec of '{name}' except the 'spec.exempt' field must equal the fixed value");
        problems.invalid(at, &level.spec, &why);
    }
}

fn validate_spec(spec: &PriorityLevelConfigurationSpec, name: &str, at: &Path<'_>, problems: &mut Problems) {
    if (name == EXEMPT) != (spec.type_ == "Exempt") {
        let why = "must be 'Exempt' if and only if `name` is 'exempt'";
        problems.invalid(at.field("type"), &spec.type_, why);
    }
    let (limited_at, exempt_at) = (at.field("limited"), at.field("exempt"));
    match (spec.type_.as_str(), &spec.exempt, &spec.limited) {
        ("Exempt", exempt, limited) => {
            if limited.is_some() {
                problems.forbidden(limited_at, "must be nil if the type is not Limited");
            }
            if let Some(exempt) = exempt {
                shares(exempt.nominal_concurrency_shares, &exempt_at, problems);
                lendable(exempt.lendable_percent, &exempt_at, problems);
            }
        }
        ("Limited", exempt, limited) => {
            if exempt.is_some() {
                problems.forbidden(exempt_at, "must be nil if the type is Limited");
            }
            match limited {
                None => problems.required(limited_at, "must not be empty when type is Limited"),
                Some(limited) => validate_limited(limited, &limited_at, problems),
            }
        }
        (other, ..) => problems.unsupported(at.field("type"), other, KINDS),
    }
}

fn shares(shares: Option<i32>, at: &Path<'_>, problems: &mut Problems) {
    if let Some(n) = shares.filter(|n| *n < 0) {
        problems.invalid(at.field("nominalConcurrencyShares"), n, "must be a non-negative integer");
    }
}
fn lendable(percent: Option<i32>, at: &Path<'_>, problems: &mut Problems) {
    if let Some(n) = percent.filter(|n| !(0..=100).contains(n)) {
        problems.invalid(at.field("lendablePercent"), n, "must be between 0 and 100, inclusive");
    }
}

fn validate_limited(limited: &LimitedPriorityLevelConfiguration, at: &Path<'_>, problems: &mut Problems) {
    shares(limited.nominal_concurrency_shares, at, problems);
    validate_response(&limited.limit_response, &at.field("limitResponse"), problems);
    lendable(limited.lendable_percent, at, problems);
    if let Some(n) = limited.borrowing_limit_percent.filter(|n| *n < 0) {
        problems.invalid(at.field("borrowingLimitPercent"), n, "if specified, must be a non-negative integer");
    }
}

fn validate_response(response: &LimitResponse, at: &Path<'_>, problems: &mut Problems) {
    let queuing_at = at.field("queuing");
    match (response.type_.as_str(), &response.queuing) {
        ("Reject", None) => {}
        ("Reject", Some(_)) => {
            problems.forbidden(queuing_at, "must be nil if limited.limitResponse.type is not Limited");
        }
        ("Queue", None) => {
            problems.required(queuing_at, "must not be empty if limited.limitResponse.type is Limited");
        }
        ("Queue", Some(queuing)) => validate_queuing(queuing, &queuing_at, problems),
        (other, _) => problems.unsupported(at.field("type"), other, RESPONSES),
    }
}

fn validate_queuing(queuing: &QueuingConfiguration, at: &Path<'_>, problems: &mut Problems) {
    const POSITIVE: &str = "must be positive";
    let number = |n: Option<i32>| n.unwrap_or(0);
    let (queues, hand) = (number(queuing.queues), number(queuing.hand_size));
    let length = number(queuing.queue_length_limit);
    if length <= 0 {
        problems.invalid(at.field("queueLengthLimit"), length, POSITIVE);
    }
    if queues <= 0 {
        problems.invalid(at.field("queues"), queues, POSITIVE);
    } else if queues > QUEUES_MAX {
        problems.invalid(at.field("queues"), queues, &format!("must not be greater than {QUEUES_MAX}"));
    }
    let hand_at = at.field("handSize");
    if hand <= 0 {
        problems.invalid(hand_at, hand, POSITIVE);
    } else if hand > queues {
        problems.invalid(hand_at, hand, &format!("should not be greater than queues ({queues})"));
    } else if !hash_tells_hands_apart(queues.unsigned_abs(), hand.unsigned_abs()) {
        let why = format!(
            "required entropy bits of deckSize {queues} and handSize {hand} should not be greater than {HASH_BITS}"
        );
        problems.invalid(hand_at, hand, &why);
    }
}

/// Whether a flow's hash has bits enough to tell all hands of so many queues apart. Ends at the first card that is too many,
/// and the twentieth always is: a request cannot make this long.
pub fn hash_tells_hands_apart(queues: u32, hand_size: u32) -> bool {
    let mut bits = 0.0;
    for taken in 0..hand_size {
        let Some(left) = queues.checked_sub(taken).filter(|left| *left > 0) else { return false };
        bits += f64::from(left).log2();
        if bits > f64::from(HASH_BITS) {
            return false;
        }
    }
    true
}

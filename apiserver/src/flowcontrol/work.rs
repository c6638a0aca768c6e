//! How many seats a request takes: one, and more for lists, by how many objects they walk over.

use corten_api::selector::FieldSelector;

/// So many objects of a list are worth one seat. Upstream's number.
const OBJECTS_PER_SEAT: usize = 100;
/// And no list takes more than this: who waits for many seats keeps others waiting.
const LIST_SEATS_MAX: u32 = 10;
/// Selectors that lead to few objects.
const INDEXED: [&str; 2] = ["metadata.name", "spec.nodeName"];

/// What a list or watch walks over.
#[derive(Clone, Copy, Debug)]
pub struct Walk<'a> {
    pub fields: &'a FieldSelector,
    pub selects_labels: bool,
    /// The page's size.
    pub limit: Option<usize>,
}

/// `stored`: how many objects of the kind there are.
pub fn of_list(walk: Walk<'_>, stored: impl FnOnce() -> usize) -> u32 {
    if walk.fields.0.iter().any(|term| !term.negated && INDEXED.contains(&term.field.as_str())) {
        return 1;
    }
    let stored = stored();
    let walked = match walk.limit {
        // Others must be walked over to find those that match.
        Some(limit) if walk.fields.0.is_empty() && !walk.selects_labels => limit.min(stored),
        _ => stored,
    };
    u32::try_from(walked.div_ceil(OBJECTS_PER_SEAT)).unwrap_or(u32::MAX).clamp(1, LIST_SEATS_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_take_seats_by_what_they_walk_over() {
        for (why, stored, fields, selects_labels, limit, expected) in [
            ("nothing", 0, "", false, None, 1),
            ("a few", 100, "", false, None, 1),
            ("more", 101, "", false, None, 2),
            ("all pods of a large cluster", 150_000, "", false, None, 10),
            ("a page of them", 150_000, "", false, Some(500), 5),
            ("a page of those that match", 150_000, "", true, Some(500), 10),
            ("a page of those in a phase", 150_000, "status.phase=Running", false, Some(500), 10),
            ("those of one node", 150_000, "spec.nodeName=n1", false, None, 1),
            ("those of no node but one", 150_000, "spec.nodeName!=n1", false, None, 10),
        ] {
            let fields = FieldSelector::parse(fields).unwrap();
            let walk = Walk { fields: &fields, selects_labels, limit };
            assert_eq!(of_list(walk, || stored), expected, "{why}");
        }
    }
}

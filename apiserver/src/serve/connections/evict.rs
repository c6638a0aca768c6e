//! Who goes when there is no room: decided by what is seen of all, once, when a bound is met.

use std::time::Duration;

/// An open connection.
#[derive(Clone, Copy, Debug)]
pub(super) struct Idle {
    pub(super) id: u64,
    pub(super) identified: bool,
    pub(super) busy: bool,
    /// When its last request ended.
    pub(super) since: Duration,
}

/// The one that has been idle longest, of nobody in particular before anybody's; for a newcomer that shows no certificate
/// only one that showed none either.
pub(super) fn connection(all: impl Iterator<Item = Idle>, identified: bool) -> Option<u64> {
    let may_go = all.filter(|c| !c.busy && (identified || !c.identified));
    may_go.min_by_key(|c| (c.identified, c.since, c.id)).map(|c| c.id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_goes() {
        let secs = Duration::from_secs;
        let open = |id, identified, busy, since| Idle { id, identified, busy, since: secs(since) };
        let strangers = [open(1, false, true, 0), open(2, false, false, 5), open(3, false, false, 4)];
        let known = [open(4, true, false, 1), open(5, true, true, 0)];
        for (why, all, identified, expected) in [
            ("an idle stranger", [&strangers[..], &known].concat(), true, Some(3)),
            ("for a stranger too", strangers.to_vec(), false, Some(3)),
            ("the idlest of those we know", known.to_vec(), true, Some(4)),
            ("not for a stranger", known.to_vec(), false, None),
            ("nobody who is at work", vec![known[1], strangers[0]], true, None),
        ] {
            assert_eq!(connection(all.into_iter(), identified), expected, "{why}");
        }
    }
}

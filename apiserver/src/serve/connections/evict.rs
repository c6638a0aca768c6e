//! Who goes when there is no room: decided by what is seen of all, once, when a bound is met.

use std::time::Duration;

/// A handshake that has begun takes no longer, unless its other end is slow or gone.
const SLOW_HANDSHAKE: Duration = Duration::from_secs(2);

/// A handshake in flight.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shaking {
    pub(super) id: u64,
    /// Whether anything has come from it.
    pub(super) spoke: bool,
    pub(super) since: Duration,
}

/// The oldest that has said nothing; else the oldest that is slow. Many that connect at once speak at once, and do not
/// drive each other out.
pub(super) fn handshake(all: impl Iterator<Item = Shaking>, now: Duration) -> Option<u64> {
    let may_go = all.filter(|h| !h.spoke || now.saturating_sub(h.since) >= SLOW_HANDSHAKE);
    may_go.min_by_key(|h| (h.spoke, h.since, h.id)).map(|h| h.id)
}

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
        let shaking = |id, spoke, since| Shaking { id, spoke, since: secs(since) };
        for (why, all, expected) in [
            ("the oldest silent one", vec![shaking(1, true, 0), shaking(2, false, 9), shaking(3, false, 8)], Some(3)),
            ("else one that is slow", vec![shaking(1, true, 9), shaking(2, true, 8)], Some(2)),
            ("nobody who is quick", vec![shaking(1, true, 9)], None),
        ] {
            assert_eq!(handshake(all.into_iter(), secs(10)), expected, "{why}");
        }
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

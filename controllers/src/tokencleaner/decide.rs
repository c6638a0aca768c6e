//! When a bootstrap token goes.

use std::time::Duration;

use jiff::Timestamp;

use crate::bootstraptokens::{SeenToken, Until};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    Delete,
    /// Look again after this time; `None`: it is good for good.
    Keep(Option<Duration>),
}

pub fn decide(token: &SeenToken, now: Timestamp) -> Action {
    match token.until {
        _ if token.deleting => Action::Keep(None),
        until if until.is_past(now) => Action::Delete,
        Until::At(at) => Action::Keep(Duration::try_from(at.duration_since(now)).ok()),
        _ => Action::Keep(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cleaning_table() {
        let at = |secs| Timestamp::from_second(secs).unwrap();
        let keep = |secs| Action::Keep(Some(Duration::from_secs(secs)));
        for (why, until, deleting, expected) in [
            ("for good", Until::ForGood, false, Action::Keep(None)),
            ("for a while", Until::At(at(160)), false, keep(60)),
            ("its time has come", Until::At(at(100)), false, Action::Delete),
            ("long past", Until::At(at(1)), false, Action::Delete),
            ("no time", Until::Unreadable, false, Action::Delete),
            ("it goes already", Until::At(at(1)), true, Action::Keep(None)),
        ] {
            let token = SeenToken { until, deleting, ..SeenToken::default() };
            assert_eq!(decide(&token, at(100)), expected, "{why}");
        }
    }
}

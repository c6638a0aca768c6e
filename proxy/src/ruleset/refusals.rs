//! What was told of claims that are refused: each is told once. Pure.

use std::collections::{BTreeSet, HashMap};

use super::Owner;
use super::ledger::Refusal;

/// No more than there are claims.
#[derive(Debug, Default)]
pub struct Refusals {
    told: HashMap<Owner, BTreeSet<Refusal>>,
}

impl Refusals {
    /// `now` is all that is refused to `owner`. Returns what was not the last time.
    pub fn news(&mut self, owner: &Owner, now: BTreeSet<Refusal>) -> Vec<Refusal> {
        let before =
            if now.is_empty() { self.told.remove(owner) } else { self.told.insert(owner.clone(), now.clone()) };
        let before = before.unwrap_or_default();
        now.into_iter().filter(|refusal| !before.contains(refusal)).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use corten_api::Key;

    use super::*;
    use crate::ruleset::Front;
    use crate::view::Protocol;

    #[test]
    fn what_is_refused_is_told_once_and_again_when_it_is_refused_anew() {
        let (owner, other) = (Owner::Pod(Key::new("n", "p")), Owner::Pod(Key::new("n", "q")));
        let refused = |port| {
            let front = Front { address: Ipv4Addr::LOCALHOST, protocol: Protocol::Tcp, port };
            Refusal { front, holder: Owner::Node("a".into()) }
        };
        let mut refusals = Refusals::default();
        let mut news = |owner: &Owner, ports: &[u16]| {
            let now = ports.iter().map(|port| refused(*port)).collect();
            refusals.news(owner, now).iter().map(|refusal| refusal.front.port).collect::<Vec<u16>>()
        };
        assert_eq!(news(&owner, &[80, 81]), [80, 81]);
        assert_eq!(news(&owner, &[80, 81]), [0; 0]);
        assert_eq!(news(&other, &[80]), [80]);
        assert_eq!(news(&owner, &[81, 82]), [82]);
        assert_eq!(news(&owner, &[]), [0; 0]);
        assert_eq!(news(&owner, &[81]), [81]);
    }
}

//! Which of the objects in a namespace belong to an owner, by selector and controller reference.

use corten_api::selector::Matcher;

use crate::pods::Labels;

/// What is known of one object that may belong to the owner.
#[derive(Clone, Debug)]
pub struct Candidate<'a, T> {
    pub target: T,
    pub labels: &'a Labels,
    /// The uid of the controller it has.
    pub controller: Option<&'a str>,
    pub deleting: bool,
    /// Ended for good; not worth adopting.
    pub terminal: bool,
    /// A kubelet's copy of a file on its node. Adopted, it would count for a pod that the owner can never replace.
    pub mirror: bool,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Claim<T> {
    /// Owned already, and still selected.
    pub owned: Vec<T>,
    /// Selected orphans.
    pub adopt: Vec<T>,
    /// Owned, but no longer selected.
    pub release: Vec<T>,
}

impl<T> Claim<T> {
    pub fn map<U>(&self, by: impl Fn(&T) -> U) -> Claim<U> {
        let all = |list: &[T]| list.iter().map(&by).collect();
        Claim { owned: all(&self.owned), adopt: all(&self.adopt), release: all(&self.release) }
    }
    /// Nothing has to be adopted or released.
    pub fn is_settled(&self) -> bool {
        self.adopt.is_empty() && self.release.is_empty()
    }
}

/// <https://kubernetes.io/docs/concepts/workloads/controllers/replicaset/#non-template-pod-acquisitions>
pub fn claim<'a, T>(
    owner_uid: &str,
    owner_deleting: bool,
    selector: &Matcher,
    candidates: impl IntoIterator<Item = Candidate<'a, T>>,
) -> Claim<T> {
    let mut claim = Claim { owned: Vec::new(), adopt: Vec::new(), release: Vec::new() };
    for c in candidates {
        let selected = selector.matches(c.labels);
        match c.controller {
            Some(uid) if uid == owner_uid && selected => claim.owned.push(c.target),
            // A deleting owner leaves the rest to the garbage collector.
            Some(uid) if uid == owner_uid && !owner_deleting => claim.release.push(c.target),
            None if selected && !owner_deleting && !c.deleting && !c.terminal && !c.mirror => {
                claim.adopt.push(c.target)
            }
            _ => {}
        }
    }
    claim
}

#[cfg(test)]
mod tests {
    use corten_api::selector::Selector;

    use super::*;

    #[test]
    fn claim_table() {
        let web: Labels = [("app".to_owned(), "web".to_owned())].into();
        let other: Labels = [("app".to_owned(), "other".to_owned())].into();
        let selector = Matcher::from(Selector::from_labels(Some(&web)));
        let seen = |labels, controller, deleting, terminal| {
            let mirror = false;
            Candidate { target: (), labels, controller, deleting, terminal, mirror }
        };
        let mirror = Candidate { mirror: true, ..seen(&web, None, false, false) };
        // why, owner is deleting, candidate, (owned, adopted, released)
        let cases = [
            ("ours and selected: kept", false, seen(&web, Some("me"), false, false), (1, 0, 0)),
            ("ours but relabelled: released", false, seen(&other, Some("me"), false, false), (0, 0, 1)),
            ("an orphan that matches: adopted", false, seen(&web, None, false, false), (0, 1, 0)),
            ("an orphan on its way out: left", false, seen(&web, None, true, false), (0, 0, 0)),
            ("an orphan that has ended: left", false, seen(&web, None, false, true), (0, 0, 0)),
            ("a static pod's mirror: left", false, mirror, (0, 0, 0)),
            ("an orphan that does not match: left", false, seen(&other, None, false, false), (0, 0, 0)),
            ("another's: left", false, seen(&web, Some("you"), false, false), (0, 0, 0)),
            ("a deleting owner adopts nothing", true, seen(&web, None, false, false), (0, 0, 0)),
            ("a deleting owner releases nothing", true, seen(&other, Some("me"), false, false), (0, 0, 0)),
            ("a deleting owner still counts its own", true, seen(&web, Some("me"), false, false), (1, 0, 0)),
        ];
        for (why, owner_deleting, candidate, expected) in cases {
            let got = claim("me", owner_deleting, &selector, [candidate]);
            assert_eq!((got.owned.len(), got.adopt.len(), got.release.len()), expected, "{why}");
        }
    }

    #[test]
    fn a_claim_is_settled_when_nobody_comes_or_goes() {
        let claim =
            |adopt: &[u8], release: &[u8]| Claim { owned: vec![1], adopt: adopt.into(), release: release.into() };
        assert!(claim(&[], &[]).is_settled());
        assert!(!claim(&[2], &[]).is_settled() && !claim(&[], &[3]).is_settled());
        let doubled = Claim { owned: vec![2], adopt: vec![4], release: vec![6] };
        assert_eq!(claim(&[2], &[3]).map(|n| n * 2), doubled);
    }
}

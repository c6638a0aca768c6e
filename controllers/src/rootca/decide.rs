//! What a namespace's copy of the root CA needs.

/// Everything the decision may look at.
#[derive(Clone, Copy, Debug)]
pub struct Observed {
    /// `None`: there is no such namespace; else whether it is being deleted.
    pub namespace: Option<bool>,
    /// `None`: no ConfigMap; else whether it has the right content.
    pub is_right: Option<bool>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    Keep,
    Create,
    Repair,
}

pub fn decide(seen: Observed) -> Action {
    match (seen.namespace, seen.is_right) {
        (Some(false), None) => Action::Create,
        (Some(false), Some(false)) => Action::Repair,
        _ => Action::Keep,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_ca_table() {
        let cases = [
            ("new namespace", Some(false), None, Action::Create),
            ("somebody edited it", Some(false), Some(false), Action::Repair),
            ("right", Some(false), Some(true), Action::Keep),
            ("the namespace is being emptied", Some(true), None, Action::Keep),
            ("the namespace is gone", None, Some(false), Action::Keep),
        ];
        for (why, namespace, is_right, expected) in cases {
            assert_eq!(decide(Observed { namespace, is_right }), expected, "{why}");
        }
    }
}

//! Whether a namespace still needs its `default` ServiceAccount.

/// Everything the decision may look at.
#[derive(Clone, Copy, Debug)]
pub struct Observed {
    /// `None`: there is no such namespace; else whether it is being deleted.
    pub namespace: Option<bool>,
    pub has_account: bool,
}

pub fn is_missing(seen: Observed) -> bool {
    seen.namespace == Some(false) && !seen.has_account
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_table() {
        let cases = [
            ("new namespace", Some(false), false, true),
            ("has one", Some(false), true, false),
            ("is being emptied: nothing new", Some(true), false, false),
            ("gone", None, false, false),
        ];
        for (why, namespace, has_account, expected) in cases {
            assert_eq!(is_missing(Observed { namespace, has_account }), expected, "{why}");
        }
    }
}

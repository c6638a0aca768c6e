//! How volumes may be mounted, and what claims ask for: access modes, and the mode of the volume itself.
//!
//! <https://kubernetes.io/docs/concepts/storage/persistent-volumes/#access-modes>

use corten_api::Problems;

use super::check;
use super::path::Path;

const SINGLE_POD: &str = "ReadWriteOncePod";
const ACCESS_MODES: &[&str] = &["ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", SINGLE_POD];
const VOLUME_MODES: &[&str] = &["Block", "Filesystem"];
pub const DEFAULT_VOLUME_MODE: &str = "Filesystem";

/// `why_none`: what is said where there is none.
pub fn validate(modes: Option<&Vec<String>>, why_none: &str, at: &Path<'_>, problems: &mut Problems) {
    let modes = modes.map(Vec::as_slice).unwrap_or_default();
    if modes.is_empty() {
        problems.required(at, why_none);
    }
    let (mut single, mut other) = (false, false);
    for mode in modes {
        match mode.as_str() {
            SINGLE_POD => single = true,
            known if ACCESS_MODES.contains(&known) => other = true,
            unknown => problems.unsupported(at, unknown, ACCESS_MODES),
        }
    }
    if single && other {
        problems.forbidden(at, "may not use ReadWriteOncePod with other access modes");
    }
}

pub fn volume_mode(mode: Option<&String>, at: &Path<'_>, problems: &mut Problems) {
    check::optional_word(problems, at, mode, VOLUME_MODES);
}

/// `RWO,ROX`, always in the same order.
pub fn text(modes: Option<&Vec<String>>) -> String {
    const SHORT: [(&str, &str); 4] =
        [("ReadWriteOnce", "RWO"), ("ReadOnlyMany", "ROX"), ("ReadWriteMany", "RWX"), (SINGLE_POD, "RWOP")];
    let has = |mode: &str| modes.into_iter().flatten().any(|one| one == mode);
    let shown: Vec<&str> = SHORT.iter().filter(|(mode, _)| has(mode)).map(|(_, short)| *short).collect();
    shown.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::check::testing::texts;

    #[test]
    fn modes_are_known_and_a_single_pods_stands_alone() {
        const KNOWN: &str = r#"supported values: "ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod""#;
        let cases: [(&[&str], Vec<String>); 5] = [
            (&["ReadWriteOnce", "ReadOnlyMany"], vec![]),
            (&["ReadWriteOncePod"], vec![]),
            (&[], vec!["f: Required value: one at least".into()]),
            (&["Once"], vec![format!(r#"f: Unsupported value: "Once": {KNOWN}"#)]),
            (
                &["ReadWriteOncePod", "ReadWriteMany"],
                vec!["f: Forbidden: may not use ReadWriteOncePod with other access modes".into()],
            ),
        ];
        for (modes, expected) in cases {
            let modes = modes.iter().map(|mode| (*mode).to_owned()).collect();
            let mut problems = Problems::default();
            validate(Some(&modes), "one at least", &Path::root("f"), &mut problems);
            assert_eq!(texts(&problems), expected, "{modes:?}");
        }
    }

    #[test]
    fn they_are_shown_short_and_in_order() {
        let modes = ["ReadOnlyMany", "ReadWriteOnce", "ReadOnlyMany", "Odd"].map(str::to_owned).to_vec();
        assert_eq!(text(Some(&modes)), "RWO,ROX");
        assert_eq!(text(None), "");
    }
}

//! What a namespace's labels ask for: a level for each mode, of some version.

use std::collections::BTreeMap;
use std::fmt;

use corten_api::Problems;

use crate::registry::path::Path;

const PREFIX: &str = "pod-security.kubernetes.io/";
const BAD_LEVEL: &str = "must be one of privileged, baseline, restricted";
const BAD_VERSION: &str = "must be \"latest\" or \"v1.x\"";

/// From the least strict to the strictest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Level {
    Privileged,
    Baseline,
    Restricted,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Version {
    /// 1.x
    Minor(u64),
    Latest,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Standard {
    pub(super) level: Level,
    pub(super) version: Version,
}

/// What is refused, and what is told. What is to be written to an audit log is checked and not kept: there is no such log here
/// yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Policy {
    pub(super) enforce: Standard,
    pub(super) warn: Standard,
}

impl Policy {
    /// Labels that make no sense are problems; then the strictest is enforced, and nothing warned of.
    pub(super) fn of(labels: Option<&BTreeMap<String, String>>, problems: &mut Problems) -> Self {
        let mut mode = |name: &str| {
            let level = label(labels, name, Level::parse, BAD_LEVEL, problems);
            let version = label(labels, &format!("{name}-version"), Version::parse, BAD_VERSION, problems);
            (level, version)
        };
        let ((level, version), _audit, (warn_level, warn_version)) = (mode("enforce"), mode("audit"), mode("warn"));
        let usual = |version: Label<Version>| version.unwrap_or(Version::Latest);
        let enforce = match level {
            Label::Absent => Level::Privileged,
            Label::Good(level) => level,
            Label::Bad => Level::Restricted,
        };
        let enforce = Standard { level: enforce, version: usual(version) };
        let warn = match (warn_level, level) {
            // Who asks for a level wants to be warned of it.
            (Label::Absent, Label::Good(level)) => {
                let version = if warn_version == Label::Absent { enforce.version } else { usual(warn_version) };
                Standard { level, version }
            }
            (warn, _) => Standard { level: warn.unwrap_or(Level::Privileged), version: usual(warn_version) },
        };
        Self { enforce, warn }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Label<T> {
    Absent,
    Good(T),
    Bad,
}

impl<T> Label<T> {
    fn unwrap_or(self, otherwise: T) -> T {
        if let Self::Good(value) = self { value } else { otherwise }
    }
}

fn label<T>(
    labels: Option<&BTreeMap<String, String>>,
    name: &str,
    parse: fn(&str) -> Option<T>,
    why: &str,
    problems: &mut Problems,
) -> Label<T> {
    let key = format!("{PREFIX}{name}");
    let Some(text) = labels.and_then(|labels| labels.get(&key)) else { return Label::Absent };
    match parse(text) {
        Some(value) => Label::Good(value),
        None => {
            problems.invalid(Path::root("metadata").field("labels").key(&key), text, why);
            Label::Bad
        }
    }
}

impl Level {
    const ALL: [Self; 3] = [Self::Privileged, Self::Baseline, Self::Restricted];

    fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|level| level.as_str() == text)
    }
    fn as_str(self) -> &'static str {
        match self {
            Self::Privileged => "privileged",
            Self::Baseline => "baseline",
            Self::Restricted => "restricted",
        }
    }
}

impl Version {
    fn parse(text: &str) -> Option<Self> {
        if text == "latest" {
            return Some(Self::Latest);
        }
        let digits = text.strip_prefix("v1.")?;
        let canonical = digits == "0" || !digits.starts_with(['0', '+']);
        digits.parse().ok().filter(|_| canonical).map(Self::Minor)
    }
}

impl fmt::Display for Standard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.version {
            Version::Latest => write!(f, "{}:latest", self.level.as_str()),
            Version::Minor(minor) => write!(f, "{}:v1.{minor}", self.level.as_str()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::check::testing::texts;

    #[test]
    fn labels_read_as_a_policy() {
        let (level, version) = (BAD_LEVEL, BAD_VERSION);
        let bad = |label: &str, value: &str, why: &str| {
            format!("metadata.labels[{PREFIX}{label}]: Invalid value: {value:?}: {why}")
        };
        for (labels, enforce, warn, problems) in [
            (vec![], "privileged:latest", "privileged:latest", vec![]),
            (vec![("enforce", "baseline")], "baseline:latest", "baseline:latest", vec![]),
            (vec![("enforce", "baseline"), ("enforce-version", "v1.25")], "baseline:v1.25", "baseline:v1.25", vec![]),
            (
                vec![("enforce", "baseline"), ("warn", "restricted"), ("warn-version", "v1.0")],
                "baseline:latest",
                "restricted:v1.0",
                vec![],
            ),
            (vec![("enforce", "restricted"), ("warn", "baseline")], "restricted:latest", "baseline:latest", vec![]),
            (
                vec![("enforce", "restricted"), ("enforce-version", "v1.25"), ("warn-version", "v1.30")],
                "restricted:v1.25",
                "restricted:v1.30",
                vec![],
            ),
            (vec![("warn", "restricted")], "privileged:latest", "restricted:latest", vec![]),
            (
                vec![("audit", "restricted"), ("audit-version", "latest")],
                "privileged:latest",
                "privileged:latest",
                vec![],
            ),
            (
                vec![("enforce", "strict")],
                "restricted:latest",
                "privileged:latest",
                vec![bad("enforce", "strict", level)],
            ),
            (
                vec![("warn", ""), ("enforce", "baseline")],
                "baseline:latest",
                "privileged:latest",
                vec![bad("warn", "", level)],
            ),
            (
                vec![("audit", "x"), ("audit-version", "x")],
                "privileged:latest",
                "privileged:latest",
                vec![bad("audit", "x", level), bad("audit-version", "x", version)],
            ),
            (
                vec![("enforce", "baseline"), ("enforce-version", "1.25")],
                "baseline:latest",
                "baseline:latest",
                vec![bad("enforce-version", "1.25", version)],
            ),
            (
                vec![("enforce-version", "v1.01")],
                "privileged:latest",
                "privileged:latest",
                vec![bad("enforce-version", "v1.01", version)],
            ),
            (
                vec![("warn-version", "v1.+1")],
                "privileged:latest",
                "privileged:latest",
                vec![bad("warn-version", "v1.+1", version)],
            ),
            (
                vec![("warn-version", "v1.")],
                "privileged:latest",
                "privileged:latest",
                vec![bad("warn-version", "v1.", version)],
            ),
        ] {
            let map = labels.iter().map(|(name, value)| (format!("{PREFIX}{name}"), (*value).to_owned())).collect();
            let mut found = Problems::default();
            let policy = Policy::of(Some(&map), &mut found);
            assert_eq!(
                (policy.enforce.to_string().as_str(), policy.warn.to_string().as_str()),
                (enforce, warn),
                "{labels:?}"
            );
            assert_eq!(texts(&found), problems, "{labels:?}");
        }
    }
}

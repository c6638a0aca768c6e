//! Whether a machine can be a master, before anything on it is changed.
//!
//! - `facts`: what there is to be known of a machine; `gather` and `running_etcd`: ask a real one
//! - `checks`: pure judgements over facts, each with what is wrong and what to do; `firewalls`: that of who drops packets
//!
//! Names are upstream's where the check is the same.
mod checks;
mod facts;
mod firewalls;
mod gather;
mod running_etcd;
#[cfg(test)]
mod tests;

pub use facts::{CgroupVersion, Cgroups, Facts, Feature, Listener, Process, RunningEtcd, Version};
pub use firewalls::Firewall;
pub use gather::gather;

use crate::config::Plan;

/// Ignores every check.
const ALL: &str = "all";
/// A port's check is called `Port-6443`.
pub(crate) const PORT: &str = "Port-";

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Goes on, perhaps not well.
    Warning,
    /// Nothing is begun.
    Error,
}

/// Something that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// What `--ignore-preflight-errors` calls it.
    pub check: String,
    pub severity: Severity,
    pub what: String,
    /// What to do about it.
    pub remedy: String,
}

/// What came of all checks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Checks that found nothing.
    pub passed: Vec<&'static str>,
    pub problems: Vec<Problem>,
    /// Errors that are to be ignored.
    pub ignored: Vec<Problem>,
}

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum PreflightError {
    #[error("there is no check {given:?} to ignore: there are {ALL}, {PORT}NUMBER, {known}")]
    NoSuchCheck { given: String, known: String },
    #[error(
        "this machine is not ready ({count} of its checks failed): mend what is said above, or go on all the same with \
         --ignore-preflight-errors={names}"
    )]
    NotReady { count: usize, names: String },
}

/// Judges a machine. Names of checks that there are not are refused: whoever ignores `Swpa` still has swap.
pub fn judge(facts: &Facts, plan: &Plan) -> Result<Report, PreflightError> {
    let ignored = &plan.ignore_preflight_errors;
    let is = |one: &str, other: &str| one.eq_ignore_ascii_case(other);
    let known = |name: &&String| {
        let of_port = name.len() > PORT.len() && name.get(..PORT.len()).is_some_and(|start| is(start, PORT));
        of_port || is(name, ALL) || checks::CHECKS.iter().any(|check| check.name != PORT && is(check.name, name))
    };
    if let Some(given) = ignored.iter().find(|name| !known(name)) {
        let known: Vec<&str> = checks::CHECKS.iter().map(|check| check.name).filter(|name| *name != PORT).collect();
        return Err(PreflightError::NoSuchCheck { given: given.clone(), known: known.join(", ") });
    }
    let mut report = Report::default();
    for check in checks::CHECKS {
        let problems = check.run(facts, plan);
        if problems.is_empty() {
            report.passed.push(check.name);
        }
        for problem in problems {
            let ignore = ignored.iter().any(|name| is(name, ALL) || is(name, &problem.check));
            let list = if ignore { &mut report.ignored } else { &mut report.problems };
            list.push(problem);
        }
    }
    Ok(report)
}

impl Report {
    /// Nothing is begun on a machine with errors.
    pub fn verdict(&self) -> Result<(), PreflightError> {
        let errors = self.problems.iter().filter(|problem| problem.severity == Severity::Error);
        let names: Vec<&str> = errors.map(|problem| problem.check.as_str()).collect();
        match names.len() {
            0 => Ok(()),
            count => Err(PreflightError::NotReady { count, names: names.join(",") }),
        }
    }

    /// A line for each check; two for what is wrong.
    pub fn render(&self) -> String {
        let mut text: String =
            self.passed.iter().map(|name| format!("  ok    {}\n", name.trim_end_matches('-'))).collect();
        for problem in &self.ignored {
            text.push_str(&format!("  ignored  {}: {}\n", problem.check, problem.what));
        }
        for problem in &self.problems {
            let word = match problem.severity {
                Severity::Warning => "warn",
                Severity::Error => "FAIL",
            };
            text.push_str(&format!("  {word}  {}: {}\n        {}\n", problem.check, problem.what, problem.remedy));
        }
        text
    }
}

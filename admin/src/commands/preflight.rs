//! `cortenadm preflight`: says whether this machine can be a master, and changes nothing.
use cortenadm::config::Plan;
use cortenadm::preflight::{self, gather};
use cortenadm::topology::Layout;

use super::config::SettingsArgs;
use super::{Failure, print};

pub(crate) fn run(args: &SettingsArgs) -> Result<(), Failure> {
    check(&args.effective()?.plan()?)
}

/// Prints what was found; an error if that forbids to go on.
pub(crate) fn check(plan: &Plan) -> Result<(), Failure> {
    let report = preflight::judge(&gather(plan, &Layout::machine()), plan)?;
    print(&report.render())?;
    Ok(report.verdict()?)
}

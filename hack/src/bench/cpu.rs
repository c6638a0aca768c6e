//! CPU seconds a process has used, from /proc/PID/stat.
use std::fs;

use anyhow::Context;
use nix::unistd::{SysconfVar, sysconf};

/// User and system time since the process began, with all its threads.
pub(super) fn seconds(pid: u32) -> anyhow::Result<f64> {
    let path = format!("/proc/{pid}/stat");
    let stat = fs::read_to_string(&path).with_context(|| format!("cannot read {path}: has the process ended?"))?;
    let ticks = ticks(&stat).with_context(|| format!("{path} has another shape than proc(5) says"))?;
    let per_second = sysconf(SysconfVar::CLK_TCK)?.context("the system does not say how long a tick is")?;
    Ok(ticks as f64 / per_second as f64)
}

/// Fields 14 and 15 of proc(5). The name in field 2 may hold blanks and brackets, so counting starts after it.
fn ticks(stat: &str) -> Option<u64> {
    let after_name = &stat[stat.rfind(')')? + 1..];
    let mut fields = after_name.split_whitespace().skip(11);
    let (user, system): (u64, u64) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
    Some(user + system)
}

#[cfg(test)]
mod tests {
    #[test]
    fn user_and_system_time_are_summed() {
        let stat = "812 (a b) c) S 1 812 812 0 -1 4194560 100 0 0 0 70 30 0 0 20 0 3 0 1 2 3";
        assert_eq!(super::ticks(stat), Some(100));
        assert_eq!(super::ticks("nonsense"), None);
    }
}

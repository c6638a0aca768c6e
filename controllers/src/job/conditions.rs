//! A Job's conditions: which there are, and whether it has finished.

use corten_api::conditions;
use corten_api::k8s_openapi::api::batch::v1::{Job, JobCondition};
use corten_api::k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use jiff::Timestamp;

pub const COMPLETE: &str = "Complete";
pub const FAILED: &str = "Failed";
/// It is to be Failed once its pods have ended and are counted.
pub const FAILURE_TARGET: &str = "FailureTarget";
/// It is to be Complete once its pods have ended and are counted.
pub const SUCCESS_CRITERIA_MET: &str = "SuccessCriteriaMet";
pub const SUSPENDED: &str = "Suspended";

pub fn new(kind: &str, status: &str, reason: &str, message: &str, now: Timestamp) -> JobCondition {
    JobCondition {
        type_: kind.into(),
        status: status.into(),
        reason: Some(reason.into()),
        message: Some(message.into()),
        last_probe_time: Some(Time(now)),
        last_transition_time: Some(Time(now)),
    }
}

/// Sets a condition as a whole. Returns whether that changes anything; one that is not there is not set to False.
pub fn ensure(list: &mut Vec<JobCondition>, wanted: JobCondition) -> bool {
    match list.iter_mut().find(|c| c.type_ == wanted.type_) {
        Some(there) => {
            let same =
                there.status == wanted.status && there.reason == wanted.reason && there.message == wanted.message;
            if !same {
                *there = wanted;
            }
            !same
        }
        None if wanted.status == "False" => false,
        None => {
            list.push(wanted);
            true
        }
    }
}

/// The condition of this type, if it is True.
pub fn is_set<'a>(job: &'a Job, kind: &str) -> Option<&'a JobCondition> {
    conditions::find(job.status.as_ref()?.conditions.as_ref(), kind).filter(|c| c.status == "True")
}

/// Complete or Failed: nothing of the Job will ever run again.
pub fn finished(job: &Job) -> Option<&JobCondition> {
    let list = job.status.as_ref()?.conditions.as_ref()?;
    list.iter().find(|c| c.status == "True" && [COMPLETE, FAILED].contains(&c.type_.as_str()))
}
pub fn is_finished(job: &Job) -> bool {
    finished(job).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ensure_table() {
        let at = |secs| Timestamp::from_second(secs).unwrap();
        let mut list = Vec::new();
        for (why, status, reason, secs, changes, since) in [
            ("what was never so does not cease", "False", "JobResumed", 1, false, None),
            ("it begins", "True", "JobSuspended", 2, true, Some(2)),
            ("nothing new", "True", "JobSuspended", 3, false, Some(2)),
            ("it ends", "False", "JobResumed", 4, true, Some(4)),
        ] {
            assert_eq!(ensure(&mut list, new(SUSPENDED, status, reason, "", at(secs))), changes, "{why}");
            let set = list.first().and_then(|c: &JobCondition| c.last_transition_time.clone());
            assert_eq!(set, since.map(|secs| Time(at(secs))), "{why}");
        }
    }
}

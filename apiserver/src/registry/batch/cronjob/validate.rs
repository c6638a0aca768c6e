//! Whether a CronJob makes sense: its schedule, its time zone, the Jobs that it makes.
//!
//! Rules: <https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/cron-job-v1/>.

use corten_api::{Problems, cron};
use k8s_openapi::api::batch::v1::{CronJob, CronJobSpec, JobTemplateSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use crate::registry::batch::job;
use crate::registry::path::Path;
use crate::registry::{check, workload};

/// Its Jobs are named after it and the minute that they are made for: eleven characters more, and a label at most.
const NAME_BYTES_MAX: usize = 52;
const ZONE_PART_BYTES_MAX: usize = 14;
/// What a schedule has in it that names a time zone of its own.
const ZONE_MARK: &str = "TZ";

pub(super) fn cronjob(cronjob: &CronJob, problems: &mut Problems) {
    let at = Path::root("spec");
    spec(&cronjob.spec, &cronjob.metadata, &at, problems);
    if !check::is_new(&cronjob.metadata) {
        return;
    }
    zone_in_schedule(&cronjob.spec, false, &at, problems);
    time_zone(cronjob.spec.time_zone.as_ref(), &at, problems);
    if let Some(name) = cronjob.metadata.name.as_ref().filter(|name| name.len() > NAME_BYTES_MAX) {
        problems.invalid("metadata.name", name, &format!("must be no more than {NAME_BYTES_MAX} characters"));
    }
}

/// Old CronJobs keep their long names, and their schedules that name a time zone.
pub(super) fn update(new: &CronJob, old: &CronJob, problems: &mut Problems) {
    let at = Path::root("spec");
    let (new, old) = (&new.spec, &old.spec);
    let (jobs, were) = (new.job_template.spec.as_ref(), old.job_template.spec.as_ref());
    let template_at = Path::root("spec.jobTemplate.spec.template");
    workload::validate_template_update(
        jobs.map(|jobs| &jobs.template),
        were.map(|jobs| &jobs.template),
        &template_at,
        problems,
    );
    zone_in_schedule(new, old.schedule.contains(ZONE_MARK), &at, problems);
    // A time zone that is no more does not hold back other changes.
    if new.time_zone != old.time_zone {
        time_zone(new.time_zone.as_ref(), &at, problems);
    }
}

fn spec(spec: &CronJobSpec, owner: &ObjectMeta, at: &Path<'_>, problems: &mut Problems) {
    let schedule_at = at.field("schedule");
    if spec.schedule.is_empty() {
        problems.required(schedule_at, "");
    } else if let Err(err) = cron::Schedule::parse(&spec.schedule) {
        problems.invalid(schedule_at, &spec.schedule, &err.to_string());
    }
    check::not_negative(problems, &at.field("startingDeadlineSeconds"), spec.starting_deadline_seconds);
    let known = ["Allow", "Forbid", "Replace"];
    check::word(problems, &at.field("concurrencyPolicy"), spec.concurrency_policy.as_ref(), &known);
    jobs(&spec.job_template, owner, &at.field("jobTemplate").field("spec"), problems);
    check::not_negative(problems, &at.field("successfulJobsHistoryLimit"), spec.successful_jobs_history_limit);
    check::not_negative(problems, &at.field("failedJobsHistoryLimit"), spec.failed_jobs_history_limit);
}

/// Their labels and selectors are made when they are.
fn jobs(template: &JobTemplateSpec, owner: &ObjectMeta, at: &Path<'_>, problems: &mut Problems) {
    let Some(spec) = &template.spec else { return problems.required(at, "") };
    job::validate::spec(spec, owner, at, problems);
    if let Some(selector) = &spec.selector {
        problems.invalid(at.field("selector"), selector, "`selector` will be auto-generated");
    }
    if spec.manual_selector == Some(true) {
        problems.unsupported(at.field("manualSelector"), spec.manual_selector, &["nil", "false"]);
    }
}

/// A time zone has a field of its own. `is_old`: whether it is one of those that name it in the schedule.
fn zone_in_schedule(spec: &CronJobSpec, is_old: bool, at: &Path<'_>, problems: &mut Problems) {
    let why = match (is_old, &spec.time_zone) {
        _ if !spec.schedule.contains(ZONE_MARK) => return,
        (false, _) => "cannot use TZ or CRON_TZ in schedule, use timeZone field instead",
        (true, Some(_)) => "cannot use both timeZone field and TZ or CRON_TZ in schedule",
        (true, None) => return,
    };
    problems.invalid(at.field("schedule"), &spec.schedule, why);
}

/// What is no name is told apart from what none has, as in IANA's database:
/// <https://data.iana.org/time-zones/theory.html#naming>.
fn time_zone(name: Option<&String>, at: &Path<'_>, problems: &mut Problems) {
    let Some(name) = name else { return };
    let at = at.field("timeZone");
    let unknown = || format!("unknown time zone {name}");
    if name.is_empty() {
        return problems.invalid(at, name, "timeZone must be nil or non-empty string");
    }
    if !name.split('/').all(is_zone_part) {
        return problems.invalid(at, name, &unknown());
    }
    if name.eq_ignore_ascii_case("Local") {
        let why = "timeZone must be an explicit time zone as defined in https://www.iana.org/time-zones";
        problems.invalid(at, name, why);
    }
    if name != "Local" && cron::time_zone(name).is_none() {
        problems.invalid(at, name, &unknown());
    }
}

fn is_zone_part(part: &str) -> bool {
    let is_good = |c: u8| c.is_ascii_alphanumeric() || b".-_+".contains(&c);
    (1..=ZONE_PART_BYTES_MAX).contains(&part.len())
        && part.bytes().all(is_good)
        && !matches!(part, "." | "..")
        && !part.starts_with('-')
}

//! CronJob: Jobs made by a schedule.

mod validate;

use corten_api::Problems;
use k8s_openapi::api::batch::v1::CronJob;

use super::job;
use crate::registry::defaults::fill;
use crate::registry::path::Path;
use crate::registry::{Cell, Column, Kind, WriteContext, cells, workload};

const SUCCESSFUL_JOBS_KEPT: i32 = 3;
const FAILED_JOBS_KEPT: i32 = 1;

const COLUMNS: &[Column] = &[
    cells::NAME,
    cells::text("Schedule", "When Jobs are made"),
    cells::text("Timezone", "Whose time the schedule means"),
    cells::column("Suspend", "boolean", "", "Whether no Jobs are made now", 0),
    cells::integer("Active", "Jobs that run now"),
    cells::text("Last Schedule", "Time since a Job was made last"),
    cells::AGE,
    cells::CONTAINERS,
    cells::IMAGES,
    cells::SELECTOR,
];

const NO_ZONE_IN_SCHEDULE: &str = "cannot use TZ or CRON_TZ in spec.spec.schedule, use timeZone instead, see https://kubernetes.io/docs/concepts/workloads/controllers/cron-jobs/ for more details";

impl Kind for CronJob {
    const SINGULAR: &'static str = "cronjob";
    const SHORT_NAMES: &'static [&'static str] = &["cj"];
    const CATEGORIES: &'static [&'static str] = &["all"];
    const STORE_PREFIX: &'static str = "cronjobs";
    const SUBRESOURCES: &'static [&'static str] = &["status"];
    const HAS_GENERATION: bool = true;

    strategy!(spec, status);
    fn fill_defaults(&mut self) {
        fill(&mut self.spec.concurrency_policy, "Allow");
        self.spec.suspend.get_or_insert(false);
        self.spec.successful_jobs_history_limit.get_or_insert(SUCCESSFUL_JOBS_KEPT);
        self.spec.failed_jobs_history_limit.get_or_insert(FAILED_JOBS_KEPT);
        job::default_template(self.spec.job_template.spec.get_or_insert_default());
    }
    fn prepare_create(&mut self, _: &WriteContext<'_>) {
        job::drop_unserved(self.spec.job_template.spec.get_or_insert_default(), None);
    }
    fn prepare_update(&mut self, old: &Self, _: &WriteContext<'_>) {
        let jobs = self.spec.job_template.spec.get_or_insert_default();
        job::drop_unserved(jobs, old.spec.job_template.spec.as_ref());
    }
    fn validate(&self, problems: &mut Problems) {
        validate::cronjob(self, problems);
    }
    fn validate_update(&self, old: &Self, problems: &mut Problems) {
        validate::update(self, old, problems);
    }
    fn warnings(&self, old: Option<&Self>) -> Vec<String> {
        let spec = self.spec.job_template.spec.as_ref();
        let at = Path::root("spec.jobTemplate.spec");
        let mut warnings = job::warnings(&self.metadata, old.map(|old| &old.metadata), spec, &at);
        if old.is_some() && self.spec.schedule.contains("TZ") {
            warnings.push(NO_ZONE_IN_SCHEDULE.to_owned());
        }
        warnings
    }
    fn columns() -> &'static [Column] {
        COLUMNS
    }
    fn row(&self, now_secs: i64) -> Vec<Cell> {
        let jobs = self.spec.job_template.spec.as_ref();
        let [containers, images] = cells::containers_and_images(jobs.and_then(|jobs| jobs.template.spec.as_ref()));
        let selector = jobs.and_then(|jobs| jobs.selector.as_ref()).map(workload::query);
        let suspend = match self.spec.suspend {
            Some(true) => "True",
            Some(false) => "False",
            None => cells::UNSET,
        };
        let last = self.status.as_ref().and_then(|status| status.last_schedule_time.as_ref());
        let active = self.status.as_ref().and_then(|status| status.active.as_ref());
        vec![
            cells::name(&self.metadata),
            Cell::text(self.spec.schedule.clone()),
            Cell::text_or(self.spec.time_zone.as_deref(), cells::NONE),
            Cell::text(suspend),
            Cell::count(active.map_or(0, Vec::len)),
            last.map_or(Cell::text(cells::NONE), |last| cells::since(Some(last), now_secs)),
            cells::age(&self.metadata, now_secs),
            containers,
            images,
            Cell::text_or(selector.as_deref(), cells::NONE),
        ]
    }
}

#[cfg(test)]
mod tests;

//! CronJobs: a Job each time that a schedule says.

pub mod decide;
mod history;
pub mod schedule;

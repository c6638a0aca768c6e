//! Work that ends: Jobs, and the schedules by which they are made.

pub mod cronjob;
pub mod job;

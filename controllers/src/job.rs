//! Jobs: pods that run until so many of them have succeeded, each counted once.

pub mod backoff;
pub mod conditions;
pub mod decide;
mod end;
pub mod failure_policy;
pub mod indexes;
pub mod pod;
pub mod scale;
pub mod spec;
pub mod success_policy;
pub mod track;
mod view;

//! The controllers' decisions against a make-believe cluster that is as unkind as a real one may be: every controller sees
//! each kind at its own delay, writes fail or are done without an answer, controllers forget all and begin anew. All
//! follows from a seed, which is printed: `CORTEN_SEED` plays it again (`corten_client::seeds`).
//!
//! Queues are not simulated: any object may be looked at at any time.
#![expect(clippy::unwrap_used, reason = "a test: what fails here fails the test")]

mod children;
mod deployment;
mod endpoints;
mod garbage;
mod replicas;
mod rollout;
mod scale;
mod store;

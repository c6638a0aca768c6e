//! The scheduler: gives every pod a node, or says why it cannot.
//!
//! [`scheduler`] takes changes of the `cluster` into [`core`], which owns the [`snapshot`] and the [`queue`] and has no I/O. A
//! [`cycle`] is pure: snapshot and pod in; a placement, a nomination or refusals out, by the list of [`plugins`]. What was
//! decided goes out over one gRPC stream (`bind`), many placements in flight, each assumed in the snapshot meanwhile.

pub mod bind;
mod cluster;
pub mod config;
pub mod configuration;
pub mod core;
pub mod cycle;
pub mod framework;
mod metrics;
pub mod plugins;
pub mod pod;
pub mod profile;
pub mod queue;
pub mod scheduler;
pub mod snapshot;
pub mod unserved;

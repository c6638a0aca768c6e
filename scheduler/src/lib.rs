//! The scheduler: gives every pod a node, or says why it cannot.
//!
//! `scheduler` owns the [`snapshot`] and the [`queue`] and turns changes of the cluster into cycles. A [`cycle`] is
//! pure: snapshot and pod in, placement or refusals out, by the lists [`filters::all`] and [`scores::all`]. What was
//! decided goes out over one gRPC stream (`bind`), many placements in flight, each assumed in the snapshot meanwhile.

pub mod bind;
pub mod config;
pub mod core;
pub mod cycle;
pub mod filters;
pub mod pod;
pub mod queue;
pub mod scheduler;
pub mod scores;
pub mod snapshot;
pub mod unserved;

//! How a component talks to the apiservers: endpoints and calls, watch-fed caches, work queues, leases, events.
//!
//! A component is: [`process::run`] → [`Args::connect`] → some [`Watch`]es that keep [`Cache`]s and fill a
//! [`WorkQueue`] → [`run_workers`], whose workers read the caches, decide, and write through the [`Client`].

pub mod args;
pub mod bind;
pub mod cache;
pub mod client;
pub mod endpoints;
pub mod events;
pub mod health;
pub mod kinds;
pub mod lease;
pub mod metadata;
pub mod nodes;
pub mod panics;
pub mod process;
pub mod pulse;
pub mod queue;
pub mod resource;
pub mod runner;
pub mod scale;
#[cfg(any(test, feature = "test-support"))]
pub mod seeds;
pub mod takeover;
pub mod watch;
pub mod writes;

pub use args::{Args, ConnectError};
pub use bind::Binder;
pub use cache::{Cache, Change, IndexBy, LabelSets, Labelled, SelectBy, SharedLabels};
pub use client::{Client, Patch};
pub use events::{EventType, Recorder};
pub use metadata::MetadataClient;
pub use pulse::Pulse;
pub use queue::WorkQueue;
pub use resource::{ApiResource, PartialObjectMetadata};
pub use runner::{Next, run_workers};
pub use scale::ScaleClient;
pub use takeover::{TakeOver, TakeOverError};
pub use tokio_util::sync::CancellationToken;
pub use watch::Watch;
pub use writes::Writes;

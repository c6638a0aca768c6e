//! The controllers as they run, queues, caches, client and all, against a make-believe apiserver that loses answers, is late
//! and refuses what is too much. Time is tokio's paused one; the seed draws what goes wrong, and is printed.
#![expect(clippy::unwrap_used, reason = "a test: what fails here fails the test")]

mod absent;
mod adoption;
mod apiserver;
mod attachments;
mod balancers;
mod certificates;
mod cost;
mod cronjobs;
mod disruptions;
mod jobs;
mod localdirectory;
mod migrations;
mod roles;
mod sets;
mod store;
mod stories;
mod terms;
mod volumes;
mod world;

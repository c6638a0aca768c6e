//! The apiserver: the one front door, the one client of etcd.
//!
//! A request passes through `pipeline`, one stack of layers for REST and gRPC alike, over `request` (what is asked), `authn` (by
//! whom, and as whom), `flowcontrol` (whose turn is it) and `authz` (may they). What is known of it stands in its `request_info`.
//! Behind the stack `rest` and `grpc` answer, with `decode` (is it well formed), and end in `resources`, the one read and write
//! path of all kinds. `registry` says which kinds there are, and their rules; their types are in `schema`; `admission` says
//! what the cluster's state forbids or fills in. `view` is what admission and tokens see of the cluster. `usage` answers what
//! kubelets measure; `webhook` calls those whom admission asks, and `conversion` has objects converted by them. `aggregation` looks
//! after other servers that answer for group versions. What keeps a thread busy for long is done `aside`. State is behind the
//! `storage` port; reads are served by `cache`.

pub mod admission;
pub mod aggregation;
pub(crate) mod allocate;
pub mod apply;
pub mod aside;
pub mod authn;
pub mod authz;
mod bounded_text;
pub mod cache;
pub mod config;
pub mod connect;
mod conversion;
pub mod decode;
pub mod discovery;
pub mod encode;
pub mod flowcontrol;
#[cfg(test)]
mod fuzz;
pub mod grpc;
pub mod health;
pub mod kinds;
pub mod metrics;
pub mod nodes;
pub mod openapi;
pub mod patch;
pub mod pipeline;
mod quoted_list;
pub mod registry;
pub mod request;
pub mod request_info;
pub mod resources;
pub mod rest;
pub mod schema;
pub mod serve;
pub mod start;
pub mod storage;
pub mod table;
pub mod told;
pub mod usage;
pub mod view;
pub mod webhook;

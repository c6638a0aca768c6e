//! The kinds of resource.k8s.io, dynamic resource allocation: devices, and who claims them.
//!
//! Selectors and the like are CEL expressions. There is no CEL engine here yet, so their length is bounded and nothing more.

pub mod deviceclass;
pub mod devicetaintrule;
pub mod resourceclaim;
pub mod resourceclaimtemplate;
pub mod resourceslice;

pub mod amounts;
pub mod binding;
pub mod claim;
pub mod config;
pub mod lists;
pub mod names;
pub mod requests;
pub mod selectors;
pub mod taints;

//! The controllers: each watches, decides purely (`<name>/decide.rs`), and writes what makes the cluster as its objects say.

pub mod adopt;
pub mod backends;
pub mod caches;
pub mod children;
pub mod clusterroleaggregation;
pub mod context;
pub mod controller;
pub mod deployment;
pub mod endpoints;
pub mod endpointslice;
pub mod endpointslicemirroring;
pub mod garbagecollector;
pub mod intents;
pub mod metadata;
pub mod monitors;
pub mod namespace;
pub mod nodeipam;
pub mod nodelifecycle;
pub mod podgc;
pub mod pods;
pub mod replicas;
pub mod rootca;
pub mod run;
pub mod serviceaccount;
pub mod supervise;
pub mod width;

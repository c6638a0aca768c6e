//! `hack/bench`: how fast and how small, beside what Kubernetes in Go does on such a machine.
//!
//! - `start`, `pods`, `memory`, `ha`: on a lab
//! - `api`: an apiserver and an etcd alone, under `load`, and then with scheduler and controllers under a `crowd`
//! - `large`: the same two with hundreds of thousands of objects and thousands of watchers
//! - `extension`: what webhooks, policies and definitions of others cost
//! - `scale`: the controllers of a cluster with thousands of made-up nodes
//! - `controllers`: rollouts, restarts, Jobs and deletions on made-up nodes, with what each program uses
//! - `scheduler`: pods that a scheduler places on made-up nodes
//! - `control_plane` starts those two; `cpu`, `samples` and `table` measure, sum up and show
mod api;
mod control_plane;
mod controllers;
mod cpu;
mod crowd;
mod extension;
mod fleet;
mod ha;
mod large;
mod load;
mod memory;
mod phase;
mod pods;
mod samples;
mod scale;
mod scheduler;
mod start;
mod table;
#[cfg(test)]
mod tests;
mod tls_server;
mod watch;

use clap::Subcommand;

use crate::lab::{Lab, Size, UpOptions, up};

#[derive(Subcommand)]
pub(crate) enum BenchCommand {
    /// From `hack/up` to Ready nodes, and from the apiserver's exec to its first yes on /readyz.
    Start,
    /// From creating pods to Running: one by one, 30 on a node, a Deployment of 100.
    Pods,
    /// Proportional memory of each daemon after a quiet minute with the demo.
    Memory {
        /// How long the lab is left alone first.
        #[arg(long, default_value_t = 60)]
        idle_secs: u64,
    },
    /// How long writes through the other masters stand still when one crashes, and whether any is lost.
    Ha {
        /// Masters crash in turn, so often.
        #[arg(long, default_value_t = 20)]
        crashes: usize,
    },
    /// Operations per second, latency and CPU of apiserver and etcd under 16 clients.
    Api {
        /// Pods to create; the other phases work on them.
        #[arg(long, default_value_t = 10_000)]
        pods: usize,
        /// Watchers of the one-event-to-many phase.
        #[arg(long, default_value_t = 500)]
        watchers: usize,
    },
    /// An apiserver and its etcd with very many objects, and with a watcher for each node.
    Large {
        #[arg(long, default_value_t = 300_000)]
        configmaps: usize,
        #[arg(long, default_value_t = 165_000)]
        pods: usize,
        /// Each has one watcher of its pods.
        #[arg(long, default_value_t = 10_000)]
        nodes: usize,
    },
    /// The controllers' time, CPU and memory with thousands of nodes: made, taken over, all silent, all back.
    Scale {
        #[arg(long, default_value_t = 5_000)]
        nodes: usize,
    },
    /// Writes through webhooks and policies, custom objects beside ConfigMaps, and what hundreds of definitions take.
    Extension {
        #[arg(long, default_value_t = 2_000)]
        writes: usize,
        #[arg(long, default_value_t = 500)]
        definitions: usize,
    },
    /// Rollouts, restarts, Jobs and a namespace's deletion on made-up nodes: time, CPU of each program, the controllers' memory.
    Controllers {
        #[arg(long, default_value_t = 1_000)]
        nodes: usize,
        /// Of the larger of two Deployments; the smaller has a fifth.
        #[arg(long, default_value_t = 5_000)]
        pods: usize,
        #[arg(long, default_value_t = 10_000)]
        jobs: usize,
        /// In the namespace that is deleted.
        #[arg(long, default_value_t = 10_000)]
        objects: usize,
    },
    /// Pods bound a second and the time from create to bound, for each sort of rule, on made-up nodes.
    Scheduler {
        /// One cluster of each size.
        #[arg(long, value_delimiter = ',', default_value = "100,1000,5000")]
        nodes: Vec<usize>,
        /// Of each sort.
        #[arg(long, default_value_t = 2_000)]
        pods: usize,
    },
}

pub(crate) fn run(command: BenchCommand) -> anyhow::Result<()> {
    match command {
        BenchCommand::Start => start::run(),
        BenchCommand::Pods => pods::run(&Lab::from_env()?),
        BenchCommand::Memory { idle_secs } => memory::run(&Lab::from_env()?, idle_secs),
        BenchCommand::Ha { crashes } => ha::run(crashes),
        BenchCommand::Api { pods, watchers } => api::run(pods, watchers),
        BenchCommand::Large { configmaps, pods, nodes } => large::run(configmaps, pods, nodes),
        BenchCommand::Scale { nodes } => scale::run(nodes),
        BenchCommand::Controllers { nodes, pods, jobs, objects } => {
            controllers::run(controllers::Amounts { nodes, pods, jobs, objects })
        }
        BenchCommand::Extension { writes, definitions } => extension::run(writes, definitions),
        BenchCommand::Scheduler { nodes, pods } => scheduler::run(&nodes, pods),
    }
}

/// The lab as it runs, or one master and two workers.
fn lab_with(lab: &Lab, demo: bool) -> anyhow::Result<()> {
    let size = lab.state()?.map_or(Size { masters: 1, workers: 2 }, |state| state.plan.size);
    up(lab, &UpOptions { size, demo, wait: true, fresh: false }).map(drop)
}

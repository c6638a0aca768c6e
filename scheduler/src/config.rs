//! The scheduler's arguments.

use std::path::PathBuf;

use clap::Parser;
use corten_client::Args;

/// Places pods on nodes.
#[derive(Clone, Debug, Parser)]
#[command(name = "corten-scheduler", version)]
pub struct Config {
    #[command(flatten)]
    pub client: Args,
    /// Our name in the leader lease. Default: the host name. Each process adds a UUID of its own.
    #[arg(long)]
    pub identity: Option<String>,
    /// Pods that name this scheduler are ours.
    #[arg(long, default_value = "default-scheduler", conflicts_with = "config")]
    pub scheduler_name: String,
    /// A KubeSchedulerConfiguration file, kubescheduler.config.k8s.io/v1: whose pods are ours, and how they are placed.
    #[arg(long)]
    pub config: Option<PathBuf>,
}

impl Config {
    /// Need not be unique: whoever competes for the lease adds a UUID of its own.
    pub fn identity(&self) -> String {
        self.identity.clone().unwrap_or_else(|| {
            let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_else(|_| "localhost".into());
            host.trim().to_owned()
        })
    }
}

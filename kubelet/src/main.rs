//! corten-kubelet: starts the node agent, or, when containerd's shim asks for it, a container's logger.

use std::process::ExitCode;

use clap::Parser as _;
use corten_kubelet::config::Config;
use corten_kubelet::{daemon, logs};

fn main() -> ExitCode {
    // First of all: there is a logger for every container, and it must stay small.
    if let Some(log) = logs::logger::log_path_from_args() {
        logs::logger::run(&log);
        return ExitCode::SUCCESS;
    }
    let config = Config::parse();
    corten_client::process::run(&config.client.log.clone(), |stop| daemon::run(config, stop))
}

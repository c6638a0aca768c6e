//! The scheduler's process: leads, or waits to.

use std::process::ExitCode;

use clap::Parser;
use corten_scheduler::config::Config;

fn main() -> ExitCode {
    let config = Config::parse();
    let log = config.client.log.clone();
    corten_client::process::run(&log, |stop| corten_scheduler::scheduler::run(config, stop))
}

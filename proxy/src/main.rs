//! The corten-proxy daemon.

use std::process::ExitCode;

use clap::Parser as _;
use corten_proxy::run::{ProxyArgs, run};

fn main() -> ExitCode {
    let args = ProxyArgs::parse();
    let log = args.client.log.clone();
    corten_client::process::run(&log, |stop| run(args, stop))
}

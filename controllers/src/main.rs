//! corten-controllers: all controllers in one program, one instance of which leads.

use std::process::ExitCode;

use clap::Parser;
use corten_controllers::run::{Flags, run};

fn main() -> ExitCode {
    let flags = Flags::parse();
    let log = flags.client.log.clone();
    corten_client::process::run(&log, |stop| run(flags, stop))
}

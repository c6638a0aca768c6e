//! `corten-hack`: everything a developer does with a Corten cluster on one machine. Called by the scripts in `hack/`.
#[macro_use]
mod step;
mod bench;
mod cli;
mod images;
mod lab;
mod rest;
mod run;
mod schema;
mod tidy;

use std::process::ExitCode;

use clap::Parser;

#[global_allocator]
static GLOBAL: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The last of the three that every program is given.
const STDERR: i32 = 2;

fn main() -> ExitCode {
    close_inherited();
    // Fails only when a provider is installed already, which is as good.
    rustls::crypto::ring::default_provider().install_default().ok();
    match cli::Cli::parse().run() {
        Ok(code) => code,
        Err(error) => {
            eprintln!("\ncorten-hack: {error}");
            for cause in error.chain().skip(1) {
                eprintln!("  because: {cause}");
            }
            ExitCode::FAILURE
        }
    }
}

/// Files that the caller happens to have open would stay open in a lab's daemons for as long as they run: a script that
/// holds a lock while it calls `hack/up` would hold it until `hack/down`.
fn close_inherited() {
    let Ok(open) = std::fs::read_dir("/proc/self/fd") else { return };
    let numbers: Vec<i32> = open.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
    for fd in numbers.into_iter().filter(|fd| *fd > STDERR) {
        // The list's own is closed already.
        nix::unistd::close(fd).ok();
    }
}

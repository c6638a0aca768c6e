//! The `cortenadm` program: which subcommand leads to which module.
mod commands;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use nix::sys::stat::{Mode, umask};

/// What a file is made without: the right to write it, of all but its owner.
const UMASK: Mode = Mode::S_IWGRP.union(Mode::S_IWOTH);

/// Sets up and looks after a Corten cluster.
#[derive(Parser)]
#[command(name = "cortenadm", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Makes this machine the first master of a cluster; run again, it finishes what was cut off and keeps what is done.
    /// Other machines do not join by a command yet: they are added by hand.
    Init(commands::init::InitArgs),
    /// Takes back what `init` did: units, settings, certificates and keys. Data stay.
    Reset(commands::init::ResetArgs),
    /// Certificates and keys.
    #[command(subcommand)]
    Pki(commands::pki::PkiCommand),
    /// Writes a kubeconfig from the certificates in the PKI directory.
    Kubeconfig(commands::kubeconfig::KubeconfigArgs),
    /// A cluster's settings.
    #[command(subcommand)]
    Config(commands::config::ConfigCommand),
    /// Says whether this machine can be a master, and what to do where it cannot. Changes nothing; fails if a check does.
    Preflight(commands::config::SettingsArgs),
    /// Writes a machine's systemd units and settings files into a directory.
    Units(commands::units::UnitsArgs),
}

fn main() -> ExitCode {
    // An administrator's umask must not decide what etcd's user may read; keys have modes of their own.
    umask(UMASK);
    let done = match Cli::parse().command {
        Command::Init(args) => commands::init::init(&args),
        Command::Reset(args) => commands::init::reset(&args),
        Command::Pki(command) => commands::pki::run(command),
        Command::Kubeconfig(args) => commands::kubeconfig::run(&args),
        Command::Config(command) => commands::config::run(&command),
        Command::Preflight(args) => commands::preflight::run(&args),
        Command::Units(args) => commands::units::run(&args),
    };
    let Err(failure) = done else { return ExitCode::SUCCESS };
    eprintln!("cortenadm: {failure}");
    let mut cause = std::error::Error::source(&failure);
    while let Some(error) = cause {
        eprintln!("  because: {error}");
        cause = error.source();
    }
    ExitCode::FAILURE
}

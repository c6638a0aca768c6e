//! The command line: which subcommand leads to which module.
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use crate::lab::{Lab, Size};
use crate::{bench, images, lab, schema, tidy};

/// Labs, images, benchmarks and checks for developers of Corten.
#[derive(Parser)]
#[command(name = "corten-hack", version)]
pub(crate) struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Starts a cluster of nodes on this machine and waits until it is Ready.
    Up(UpArgs),
    /// Removes the cluster and everything that `up` made.
    Down,
    /// Shows nodes, daemons and where things are.
    Status,
    /// Makes the demo's images from Debian packages and pushes them into the lab's registry storage.
    Images,
    /// Checks the sources against the project's rules.
    Tidy {
        /// The root of the sources.
        #[arg(default_value = ".")]
        root: PathBuf,
    },
    /// Writes the table of built-in types from a release's published document.
    Schema(schema::SchemaArgs),
    /// Drives single nodes and daemons of a running lab.
    #[command(subcommand)]
    Lab(LabCommand),
    /// Measures.
    #[command(subcommand)]
    Bench(bench::BenchCommand),
    /// The first process of a lab node (started by `up`).
    #[command(hide = true)]
    NodeInit { spec: PathBuf },
}

#[derive(Args)]
struct UpArgs {
    /// Nodes with etcd, apiserver, scheduler and controllers (odd numbers make sense).
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=lab::MASTERS_MAX))]
    masters: u8,
    /// Nodes without the control plane.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u8).range(0..=lab::WORKERS_MAX))]
    workers: u8,
    /// Leaves the demo out.
    #[arg(long)]
    no_demo: bool,
    /// Starts everything but does not wait for Ready nodes (to look at a cluster that does not come up).
    #[arg(long)]
    no_wait: bool,
    /// Replaces a lab that runs, even if it is of this size and of these programs.
    #[arg(long)]
    fresh: bool,
}

#[derive(Subcommand)]
enum LabCommand {
    /// Runs a command inside a node (all its namespaces) and returns its exit code.
    Exec {
        node: String,
        #[arg(last = true, required = true)]
        command: Vec<String>,
    },
    /// Sends a signal to a daemon (default KILL). After KILL or TERM it stays down until `lab start`.
    Kill {
        node: String,
        daemon: String,
        #[arg(default_value = "KILL")]
        signal: String,
        /// Let the node's init start it again, as systemd would.
        #[arg(long)]
        restart: bool,
    },
    /// Starts a daemon that `lab kill` took down and waits until it runs.
    Start { node: String, daemon: String },
    /// Prints the process id of a daemon, as this machine sees it.
    Pid { node: String, daemon: String },
    /// Crashes a node: every process ends at once, its network is gone, its disk stays.
    StopNode { node: String },
    /// Boots a node that `stop-node` crashed.
    StartNode { node: String },
    /// Prints the nodes with addresses, one per line.
    Nodes,
    /// Prints the path of the administrator's kubeconfig.
    Kubeconfig,
    /// Prints the path of a daemon's log.
    Log { node: String, daemon: String },
}

impl Cli {
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        match self.command {
            Command::Up(args) => {
                let size = Size { masters: args.masters, workers: args.workers };
                let options = lab::UpOptions { size, demo: !args.no_demo, wait: !args.no_wait, fresh: args.fresh };
                lab::up(&Lab::from_env()?, &options).map(drop)?;
            }
            Command::Down => lab::down(&Lab::from_env()?)?,
            Command::Status => lab::status(&Lab::from_env()?)?,
            Command::Images => images::make_all()?,
            Command::Tidy { root } => return tidy::run(&root),
            Command::Schema(args) => return schema::run(&args),
            Command::Lab(command) => return command.run(&Lab::from_env()?),
            Command::Bench(command) => bench::run(command)?,
            Command::NodeInit { spec } => lab::node_init(&spec)?,
        }
        Ok(ExitCode::SUCCESS)
    }
}

impl LabCommand {
    fn run(self, lab: &Lab) -> anyhow::Result<ExitCode> {
        match self {
            Self::Exec { node, command } => return lab::exec(lab, &node, &command),
            Self::Kill { node, daemon, signal, restart } => lab::kill(lab, &node, &daemon, &signal, restart)?,
            Self::Start { node, daemon } => lab::start(lab, &node, &daemon)?,
            Self::Pid { node, daemon } => say!("{}", lab::pid(lab, &node, &daemon)?),
            Self::StopNode { node } => lab::stop_node(lab, &node)?,
            Self::StartNode { node } => lab::start_node(lab, &node)?,
            Self::Nodes => lab::print_nodes(lab)?,
            Self::Kubeconfig => say!("{}", lab.kubeconfig().display()),
            Self::Log { node, daemon } => say!("{}", lab::log_path(lab, &node, &daemon)?.display()),
        }
        Ok(ExitCode::SUCCESS)
    }
}

//! `cortenadm pki`: makes certificates and keys, and lists them.
use std::net::IpAddr;
use std::path::PathBuf;

use clap::{Args, Subcommand};
use corten_api::networks;
use cortenadm::pki::{ClusterPlan, Outcome, Pki, node_plan};
use jiff::Timestamp;

use super::{Failure, lock, print};

#[derive(Subcommand)]
pub(crate) enum PkiCommand {
    /// Makes the authorities and the control plane's certificates; keeps those that are still good.
    Init(InitArgs),
    /// Makes the certificates of one node's kubelet and proxy.
    Node(NodeArgs),
    /// Lists every certificate: who it is, who signed it, how long it lasts.
    Show(DirArgs),
}

#[derive(Args)]
pub(crate) struct DirArgs {
    /// Where certificates and keys live.
    #[arg(long, default_value = "/etc/corten/pki")]
    pub(crate) dir: PathBuf,
}

#[derive(Args)]
pub(crate) struct InitArgs {
    #[command(flatten)]
    pki: DirArgs,
    /// A name or address by which an apiserver is reached (repeat, or separate by commas).
    #[arg(long, value_delimiter = ',')]
    apiserver_san: Vec<String>,
    /// A name or address of an etcd member (repeat, or separate by commas); as the apiserver's if not given.
    #[arg(long, value_delimiter = ',')]
    etcd_san: Vec<String>,
    /// ClusterIP of the `kubernetes` Service: the first address of the service CIDR.
    #[arg(long, default_value = networks::KUBERNETES_SERVICE)]
    service_ip: IpAddr,
    /// The domain that the cluster's names are in: what its kubelets and proxies are given.
    #[arg(long, default_value = networks::CLUSTER_DOMAIN)]
    cluster_domain: String,
}

#[derive(Args)]
pub(crate) struct NodeArgs {
    #[command(flatten)]
    pki: DirArgs,
    /// The Node's name.
    #[arg(long)]
    name: String,
    /// An address of the node (repeat for more).
    #[arg(long, required = true)]
    ip: Vec<IpAddr>,
}

pub(crate) fn run(command: PkiCommand) -> Result<(), Failure> {
    match command {
        PkiCommand::Init(args) => init(args),
        PkiCommand::Node(args) => node(args),
        PkiCommand::Show(args) => show(&args),
    }
}

fn init(args: InitArgs) -> Result<(), Failure> {
    let etcd_sans = if args.etcd_san.is_empty() { args.apiserver_san.clone() } else { args.etcd_san };
    let plan = ClusterPlan {
        apiserver_sans: args.apiserver_san,
        etcd_sans,
        service_ip: Some(args.service_ip),
        cluster_domain: args.cluster_domain,
    };
    let _lock = lock::take()?;
    let done = Pki::new(args.pki.dir, Timestamp::now()).init(&plan)?;
    report(&done)
}

fn node(args: NodeArgs) -> Result<(), Failure> {
    let addresses: Vec<String> = args.ip.iter().map(IpAddr::to_string).collect();
    let _lock = lock::take()?;
    let done = Pki::new(args.pki.dir, Timestamp::now()).issue_all(&node_plan(&args.name, &addresses))?;
    report(&done)
}

fn report(done: &[(String, Outcome)]) -> Result<(), Failure> {
    let line = |(stem, outcome): &(String, Outcome)| match outcome {
        Outcome::Kept => format!("kept     {stem}\n"),
        Outcome::Issued => format!("issued   {stem}\n"),
        Outcome::Renewed(why) => format!("renewed  {stem} (the old one {})\n", why.reason()),
    };
    print(&done.iter().map(line).collect::<String>())
}

fn show(args: &DirArgs) -> Result<(), Failure> {
    let mut text = format!("{:<34} {:<34} {:<18} {:<16} UNTIL\n", "CERTIFICATE", "USER", "GROUP", "SIGNED BY");
    for (path, facts) in Pki::new(&args.dir, Timestamp::now()).list()? {
        let name = path.strip_prefix(&args.dir).unwrap_or(&path).display().to_string();
        let group = facts.organization.as_deref().unwrap_or("-");
        let line =
            format!("{name:<34} {:<34} {group:<18} {:<16} {}\n", facts.common_name, facts.issuer, facts.not_after);
        text.push_str(&line);
    }
    print(&text)
}

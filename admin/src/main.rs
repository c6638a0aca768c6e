//! The `cortenadm` program: `pki init`, `pki node`, `pki show`, `kubeconfig`.
use std::fs;
use std::io::Write;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use corten_api::networks;
use cortenadm::kubeconfig::{self, Access};
use cortenadm::pki::{ClusterPlan, Outcome, Pki, PkiError, facts, node_plan};
use jiff::Timestamp;

/// Sets up and looks after a Corten cluster.
#[derive(Parser)]
#[command(name = "cortenadm", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Certificates and keys.
    #[command(subcommand)]
    Pki(PkiCommand),
    /// Writes a kubeconfig from the certificates in the PKI directory.
    Kubeconfig(KubeconfigArgs),
}

#[derive(Subcommand)]
enum PkiCommand {
    /// Makes the authorities and the control plane's certificates; keeps those that are still good.
    Init(InitArgs),
    /// Makes the certificates of one node's kubelet and proxy.
    Node(NodeArgs),
    /// Lists every certificate: who it is, who signed it, how long it lasts.
    Show(DirArgs),
}

#[derive(Args)]
struct DirArgs {
    /// Where certificates and keys live.
    #[arg(long, default_value = "/etc/corten/pki")]
    dir: PathBuf,
}

#[derive(Args)]
struct InitArgs {
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
struct NodeArgs {
    #[command(flatten)]
    pki: DirArgs,
    /// The Node's name.
    #[arg(long)]
    name: String,
    /// An address of the node (repeat for more).
    #[arg(long, required = true)]
    ip: Vec<IpAddr>,
}

#[derive(Args)]
struct KubeconfigArgs {
    #[command(flatten)]
    pki: DirArgs,
    /// The apiserver, such as https://172.30.0.11:6443.
    #[arg(long)]
    server: String,
    /// Which certificate to use: admin, scheduler, nodes/NAME/kubelet, …
    #[arg(long, default_value = "admin")]
    user: String,
    /// The cluster's name in the file.
    #[arg(long, default_value = "corten")]
    cluster: String,
    /// Where to write it; standard output if not given.
    #[arg(long)]
    out: Option<PathBuf>,
}

#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Pki(#[from] PkiError),
    #[error("cannot {doing} {}", path.display())]
    File { doing: &'static str, path: PathBuf, source: std::io::Error },
    #[error("{} is not a certificate in PEM", path.display())]
    NotPem { path: PathBuf },
    #[error("cannot render the kubeconfig")]
    Render(#[from] serde_json::Error),
}

fn main() -> ExitCode {
    let done = match Cli::parse().command {
        Command::Pki(PkiCommand::Init(args)) => init(args),
        Command::Pki(PkiCommand::Node(args)) => node(args),
        Command::Pki(PkiCommand::Show(args)) => show(&args),
        Command::Kubeconfig(args) => write_kubeconfig(&args),
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

fn init(args: InitArgs) -> Result<(), Failure> {
    let etcd_sans = if args.etcd_san.is_empty() { args.apiserver_san.clone() } else { args.etcd_san };
    let plan = ClusterPlan {
        apiserver_sans: args.apiserver_san,
        etcd_sans,
        service_ip: Some(args.service_ip),
        cluster_domain: args.cluster_domain,
    };
    let done = Pki::new(args.pki.dir, Timestamp::now()).init(&plan)?;
    report(&done)
}

fn node(args: NodeArgs) -> Result<(), Failure> {
    let addresses: Vec<String> = args.ip.iter().map(IpAddr::to_string).collect();
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

fn write_kubeconfig(args: &KubeconfigArgs) -> Result<(), Failure> {
    let pki = Pki::new(&args.pki.dir, Timestamp::now());
    let (cert_path, key_path) = (pki.cert(&args.user), pki.key(&args.user));
    let cert_pem = read(&cert_path)?;
    let user = facts(&cert_pem).ok_or(Failure::NotPem { path: cert_path })?.common_name;
    let text = kubeconfig::render(&Access {
        cluster: &args.cluster,
        server: &args.server,
        user: &user,
        ca_pem: &read(&pki.cert("ca"))?,
        cert_pem: &cert_pem,
        key_pem: &read(&key_path)?,
    })?;
    match &args.out {
        None => print(&text),
        Some(out) => {
            kubeconfig::write(out, &text).map_err(|source| Failure::File { doing: "write", path: out.clone(), source })
        }
    }
}

/// A reader that has seen enough (`| head`) is no failure.
fn print(text: &str) -> Result<(), Failure> {
    match std::io::stdout().write_all(text.as_bytes()) {
        Err(source) if source.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(Failure::File { doing: "write to", path: "standard output".into(), source })
        }
        _ => Ok(()),
    }
}

fn read(path: &Path) -> Result<String, Failure> {
    fs::read_to_string(path).map_err(|source| Failure::File { doing: "read", path: path.into(), source })
}

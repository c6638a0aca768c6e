//! `cortenadm kubeconfig`: a kubeconfig from the certificates in the PKI directory.
use std::path::PathBuf;

use clap::Args;
use cortenadm::kubeconfig::{self, Access};
use cortenadm::pki::{Pki, facts};
use jiff::Timestamp;

use super::pki::DirArgs;
use super::{Failure, print, read};

#[derive(Args)]
pub(crate) struct KubeconfigArgs {
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

pub(crate) fn run(args: &KubeconfigArgs) -> Result<(), Failure> {
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

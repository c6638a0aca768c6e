//! The flags that every client of the apiservers has, and what can be wrong with them.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use crate::client::Client;
use crate::endpoints::{Credentials, Endpoints};

/// How to reach the apiservers and who we are to them. Flatten into a component's own arguments.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// An apiserver, as https://host:port. Repeat it, or separate with commas: any that answers is used.
    #[arg(long, value_delimiter = ',', required = true)]
    pub apiserver: Vec<String>,
    /// The CA that the apiservers' certificates are checked against (PEM).
    #[arg(long)]
    pub ca_file: PathBuf,
    /// Our client certificate (PEM). Read again at every connect, so it can be renewed in place.
    #[arg(long)]
    pub cert_file: PathBuf,
    /// The key of --cert-file (PEM).
    #[arg(long)]
    pub key_file: PathBuf,
    /// Where /healthz, /readyz and /metrics are served, over plain HTTP. Not served if absent.
    #[arg(long)]
    pub metrics_address: Option<SocketAddr>,
    #[command(flatten)]
    pub log: crate::process::LogArgs,
}

impl Args {
    /// Checks the flags and the files they name. Connects to nothing yet: calls do, so that a component may start
    /// before the first apiserver does.
    pub fn connect(&self) -> Result<Client, ConnectError> {
        let credentials = Credentials {
            ca_file: self.ca_file.clone(),
            cert_file: self.cert_file.clone(),
            key_file: self.key_file.clone(),
        };
        credentials.read()?;
        Ok(Client::new(Endpoints::new(&self.apiserver, credentials)?))
    }
}

#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    #[error("--apiserver {given:?} is not a URL like https://10.0.0.1:6443")]
    Endpoint { given: String },
    #[error("no apiserver is named: give --apiserver")]
    NoEndpoint,
    #[error("cannot read {}: check {flag} and that we may read the file", path.display())]
    File {
        flag: &'static str,
        path: PathBuf,
        #[source]
        source: io::Error,
    },
}

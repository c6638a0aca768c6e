//! `cortenadm units`: the files of a master, and an example of what differs, for packages and for those who do without.
use std::fs;
use std::net::Ipv4Addr;
use std::path::PathBuf;

use clap::Args;
use cortenadm::topology::{Cluster, Layout, Machine, Role, systemd};

use super::Failure;

#[derive(Args)]
pub(crate) struct UnitsArgs {
    /// The directory to write them into.
    #[arg(long)]
    out: PathBuf,
}

/// A master has everything that a worker has.
pub(crate) fn run(args: &UnitsArgs) -> Result<(), Failure> {
    let example = Machine { name: "master1".into(), ip: Ipv4Addr::new(192, 168, 1, 11).into(), role: Role::Master };
    let cluster = Cluster::new("corten", vec![example.clone()]);
    let mut files = systemd::files(Role::Master, &Layout::machine());
    files.push(systemd::node_env(&cluster, &example));
    let failed = |doing, path: &PathBuf| {
        let path = path.clone();
        move |source| Failure::File { doing, path, source }
    };
    fs::create_dir_all(&args.out).map_err(failed("make", &args.out))?;
    for file in files {
        let path = args.out.join(&file.name);
        fs::write(&path, file.text).map_err(failed("write", &path))?;
    }
    Ok(())
}

//! `cortenadm config show`: every setting, what it is, and who said so.
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use cortenadm::config::{Effective, Host, KEPT, Settings};

use super::{Failure, print};

#[derive(Subcommand)]
pub(crate) enum ConfigCommand {
    /// Prints every setting as it is in effect, with where it came from: a file that can be given to --config.
    Show(SettingsArgs),
}

/// A file and flags; flags go first.
#[derive(Args)]
pub(crate) struct SettingsArgs {
    /// A file of settings: apiVersion admin.corten.io/v1alpha1, kind ClusterConfiguration. Its keys are the flags below,
    /// written so: podNetworkCidr. What it does not say is as `init` kept it in /etc/corten/cluster.yaml, where it was run
    #[arg(long)]
    config: Option<PathBuf>,
    #[command(flatten)]
    settings: Settings,
}

impl SettingsArgs {
    pub(crate) fn effective(&self) -> Result<Effective, Failure> {
        let kept = Path::new(KEPT);
        let kept = kept.exists().then_some(kept);
        Ok(Effective::new(&self.settings, self.config.as_deref(), kept, &Host::this())?)
    }
}

pub(crate) fn run(command: &ConfigCommand) -> Result<(), Failure> {
    let ConfigCommand::Show(args) = command;
    let effective = args.effective()?;
    // What cannot be used is not shown as if it could.
    effective.plan()?;
    print(&effective.show()?)
}

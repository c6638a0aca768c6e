//! `cortenadm init` and `reset`: makes this machine the first master of a cluster, and takes that back.
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;

use clap::Args;
use cortenadm::config::Plan;
use cortenadm::init::{self, ADMIN_CONF};
use cortenadm::machine::ThisMachine;
use cortenadm::steps::{self, Made, Step, Told};
use cortenadm::topology::Layout;
use cortenadm::topology::cluster::API_PORT;

use super::config::SettingsArgs;
use super::{Failure, lock, preflight, print};

#[derive(Args)]
pub(crate) struct InitArgs {
    #[command(flatten)]
    settings: SettingsArgs,
    /// Say what would be done, and change nothing
    #[arg(long)]
    dry_run: bool,
}

#[derive(Args)]
pub(crate) struct ResetArgs {
    /// Yes: certificates and keys of the cluster go as well
    #[arg(long, required_unless_present = "dry_run")]
    yes: bool,
    /// Say what would be deleted and stopped, and change nothing
    #[arg(long)]
    dry_run: bool,
}

pub(crate) fn init(args: &InitArgs) -> Result<(), Failure> {
    let (plan, steps, machine) = plan_of(&args.settings)?;
    let ready = preflight::check(&plan);
    if args.dry_run {
        steps::dry_run(&steps, &machine, &mut tell);
        return ready;
    }
    ready?;
    let _lock = lock::take()?;
    steps::run(&steps, &machine, &mut tell)?;
    print(&what_next(&plan))
}

pub(crate) fn reset(args: &ResetArgs) -> Result<(), Failure> {
    let layout = Layout::machine();
    let steps = init::any_steps(&layout);
    // Its apiserver is not asked.
    let machine = ThisMachine::new(&layout.pki_dir, SocketAddr::from((Ipv4Addr::LOCALHOST, API_PORT)));
    if !init::was_begun(&machine) {
        return Err(Failure::NeverBegun);
    }
    if args.dry_run {
        for made in steps::made(&steps, &machine)? {
            say(&match made {
                Made::File(path) => format!("  would delete {}\n", path.display()),
                Made::Dir(path) => format!("  would delete {} and all that is in it\n", path.display()),
                Made::Unit(name) => format!("  would stop and disable {name}\n"),
            });
        }
        return Ok(());
    }
    let _lock = lock::take()?;
    steps::undo(&steps, &machine, &mut tell)?;
    print(&format!(
        "\nWhat stays, as there may be data in it: {} (etcd's), /var/lib/corten (volumes), /var/lib/containerd.\n\
         Containers, nftables rules and links of the cluster stay until this machine is rebooted.\n\
         Another `init` asks for etcd's data to be moved away first: mv {} {}-$(date +%s)\n",
        layout.etcd_data_dir.display(),
        layout.etcd_data_dir.display(),
        layout.etcd_data_dir.with_file_name("old").display()
    ))
}

fn plan_of(args: &SettingsArgs) -> Result<(Plan, Vec<Step>, ThisMachine), Failure> {
    let (effective, layout) = (args.effective()?, Layout::machine());
    let plan = effective.plan()?;
    let steps = init::steps(&plan, &effective.kept()?, &layout);
    let machine = ThisMachine::new(&layout.pki_dir, SocketAddr::new(plan.machine.ip, plan.cluster.api_port));
    Ok((plan, steps, machine))
}

fn tell(step: &Step, what: Told) {
    let secs = |took: std::time::Duration| took.as_secs_f64();
    say(&match what {
        Told::Kept => format!("  kept  {}\n", step.name),
        Told::Done(took) => format!("  ok    {:<46} {:>6.2} s\n", step.name, secs(took)),
        Told::Failed(took) => format!("  FAIL  {:<46} {:>6.2} s\n", step.name, secs(took)),
        Told::Would(what) => format!("  would {}\n        {what}\n", step.name),
        Told::Undone => format!("  undone  {}\n", step.name),
    });
}

/// Progress: a reader that has seen enough must not end the work half-way.
fn say(text: &str) {
    print(text).ok();
}

fn what_next(plan: &Plan) -> String {
    format!(
        "\nThis machine is the master {} of the cluster {}. Try:\n  \
           export KUBECONFIG={}\n  kubectl get nodes -o wide\n\
         A master has a taint that keeps pods off which do not tolerate it. Without other machines, take it away:\n  \
           kubectl taint nodes {} node-role.kubernetes.io/control-plane:NoSchedule-\n\
         There is no command yet by which other machines join: hack/systemd/README.md has the steps, with\n  \
           cortenadm pki node --name NAME --ip ADDRESS\n",
        plan.machine.name,
        plan.cluster.name,
        Path::new(ADMIN_CONF).display(),
        plan.machine.name
    )
}

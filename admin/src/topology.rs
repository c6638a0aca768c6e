//! What runs on a machine of a cluster, as data: programs with their arguments, files and confinement, and the kernel's
//! settings.
//!
//! - `cluster`: what is to be known of a cluster and of one machine; `variable`: what differs from machine to machine
//! - `layout`: where programs and files are, which a machine and a lab's node have in different places
//! - `name`: the programs; `program`: what is said of one; `control_plane` and `node`: what is said of each; `sandbox`: how they are confined
//! - `kernel`: modules and sysctls
//! - `systemd`: all this as unit files. The lab makes processes of the same programs.
pub mod cluster;
mod control_plane;
pub mod kernel;
pub mod layout;
pub mod name;
mod node;
pub mod program;
mod sandbox;
pub mod systemd;
#[cfg(test)]
mod tests;
pub mod variable;

pub use cluster::{Cluster, Machine, Role};
pub use layout::Layout;
pub use name::ProgramName;
pub use node::containerd_toml;
pub use program::{Program, Readiness};
pub use variable::{Values, Variable};

/// Every program of a machine of this role, in the order of starting.
pub fn programs(role: Role, values: Values<'_>, layout: &Layout) -> Vec<Program> {
    let node = node::programs(values, layout);
    match role {
        Role::Master => control_plane::programs(values, layout).into_iter().chain(node).collect(),
        Role::Worker => node.into(),
    }
}

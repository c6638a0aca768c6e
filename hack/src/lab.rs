//! The lab: a cluster whose nodes are namespaces on this machine, each with its own containerd, kubelet and proxy.
//!
//! - `plan`: names, addresses and command lines of every node, as data
//! - `state`: the file that lists what was made, written before it is made, so that `down` removes exactly that
//! - `network`, `cgroups`, `process`: what a node is made of, seen from the host
//! - `node`: starts and ends one node; `init` and `mounts`: its first process, inside
//! - `up`, `ready`, `down`, `status`, `verbs`: what the user calls
//!
//! The network: one namespace holds a bridge, so that the host's own firewall never sees the lab's traffic. The
//! host has one link into it (its address is the gateway and the registry), every node another.
//!
//! Ownership: all processes of a lab live in its own cgroups. What is in there is the lab's, whatever happened to
//! the program that started it; process ids are never remembered, so a recycled one can't be killed.
mod cgroups;
mod daemons;
mod down;
mod init;
mod mounts;
mod network;
mod node;
mod plan;
mod process;
mod ready;
mod registry;
mod state;
mod status;
mod up;
mod verbs;

pub(crate) use down::down;
pub(crate) use init::node_init;
pub(crate) use node::tail;
pub(crate) use plan::{API_PORT, MASTERS_MAX, NodePlan, Plan, Size, WORKERS_MAX};
pub(crate) use process::{of_node as lab_processes, program_of as program_of_pid};
pub(crate) use ready::{Api, api_client, wait_until};
pub(crate) use registry::{Registry, storage_dir};
pub(crate) use state::{Lab, lab_root};
pub(crate) use status::status;
pub(crate) use up::{UpOptions, program_dir, up};
pub(crate) use verbs::{exec, kill, log_path, pid, print_nodes, start, start_node, stop_node};

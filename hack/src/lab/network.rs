//! The lab's network, made with iproute2: a bridge in its own namespace, one link to the host and one to each node.
use std::path::Path;

use anyhow::Context;

use super::plan::{NodePlan, Plan};
use crate::run;

const BRIDGE: &str = "br0";
const NETNS_DIR: &str = "/run/netns";
const SUBNETS: u16 = 256;

/// The switch and the host's link into it.
pub(crate) fn make_switch(plan: &Plan) -> anyhow::Result<()> {
    let (switch, link, gateway) = (plan.switch_netns(), plan.host_link(), plan.gateway());
    batch(
        None,
        &format!(
            "netns add {switch}\n\
             link add {link} type veth peer name uplink netns {switch}\n\
             addr add {gateway}/24 dev {link}\n\
             link set {link} up\n"
        ),
    )?;
    batch(
        Some(&switch),
        &format!(
            "link set lo up\n\
             link add {BRIDGE} type bridge\n\
             link set {BRIDGE} up\n\
             link set uplink master {BRIDGE}\n\
             link set uplink up\n"
        ),
    )
}

/// One node's namespace, link and address.
pub(crate) fn make_node(plan: &Plan, node: &NodePlan) -> anyhow::Result<()> {
    let (name, netns, gateway) = (&node.name, &node.netns, plan.gateway());
    batch(None, &format!("netns add {netns}\n"))?;
    batch(
        Some(&plan.switch_netns()),
        &format!(
            "link add {name} type veth peer name eth0 netns {netns}\n\
             link set {name} master {BRIDGE}\n\
             link set {name} up\n"
        ),
    )?;
    batch(
        Some(netns),
        &format!(
            "link set lo up\n\
             addr add {}/24 dev eth0\n\
             link set eth0 up\n\
             route add default via {gateway}\n",
            node.ip
        ),
    )
}

/// Takes a node off the network at once; fine when it is off already.
pub(crate) fn remove_node(plan: &Plan, node: &NodePlan) -> anyhow::Result<()> {
    if netns_exists(&plan.switch_netns()) {
        // Gone with its peer already, if the namespace went first.
        run::output("ip", &["-n", &plan.switch_netns(), "link", "del", &node.name]).ok();
    }
    remove_netns(&node.netns)
}

pub(crate) fn remove_switch(plan: &Plan) -> anyhow::Result<()> {
    if link_exists(&plan.host_link()) {
        run::output("ip", &["link", "del", &plan.host_link()])?;
    }
    remove_netns(&plan.switch_netns())
}

pub(crate) fn netns_exists(name: &str) -> bool {
    Path::new(NETNS_DIR).join(name).exists()
}

pub(crate) fn link_exists(name: &str) -> bool {
    Path::new("/sys/class/net").join(name).exists()
}

fn remove_netns(name: &str) -> anyhow::Result<()> {
    if netns_exists(name) {
        run::output("ip", &["netns", "del", name])?;
    }
    Ok(())
}

/// The first subnet from `first` on that no interface of this machine uses.
pub(crate) fn free_subnet(first: u8) -> anyhow::Result<u8> {
    let routes = run::output("ip", &["-4", "route", "show", "table", "all"])?;
    pick_subnet(first, &routes).context("every 172.30.X.0/24 is in use on this machine: take a lab down first")
}

fn pick_subnet(first: u8, routes: &str) -> Option<u8> {
    (0..SUBNETS)
        .map(|step| ((u16::from(first) + step) % SUBNETS) as u8)
        .find(|subnet| !routes.contains(&format!("172.30.{subnet}.")) && !routes.contains("172.30.0.0/16"))
}

fn batch(netns: Option<&str>, lines: &str) -> anyhow::Result<()> {
    let mut args = Vec::new();
    args.extend(netns.iter().flat_map(|name| ["-n", name]));
    args.extend(["-batch", "-"]);
    run::with_input("ip", &args, lines).map(drop)
}

#[cfg(test)]
mod tests {
    use super::pick_subnet;

    #[test]
    fn a_subnet_in_use_is_passed_over() {
        let cases = [
            ("nothing in the way", 0, "default via 192.0.2.1 dev eth0", Some(0)),
            ("another lab has it", 0, "172.30.0.0/24 dev corten-lab0", Some(1)),
            ("round the end", 255, "172.30.255.0/24 dev x", Some(0)),
            ("Docker took the whole range", 0, "172.30.0.0/16 dev br-1", None),
        ];
        for (why, first, routes, expected) in cases {
            assert_eq!(pick_subnet(first, routes), expected, "{why}");
        }
    }
}

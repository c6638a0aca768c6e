//! Where a packet ends: the chains of `nft/base.rs`, walked in memory over the same elements. Pure.

use std::net::Ipv4Addr;

use super::elements::{Chain, Elements, Map, OUTSIDE_OFFSET, Slot, Value, admits};
use super::{End, Front, Place};

/// The first packet of a connection.
#[derive(Clone, Copy, Debug)]
pub struct Packet {
    pub from: Ipv4Addr,
    pub to: Front,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// To one of these, under the node's address where `masqueraded` says so for that end.
    Delivered(Vec<Arrival>),
    Refused,
    Dropped,
    /// Not one of our fronts: it goes on as it came.
    Untouched {
        masqueraded: bool,
    },
    /// A rule led to a thing that is not there. Never happens in a table that `diff` made.
    Broken(&'static str),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arrival {
    pub end: End,
    pub masqueraded: bool,
}

/// Walks a packet that enters or starts on this node.
pub fn trace(table: &Elements, place: &Place, packet: Packet) -> Outcome {
    let here = place.addresses.contains(&packet.from) || packet.from.is_loopback();
    let outside = !place.cluster_cidr.contains(&packet.from) && !here;
    let at = |map| table.get(&Slot::front(map, &packet.to));
    if at(Map::Limited).is_some() && !admits(table, &packet.to, packet.from) {
        return Outcome::Dropped;
    }
    let refused = outside.then(|| at(Map::RefusedOutside)).flatten().or_else(|| at(Map::Refused));
    match refused {
        Some(Value::Goto(Chain::Refuse)) => return Outcome::Refused,
        Some(Value::Goto(Chain::Discard)) => return Outcome::Dropped,
        Some(_) => return Outcome::Broken("a refusal is no refusal"),
        None => {}
    }
    let verdict = outside.then(|| at(Map::Outside)).flatten().or_else(|| at(Map::Frontends));
    let is_pod_here = |ip: &Ipv4Addr| place.pod_cidr.is_some_and(|cidr| cidr.contains(ip));
    let Some(verdict) = verdict else {
        let leaves = !place.cluster_cidr.contains(&packet.to.address) && !place.nodes.contains(&packet.to.address);
        return Outcome::Untouched { masqueraded: is_pod_here(&packet.from) && leaves };
    };
    let Value::Goto(Chain::Pick { count, outside, .. }) = verdict else {
        return Outcome::Broken("a front leads to no pick chain");
    };
    let first = if *outside { OUTSIDE_OFFSET } else { 0 };
    let mut arrivals = Vec::new();
    for index in first..first + u32::from(*count) {
        let Some(Value::To(end)) = table.get(&Slot::end(index, &packet.to)) else {
            return Outcome::Broken("a pick chain counts an end that is not there");
        };
        let itself = end.address == packet.from && is_pod_here(&packet.from);
        let passes_through = !is_pod_here(&packet.from) && !is_pod_here(&end.address);
        let on_bridge = !place.bridge_sees_ip && is_pod_here(&packet.from) && is_pod_here(&end.address);
        let leaves = is_pod_here(&packet.from)
            && !place.cluster_cidr.contains(&end.address)
            && !place.nodes.contains(&end.address);
        // What stays on this machine is delivered over the loopback, which no rule masquerades.
        let stays = place.addresses.contains(&end.address);
        let no_way_back = packet.from.is_loopback();
        let masqueraded = !stays && (itself || on_bridge || passes_through || leaves || no_way_back);
        arrivals.push(Arrival { end: *end, masqueraded });
    }
    Outcome::Delivered(arrivals)
}

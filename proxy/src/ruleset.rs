//! The wanted state of the node's Services, as data: which packet goes where. Pure.
//!
//! A [`Front`] is what a client addresses; [`FrontRules`] say what becomes of it. `desired` makes them from one
//! Service and its slices, `ledger` keeps who owns which, `slots` where in a map each end stands, `elements` spells them as
//! elements of the kernel's maps, `diff` orders the edits from one to the next, and `trace` says where a packet ends.

pub mod desired;
pub mod diff;
pub mod elements;
pub mod ledger;
pub mod refusals;
pub mod slots;
pub mod trace;

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::sync::Arc;

use corten_api::Key;
use ipnet::Ipv4Net;

use crate::view::Protocol;

/// The most endpoints one front spreads over: the index in the kernel's map has 16 bits.
pub const MAX_ENDS: usize = u16::MAX as usize;

/// An address that clients use: a ClusterIP, a node's address with a NodePort or hostPort, an external address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Front {
    pub address: Ipv4Addr,
    pub protocol: Protocol,
    pub port: u16,
}

/// Where a connection can end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct End {
    pub address: Ipv4Addr,
    pub port: u16,
}

/// What becomes of a new connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    /// One of these, at random; never empty.
    Balance(Arc<[End]>),
    /// There is no endpoint anywhere: the client is told at once.
    Refuse,
    /// There are endpoints, but the traffic policy keeps this node from using them.
    Drop,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FrontRules {
    /// For connections from pods and nodes of the cluster.
    pub inside: Fate,
    /// For connections from elsewhere, where these are treated otherwise.
    pub outside: Option<Fate>,
    /// The same client goes to the same end until it was away for so many seconds.
    pub affinity_secs: Option<u32>,
    /// Who may come, without overlaps: what all others send is dropped. `None`: everybody.
    pub sources: Option<Arc<[Ipv4Net]>>,
}

/// Who put a front there.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Owner {
    Service(Key),
    /// By its hostPort.
    Pod(Key),
    /// By its addresses.
    Node(String),
    /// This node and the proxy itself: own addresses, cluster DNS.
    This,
}

/// What rules depend on besides Services.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// This node's own addresses: NodePorts and hostPorts are served on each.
    pub addresses: BTreeSet<Ipv4Addr>,
    /// Where this node stands: endpoints may be meant for one zone.
    pub zone: Option<String>,
    /// Addresses of this node's pods, once the cluster has given it some.
    pub pod_cidr: Option<Ipv4Net>,
    /// Addresses of this node and the others, without those that a Service has a better right to: pods talk to these under
    /// their own address.
    pub nodes: BTreeSet<Ipv4Addr>,
    /// Answered by the proxy itself at port 53, whatever Service claims it.
    pub cluster_dns: Ipv4Addr,
    /// Addresses of all pods.
    pub cluster_cidr: Ipv4Net,
    /// Frames between two pods of a bridge pass the IP hooks (br_netfilter), so that answers find
    /// their translation. Where they do not, such connections need the node's address.
    pub bridge_sees_ip: bool,
    /// Packets to and from pods that conntrack cannot place are dropped: it would not translate them back, and whoever got
    /// them would break off the connection. Not where the machine takes TCP liberally, as it then passes them itself.
    pub drop_invalid: bool,
}

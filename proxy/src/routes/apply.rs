//! Routes, links and addresses over rtnetlink.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};

use futures::TryStreamExt as _;
use ipnet::Ipv4Net;
use netlink_packet_route::address::AddressAttribute;
use netlink_packet_route::route::{RouteAddress, RouteAttribute, RouteMessage, RouteProtocol};
use rtnetlink::{Handle, RouteMessageBuilder};

use super::desired::{Edit, Routes};

/// Marks our routes: a protocol number that `/etc/iproute2/rt_protos` leaves free.
pub const OUR_PROTOCOL: RouteProtocol = RouteProtocol::Other(206);
/// The link that the kubelet puts pods on.
pub const POD_BRIDGE: &str = "corten-br";

#[derive(Debug, thiserror::Error)]
#[error("{doing} failed; the proxy must run as root with CAP_NET_ADMIN")]
pub struct NetError {
    pub doing: &'static str,
    pub source: rtnetlink::Error,
}

pub fn is_errno(err: &rtnetlink::Error, errno: i32) -> bool {
    matches!(err, rtnetlink::Error::NetlinkError(message) if message.raw_code() == -errno)
}

/// A link's index; `None` if there is no such link.
pub async fn index_of(handle: &Handle, name: &str) -> Result<Option<u32>, NetError> {
    match handle.link().get().match_name(name.to_owned()).execute().try_next().await {
        Ok(link) => Ok(link.map(|l| l.header.index)),
        Err(err) if is_errno(&err, nix::libc::ENODEV) => Ok(None),
        Err(source) => Err(NetError { doing: "looking for a link", source }),
    }
}

/// This node's own IPv4 addresses with their networks: not those of the loopback, of cluster DNS, or of the pods' bridge.
pub async fn own_networks(handle: &Handle, dns_link: &str) -> Result<Vec<Ipv4Net>, NetError> {
    let mut others = BTreeSet::new();
    for name in ["lo", dns_link, POD_BRIDGE] {
        others.extend(index_of(handle, name).await?);
    }
    let failed = |source| NetError { doing: "listing addresses", source };
    let mut found = Vec::new();
    let mut addresses = handle.address().get().execute();
    while let Some(message) = addresses.try_next().await.map_err(failed)? {
        if others.contains(&message.header.index) {
            continue;
        }
        let of = |a: &AddressAttribute| match a {
            AddressAttribute::Local(IpAddr::V4(ip)) => Some(*ip),
            _ => None,
        };
        let net = message.attributes.iter().find_map(of).map(|ip| Ipv4Net::new(ip, message.header.prefix_len));
        found.extend(net.and_then(Result::ok).filter(|n| !n.addr().is_loopback() && !n.addr().is_link_local()));
    }
    Ok(found)
}

/// The routes that bear our mark.
pub async fn ours(handle: &Handle) -> Result<Routes, NetError> {
    let failed = |source| NetError { doing: "listing routes", source };
    let mut found = Routes::new();
    let mut routes = handle.route().get(RouteMessageBuilder::<Ipv4Addr>::new().build()).execute();
    while let Some(route) = routes.try_next().await.map_err(failed)? {
        if route.header.protocol == OUR_PROTOCOL {
            found.extend(read(&route));
        }
    }
    Ok(found)
}

fn read(route: &RouteMessage) -> Option<(Ipv4Net, Ipv4Addr)> {
    let (mut to, mut via) = (None, None);
    for attribute in &route.attributes {
        match attribute {
            RouteAttribute::Destination(RouteAddress::Inet(ip)) => to = Some(*ip),
            RouteAttribute::Gateway(RouteAddress::Inet(ip)) => via = Some(*ip),
            _ => {}
        }
    }
    Some((Ipv4Net::new(to?, route.header.destination_prefix_length).ok()?, via?))
}

/// Does one edit. A route that somebody removed before us is gone, as wanted.
pub async fn apply(handle: &Handle, edit: Edit) -> Result<(), NetError> {
    let message = |cidr: Ipv4Net, via| {
        let route = RouteMessageBuilder::<Ipv4Addr>::new().destination_prefix(cidr.network(), cidr.prefix_len());
        route.gateway(via).protocol(OUR_PROTOCOL).build()
    };
    let (doing, done) = match edit {
        Edit::Set(cidr, via) => {
            ("setting a route to a node's pods", handle.route().add(message(cidr, via)).replace().execute().await)
        }
        Edit::Remove(cidr, via) => {
            let removed = handle.route().del(message(cidr, via)).execute().await;
            let gone = |err| if is_errno(&err, nix::libc::ESRCH) { Ok(()) } else { Err(err) };
            ("removing a route to a node's pods", removed.or_else(gone))
        }
    };
    done.map_err(|source| NetError { doing, source })
}

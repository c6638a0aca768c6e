//! The link that carries the cluster's DNS address on this node, so that pods reach the proxy itself by it. It leads
//! nowhere: a dummy, or a bridge without ports where the kernel has no dummies.

use std::net::{IpAddr, Ipv4Addr};

use futures::TryStreamExt as _;
use netlink_packet_route::address::AddressAttribute;
use rtnetlink::{Handle, LinkBridge, LinkDummy, LinkUnspec};

use crate::routes::apply::{NetError, index_of, is_errno};

pub const LINK: &str = "corten-dns";

/// Makes the link, with this address and no other.
pub async fn ensure(handle: &Handle, address: Ipv4Addr) -> Result<(), NetError> {
    let failed = |source| NetError { doing: "making the link corten-dns", source };
    if index_of(handle, LINK).await?.is_none() {
        let mut made = handle.link().add(LinkDummy::new(LINK).build()).execute().await;
        if made.as_ref().is_err_and(|err| is_errno(err, nix::libc::EOPNOTSUPP)) {
            made = handle.link().add(LinkBridge::new(LINK).build()).execute().await;
        }
        made.or_else(|err| if is_errno(&err, nix::libc::EEXIST) { Ok(()) } else { Err(err) }).map_err(failed)?;
    }
    let missing = || rtnetlink::Error::NamespaceError("the link that was just made is not there".into());
    let index = index_of(handle, LINK).await?.ok_or_else(|| failed(missing()))?;
    handle.link().set(LinkUnspec::new_with_index(index).up().build()).execute().await.map_err(failed)?;
    let mut present = false;
    let mut addresses = handle.address().get().set_link_index_filter(index).execute();
    while let Some(message) = addresses.try_next().await.map_err(failed)? {
        let is_ours = message.attributes.contains(&AddressAttribute::Address(IpAddr::V4(address)));
        let is_ipv4 = message.attributes.iter().any(|a| matches!(a, AddressAttribute::Address(IpAddr::V4(_))));
        present |= is_ours;
        if is_ipv4 && !is_ours {
            handle.address().del(message).execute().await.map_err(failed)?;
        }
    }
    if !present {
        handle.address().add(index, IpAddr::V4(address), 32).execute().await.map_err(failed)?;
    }
    Ok(())
}

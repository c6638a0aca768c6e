//! The kernel's side of the pod network over rtnetlink: the bridge, veth pairs, addresses and routes.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsRawFd, BorrowedFd};
use std::path::Path;

use corten_api::hardware_address;
use futures::TryStreamExt;
use ipnet::IpNet;
use netlink_packet_route::link::{InfoData, InfoVeth, LinkAttribute};
use netlink_packet_route::neighbour::{NeighbourFlags, NeighbourState};
use rtnetlink::{Handle, LinkBridge, LinkBridgePort, LinkMessageBuilder, LinkUnspec, LinkVeth, RouteMessageBuilder};

use super::{NetworkError, address, netns};

/// The bridge all pods of a node hang on.
pub(super) const BRIDGE: &str = "corten-br";
/// What pods call their interface.
const POD_LINK: &str = "eth0";

/// One netlink socket; its driver task ends with the last handle.
pub(super) struct Links {
    handle: Handle,
}

fn failed(doing: impl Into<String>) -> impl FnOnce(rtnetlink::Error) -> NetworkError {
    let doing = doing.into();
    move |source| NetworkError::Netlink { doing, source: Box::new(source) }
}
fn io_failed(doing: impl Into<String>) -> impl FnOnce(std::io::Error) -> NetworkError {
    let doing = doing.into();
    move |source| NetworkError::Io { doing, source }
}

impl Links {
    /// In the node's namespace. Needs a tokio runtime.
    pub(super) fn of_node() -> Result<Self, NetworkError> {
        let (connection, handle, _) = rtnetlink::new_connection().map_err(io_failed("opening a netlink socket"))?;
        tokio::spawn(connection);
        Ok(Self { handle })
    }

    /// In the namespace at `path`.
    async fn of_pod(path: &Path) -> Result<Self, NetworkError> {
        let (runtime, path) = (tokio::runtime::Handle::current(), path.to_path_buf());
        let opened = tokio::task::spawn_blocking(move || {
            netns::inside(&path, || {
                let _in_runtime = runtime.enter();
                rtnetlink::new_connection().map(|(connection, handle, _)| (connection, handle))
            })
        });
        let opened = opened.await.map_err(std::io::Error::from).and_then(|opened| opened);
        let (connection, handle) = opened.map_err(io_failed("opening a netlink socket in the pod"))?;
        tokio::spawn(connection);
        Ok(Self { handle })
    }

    /// `None`: there is no link of this name.
    pub(super) async fn index(&self, name: &str) -> Result<Option<u32>, NetworkError> {
        let mut found = self.handle.link().get().match_name(name.to_owned()).execute();
        match found.try_next().await {
            Ok(link) => Ok(link.map(|l| l.header.index)),
            Err(rtnetlink::Error::NetlinkError(e)) if e.raw_code() == -nix::libc::ENODEV => Ok(None),
            Err(e) => Err(failed(format!("looking for link {name}"))(e)),
        }
    }

    /// The bridge with the podCIDR's first address, up. Its index.
    pub(super) async fn ensure_bridge(&self, pod_cidr: IpNet) -> Result<u32, NetworkError> {
        let index = match self.index(BRIDGE).await? {
            Some(index) => index,
            None => {
                // A fixed hardware address: else it changes with the ports, and pods' neighbour entries go stale.
                let own = hardware_address::of(address::gateway(pod_cidr)).to_vec();
                let message = LinkBridge::new(BRIDGE).address(own).build();
                ignore_exists(self.handle.link().add(message).execute().await).map_err(failed("making the bridge"))?;
                let missing = || NetworkError::Io {
                    doing: "making the bridge".into(),
                    source: std::io::ErrorKind::NotFound.into(),
                };
                self.index(BRIDGE).await?.ok_or_else(missing)?
            }
        };
        let add = self.handle.address().add(index, address::gateway(pod_cidr), pod_cidr.prefix_len());
        ignore_exists(add.execute().await).map_err(failed("giving the bridge its address"))?;
        let up = LinkUnspec::new_with_index(index).up().build();
        self.handle.link().change(up).execute().await.map_err(failed("setting the bridge up"))?;
        Ok(index)
    }

    /// A veth pair between the bridge and the namespace at `netns`, where it gets an address and the default route. Whatever the
    /// pod sends has its own hardware address: the bridge's port drops all else.
    pub(super) async fn connect_pod(
        &self,
        bridge: u32,
        host_link: &str,
        netns_path: &Path,
        pod_address: IpAddr,
        pod_cidr: IpNet,
    ) -> Result<(), NetworkError> {
        let netns = std::fs::File::open(netns_path).map_err(io_failed("opening the pod's network namespace"))?;
        let own = hardware_address::of(pod_address);
        let veth = veth_message(host_link, bridge, std::os::fd::AsFd::as_fd(&netns), own);
        let added = self.handle.link().add(veth).execute();
        let (added, pod) = tokio::join!(added, Links::of_pod(netns_path));
        ignore_exists(added).map_err(failed(format!("making the veth pair {host_link}")))?;
        let port = async {
            let missing = || NetworkError::Io {
                doing: format!("finding {host_link}"),
                source: std::io::ErrorKind::NotFound.into(),
            };
            let index = self.index(host_link).await?.ok_or_else(missing)?;
            // Static, not permanent: that would make it the bridge's own address. It goes with the port.
            let neighbours = self.handle.neighbours();
            let entry =
                neighbours.add_bridge(index, &own).state(NeighbourState::Noarp).flags(NeighbourFlags::Controller);
            entry.replace().execute().await.map_err(failed("telling the bridge the pod's hardware address"))?;
            // A locked port takes frames from the addresses that the bridge has been told of there, and no others. Hairpin: so
            // that a pod reaches itself through its Service.
            let port = LinkBridgePort::new(index).hairpin(true).locked(true).build();
            self.handle.link().set_port(port).execute().await.map_err(failed("setting the bridge port up"))
        };
        let pod = pod?;
        tokio::try_join!(port, pod.configure(pod_address, pod_cidr))?;
        Ok(())
    }

    async fn configure(&self, pod_address: IpAddr, pod_cidr: IpNet) -> Result<(), NetworkError> {
        const LOOPBACK: u32 = 1;
        let missing =
            || NetworkError::Io { doing: "finding the pod's eth0".into(), source: std::io::ErrorKind::NotFound.into() };
        let eth0 = self.index(POD_LINK).await?.ok_or_else(missing)?;
        let add = self.handle.address().add(eth0, pod_address, pod_cidr.prefix_len());
        ignore_exists(add.execute().await).map_err(failed("giving the pod its address"))?;
        for index in [LOOPBACK, eth0] {
            let up = LinkUnspec::new_with_index(index).up().build();
            self.handle.link().change(up).execute().await.map_err(failed("setting the pod's links up"))?;
        }
        let route = match address::gateway(pod_cidr) {
            IpAddr::V4(gateway) => RouteMessageBuilder::<Ipv4Addr>::new().gateway(gateway).build(),
            IpAddr::V6(gateway) => RouteMessageBuilder::<Ipv6Addr>::new().gateway(gateway).build(),
        };
        ignore_exists(self.handle.route().add(route).execute().await)
            .map_err(failed("giving the pod its default route"))
    }

    /// At once, and not when the kernel gets round to end the namespace.
    pub(super) async fn remove(&self, name: &str) -> Result<(), NetworkError> {
        let Some(index) = self.index(name).await? else { return Ok(()) };
        match self.handle.link().del(index).execute().await {
            Err(rtnetlink::Error::NetlinkError(e)) if e.raw_code() == -nix::libc::ENODEV => Ok(()),
            other => other.map_err(failed(format!("removing link {name}"))),
        }
    }
}

/// Both ends are born where they belong: ours on the bridge and up, the pod's in its namespace.
fn veth_message(
    host_link: &str,
    bridge: u32,
    netns: BorrowedFd<'_>,
    pod: [u8; 6],
) -> netlink_packet_route::link::LinkMessage {
    let mut peer = LinkMessageBuilder::<LinkUnspec>::new().name(POD_LINK.to_owned()).address(pod.to_vec()).build();
    peer.attributes.push(LinkAttribute::NetNsFd(netns.as_raw_fd()));
    LinkVeth::new(host_link, POD_LINK)
        .set_info_data(InfoData::Veth(InfoVeth::Peer(peer)))
        .controller(bridge)
        .up()
        .build()
}

fn ignore_exists(result: Result<(), rtnetlink::Error>) -> Result<(), rtnetlink::Error> {
    match result {
        Err(rtnetlink::Error::NetlinkError(e)) if e.raw_code() == -nix::libc::EEXIST => Ok(()),
        other => other,
    }
}

//! The built-in pod network: a veth pair on the node's bridge for every pod, with an address from the podCIDR.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use ipnet::IpNet;
use sha2::Digest;
use tokio::sync::{Mutex, RwLock};

use super::links::Links;
use super::{Attachment, NetworkError, PodNetwork, PodRef, address, netns};

/// Beside each namespace's file: the address that goes with it.
const ADDRESS_SUFFIX: &str = ".address";
/// The kernel's bound, without the closing zero.
const LINK_NAME_MAX: usize = 15;

/// The files in its directory are the truth about who has which address; they go with a reboot, as the namespaces do.
pub struct BridgeNetwork {
    dir: PathBuf,
    links: Links,
    /// Set once the bridge stands.
    place: RwLock<Option<Place>>,
    given: Mutex<Given>,
}

#[derive(Clone, Copy)]
struct Place {
    pod_cidr: IpNet,
    bridge: u32,
}

/// Addresses that pods have, or are about to have.
#[derive(Default)]
struct Given {
    by_pod: BTreeMap<String, IpAddr>,
    last: Option<IpAddr>,
}

impl BridgeNetwork {
    /// `dir` holds the namespaces, such as `/run/corten/netns`; it must not outlive a reboot. Needs a tokio runtime.
    pub fn new(dir: &Path) -> Result<Self, NetworkError> {
        let failed = |source| NetworkError::Io { doing: format!("reading {}", dir.display()), source };
        std::fs::create_dir_all(dir).map_err(failed)?;
        let mut by_pod = BTreeMap::new();
        for entry in std::fs::read_dir(dir).map_err(failed)?.flatten() {
            let name = entry.file_name();
            let Some(uid) = name.to_str().and_then(|n| n.strip_suffix(ADDRESS_SUFFIX)) else { continue };
            let written = std::fs::read_to_string(entry.path()).map_err(failed)?;
            if let Ok(address) = written.trim().parse() {
                by_pod.insert(uid.to_owned(), address);
            }
        }
        let last = by_pod.values().max().copied();
        Ok(Self {
            dir: dir.into(),
            links: Links::of_node()?,
            place: RwLock::default(),
            given: Mutex::new(Given { by_pod, last }),
        })
    }

    fn netns_path(&self, pod_uid: &str) -> PathBuf {
        self.dir.join(pod_uid)
    }
    fn address_path(&self, pod_uid: &str) -> PathBuf {
        self.dir.join(format!("{pod_uid}{ADDRESS_SUFFIX}"))
    }

    /// The pod's address: the one it has, or a free one that is its from now on.
    async fn reserve(&self, pod_uid: &str, pod_cidr: IpNet) -> Result<IpAddr, NetworkError> {
        let mut given = self.given.lock().await;
        if let Some(have) = given.by_pod.get(pod_uid) {
            return Ok(*have);
        }
        let used: BTreeSet<IpAddr> = given.by_pod.values().copied().collect();
        let free = address::next_free(pod_cidr, &used, given.last).ok_or(NetworkError::Exhausted { pod_cidr })?;
        let path = self.address_path(pod_uid);
        std::fs::write(&path, free.to_string())
            .map_err(|source| NetworkError::Io { doing: format!("writing {}", path.display()), source })?;
        given.by_pod.insert(pod_uid.into(), free);
        given.last = Some(free);
        Ok(free)
    }

    async fn release(&self, pod_uid: &str) -> Result<(), NetworkError> {
        let path = self.address_path(pod_uid);
        match std::fs::remove_file(&path) {
            Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
                return Err(NetworkError::Io { doing: format!("removing {}", path.display()), source });
            }
            _ => {}
        }
        self.given.lock().await.by_pod.remove(pod_uid);
        Ok(())
    }

    async fn connect(&self, pod_uid: &str, place: Place, pod_address: IpAddr) -> Result<(), NetworkError> {
        let path = self.netns_path(pod_uid);
        let made = tokio::task::spawn_blocking({
            let path = path.clone();
            move || netns::create(&path)
        });
        made.await
            .map_err(std::io::Error::from)
            .and_then(|made| made)
            .map_err(|source| NetworkError::Io { doing: "making the pod's network namespace".into(), source })?;
        self.links.connect_pod(place.bridge, &link_name(pod_uid), &path, pod_address, place.pod_cidr).await
    }
}

/// Short enough for the kernel, the same for the same pod.
fn link_name(pod_uid: &str) -> String {
    let hex: String = sha2::Sha256::digest(pod_uid).iter().map(|b| format!("{b:02x}")).collect();
    let mut name = format!("veth{hex}");
    name.truncate(LINK_NAME_MAX);
    name
}

/// Packets of pods pass through this node.
fn allow_forwarding(pod_cidr: IpNet) -> Result<(), NetworkError> {
    let path = match pod_cidr {
        IpNet::V4(_) => "/proc/sys/net/ipv4/ip_forward",
        IpNet::V6(_) => "/proc/sys/net/ipv6/conf/all/forwarding",
    };
    if std::fs::read_to_string(path).is_ok_and(|now| now.trim() == "1") {
        return Ok(());
    }
    std::fs::write(path, "1").map_err(|source| NetworkError::Io { doing: format!("setting {path}"), source })
}

#[async_trait]
impl PodNetwork for BridgeNetwork {
    async fn set_pod_cidr(&self, pod_cidr: IpNet) -> Result<(), NetworkError> {
        address::check(pod_cidr)?;
        let pod_cidr = pod_cidr.trunc();
        let mut place = self.place.write().await;
        if place.as_ref().is_some_and(|p| p.pod_cidr == pod_cidr) {
            return Ok(());
        }
        allow_forwarding(pod_cidr)?;
        *place = Some(Place { pod_cidr, bridge: self.links.ensure_bridge(pod_cidr).await? });
        Ok(())
    }

    async fn attach(&self, pod: &PodRef) -> Result<Attachment, NetworkError> {
        let path = self.netns_path(&pod.uid);
        let attachment =
            |address| Attachment { pod_uid: pod.uid.clone(), netns: path.clone(), addresses: vec![address] };
        let have = self.given.lock().await.by_pod.get(&pod.uid).copied();
        if let Some(address) = have
            && netns::is_held(&path)
            && self.links.index(&link_name(&pod.uid)).await?.is_some()
        {
            return Ok(attachment(address));
        }
        let place = (*self.place.read().await).ok_or(NetworkError::NoPodCidr)?;
        if have.is_some() {
            // Cut off half-way, or left from before a reboot.
            self.detach(&pod.uid).await?;
        }
        let address = self.reserve(&pod.uid, place.pod_cidr).await?;
        if let Err(why) = self.connect(&pod.uid, place, address).await {
            self.detach(&pod.uid).await?;
            return Err(why);
        }
        Ok(attachment(address))
    }

    async fn detach(&self, pod_uid: &str) -> Result<(), NetworkError> {
        self.links.remove(&link_name(pod_uid)).await?;
        netns::remove(&self.netns_path(pod_uid)).map_err(|source| NetworkError::Io {
            doing: format!("removing the network namespace of pod {pod_uid}"),
            source,
        })?;
        // Last: until all else is gone nobody may have the address.
        self.release(pod_uid).await
    }

    async fn list(&self) -> Result<Vec<Attachment>, NetworkError> {
        let given = self.given.lock().await;
        let attachments = given.by_pod.iter().map(|(uid, address)| Attachment {
            pod_uid: uid.clone(),
            netns: self.netns_path(uid),
            addresses: vec![*address],
        });
        Ok(attachments.collect())
    }

    async fn ready(&self) -> Result<(), NetworkError> {
        self.place.read().await.map(|_| ()).ok_or(NetworkError::NoPodCidr)
    }
}

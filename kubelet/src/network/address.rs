//! Which address of the podCIDR a new pod gets. Pure.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

use super::NetworkError;

/// The smallest range with room for the network, the bridge, a pod and the broadcast.
const PREFIX_MAX_V4: u8 = 30;
const PREFIX_MAX_V6: u8 = 126;

/// The range is one that pods can live in.
pub fn check(pod_cidr: IpNet) -> Result<(), NetworkError> {
    let longest = if pod_cidr.addr().is_ipv4() { PREFIX_MAX_V4 } else { PREFIX_MAX_V6 };
    if pod_cidr.prefix_len() > longest {
        return Err(NetworkError::BadPodCidr { pod_cidr, why: "it is too small" });
    }
    Ok(())
}

/// The bridge's own address, which is the pods' gateway: the first of the range.
pub fn gateway(pod_cidr: IpNet) -> IpAddr {
    offset(pod_cidr.network(), 1)
}

/// The first free address after `last`, going round, so that an address rests as long as possible before it is
/// used again: connections to a pod that is gone do not reach another.
pub fn next_free(pod_cidr: IpNet, used: &BTreeSet<IpAddr>, last: Option<IpAddr>) -> Option<IpAddr> {
    let host_bits = u32::from(pod_cidr.max_prefix_len() - pod_cidr.prefix_len());
    let size = 1_u64.checked_shl(host_bits.min(32))?;
    // 0 is the network, 1 the bridge, the last one the broadcast address.
    let (first, end) = (2, size.checked_sub(1)?);
    let room = end.checked_sub(first).filter(|n| *n > 0)?;
    let start =
        last.filter(|l| pod_cidr.contains(l)).map_or(0, |l| distance(pod_cidr.network(), l).saturating_sub(first) + 1);
    // One more candidate than there are used addresses is enough to find a free one.
    let tries = room.min(used.len() as u64 + 1);
    (0..tries).map(|i| offset(pod_cidr.network(), first + (start + i) % room)).find(|a| !used.contains(a))
}

fn offset(network: IpAddr, by: u64) -> IpAddr {
    match network {
        IpAddr::V4(a) => Ipv4Addr::from_bits(a.to_bits().wrapping_add(u32::try_from(by).unwrap_or(u32::MAX))).into(),
        IpAddr::V6(a) => Ipv6Addr::from_bits(a.to_bits().wrapping_add(u128::from(by))).into(),
    }
}

fn distance(network: IpAddr, address: IpAddr) -> u64 {
    match (network, address) {
        (IpAddr::V4(n), IpAddr::V4(a)) => u64::from(a.to_bits().wrapping_sub(n.to_bits())),
        (IpAddr::V6(n), IpAddr::V6(a)) => u64::try_from(a.to_bits().wrapping_sub(n.to_bits())).unwrap_or(0),
        (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_go_round() {
        let ip = |s: &str| s.parse::<IpAddr>().unwrap();
        let cases = [
            ("first pod", "10.1.2.0/24", vec![], None, Some("10.1.2.2")),
            ("after the last one given", "10.1.2.0/24", vec!["10.1.2.2"], Some("10.1.2.2"), Some("10.1.2.3")),
            ("a freed one rests", "10.1.2.0/24", vec![], Some("10.1.2.9"), Some("10.1.2.10")),
            ("round the end, never the broadcast", "10.1.2.0/29", vec!["10.1.2.2"], Some("10.1.2.6"), Some("10.1.2.3")),
            ("full", "10.1.2.0/30", vec!["10.1.2.2"], Some("10.1.2.2"), None),
            ("last one of another range", "10.1.2.0/24", vec![], Some("10.9.9.9"), Some("10.1.2.2")),
            ("not aligned", "10.1.2.77/24", vec![], None, Some("10.1.2.2")),
            ("v6", "fd00::/64", vec!["fd00::2"], None, Some("fd00::3")),
        ];
        for (why, cidr, used, last, expected) in cases {
            let used = used.into_iter().map(ip).collect();
            assert_eq!(next_free(cidr.parse().unwrap(), &used, last.map(ip)), expected.map(ip), "{why}");
        }
        assert_eq!(gateway("10.1.2.0/24".parse().unwrap()), ip("10.1.2.1"));
        assert!(check("10.0.0.0/31".parse().unwrap()).is_err());
    }
}

//! The addresses of a pool, as a flag names them: networks, ranges and single ones. Pure.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use ipnet::IpNet;

/// From `first` to `last`, both among them, of one family.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct AddressRange {
    pub first: IpAddr,
    pub last: IpAddr,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RangeError {
    #[error("{0:?} is no network (192.0.2.0/28), no range (192.0.2.10-192.0.2.20) and no address")]
    Unreadable(String),
    #[error("{0:?} must go from a lower address to a higher one of the same family")]
    Order(String),
    #[error("{0:?} holds addresses at which no other machine can be reached")]
    Unreachable(String),
}

impl FromStr for AddressRange {
    type Err = RangeError;

    fn from_str(text: &str) -> Result<Self, RangeError> {
        let unreadable = || RangeError::Unreadable(text.to_owned());
        let address = |part: &str| part.trim().parse::<IpAddr>().map_err(|_| unreadable());
        let (first, last) = if let Some((first, last)) = text.split_once('-') {
            (address(first)?, address(last)?)
        } else if text.contains('/') {
            let network: IpNet = text.trim().parse().map_err(|_| unreadable())?;
            (network.network(), network.broadcast())
        } else {
            (address(text)?, address(text)?)
        };
        if first.is_ipv4() != last.is_ipv4() || first > last {
            return Err(RangeError::Order(text.to_owned()));
        }
        let range = Self { first, last };
        if UNREACHABLE.iter().any(|network| range.intersects(network)) {
            return Err(RangeError::Unreachable(text.to_owned()));
        }
        Ok(range)
    }
}

/// "This network", oneself, the link's, groups, and everybody: no packet for these comes from another machine's network.
const UNREACHABLE: [IpNet; 9] = [
    v4([0, 0, 0, 0], 8),
    v4([127, 0, 0, 0], 8),
    v4([169, 254, 0, 0], 16),
    v4([224, 0, 0, 0], 4),
    v4([255, 255, 255, 255], 32),
    v6(0, 0, 128),
    v6(0, 1, 128),
    v6(0xfe80, 0, 10),
    v6(0xff00, 0, 8),
];

const fn v4([a, b, c, d]: [u8; 4], prefix: u8) -> IpNet {
    IpNet::new_assert(IpAddr::V4(Ipv4Addr::new(a, b, c, d)), prefix)
}

const fn v6(first: u16, last: u16, prefix: u8) -> IpNet {
    IpNet::new_assert(IpAddr::V6(Ipv6Addr::new(first, 0, 0, 0, 0, 0, 0, last)), prefix)
}

impl AddressRange {
    /// Whether they have an address in common.
    pub fn intersects(&self, network: &IpNet) -> bool {
        let is_same_family = self.first.is_ipv4() == network.addr().is_ipv4();
        is_same_family && self.first <= network.broadcast() && network.network() <= self.last
    }
}

/// The address behind this one.
pub fn after(ip: IpAddr) -> Option<IpAddr> {
    match ip {
        IpAddr::V4(ip) => Some(Ipv4Addr::from_bits(ip.to_bits().checked_add(1)?).into()),
        IpAddr::V6(ip) => Some(Ipv6Addr::from_bits(ip.to_bits().checked_add(1)?).into()),
    }
}

/// All of them: in order, with a gap between each two.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ranges(Vec<AddressRange>);

impl Ranges {
    pub fn of(all: &[AddressRange]) -> Self {
        let mut sorted = all.to_vec();
        sorted.sort_unstable();
        let mut joined: Vec<AddressRange> = Vec::new();
        for range in sorted {
            match joined.last_mut() {
                Some(before) if range.first <= before.last || after(before.last) == Some(range.first) => {
                    before.last = before.last.max(range.last);
                }
                _ => joined.push(range),
            }
        }
        Self(joined)
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn iter(&self) -> impl Iterator<Item = &AddressRange> {
        self.0.iter()
    }

    pub fn contains(&self, ip: IpAddr) -> bool {
        self.find(ip).is_some()
    }

    /// Which range an address is in.
    pub fn find(&self, ip: IpAddr) -> Option<usize> {
        let at = self.0.partition_point(|range| range.last < ip);
        self.0.get(at).filter(|range| range.first <= ip).map(|_| at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_flag_may_name() {
        let cases = [
            ("a network", "192.0.2.16/28", "192.0.2.16 192.0.2.31"),
            ("by one of its addresses", "192.0.2.17/28", "192.0.2.16 192.0.2.31"),
            ("a range", "192.0.2.10-192.0.2.20", "192.0.2.10 192.0.2.20"),
            ("with spaces", "192.0.2.10 - 192.0.2.20", "192.0.2.10 192.0.2.20"),
            ("one", "192.0.2.7", "192.0.2.7 192.0.2.7"),
            ("of the other family", "2001:db8::/126", "2001:db8:: 2001:db8::3"),
            ("nothing", "", "Unreadable"),
            ("a name", "pool", "Unreadable"),
            ("no such prefix", "192.0.2.0/33", "Unreadable"),
            ("half a range", "192.0.2.1-", "Unreadable"),
            ("backwards", "192.0.2.20-192.0.2.10", "Order"),
            ("two families", "192.0.2.20-2001:db8::", "Order"),
            ("all", "0.0.0.0/0", "Unreachable"),
            ("oneself", "127.0.0.0/24", "Unreachable"),
            ("a group", "224.0.0.0/24", "Unreachable"),
            ("the link's", "fe80::/64", "Unreachable"),
            ("everybody", "255.255.255.0/24", "Unreachable"),
            ("oneself between two others", "126.0.0.0-128.0.0.0", "Unreachable"),
            ("the link between two others", "169.0.0.0/8", "Unreachable"),
            ("groups between two others", "223.0.0.0-240.0.0.0", "Unreachable"),
            ("this network", "0.0.0.7-0.0.0.9", "Unreachable"),
            ("beside oneself", "128.0.0.0/24", "128.0.0.0 128.0.0.255"),
            ("the link's of the other family", "fe00::-ff00::", "Unreachable"),
        ];
        for (why, text, expected) in cases {
            let shown = match text.parse::<AddressRange>() {
                Ok(range) => format!("{} {}", range.first, range.last),
                Err(RangeError::Unreadable(_)) => "Unreadable".into(),
                Err(RangeError::Order(_)) => "Order".into(),
                Err(RangeError::Unreachable(_)) => "Unreachable".into(),
            };
            assert_eq!(shown, expected, "{why}");
        }
    }

    #[test]
    fn what_has_addresses_in_common() {
        let cases = [
            ("10.244.0.0/24", "10.244.0.0/16", true),
            ("10.0.0.0/8", "10.244.0.0/16", true),
            ("10.243.255.255-10.244.0.0", "10.244.0.0/16", true),
            ("10.245.0.0/24", "10.244.0.0/16", false),
            ("2001:db8::/64", "10.244.0.0/16", false),
            ("2001:db8::/64", "2001:db8::/48", true),
        ];
        for (range, network, expected) in cases {
            let range: AddressRange = range.parse().unwrap();
            assert_eq!(range.intersects(&network.parse().unwrap()), expected, "{range:?} {network}");
        }
    }

    #[test]
    fn ranges_that_touch_are_one_and_addresses_are_found_in_them() {
        let all = ["192.0.2.16/29", "2001:db8::1", "192.0.2.4-192.0.2.9", "192.0.2.24/29", "192.0.2.6-192.0.2.7"];
        let ranges = Ranges::of(&all.map(|text| text.parse().unwrap()));
        let shown: Vec<String> = ranges.iter().map(|range| format!("{} {}", range.first, range.last)).collect();
        assert_eq!(shown, ["192.0.2.4 192.0.2.9", "192.0.2.16 192.0.2.31", "2001:db8::1 2001:db8::1"]);
        let cases = [
            ("192.0.2.3", None),
            ("192.0.2.4", Some(0)),
            ("192.0.2.9", Some(0)),
            ("192.0.2.10", None),
            ("192.0.2.31", Some(1)),
            ("192.0.2.32", None),
            ("2001:db8::1", Some(2)),
            ("2001:db8::2", None),
        ];
        for (ip, expected) in cases {
            assert_eq!(ranges.find(ip.parse().unwrap()), expected, "{ip}");
        }
        assert!(Ranges::default().is_empty() && !ranges.is_empty());
        assert_eq!(after("255.255.255.255".parse().unwrap()), None);
    }
}

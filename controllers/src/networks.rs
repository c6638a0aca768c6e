//! The networks that a cluster's network divides into, and which of them are taken: a bit each.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

/// 2^20 networks are 128 KiB of bits: a 10.0.0.0/8 in pieces of /28.
const BITS_MAX_V4: u8 = 20;
/// As upstream.
const BITS_MAX_V6: u8 = 16;
const WORD_BITS: u32 = u64::BITS;

/// Why a cluster's network cannot be divided so.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SizeError {
    #[error(
        "invalid --cluster-cidr {cluster}: mask size of cluster CIDR must be less than or equal to --node-cidr-mask-size \
         {mask}, which is at most {}",
        cluster.max_prefix_len()
    )]
    Mask { cluster: IpNet, mask: u8 },
    #[error(
        "the node CIDR size is too big: --cluster-cidr {cluster} has 2^{} networks of --node-cidr-mask-size {mask}, at \
         most 2^{max} are kept: choose a mask size up to {}",
        mask - cluster.prefix_len(), cluster.prefix_len() + max
    )]
    TooMany { cluster: IpNet, mask: u8, max: u8 },
}

#[derive(Clone, Debug)]
pub struct Networks {
    cluster: IpNet,
    mask: u8,
    count: u32,
    /// A bit for each network, the lowest first; set: taken.
    words: Vec<u64>,
    /// No word before this one has a free network.
    first_free: usize,
    /// How often a network is taken beyond once: Nodes may have been given the same by hand.
    doubles: HashMap<u32, u32>,
}

impl Networks {
    /// All of `cluster`'s networks of this prefix length, none taken.
    pub fn of(cluster: IpNet, mask: u8) -> Result<Self, SizeError> {
        let cluster = cluster.trunc();
        if mask < cluster.prefix_len() || mask > cluster.max_prefix_len() {
            return Err(SizeError::Mask { cluster, mask });
        }
        let (bits, max) = (mask - cluster.prefix_len(), if is_v4(&cluster) { BITS_MAX_V4 } else { BITS_MAX_V6 });
        if bits > max {
            return Err(SizeError::TooMany { cluster, mask, max });
        }
        let count = 1_u32 << bits;
        let mut words = vec![0; count.div_ceil(WORD_BITS) as usize];
        if count < WORD_BITS {
            // What does not exist is not free.
            words[0] = u64::MAX << count;
        }
        Ok(Self { cluster, mask, count, words, first_free: 0, doubles: HashMap::new() })
    }

    pub fn cluster(&self) -> IpNet {
        self.cluster
    }
    pub fn mask(&self) -> u8 {
        self.mask
    }

    /// Takes all that `network` overlaps: one of another size, from a time when the setting was another, counts whole.
    pub fn take(&mut self, network: &IpNet) {
        for at in self.overlapped(network) {
            let (word, bit) = place(at);
            if self.words[word] & bit == 0 {
                self.words[word] |= bit;
            } else {
                *self.doubles.entry(at).or_default() += 1;
            }
        }
    }

    /// The opposite of a `take` of the same network before.
    pub fn release(&mut self, network: &IpNet) {
        for at in self.overlapped(network) {
            let (word, bit) = place(at);
            match self.doubles.get_mut(&at) {
                Some(1) => drop(self.doubles.remove(&at)),
                Some(more) => *more -= 1,
                None => {
                    self.words[word] &= !bit;
                    self.first_free = self.first_free.min(word);
                }
            }
        }
    }

    /// The lowest network that is free.
    pub fn lowest_free(&mut self) -> Option<IpNet> {
        while self.words.get(self.first_free).is_some_and(|word| *word == u64::MAX) {
            self.first_free += 1;
        }
        let word = self.words.get(self.first_free)?;
        let at = u32::try_from(self.first_free).ok()? * WORD_BITS + word.trailing_ones();
        self.network(at)
    }

    fn network(&self, at: u32) -> Option<IpNet> {
        let first = bits_of(&self.cluster) | (u128::from(at) << self.host_bits());
        let address = if is_v4(&self.cluster) {
            IpAddr::V4(Ipv4Addr::from(u32::try_from(first).ok()?))
        } else {
            IpAddr::V6(Ipv6Addr::from(first))
        };
        IpNet::new(address, self.mask).ok()
    }

    /// Which of ours a network overlaps.
    fn overlapped(&self, network: &IpNet) -> std::ops::Range<u32> {
        if is_v4(network) != is_v4(&self.cluster) {
            return 0..0;
        }
        if network.contains(&self.cluster) {
            return 0..self.count;
        }
        if !self.cluster.contains(network) {
            return 0..0;
        }
        let from = (bits_of(&network.trunc()) - bits_of(&self.cluster)) >> self.host_bits();
        let len = 1_u32 << self.mask.saturating_sub(network.prefix_len());
        // It is one of `count`, which fits.
        let from = u32::try_from(from).unwrap_or(self.count);
        from..from.saturating_add(len).min(self.count)
    }

    fn host_bits(&self) -> u8 {
        self.cluster.max_prefix_len() - self.mask
    }
}

fn place(at: u32) -> (usize, u64) {
    ((at / WORD_BITS) as usize, 1 << (at % WORD_BITS))
}

fn is_v4(network: &IpNet) -> bool {
    matches!(network, IpNet::V4(_))
}

fn bits_of(network: &IpNet) -> u128 {
    match network.network() {
        IpAddr::V4(address) => u128::from(u32::from(address)),
        IpAddr::V6(address) => u128::from(address),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn net(text: &str) -> IpNet {
        text.parse().unwrap()
    }

    #[test]
    fn sizes_that_do_not_fit_each_other_are_refused_and_say_what_would() {
        let cases = [
            ("as many as upstream's default", "10.244.0.0/16", 24, ""),
            ("one for all", "10.244.0.0/24", 24, ""),
            ("a single address", "10.0.0.7/32", 32, ""),
            ("larger than the cluster", "10.244.0.0/16", 15, "mask size of cluster CIDR must be less than or equal to"),
            ("longer than an address", "10.244.0.0/16", 33, "which is at most 32"),
            ("more than are kept", "10.0.0.0/8", 29, "choose a mask size up to 28"),
            ("IPv6", "fd00::/48", 64, ""),
            ("more than upstream takes", "fd00::/32", 64, "choose a mask size up to 48"),
        ];
        for (why, cluster, mask, expected) in cases {
            let said = Networks::of(net(cluster), mask).map_or_else(|err| err.to_string(), |_| String::new());
            assert!(said.contains(expected) && said.is_empty() == expected.is_empty(), "{why}: {said}");
        }
    }

    #[test]
    fn a_network_that_two_nodes_have_is_free_when_both_are_gone() {
        let mut all = Networks::of(net("10.0.0.0/30"), 31).unwrap();
        let (first, second) = (net("10.0.0.0/31"), net("10.0.0.2/31"));
        all.take(&first);
        all.take(&first);
        assert_eq!(all.lowest_free(), Some(second));
        all.release(&first);
        assert_eq!(all.lowest_free(), Some(second));
        all.release(&first);
        assert_eq!(all.lowest_free(), Some(first));
    }

    #[test]
    fn every_network_is_given_once() {
        for (cluster, mask, count) in [("10.244.0.0/16", 24, 256), ("10.0.0.0/28", 32, 16), ("fd00::/52", 64, 4096)] {
            let mut all = Networks::of(net(cluster), mask).unwrap();
            let mut given = std::collections::BTreeSet::new();
            while let Some(network) = all.lowest_free() {
                assert!(net(cluster).contains(&network) && given.insert(network), "{network}");
                all.take(&network);
            }
            assert_eq!(given.len(), count);
        }
    }
}

//! On which ports the programs of this machine listen: what they have, no Service is given.
//!
//! The kernel tells nobody of new ones, so they are looked at now and then, as `/proc/net` shows them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::{Duration, Instant};

use crate::view::Protocol;

/// How often somebody looks.
pub const LOOK_EVERY: Duration = Duration::from_secs(10);
/// A program that does not listen any more has its port for so long: it may be one that is started anew, and a Service that took
/// its port meanwhile would take its clients.
pub const LAPSES_AFTER: Duration = Duration::from_secs(300);
/// Of ports on which nobody listens any more, those that were left last.
const LEFT_MAX: usize = 4096;
/// Sockets beyond so many are not looked at.
const SOCKETS_MAX: usize = 4096;
/// A line is 150 characters long.
const BYTES_MAX: u64 = 256 * SOCKETS_MAX as u64;
/// `TCP_LISTEN`, and what a socket has that waits for datagrams of anybody.
const LISTENING: &str = "0A";
const UNCONNECTED: &str = "07";
/// The kernel gives ports from here on to who asks for none: a client that waits for its answer, not a server.
const EPHEMERAL_FROM: u16 = 32_768;

/// Where a program takes connections or datagrams.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Listener {
    /// `None`: on every address.
    pub address: Option<Ipv4Addr>,
    pub protocol: Protocol,
    pub port: u16,
}

/// The ports that programs of this machine have: where they listen, and where they did a while ago. Each with the look that did
/// not find it first. It begins with what the first look finds.
#[derive(Debug, Default)]
pub struct Listeners(BTreeMap<Listener, Option<Instant>>);

impl Listeners {
    /// Takes in what a look found. Pure.
    pub fn found(&mut self, found: BTreeSet<Listener>, now: Instant) {
        self.0.retain(|listener, left| {
            found.contains(listener) || now.duration_since(*left.get_or_insert(now)) < LAPSES_AFTER
        });
        self.0.extend(found.into_iter().map(|listener| (listener, None)));
        let left: BTreeSet<(Instant, Listener)> =
            self.0.iter().filter_map(|(listener, left)| Some(((*left)?, *listener))).collect();
        for (_, listener) in left.iter().take(left.len().saturating_sub(LEFT_MAX)) {
            self.0.remove(listener);
        }
    }
    pub fn all(&self) -> BTreeSet<Listener> {
        self.0.keys().copied().collect()
    }
}

/// All of this machine. A protocol that the kernel does not have has none.
pub fn look() -> io::Result<BTreeSet<Listener>> {
    let mut all = BTreeSet::new();
    for (path, protocol) in [
        ("/proc/net/tcp", Protocol::Tcp),
        ("/proc/net/tcp6", Protocol::Tcp),
        ("/proc/net/udp", Protocol::Udp),
        ("/proc/net/udp6", Protocol::Udp),
    ] {
        match File::open(path) {
            Ok(file) => all.extend(read(BufReader::new(file.take(BYTES_MAX)), protocol)?),
            Err(err) if err.kind() == io::ErrorKind::NotFound => {}
            Err(err) => return Err(err),
        }
    }
    Ok(all)
}

/// The kernel writes TCP's listening sockets before all connections, of which there may be many: these are not read.
fn read(table: impl BufRead, protocol: Protocol) -> io::Result<BTreeSet<Listener>> {
    let mut found = BTreeSet::new();
    for line in table.lines().skip(1).take(SOCKETS_MAX) {
        let line = line?;
        let mut fields = line.split_whitespace().skip(1);
        let (Some(local), Some(_), Some(state)) = (fields.next(), fields.next(), fields.next()) else { break };
        match protocol {
            Protocol::Tcp if state != LISTENING => break,
            Protocol::Udp | Protocol::Sctp if state != UNCONNECTED => continue,
            _ => {}
        }
        found.extend(listener(local, protocol));
    }
    Ok(found)
}

fn listener(local: &str, protocol: Protocol) -> Option<Listener> {
    let (address, port) = local.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    let address = ipv4(address)?;
    if protocol == Protocol::Udp && port >= EPHEMERAL_FROM {
        return None;
    }
    Some(Listener { address: Some(address).filter(|ip| !ip.is_unspecified()), protocol, port })
}

/// From words in the machine's own order. A socket on every IPv6 address has every IPv4 one, too; `None`: it has none of these.
fn ipv4(hex: &str) -> Option<Ipv4Addr> {
    let word = |at: usize| Some(u32::from_str_radix(hex.get(at..at + 8)?, 16).ok()?.to_ne_bytes());
    match hex.len() {
        8 => Some(word(0)?.into()),
        32 => {
            let mut octets = [0; 16];
            for (slot, at) in octets.chunks_exact_mut(4).zip([0, 8, 16, 24]) {
                slot.copy_from_slice(&word(at)?);
            }
            let address = Ipv6Addr::from(octets);
            if address.is_unspecified() { Some(Ipv4Addr::UNSPECIFIED) } else { address.to_ipv4_mapped() }
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(table: &str, protocol: Protocol) -> String {
        let one = |l: &Listener| format!("{}:{}", l.address.map_or("*".into(), |ip| ip.to_string()), l.port);
        read(table.as_bytes(), protocol).unwrap().iter().map(one).collect::<Vec<_>>().join(" ")
    }

    #[test]
    #[cfg(target_endian = "little")]
    fn who_listens_is_read_from_the_kernels_tables() {
        let tcp = "  sl  local_address rem_address   st tx_queue rx_queue\n   \
            0: 00000000:0016 00000000:0000 0A 00000000:00000000\n   \
            1: 0100007F:0277 00000000:0000 0A 00000000:00000000\n   \
            2: 010200C0:1F90 00000000:0000 0A 00000000:00000000\n   \
            3: 010200C0:0016 070071CB:C350 01 00000000:00000000\n   \
            4: 00000000:0050 00000000:0000 0A 00000000:00000000\n";
        assert_eq!(
            said(tcp, Protocol::Tcp),
            "*:22 127.0.0.1:631 192.0.2.1:8080",
            "what comes after connections is none"
        );
        let tcp6 = "  sl  local_address rem_address   st\n   \
            0: 00000000000000000000000000000000:01BB 00000000000000000000000000000000:0000 0A\n   \
            1: 0000000000000000FFFF0000010200C0:0051 00000000000000000000000000000000:0000 0A\n   \
            2: 00000000000000000000000001000000:0019 00000000000000000000000000000000:0000 0A\n";
        assert_eq!(said(tcp6, Protocol::Tcp), "*:443 192.0.2.1:81");
        let udp = "  sl  local_address rem_address   st\n   \
            0: 010200C0:C000 080200C0:0035 01\n   \
            1: 00000000:007B 00000000:0000 07\n   \
            2: 00000000:C001 00000000:0000 07\n";
        assert_eq!(said(udp, Protocol::Udp), "*:123", "neither a connected one nor a client");
        assert_eq!(said("", Protocol::Tcp), "");
        assert_eq!(said("header\nnonsense\n", Protocol::Tcp), "");
    }

    fn at(port: u16) -> Listener {
        Listener { address: None, protocol: Protocol::Tcp, port }
    }

    #[test]
    fn a_daemon_that_is_restarted_keeps_its_port() {
        type Looks = &'static [(u64, bool)];
        // Why; when somebody looked, in seconds, and whether it listened; whether it has its port after the last look.
        let cases: [(&str, Looks, bool); 8] = [
            ("it never listened", &[(0, false)], false),
            ("it listens", &[(0, true)], true),
            ("between two looks", &[(0, true), (10, false)], true),
            ("for long", &[(0, true), (10, false), (309, false)], true),
            ("it is gone", &[(0, true), (10, false), (310, false)], false),
            ("nobody looked for long", &[(0, true), (1000, false)], true),
            ("it came back meanwhile", &[(0, true), (10, false), (300, true), (310, false), (609, false)], true),
            ("it was gone, and comes back", &[(0, true), (10, false), (310, false), (320, true)], true),
        ];
        let begun = Instant::now();
        for (why, looks, expected) in cases {
            let mut listeners = Listeners::default();
            for (secs, listens) in looks {
                let found = listens.then_some(at(22)).into_iter().collect();
                listeners.found(found, begun + Duration::from_secs(*secs));
            }
            assert_eq!(listeners.all().contains(&at(22)), expected, "{why}");
        }
    }

    #[test]
    fn no_more_ports_that_were_left_are_kept_than_there_is_room_for() {
        let (begun, mut listeners) = (Instant::now(), Listeners::default());
        for (secs, first) in (0..).zip((1_000..11_000).step_by(1_000)) {
            let found = [at(22)].into_iter().chain((first..first + 1_000).map(at)).collect();
            listeners.found(found, begun + Duration::from_secs(secs));
        }
        let all = listeners.all();
        assert_eq!(all.len(), LEFT_MAX + 1_001);
        let has = |port| all.contains(&at(port));
        assert!([22, 10_999, 9_999, 6_000].into_iter().all(has), "what listens, and what was left last");
        assert!(!has(4_000));
    }

    #[test]
    fn a_socket_of_this_machine_is_found() {
        let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = socket.local_addr().unwrap().port();
        let own = Listener { address: Some(Ipv4Addr::LOCALHOST), protocol: Protocol::Tcp, port };
        assert!(look().unwrap().contains(&own));
    }
}

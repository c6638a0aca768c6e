//! Addresses and networks as fields hold them: what may be written, and in which form.
//!
//! Upstream reads them generously and then refuses what programs could read in two ways.

use std::net::{IpAddr, Ipv4Addr};

use corten_api::Problems;
use ipnet::IpNet;

use super::NOT_AN_IP;
use crate::registry::path::Path;

const NOT_A_CIDR: &str = "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)";

/// `None`: it is none, or not well written, which is reported.
pub fn ip(problems: &mut Problems, path: &Path<'_>, value: &str) -> Option<IpAddr> {
    let why = match read_ip(value) {
        None => NOT_AN_IP,
        // Many programs take such numbers for octal ones, and so would mean another address.
        Some((_, true)) => "must not have leading 0s",
        Some((ip, false)) if is_mapped(ip) => "must not be an IPv4-mapped IPv6 address",
        Some((ip, false)) => return Some(ip),
    };
    problems.invalid(path, value, why);
    None
}

/// The network, if the value can be read as one, well written or not.
pub fn cidr(problems: &mut Problems, path: &Path<'_>, value: &str) -> Option<IpNet> {
    let Some((network, fault)) = read_cidr(value) else {
        problems.invalid(path, value, NOT_A_CIDR);
        return None;
    };
    if let Some(why) = fault {
        problems.invalid(path, value, why);
    }
    Some(network)
}

/// As [`cidr`], for newer fields: a network has one form there.
pub fn canonical_cidr(problems: &mut Problems, path: &Path<'_>, value: &str) -> Option<IpNet> {
    let network = cidr(problems, path, value)?;
    let canonical = network.to_string();
    if read_cidr(value).is_some_and(|(_, fault)| fault.is_none()) && canonical != value {
        problems.invalid(path, value, &format!("must be in canonical form ({canonical:?})"));
    }
    Some(network)
}

fn is_mapped(ip: IpAddr) -> bool {
    matches!(ip, IpAddr::V6(ip) if ip.to_ipv4_mapped().is_some())
}

/// An address, and whether it was written with leading zeros.
fn read_ip(text: &str) -> Option<(IpAddr, bool)> {
    if let Ok(ip) = text.parse() {
        return Some((ip, false));
    }
    let plain: Vec<&str> = text.split('.').map(without_leading_zeros).collect();
    plain.join(".").parse::<Ipv4Addr>().ok().map(|ip| (ip.into(), true))
}

/// A network, and what is wrong with how it was written.
fn read_cidr(text: &str) -> Option<(IpNet, Option<&'static str>)> {
    let (address, length) = text.split_once('/')?;
    let (ip, has_zeros) = read_ip(address)?;
    let bits = without_leading_zeros(length);
    if !bits.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    let network = IpNet::new(ip, bits.parse().ok()?).ok()?;
    let fault = if has_zeros || bits != length {
        Some("must not have leading 0s in IP or prefix length")
    } else if is_mapped(ip) {
        Some("must not have an IPv4-mapped IPv6 address")
    } else if network.addr() != network.network() {
        Some("must not have bits set beyond the prefix length")
    } else {
        None
    };
    Some((network.trunc(), fault))
}

fn without_leading_zeros(digits: &str) -> &str {
    match digits.trim_start_matches('0') {
        "" if !digits.is_empty() => "0",
        rest => rest,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::check::testing::texts;

    /// The problems' words, and what was read.
    fn said<T: ToString>(
        check: fn(&mut Problems, &Path<'_>, &str) -> Option<T>,
        value: &str,
    ) -> (String, Option<String>) {
        let mut problems = Problems::default();
        let read = check(&mut problems, &Path::root("f"), value).map(|read| read.to_string());
        let head = format!("f: Invalid value: {value:?}: ");
        (texts(&problems).join("|").replace(&head, ""), read)
    }

    #[test]
    fn an_address_has_no_second_reading() {
        for (value, words, read) in [
            ("10.9.8.7", "", Some("10.9.8.7")),
            ("2001:DB8::0:1", "", Some("2001:db8::1")),
            ("010.9.8.7", "must not have leading 0s", None),
            ("10.9.8.00", "must not have leading 0s", None),
            ("::ffff:10.9.8.7", "must not be an IPv4-mapped IPv6 address", None),
            ("10.9.8", NOT_AN_IP, None),
            ("10.9.8.256", NOT_AN_IP, None),
            ("0300.9.8.7", NOT_AN_IP, None),
            ("fe80::1%eth0", NOT_AN_IP, None),
            ("", NOT_AN_IP, None),
        ] {
            assert_eq!(said(ip, value), (words.into(), read.map(str::to_owned)), "{value}");
        }
    }

    #[test]
    fn a_network_has_no_second_reading_either() {
        for (value, words, read) in [
            ("10.9.8.0/24", "", Some("10.9.8.0/24")),
            ("0.0.0.0/0", "", Some("0.0.0.0/0")),
            ("2001:DB8::/64", "", Some("2001:db8::/64")),
            ("10.9.8.0/024", "must not have leading 0s in IP or prefix length", Some("10.9.8.0/24")),
            ("10.09.8.0/24", "must not have leading 0s in IP or prefix length", Some("10.9.8.0/24")),
            ("::ffff:10.9.8.0/120", "must not have an IPv4-mapped IPv6 address", Some("::ffff:10.9.8.0/120")),
            ("10.9.8.7/24", "must not have bits set beyond the prefix length", Some("10.9.8.0/24")),
            ("10.9.8.0/33", NOT_A_CIDR, None),
            ("10.9.8.0/+8", NOT_A_CIDR, None),
            ("10.9.8.0/", NOT_A_CIDR, None),
            ("10.9.8.0", NOT_A_CIDR, None),
        ] {
            assert_eq!(said(cidr, value), (words.into(), read.map(str::to_owned)), "{value}");
        }
        let (words, _) = said(canonical_cidr, "2001:DB8::/64");
        assert_eq!(words, r#"must be in canonical form ("2001:db8::/64")"#);
        let (words, _) = said(canonical_cidr, "10.9.8.7/24");
        assert_eq!(words, "must not have bits set beyond the prefix length", "one word on one fault");
    }
}

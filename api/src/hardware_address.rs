//! Which hardware address an interface on the pods' bridge has. It follows from its IP address, so that the kubelet, which makes
//! the link, and the proxy, which says who may send under which address, need not tell each other.

use std::net::IpAddr;

/// The beginning of all of them: locally administered, and no group's.
pub const PREFIX: [u8; 2] = [0x0a, 0x58];

/// The hardware address of the interface that has this IP address: the prefix, and the last four bytes.
pub fn of(address: IpAddr) -> [u8; 6] {
    let [a, b, c, d] = match address {
        IpAddr::V4(address) => address.octets(),
        IpAddr::V6(address) => {
            let [.., a, b, c, d] = address.octets();
            [a, b, c, d]
        }
    };
    let [x, y] = PREFIX;
    [x, y, a, b, c, d]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_follows_from_the_address() {
        assert_eq!(of("10.244.1.2".parse().unwrap()), [0x0a, 0x58, 10, 244, 1, 2]);
        assert_eq!(of("fd00::1:203".parse().unwrap()), [0x0a, 0x58, 0, 1, 2, 3]);
    }
}

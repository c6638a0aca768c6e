//! Addresses and networks.

use std::fmt;
use std::net::IpAddr;

use crate::error::EvalError;
use crate::escape::quoted;

/// As it is written: bits beyond the prefix stay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cidr {
    pub address: IpAddr,
    pub prefix: u8,
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

impl Cidr {
    pub(crate) fn masked(self) -> Self {
        let address = match self.address {
            IpAddr::V4(address) => {
                let mask = u32::MAX.checked_shl(32 - u32::from(self.prefix)).unwrap_or(0);
                IpAddr::V4((u32::from(address) & mask).into())
            }
            IpAddr::V6(address) => {
                let mask = u128::MAX.checked_shl(128 - u32::from(self.prefix)).unwrap_or(0);
                IpAddr::V6((u128::from(address) & mask).into())
            }
        };
        Self { address, ..self }
    }
    pub(crate) fn contains(self, address: IpAddr) -> bool {
        self.address.is_ipv4() == address.is_ipv4() && Self { address, ..self }.masked() == self.masked()
    }
}

fn is_mapped(address: IpAddr) -> bool {
    matches!(address, IpAddr::V6(address) if address.to_ipv4_mapped().is_some())
}

/// Neither with a zone nor an IPv4 address in IPv6's form.
pub(crate) fn address(text: &str) -> Result<IpAddr, EvalError> {
    let shown = quoted(text);
    if let Some((address, zone)) = text.split_once('%')
        && !zone.is_empty()
        && address.parse::<std::net::Ipv6Addr>().is_ok()
    {
        return Err(EvalError::function(format!("IP address {shown} with zone value is not allowed")));
    }
    let address: IpAddr = text.parse().map_err(|_| {
        let why = format!(
            "IP Address {shown} parse error during conversion from string: ParseAddr({shown}): unable to parse IP"
        );
        EvalError::function(why)
    })?;
    if is_mapped(address) {
        return Err(EvalError::function(format!("IPv4-mapped IPv6 address {shown} is not allowed")));
    }
    Ok(address)
}

pub(crate) fn cidr(text: &str) -> Result<Cidr, EvalError> {
    let shown = quoted(text);
    let failed = |why: &str| {
        let twice = "network address parse error during conversion from string: ";
        EvalError::function(format!("{twice}{twice}netip.ParsePrefix({shown}): {why}"))
    };
    let (address, prefix) = text.split_once('/').ok_or_else(|| failed("no '/'"))?;
    let address: IpAddr = address.parse().map_err(|_| failed("unable to parse IP"))?;
    let is_number = prefix.bytes().all(|b| b.is_ascii_digit()) && (prefix == "0" || !prefix.starts_with('0'));
    let bits: u8 = prefix.parse().ok().filter(|_| is_number).ok_or_else(|| failed("bad bits after slash"))?;
    if bits > if address.is_ipv4() { 32 } else { 128 } {
        return Err(failed("prefix length out of range"));
    }
    if is_mapped(address) {
        let why = format!("IPv4-mapped IPv6 address {shown} is not allowed");
        return Err(EvalError::function(format!("network address parse error during conversion from string: {why}")));
    }
    Ok(Cidr { address, prefix: bits })
}

//! Questions to addresses and networks.

use std::net::IpAddr;

use crate::error::EvalError;
use crate::opaque::Opaque;
use crate::opaque::net::{Cidr, address, cidr};
use crate::value::Value;

type Evaluated<'a> = Result<Value<'a>, EvalError>;

pub(super) fn call<'a>(function: &str, args: &[Value<'a>]) -> Option<Evaluated<'a>> {
    Some(match (function, args) {
        ("ip", [Value::String(text)]) => address(text).map(|ip| Value::Opaque(Opaque::Ip(ip))),
        ("isIP", [Value::String(text)]) => Ok(Value::Bool(address(text).is_ok())),
        ("ip.isCanonical", [Value::String(text)]) => address(text).map(|ip| Value::Bool(ip.to_string() == **text)),
        ("cidr", [Value::String(text)]) => cidr(text).map(|cidr| Value::Opaque(Opaque::Cidr(cidr))),
        ("isCIDR", [Value::String(text)]) => Ok(Value::Bool(cidr(text).is_ok())),
        (_, [Value::Opaque(Opaque::Ip(ip))]) => return of_address(function, *ip),
        (_, [Value::Opaque(Opaque::Cidr(cidr)), rest @ ..]) => return of_network(function, *cidr, rest),
        _ => return None,
    })
}

fn of_address<'a>(function: &str, ip: IpAddr) -> Option<Evaluated<'a>> {
    let is_link_local = match ip {
        IpAddr::V4(ip) => ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_unicast_link_local(),
    };
    let answer = match function {
        "family" => return Some(Ok(Value::Int(if ip.is_ipv4() { 4 } else { 6 }))),
        "isUnspecified" => ip.is_unspecified(),
        "isLoopback" => ip.is_loopback(),
        "isLinkLocalMulticast" => match ip {
            IpAddr::V4(ip) => ip.octets()[..3] == [224, 0, 0],
            IpAddr::V6(ip) => ip.octets()[0] == 0xff && ip.octets()[1] & 0x0f == 2,
        },
        "isLinkLocalUnicast" => is_link_local,
        "isGlobalUnicast" => {
            let is_broadcast = matches!(ip, IpAddr::V4(ip) if ip.is_broadcast());
            !(ip.is_unspecified() || ip.is_loopback() || ip.is_multicast() || is_link_local || is_broadcast)
        }
        _ => return None,
    };
    Some(Ok(Value::Bool(answer)))
}

fn of_network<'a>(function: &str, network: Cidr, rest: &[Value<'a>]) -> Option<Evaluated<'a>> {
    Some(match (function, rest) {
        ("ip", []) => Ok(Value::Opaque(Opaque::Ip(network.address))),
        ("prefixLength", []) => Ok(Value::Int(i64::from(network.prefix))),
        ("masked", []) => Ok(Value::Opaque(Opaque::Cidr(network.masked()))),
        ("containsIP", [Value::Opaque(Opaque::Ip(ip))]) => Ok(Value::Bool(network.contains(*ip))),
        ("containsIP", [Value::String(text)]) => address(text).map(|ip| Value::Bool(network.contains(ip))),
        ("containsCIDR", [Value::Opaque(Opaque::Cidr(other))]) => Ok(holds(network, *other)),
        ("containsCIDR", [Value::String(text)]) => cidr(text).map(|other| holds(network, other)),
        _ => return None,
    })
}

fn holds<'a>(network: Cidr, other: Cidr) -> Value<'a> {
    Value::Bool(network.prefix <= other.prefix && network.contains(other.address))
}

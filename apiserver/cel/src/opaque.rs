//! Values that only functions make and look into: addresses, quantities, URLs, questions to an authorizer.

pub(crate) mod authorizer;
pub(crate) mod formats;
pub(crate) mod net;
pub(crate) mod semver;

use std::sync::Arc;

use corten_api::quantity::Quantity;

use crate::types::Type;
use crate::url::Url;
use authorizer::Asked;
use formats::Format;
use net::Cidr;
use semver::Semver;

/// Values that only functions make and look into.
#[derive(Clone, Debug)]
pub enum Opaque<'a> {
    Quantity(Quantity),
    Url(Arc<Url>),
    Ip(std::net::IpAddr),
    Cidr(Cidr),
    Format(&'static Format),
    Semver(Arc<Semver>),
    Authorizer(Asked<'a>),
}

impl Opaque<'_> {
    pub(crate) fn type_of(&self) -> Type {
        Type::opaque(match self {
            Self::Quantity(_) => "kubernetes.Quantity",
            Self::Url(_) => "kubernetes.URL",
            Self::Ip(_) => "net.IP",
            Self::Cidr(_) => "net.CIDR",
            Self::Format(_) => "kubernetes.NamedFormat",
            Self::Semver(_) => "kubernetes.Semver",
            Self::Authorizer(asked) => asked.type_name(),
        })
    }
    pub(crate) fn equals(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Quantity(a), Self::Quantity(b)) => a.is_as_much_as(*b),
            (Self::Url(a), Self::Url(b)) => a == b,
            (Self::Ip(a), Self::Ip(b)) => a == b,
            (Self::Cidr(a), Self::Cidr(b)) => a == b,
            (Self::Format(a), Self::Format(b)) => a.name == b.name,
            (Self::Semver(a), Self::Semver(b)) => a == b,
            (Self::Authorizer(a), Self::Authorizer(b)) => a.is_same(b),
            _ => false,
        }
    }
    /// Of those that expressions may have as text.
    pub(crate) fn text(&self) -> Option<String> {
        match self {
            Self::Ip(address) => Some(address.to_string()),
            Self::Cidr(cidr) => Some(cidr.to_string()),
            _ => None,
        }
    }
    /// How much text it has, about.
    pub(crate) fn bytes(&self) -> usize {
        match self {
            Self::Url(url) => url.host.len() + url.path.len() + url.query.len() + url.rest.len(),
            Self::Semver(version) => version.bytes(),
            Self::Authorizer(asked) => asked.bytes(),
            Self::Quantity(_) | Self::Ip(_) | Self::Cidr(_) | Self::Format(_) => 0,
        }
    }
    /// In bytes, for what cost counts.
    pub(crate) fn size(&self) -> Option<usize> {
        match self {
            Self::Ip(address) => Some(if address.is_ipv4() { 4 } else { 16 }),
            Self::Cidr(cidr) => Some(usize::from(cidr.prefix).div_ceil(8)),
            _ => None,
        }
    }
}

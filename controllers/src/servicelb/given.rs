//! What a Service gets of the pool, and why it gets nothing.

use std::fmt;
use std::net::IpAddr;

use crate::backends::Family;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Given {
    /// One of each of its families, as far as there are some.
    pub addresses: Vec<IpAddr>,
    /// Why one is missing.
    pub refusal: Option<Refusal>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Nothing that it could get: this is its `spec.loadBalancerIP`.
    NotOfPool(String),
    /// Another Service has its `spec.loadBalancerIP`.
    Taken(IpAddr),
    /// Its `spec.loadBalancerIP` is a node's own.
    OfNode(IpAddr),
    Full(Family),
}

/// What could change it.
impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotOfPool(asked) => write!(
                f,
                "spec.loadBalancerIP {asked:?} is no address of the pool in the Service's families: ask for another one, or \
                 for none to get any"
            ),
            Self::Taken(ip) => write!(
                f,
                "another Service has spec.loadBalancerIP {ip}: this one gets it when that lets go of it. Ask for another one, \
                 or for none to get any"
            ),
            Self::OfNode(ip) => write!(
                f,
                "spec.loadBalancerIP {ip} is a node's own address, which no Service gets: ask for another one, or for none to \
                 get any"
            ),
            Self::Full(family) => write!(
                f,
                "no {} address of the pool is free: one comes when another Service lets go of it, or \
                 --load-balancer-addresses names more",
                family.address_type()
            ),
        }
    }
}

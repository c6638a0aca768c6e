//! Who balances Services of type LoadBalancer, and from which addresses.

pub mod ranges;

/// Whose the Services are that name no `loadBalancerClass`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Classless {
    /// They have addresses of the pool, or the nodes' own where there is none.
    #[default]
    Ours,
    /// Some other controller's, as a cloud's.
    Others,
}

/// Which Services are given addresses here, and from where.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rules {
    pub classless: Classless,
    /// The addresses that load balancers have for themselves.
    pub pool: ranges::Ranges,
}

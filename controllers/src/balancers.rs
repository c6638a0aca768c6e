//! Who balances Services of type LoadBalancer.

/// Whose the Services are that name no `loadBalancerClass`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Classless {
    /// The nodes balance them.
    #[default]
    Ours,
    /// Some other controller's, as a cloud's.
    Others,
}

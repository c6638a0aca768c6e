//! The node's place in the pod network: a route to each other node's pods, and the kernel switches that forwarding
//! needs. `desired` decides, pure; `apply` does; `events` tells when to look again.

pub mod apply;
pub mod desired;
pub mod events;
pub mod switches;

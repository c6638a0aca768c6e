//! The node's network agent: Services in nftables, routes between nodes, cluster DNS on the node.

pub mod nft;
pub mod ruleset;
pub mod view;

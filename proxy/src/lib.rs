//! The node's network agent: Services in nftables, routes between nodes, cluster DNS on the node.
//!
//! `run` puts it together. Watches fill the `directory`; the `worker` turns what changed into edits of the `ruleset`
//! and has `nft` do them; `nodes` says what one node's change
//! changes; `routes` leads to other nodes' pods; `dns` answers from the same directory; `health_check` answers load balancers;
//! `listeners` sees which ports the machine's programs have.

pub mod conntrack;
pub mod directory;
pub mod dns;
pub mod health_check;
pub mod listeners;
pub mod metrics;
pub mod nft;
pub mod nodes;
pub mod refused;
pub mod routes;
pub mod ruleset;
pub mod run;
pub mod view;
pub mod worker;

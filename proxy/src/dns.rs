//! Cluster DNS on the node itself: names of Services and pods from what the proxy watches, all else from upstream.
//!
//! Follows the Kubernetes DNS-based service discovery specification 1.1.0,
//! <https://github.com/kubernetes/dns/blob/master/docs/specification.md>. `zone` answers, pure; `forward` asks the
//! resolvers of the machine, of which every pod has its share (`shares`); `server` listens on the cluster's DNS address, which `link` puts on a link of its own.

pub mod forward;
pub mod link;
pub mod server;
pub mod shares;
pub mod zone;

//! The networks and the domain of a cluster whose administrator names no others: what flags of our programs default to.
//!
//! Programs of one cluster must agree on them, and each has flags of its own.

/// The `spec.loadBalancerClass` of Services that are reached at the nodes' own addresses.
pub const NODE_ADDRESS_CLASS: &str = "corten.io/node-address";

/// Pods' addresses; each node has a part of them.
pub const CLUSTER_CIDR: &str = "10.244.0.0/16";
/// ClusterIPs.
pub const SERVICE_CIDR: &str = "10.96.0.0/16";
/// ClusterIP of the Service `kubernetes`: the first of [`SERVICE_CIDR`].
pub const KUBERNETES_SERVICE: &str = "10.96.0.1";
/// Where pods ask for names: in the part of [`SERVICE_CIDR`] that is given to nobody who does not name an address.
pub const CLUSTER_DNS: &str = "10.96.0.10";
/// The domain that the cluster's names are in.
pub const CLUSTER_DOMAIN: &str = "cluster.local";

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    #[test]
    fn well_known_addresses_are_service_addresses_and_no_pods() {
        let network = |cidr: &str| {
            let (address, length) = cidr.split_once('/').unwrap();
            let (address, length): (Ipv4Addr, u32) = (address.parse().unwrap(), length.parse().unwrap());
            let mask = u32::MAX << (32 - length);
            assert_eq!(address.to_bits() & !mask, 0, "{cidr} begins with its network's address");
            (address.to_bits(), mask)
        };
        let ((services, services_mask), (pods, pods_mask)) = (network(SERVICE_CIDR), network(CLUSTER_CIDR));
        let [kubernetes, dns] = [KUBERNETES_SERVICE, CLUSTER_DNS].map(|ip| ip.parse::<Ipv4Addr>().unwrap().to_bits());
        assert_eq!(kubernetes, services + 1);
        assert_eq!(dns & services_mask, services);
        let mask = services_mask & pods_mask;
        assert_ne!(services & mask, pods & mask, "they share no address");
    }
}

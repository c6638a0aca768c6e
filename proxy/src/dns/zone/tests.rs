//! Questions and answers, as a table.

use std::sync::Arc;

use super::*;
use crate::view::{ServicePort, Slice, SlicePort};

fn directory() -> Directory {
    let port = |name: &str, port| ServicePort { name: name.into(), protocol: Protocol::Tcp, port, node_port: None };
    let service = |namespace: &str, name: &str| Service {
        key: Key::new(namespace, name),
        ports: vec![port("http", 80)],
        ..Service::default()
    };
    let end = |last: u8, ready, hostname: Option<&str>| Endpoint {
        address: Ipv4Addr::new(10, 244, 1, last),
        ready,
        serving: ready,
        terminating: false,
        local: false,
        hostname: hostname.map(str::to_owned),
        hints: crate::view::Hints::default(),
    };
    let slice = |of: &Service, endpoints| Slice {
        key: of.key.clone(),
        service: of.key.clone(),
        ports: vec![SlicePort { name: "http".into(), protocol: Protocol::Tcp, port: 8080 }],
        endpoints,
    };
    let mut directory = Directory::default();
    let web = Service { cluster_ips: vec![Ipv4Addr::new(10, 96, 1, 1)], ..service("default", "web") };
    let db = Service { headless: true, ..service("data", "db") };
    let idle = Service { headless: true, ..service("data", "idle") };
    let far = Service { external_name: Some("example.org".into()), ports: Vec::new(), ..service("data", "far") };
    let slices = [
        slice(&web, vec![end(9, true, None)]),
        slice(&db, vec![end(2, true, Some("db-0")), end(3, true, None), end(4, false, Some("db-2"))]),
        slice(&idle, vec![end(5, false, None)]),
    ];
    for slice in slices {
        directory.set_slice(&slice.key.clone(), Some(Arc::new(slice)));
    }
    for service in [web, db, idle, far] {
        directory.set_service(Arc::new(service));
    }
    directory
}

/// An answer in one line: the code, then the data of all records in order.
fn ask(name: &str, kind: RecordType) -> String {
    let zone = Zone::new("cluster.local", "10.244.0.0/16".parse().unwrap()).unwrap();
    let Some(answer) = zone.answer(&directory(), &Name::from_ascii(name).unwrap(), kind) else {
        return "upstream".into();
    };
    assert_eq!(answer.soa.is_some(), answer.answers.is_empty(), "{name}: a denial names the zone");
    let mut data: Vec<String> = answer.answers.iter().map(|r| r.data.to_string()).collect();
    data.extend(answer.additionals.iter().map(|r| format!("({} {})", r.name, r.data)));
    match (answer.code, data.is_empty()) {
        (ResponseCode::NXDomain, _) => "no such name".into(),
        (_, true) => "no data".into(),
        _ => data.join(" "),
    }
}

#[test]
fn answers_table() {
    use RecordType as T;
    let cases = [
        ("a ClusterIP", "web.default.svc.cluster.local.", T::A, "10.96.1.1"),
        ("names know no case", "WEB.Default.svc.Cluster.local.", T::A, "10.96.1.1"),
        ("there is no IPv6 address", "web.default.svc.cluster.local.", T::AAAA, "no data"),
        ("another namespace", "web.data.svc.cluster.local.", T::A, "no such name"),
        ("AAAA of nothing is NXDOMAIN as well", "web.data.svc.cluster.local.", T::AAAA, "no such name"),
        ("headless: the ready ends", "db.data.svc.cluster.local.", T::A, "10.244.1.2 10.244.1.3"),
        ("headless without ready ends", "idle.data.svc.cluster.local.", T::A, "no such name"),
        ("an end by its hostname", "db-0.db.data.svc.cluster.local.", T::A, "10.244.1.2"),
        ("an end without one, by its address", "10-244-1-3.db.data.svc.cluster.local.", T::A, "10.244.1.3"),
        ("an unready end has no name", "db-2.db.data.svc.cluster.local.", T::A, "no such name"),
        (
            "ends of a ClusterIP Service have no names",
            "10-244-1-9.web.default.svc.cluster.local.",
            T::A,
            "no such name",
        ),
        ("ExternalName", "far.data.svc.cluster.local.", T::A, "example.org."),
        ("ExternalName, asked for IPv6", "far.data.svc.cluster.local.", T::AAAA, "example.org."),
        (
            "SRV of a ClusterIP",
            "_http._tcp.web.default.svc.cluster.local.",
            T::SRV,
            "0 100 80 web.default.svc.cluster.local. (web.default.svc.cluster.local. 10.96.1.1)",
        ),
        (
            "SRV of a headless Service has the ends' own port",
            "_http._tcp.db.data.svc.cluster.local.",
            T::SRV,
            "0 50 8080 10-244-1-3.db.data.svc.cluster.local. 0 50 8080 db-0.db.data.svc.cluster.local. \
             (10-244-1-3.db.data.svc.cluster.local. 10.244.1.3) (db-0.db.data.svc.cluster.local. 10.244.1.2)",
        ),
        ("a port's name has no address", "_http._tcp.web.default.svc.cluster.local.", T::A, "no data"),
        ("a port of another protocol", "_http._udp.web.default.svc.cluster.local.", T::SRV, "no such name"),
        ("a port that is not there", "_https._tcp.web.default.svc.cluster.local.", T::SRV, "no such name"),
        ("between port and Service", "_tcp.web.default.svc.cluster.local.", T::A, "no data"),
        ("a namespace", "default.svc.cluster.local.", T::A, "no data"),
        ("no namespace", "nowhere.svc.cluster.local.", T::A, "no such name"),
        ("all Services", "svc.cluster.local.", T::A, "no data"),
        ("a pod", "10-244-1-5.default.pod.cluster.local.", T::A, "10.244.1.5"),
        ("no pod's address", "10-244-1.default.pod.cluster.local.", T::A, "no such name"),
        ("the specification's version", "dns-version.cluster.local.", T::TXT, "1.1.0"),
        (
            "the zone's authority",
            "cluster.local.",
            T::SOA,
            "ns.dns.cluster.local. hostmaster.cluster.local. 1 7200 1800 86400 5",
        ),
        ("the zone has no address", "cluster.local.", T::A, "no data"),
        ("no kind of name", "web.default.cluster.local.", T::A, "no such name"),
        ("a ClusterIP's name", "1.1.96.10.in-addr.arpa.", T::PTR, "web.default.svc.cluster.local."),
        ("an end's name", "2.1.244.10.in-addr.arpa.", T::PTR, "db-0.db.data.svc.cluster.local."),
        ("an end's name without hostname", "3.1.244.10.in-addr.arpa.", T::PTR, "10-244-1-3.db.data.svc.cluster.local."),
        ("a pod's address without a name", "9.1.244.10.in-addr.arpa.", T::PTR, "no such name"),
        ("someone else's address", "1.1.168.192.in-addr.arpa.", T::PTR, "upstream"),
        ("someone else's name", "example.org.", T::A, "upstream"),
        ("a name that only looks like ours", "evilcluster.local.", T::A, "upstream"),
    ];
    for (why, name, kind, expected) in cases {
        assert_eq!(ask(name, kind), expected, "{why}");
    }
}

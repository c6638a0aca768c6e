//! What each request of a kubelet, or of a proxy, comes to.

use super::*;
use crate::authn::{NODES_GROUP, PROXIES_GROUP};

fn agent(name: &str, group: &str) -> User {
    User { name: name.into(), groups: vec![group.into()], ..User::default() }
}

/// `verb resource namespace/name fields`, `-` for none.
fn judged(user: &User, line: &str) -> String {
    let words: Vec<&str> = line.split(' ').collect();
    let (namespace, name) = words[2].split_once('/').unwrap();
    let (resource, subresource) = words[1].split_once('/').unwrap_or((words[1], ""));
    let group = match resource {
        "leases" => "coordination.k8s.io",
        "csinodes" | "volumeattachments" | "csidrivers" => "storage.k8s.io",
        "resourceclaims" | "resourceslices" => "resource.k8s.io",
        "podcertificaterequests" => "certificates.k8s.io",
        _ => "",
    };
    let target = Target {
        group: group.into(),
        version: "v1".into(),
        resource: resource.into(),
        subresource: subresource.into(),
        namespace: namespace.into(),
        name: name.into(),
    };
    let fields = FieldSelector::parse(words[3].trim_matches('-')).unwrap();
    match judge(user, words[0], &target, &fields) {
        Verdict::Allowed => "allowed".into(),
        Verdict::NoOpinion(_) => "-".into(),
        Verdict::Needs(Need::Bound { namespace, name }) => format!("bound {namespace}/{name}"),
        Verdict::Needs(Need::Referred { source, namespace, name }) => format!("{source:?} {namespace}/{name}"),
        Verdict::Needs(Need::Claimed { volume }) => format!("claimed {volume}"),
        Verdict::Needs(Need::Kept { volume }) => format!("kept {volume}"),
        Verdict::Needs(Need::Names { kind, namespace, name }) => format!("{kind:?} {namespace}/{name}"),
    }
}

#[test]
fn what_each_request_needs() {
    for (line, expected) in [
        ("get secrets ns/s -", "Secret ns/s"),
        ("watch secrets ns/ metadata.name=s", "Secret ns/s"),
        ("list configmaps ns/ metadata.name=c", "ConfigMap ns/c"),
        ("list secrets ns/ -", "-"),
        ("list secrets / -", "-"),
        ("watch secrets ns/ metadata.name!=s", "-"),
        ("create secrets ns/ -", "-"),
        ("delete secrets ns/s -", "-"),
        ("get serviceaccounts ns/a -", "ServiceAccount ns/a"),
        ("list serviceaccounts ns/ metadata.name=a", "-"),
        ("create serviceaccounts/token ns/a -", "ServiceAccount ns/a"),
        ("create serviceaccounts/token ns/ -", "-"),
        ("get persistentvolumeclaims ns/v -", "PersistentVolumeClaim ns/v"),
        ("list persistentvolumeclaims ns/ metadata.name=v", "-"),
        ("get persistentvolumeclaims/status ns/v -", "-"),
        ("get persistentvolumes /v -", "claimed v"),
        ("get persistentvolumes/status /v -", "-"),
        ("list persistentvolumes / -", "-"),
        ("list persistentvolumes / metadata.name=v", "kept v"),
        ("watch persistentvolumes / metadata.name=v", "kept v"),
        ("watch persistentvolumes / metadata.name!=v", "-"),
        ("update persistentvolumes /v -", "kept v"),
        ("update persistentvolumes/status /v -", "-"),
        ("patch persistentvolumes /v -", "-"),
        ("delete persistentvolumes /v -", "-"),
        ("create persistentvolumes / -", "-"),
        ("get pods ns/web -", "bound ns/web"),
        ("get pods/log ns/web -", "-"),
        ("get pods/exec ns/web -", "-"),
        ("update pods ns/web -", "-"),
        ("deletecollection pods ns/ spec.nodeName=n1", "-"),
        ("patch pods/status ns/web -", "bound ns/web"),
        ("create pods/eviction ns/web -", "bound ns/web"),
        ("create pods/binding ns/web -", "-"),
        ("create pods ns/ -", "allowed"),
        ("get pods ns/web spec.nodeName=n1", "bound ns/web"),
        ("list pods / metadata.name=web", "-"),
        ("watch pods / spec.nodeName=n1", "allowed"),
        ("watch pods / spec.nodeName=n2", "-"),
        ("watch pods / spec.nodeName!=n1", "-"),
        ("list pods ns/ metadata.name=web", "bound ns/web"),
        ("delete pods ns/web -", "bound ns/web"),
        ("get nodes /n1 -", "allowed"),
        ("get nodes /n2 -", "-"),
        ("list nodes / -", "-"),
        ("watch nodes / metadata.name=n1", "allowed"),
        ("create nodes / -", "allowed"),
        ("patch nodes /n2 -", "-"),
        ("delete nodes /n1 -", "-"),
        ("patch nodes/status /n1 -", "allowed"),
        ("get nodes/status /n1 -", "-"),
        ("update leases kube-node-lease/n1 -", "allowed"),
        ("update leases kube-node-lease/n2 -", "-"),
        ("update leases kube-system/n1 -", "-"),
        ("create leases kube-node-lease/ -", "allowed"),
        ("list leases kube-node-lease/ -", "-"),
        ("create events ns/ -", "allowed"),
        ("patch persistentvolumeclaims/status ns/v -", "PersistentVolumeClaim ns/v"),
        ("update persistentvolumeclaims ns/v -", "-"),
        ("get volumeattachments /v -", "VolumeAttachment /v"),
        ("list volumeattachments / -", "-"),
        ("patch volumeattachments/status /v -", "-"),
        ("get resourceclaims ns/c -", "ResourceClaim ns/c"),
        ("list resourceclaims ns/ metadata.name=c", "-"),
        ("update resourceclaims/status ns/c -", "-"),
        ("update csinodes /n1 -", "allowed"),
        ("get csinodes /n2 -", "-"),
        ("create csinodes / -", "allowed"),
        ("delete csinodes /n1 -", "allowed"),
        ("list csinodes / -", "-"),
        ("update csinodes/status /n1 -", "-"),
        ("list csidrivers / -", "allowed"),
        ("delete csidrivers /d -", "-"),
        ("create resourceslices / -", "allowed"),
        ("get resourceslices /s -", "ResourceSlice /s"),
        ("delete resourceslices /s -", "ResourceSlice /s"),
        ("update resourceslices /s -", "ResourceSlice /s"),
        ("watch resourceslices / -", "-"),
        ("list resourceslices / spec.nodeName=n1", "allowed"),
        ("deletecollection resourceslices / spec.nodeName=n1", "allowed"),
        ("deletecollection resourceslices / spec.nodeName=n2", "-"),
        ("watch podcertificaterequests / spec.nodeName=n1", "allowed"),
        ("watch podcertificaterequests / -", "-"),
        ("get podcertificaterequests ns/r -", "PodCertificateRequest ns/r"),
        ("create podcertificaterequests ns/ -", "allowed"),
        ("update podcertificaterequests/status ns/r -", "-"),
        ("delete podcertificaterequests ns/r -", "-"),
        ("get nodes/proxy /n1 -", "-"),
        ("list namespaces / -", "-"),
    ] {
        assert_eq!(judged(&agent("system:node:n1", NODES_GROUP), line), expected, "{line}");
    }
}

#[test]
fn a_nodes_proxy_reads_the_pods_of_its_node() {
    for (line, expected) in [
        ("watch pods / spec.nodeName=n1", "allowed"),
        ("list pods ns/ spec.nodeName=n1", "allowed"),
        ("watch pods / spec.nodeName=n2", "-"),
        ("watch pods / spec.nodeName!=n2", "-"),
        ("watch pods / -", "-"),
        ("get pods ns/web spec.nodeName=n1", "-"),
        ("watch pods/status / spec.nodeName=n1", "-"),
        ("deletecollection pods / spec.nodeName=n1", "-"),
        ("watch services / -", "-"),
    ] {
        assert_eq!(judged(&agent("system:kube-proxy:n1", PROXIES_GROUP), line), expected, "{line}");
    }
}

#[test]
fn others_are_none_of_its_business() {
    let others = [
        agent("system:node:n1", "dev"),
        agent("system:node:", NODES_GROUP),
        agent("n1", NODES_GROUP),
        agent("system:kube-proxy:n1", "dev"),
        agent("system:kube-proxy", PROXIES_GROUP),
        agent("system:kube-proxy:", PROXIES_GROUP),
    ];
    for user in others {
        for line in ["watch pods / spec.nodeName=n1", "watch pods / spec.nodeName=", "get nodes /n1 -"] {
            assert_eq!(judged(&user, line), "-", "{} {line}", user.name);
        }
    }
}

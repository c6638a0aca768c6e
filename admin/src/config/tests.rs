//! Settings from flags, a file and defaults; and every file that must be refused.
use std::collections::BTreeSet;
use std::path::PathBuf;

use clap::Parser;

use super::*;
use crate::topology::ProgramName;

#[derive(Parser)]
struct Flags {
    #[command(flatten)]
    settings: Settings,
}

fn flags(text: &str) -> Settings {
    Flags::try_parse_from(format!("cortenadm {text}").split_whitespace()).unwrap().settings
}

fn host() -> Host {
    Host { name: "machine7".into(), address: Some(Ipv4Addr::new(192, 168, 1, 7)) }
}

/// A file of one test; gone with it.
struct TempFile(PathBuf);

impl TempFile {
    fn new(name: &str, settings: &str) -> Self {
        let path = std::env::temp_dir().join(format!("cortenadm-config-{name}-{}", std::process::id()));
        std::fs::write(&path, format!("apiVersion: {API_VERSION}\nkind: {KIND}\n{settings}")).unwrap();
        Self(path)
    }
}

impl Drop for TempFile {
    fn drop(&mut self) {
        std::fs::remove_file(&self.0).ok();
    }
}

/// What `config show` says of a key: value and source.
fn shown(text: &str, key: &str) -> String {
    let line = text.lines().find_map(|line| line.strip_prefix(&format!("{key}: "))).unwrap_or_default();
    line.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn flags_go_before_the_file_and_the_file_before_defaults() {
    let file = TempFile::new("order", "podNetworkCidr: 10.1.0.0/16\nclusterName: north\nserviceCidr: 10.2.0.0/20\n");
    let effective = Effective::new(&flags("--cluster-name south"), Some(&file.0), None, &host()).unwrap();
    let text = effective.show().unwrap();
    let from_file = format!("# file {}", file.0.display());
    let cases = [
        ("clusterName", "\"south\" # flag --cluster-name".to_owned()),
        ("podNetworkCidr", format!("\"10.1.0.0/16\" {from_file}")),
        ("clusterDns", "\"10.2.0.10\" # default".to_owned()),
        ("nodeName", "\"machine7\" # default".to_owned()),
        ("apiserverAdvertiseAddress", "\"192.168.1.7\" # default".to_owned()),
        ("etcdElectionTimeout", "500 # default".to_owned()),
        ("kubeletExtraArgs", "[] # default".to_owned()),
    ];
    for (key, expected) in cases {
        assert_eq!(shown(&text, key), expected, "{key} in\n{text}");
    }
    let cluster = effective.plan().unwrap().cluster;
    assert_eq!((cluster.service_ip.to_string().as_str(), cluster.name.as_str()), ("10.2.0.1", "south"));
}

#[test]
fn what_is_shown_and_what_is_kept_are_files_that_say_the_same() {
    let given =
        flags("--pod-network-cidr 10.9.0.0/16 --kubelet-extra-args=--node-label=a=b --etcd-heartbeat-interval 100");
    let effective = Effective::new(&given, None, None, &host()).unwrap();
    let file = TempFile::new("shown", "");
    for text in [effective.show().unwrap(), effective.kept().unwrap()] {
        assert!(text.starts_with(&format!("apiVersion: {API_VERSION}\nkind: {KIND}\n")), "{text}");
        std::fs::write(&file.0, text).unwrap();
        for (file, kept) in [(Some(file.0.as_path()), None), (None, Some(file.0.as_path()))] {
            let again = Effective::new(&Settings::default(), file, kept, &Host::default()).unwrap();
            assert_eq!(again.settings, effective.settings);
        }
    }
}

#[test]
fn what_was_chosen_is_kept_and_defaults_are_left_to_be_ones() {
    let file = TempFile::new("chosen", "apiserverBindPort: 7443\nignorePreflightErrors: [Mem]\n");
    let given = flags("--service-cidr 10.50.0.0/16 --ignore=Swap");
    let kept = Effective::new(&given, Some(&file.0), None, &host()).unwrap().kept().unwrap();
    let keys: BTreeSet<&str> = kept.lines().skip(2).filter_map(|line| line.split(": ").next()).collect();
    let expected = ["apiserverAdvertiseAddress", "apiserverBindPort", "nodeName", "serviceCidr"];
    assert_eq!(keys.into_iter().collect::<Vec<_>>(), expected);
    // And again, of itself: a name or a route that changed changes nothing.
    std::fs::write(&file.0, &kept).unwrap();
    let renamed = Host { name: "renamed".into(), address: Some(Ipv4Addr::new(192, 168, 1, 8)) };
    let again = Effective::new(&Settings::default(), None, Some(&file.0), &renamed).unwrap();
    assert_eq!(again.kept().unwrap(), kept);
}

#[test]
fn what_was_kept_gives_way_to_what_is_given_and_not_to_defaults() {
    let kept = TempFile::new("kept", "nodeName: m1\napiserverBindPort: 7443\netcdHeartbeatInterval: 80\n");
    let file = TempFile::new("given", "etcdHeartbeatInterval: 90\nserviceNodePortRange: 20000-20100\n");
    let given = flags("--service-node-port-range 21000-21100");
    let text = Effective::new(&given, Some(&file.0), Some(&kept.0), &host()).unwrap().show().unwrap();
    let cases = [
        ("apiserverBindPort", format!("7443 # file {}", kept.0.display())),
        ("etcdHeartbeatInterval", format!("90 # file {}", file.0.display())),
        ("serviceNodePortRange", "\"21000-21100\" # flag --service-node-port-range".to_owned()),
        ("clusterName", "\"corten\" # default".to_owned()),
    ];
    for (key, expected) in cases {
        assert_eq!(shown(&text, key), expected, "{key} in\n{text}");
    }
}

#[test]
fn what_a_cluster_is_made_with_cannot_be_changed_while_it_runs() {
    let kept = TempFile::new("fixed", "nodeName: m1\nserviceCidr: 10.50.0.0/16\n");
    let cases = [
        ("--cluster-name other", Some("clusterName: is \"corten\" since")),
        ("--node-name m2", Some("nodeName: is \"m1\" since")),
        ("--pod-network-cidr 10.9.0.0/16", Some("podNetworkCidr: is \"10.244.0.0/16\" since")),
        ("--node-cidr-mask-size 25", Some("nodeCidrMaskSize: is 24 since")),
        ("--service-cidr 10.96.0.0/16 --cluster-dns 10.50.0.10", Some("serviceCidr: is \"10.50.0.0/16\" since")),
        ("--service-dns-domain example.org", Some("serviceDnsDomain: is \"cluster.local\" since")),
        ("--cluster-dns 10.50.0.11", Some("clusterDns: is \"10.50.0.10\" since")),
        ("--cluster-name corten --node-name m1 --service-cidr 10.50.0.0/16", None),
        ("--apiserver-bind-port 7443 --etcd-heartbeat-interval 100", None),
        ("--apiserver-advertise-address 192.168.1.8 --service-node-port-range 20000-20100", None),
    ];
    for (given, says) in cases {
        let found = Effective::new(&flags(given), None, Some(&kept.0), &host()).map_err(|error| error.to_string());
        match says {
            None => assert!(found.is_ok(), "{given}: {found:?}"),
            Some(says) => {
                let error = found.unwrap_err();
                assert!(error.starts_with(says) && error.contains("cortenadm reset"), "{given}: {error}");
            }
        }
    }
}

#[test]
fn every_key_is_a_flag() {
    use clap::CommandFactory;
    let command = Flags::command();
    let all = Effective::new(&Settings::default(), None, None, &host()).unwrap();
    for key in given(&all.settings).unwrap().keys() {
        let name = flag_name(key);
        assert!(command.get_arguments().any(|arg| arg.get_long() == Some(name.as_str())), "--{name}");
    }
    let Value::Object(keys) = serde_json::to_value(Settings::default()).unwrap() else { panic!("no object") };
    assert_eq!(keys.len(), given(&all.settings).unwrap().len(), "every setting has a default");
}

#[test]
fn defaults_are_those_of_the_topology() {
    let plan = Effective::new(&Settings::default(), None, None, &host()).unwrap().plan().unwrap();
    let expected = crate::topology::Cluster::new("corten", vec![plan.machine.clone()]);
    assert_eq!(plan.cluster, expected);
}

#[test]
fn files_that_are_refused() {
    let cases = [
        ("podNetworkCIDR: 10.1.0.0/16", "there is no such setting: is it podNetworkCidr?"),
        ("podNetwrkCidr: 10.1.0.0/16", "is it podNetworkCidr?"),
        ("colour: red", "there are "),
        ("clusterName: null", "clusterName: has no value"),
        ("podNetworkCidr:", "podNetworkCidr: has no value"),
        ("podNetworkCidr: 10.1.0.0", "podNetworkCidr: "),
        ("apiserverBindPort: 70000", "apiserverBindPort: "),
        ("apiserverBindPort: \"6443\"", "apiserverBindPort: "),
        ("clusterName: a\nclusterName: b", "no YAML"),
        ("kubeletExtraArgs: --v=2", "kubeletExtraArgs: "),
        ("- a", "no YAML"),
    ];
    for (at, (settings, says)) in cases.into_iter().enumerate() {
        let file = TempFile::new(&format!("refused{at}"), settings);
        let error = Effective::new(&Settings::default(), Some(&file.0), None, &host()).unwrap_err();
        assert!(error.to_string().contains(says), "{settings}: {error}");
    }
    let versions = [
        (serde_json::json!({"kind": KIND}), "apiVersion: is missing"),
        (serde_json::json!({"apiVersion": "v1", "kind": KIND}), "must be admin.corten.io/v1alpha1, not \"v1\""),
        (serde_json::json!({"apiVersion": API_VERSION, "kind": "Pod"}), "must be ClusterConfiguration, not \"Pod\""),
        (serde_json::json!([]), "must have keys"),
    ];
    for (value, says) in versions {
        let error = file::parse(value.clone()).unwrap_err().to_string();
        assert!(error.contains(says), "{value}: {error}");
    }
}

#[test]
fn settings_that_do_not_fit_together() {
    let cases = [
        ("--node-name Master_1", "nodeName"),
        ("--cluster-name a.b", "clusterName"),
        ("--apiserver-advertise-address 127.0.0.1", "apiserverAdvertiseAddress"),
        ("--apiserver-bind-port 0", "apiserverBindPort"),
        ("--apiserver-bind-port 2379", "apiserverBindPort"),
        ("--apiserver-bind-port 10250", "apiserverBindPort"),
        ("--apiserver-bind-port 53", "apiserverBindPort"),
        ("--pod-network-cidr 10.1.0.5/16", "podNetworkCidr"),
        ("--pod-network-cidr 192.168.0.0/16", "podNetworkCidr"),
        ("--pod-network-cidr 10.0.0.0/8", "serviceCidr"),
        ("--service-cidr 10.96.0.0/28", "serviceCidr"),
        ("--node-cidr-mask-size 15", "nodeCidrMaskSize"),
        ("--node-cidr-mask-size 31", "nodeCidrMaskSize"),
        ("--cluster-dns 10.97.0.10", "clusterDns"),
        ("--cluster-dns 10.96.0.1", "clusterDns"),
        ("--service-node-port-range 5", "serviceNodePortRange"),
        ("--service-node-port-range 9-5", "serviceNodePortRange"),
        ("--service-dns-domain Cluster!", "serviceDnsDomain"),
        ("--etcd-heartbeat-interval 0", "etcdHeartbeatInterval"),
        ("--etcd-heartbeat-interval 100 --etcd-election-timeout 400", "etcdElectionTimeout"),
        ("--etcd-election-timeout 60000", "etcdElectionTimeout"),
        ("--apiserver-cert-extra-sans a_b", "apiserverCertExtraSans"),
        ("--kubelet-extra-args=node-label", "kubeletExtraArgs"),
        ("--kubelet-extra-args=--node-label=a=$b", "kubeletExtraArgs"),
        ("--kubelet-extra-args=--node-ip=10.0.0.1", "kubeletExtraArgs"),
        ("--apiserver-extra-args=--etcd=http://a", "apiserverExtraArgs"),
    ];
    for (given, key) in cases {
        let error = Effective::new(&flags(given), None, None, &host()).unwrap().plan().unwrap_err();
        assert!(error.to_string().starts_with(&format!("{key}: ")), "{given}: {error}");
    }
    let nowhere = Host { address: None, ..host() };
    let error = Effective::new(&Settings::default(), None, None, &nowhere).unwrap_err();
    assert!(error.to_string().contains("apiserverAdvertiseAddress"), "{error}");
}

#[test]
fn what_is_chosen_reaches_the_cluster() {
    let given = flags(
        "--kubelet-extra-args=--node-label=a=b --kubelet-extra-args=--register-with-taint=x=y:NoSchedule \
         --apiserver-cert-extra-sans=api.example.com,10.9.9.9 --service-cidr 10.50.0.0/24 --apiserver-bind-port 443",
    );
    let plan = Effective::new(&given, None, None, &host()).unwrap().plan().unwrap();
    assert_eq!(plan.cluster.extra_args[&ProgramName::Kubelet].len(), 2);
    assert_eq!(plan.cluster.cluster_dns.to_string(), "10.50.0.10");
    let sans = plan.certificates().apiserver_sans;
    assert_eq!(sans, ["machine7", "192.168.1.7", "api.example.com", "10.9.9.9"]);
}

#[test]
fn what_may_be_written_in_several_ways_is_one() {
    let given = flags("--service-node-port-range +030000-032767 --apiserver-cert-extra-sans FD00:0::0:1,fd00::1");
    let plan = Effective::new(&given, None, None, &host()).unwrap().plan().unwrap();
    assert_eq!(plan.cluster.node_port_range, "30000-32767");
    assert_eq!(plan.cert_extra_sans, ["fd00::1", "fd00::1"]);
    // A certificate says an address in one way: with another it would be made anew for ever.
    let sans = |sans: &[&str]| {
        let apiserver_sans = sans.iter().map(|san| (*san).to_owned()).collect();
        crate::pki::ClusterPlan { apiserver_sans, ..crate::pki::ClusterPlan::default() }.certificates()[0].sans.clone()
    };
    assert_eq!(sans(&["FD00::0:1", "fd00::1", "a.example"]), sans(&["fd00::1", "a.example"]));
}

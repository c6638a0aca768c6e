//! The command line, checked once.

use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::sync::Arc;

use clap::Parser;
use corten_api::networks;
use http::HeaderName;
use ipnet::IpNet;

use crate::authn::front_proxy::{FrontProxyTrust, Rules};
use crate::authn::key_files::KeyFiles;
use crate::authn::tokens;
use crate::connect::aggregated::reach::FrontProxyTls;
use crate::flowcontrol::{DEFAULT_MAX_MUTATING, DEFAULT_MAX_READ_ONLY};

/// The cluster's own name for its apiservers, as other tools have it.
const ISSUER: &str = "https://kubernetes.default.svc.cluster.local";
const LIFE_SECS_MIN: i64 = 3600;
const LIFE_SECS_MAX: i64 = 1 << 32;
/// More at once than any machine has use for.
const INFLIGHT_MAX: i64 = 100_000;

/// The Corten apiserver: the cluster's one front door, and etcd's one client.
#[derive(Clone, Debug, Parser)]
#[command(name = "corten-apiserver", version)]
pub struct Config {
    /// Where to serve, TLS only
    #[arg(long, default_value = "0.0.0.0:6443")]
    pub listen: SocketAddr,
    /// The address under which the other nodes reach this server
    #[arg(long)]
    pub advertise_address: Option<IpAddr>,
    /// An etcd endpoint, http:// or https://; repeat for all members
    #[arg(long = "etcd", required = true, value_delimiter = ',')]
    pub etcd: Vec<String>,
    /// PEM file of the CA that signed etcd's certificates
    #[arg(long, requires_all = ["etcd_cert_file", "etcd_key_file"])]
    pub etcd_ca_file: Option<PathBuf>,
    /// PEM file of the certificate shown to etcd
    #[arg(long, requires = "etcd_ca_file")]
    pub etcd_cert_file: Option<PathBuf>,
    #[arg(long, requires = "etcd_ca_file")]
    pub etcd_key_file: Option<PathBuf>,
    /// PEM file of the serving certificate and its chain; read again when it changes
    #[arg(long)]
    pub tls_cert_file: PathBuf,
    #[arg(long)]
    pub tls_key_file: PathBuf,
    /// PEM file of the CA whose client certificates name users (CN) and groups (O)
    #[arg(long)]
    pub client_ca_file: PathBuf,
    /// PEM file of the CA whose certificates are front proxies': what their headers say of their requests' users is believed
    #[arg(long)]
    pub requestheader_client_ca_file: Option<PathBuf>,
    /// Common names of front proxies' certificates [default: any]
    #[arg(long, value_delimiter = ',', requires = "requestheader_client_ca_file")]
    pub requestheader_allowed_names: Vec<String>,
    /// Headers for the user's name, as X-Remote-User; the first that has a value counts [default: none]
    #[arg(long, value_delimiter = ',', requires = "requestheader_client_ca_file")]
    pub requestheader_username_headers: Vec<HeaderName>,
    /// Headers for the user's UID, as X-Remote-Uid; the first that has a value counts [default: none]
    #[arg(long, value_delimiter = ',', requires = "requestheader_client_ca_file")]
    pub requestheader_uid_headers: Vec<HeaderName>,
    /// Headers for the user's groups, as X-Remote-Group [default: none]
    #[arg(long, value_delimiter = ',', requires = "requestheader_client_ca_file")]
    pub requestheader_group_headers: Vec<HeaderName>,
    /// What headers begin with for what else is known of the user, as X-Remote-Extra- [default: none]
    #[arg(long, value_delimiter = ',', requires = "requestheader_client_ca_file")]
    pub requestheader_extra_headers_prefix: Vec<String>,
    /// PEM file of the certificate by which servers that answer for group versions believe whose requests we pass on
    #[arg(long, requires = "proxy_client_key_file")]
    pub proxy_client_cert_file: Option<PathBuf>,
    #[arg(long, requires = "proxy_client_cert_file")]
    pub proxy_client_key_file: Option<PathBuf>,
    /// PEM file of the certificate shown to kubelets
    #[arg(long)]
    pub kubelet_client_cert_file: PathBuf,
    #[arg(long)]
    pub kubelet_client_key_file: PathBuf,
    /// PEM file of the CA that signed the kubelets' serving certificates [default: the --client-ca-file]
    #[arg(long)]
    pub kubelet_ca_file: Option<PathBuf>,
    /// Who gives service-account tokens: an https:// URL, if others are to look up the keys; repeat for issuers whose tokens
    /// stay good
    #[arg(long = "service-account-issuer", default_value = ISSUER, value_parser = parse_issuer)]
    pub service_account_issuers: Vec<String>,
    /// PEM file of the private key that signs service-account tokens; read again when it changes
    #[arg(long)]
    pub service_account_signing_key_file: PathBuf,
    /// PEM file of keys, private or public, whose service-account tokens are good, too; repeat for more. Read again when it
    /// changes
    #[arg(long = "service-account-key-file")]
    pub service_account_key_files: Vec<PathBuf>,
    /// Who we are, as the audience of a token [default: the first --service-account-issuer]
    #[arg(long, value_delimiter = ',')]
    pub api_audiences: Vec<String>,
    /// The longest life of a service-account token that is asked for, 1h to 2^32 s: 3600, 3600s, 60m, 24h [default: as asked
    /// for]
    #[arg(long, value_parser = parse_life)]
    pub service_account_max_token_expiration: Option<i64>,
    /// Whether a pod's token of the usual life stays good for a year: programs that never read it again go on
    #[arg(long, default_value_t = true, action = clap::ArgAction::Set)]
    pub service_account_extend_token_expiration: bool,
    /// Where ClusterIPs come from
    #[arg(long, default_value = networks::SERVICE_CIDR)]
    pub service_cidr: IpNet,
    /// Ports that NodePort Services may have
    #[arg(long, default_value = "30000-32767", value_parser = parse_port_range)]
    pub node_port_range: RangeInclusive<u16>,
    /// Requests at work at once, with those of --max-mutating-requests-inflight: the sum is shared out by priority and
    /// fairness
    #[arg(long, default_value_t = DEFAULT_MAX_READ_ONLY, value_parser = clap::value_parser!(u32).range(1..=INFLIGHT_MAX))]
    pub max_requests_inflight: u32,
    #[arg(long, default_value_t = DEFAULT_MAX_MUTATING, value_parser = clap::value_parser!(u32).range(1..=INFLIGHT_MAX))]
    pub max_mutating_requests_inflight: u32,
    #[arg(long, value_enum, default_value_t)]
    pub log_format: LogFormat,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    #[default]
    Text,
    Json,
}

impl Config {
    /// The address other nodes use: the one given, or the one listened on if that is a real one.
    pub fn advertised(&self) -> Option<SocketAddr> {
        let ip = self.advertise_address.or_else(|| Some(self.listen.ip()).filter(|ip| !ip.is_unspecified()))?;
        Some(SocketAddr::new(ip, self.listen.port()))
    }
    /// Who is believed as a front proxy.
    pub fn front_proxy_trust(&self) -> Option<FrontProxyTrust> {
        let rules = Rules {
            allowed_names: self.requestheader_allowed_names.clone(),
            username_headers: self.requestheader_username_headers.clone(),
            uid_headers: self.requestheader_uid_headers.clone(),
            group_headers: self.requestheader_group_headers.clone(),
            extra_prefixes: self.requestheader_extra_headers_prefix.iter().map(|p| p.to_ascii_lowercase()).collect(),
        };
        Some(FrontProxyTrust { ca: self.requestheader_client_ca_file.clone()?, rules: Arc::new(rules) })
    }
    /// As whom we are one.
    pub fn front_proxy_tls(&self) -> Option<FrontProxyTls> {
        let (cert, key) = (self.proxy_client_cert_file.clone()?, self.proxy_client_key_file.clone()?);
        Some(FrontProxyTls { cert, key })
    }
    pub fn kubelet_ca(&self) -> &PathBuf {
        self.kubelet_ca_file.as_ref().unwrap_or(&self.client_ca_file)
    }
}

impl Config {
    pub fn key_files(&self) -> KeyFiles {
        KeyFiles {
            signing: self.service_account_signing_key_file.clone(),
            verifying: self.service_account_key_files.clone(),
        }
    }

    pub fn token_rules(&self) -> tokens::Rules {
        let (issuer, others) = match self.service_account_issuers.split_first() {
            Some((first, others)) => (first.clone(), others.to_vec()),
            None => (ISSUER.to_owned(), Vec::new()),
        };
        let audiences = if self.api_audiences.is_empty() { vec![issuer.clone()] } else { self.api_audiences.clone() };
        let max_life_secs = self.service_account_max_token_expiration;
        let extends_pods = self.service_account_extend_token_expiration;
        tokens::Rules { issuer, other_issuers: others, audiences, max_life_secs, extends_pods }
    }
}

fn parse_issuer(text: &str) -> Result<String, String> {
    let is_url = !text.contains(':') || text.parse::<http::Uri>().is_ok_and(|uri| uri.scheme().is_some());
    if text.is_empty() || !is_url {
        return Err(format!("{text:?} is no issuer: give a URL, or a name without a colon"));
    }
    Ok(text.to_owned())
}

/// A time as Go's flags have it, in whole seconds.
fn parse_life(text: &str) -> Result<i64, String> {
    let wrong = || format!("{text:?} is no life of a token: write it as 3600s, 60m or 24h, from 1h to 2^32 s");
    let digits = text.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
    let unit_secs = match text.get(digits.len()..).unwrap_or_default() {
        "" | "s" => 1,
        "m" => 60,
        "h" => 3600,
        _ => return Err(wrong()),
    };
    let secs = digits.parse::<i64>().ok().and_then(|number| number.checked_mul(unit_secs)).ok_or_else(wrong)?;
    if (LIFE_SECS_MIN..=LIFE_SECS_MAX).contains(&secs) { Ok(secs) } else { Err(wrong()) }
}

fn parse_port_range(text: &str) -> Result<RangeInclusive<u16>, String> {
    let wrong = || format!("{text:?} is not a range of ports: write it as 30000-32767");
    let (first, last) = text.split_once('-').ok_or_else(wrong)?;
    let (first, last): (u16, u16) =
        (first.trim().parse().map_err(|_| wrong())?, last.trim().parse().map_err(|_| wrong())?);
    if first == 0 || first > last { Err(wrong()) } else { Ok(first..=last) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn port_ranges() {
        assert_eq!(parse_port_range("30000-32767"), Ok(30000..=32767));
        for bad in ["", "30000", "2-1", "0-5", "1-70000", "a-b"] {
            assert!(parse_port_range(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn flags_fit_together() {
        let base = "corten-apiserver --etcd http://127.0.0.1:2379 --tls-cert-file c --tls-key-file k --client-ca-file ca --kubelet-client-cert-file c --kubelet-client-key-file k --service-account-signing-key-file s";
        let parse = |more: &str| Config::try_parse_from(format!("{base} {more}").split_whitespace());
        assert_eq!(parse("").unwrap().advertised(), None);
        let config = parse("--advertise-address 10.0.0.1 --etcd http://b:2379").unwrap();
        assert_eq!(config.advertised(), Some("10.0.0.1:6443".parse().unwrap()));
        assert_eq!(config.etcd.len(), 2);
        for bad in [
            "--max-requests-inflight 0",
            "--etcd-cert-file x",
            "--service-cidr 10.96",
            "--node-port-range 5",
            "--service-account-issuer=",
            "--service-account-issuer=a:b",
            "--service-account-max-token-expiration 59m",
            "--requestheader-username-headers X-Remote-User",
            "--proxy-client-cert-file c",
        ] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn headers_are_believed_that_are_named() {
        let base = "corten-apiserver --etcd http://127.0.0.1:2379 --tls-cert-file c --tls-key-file k --client-ca-file ca --kubelet-client-cert-file c --kubelet-client-key-file k --service-account-signing-key-file s";
        let trust = |more: &str| {
            Config::try_parse_from(format!("{base} {more}").split_whitespace()).unwrap().front_proxy_trust()
        };
        assert!(trust("").is_none());
        let rules = trust("--requestheader-client-ca-file f").unwrap().rules;
        let none = Rules {
            allowed_names: Vec::new(),
            username_headers: Vec::new(),
            uid_headers: Vec::new(),
            group_headers: Vec::new(),
            extra_prefixes: Vec::new(),
        };
        assert_eq!(*rules, none);
        let named = "--requestheader-client-ca-file f --requestheader-username-headers X-Remote-User,X-Other \
            --requestheader-extra-headers-prefix X-Remote-Extra-";
        let rules = trust(named).unwrap().rules;
        assert_eq!(rules.username_headers, ["x-remote-user", "x-other"].map(HeaderName::from_static));
        assert_eq!(rules.extra_prefixes, ["x-remote-extra-"]);
    }

    #[test]
    fn lives_of_tokens() {
        for (text, expected) in
            [("3600", Some(3600)), ("3600s", Some(3600)), ("90m", Some(5400)), ("24h", Some(86_400))]
        {
            assert_eq!(parse_life(text).ok(), expected, "{text}");
        }
        for bad in ["", "h", "10m", "3599s", "4294967297", "9223372036854775807h", "1d", "-1h", "1.5h"] {
            assert!(parse_life(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_first_issuer_gives_tokens_and_is_their_audience_unless_another_is_named() {
        let base = "corten-apiserver --etcd http://127.0.0.1:2379 --tls-cert-file c --tls-key-file k --client-ca-file ca --kubelet-client-cert-file c --kubelet-client-key-file k --service-account-signing-key-file s";
        let rules = |more: &str| {
            let rules = Config::try_parse_from(format!("{base} {more}").split_whitespace()).unwrap().token_rules();
            (rules.issuer, rules.other_issuers, rules.audiences)
        };
        let owned = |list: &[&str]| list.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        assert_eq!(rules(""), (ISSUER.to_owned(), owned(&[]), owned(&[ISSUER])));
        let two = "--service-account-issuer=https://a --service-account-issuer=b";
        assert_eq!(rules(two), ("https://a".to_owned(), owned(&["b"]), owned(&["https://a"])));
        assert_eq!(rules(&format!("{two} --api-audiences=x,y")).2, owned(&["x", "y"]));
    }
}

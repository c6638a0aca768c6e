//! The ConfigMap `extension-apiserver-authentication` in kube-system: which CAs this cluster's clients are known by, for API
//! servers that users add.
//!
//! Each apiserver puts its own `--client-ca-file` and what it says of front proxies in, and leaves what others have put there, but
//! for certificates whose time is over.
//! <https://kubernetes.io/docs/tasks/extend-kubernetes/configure-aggregation-layer/#extension-apiserver-authenticates-the-request>.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use corten_api::{ApiError, Reason};
use http::HeaderName;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::ConfigMap;
use serde_json::json;

use super::system::target;
use super::{Authorized, ReadAt, Resources, WriteOptions};
use crate::authn::front_proxy::{FrontProxyTrust, Rules};
use crate::registry::certificates::pem;

const NAMESPACE: &str = "kube-system";
const NAME: &str = "extension-apiserver-authentication";
const CLIENT_CA: &str = "client-ca-file";
const PROXY_CA: &str = "requestheader-client-ca-file";
/// Lists of texts, as JSON. They mean nothing without [`PROXY_CA`].
const PROXY_KEYS: [&str; 5] =
    [ALLOWED_NAMES, EXTRA_PREFIXES, "requestheader-group-headers", "requestheader-uid-headers", USERNAME_HEADERS];
const ALLOWED_NAMES: &str = "requestheader-allowed-names";
const EXTRA_PREFIXES: &str = "requestheader-extra-headers-prefix";
const USERNAME_HEADERS: &str = "requestheader-username-headers";
/// The file, and the object, are looked at so often.
const LOOK_EVERY: Duration = Duration::from_secs(10);
/// Clocks differ: a certificate counts for so long after its time.
const EXPIRED_SLACK_SECS: i64 = 300;
/// A line of PEM.
const PEM_LINE: usize = 64;
/// No CA file is larger; a ConfigMap takes no more in all.
const CA_FILE_BYTES_MAX: u64 = 512 * 1024;

/// Whose certificates this server believes: files, which may change.
#[derive(Clone, Debug)]
pub struct Trust {
    pub client_ca: PathBuf,
    pub front_proxy: Option<FrontProxyTrust>,
}

/// What the files say.
#[derive(Debug)]
struct Own<'a> {
    /// PEM.
    client_ca: &'a str,
    /// PEM, and what a front proxy's requests are read by.
    front_proxy: Option<(&'a str, &'a Rules)>,
}

/// The data that should be there.
fn wanted(there: &BTreeMap<String, String>, own: &Own<'_>, now_secs: i64) -> BTreeMap<String, String> {
    let mut data = BTreeMap::new();
    let others = |key: &str| there.get(key).map_or("", String::as_str);
    let clients = certificates(&[others(CLIENT_CA), own.client_ca], now_secs);
    if !clients.is_empty() {
        data.insert(CLIENT_CA.to_owned(), clients);
    }
    let (own_proxies, rules) = own.front_proxy.unzip();
    let proxies = certificates(&[others(PROXY_CA), own_proxies.unwrap_or_default()], now_secs);
    if !proxies.is_empty() {
        data.insert(PROXY_CA.to_owned(), proxies);
        for key in PROXY_KEYS {
            let said = match rules {
                None => there.get(key).cloned(),
                Some(rules) => Some(joined(there.get(key), &listed(rules, key))),
            };
            data.extend(said.map(|said| (key.to_owned(), said)));
        }
    }
    data
}

/// What our own rules have for a key.
fn listed(rules: &Rules, key: &str) -> Vec<String> {
    let names = |names: &[HeaderName]| names.iter().map(|name| name.to_string()).collect();
    match key {
        ALLOWED_NAMES => rules.allowed_names.clone(),
        EXTRA_PREFIXES => rules.extra_prefixes.clone(),
        USERNAME_HEADERS => names(&rules.username_headers),
        "requestheader-uid-headers" => names(&rules.uid_headers),
        _ => names(&rules.group_headers),
    }
}

/// What others have said, and then what is our own, each once: headers are the same in any case.
fn joined(there: Option<&String>, own: &[String]) -> String {
    // What is no list says nothing.
    let mut all: Vec<String> = there.and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
    for one in own {
        if !all.iter().any(|known| known.eq_ignore_ascii_case(one)) {
            all.push(one.clone());
        }
    }
    json!(all).to_string()
}

/// Those that are still good, each once. A text that does not decode has none: somebody has broken the ConfigMap, and our own are
/// to be in it all the same.
fn certificates(texts: &[&str], now_secs: i64) -> String {
    let mut found: Vec<Vec<u8>> = Vec::new();
    let blocks = |text: &&str| {
        let told = |err: &pem::NotPem| tracing::warn!(%err, "certificates that are no PEM are left out");
        pem::blocks(text.as_bytes()).inspect_err(told).unwrap_or_default()
    };
    for block in texts.iter().flat_map(blocks) {
        let is_good = block.label == "CERTIFICATE"
            && x509_parser::parse_x509_certificate(&block.contents)
                .is_ok_and(|(_, cert)| cert.validity().not_after.timestamp() + EXPIRED_SLACK_SECS > now_secs);
        if is_good && !found.contains(&block.contents) {
            found.push(block.contents);
        }
    }
    found.iter().map(|der| encoded(der)).collect()
}

fn encoded(der: &[u8]) -> String {
    let base64 = STANDARD.encode(der);
    let mut text = "-----BEGIN CERTIFICATE-----\n".to_owned();
    let mut rest = base64.as_str();
    while !rest.is_empty() {
        let (line, more) = rest.split_at(PEM_LINE.min(rest.len()));
        text.push_str(line);
        text.push('\n');
        rest = more;
    }
    text.push_str("-----END CERTIFICATE-----\n");
    text
}

impl Resources {
    /// Says whom this server believes where others look for it, now and for as long as the server lives.
    pub async fn publish_trust(&self, trust: Trust) {
        self.publish_once(&trust).await;
        let (weak, drained) = (self.weak(), self.drained());
        tokio::spawn(drained.run_until_cancelled_owned(async move {
            loop {
                tokio::time::sleep(LOOK_EVERY).await;
                let Some(resources) = weak.upgrade() else { return };
                resources.publish_once(&trust).await;
            }
        }));
    }

    async fn publish_once(&self, trust: &Trust) {
        let published = async {
            let clients = read(&trust.client_ca)?;
            let proxies = match &trust.front_proxy {
                Some(front_proxy) => Some((read(&front_proxy.ca)?, &front_proxy.rules)),
                None => None,
            };
            let front_proxy = proxies.as_ref().map(|(ca, rules)| (ca.as_str(), &***rules));
            self.publish(&Own { client_ca: &clients, front_proxy }).await
        };
        if let Err(err) = published.await {
            tracing::warn!(%err, "whom this server believes is not in ConfigMap {NAMESPACE}/{NAME}; again soon");
        }
    }

    async fn publish(&self, own: &Own<'_>) -> Result<(), ApiError> {
        let at = target("", "configmaps", NAMESPACE, NAME);
        let there = match self.get(&Authorized::own(at.clone()), ReadAt::Any).await {
            Ok(json) => Some(serde_json::from_slice::<ConfigMap>(&json).map_err(ApiError::internal)?),
            Err(err) if err.is(Reason::NotFound) => None,
            Err(err) => return Err(err),
        };
        let data = there.as_ref().and_then(|map| map.data.clone()).unwrap_or_default();
        let wanted = wanted(&data, own, Timestamp::now().as_second());
        let Some(mut there) = there else {
            let object = json!({"metadata": {"name": NAME}, "data": wanted});
            return self.make(&target("", "configmaps", NAMESPACE, ""), object).await;
        };
        if wanted == data {
            return Ok(());
        }
        there.data = Some(wanted);
        let json = Bytes::from(serde_json::to_vec(&there).map_err(ApiError::internal)?);
        match self.update(&Authorized::own(at), json, WriteOptions::default()).await {
            // The next look sees what another has written.
            Err(err) if err.is(Reason::Conflict) || err.is(Reason::NotFound) => Ok(()),
            written => written.map(drop),
        }
    }
}

/// A small file, read at once: what waits for a thread of its own comes back in no order that a simulation could repeat.
fn read(file: &Path) -> Result<String, ApiError> {
    use std::io::Read;
    let unreadable = |err: std::io::Error| ApiError::internal(format!("cannot read {}: {err}", file.display()));
    let mut text = String::new();
    let opened = std::fs::File::open(file).map_err(unreadable)?;
    let size = opened.take(CA_FILE_BYTES_MAX + 1).read_to_string(&mut text).map_err(unreadable)?;
    if size as u64 > CA_FILE_BYTES_MAX {
        return Err(ApiError::internal(format!("{} is larger than {CA_FILE_BYTES_MAX} bytes", file.display())));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair};

    use super::*;
    use crate::authn::front_proxy;

    fn ca(name: &str, last_year: i32) -> String {
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.not_before = rcgen::date_time_ymd(2020, 1, 1);
        params.not_after = rcgen::date_time_ymd(last_year, 1, 1);
        let key = KeyPair::generate().unwrap();
        params.self_signed(&key).unwrap().pem().replace("\r\n", "\n")
    }
    fn data(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn our_own_come_to_those_of_others_and_what_is_over_goes() {
        let now = "2026-01-01T00:00:00Z".parse::<Timestamp>().unwrap().as_second();
        let (own, other, old) = (ca("own", 2030), ca("other", 2030), ca("old", 2025));
        let both = format!("{other}{own}");
        let names = r#"["front-proxy-client"]"#;
        let proxy = data(&[(CLIENT_CA, &own), (PROXY_CA, &other), (PROXY_KEYS[0], names)]);
        let cases = [
            ("nothing is there", data(&[]), data(&[(CLIENT_CA, &own)])),
            ("another's is there", data(&[(CLIENT_CA, &other)]), data(&[(CLIENT_CA, &both)])),
            ("all is there", data(&[(CLIENT_CA, &both)]), data(&[(CLIENT_CA, &both)])),
            ("one is over", data(&[(CLIENT_CA, &format!("{old}{own}"))]), data(&[(CLIENT_CA, &own)])),
            ("a proxy is known", proxy.clone(), proxy),
            ("names without a proxy's CA", data(&[(PROXY_KEYS[0], names), ("x", "y")]), data(&[(CLIENT_CA, &own)])),
        ];
        for (why, there, expected) in cases {
            let own = Own { client_ca: &own, front_proxy: None };
            assert_eq!(wanted(&there, &own, now), expected, "{why}");
        }
    }

    #[test]
    fn what_we_say_of_front_proxies_comes_to_what_others_say() {
        let now = "2026-01-01T00:00:00Z".parse::<Timestamp>().unwrap().as_second();
        let (clients, own, other) = (ca("clients", 2030), ca("own", 2030), ca("other", 2030));
        let rules = front_proxy::rules(&["front-proxy-client"]);
        let told = |there: &BTreeMap<String, String>| {
            wanted(there, &Own { client_ca: &clients, front_proxy: Some((&own, &rules)) }, now)
        };
        let alone = told(&data(&[]));
        let expected = [
            (CLIENT_CA, clients.as_str()),
            (PROXY_CA, &own),
            ("requestheader-allowed-names", r#"["front-proxy-client"]"#),
            ("requestheader-extra-headers-prefix", r#"["x-remote-extra-"]"#),
            ("requestheader-group-headers", r#"["x-remote-group"]"#),
            ("requestheader-uid-headers", r#"["x-remote-uid"]"#),
            ("requestheader-username-headers", r#"["x-remote-user","x-other-user"]"#),
        ];
        assert_eq!(alone, data(&expected));
        assert_eq!(told(&alone), alone, "said twice it is the same");
        let others = data(&[
            (PROXY_CA, &other),
            ("requestheader-allowed-names", r#"["mine"]"#),
            ("requestheader-group-headers", r#"["X-Remote-Group"]"#),
            ("requestheader-uid-headers", "no list"),
        ]);
        let both = told(&others);
        assert_eq!(both[PROXY_CA], format!("{other}{own}"));
        assert_eq!(both["requestheader-allowed-names"], r#"["mine","front-proxy-client"]"#);
        assert_eq!(both["requestheader-group-headers"], r#"["X-Remote-Group"]"#);
        assert_eq!(both["requestheader-uid-headers"], r#"["x-remote-uid"]"#);
    }
}

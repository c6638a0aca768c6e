//! What a kubelet may ask for: a certificate that says which node it is, to clients or to servers.

use std::collections::BTreeSet;

use super::request::{AltName, Request};
use super::{CLIENT_AUTH, DIGITAL_SIGNATURE, KEY_ENCIPHERMENT, SERVER_AUTH};

const NODES: &str = "system:nodes";
const NODE_PREFIX: &str = "system:node:";

/// In upstream's words, which are in the conditions of the requests that are refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotAKubelets {
    #[error("subject organization is not system:nodes")]
    Organization,
    #[error("subject common name does not begin with system:node:")]
    CommonName,
    #[error("DNS or IP subjectAltName is required")]
    NoAddress,
    #[error("{0} subjectAltNames are not allowed")]
    AltName(&'static str),
    #[error("usages did not match [{0}]")]
    Usages(String),
}

/// By which a kubelet is known to the apiserver.
pub fn check_client(request: &Request, usages: &[String]) -> Result<(), NotAKubelets> {
    check_organization(request)?;
    check_no(request, &["DNS", "Email", "IP", "URI"])?;
    check_common_name(request)?;
    check_usages(usages, CLIENT_AUTH)
}

/// By which a kubelet shows its clients that it is this node.
pub fn check_serving(request: &Request, usages: &[String]) -> Result<(), NotAKubelets> {
    check_organization(request)?;
    let is_address = |name: &AltName| matches!(name, AltName::Dns(_) | AltName::Ip(_));
    if !request.alt_names.iter().any(is_address) {
        return Err(NotAKubelets::NoAddress);
    }
    check_no(request, &["Email", "URI"])?;
    check_usages(usages, SERVER_AUTH)?;
    check_common_name(request)
}

fn check_organization(request: &Request) -> Result<(), NotAKubelets> {
    if request.organizations == [NODES] { Ok(()) } else { Err(NotAKubelets::Organization) }
}

/// One that has several names is none: programs differ in which of them they take.
fn check_common_name(request: &Request) -> Result<(), NotAKubelets> {
    match &request.common_names[..] {
        [name] if name.starts_with(NODE_PREFIX) => Ok(()),
        _ => Err(NotAKubelets::CommonName),
    }
}

fn check_no(request: &Request, kinds: &[&'static str]) -> Result<(), NotAKubelets> {
    let kind_of = |name: &AltName| match name {
        AltName::Dns(_) => "DNS",
        AltName::Email(_) => "Email",
        AltName::Ip(_) => "IP",
        AltName::Uri(_) => "URI",
    };
    let is_there = |kind: &&&'static str| request.alt_names.iter().any(|name| kind_of(name) == **kind);
    kinds.iter().find(is_there).map_or(Ok(()), |kind| Err(NotAKubelets::AltName(kind)))
}

/// Exactly these; only keys of RSA encipher others.
fn check_usages(usages: &[String], auth: &'static str) -> Result<(), NotAKubelets> {
    let asked: BTreeSet<&str> = usages.iter().map(String::as_str).collect();
    let mut wanted = BTreeSet::from([auth, DIGITAL_SIGNATURE]);
    if asked == wanted {
        return Ok(());
    }
    wanted.insert(KEY_ENCIPHERMENT);
    if asked == wanted { Ok(()) } else { Err(NotAKubelets::Usages(Vec::from_iter(wanted).join(" "))) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(name: &str, organizations: &[&str], alt_names: &[AltName]) -> Request {
        Request {
            common_names: name.split(',').map(str::to_owned).collect(),
            organizations: organizations.iter().map(|&group| group.to_owned()).collect(),
            alt_names: alt_names.to_vec(),
            ..Request::default()
        }
    }
    fn said(checked: Result<(), NotAKubelets>) -> String {
        checked.map_or_else(|err| err.to_string(), |()| "good".into())
    }

    #[test]
    fn kubelets_table() {
        let (dns, ip) = (AltName::Dns("n1".into()), AltName::Ip(vec![10, 0, 0, 1]));
        let alone = [ip.clone()];
        let (email, uri) = (AltName::Email("a@b".into()), AltName::Uri("urn:a".into()));
        let (no_org, no_name) =
            ("subject organization is not system:nodes", "subject common name does not begin with system:node:");
        let no_address = "DNS or IP subjectAltName is required";
        let node = |alt_names: &[AltName]| request("system:node:n1", &["system:nodes"], alt_names);
        let cases = [
            ("no addresses: a client", node(&[]), "good", no_address),
            (
                "its addresses: a server",
                node(&[dns.clone(), ip.clone()]),
                "DNS subjectAltNames are not allowed",
                "good",
            ),
            ("an address alone", node(&alone), "IP subjectAltNames are not allowed", "good"),
            (
                "mail",
                node(&[ip.clone(), email]),
                "Email subjectAltNames are not allowed",
                "Email subjectAltNames are not allowed",
            ),
            (
                "a URI",
                node(&[ip.clone(), uri]),
                "IP subjectAltNames are not allowed",
                "URI subjectAltNames are not allowed",
            ),
            ("masters too", request("system:node:n1", &["system:nodes", "system:masters"], &[]), no_org, no_org),
            ("no node", request("jane", &["system:nodes"], &[]), no_name, no_address),
            (
                "jane, too",
                request("system:node:n1,jane", &["system:nodes"], &[ip]),
                "IP subjectAltNames are not allowed",
                no_name,
            ),
            ("two nodes", request("system:node:n1,system:node:n2", &["system:nodes"], &[]), no_name, no_address),
        ];
        let of = |auth: &str| vec![DIGITAL_SIGNATURE.to_owned(), auth.to_owned()];
        for (why, request, client, serving) in cases {
            assert_eq!(said(check_client(&request, &of(CLIENT_AUTH))), client, "{why}: client");
            assert_eq!(said(check_serving(&request, &of(SERVER_AUTH))), serving, "{why}: serving");
        }
    }

    #[test]
    fn usages_are_exactly_those_of_a_kubelet() {
        let refused = "usages did not match [client auth digital signature key encipherment]";
        for (usages, expected) in [
            (&["client auth", "digital signature"][..], "good"),
            (&["key encipherment", "client auth", "digital signature"], "good"),
            (&["client auth", "client auth", "digital signature"], "good"),
            (&["client auth"], refused),
            (&["client auth", "server auth", "digital signature"], refused),
            (&["server auth", "digital signature"], refused),
            (&[], refused),
        ] {
            let usages: Vec<String> = usages.iter().map(|&usage| usage.to_owned()).collect();
            let client = check_client(&request("system:node:n1", &["system:nodes"], &[]), &usages);
            assert_eq!(said(client), expected, "{usages:?}");
        }
    }
}

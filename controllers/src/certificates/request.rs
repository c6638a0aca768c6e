//! PKCS#10 requests, read: whom a certificate is for, and that it is asked for by who has the key.
//!
//! The apiserver stores no request whose PEM two programs could read in two ways, so the first block is the request.
//! <https://www.rfc-editor.org/rfc/rfc2986>

use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::error::X509Error;
use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::pem::parse_x509_pem;
use x509_parser::prelude::FromDer;

const LABEL: &str = "CERTIFICATE REQUEST";

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    #[error("PEM block type must be CERTIFICATE REQUEST")]
    NotARequest,
    #[error("x509: malformed certificate request: {0}")]
    Malformed(String),
    #[error("x509: the signature of the certificate request cannot be verified: {0}")]
    NotSigned(String),
}

/// One of the names and addresses that a certificate is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AltName {
    Dns(String),
    Email(String),
    Uri(String),
    /// 4 or 16 bytes.
    Ip(Vec<u8>),
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Request {
    pub common_names: Vec<String>,
    pub organizations: Vec<String>,
    /// Of the kinds that certificates are issued for. Others are left out, as upstream does.
    pub alt_names: Vec<AltName>,
    /// The whole subject, in DER: as it was asked for, so that nothing of it is lost or read in another way.
    pub subject: Vec<u8>,
    /// The SubjectPublicKeyInfo, in DER.
    pub key: Vec<u8>,
}

/// Reads a request, and checks that it is signed with the key that it asks a certificate for.
pub fn parse(pem: &[u8]) -> Result<Request, RequestError> {
    let (_, block) = parse_x509_pem(pem).map_err(|_| RequestError::NotARequest)?;
    if block.label != LABEL {
        return Err(RequestError::NotARequest);
    }
    let malformed = |err: X509Error| RequestError::Malformed(err.to_string());
    let (rest, request) =
        X509CertificationRequest::from_der(&block.contents).map_err(|err| malformed(X509Error::from(err)))?;
    if !rest.is_empty() {
        return Err(RequestError::Malformed("trailing data".into()));
    }
    request.verify_signature().map_err(|err| RequestError::NotSigned(err.to_string()))?;
    let info = &request.certification_request_info;
    let texts = |names: Vec<Result<&str, X509Error>>| -> Result<Vec<String>, RequestError> {
        names.into_iter().map(|name| name.map(str::to_owned).map_err(malformed)).collect()
    };
    Ok(Request {
        common_names: texts(info.subject.iter_common_name().map(|name| name.as_str()).collect())?,
        organizations: texts(info.subject.iter_organization().map(|name| name.as_str()).collect())?,
        alt_names: alt_names(&request)?,
        subject: info.subject.as_raw().to_vec(),
        key: info.subject_pki.raw.to_vec(),
    })
}

fn alt_names(request: &X509CertificationRequest<'_>) -> Result<Vec<AltName>, RequestError> {
    let mut lists = request.requested_extensions().into_iter().flatten().filter_map(|extension| match extension {
        ParsedExtension::SubjectAlternativeName(list) => Some(list),
        _ => None,
    });
    let Some(list) = lists.next() else { return Ok(Vec::new()) };
    if lists.next().is_some() {
        return Err(RequestError::Malformed("more than one list of subjectAltNames".into()));
    }
    let names = list.general_names.iter().filter_map(|name| alt_name(name).transpose());
    names.collect()
}

fn alt_name(name: &GeneralName<'_>) -> Result<Option<AltName>, RequestError> {
    Ok(Some(match name {
        GeneralName::DNSName(name) => AltName::Dns((*name).to_owned()),
        GeneralName::RFC822Name(name) => AltName::Email((*name).to_owned()),
        GeneralName::URI(uri) => AltName::Uri((*uri).to_owned()),
        GeneralName::IPAddress(bytes) if matches!(bytes.len(), 4 | 16) => AltName::Ip(bytes.to_vec()),
        GeneralName::IPAddress(bytes) => {
            return Err(RequestError::Malformed(format!("cannot parse IP address of length {}", bytes.len())));
        }
        GeneralName::Invalid(tag, _) => {
            return Err(RequestError::Malformed(format!("a subjectAltName of kind {} that cannot be read", tag.0)));
        }
        _ => return Ok(None),
    }))
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Wanted, pem};
    use super::*;

    #[test]
    fn all_that_a_certificate_is_for_is_read() {
        let wanted =
            Wanted { name: "jane", groups: &["dev", "ops"], dns: &["a.example"], ips: &["10.0.0.1", "fd00::1"] };
        let read = parse(pem(&wanted).as_bytes()).unwrap();
        assert_eq!((read.common_names, read.organizations), (vec!["jane".into()], vec!["dev".into(), "ops".into()]));
        let v6 = "fd00::1".parse::<std::net::Ipv6Addr>().unwrap().octets().to_vec();
        let expected = [AltName::Dns("a.example".into()), AltName::Ip(vec![10, 0, 0, 1]), AltName::Ip(v6)];
        assert_eq!(read.alt_names, expected);
    }

    #[test]
    fn what_is_no_request_of_who_has_the_key_is_refused() {
        let good = pem(&Wanted { name: "jane", ..Wanted::default() });
        for (why, text) in [
            ("nothing", String::new()),
            ("no PEM", "jane".into()),
            ("a certificate", good.replace("CERTIFICATE REQUEST", "CERTIFICATE")),
        ] {
            assert_eq!(parse(text.as_bytes()), Err(RequestError::NotARequest), "{why}");
        }
        // The last characters are the signature's.
        let lines: Vec<&str> = good.lines().collect();
        let (signature, others) = (lines[lines.len() - 2], &lines[..lines.len() - 2]);
        let first = if signature.starts_with('A') { "B" } else { "A" };
        let forged = format!("{}\n{first}{}\n{}\n", others.join("\n"), &signature[1..], lines[lines.len() - 1]);
        assert!(matches!(parse(forged.as_bytes()), Err(RequestError::NotSigned(_))), "{:?}", parse(forged.as_bytes()));
    }
}

//! Certificates, made of what was asked for and signed by an authority.
//!
//! The subject and the key are taken over as they stand in the request, byte by byte; its extensions are not, except for the
//! names. What the certificate is good for says the CertificateSigningRequest. <https://www.rfc-editor.org/rfc/rfc5280>

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use rcgen::SigningKey;

use super::der::{self, BOOLEAN, OCTET_STRING, OID, sequence, tlv};
use crate::certificates::authority::Authority;
use crate::certificates::request::{AltName, Request};

/// Bytes of a serial number; the first bit is never one, so that it has no more bytes than these.
pub const SERIAL_BYTES: usize = 16;
const PEM_LINE: usize = 64;

const KEY_USAGE: &[u8] = &[0x55, 0x1d, 0x0f];
const ALT_NAME: &[u8] = &[0x55, 0x1d, 0x11];
const BASIC_CONSTRAINTS: &[u8] = &[0x55, 0x1d, 0x13];
const AUTHORITY_KEY_ID: &[u8] = &[0x55, 0x1d, 0x23];
const EXTENDED_KEY_USAGE: &[u8] = &[0x55, 0x1d, 0x25];

/// The bits of a key's usage (RFC 5280, 4.2.1.3), by the names that the API has for them.
const KEY_USAGES: &[(&str, usize)] = &[
    ("signing", 0),
    ("digital signature", 0),
    ("content commitment", 1),
    ("key encipherment", 2),
    ("data encipherment", 3),
    ("key agreement", 4),
    ("cert sign", 5),
    ("crl sign", 6),
    ("encipher only", 7),
    ("decipher only", 8),
];
/// Extended usages by the names that the API has for them, in the order in which they are written.
const EXTENDED_KEY_USAGES: &[(&str, &[u8])] = &[
    ("any", &[0x55, 0x1d, 0x25, 0x00]),
    ("server auth", &[0x2b, 6, 1, 5, 5, 7, 3, 1]),
    ("client auth", &[0x2b, 6, 1, 5, 5, 7, 3, 2]),
    ("code signing", &[0x2b, 6, 1, 5, 5, 7, 3, 3]),
    ("email protection", &[0x2b, 6, 1, 5, 5, 7, 3, 4]),
    ("s/mime", &[0x2b, 6, 1, 5, 5, 7, 3, 4]),
    ("ipsec end system", &[0x2b, 6, 1, 5, 5, 7, 3, 5]),
    ("ipsec tunnel", &[0x2b, 6, 1, 5, 5, 7, 3, 6]),
    ("ipsec user", &[0x2b, 6, 1, 5, 5, 7, 3, 7]),
    ("timestamping", &[0x2b, 6, 1, 5, 5, 7, 3, 8]),
    ("ocsp signing", &[0x2b, 6, 1, 5, 5, 7, 3, 9]),
    ("microsoft sgc", &[0x2b, 6, 1, 4, 1, 0x82, 0x37, 10, 3, 3]),
    ("netscape sgc", &[0x60, 0x86, 0x48, 1, 0x86, 0xf8, 0x42, 4, 1]),
];

#[derive(Debug, thiserror::Error)]
pub enum IssueError {
    #[error("unrecognized usage values: {0:?}")]
    Usages(Vec<String>),
    #[error("cannot sign the certificate with the authority's key")]
    Key(#[from] rcgen::Error),
}

/// What the certificate says beside what was asked for.
#[derive(Clone, Copy, Debug)]
pub struct Terms<'a> {
    pub usages: &'a [String],
    pub from: Timestamp,
    pub until: Timestamp,
    pub serial: [u8; SERIAL_BYTES],
}

/// The certificate in PEM.
pub fn issue(request: &Request, terms: &Terms<'_>, authority: &Authority) -> Result<String, IssueError> {
    let mut serial = terms.serial;
    serial[0] &= 0x7f;
    let version_3 = tlv(0xa0, &der::unsigned(&[2]));
    let to_sign = sequence(&[
        version_3,
        der::unsigned(&serial),
        authority.algorithm.to_vec(),
        authority.subject.clone(),
        sequence(&[der::time(terms.from), der::time(terms.until)]),
        request.subject.clone(),
        request.key.clone(),
        tlv(0xa3, &sequence(&extensions(request, terms.usages, authority)?)),
    ]);
    let signature = authority.key.sign(&to_sign)?;
    let certificate = sequence(&[to_sign, authority.algorithm.to_vec(), der::bits(&signature)]);
    Ok(pem(&certificate))
}

fn extensions(request: &Request, usages: &[String], authority: &Authority) -> Result<Vec<Vec<u8>>, IssueError> {
    let is_known = |usage: &&String| {
        let name = usage.as_str();
        KEY_USAGES.iter().any(|known| known.0 == name) || EXTENDED_KEY_USAGES.iter().any(|known| known.0 == name)
    };
    let unknown: Vec<String> = usages.iter().filter(|usage| !is_known(usage)).cloned().collect();
    if !unknown.is_empty() {
        return Err(IssueError::Usages(unknown));
    }
    let is_asked = |name: &str| usages.iter().any(|usage| usage == name);
    let bits: Vec<usize> = KEY_USAGES.iter().filter(|known| is_asked(known.0)).map(|known| known.1).collect();
    let mut extended: Vec<&[u8]> =
        EXTENDED_KEY_USAGES.iter().filter(|known| is_asked(known.0)).map(|known| known.1).collect();
    extended.dedup();
    let mut list = Vec::new();
    if !bits.is_empty() {
        list.push(extension(KEY_USAGE, true, &der::named_bits(&bits)));
    }
    if !extended.is_empty() {
        let oids: Vec<Vec<u8>> = extended.into_iter().map(|oid| tlv(OID, oid)).collect();
        list.push(extension(EXTENDED_KEY_USAGE, false, &sequence(&oids)));
    }
    // No authority, which is what it says when it says nothing.
    list.push(extension(BASIC_CONSTRAINTS, true, &sequence(&[])));
    if let Some(id) = &authority.key_id {
        list.push(extension(AUTHORITY_KEY_ID, false, &sequence(&[tlv(0x80, id)])));
    }
    if !request.alt_names.is_empty() {
        let names: Vec<Vec<u8>> = request.alt_names.iter().map(general_name).collect();
        // Where there is no subject the names are all that says whom it is for.
        let is_nameless = request.subject == sequence(&[]);
        list.push(extension(ALT_NAME, is_nameless, &sequence(&names)));
    }
    Ok(list)
}

fn extension(oid: &[u8], critical: bool, value: &[u8]) -> Vec<u8> {
    let mut parts = vec![tlv(OID, oid)];
    if critical {
        parts.push(tlv(BOOLEAN, &[0xff]));
    }
    parts.push(tlv(OCTET_STRING, value));
    sequence(&parts)
}

fn general_name(name: &AltName) -> Vec<u8> {
    match name {
        AltName::Email(text) => tlv(0x81, text.as_bytes()),
        AltName::Dns(text) => tlv(0x82, text.as_bytes()),
        AltName::Uri(text) => tlv(0x86, text.as_bytes()),
        AltName::Ip(bytes) => tlv(0x87, bytes),
    }
}

fn pem(certificate: &[u8]) -> String {
    let base64 = STANDARD.encode(certificate);
    let mut text = "-----BEGIN CERTIFICATE-----\n".to_owned();
    // base64 is ASCII, so that every cut is between characters.
    for line in base64.as_bytes().chunks(PEM_LINE) {
        text.extend(line.iter().map(|byte| char::from(*byte)));
        text.push('\n');
    }
    text + "-----END CERTIFICATE-----\n"
}

#[cfg(test)]
mod tests {
    use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, KeyPair, SignatureAlgorithm};
    use x509_parser::extensions::{GeneralName, ParsedExtension};
    use x509_parser::pem::parse_x509_pem;

    use super::*;
    use crate::certificates::request::parse;
    use crate::certificates::testing::{self, Wanted};

    fn authority(algorithm: &'static SignatureAlgorithm) -> (Authority, String) {
        let key = KeyPair::generate_for(algorithm).unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "the authority");
        let cert = params.self_signed(&key).unwrap().pem();
        (Authority::read(&cert, &key.serialize_pem()).unwrap(), cert)
    }
    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn a_certificate_says_what_was_asked_for_and_its_authority_vouches_for_it() {
        for algorithm in [&rcgen::PKCS_ECDSA_P256_SHA256, &rcgen::PKCS_ECDSA_P384_SHA384, &rcgen::PKCS_ED25519] {
            let (authority, ca) = authority(algorithm);
            let key = KeyPair::generate().unwrap();
            let wanted = Wanted { name: "jane", groups: &["dev", "ops"], dns: &["a.example"], ips: &["10.0.0.1"] };
            let request = parse(testing::pem_of(&wanted, &key).as_bytes()).unwrap();
            let usages = ["client auth", "s/mime", "email protection", "key encipherment", "digital signature"];
            let terms = Terms {
                usages: &usages.map(str::to_owned),
                from: at("2026-01-01T00:00:00Z"),
                until: at("2051-01-01T00:00:00Z"),
                serial: [0xff; SERIAL_BYTES],
            };
            let issued = issue(&request, &terms, &authority).unwrap();
            let (rest, block) = parse_x509_pem(issued.as_bytes()).unwrap();
            assert!(rest.is_empty());
            let cert = block.parse_x509().unwrap();
            let (_, ca) = parse_x509_pem(ca.as_bytes()).unwrap();
            let ca = ca.parse_x509().unwrap();
            cert.verify_signature(Some(ca.public_key())).unwrap();
            assert_eq!(cert.issuer().as_raw(), ca.subject().as_raw());
            assert_eq!(cert.subject().to_string(), "CN=jane, O=dev, O=ops");
            assert_eq!(cert.public_key().raw, rcgen::PublicKeyData::subject_public_key_info(&key));
            assert_eq!(cert.raw_serial(), [&[0x7f][..], &[0xff; SERIAL_BYTES - 1]].concat());
            let validity = cert.validity();
            assert_eq!(validity.not_before.timestamp(), terms.from.as_second());
            assert_eq!(validity.not_after.timestamp(), terms.until.as_second());
            assert!(!cert.is_ca());
            let usage = cert.key_usage().unwrap().unwrap();
            assert!(usage.critical && usage.value.digital_signature() && usage.value.key_encipherment());
            assert!(!usage.value.key_cert_sign());
            let extended = cert.extended_key_usage().unwrap().unwrap().value;
            assert!(extended.client_auth && extended.email_protection && !extended.server_auth && !extended.any);
            let names = &cert.subject_alternative_name().unwrap().unwrap().value.general_names;
            assert_eq!(names[..], [GeneralName::DNSName("a.example"), GeneralName::IPAddress(&[10, 0, 0, 1])]);
            let same_id = cert.extensions().iter().any(|extension| match extension.parsed_extension() {
                ParsedExtension::AuthorityKeyIdentifier(id) => {
                    id.key_identifier.as_ref().map(|id| id.0) == authority.key_id.as_deref()
                }
                _ => false,
            });
            assert!(same_id, "by which a client finds the authority among several");
        }
    }

    #[test]
    fn a_usage_that_nobody_knows_is_refused() {
        let (authority, _) = authority(&rcgen::PKCS_ED25519);
        let request = parse(testing::pem(&Wanted::default()).as_bytes()).unwrap();
        let usages = ["client auth".to_owned(), "flying".to_owned()];
        let (from, until) = (at("2026-01-01T00:00:00Z"), at("2027-01-01T00:00:00Z"));
        let terms = Terms { usages: &usages, from, until, serial: [1; SERIAL_BYTES] };
        let refused = issue(&request, &terms, &authority).unwrap_err();
        assert_eq!(refused.to_string(), r#"unrecognized usage values: ["flying"]"#);
    }
}

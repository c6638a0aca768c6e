//! Where a webhook is, as objects say it: those of admission, and those that convert. Pure.

pub mod url;

use corten_api::{Problems, names};
use k8s_openapi::api::admissionregistration::v1 as admission;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1 as conversion;
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use self::url::Url;
use super::check;
use super::path::Path;

/// Where one is that says no port.
pub const HTTPS_PORT: u16 = 443;
/// As a Service's is written.
pub const SERVICE_PORT: i32 = HTTPS_PORT as i32;
/// Versions of the reviews that webhooks are sent, that this server speaks.
pub const REVIEW_VERSIONS: &[&str] = &["v1", "v1beta1"];
/// Why a bundle trusts nobody, in Go's words.
pub const NO_CERTIFICATE: &str = "unable to load root certificates: unable to parse bytes as PEM block";
const URL_FORM: &str = "; desired format: https://host[/path]";

/// The part of an object that says where a webhook is, and whose certificates count as its own.
#[derive(Clone, Copy, Debug, Default)]
pub struct WebhookClient<'a> {
    pub url: Option<&'a str>,
    pub service: Option<Service<'a>>,
    /// PEM; empty: whom the system trusts.
    pub ca_bundle: &'a [u8],
}

#[derive(Clone, Copy, Debug)]
pub struct Service<'a> {
    pub namespace: &'a str,
    pub name: &'a str,
    pub path: Option<&'a str>,
    pub port: Option<i32>,
}

impl<'a> From<&'a admission::WebhookClientConfig> for WebhookClient<'a> {
    fn from(of: &'a admission::WebhookClientConfig) -> Self {
        let service = of.service.as_ref().map(|service| {
            let admission::ServiceReference { namespace, name, path, port } = service;
            Service { namespace, name, path: path.as_deref(), port: *port }
        });
        let ca_bundle = of.ca_bundle.as_ref().map(|bundle| bundle.0.as_slice());
        Self { url: of.url.as_deref(), service, ca_bundle: ca_bundle.unwrap_or_default() }
    }
}

impl<'a> From<&'a conversion::WebhookClientConfig> for WebhookClient<'a> {
    fn from(of: &'a conversion::WebhookClientConfig) -> Self {
        let service = of.service.as_ref().map(|service| {
            let conversion::ServiceReference { namespace, name, path, port } = service;
            Service { namespace, name, path: path.as_deref(), port: *port }
        });
        let ca_bundle = of.ca_bundle.as_ref().map(|bundle| bundle.0.as_slice());
        Self { url: of.url.as_deref(), service, ca_bundle: ca_bundle.unwrap_or_default() }
    }
}

impl WebhookClient<'_> {
    pub(super) fn validate(&self, at: &Path<'_>, problems: &mut Problems) {
        match (self.url, self.service) {
            (Some(text), None) => url_is_good(text, &at.field("url"), problems),
            (None, Some(of)) => service_is_good(&of, &at.field("service"), problems),
            (None, None) | (Some(_), Some(_)) => problems.required(at, "exactly one of url or service is required"),
        }
    }
    /// Whether somebody may show a certificate that its bundle trusts.
    pub fn trusts_somebody(&self) -> bool {
        self.ca_bundle.trim_ascii().is_empty() || {
            let certificates = CertificateDer::pem_slice_iter(self.ca_bundle).filter_map(Result::ok);
            RootCertStore::empty().add_parsable_certificates(certificates).0 > 0
        }
    }
}

fn url_is_good(text: &str, at: &Path<'_>, problems: &mut Problems) {
    let url = match Url::parse(text) {
        Ok(url) => url,
        Err(err) => return problems.required(at, &format!("url must be a valid URL: {err}{URL_FORM}")),
    };
    if url.scheme != "https" {
        problems.invalid(at, url.scheme, &format!("'https' is the only allowed URL scheme{URL_FORM}"));
    }
    if url.host.is_empty() {
        problems.invalid(at, url.host, &format!("host must be specified{URL_FORM}"));
    }
    if let Some(user) = url.user {
        problems.invalid(at, user, "user information is not permitted in the URL");
    }
    if !url.fragment.is_empty() {
        problems.invalid(at, url.fragment, "fragments are not permitted in the URL");
    }
    if !url.query.is_empty() {
        problems.invalid(at, url.query, "query parameters are not permitted in the URL");
    }
}

fn service_is_good(service: &Service<'_>, at: &Path<'_>, problems: &mut Problems) {
    for (field, value) in [("name", service.name), ("namespace", service.namespace)] {
        if value.is_empty() {
            problems.required(at.field(field), "");
        }
    }
    let port = service.port.unwrap_or(SERVICE_PORT);
    if !u16::try_from(port).is_ok_and(|port| port > 0) {
        problems.invalid(at.field("port"), port, &format!("port is not valid: {}", check::PORT_RANGE));
    }
    if let Some(path) = service.path {
        service_path(path, &at.field("path"), problems);
    }
}

fn service_path(path: &str, at: &Path<'_>, problems: &mut Problems) {
    match path {
        "" | "/" => return,
        "//" => return problems.invalid(at, path, "segment[0] may not be empty"),
        _ => {}
    }
    let Some(steps) = path.strip_prefix('/') else {
        return problems.invalid(at, path, "must start with a '/'");
    };
    for (i, step) in steps.strip_suffix('/').unwrap_or(steps).split('/').enumerate() {
        if step.is_empty() {
            problems.invalid(at, path, &format!("segment[{i}] may not be empty"));
        } else if !names::is_dns1123_subdomain(step) {
            problems.invalid(at, path, &format!("segment[{i}]: {}", names::DNS1123_SUBDOMAIN_WHY));
        }
    }
}

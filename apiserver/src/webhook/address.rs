//! Where a webhook is, and what the connections to it are made of.

use crate::registry::webhook_client::url::Url;
use crate::registry::webhook_client::{HTTPS_PORT, SERVICE_PORT, WebhookClient};

/// Where a webhook is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Address {
    Service { namespace: String, name: String, port: u16, path: String },
    Url { host: String, port: u16, authority: String, path: String },
}

impl Address {
    fn of(config: &WebhookClient<'_>) -> Result<Self, String> {
        if let Some(service) = &config.service {
            let path = service.path.unwrap_or_default().to_owned();
            let port = service.port.unwrap_or(SERVICE_PORT);
            return Ok(Self::Service {
                namespace: service.namespace.to_owned(),
                name: service.name.to_owned(),
                port: port.try_into().map_err(|_| format!("address {port}: invalid port"))?,
                path: if path.starts_with('/') { path } else { format!("/{path}") },
            });
        }
        let Some(text) = config.url else {
            return Err("webhook configuration must have either service or URL".into());
        };
        let url = Url::parse(text).map_err(|err| format!("Unparsable URL: {err}"))?;
        let path = if url.path.starts_with('/') { url.path.to_owned() } else { format!("/{}", url.path) };
        let port = url.port().map_err(|err| err.to_string())?.unwrap_or(HTTPS_PORT);
        let host = url.hostname().to_owned();
        Ok(Self::Url { host, port, authority: url.host.to_owned(), path })
    }
    /// The name that its certificate must have.
    pub(crate) fn server_name(&self) -> String {
        match self {
            Self::Service { namespace, name, .. } => format!("{name}.{namespace}.svc"),
            Self::Url { host, .. } => host.clone(),
        }
    }
    /// As its user knows it, and `Host` has it: `name.namespace.svc:443`.
    pub(crate) fn authority(&self) -> String {
        match self {
            Self::Service { port, .. } => format!("{}:{port}", self.server_name()),
            Self::Url { authority, .. } => authority.clone(),
        }
    }
    pub(crate) fn path(&self) -> &str {
        match self {
            Self::Service { path, .. } | Self::Url { path, .. } => path,
        }
    }
}

/// What the connections to a webhook are made of. Those of the same share them.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Place {
    pub(crate) address: Address,
    pub(crate) ca_bundle: Vec<u8>,
}

impl Place {
    /// A bundle of nothing but white space is none.
    pub(crate) fn of(config: &WebhookClient<'_>) -> Result<Self, String> {
        let ca_bundle = config.ca_bundle;
        let ca_bundle = if ca_bundle.trim_ascii().is_empty() { Vec::new() } else { ca_bundle.to_vec() };
        Ok(Self { address: Address::of(config)?, ca_bundle })
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::admissionregistration::v1::WebhookClientConfig;

    use super::*;

    #[test]
    fn where_webhooks_are() {
        let address = |config: serde_json::Value| {
            let config: WebhookClientConfig = serde_json::from_value(config).unwrap();
            let Place { address, .. } = Place::of(&WebhookClient::from(&config)).unwrap();
            format!("{} {} {}", address.authority(), address.path(), address.server_name())
        };
        let service = serde_json::json!({"service": {"name": "s", "namespace": "n", "port": 8443, "path": "a/b"}});
        assert_eq!(address(service), "s.n.svc:8443 /a/b s.n.svc");
        assert_eq!(address(serde_json::json!({"service": {"name": "s", "namespace": "n"}})), "s.n.svc:443 / s.n.svc");
        assert_eq!(address(serde_json::json!({"url": "https://a.b/c"})), "a.b /c a.b");
        assert_eq!(address(serde_json::json!({"url": "https://[::1]:9443"})), "[::1]:9443 / ::1");
        assert!(Place::of(&WebhookClient::default()).is_err());
        for config in [
            serde_json::json!({"service": {"name": "s", "namespace": "n", "port": 65536}}),
            serde_json::json!({"url": "https://a.b:65536/c"}),
        ] {
            let config: WebhookClientConfig = serde_json::from_value(config).unwrap();
            let why = Place::of(&WebhookClient::from(&config)).unwrap_err();
            assert_eq!(why, "address 65536: invalid port");
        }
    }
}

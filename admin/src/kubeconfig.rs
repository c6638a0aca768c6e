//! Writes kubeconfig files: one cluster, one user, one context, certificates inside.
//!
//! The shape is <https://kubernetes.io/docs/reference/config-api/kubeconfig.v1/>.
use std::fs;
use std::io::{ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use base64::{Engine, engine::general_purpose::STANDARD};
use serde::Serialize;

const OWNER_ONLY: u32 = 0o600;

/// What a kubeconfig is made of. All texts are PEM.
pub struct Access<'a> {
    pub cluster: &'a str,
    /// `https://host:port`.
    pub server: &'a str,
    pub user: &'a str,
    pub ca_pem: &'a str,
    pub cert_pem: &'a str,
    pub key_pem: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Config {
    api_version: &'static str,
    kind: &'static str,
    clusters: [Named<ClusterEntry>; 1],
    users: [Named<UserEntry>; 1],
    contexts: [Named<ContextEntry>; 1],
    #[serde(rename = "current-context")]
    current_context: String,
}

#[derive(Serialize)]
struct Named<T> {
    name: String,
    #[serde(flatten)]
    value: T,
}

#[derive(Serialize)]
struct ClusterEntry {
    cluster: Cluster,
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Cluster {
    server: String,
    certificate_authority_data: String,
}

#[derive(Serialize)]
struct UserEntry {
    user: User,
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct User {
    client_certificate_data: String,
    client_key_data: String,
}

#[derive(Serialize)]
struct ContextEntry {
    context: Context,
}

#[derive(Serialize)]
struct Context {
    cluster: String,
    user: String,
}

/// The file's text. It is JSON, which every reader of YAML takes; so a name needs no quoting rules.
pub fn render(access: &Access<'_>) -> Result<String, serde_json::Error> {
    let context = format!("{}@{}", access.user, access.cluster);
    let config = Config {
        api_version: "v1",
        kind: "Config",
        clusters: [Named {
            name: access.cluster.to_owned(),
            value: ClusterEntry {
                cluster: Cluster {
                    server: access.server.to_owned(),
                    certificate_authority_data: STANDARD.encode(access.ca_pem),
                },
            },
        }],
        users: [Named {
            name: access.user.to_owned(),
            value: UserEntry {
                user: User {
                    client_certificate_data: STANDARD.encode(access.cert_pem),
                    client_key_data: STANDARD.encode(access.key_pem),
                },
            },
        }],
        contexts: [Named {
            name: context.clone(),
            value: ContextEntry {
                context: Context { cluster: access.cluster.to_owned(), user: access.user.to_owned() },
            },
        }],
        current_context: context,
    };
    serde_json::to_string_pretty(&config).map(|text| text + "\n")
}

/// Writes a kubeconfig for its owner alone: there is a key in it. An older file, whoever could read it, is replaced.
pub fn write(path: &Path, text: &str) -> std::io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(OWNER_ONLY).open(path)?;
    file.write_all(text.as_bytes())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_kubeconfig_is_for_its_owner_alone() {
        let path = std::env::temp_dir().join(format!("corten-kubeconfig-{}", std::process::id()));
        fs::write(&path, "an old one that all may read").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        write(&path, "new").unwrap();
        let (mode, text) = (fs::metadata(&path).unwrap().permissions().mode(), fs::read_to_string(&path).unwrap());
        fs::remove_file(&path).unwrap();
        assert_eq!((mode & 0o777, text.as_str()), (0o600, "new"));
    }

    #[test]
    fn a_kubeconfig_has_what_kubectl_reads() {
        let access = Access {
            cluster: "corten",
            server: "https://172.30.0.11:6443",
            user: "kubernetes-admin",
            ca_pem: "CA",
            cert_pem: "CERT",
            key_pem: "KEY",
        };
        let config: serde_json::Value = serde_json::from_str(&render(&access).unwrap()).unwrap();
        let cases = [
            ("/apiVersion", "v1"),
            ("/kind", "Config"),
            ("/current-context", "kubernetes-admin@corten"),
            ("/contexts/0/name", "kubernetes-admin@corten"),
            ("/contexts/0/context/user", "kubernetes-admin"),
            ("/clusters/0/cluster/server", "https://172.30.0.11:6443"),
            ("/clusters/0/cluster/certificate-authority-data", "Q0E="),
            ("/users/0/user/client-certificate-data", "Q0VSVA=="),
            ("/users/0/user/client-key-data", "S0VZ"),
        ];
        for (pointer, expected) in cases {
            assert_eq!(config.pointer(pointer).and_then(|value| value.as_str()), Some(expected), "{pointer}");
        }
    }
}

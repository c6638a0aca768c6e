//! Pull secrets: `kubernetes.io/dockerconfigjson` and `kubernetes.io/dockercfg`. Pure.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

use super::RegistryAuth;

#[derive(Deserialize)]
struct DockerConfig {
    auths: BTreeMap<String, Entry>,
}

#[derive(Deserialize)]
struct Entry {
    username: Option<String>,
    password: Option<String>,
    auth: Option<String>,
}

#[derive(Debug, thiserror::Error)]
#[error("the pull secret is not a docker config: {0}")]
pub struct BadSecret(String);

/// The value of `.dockerconfigjson` (with `auths`) or of `.dockercfg` (without).
pub fn parse(json: &[u8]) -> Result<Vec<RegistryAuth>, BadSecret> {
    let auths = match serde_json::from_slice::<DockerConfig>(json) {
        Ok(config) => config.auths,
        Err(_) => serde_json::from_slice(json).map_err(|e| BadSecret(e.to_string()))?,
    };
    auths.into_iter().filter_map(|(registry, entry)| credentials(&registry, entry).transpose()).collect()
}

/// An entry may be empty: then there is nothing to be said to that registry.
fn credentials(registry: &str, entry: Entry) -> Result<Option<RegistryAuth>, BadSecret> {
    let (username, password) = match entry {
        Entry { username: Some(username), password: Some(password), .. } => (username, password),
        Entry { auth: Some(auth), .. } if !auth.is_empty() => {
            let decoded = STANDARD.decode(auth.trim()).ok().and_then(|bytes| String::from_utf8(bytes).ok());
            let pair = decoded.as_deref().and_then(|text| text.split_once(':'));
            let (username, password) =
                pair.ok_or_else(|| BadSecret(format!("auth of {registry} is not base64 of user:password")))?;
            (username.into(), password.trim_end_matches('\0').into())
        }
        _ => return Ok(None),
    };
    Ok(Some(RegistryAuth { registry: registry_name(registry), username, password }))
}

/// `https://index.docker.io/v1/` is how docker writes `docker.io`.
fn registry_name(key: &str) -> String {
    let bare = key.trim_start_matches("https://").trim_start_matches("http://").trim_end_matches('/');
    let bare = bare.trim_end_matches("/v1").trim_end_matches("/v2");
    match bare {
        "index.docker.io" | "registry-1.docker.io" => "docker.io".into(),
        other => other.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_table() {
        let auth = |registry: &str, username: &str, password: &str| RegistryAuth {
            registry: registry.into(),
            username: username.into(),
            password: password.into(),
        };
        let cases = [
            (
                "docker's own key",
                r#"{"auths":{"https://index.docker.io/v1/":{"auth":"dXNlcjpwYTpzcw=="}}}"#,
                Some(vec![auth("docker.io", "user", "pa:ss")]),
            ),
            (
                "user and password win over auth",
                r#"{"auths":{"reg.example:5000":{"username":"u","password":"p","auth":"eDp5"}}}"#,
                Some(vec![auth("reg.example:5000", "u", "p")]),
            ),
            ("the old form", r#"{"reg.example":{"auth":"dTpw"}}"#, Some(vec![auth("reg.example", "u", "p")])),
            ("an empty entry", r#"{"auths":{"reg.example":{}}}"#, Some(vec![])),
            ("not base64", r#"{"auths":{"reg.example":{"auth":"!!"}}}"#, None),
            ("no colon inside", r#"{"auths":{"reg.example":{"auth":"dXNlcg=="}}}"#, None),
            ("not json", "nonsense", None),
        ];
        for (why, json, expected) in cases {
            assert_eq!(parse(json.as_bytes()).ok(), expected, "{why}");
        }
    }
}

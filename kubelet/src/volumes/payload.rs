//! What files a configMap, secret, downwardAPI or projected volume holds. Pure.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{
    ConfigMap, Container, DownwardAPIVolumeFile, KeyToPath, Pod, Secret, Volume, VolumeProjection,
};

use super::Cause;
use crate::downward::Downward;
use crate::sources::{Sources, TokenRef};

const MODE_DEFAULT: i32 = 0o644;
/// Of a token that one user or group is to read.
const TOKEN_MODE: i32 = 0o600;
/// A volume is held in memory while it is written, most of them for good. One source is at most about 1 MiB.
const PAYLOAD_MAX_BYTES: u64 = 64 << 20;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    pub bytes: Vec<u8>,
    /// Permission bits.
    pub mode: u32,
    /// `None`: root.
    pub owner: Option<u32>,
}

/// Files by their path in the volume.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Payload {
    pub files: BTreeMap<String, File>,
    /// It must not reach a disk: all but ConfigMaps, as upstream has it. A projected volume may hold a token.
    pub in_memory: bool,
}

/// What the volume should hold now.
pub fn of(volume: &Volume, sources: &Sources, downward: &Downward<'_>) -> Result<Payload, Cause> {
    let mut payload = Payload { in_memory: volume.config_map.is_none(), ..Payload::default() };
    if let Some(v) = &volume.config_map {
        let mode = v.default_mode.unwrap_or(MODE_DEFAULT);
        let optional = v.optional == Some(true);
        if let Some(map) = sources.config_map(&v.name, optional)? {
            add_keys(&mut payload, config_data(map), v.items.as_deref(), mode, optional, "config")?;
        }
    } else if let Some(v) = &volume.secret {
        let mode = v.default_mode.unwrap_or(MODE_DEFAULT);
        let optional = v.optional == Some(true);
        if let Some(secret) = sources.secret(v.secret_name.as_deref().unwrap_or_default(), optional)? {
            add_keys(&mut payload, secret_data(secret), v.items.as_deref(), mode, optional, "secret")?;
        }
    } else if let Some(v) = &volume.downward_api {
        let mode = v.default_mode.unwrap_or(MODE_DEFAULT);
        add_fields(&mut payload, v.items.iter().flatten(), downward, mode)?;
    } else if let Some(v) = &volume.projected {
        let mode = v.default_mode.unwrap_or(MODE_DEFAULT);
        for part in v.sources.iter().flatten() {
            add_projection(&mut payload, part, sources, downward, mode)?;
        }
    } else {
        return Err(Cause::Unsupported { kind: kind_of(volume) });
    }
    let bytes = payload.files.values().map(|file| file.bytes.len() as u64).sum();
    if bytes > PAYLOAD_MAX_BYTES {
        return Err(Cause::TooLarge { bytes, max: PAYLOAD_MAX_BYTES });
    }
    Ok(payload)
}

fn add_projection(
    payload: &mut Payload,
    part: &VolumeProjection,
    sources: &Sources,
    downward: &Downward<'_>,
    mode: i32,
) -> Result<(), Cause> {
    if let Some(p) = &part.config_map {
        let optional = p.optional == Some(true);
        if let Some(map) = sources.config_map(&p.name, optional)? {
            add_keys(payload, config_data(map), p.items.as_deref(), mode, optional, "config")?;
        }
    }
    if let Some(p) = &part.secret {
        let optional = p.optional == Some(true);
        if let Some(secret) = sources.secret(&p.name, optional)? {
            add_keys(payload, secret_data(secret), p.items.as_deref(), mode, optional, "secret")?;
        }
    }
    if let Some(p) = &part.downward_api {
        add_fields(payload, p.items.iter().flatten(), downward, mode)?;
    }
    if let Some(wanted) = &part.service_account_token {
        let text = sources.token(&TokenRef::of(wanted))?;
        payload.files.insert(cleaned(&wanted.path)?, token_file(text, downward.pod, mode)?);
    }
    if part.cluster_trust_bundle.is_some() {
        return Err(Cause::Unsupported { kind: "projected clusterTrustBundle" });
    }
    if part.pod_certificate.is_some() {
        return Err(Cause::Unsupported { kind: "projected podCertificate" });
    }
    Ok(())
}

/// A token is for those alone whose it is, where that can be told: for the one user that all containers run as, or for the
/// fsGroup, whose members get their right to read when the file is written.
fn token_file(text: &str, pod: &Pod, mode: i32) -> Result<File, Cause> {
    let owner = only_user(pod).map(u32::try_from).transpose().map_err(|_| Cause::User)?;
    let has_group =
        pod.spec.as_ref().and_then(|spec| spec.security_context.as_ref()).is_some_and(|c| c.fs_group.is_some());
    let mode = if owner.is_some() || has_group { TOKEN_MODE } else { mode };
    Ok(File { bytes: text.as_bytes().to_vec(), mode: permission_bits(mode), owner })
}

/// The user that all containers of the pod are to run as, if that is one.
fn only_user(pod: &Pod) -> Option<i64> {
    let spec = pod.spec.as_ref()?;
    let of_pod = spec.security_context.as_ref().and_then(|context| context.run_as_user);
    let own = |container: &Container| container.security_context.as_ref().and_then(|context| context.run_as_user);
    let mut users =
        spec.init_containers.iter().flatten().chain(&spec.containers).map(|container| own(container).or(of_pod));
    let first = users.next()??;
    users.all(|user| user == Some(first)).then_some(first)
}

fn config_data(map: &ConfigMap) -> BTreeMap<String, Vec<u8>> {
    let text = map.data.iter().flatten().map(|(k, v)| (k.clone(), v.clone().into_bytes()));
    let binary = map.binary_data.iter().flatten().map(|(k, v)| (k.clone(), v.0.clone()));
    text.chain(binary).collect()
}

fn secret_data(secret: &Secret) -> BTreeMap<String, Vec<u8>> {
    secret.data.iter().flatten().map(|(k, v)| (k.clone(), v.0.clone())).collect()
}

/// All keys under their own names, or the chosen ones where they are wanted.
fn add_keys(
    payload: &mut Payload,
    mut data: BTreeMap<String, Vec<u8>>,
    items: Option<&[KeyToPath]>,
    mode: i32,
    optional: bool,
    kind: &'static str,
) -> Result<(), Cause> {
    let Some(items) = items.filter(|items| !items.is_empty()) else {
        let mode = permission_bits(mode);
        payload.files.extend(data.into_iter().map(|(key, bytes)| (key, File { bytes, mode, owner: None })));
        return Ok(());
    };
    for item in items {
        let Some(bytes) = data.get_mut(&item.key) else {
            if optional {
                continue;
            }
            return Err(Cause::NoKey { kind, key: item.key.clone() });
        };
        let path = cleaned(&item.path)?;
        let mode = permission_bits(item.mode.unwrap_or(mode));
        let owner = item.user.map(u32::try_from).transpose().map_err(|_| Cause::User)?;
        payload.files.insert(path, File { bytes: bytes.clone(), mode, owner });
    }
    Ok(())
}

fn add_fields<'a>(
    payload: &mut Payload,
    items: impl Iterator<Item = &'a DownwardAPIVolumeFile>,
    downward: &Downward<'_>,
    mode: i32,
) -> Result<(), Cause> {
    for item in items {
        let path = cleaned(&item.path)?;
        let text = match (&item.field_ref, &item.resource_field_ref) {
            (Some(field), _) => downward.file(&field.field_path)?,
            (None, Some(resource)) => downward.resource(resource, None)?,
            (None, None) => String::new(),
        };
        let mode = permission_bits(item.mode.unwrap_or(mode));
        payload.files.insert(path, File { bytes: text.into_bytes(), mode, owner: None });
    }
    Ok(())
}

fn permission_bits(mode: i32) -> u32 {
    u32::try_from(mode).unwrap_or(0) & 0o777
}

/// The path as it stands in the volume: `./a//b/` is `a/b`. Validation refuses what is refused here; a file of the node is not
/// to depend on that.
fn cleaned(path: &str) -> Result<String, Cause> {
    let parts: Vec<&str> = path.split('/').filter(|part| !matches!(*part, "" | ".")).collect();
    // Names at the top that begin with two dots are the writer's own.
    let is_own = parts.first().is_none_or(|first| first.starts_with(".."));
    if path.starts_with('/') || is_own || parts.contains(&"..") {
        return Err(Cause::BadPath { path: path.into() });
    }
    Ok(parts.join("/"))
}

/// The type of a volume that we do not make, for the message.
fn kind_of(volume: &Volume) -> &'static str {
    let kinds = [
        (volume.persistent_volume_claim.is_some(), "persistentVolumeClaim"),
        (volume.csi.is_some(), "csi"),
        (volume.nfs.is_some(), "nfs"),
        (volume.iscsi.is_some(), "iscsi"),
        (volume.ephemeral.is_some(), "ephemeral"),
        (volume.image.is_some(), "image"),
        (volume.fc.is_some(), "fc"),
        (volume.flex_volume.is_some(), "flexVolume"),
    ];
    kinds.iter().find(|(is, _)| *is).map_or("unknown", |(_, kind)| kind)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use k8s_openapi::api::core::v1::ConfigMapVolumeSource;

    use super::*;

    #[test]
    fn config_map_volumes() {
        let map = ConfigMap {
            data: Some([("a".to_owned(), "1".to_owned()), ("b".to_owned(), "2".to_owned())].into()),
            ..Default::default()
        };
        let sources = Sources {
            namespace: "default".into(),
            config_maps: [("cfg".to_owned(), Ok(Some(Arc::new(map)))), ("gone".to_owned(), Ok(None))].into(),
            ..Default::default()
        };
        let pod = Pod::default();
        let down = Downward { pod: &pod, pod_addresses: &[], node_addresses: &[], node_allocatable: &BTreeMap::new() };
        let item =
            |key: &str, path: &str| KeyToPath { key: key.into(), path: path.into(), mode: Some(0o400), user: None };
        let look = |name: &str, items: Option<Vec<KeyToPath>>, optional: bool| {
            let source =
                ConfigMapVolumeSource { name: name.into(), items, optional: Some(optional), ..Default::default() };
            let volume = Volume { config_map: Some(source), ..Default::default() };
            of(&volume, &sources, &down).map(|p| p.files.keys().cloned().collect::<Vec<_>>()).map_err(|e| e.to_string())
        };
        let owned = vec![KeyToPath { user: Some(7), ..item("a", "x") }];
        let source = ConfigMapVolumeSource { name: "cfg".into(), items: Some(owned), ..Default::default() };
        let volume = Volume { config_map: Some(source), ..Default::default() };
        assert_eq!(of(&volume, &sources, &down).unwrap().files["x"].owner, Some(7), "a user's own file");
        let cases = [
            ("all keys", look("cfg", None, false), Ok(vec!["a", "b"])),
            ("one, elsewhere", look("cfg", Some(vec![item("a", "x/y")]), false), Ok(vec!["x/y"])),
            ("here, by its long name", look("cfg", Some(vec![item("a", "./x")]), false), Ok(vec!["x"])),
            ("with more than it needs", look("cfg", Some(vec![item("a", "x/.//y/")]), false), Ok(vec!["x/y"])),
            (
                "a key that is not there",
                look("cfg", Some(vec![item("z", "z")]), false),
                Err("references non-existent config key: z"),
            ),
            ("the same, optional", look("cfg", Some(vec![item("z", "z")]), true), Ok(vec![])),
            ("a map that is not there", look("gone", None, false), Err("configmap \"gone\" not found")),
            ("the same, optional", look("gone", None, true), Ok(vec![])),
            (
                "out of the volume",
                look("cfg", Some(vec![item("a", "../x")]), false),
                Err("path \"../x\" in the volume must be relative and must not contain \"..\""),
            ),
        ];
        for (why, path) in [
            ("nowhere", ""),
            ("the volume itself", "./"),
            ("the node's", "/x"),
            ("out and in again", "x/../y"),
            ("the writer's own", "..data/x"),
            ("a name as the writer's", "./..2026"),
        ] {
            let expected = format!("path {path:?} in the volume must be relative and must not contain \"..\"");
            assert_eq!(look("cfg", Some(vec![item("a", path)]), false), Err(expected), "{why}");
        }
        for (why, got, expected) in cases {
            let expected = expected.map(|l: Vec<&str>| l.into_iter().map(String::from).collect()).map_err(String::from);
            assert_eq!(got, expected, "{why}");
        }
    }

    #[test]
    fn a_token_is_for_those_whose_it_is() {
        let sources = Sources {
            tokens: [(TokenRef { audience: "vault".into(), life_secs: 3600 }, Ok("abc".into()))].into(),
            ..Default::default()
        };
        let look = |audience: &str, context: serde_json::Value, users: [Option<i64>; 2]| {
            let container = |user| serde_json::json!({"name": "c", "securityContext": {"runAsUser": user}});
            let part = serde_json::json!({"serviceAccountToken": {"path": "./t", "audience": audience}});
            let pod: Pod = serde_json::from_value(serde_json::json!({"metadata": {}, "spec": {
                "securityContext": context, "initContainers": [container(users[0])], "containers": [container(users[1])],
                "volumes": [{"name": "v", "projected": {"defaultMode": 0o440, "sources": [part]}}]}}))
            .unwrap();
            let none = BTreeMap::new();
            let down = Downward { pod: &pod, pod_addresses: &[], node_addresses: &[], node_allocatable: &none };
            let volume = &pod.spec.as_ref().unwrap().volumes.as_ref().unwrap()[0];
            let payload = of(volume, &sources, &down).map_err(|err| err.to_string())?;
            let file = payload.files.get("t").unwrap();
            assert_eq!((file.bytes.as_slice(), payload.in_memory), (&b"abc"[..], true));
            Ok::<_, String>((file.mode, file.owner))
        };
        let no_context = || serde_json::json!({});
        for (why, context, users, expected) in [
            ("nobody says who they are", no_context(), [None, None], (0o440, None)),
            ("the pod says it", serde_json::json!({"runAsUser": 7}), [None, None], (0o600, Some(7))),
            ("all say the same", no_context(), [Some(8), Some(8)], (0o600, Some(8))),
            ("one is another", serde_json::json!({"runAsUser": 7}), [Some(8), None], (0o440, None)),
            ("one may be anybody", no_context(), [Some(8), None], (0o440, None)),
            ("a group", serde_json::json!({"fsGroup": 9}), [None, None], (0o600, None)),
            ("a group and a user", serde_json::json!({"fsGroup": 9, "runAsUser": 7}), [None, None], (0o600, Some(7))),
        ] {
            assert_eq!(look("vault", context, users), Ok(expected), "{why}");
        }
        assert_eq!(look("bank", no_context(), [None, None]), Err("failed to fetch token: it was not asked for".into()));
    }
}

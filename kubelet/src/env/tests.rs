//! Environments as users define them.

use std::sync::Arc;

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::{
    ConfigMap, ConfigMapEnvSource, ConfigMapKeySelector, ObjectFieldSelector, Pod, Secret, SecretKeySelector,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::*;

fn sources() -> Sources {
    let map = ConfigMap {
        data: Some([("color".to_owned(), "blue".to_owned()), ("not a name=".to_owned(), "x".to_owned())].into()),
        ..Default::default()
    };
    let secret =
        Secret { data: Some([("password".to_owned(), ByteString(b"hunter2".to_vec()))].into()), ..Default::default() };
    Sources {
        namespace: "default".into(),
        config_maps: [("cfg".to_owned(), Ok(Some(Arc::new(map)))), ("gone".to_owned(), Ok(None))].into(),
        secrets: [("sec".to_owned(), Ok(Some(Arc::new(secret)))), ("far".to_owned(), Err("no apiserver".into()))]
            .into(),
        ..Sources::default()
    }
}

fn plain(name: &str, value: &str) -> EnvVar {
    EnvVar { name: name.into(), value: Some(value.into()), value_from: None }
}

fn from(name: &str, source: EnvVarSource) -> EnvVar {
    EnvVar { name: name.into(), value: None, value_from: Some(source) }
}

fn config_key(map: &str, key: &str, optional: bool) -> EnvVarSource {
    let selector = ConfigMapKeySelector { name: map.into(), key: key.into(), optional: Some(optional) };
    EnvVarSource { config_map_key_ref: Some(selector), ..Default::default() }
}

fn secret_key(secret: &str, key: &str) -> EnvVarSource {
    let selector = SecretKeySelector { name: secret.into(), key: key.into(), optional: None };
    EnvVarSource { secret_key_ref: Some(selector), ..Default::default() }
}

fn made(env: Vec<EnvVar>, env_from: Vec<EnvFromSource>) -> Result<Environment, String> {
    let sources = sources();
    let metadata = ObjectMeta { name: Some("web".into()), ..Default::default() };
    let pod = Pod { metadata, ..Default::default() };
    let none = BTreeMap::new();
    let downward = Downward { pod: &pod, pod_addresses: &[], node_addresses: &[], node_allocatable: &none };
    let service_variables = [("WEB_SERVICE_HOST".to_owned(), "10.96.0.9".to_owned())].into();
    let input = EnvInput { sources: &sources, downward: &downward, service_variables };
    let container = Container { env: Some(env), env_from: Some(env_from), ..Default::default() };
    environment(&container, &input).map_err(|err| err.to_string())
}

#[test]
fn values_of_all_kinds() {
    let field = ObjectFieldSelector { field_path: "metadata.name".into(), api_version: None };
    let env = vec![
        plain("A", "1"),
        plain("B", "$(A)2 $(LATER) $$(A) $(WEB_SERVICE_HOST)"),
        plain("LATER", "x"),
        from("COLOR", config_key("cfg", "color", false)),
        from("PASSWORD", secret_key("sec", "password")),
        from("NAME", EnvVarSource { field_ref: Some(field), ..Default::default() }),
        from("ABSENT", config_key("gone", "k", true)),
        plain("A", "again"),
    ];
    let got = made(env, vec![]).unwrap();
    let expected = [
        ("A", "again"),
        ("B", "12 $(LATER) $(A) 10.96.0.9"),
        ("LATER", "x"),
        ("COLOR", "blue"),
        ("PASSWORD", "hunter2"),
        ("NAME", "web"),
        ("WEB_SERVICE_HOST", "10.96.0.9"),
    ];
    let expected: Vec<_> = expected.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    assert_eq!(got.variables, expected);
}

#[test]
fn whole_config_maps_with_a_prefix() {
    let source = |name: &str, optional: bool| EnvFromSource {
        prefix: Some("P_".into()),
        config_map_ref: Some(ConfigMapEnvSource { name: name.into(), optional: Some(optional) }),
        secret_ref: None,
    };
    let got = made(vec![plain("P_color", "mine")], vec![source("cfg", false), source("gone", true)]).unwrap();
    assert!(got.variables.contains(&("P_color".to_owned(), "mine".to_owned())), "env wins over envFrom");
    assert_eq!(got.skipped, ["P_not a name="]);
}

#[test]
fn what_is_missing_is_named() {
    let cases = [
        ("no map", config_key("gone", "k", false), "configmap \"gone\" not found"),
        ("no key", config_key("cfg", "nope", false), "couldn't find key nope in ConfigMap default/cfg"),
        ("no secret", secret_key("none", "k"), "secret \"none\" not found"),
        ("no key in it", secret_key("sec", "nope"), "couldn't find key nope in Secret default/sec"),
        ("nobody to ask", secret_key("far", "k"), "failed to fetch secret \"far\": no apiserver"),
    ];
    for (why, source, message) in cases {
        assert_eq!(made(vec![from("V", source)], vec![]), Err(message.to_owned()), "{why}");
    }
}

/// Forty variables of a kilobyte's pod would be a petabyte.
#[test]
fn variables_that_double_each_other_are_refused_before_they_have_grown() {
    let mut env = vec![plain("V0", &"x".repeat(1024))];
    env.extend((1..40).map(|n| plain(&format!("V{n}"), &format!("$(V{0})$(V{0})", n - 1))));
    let why = "its environment is too large: with all variables expanded it has more than the 2097152 bytes that the kernel takes";
    assert_eq!(made(env, vec![]), Err(why.to_owned()));
    let many = (0..100).map(|n| plain(&format!("V{n}"), &"x".repeat(30_000))).collect();
    assert_eq!(made(many, vec![]), Err(why.to_owned()), "each is small enough, all together are not");
}

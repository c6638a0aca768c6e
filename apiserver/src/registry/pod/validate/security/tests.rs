//! What is said of rights that make no sense.

use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value, json};

use crate::registry::check::testing::found;
use crate::registry::pod::validate::tests as specs;

#[test]
fn sysctls_that_the_kernel_does_not_have_by_name_are_refused() {
    let pod = |host: &str, names: &[&str]| {
        let sysctls: Vec<_> = names.iter().map(|name| json!({"name": name, "value": "1"})).collect();
        let mut spec = json!({"containers": [{"name": "c", "image": "i"}], "securityContext": {"sysctls": sysctls}});
        spec[host] = true.into();
        let all = found::<Pod>(&json!({"metadata": {"name": "p"}, "spec": spec}).to_string());
        all.into_iter().filter(|text| text.contains("sysctls")).collect::<Vec<_>>()
    };
    let good = ["kernel.shm_rmid_forced", "net/ipv4/tcp_syncookies", "net.ipv4.conf.eth0/1.rp_filter", "kernel.sem"];
    assert_eq!(pod("tty", &good), Vec::<String>::new());
    let bad = ["foo-", "bar..", "Kernel.x", "a b", ".a", "-a", &"a".repeat(254)];
    let refused = pod("tty", &bad);
    assert_eq!(refused.len(), bad.len(), "{refused:?}");
    assert_eq!(
        refused[0],
        r#"spec.securityContext.sysctls[0].name: Invalid value: "foo-": must have at most 253 characters and match regex ^([a-z0-9]([-_a-z0-9]*[a-z0-9])?[\./])*[a-z0-9]([-_a-z0-9]*[a-z0-9])?$"#
    );
    assert_eq!(pod("tty", &["a.b", "a.b"]), [r#"spec.securityContext.sysctls[1].name: Duplicate value: "a.b""#]);
    let on_host = pod("hostNetwork", &["net/ipv4/ip_forward", "kernel.sem"]);
    assert!(
        on_host.len() == 1 && on_host[0].ends_with("may not be specified when 'hostNetwork' is true"),
        "{on_host:?}"
    );
    let on_host = pod("hostIPC", &["net.ipv4.ip_forward", "kernel.sem"]);
    assert!(on_host.len() == 1 && on_host[0].ends_with("may not be specified when 'hostIPC' is true"), "{on_host:?}");
}

#[test]
fn words_of_security() {
    const AT: &str = "spec.containers[0].securityContext";
    let own = |more: Value| specs::container(json!({ "securityContext": more }));
    let of_pod = |more: Value| specs::pod(json!({ "securityContext": more }));
    let profile = |more: Value| own(json!({ "appArmorProfile": more }));
    let unmasked = |users: bool| {
        let mut spec = own(json!({"procMount": "Unmasked"}));
        spec["hostUsers"] = users.into();
        spec
    };
    specs::check(vec![
        (of_pod(json!({"supplementalGroupsPolicy": "Strict", "seLinuxChangePolicy": "MountOption"})), ""),
        (
            of_pod(json!({"supplementalGroupsPolicy": "strict"})),
            r#"spec.securityContext.supplementalGroupsPolicy: Unsupported value: "strict": supported values: "Merge", "Strict""#,
        ),
        (
            of_pod(json!({"seLinuxChangePolicy": "Never"})),
            r#"spec.securityContext.seLinuxChangePolicy: Unsupported value: "Never": supported values: "MountOption", "Recursive""#,
        ),
        (unmasked(false), ""),
        (
            unmasked(true),
            &format!(r#"{AT}.procMount: Invalid value: "Unmasked": `hostUsers` must be false to use `Unmasked`"#),
        ),
        (
            own(json!({"procMount": "Unmasked"})),
            &format!(r#"{AT}.procMount: Invalid value: "Unmasked": `hostUsers` must be false to use `Unmasked`"#),
        ),
        (profile(json!({"type": "Localhost", "localhostProfile": "p"})), ""),
        (profile(json!({"type": "RuntimeDefault"})), ""),
        (
            profile(json!({"type": ""})),
            &format!("{AT}.appArmorProfile.type: Required value: type is required when appArmorProfile is set"),
        ),
        (
            profile(json!({"type": "Default"})),
            &format!(
                r#"{AT}.appArmorProfile.type: Unsupported value: "Default": supported values: "Localhost", "RuntimeDefault", "Unconfined""#
            ),
        ),
        (
            profile(json!({"type": "Localhost"})),
            &format!(
                "{AT}.appArmorProfile.localhostProfile: Required value: must be set when AppArmor type is Localhost"
            ),
        ),
        (
            profile(json!({"type": "Localhost", "localhostProfile": " p"})),
            &format!(
                r#"{AT}.appArmorProfile.localhostProfile: Invalid value: " p": must not be padded with whitespace"#
            ),
        ),
        (
            profile(json!({"type": "Localhost", "localhostProfile": "p".repeat(4096)})),
            &format!("{AT}.appArmorProfile.localhostProfile: Too long: may not be more than 4095 bytes"),
        ),
        (
            of_pod(json!({"appArmorProfile": {"type": "Unconfined", "localhostProfile": "p"}})),
            r#"spec.securityContext.appArmorProfile.localhostProfile: Invalid value: "p": can only be set when AppArmor type is Localhost"#,
        ),
    ]);
}

#[test]
fn a_capability_that_undoes_what_is_refused() {
    let of = |capability: &str| {
        specs::container(
            json!({"securityContext": {"allowPrivilegeEscalation": false, "capabilities": {"add": [capability]}}}),
        )
    };
    let refused = specs::found(of("CAP_SYS_ADMIN"));
    let why = "cannot set `allowPrivilegeEscalation` to false and `capabilities.Add` CAP_SYS_ADMIN";
    assert!(refused.len() == 1 && refused[0].ends_with(why), "{refused:?}");
    for (found, why) in [
        (specs::found(of("SYS_ADMIN")), "runtimes' name, which manifests have"),
        (specs::found_later(of("CAP_SYS_ADMIN")), "what is stored stays changeable"),
    ] {
        assert_eq!(found, Vec::<String>::new(), "{why}");
    }
}

#[test]
fn options_of_windows() {
    const AT: &str = "spec.containers[0].securityContext.windowsOptions";
    let with = |more: Value| specs::container(json!({"securityContext": {"windowsOptions": more}}));
    let user = |name: &str| with(json!({ "runAsUserName": name }));
    let bad = |name: &str, why: &str| format!("{AT}.runAsUserName: Invalid value: {name:?}: runAsUserName{why}");
    let long = "u".repeat(105);
    let cases: Vec<(Value, String)> = vec![
        (user("ContainerUser"), String::new()),
        (user(r"NT AUTHORITY\SYSTEM"), String::new()),
        (user(r"Example.COM\me"), String::new()),
        (user(""), bad("", " cannot be an empty string")),
        (user("a\tb"), bad("a\tb", " cannot contain control characters")),
        (user(r"a\b\c"), bad(r"a\b\c", " cannot contain more than one backslash")),
        (user(r".x*\me"), bad(r".x*\me", "'s Domain doesn't match the NetBios nor the DNS format")),
        (user(r"a\"), bad(r"a\", "'s User cannot be empty")),
        (user(&long), bad(&long, "'s User length must not be longer than 104 characters")),
        (user(". ."), bad(". .", "'s User cannot contain only periods or spaces")),
        (user("a|b"), bad("a|b", r#"'s User cannot contain the following characters: "/\:;|=,+*?<>@[]"#)),
        (
            with(json!({"gmsaCredentialSpec": ""})),
            format!(r#"{AT}.gmsaCredentialSpec: Invalid value: "": gmsaCredentialSpec cannot be an empty string"#),
        ),
    ];
    for (spec, expected) in cases {
        let expected = if expected.is_empty() { vec![] } else { vec![expected] };
        assert_eq!(specs::found(spec.clone()), expected, "{spec}");
    }
    let long = specs::found(with(json!({"gmsaCredentialSpec": "s".repeat(64 * 1024 + 1)})));
    assert!(long.len() == 1 && long[0].ends_with("gmsaCredentialSpec size must be under 64 KiB"), "{}", long.len());
    let bad = specs::found(with(json!({"gmsaCredentialSpecName": "A"})));
    assert!(bad.len() == 1 && bad[0].contains("gmsaCredentialSpecName: Invalid value"), "{bad:?}");
}

#[test]
fn all_containers_of_a_pod_are_processes_of_the_node_or_none_is() {
    let pod = |network: bool, of_pod: Value, own: [Value; 2]| {
        let containers = own.map(|own| {
            json!({"name": if own == json!(true) { "a" } else { "b" }, "image": "x",
                "securityContext": {"windowsOptions": {"hostProcess": own}}})
        });
        json!({"hostNetwork": network, "containers": containers,
            "securityContext": {"windowsOptions": {"hostProcess": of_pod}}})
    };
    let (yes, no, unsaid) = (json!(true), json!(false), Value::Null);
    specs::check(vec![
        (pod(true, yes.clone(), [yes.clone(), unsaid.clone()]), ""),
        (
            pod(true, unsaid.clone(), [yes.clone(), unsaid.clone()]),
            r#"spec: Invalid value: "": If pod contains any hostProcess containers then all containers must be HostProcess containers"#,
        ),
        (
            pod(false, yes.clone(), [yes.clone(), unsaid.clone()]),
            "spec.hostNetwork: Invalid value: false: hostNetwork must be true if pod contains any hostProcess containers",
        ),
    ]);
    let differs = specs::found(pod(true, no, [yes, unsaid]));
    let expected = "spec.containers[0].securityContext.windowsOptions.hostProcess: Invalid value: true: pod hostProcess value must be identical if both are specified, was false";
    assert!(differs.len() == 2 && differs[0] == expected, "{differs:?}");
}

//! Runtime classes: what they put into new pods, and which pods do not go with them.

use super::*;

/// The stored spec of a new pod, or why there is none.
fn created(fields: Value, class: Value) -> Result<Value, String> {
    let mut spec = json!({"containers": [], "runtimeClassName": "gvisor"});
    spec.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    let mut stored = json!({"metadata": {"name": "gvisor"}, "handler": "runsc"});
    stored.as_object_mut().unwrap().extend(class.as_object().unwrap().clone());
    let cluster = [("runtimeclasses//gvisor", stored)];
    let case = Case { target: "pods default/", object: pod(spec), cluster: &cluster, ..NO_CASE };
    admitted(case).map(|pod| pod["spec"].clone()).map_err(|refusal| refusal.into_error().message().to_owned())
}

#[test]
fn a_pod_costs_what_its_class_says() {
    const OTHER: &str = "pod rejected: Pod's Overhead doesn't match RuntimeClass's defined Overhead";
    const OWN: &str = "pod rejected: Pod Overhead set without corresponding RuntimeClass defined Overhead";
    let class = json!({"overhead": {"podFixed": {"memory": "1Gi", "cpu": "250m"}}});
    let given = |amounts: Value| json!({"overhead": amounts});
    let cases = [
        ("said by the class", json!({}), class.clone(), Ok(())),
        ("nothing said", given(json!({})), class.clone(), Ok(())),
        ("the same, in other words", given(json!({"memory": "1073741824", "cpu": "0.25"})), class.clone(), Ok(())),
        ("less", given(json!({"memory": "1Gi", "cpu": "1m"})), class.clone(), Err(OTHER)),
        ("a part of it", given(json!({"memory": "1Gi"})), class.clone(), Err(OTHER)),
        ("a class without", given(json!({"memory": "1Gi"})), json!({}), Err(OWN)),
        ("no class", json!({"runtimeClassName": null, "overhead": {"cpu": "1"}}), class, Err(OWN)),
    ];
    for (why, fields, class, expected) in cases {
        match (created(fields, class), expected) {
            (Ok(spec), Ok(())) => assert_eq!(spec["overhead"], json!({"memory": "1Gi", "cpu": "250m"}), "{why}"),
            (Err(text), Err(expected)) => assert_eq!(text, format!(r#"pods "p" is forbidden: {expected}"#), "{why}"),
            (have, _) => panic!("{why}: {have:?}"),
        }
    }
    assert_eq!(created(json!({}), json!({})).unwrap()["overhead"], Value::Null);
}

#[test]
fn a_pod_runs_where_its_class_does() {
    let toleration = json!({"key": "sandbox", "operator": "Exists", "effect": "NoSchedule"});
    let class = json!({"scheduling": {"nodeSelector": {"sandbox": "gvisor"}, "tolerations": [toleration]}});
    let spec = created(json!({"nodeSelector": {"disk": "ssd"}}), class.clone()).unwrap();
    assert_eq!(spec["nodeSelector"], json!({"disk": "ssd", "sandbox": "gvisor"}));
    let all = spec["tolerations"].as_array().unwrap();
    assert_eq!((all.len(), &all[2]), (3, &toleration), "those of every pod come first");
    let same = created(json!({"nodeSelector": {"sandbox": "gvisor"}, "tolerations": [toleration]}), class.clone());
    assert_eq!(same.unwrap()["tolerations"].as_array().unwrap().len(), 3, "said twice is there once");
    assert_eq!(
        created(json!({"nodeSelector": {"sandbox": "kata"}}), class),
        Err(
            r#"pods "p" is forbidden: conflict: runtimeClass.scheduling.nodeSelector[sandbox] = gvisor; pod.spec.nodeSelector[sandbox] = kata"#
                .into()
        )
    );
}

#[test]
fn there_is_no_pod_of_a_class_that_is_not_there() {
    let text = created(json!({"runtimeClassName": "kata"}), json!({})).unwrap_err();
    assert_eq!(text, r#"pods "p" is forbidden: pod rejected: RuntimeClass "kata" not found"#);
    let update = Case {
        verb: Verb::Update,
        target: "pods default/p",
        object: pod(json!({"containers": [], "runtimeClassName": "kata"})),
        old: pod(json!({"containers": [], "runtimeClassName": "kata"})),
        ..NO_CASE
    };
    assert!(admitted(update).is_ok(), "it is asked for new pods only");
}

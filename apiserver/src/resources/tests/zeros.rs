//! What a Go client writes though nobody set it, or leaves out though somebody did, changes nothing.

use super::*;
use crate::storage::Write;

/// (plural, where, object, the same with zeros of fields that are no pointers)
type Case = (&'static str, &'static str, Value, Value);

fn template(zeros: bool) -> Value {
    let mut template = json!({"metadata": {"labels": {"a": "b"}}, "spec": {"restartPolicy": "Always",
        "containers": [{"name": "c", "image": "i", "env": [{"name": "A"}], "resources": {"limits": {"cpu": "500m"}},
            "volumeMounts": [{"name": "v", "mountPath": "/v"}]}], "volumes": [{"name": "v", "emptyDir": {}}]}});
    if zeros {
        let spec = &mut template["spec"];
        spec["hostNetwork"] = json!(false);
        spec["nodeSelector"] = json!({});
        spec["tolerations"] = json!([]);
        spec["volumes"][0]["emptyDir"]["medium"] = json!("");
        let container = &mut spec["containers"][0];
        container["env"][0]["value"] = json!("");
        container["volumeMounts"][0]["readOnly"] = json!(false);
        container["args"] = json!([]);
        container["stdin"] = json!(false);
        container["resources"]["requests"] = json!({});
        container["resources"]["limits"]["cpu"] = json!("0.5");
    }
    template
}

fn selector(zeros: bool) -> Value {
    if zeros { json!({"matchLabels": {"a": "b"}, "matchExpressions": []}) } else { json!({"matchLabels": {"a": "b"}}) }
}

fn job(zeros: bool) -> Value {
    let mut template = template(zeros);
    template["spec"]["restartPolicy"] = json!("Never");
    json!({"metadata": {"name": "x"}, "spec": {"template": template}})
}
fn stateful_set(zeros: bool) -> Value {
    let mut set = set(zeros);
    set["spec"]["serviceName"] = json!("s");
    set
}
fn set(zeros: bool) -> Value {
    let mut set =
        json!({"metadata": {"name": "x"}, "spec": {"selector": selector(zeros), "template": template(zeros)}});
    if zeros {
        set["spec"]["minReadySeconds"] = json!(0);
        set["status"] = json!({});
    }
    set
}
fn claim(zeros: bool) -> Value {
    let mut claim = json!({"metadata": {"name": "x"}, "spec": {"accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": "1Gi"}}, "selector": selector(zeros)}});
    if zeros {
        claim["spec"]["volumeName"] = json!("");
        claim["spec"]["resources"]["limits"] = json!({});
        claim["spec"]["resources"]["requests"]["storage"] = json!("1024Mi");
    }
    claim
}
fn volume(zeros: bool) -> Value {
    let mut volume = json!({"metadata": {"name": "x"}, "spec": {"accessModes": ["ReadWriteOnce"],
        "capacity": {"storage": "1Gi"}, "nfs": {"server": "s", "path": "/p"}}});
    if zeros {
        volume["spec"]["nfs"]["readOnly"] = json!(false);
        volume["spec"]["mountOptions"] = json!([]);
        volume["spec"]["storageClassName"] = json!("");
    }
    volume
}
fn pod_of(zeros: bool) -> Value {
    json!({"metadata": {"name": "x"}, "spec": template(zeros)["spec"]})
}

fn cases() -> Vec<Case> {
    vec![
        ("pods", "n/", pod_of(false), pod_of(true)),
        ("jobs", "n/", job(false), job(true)),
        ("statefulsets", "n/", stateful_set(false), stateful_set(true)),
        ("deployments", "n/", set(false), set(true)),
        ("daemonsets", "n/", set(false), set(true)),
        ("persistentvolumeclaims", "n/", claim(false), claim(true)),
        ("persistentvolumes", "", volume(false), volume(true)),
    ]
}

/// What is sent, laid over what the server has made of it: with all that the server has filled in.
fn over(made: &Value, sent: &Value) -> Value {
    match (made, sent) {
        (Value::Object(made), Value::Object(sent)) => {
            let mut object = made.clone();
            for (key, value) in sent {
                let laid = made.get(key).map_or_else(|| value.clone(), |made| over(made, value));
                object.insert(key.clone(), laid);
            }
            object.into()
        }
        (Value::Array(made), Value::Array(sent)) => {
            let laid = made.iter().zip(sent).map(|(made, sent)| over(made, sent));
            laid.chain(made.iter().skip(sent.len()).cloned()).collect()
        }
        _ => sent.clone(),
    }
}

#[tokio::test]
async fn zeros_that_a_client_adds_or_drops_change_nothing() {
    for (plural, at, plain, zeros) in cases() {
        for (first, then) in [(&plain, &zeros), (&zeros, &plain)] {
            let c = Cluster::new().await;
            let made = c.create(plural, at, first.clone()).await.unwrap_or_else(|err| panic!("{plural}: {err}"));
            let written = c.update(plural, &format!("{at}x"), &over(&made, then)).await;
            assert_eq!(written.unwrap_or_else(|err| panic!("{plural}: {err}")), made, "{plural}");
            let patched = c.merge(plural, &format!("{at}x"), over(&made, then)).await.unwrap();
            assert_eq!(patched, made, "{plural}");
        }
    }
}

/// What was stored before zeros were dropped is read and updated as if they had never been there: no controller sees another
/// template, and no generation rises.
#[tokio::test]
async fn objects_that_were_stored_with_zeros_are_read_and_updated_as_if_without() {
    for (plural, at, plain, zeros) in cases() {
        let c = Cluster::new().await;
        let made = c.create(plural, at, plain.clone()).await.unwrap();
        let object = format!("{at}x");
        let key = format!("/registry/{plural}/{object}");
        let mut old = over(&made, &zeros);
        old["metadata"].as_object_mut().unwrap().remove("resourceVersion");
        let (value, expected) = (old.to_string().into_bytes().into(), version(&made));
        c.storage.commit(vec![Write::Update { key, value, expected, ttl_secs: None }]).await.unwrap();
        c.resources.catch_up().await.unwrap();
        let seen = c.get(plural, &object).await.unwrap();
        let mut as_made = seen.clone();
        as_made["metadata"]["resourceVersion"] = made["metadata"]["resourceVersion"].clone();
        assert_eq!(as_made, made, "{plural}");
        let mut put = made.clone();
        put["metadata"]["resourceVersion"] = seen["metadata"]["resourceVersion"].clone();
        let kept = c.update(plural, &object, &put).await.unwrap_or_else(|err| panic!("{plural}: {err}"));
        assert_eq!(version(&kept), version(&seen), "{plural}: nothing is written");
        put["metadata"]["labels"] = json!({"a": "b"});
        let written = c.update(plural, &object, &put).await.unwrap_or_else(|err| panic!("{plural}: {err}"));
        assert_eq!(written["metadata"]["generation"], made["metadata"]["generation"], "{plural}");
        assert_eq!(written["spec"], made["spec"], "{plural}: and the zeros are gone");
    }
}

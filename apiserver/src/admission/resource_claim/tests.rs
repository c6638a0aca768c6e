//! Claims: admin access by the namespace's label, a status by the writer's rights.

use serde_json::{Value, json};

use super::*;
use crate::admission::testing::{Write, ask};
use crate::view::testing::Cluster;

fn world(grants: &[&'static str]) -> Cluster {
    let mut world = Cluster::of(&[
        ("namespaces//admin", json!({"metadata": {"name": "admin", "labels": {ADMIN_LABEL: "true"}}})),
        ("namespaces//plain", json!({"metadata": {"name": "plain", "labels": {ADMIN_LABEL: "yes"}}})),
    ]);
    world.grants = grants.to_vec();
    world
}
fn spec(admin: bool) -> Value {
    let exactly = |admin: bool| json!({"deviceClassName": "c", "adminAccess": admin});
    json!({"devices": {"requests": [{"name": "a", "exactly": exactly(false)}, {"name": "b", "exactly": exactly(admin)}]}})
}
fn said(answer: Result<Vec<String>, ApiError>) -> String {
    answer.map_or_else(|err| err.message().to_owned(), |warnings| warnings.join("\n"))
}
const LABEL: &str = "Forbidden: admin access to devices requires the `resource.kubernetes.io/admin-access: true` label on the containing namespace";

#[test]
fn admin_access_is_for_namespaces_of_admins() {
    let refused =
        |kind: &str| format!(r#"{kind}.resource.k8s.io "c" is invalid: spec.devices.requests[1].adminAccess: {LABEL}"#);
    for (namespace, admin, refuses) in
        [("admin", true, false), ("plain", false, false), ("plain", true, true), ("none", true, true)]
    {
        let claim = json!({"metadata": {"name": "c"}, "spec": spec(admin)});
        let template = json!({"metadata": {"name": "c"}, "spec": {"spec": spec(admin)}});
        let create = |plural: &str, new: Value| {
            let target = &format!("resource.k8s.io/{plural} {namespace}/");
            let write = Write { verb: Verb::Create, target, new, old: Value::Null };
            if plural == CLAIMS {
                said(ask::<ResourceClaim>(admit, &world(&[]), write))
            } else {
                said(ask::<ResourceClaimTemplate>(admit, &world(&[]), write))
            }
        };
        let expected = |kind: &str| if refuses { refused(kind) } else { String::new() };
        assert_eq!(create(CLAIMS, claim), expected("ResourceClaim"), "{namespace}");
        assert_eq!(create("resourceclaimtemplates", template), expected("ResourceClaimTemplate"), "{namespace}");
    }
}

#[test]
fn each_part_of_a_status_has_its_writer() {
    let result = |admin: bool| json!({"request": "a", "driver": "d", "pool": "p", "device": "x", "adminAccess": admin});
    let allocated = |admin: bool| json!({"allocation": {"devices": {"results": [result(admin)]}}});
    let reserved = json!({"reservedFor": [{"resource": "pods", "name": "p", "uid": "u"}]});
    let device = |driver: &str, data: Value| json!({"driver": driver, "pool": "p", "device": "x", "data": data});
    let devices = |list: Value| json!({ "devices": list });
    let prefix = r#"ResourceClaim.resource.k8s.io "c" is invalid: "#;
    let binding = r#"status.allocation: Forbidden: changing status.allocation or status.reservedFor requires resource="resourceclaims/binding", verb="update" permission: resourceclaims.resource.k8s.io is forbidden: User "jane" cannot update resource "resourceclaims/binding" in API group "resource.k8s.io" at the cluster scope"#;
    let driver = |name: &str| {
        format!(
            r#"status.devices: Forbidden: changing status.devices requires resource="resourceclaims/driver", verb="[arbitrary-node:update]" permission: resourceclaims.resource.k8s.io "{name}" is forbidden: User "jane" cannot arbitrary-node:update resource "resourceclaims/driver" in API group "resource.k8s.io" in the namespace "plain""#
        )
    };
    let label = format!("status.allocation.devices.results[0].adminAccess: {LABEL}");
    let (d, e) = (device("d", json!({"a": 1})), device("e", json!({})));
    for (grants, new, old, expected) in [
        (&["update resourceclaims/binding "][..], allocated(false), json!({}), vec![]),
        (&["update resourceclaims/binding "], reserved.clone(), json!({}), vec![]),
        (&["update resourceclaims/binding "], allocated(true), json!({}), vec![label.clone()]),
        (&[], allocated(true), allocated(true), vec![]),
        (&[], allocated(false), json!({}), vec![binding.to_owned()]),
        (&[], reserved, json!({}), vec![binding.to_owned()]),
        (&[], allocated(true), json!({}), vec![label, binding.to_owned()]),
        (&["arbitrary-node:update resourceclaims/driver plain/d"], devices(json!([d])), json!({}), vec![]),
        (
            &["arbitrary-node:update resourceclaims/driver plain/d"],
            devices(json!([d, e])),
            json!({}),
            vec![driver("e")],
        ),
        (&[], devices(json!([d, e])), devices(json!([device("d", json!({}))])), vec![driver("d"), driver("e")]),
        (&[], devices(json!([])), devices(json!([e])), vec![driver("e")]),
        (&[], devices(json!([e])), devices(json!([e])), vec![]),
    ] {
        let of = |status: Value| json!({"metadata": {"name": "c"}, "spec": spec(false), "status": status});
        let write = Write {
            verb: Verb::Update,
            target: "resource.k8s.io/resourceclaims/status plain/c",
            new: of(new),
            old: of(old),
        };
        let found = said(ask::<ResourceClaim>(admit, &world(grants), write));
        let expected = match &expected[..] {
            [] => String::new(),
            [one] => format!("{prefix}{one}"),
            many => format!("{prefix}[{}]", many.join(", ")),
        };
        assert_eq!(found, expected, "{grants:?}");
    }
}

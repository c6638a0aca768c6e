//! What quotas count of ResourceClaims: the devices that they may come to hold, by the class of each.
//!
//! <https://kubernetes.io/docs/concepts/policy/resource-quotas/#quota-for-dynamic-resource-allocation-resources>

use corten_api::quantity::Quantity;
use k8s_openapi::api::resource::v1::{DeviceRequest, ResourceClaim};

use super::counted::number;
use crate::registry::quantities::{List, add, raise};

/// Behind the name of a class: how many of its devices.
pub(super) const OF_CLASS: &str = ".deviceclass.resource.k8s.io/devices";
/// As many as one claim can be given: what a request for all of a class is held for.
const DEVICES_MAX: i64 = 32;

/// Of alternatives each class counts with the one that wants most of it.
pub(super) fn usage(claim: &ResourceClaim) -> List {
    let devices = claim.spec.as_ref().and_then(|spec| spec.devices.as_ref());
    let mut sum = List::new();
    for request in devices.iter().flat_map(|devices| devices.requests.iter().flatten()) {
        add(&mut sum, &of_request(request));
    }
    sum
}

fn of_request(request: &DeviceRequest) -> List {
    let mut most = List::new();
    let alternatives = request.first_available.iter().flatten();
    for sub in alternatives {
        raise(&mut most, &one(&sub.device_class_name, sub.allocation_mode.as_deref(), sub.count));
    }
    if let (true, Some(exactly)) = (most.is_empty(), &request.exactly) {
        most = one(&exactly.device_class_name, exactly.allocation_mode.as_deref(), exactly.count);
    }
    most
}

fn one(class: &str, mode: Option<&str>, count: Option<i64>) -> List {
    let devices = match mode {
        Some("All") => DEVICES_MAX,
        Some("ExactCount") => count.unwrap_or_default(),
        // A mode of another version: what it asks for is not known.
        Some(_) | None => 0,
    };
    let devices: Quantity = number(usize::try_from(devices).unwrap_or_default());
    List::from([(format!("{class}{OF_CLASS}"), devices)])
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::ResourceQuota;
    use serde_json::{Value, json};

    use super::*;
    use crate::admission::resource_quota::counted::Counted;
    use crate::admission::resource_quota::{Change, charges};
    use crate::registry::quantities::text;

    const GROUP: &str = "resource.k8s.io";
    const PLURAL: &str = "resourceclaims";

    fn claim(requests: Value) -> ResourceClaim {
        serde_json::from_value(json!({"metadata": {}, "spec": {"devices": {"requests": requests}}})).unwrap()
    }
    fn of(class: &str, mode: &str, count: i64) -> Value {
        json!({"name": "s", "deviceClassName": class, "allocationMode": mode, "count": count})
    }
    fn exactly(request: Value) -> Value {
        json!({"name": "r", "exactly": request})
    }

    #[test]
    fn what_claims_take() {
        let alternatives = [of("gpu", "ExactCount", 2), of("gpu", "ExactCount", 4), of("nic", "ExactCount", 1)];
        let two_and_all =
            [exactly(of("gpu", "ExactCount", 2)), exactly(of("gpu", "ExactCount", 1)), exactly(of("nic", "All", 0))];
        let cases = [
            (json!([]), ""),
            (json!(two_and_all), ",gpu/devices=3,nic/devices=32"),
            (json!([{"name": "r", "firstAvailable": alternatives}]), ",gpu/devices=4,nic/devices=1"),
            (json!([exactly(of("gpu", "Some", 2))]), ",gpu/devices=0"),
        ];
        let devices = Counted::of(GROUP, PLURAL).unwrap();
        for (requests, expected) in cases {
            let taken = text(&devices.usage(&claim(requests.clone()), 0)).replace(OF_CLASS, "/devices");
            assert_eq!(taken, format!("count/resourceclaims.resource.k8s.io=1{expected}"), "{requests}");
        }
        assert!(devices.tracks("gpu.deviceclass.resource.k8s.io/devices") && !devices.tracks("requests.cpu"));
    }

    #[test]
    fn a_claim_of_too_many_is_refused() {
        let list = |amount: &str| json!({"gpu.deviceclass.resource.k8s.io/devices": amount});
        let status = json!({"hard": list("2"), "used": list("1")});
        let quota: ResourceQuota =
            serde_json::from_value(json!({"metadata": {"name": "q"}, "status": status})).unwrap();
        let wanted = claim(json!([exactly(of("gpu", "ExactCount", 2))]));
        let change = Change { group: GROUP, plural: PLURAL, subresource: "", old: None, new: Some(&wanted) };
        assert_eq!(
            charges(&change, &[quota], 0).unwrap_err().replace(OF_CLASS, "/devices"),
            "exceeded quota: q, requested: gpu/devices=2, used: gpu/devices=1, limited: gpu/devices=2"
        );
    }
}

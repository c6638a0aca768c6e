//! What follows from the bounds that are given: who may not have more than so much gets no more.

use k8s_openapi::api::core::v1::LimitRangeItem;

use crate::registry::quantities::{Wires, canonical};

pub(super) fn item(item: &mut LimitRangeItem) {
    if item.type_ == "Container" {
        let default = item.default.get_or_insert_default();
        inherit(default, item.max.as_ref());
        let request = item.default_request.get_or_insert_default();
        inherit(request, Some(&*default));
        inherit(request, item.min.as_ref());
        item.default.take_if(|list| list.is_empty());
        item.default_request.take_if(|list| list.is_empty());
    }
    for list in
        [&mut item.max, &mut item.min, &mut item.default, &mut item.default_request, &mut item.max_limit_request_ratio]
    {
        canonical(list.as_mut());
    }
}

/// What is not said is as in `from`.
fn inherit(into: &mut Wires, from: Option<&Wires>) {
    for (name, amount) in from.into_iter().flatten() {
        if !into.contains_key(name) {
            into.insert(name.clone(), amount.clone());
        }
    }
}

//! When a quota has more room than before: what it refused can be asked for again.

use corten_api::k8s_openapi::api::core::v1::ResourceQuota;
use corten_api::k8s_openapi::apimachinery::pkg::api::resource::Quantity as Wire;
use corten_api::quantity::Quantity;
use corten_client::Change;

use crate::children::Children;
use crate::controller::{Controller, Setup};

/// `controller`, whose owners come back to it as soon as a quota has room that may have refused their children. `C`: what it
/// needs to make a child again.
pub fn come_back_with_room<C: Clone + Send + Sync + 'static>(setup: &Setup, controller: Controller) -> Controller {
    let (name, queue, quotas) = (setup.name, controller.queue(), setup.caches.of::<ResourceQuota>());
    controller.beside(move |context| {
        let (children, queue): (Children<C>, _) = (context.under_way.of(name), queue.clone());
        quotas.owned_by(&context.stop).subscribe(move |change| {
            if let Some(key) = change.key()
                && has_more_room(change)
            {
                children.has_room(&key.namespace).into_iter().for_each(|owner| queue.add(owner));
            }
        });
        std::future::ready(())
    })
}

/// It is gone, asks for something else, or less of something is used.
fn has_more_room(change: &Change<'_, ResourceQuota>) -> bool {
    match change {
        Change::Synced | Change::Set { old: None, .. } => false,
        Change::Removed { .. } => true,
        Change::Set { old: Some(old), new, .. } => old.spec != new.spec || is_used_less(old, new),
    }
}

fn is_used_less(old: &ResourceQuota, new: &ResourceQuota) -> bool {
    let used = |quota: &ResourceQuota, name: &str| -> Option<Quantity> {
        let used: &Wire = quota.status.as_ref()?.used.as_ref()?.get(name)?;
        Quantity::from_wire(used).ok()
    };
    let names = old.status.iter().flat_map(|status| &status.used).flatten().map(|(name, _)| name.as_str());
    let mut names = names.filter_map(|name| Some((used(old, name)?, used(new, name))));
    names.any(|(was, is)| is.is_none_or(|is| is < was))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use corten_api::Key;
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn rooms_table() {
        let quota = |hard: &Value, used: &Value| -> Arc<ResourceQuota> {
            Arc::new(serde_json::from_value(json!({"spec": {"hard": hard}, "status": {"used": used}})).unwrap())
        };
        let (hard, key) = (json!({"pods": "2"}), Key::new("ns", "q"));
        let full = quota(&hard, &json!({"pods": "2", "cpu": "1"}));
        let cases = [
            ("nothing that counts", quota(&hard, &json!({"pods": "2", "cpu": "1000m"})), false),
            ("more is used", quota(&hard, &json!({"pods": "3", "cpu": "1"})), false),
            ("less of one", quota(&hard, &json!({"pods": "2", "cpu": "900m"})), true),
            ("less, whatever the digits say", quota(&hard, &json!({"pods": "10m", "cpu": "1"})), true),
            ("more is allowed", quota(&json!({"pods": "3"}), &json!({"pods": "2", "cpu": "1"})), true),
            ("one is counted no more", quota(&hard, &json!({"pods": "2"})), true),
        ];
        for (why, new, expected) in cases {
            assert_eq!(has_more_room(&Change::Set { key: &key, old: Some(&full), new: &new }), expected, "{why}");
        }
        assert!(has_more_room(&Change::Removed { key: &key, old: &full }));
        assert!(!has_more_room(&Change::Set { key: &key, old: None, new: &full }));
    }
}

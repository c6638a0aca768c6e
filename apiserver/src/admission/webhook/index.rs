//! The webhooks of all configurations, in the order of asking: by the configuration's name, then as they stand there.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::admissionregistration::v1::{
    MatchCondition, MutatingWebhookConfiguration, ValidatingWebhookConfiguration,
};

use super::BOUNDS;
use crate::admission::asking::Operation;
use crate::admission::conditions::Conditions;
use crate::admission::matching::Criteria;
use crate::registry::ApiResource;
use crate::registry::admissionregistration::Webhook;
use crate::registry::webhook_client::WebhookClient;
use crate::webhook::{HookClient, Place, ReviewVersion};

const TIMEOUT_SECS: u64 = 10;

#[derive(Debug)]
pub struct Hook {
    /// In its kind's list, whatever else changes there: `configuration/name`.
    pub(super) uid: Arc<str>,
    pub(super) configuration: Arc<str>,
    pub(super) name: Arc<str>,
    pub(super) criteria: Criteria,
    /// On which it is asked.
    pub(super) conditions: Arc<Conditions>,
    /// Whether what it is asked about is done though it cannot be asked.
    pub(super) fails_open: bool,
    pub(super) timeout: Duration,
    /// Whether it may be asked about what is not to be done.
    pub(super) takes_dry_runs: bool,
    pub(super) review: Option<ReviewVersion>,
    /// Whether it is asked once more about what others have changed after it.
    pub(super) is_asked_again: bool,
    pub(super) place: Result<Place, String>,
    /// Why there is none is told to who is refused for it.
    pub(super) client: Result<Arc<HookClient>, String>,
}

impl Hook {
    fn of(configuration: &Arc<str>, webhook: &Webhook<'_>, made: &mut Made<'_>) -> Self {
        let place = Place::of(&WebhookClient::from(webhook.client_config));
        let client = place.as_ref().map_err(Clone::clone).and_then(|place| made.client(place));
        let uid: Arc<str> = format!("{configuration}/{}", webhook.name).into();
        let is = |word: Option<&String>, wanted: &str| word.is_some_and(|word| word == wanted);
        let selectors = (webhook.namespace_selector, webhook.object_selector);
        let conditions = made.conditions(&uid, webhook.match_conditions);
        Self {
            uid,
            configuration: configuration.clone(),
            name: webhook.name.into(),
            criteria: Criteria::of_webhook(webhook.name, webhook.rules, webhook.match_policy, selectors),
            conditions,
            fails_open: is(webhook.failure_policy, "Ignore"),
            timeout: webhook
                .timeout_seconds
                .and_then(|secs| secs.try_into().ok())
                .map_or(Duration::from_secs(TIMEOUT_SECS), Duration::from_secs),
            takes_dry_runs: matches!(webhook.side_effects, "None" | "NoneOnDryRun"),
            review: ReviewVersion::first(webhook.admission_review_versions),
            is_asked_again: is(webhook.reinvocation_policy, "IfNeeded"),
            place,
            client,
        }
    }
}

#[derive(Debug, Default)]
pub struct Index {
    pub(super) mutating: Vec<Hook>,
    pub(super) validating: Vec<Hook>,
}

impl Index {
    /// `before`: whose connections go on where the webhooks are the same.
    pub(super) fn compile(
        mutating: &[MutatingWebhookConfiguration],
        validating: &[ValidatingWebhookConfiguration],
        before: &Self,
    ) -> Self {
        let (mut index, mut made) = (Self::default(), Made::of(before));
        for of in mutating {
            let webhooks = of.webhooks.iter().flatten().map(Webhook::from);
            index.mutating.extend(hooks(of.metadata.name.as_deref(), webhooks, &mut made));
        }
        for of in validating {
            let webhooks = of.webhooks.iter().flatten().map(Webhook::from);
            index.validating.extend(hooks(of.metadata.name.as_deref(), webhooks, &mut made));
        }
        // Stable: as they stand in a configuration.
        index.mutating.sort_by(|a, b| a.configuration.cmp(&b.configuration));
        index.validating.sort_by(|a, b| a.configuration.cmp(&b.configuration));
        index
    }
    /// Whether any of them may be about this, by their rules alone.
    pub fn concerns(&self, operation: Operation, resources: &[Arc<ApiResource>], subresource: &str) -> bool {
        let is_about = |hook: &Hook| hook.criteria.is_named(operation, resources, subresource);
        self.mutating.iter().chain(&self.validating).any(is_about)
    }
    pub fn is_empty(&self) -> bool {
        self.mutating.is_empty() && self.validating.is_empty()
    }
}

/// What is made of webhooks and need not be made anew.
struct Made<'b> {
    /// By the uid: a webhook that changes objects and one that judges them may have the same.
    conditions: HashMap<&'b str, Vec<&'b Arc<Conditions>>>,
    clients: HashMap<Place, Arc<HookClient>>,
}

impl<'b> Made<'b> {
    fn of(before: &'b Index) -> Self {
        let mut made = Self { conditions: HashMap::new(), clients: HashMap::new() };
        for hook in before.mutating.iter().chain(&before.validating) {
            made.conditions.entry(&*hook.uid).or_default().push(&hook.conditions);
            if let (Ok(place), Ok(client)) = (&hook.place, &hook.client) {
                made.clients.entry(place.clone()).or_insert_with(|| client.clone());
            }
        }
        made
    }
    /// As they were compiled before, where they are the same.
    fn conditions(&self, uid: &str, of: &[MatchCondition]) -> Arc<Conditions> {
        let same = self.conditions.get(uid).and_then(|all| all.iter().find(|conditions| conditions.are(of)));
        same.map_or_else(|| Arc::new(Conditions::compile(of, false)), |same| Arc::clone(same))
    }
    /// The connections there are to such a place, or new ones.
    fn client(&mut self, place: &Place) -> Result<Arc<HookClient>, String> {
        if let Some(client) = self.clients.get(place) {
            return Ok(client.clone());
        }
        let client = Arc::new(HookClient::new(place, BOUNDS)?);
        self.clients.insert(place.clone(), client.clone());
        Ok(client)
    }
}

fn hooks<'a>(
    configuration: Option<&str>,
    webhooks: impl Iterator<Item = Webhook<'a>>,
    made: &mut Made<'_>,
) -> Vec<Hook> {
    let configuration: Arc<str> = configuration.unwrap_or_default().into();
    webhooks.map(|webhook| Hook::of(&configuration, &webhook, made)).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::super::testing::{mutating, validating, webhook};
    use super::super::{Configurations, Look, State, Webhooks};
    use super::*;

    #[test]
    fn webhooks_stand_by_the_name_of_their_configuration_and_then_as_there() {
        let (b, a) = (mutating("b", &[webhook("z.b.c"), webhook("a.b.c")]), mutating("a", &[webhook("m.b.c")]));
        let index = Index::compile(&[b, a], &[], &Index::default());
        let order: Vec<&str> = index.mutating.iter().map(|hook| &*hook.uid).collect();
        assert_eq!(order, ["a/m.b.c", "b/z.b.c", "b/a.b.c"]);
    }

    #[test]
    fn connections_outlive_changes_of_other_things() {
        crate::webhook::testing::install();
        let of = |changed: &str, url: &str| {
            let mut webhook = webhook("a.b.c");
            webhook["clientConfig"] = serde_json::json!({ "url": url });
            webhook["failurePolicy"] = changed.into();
            validating("x", &[webhook])
        };
        let client = |index: &Index| index.validating[0].client.clone().unwrap();
        let first = Index::compile(&[], &[of("Fail", "https://a/1")], &Index::default());
        let second = Index::compile(&[], &[of("Ignore", "https://a/1")], &first);
        let third = Index::compile(&[], &[of("Ignore", "https://a/2")], &second);
        assert!(Arc::ptr_eq(&client(&first), &client(&second)));
        assert!(!Arc::ptr_eq(&client(&second), &client(&third)));
        let two = Index::compile(&[], &[of("Fail", "https://b/1"), of("Ignore", "https://b/1")], &third);
        let [one, other] = two.validating.as_slice() else { panic!("two") };
        let same = Arc::ptr_eq(one.client.as_ref().unwrap(), other.client.as_ref().unwrap());
        assert!(same, "who are at one place share their connections");
    }

    #[tokio::test]
    async fn one_compiles_for_all_who_want_to_know() {
        struct Seen<'a>(&'a AtomicUsize, i64);
        impl Look for Seen<'_> {
            type State = State;
            type Read = Configurations;

            fn state(&self) -> State {
                [(1, self.1), (0, 0)]
            }
            fn bytes(&self) -> usize {
                0
            }
            fn read(&self) -> Configurations {
                self.0.fetch_add(1, Ordering::Relaxed);
                (vec![mutating("x", &[webhook("a.b.c")])], Vec::new())
            }
        }
        let (webhooks, reads) = (Webhooks::default(), AtomicUsize::new(0));
        for (revision, expected) in [(7, 1), (7, 1), (8, 2)] {
            let all = (0..10).map(|_| webhooks.index(|| Some(Seen(&reads, revision))));
            let all: Vec<Arc<Index>> = futures::future::join_all(all).await.into_iter().flatten().collect();
            assert!(all.len() == 10 && all.iter().all(|one| Arc::ptr_eq(one, &all[0])));
            assert_eq!(reads.load(Ordering::Relaxed), expected);
        }
        assert!(webhooks.index(|| None::<Seen<'_>>).await.is_none(), "nobody knows yet");
    }
}

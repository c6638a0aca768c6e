//! ServiceAccount: an identity for pods; its `token` subresource gives tokens.

use corten_api::Problems;
use k8s_openapi::api::core::v1::ServiceAccount;

use super::{Cell, Column, Kind, cells};

const COLUMNS: &[Column] =
    &[cells::NAME, cells::integer("Secrets", "How many secrets pods of this account may use"), cells::AGE];

impl Kind for ServiceAccount {
    const SINGULAR: &'static str = "serviceaccount";
    const SHORT_NAMES: &'static [&'static str] = &["sa"];
    const STORE_PREFIX: &'static str = "serviceaccounts";
    const DELETE_RETURNS_OBJECT: bool = true;
    const SUBRESOURCES: &'static [&'static str] = &["token"];

    strategy!();
    fn validate(&self, _problems: &mut Problems) {}
    fn warnings(&self, old: Option<&Self>) -> Vec<String> {
        const MOUNTABLE: &str = "kubernetes.io/enforce-mountable-secrets";
        const WHY: &str = "deprecated in v1.32+; prefer separate namespaces to isolate access to mounted secrets";
        let has = |of: &Self| of.metadata.annotations.as_ref().is_some_and(|all| all.contains_key(MOUNTABLE));
        let is_told = has(self) && !old.is_some_and(has);
        is_told.then(|| format!("metadata.annotations[{MOUNTABLE}]: {WHY}")).into_iter().collect()
    }
    fn columns() -> &'static [Column] {
        COLUMNS
    }
    fn row(&self, now_secs: i64) -> Vec<Cell> {
        let secrets = self.secrets.as_ref().map_or(0, Vec::len);
        vec![cells::name(&self.metadata), Cell::count(secrets), cells::age(&self.metadata, now_secs)]
    }
}

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
    const SUBRESOURCES: &'static [&'static str] = &["token"];
    const UNCONDITIONAL_UPDATE: bool = false;

    fn validate(&self, _problems: &mut Problems) {}
    fn columns() -> &'static [Column] {
        COLUMNS
    }
    fn row(&self, now_secs: i64) -> Vec<Cell> {
        let secrets = self.secrets.as_ref().map_or(0, Vec::len);
        vec![cells::name(&self.metadata), Cell::count(secrets), cells::age(&self.metadata, now_secs)]
    }
}

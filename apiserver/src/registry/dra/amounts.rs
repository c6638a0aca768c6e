//! How much of what. Malformed amounts are refused, and nothing more is asked of them.

use std::collections::BTreeMap;

use corten_api::Problems;
use corten_api::quantity::Quantity;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity as Wire;

use super::names;
use crate::registry::path::Path;
use crate::registry::quantities;

/// One that may be left out, which reads as an empty text and means nothing at all.
pub fn given(wire: &Wire, at: &Path<'_>, problems: &mut Problems) -> Option<Quantity> {
    if wire.0.is_empty() { Quantity::parse("0").ok() } else { quantities::well_formed(problems, at, wire) }
}

pub fn by_name(amounts: Option<&BTreeMap<String, Wire>>, map: &Path<'_>, problems: &mut Problems) {
    for (name, wire) in amounts.into_iter().flatten() {
        quantities::well_formed(problems, &map.key(&names::shown(name, names::QUALIFIED_BYTES_MAX)), wire);
    }
}

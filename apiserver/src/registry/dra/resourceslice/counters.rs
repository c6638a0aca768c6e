//! Counters: what devices share, such as the memory that is divided among them.

use std::collections::BTreeMap;

use corten_api::Problems;
use k8s_openapi::api::resource::v1::{Counter, CounterSet, DeviceCounterConsumption};

use crate::registry::check;
use crate::registry::dra::{amounts, lists, names};
use crate::registry::path::Path;

const SETS_OF_DEVICE_MAX: usize = 2;
const COUNTERS_MAX: usize = 32;
const LABEL_BYTES_MAX: usize = 63;

pub(super) fn set(set: &CounterSet, at: &Path<'_>, problems: &mut Problems) {
    name(&set.name, &at.field("name"), problems);
    counters(&set.counters, &at.field("counters"), problems);
}

pub(super) fn consumed(consumed: Option<&Vec<DeviceCounterConsumption>>, list: &Path<'_>, problems: &mut Problems) {
    let consumed = lists::bounded(consumed, SETS_OF_DEVICE_MAX, list, problems);
    for (i, one) in consumed.iter().enumerate() {
        let at = list.index(i);
        name(&one.counter_set, &at.field("counterSet"), problems);
        counters(&one.counters, &at.field("counters"), problems);
    }
    lists::unique(consumed, |one| &one.counter_set, list, problems);
}

fn name(name: &str, at: &Path<'_>, problems: &mut Problems) {
    match name {
        "" => problems.required(at, ""),
        name => check::dns_label(problems, at, name),
    }
}

fn counters(counters: &BTreeMap<String, Counter>, at: &Path<'_>, problems: &mut Problems) {
    match counters.len() {
        0 => problems.required(at, ""),
        1..=COUNTERS_MAX => {}
        count => return problems.too_many(at, count, COUNTERS_MAX),
    }
    for (name, counter) in counters {
        let shown = names::shown(name, LABEL_BYTES_MAX);
        let at = at.key(&shown);
        check::dns_label(problems, &at, name);
        amounts::given(&counter.value, &at.field("value"), problems);
    }
}

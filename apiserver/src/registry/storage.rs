//! storage.k8s.io: classes of volumes, their drivers, and which volume is attached where.

pub mod csidriver;
pub mod csinode;
pub mod csistoragecapacity;
pub mod storageclass;
pub mod volumeattachment;
pub mod volumeattributesclass;

use std::collections::BTreeMap;

use corten_api::Problems;

use super::check;
use super::path::Path;

const PARAMETERS_MAX: usize = 512;
/// All parameters of a class together, keys and values.
const PARAMETERS_BYTES_MAX: usize = 256 * 1024;

/// Whose driver makes the volumes of a class: a qualified name, in any case.
fn provisioner(problems: &mut Problems, at: &Path<'_>, name: &str) {
    if name.is_empty() {
        problems.required(at, "");
    } else {
        check::qualified_name(problems, at, &name.to_lowercase());
    }
}

/// What a class tells its driver. Only the driver knows what it means.
fn parameters(problems: &mut Problems, at: &Path<'_>, parameters: Option<&BTreeMap<String, String>>) {
    let count = parameters.map_or(0, BTreeMap::len);
    if count > PARAMETERS_MAX {
        return problems.too_long(at, PARAMETERS_MAX);
    }
    let mut bytes = 0;
    for (key, value) in parameters.into_iter().flatten() {
        if key.is_empty() {
            problems.invalid(at, key, "field can not be empty.");
        }
        bytes += key.len() + value.len();
    }
    if bytes > PARAMETERS_BYTES_MAX {
        problems.too_long(at, PARAMETERS_BYTES_MAX);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::check::testing::texts;

    #[test]
    fn parameters_are_few_and_small_and_have_names() {
        let of = |list: Vec<(String, String)>| {
            let mut problems = Problems::default();
            parameters(&mut problems, &Path::root("parameters"), Some(&list.into_iter().collect()));
            texts(&problems)
        };
        let many = |n: usize| (0..n).map(|n| (n.to_string(), String::new())).collect::<Vec<_>>();
        let big = |bytes: usize| vec![("k".to_owned(), "x".repeat(bytes - 1))];
        assert!(of(many(512)).is_empty());
        assert_eq!(of(many(513)), ["parameters: Too long: may not be more than 512 bytes"]);
        assert!(of(big(256 << 10)).is_empty());
        assert_eq!(of(big((256 << 10) + 1)), ["parameters: Too long: may not be more than 262144 bytes"]);
        assert_eq!(
            of(vec![(String::new(), "x".into())]),
            [r#"parameters: Invalid value: "": field can not be empty."#]
        );
    }
}

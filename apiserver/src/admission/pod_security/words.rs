//! How violations name things.

/// One or many.
pub(super) fn plural(count: usize, one: &'static str, many: &'static str) -> &'static str {
    if count == 1 { one } else { many }
}

/// `"a", "b"`
pub(super) fn quoted<T: AsRef<str>>(items: impl IntoIterator<Item = T>) -> String {
    items.into_iter().map(|item| format!("\"{}\"", item.as_ref())).collect::<Vec<_>>().join(", ")
}

/// `container "a"`, `containers "a", "b"`
pub(super) fn containers(names: &[&str]) -> String {
    format!("{} {}", plural(names.len(), "container", "containers"), quoted(names))
}

/// Who set something, the pod for all or containers for themselves; `None`: nobody.
pub(super) fn setters(pod: bool, names: &[&str]) -> Option<String> {
    match (pod, names) {
        (false, []) => None,
        (false, names) => Some(containers(names)),
        (true, []) => Some("pod".into()),
        (true, names) => Some(format!("pod and {}", containers(names))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn setters_are_named() {
        for (pod, names, expected) in [
            (false, &[][..], None),
            (true, &[], Some("pod")),
            (false, &["a"], Some("container \"a\"")),
            (true, &["a", "b"], Some("pod and containers \"a\", \"b\"")),
        ] {
            assert_eq!(setters(pod, names).as_deref(), expected);
        }
    }
}

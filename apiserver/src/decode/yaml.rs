//! YAML becomes JSON, with bounds for what its anchors, aliases and merge keys make of a small text.

use std::thread;

use corten_api::ApiError;
use serde_json::Value;
use serde_saphyr::{DuplicateKeyPolicy, Error};

use super::value::Budget;
use super::{DecodeError, MAX_BODY_BYTES, MAX_NESTING, path_text};

/// Parser events of one document. A body of one list item per three bytes has a third of its bytes in events.
const MAX_EVENTS: usize = MAX_BODY_BYTES / 3;
/// Events that aliases put in once more; what they hold is kept until the end.
const MAX_REPLAYED_EVENTS: usize = 100_000;
/// Aliases within what aliases stand for. Merge keys that build on each other take time by the power of their number.
const MAX_REPLAY_DEPTH: usize = 8;
const MAX_MERGE_KEYS: usize = 1000;
/// The parser calls itself for each level, and takes more than a worker's stack for [`MAX_NESTING`] of them.
const STACK_BYTES: usize = 16 * 1024 * 1024;

/// JSON text, and of the first duplicate key, if there is one, what upstream says of it: the parser stops there, and is
/// asked again to go on.
pub(super) fn to_json(bytes: &[u8]) -> Result<(Vec<u8>, Option<String>), ApiError> {
    let text =
        std::str::from_utf8(bytes).map_err(|_| ApiError::bad_request("yaml: control characters are not allowed"))?;
    thread::scope(|scope| {
        let parser = thread::Builder::new().name("yaml".into()).stack_size(STACK_BYTES);
        let parsing = parser.spawn_scoped(scope, || parse(text)).map_err(ApiError::internal)?;
        parsing.join().unwrap_or_else(|_| Err(ApiError::internal("the YAML parser failed")))
    })
}

fn parse(text: &str) -> Result<(Vec<u8>, Option<String>), ApiError> {
    let (value, duplicate) = match read(text, DuplicateKeyPolicy::Error) {
        Err(YamlError::Yaml(Error::DuplicateMappingKey { key, location })) => {
            let key = path_text(key.unwrap_or_default());
            let line = location.line();
            let finding = format!("yaml: unmarshal errors:\n  line {line}: key {key:?} already set in map");
            (read(text, DuplicateKeyPolicy::LastWins), Some(finding))
        }
        read => (read, None),
    };
    let value = value.map_err(|err| match err {
        YamlError::Yaml(err) => ApiError::bad_request(format!("error converting YAML to JSON: yaml: {err}")),
        YamlError::TooLarge => DecodeError::TooLarge.into(),
    })?;
    let json = serde_json::to_vec(&value).map_err(ApiError::internal)?;
    Ok((json, duplicate))
}

enum YamlError {
    Yaml(Error),
    TooLarge,
}

fn read(text: &str, duplicate_keys: DuplicateKeyPolicy) -> Result<Value, YamlError> {
    let options = serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_events: MAX_EVENTS,
            max_nodes: MAX_EVENTS,
            max_depth: MAX_NESTING,
            max_recorded_anchor_events: MAX_REPLAYED_EVENTS,
            max_recorded_anchor_bytes: MAX_BODY_BYTES,
            max_total_scalar_bytes: 2 * MAX_BODY_BYTES,
            max_merge_keys: MAX_MERGE_KEYS,
        },
        alias_limits: serde_saphyr::alias_limits! {
            max_total_replayed_events: MAX_REPLAYED_EVENTS,
            max_replay_stack_depth: MAX_REPLAY_DEPTH,
        },
        duplicate_keys: duplicate_keys,
        with_snippet: false,
    };
    let budget = Budget::default();
    let value = serde_saphyr::with_deserializer_from_str_with_options(text, options, |yaml| budget.read(yaml));
    value.map_err(|err| if budget.is_spent() { YamlError::TooLarge } else { YamlError::Yaml(err) })
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;

    /// A worker's stack is 2 MiB; what is tried here needs more or is refused.
    #[test]
    fn no_yaml_takes_the_stack_the_memory_or_minutes() {
        let chain =
            |first: &str, next: fn(usize) -> String, n: usize| first.to_owned() + &(1..n).map(next).collect::<String>();
        let merge = |n| format!("a{n}: &a{n} {{<<: *a{}, b{n}: c}}\n", n - 1);
        let alias = |n| format!("a{n}: &a{n} [*a{}]\n", n - 1);
        let wide = format!("a: &a [{}]\n", "x,".repeat(10_000));
        let cases = [
            ("deep, and allowed", format!("{}{}", "[".repeat(99), "]".repeat(99)), true),
            ("too deep", "[".repeat(101), false),
            ("an alias", "a: &a [x]\nb: *a\n".to_owned(), true),
            ("a merge key", "a: &a {x: y}\nb: {<<: *a, z: 1}\n".to_owned(), true),
            ("aliases of aliases", chain("a0: &a0 [x]\n", alias, 300_000), false),
            ("merges of merges", chain("a0: &a0 {x: y}\n", merge, 99), false),
            (
                "one anchor, many aliases",
                wide.clone() + &(0..1000).map(|n| format!("b{n}: *a\n")).collect::<String>(),
                false,
            ),
            ("a million items", format!("[{}]", "{},".repeat(1_000_000)), false),
            ("small maps", format!("[{}]", "{a: 1},".repeat(300_000)), false),
        ];
        for (why, text, good) in cases {
            let began = Instant::now();
            let read = to_json(text.as_bytes());
            assert_eq!(read.is_ok(), good, "{why}: {:?}", read.err());
            // Seconds at most; the bound is what a busy machine may make of them.
            assert!(began.elapsed() < Duration::from_secs(90), "{why}: {:?}", began.elapsed());
            assert!(read.map_or_else(|err| err.code(), |_| 200) < 500, "{why}");
        }
    }
}

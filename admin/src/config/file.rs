//! Reads a configuration file. A key that there is not is refused with the one that may have been meant.
use std::path::Path;

use serde_json::{Map, Value};

use super::{API_VERSION, ConfigError, Invalid, KIND, Settings};

/// A key of more letters than this away from every one that there is has no nearest.
const TYPOS_MAX: usize = 4;

pub(super) fn read(path: &Path) -> Result<Settings, ConfigError> {
    let text = std::fs::read_to_string(path).map_err(|source| ConfigError::Read { path: path.into(), source })?;
    let value: Value = serde_saphyr::from_str(&text)
        .map_err(|source| ConfigError::Yaml { path: path.into(), source: Box::new(source) })?;
    parse(value).map_err(|invalid| ConfigError::InFile { path: path.into(), invalid })
}

pub(super) fn parse(value: Value) -> Result<Settings, Invalid> {
    let Value::Object(mut map) = value else {
        return Err(Invalid::new(
            "apiVersion",
            format!("the file must have keys, apiVersion: {API_VERSION} among them"),
        ));
    };
    for (key, wanted) in [("apiVersion", API_VERSION), ("kind", KIND)] {
        match map.remove(key) {
            Some(Value::String(given)) if given == wanted => {}
            Some(given) => return Err(Invalid::new(key, format!("must be {wanted}, not {given}"))),
            None => return Err(Invalid::new(key, format!("is missing: it must be {wanted}"))),
        }
    }
    let known = known_keys();
    // Each by itself, so that an error can name the key.
    for (key, value) in &map {
        if !known.contains(key) {
            return Err(Invalid::new(key, unknown(key, &known)));
        }
        if value.is_null() {
            return Err(Invalid::new(key, "has no value: give one, or leave the line out for the default"));
        }
        let alone = Map::from_iter([(key.clone(), value.clone())]);
        settings(alone).map_err(|error| Invalid::new(key, error.to_string()))?;
    }
    settings(map).map_err(|error| Invalid::new(KIND, error.to_string()))
}

fn settings(map: Map<String, Value>) -> Result<Settings, serde_json::Error> {
    serde_json::from_value(Value::Object(map))
}

/// What serde names the fields of [`Settings`].
fn known_keys() -> Vec<String> {
    match serde_json::to_value(Settings::default()) {
        Ok(Value::Object(all)) => all.into_iter().map(|(key, _)| key).collect(),
        Ok(_) | Err(_) => Vec::new(),
    }
}

fn unknown(key: &str, known: &[String]) -> String {
    let far = |one: &str| distance(&key.to_lowercase(), &one.to_lowercase());
    let nearest = known.iter().min_by_key(|one| far(one)).filter(|one| far(one) <= TYPOS_MAX);
    let advice = nearest.map_or_else(|| format!("there are {}", known.join(", ")), |one| format!("is it {one}?"));
    format!("there is no such setting: {advice}")
}

/// How many letters have to be put in, taken out or changed (Levenshtein).
fn distance(one: &str, other: &str) -> usize {
    let other: Vec<char> = other.chars().collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (at, letter) in one.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = at + 1;
        for (column, with) in other.iter().enumerate() {
            let changed = diagonal + usize::from(letter != *with);
            diagonal = row[column + 1];
            row[column + 1] = changed.min(row[column] + 1).min(diagonal + 1);
        }
    }
    row[other.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances() {
        for (one, other, expected) in
            [("", "", 0), ("abc", "abc", 0), ("abc", "", 3), ("kitten", "sitting", 3), ("ab", "ba", 2)]
        {
            assert_eq!(distance(one, other), expected, "{one} {other}");
        }
    }
}

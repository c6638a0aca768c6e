//! Where a rule's fault is told of, below the value that it stands at: `.spec.color`, `.labels['a.b']`.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{JSONSchemaProps, JSONSchemaPropsOrBool};

/// The path as messages have it: `spec.color`, `labels[a.b]`. Fails, in upstream's words, where it leads to no field that is
/// declared.
pub(super) fn normal(schema: &JSONSchemaProps, path: &str) -> Result<String, String> {
    let (mut at, mut rest, mut out) = (schema, path, String::new());
    while !rest.is_empty() {
        let (name, after) = step(rest)?;
        let nowhere = || "does not refer to a valid field".to_owned();
        if let Some(properties) = &at.properties {
            at = properties.get(&name).ok_or_else(nowhere)?;
            if !out.is_empty() {
                out.push('.');
            }
            out.push_str(&name);
        } else {
            let Some(JSONSchemaPropsOrBool::Schema(values)) = &at.additional_properties else { return Err(nowhere()) };
            at = values;
            out.push_str(&format!("[{name}]"));
        }
        rest = after;
    }
    Ok(out)
}

/// The first step of a path, and what is behind it.
fn step(path: &str) -> Result<(String, &str), String> {
    let early = || "unexpected end of JSON path".to_owned();
    if let Some(rest) = path.strip_prefix('.') {
        let end = rest.find(['.', '[', ']']).unwrap_or(rest.len());
        return if end == 0 { Err(early()) } else { Ok((rest[..end].to_owned(), &rest[end..])) };
    }
    let Some(rest) = path.strip_prefix('[') else { return Err(format!("expected [ or . but got: {path}")) };
    let Some(quoted) = rest.strip_prefix('\'') else {
        return Err(format!("expected single quoted string but got {rest}"));
    };
    let (mut name, mut chars) = (String::new(), quoted.char_indices());
    while let Some((at, c)) = chars.next() {
        match c {
            '\'' => {
                let rest = &quoted[at + 1..];
                let after = rest.strip_prefix(']').ok_or_else(|| format!("expected ] but got {rest}"))?;
                return Ok((name, after));
            }
            '\\' => name.push(match chars.next() {
                Some((_, 'a')) => '\u{7}',
                Some((_, 'b')) => '\u{8}',
                Some((_, 'f')) => '\u{c}',
                Some((_, 'n')) => '\n',
                Some((_, 'r')) => '\r',
                Some((_, 't')) => '\t',
                Some((_, 'v')) => '\u{b}',
                Some((_, c @ ('\'' | '\\'))) => c,
                Some((_, c)) => return Err(format!("invalid string literal: invalid escape char \\{c}")),
                None => return Err(early()),
            }),
            c => name.push(c),
        }
    }
    Err(early())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::super::testing::props;
    use super::*;

    #[test]
    fn paths_lead_to_declared_fields() {
        let schema = props(json!({"type": "object", "properties": {
            "a": {"type": "object", "properties": {"b.c": {"type": "string"}}},
            "m": {"type": "object", "additionalProperties": {"type": "string"}},
        }}));
        for (path, expected) in [
            (".a", Ok("a")),
            (".a['b.c']", Ok("a.b.c")),
            (".m['it\\'s']", Ok("m[it's]")),
            (".x", Err("does not refer to a valid field")),
            (".a.b", Err("does not refer to a valid field")),
            ("a", Err("expected [ or . but got: a")),
            (".a['b", Err("unexpected end of JSON path")),
            (".", Err("unexpected end of JSON path")),
        ] {
            assert_eq!(normal(&schema, path), expected.map(str::to_owned).map_err(str::to_owned), "{path}");
        }
    }
}

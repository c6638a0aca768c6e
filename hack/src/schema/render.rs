//! Types as lines of text: what the apiserver reads, and what a reviewer sees change.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::document::{Field, Type};
use super::structs::{Structs, Tag, Zero};

const HEAD: &str = "\
# The built-in types of the Kubernetes API v1.37: facts of the published OpenAPI document and of the types' struct tags.
# Written by `corten-hack schema`; read by schema/text.rs, which says what the lines mean. Do not edit.
";

/// The table, and the fields (`Type.field`) that no struct tag was found for.
pub(super) fn table(types: &BTreeMap<String, Type>, structs: &Structs) -> (String, Vec<String>) {
    let (mut text, mut unknown) = (HEAD.to_owned(), Vec::new());
    for (name, of) in types {
        // Writing to a String cannot fail.
        let _ = write!(text, "\n{name}");
        if let Some([group, version, kind]) = &of.kind {
            let slash = if group.is_empty() { "" } else { "/" };
            let _ = write!(text, " kind={group}{slash}{version},{kind}");
        }
        if of.atomic {
            text.push_str(" atomic");
        }
        for union in &of.unions {
            let _ = write!(text, " union={union}");
        }
        text.push('\n');
        for (field, facts) in &of.fields {
            let tag = structs.tag(name, field);
            if tag.is_none() {
                unknown.push(format!("{name}.{field}"));
            }
            text.push_str(&line(field, facts, tag));
        }
    }
    (text, unknown)
}

fn line(name: &str, field: &Field, tag: Option<Tag>) -> String {
    let tag = tag.unwrap_or(Tag { around: Vec::new(), number: 0, zero: Zero::Omitted, wrapped: false, default: None });
    let number = match tag.number {
        0 => "-".to_owned(),
        own => tag.around.iter().map(|number| format!("{number}.")).chain([own.to_string()]).collect(),
    };
    let pointer = if tag.zero == Zero::Pointer { "*" } else { "" };
    let type_name =
        if tag.wrapped { field.type_name.replace("[]string", "ExtraValue") } else { field.type_name.clone() };
    let mut line = format!("  {name} {number} {pointer}{type_name}");
    if field.required {
        line.push_str(" required");
    }
    if tag.zero == Zero::Omitted {
        line.push_str(" omitempty");
    }
    if let Some(default) = &tag.default {
        line.push_str(" default=");
        line.push_str(default);
    }
    for mark in &field.marks {
        line.push(' ');
        line.push_str(mark);
    }
    line.push('\n');
    line
}

#[cfg(test)]
mod tests {
    use std::{env, fs};

    use super::super::document;
    use super::*;

    const TABLE: &str = include_str!("../../../apiserver/src/schema/builtin.txt");

    #[test]
    fn a_line_says_all_that_is_known_of_a_field() {
        let field = |type_name: &str, required, marks: &[&str]| Field {
            type_name: type_name.into(),
            required,
            marks: marks.iter().map(ToString::to_string).collect(),
        };
        let tag =
            |around: &[u32], number, zero| Tag { around: around.to_vec(), number, zero, wrapped: false, default: None };
        let extra = Tag { wrapped: true, default: Some("{}".into()), ..tag(&[], 4, Zero::Omitted) };
        for (expected, field, tag) in [
            ("  f 2 string required\n", field("string", true, &[]), Some(tag(&[], 2, Zero::Written))),
            ("  f 2.1 *int32 map=atomic\n", field("int32", false, &["map=atomic"]), Some(tag(&[2], 1, Zero::Pointer))),
            ("  f 2.2.1 string\n", field("string", false, &[]), Some(tag(&[2, 2], 1, Zero::Written))),
            (
                "  f 4 map[string]ExtraValue omitempty default={}\n",
                field("map[string][]string", false, &[]),
                Some(extra),
            ),
            ("  f - bool omitempty\n", field("bool", false, &[]), None),
        ] {
            assert_eq!(line("f", &field, tag), expected);
        }
    }

    /// The committed table beside the document that CORTEN_OPENAPI_DOCUMENT names: every type, field and mark.
    #[test]
    fn the_table_is_the_published_documents() {
        let Ok(path) = env::var("CORTEN_OPENAPI_DOCUMENT") else {
            println!("skipped: CORTEN_OPENAPI_DOCUMENT names no published document (swagger.json of v1.37)");
            return;
        };
        let published = document::types(&serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()).unwrap();
        let (expected, _) = table(&published, &Structs::default());
        // Without struct tags numbers, pointers and defaults are not known: they are left out of both.
        let plain = |text: &str| -> Vec<String> {
            let line = |line: &str| {
                let Some(field) = line.strip_prefix("  ") else { return line.to_owned() };
                let mut words: Vec<&str> = field.split(' ').collect();
                words.remove(1);
                words.retain(|word| *word != "omitempty" && !word.starts_with("default="));
                words.join(" ").replace(" *", " ").replace("ExtraValue", "[]string")
            };
            text.lines().map(line).collect()
        };
        for (have, want) in plain(TABLE).into_iter().zip(plain(&expected)) {
            assert_eq!(have, want);
        }
        assert_eq!(TABLE.lines().count(), expected.lines().count());
    }
}

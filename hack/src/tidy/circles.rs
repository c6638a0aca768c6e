//! Modules of one room that use each other: the pairs there are today, and no new ones.
//!
//! Looks at a room's top modules (`cache.rs` with all of `cache/`) and at pairs: a longer circle is not seen.
use std::collections::BTreeSet;

use super::Finding;
use super::lexer::blank_out;
use super::source::{is_test_file, tests_start};

/// (room, module, module). This list only gets shorter: who needs a new pair moves what both want into a third module.
const KNOWN: &[(&str, &str, &str)] = &[
    ("apiserver", "cache", "resources"),
    ("apiserver", "connect", "rest"),
    ("apiserver", "discovery", "rest"),
    ("apiserver", "health", "rest"),
    ("client", "args", "endpoints"),
    ("client", "bind", "client"),
    ("controllers", "children", "context"),
    ("hack", "images", "lab"),
    ("kubelet", "cluster", "sources"),
    ("kubelet", "images", "runtime"),
    ("kubelet", "place", "pod"),
    ("kubelet", "pod", "probes"),
    ("kubelet", "pod", "server"),
    ("kubelet", "pods", "static_pods"),
];

/// Which module uses which, by room.
#[derive(Default)]
pub(super) struct Uses(BTreeSet<(String, String, String)>);

impl Uses {
    /// Takes in a source file. Tests may use what they like.
    pub(super) fn note(&mut self, path: &str, text: &str) {
        let Some((room, inside)) = path.split_once("/src/") else { return };
        let top = inside.split('/').next().unwrap_or(inside).trim_end_matches(".rs");
        if is_test_file(path) || matches!(top, "lib" | "main" | "bin") {
            return;
        }
        let code = blank_out(text);
        let lines: Vec<&str> = code.lines().collect();
        let code = lines[..tests_start(&lines)].join("\n");
        // In a room's topmost files `super` is the crate.
        let roots: &[&str] = if inside.contains('/') { &["crate::"] } else { &["crate::", "super::"] };
        for module in roots.iter().flat_map(|root| named(&code, root)) {
            self.0.insert((room.to_owned(), top.to_owned(), module));
        }
    }

    pub(super) fn check(&self) -> Vec<Finding> {
        self.compare(KNOWN)
    }

    fn compare(&self, known: &[(&str, &str, &str)]) -> Vec<Finding> {
        let uses = |room: &str, one: &str, other: &str| self.0.contains(&(room.into(), one.into(), other.into()));
        let is_circle = |room: &str, one: &str, other: &str| uses(room, one, other) && uses(room, other, one);
        let new = self.0.iter().filter(|(room, one, other)| {
            one < other && is_circle(room, one, other) && !known.contains(&(&**room, &**one, &**other))
        });
        let new = new.map(|(room, one, other)| {
            format!("{room}: {one} and {other} use each other: put what both want into a third module")
        });
        let old = known.iter().filter(|(room, one, other)| !is_circle(room, one, other));
        let old = old.map(|(room, one, other)| {
            format!(
                "{room}: {one} and {other} no longer use each other: take them off the list in hack/src/tidy/circles.rs"
            )
        });
        new.chain(old).map(Finding::error).collect()
    }
}

/// The names that follow `root` in paths, one by one or as a group: `crate::a::b`, `crate::{a::{b, c}, d}`.
fn named(code: &str, root: &str) -> Vec<String> {
    let is_word = |letter: char| letter.is_alphanumeric() || letter == '_';
    let word = |text: &str| text.chars().take_while(|letter| is_word(*letter)).collect::<String>();
    let mut found = Vec::new();
    for (at, _) in code.match_indices(root) {
        // `super::super::` and `$crate::` are other roots.
        if code[..at].ends_with(|before: char| is_word(before) || before == ':' || before == '$') {
            continue;
        }
        let rest = &code[at + root.len()..];
        match rest.strip_prefix('{') {
            Some(group) => found.extend(members(group).into_iter().map(|member| word(member.trim_start()))),
            None => found.push(word(rest)),
        }
    }
    found.retain(|name| !name.is_empty());
    found
}

/// The members of a group whose opening brace is behind us.
fn members(group: &str) -> Vec<&str> {
    let (mut depth, mut begin, mut found) = (0_u32, 0, Vec::new());
    for (at, letter) in group.char_indices() {
        match letter {
            '{' => depth += 1,
            ',' if depth == 0 => {
                found.push(&group[begin..at]);
                begin = at + 1;
            }
            '}' if depth == 0 => {
                found.push(&group[begin..at]);
                return found;
            }
            '}' => depth -= 1,
            _ => {}
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modules_are_found_where_they_are_named() {
        let cases: [(&str, &[&str]); 6] = [
            ("use crate::a::b;", &["a"]),
            ("let x = crate::a::b();", &["a"]),
            ("use crate::{a::{b, c}, d,\n    e::F};", &["a", "d", "e"]),
            ("use corten_api::a; macro!($crate::a)", &[]),
            ("use super::a::B;", &["a"]),
            ("use super::super::a::B;", &["super"]),
        ];
        for (code, expected) in cases {
            let all: Vec<String> = ["crate::", "super::"].iter().flat_map(|root| named(code, root)).collect();
            assert_eq!(all, expected, "{code}");
        }
    }

    #[test]
    fn a_circle_is_told_unless_it_is_on_the_list_and_the_list_only_gets_shorter() {
        let mut uses = Uses::default();
        for (path, text) in [
            ("kubelet/src/a/x.rs", "use crate::b::B;"),
            ("kubelet/src/b.rs", "use super::{c::C, a};"),
            (
                "kubelet/src/c.rs",
                "// use crate::b;\nconst S: &str = \"crate::b\";\n#[cfg(test)]\nmod tests {\n    use crate::b;\n}",
            ),
            ("kubelet/src/c/tests.rs", "use crate::b;"),
            ("proxy/src/a.rs", "use crate::b;"),
        ] {
            uses.note(path, text);
        }
        let told = |known: &[(&str, &str, &str)]| -> Vec<String> {
            uses.compare(known).into_iter().map(|finding| finding.text).collect()
        };
        let new = told(&[]);
        assert!(new.len() == 1 && new[0].starts_with("kubelet: a and b use each other"), "{new:?}");
        assert!(told(&[("kubelet", "a", "b")]).is_empty());
        let old = told(&[("kubelet", "a", "b"), ("kubelet", "b", "c")]);
        assert!(old.len() == 1 && old[0].starts_with("kubelet: b and c no longer"), "{old:?}");
    }
}

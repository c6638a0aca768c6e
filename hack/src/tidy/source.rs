//! Checks one .rs file by itself.
use super::Finding;
use super::lexer::blank_out;

const LINES_MAX: usize = 600;
const LINES_WARN: usize = 400;
const FUNCTION_LINES_MAX: usize = 70;
/// Marks of work that is not done.
const UNDONE: [&str; 3] = ["todo!", "unimplemented!", "dbg!"];
const VAGUE_NAMES: [&str; 5] = ["util", "utils", "common", "helpers", "misc"];

pub(super) fn check(path: &str, text: &str) -> Vec<Finding> {
    let mut found = Vec::new();
    let first = text.lines().next().unwrap_or_default();
    if first.strip_prefix("//! ").is_none_or(|says| says.len() <= 4) {
        found.push(Finding::error(format!("{path}:1: say in one `//!` line what a reader finds here")));
    }
    let name = path.rsplit('/').next().unwrap_or(path);
    if name == "mod.rs" {
        found.push(Finding::error(format!("{path}: call it after its module (foo.rs beside foo/), not mod.rs")));
    }
    if VAGUE_NAMES.contains(&name.trim_end_matches(".rs")) {
        found.push(Finding::error(format!("{path}: name it by what is in it")));
    }
    let code = blank_out(text);
    for (number, line) in code.lines().enumerate() {
        if let Some(word) = UNDONE.iter().find(|word| line.contains(**word)) {
            found.push(Finding::error(format!("{path}:{}: `{word}` is not for code that lands", number + 1)));
        }
    }
    if !is_test_file(path) {
        found.extend(check_lengths(path, &code));
    }
    found
}

pub(super) fn is_test_file(path: &str) -> bool {
    path.ends_with("/tests.rs") || path.contains("/tests/") || path.starts_with("e2e/")
}

fn check_lengths(path: &str, code: &str) -> Vec<Finding> {
    let mut found = Vec::new();
    let lines: Vec<&str> = code.lines().collect();
    let code_lines = &lines[..tests_start(&lines)];
    match code_lines.len() {
        count if count > LINES_MAX => found.push(Finding::error(format!(
            "{path}: {count} lines of code, at most {LINES_MAX}: split it by subject, not by size"
        ))),
        count if count > LINES_WARN => {
            found.push(Finding::warning(format!("{path}: {count} lines of code is long: is it one subject?")));
        }
        _ => {}
    }
    for (number, name, length) in functions(code_lines) {
        if length > FUNCTION_LINES_MAX {
            found.push(Finding::error(format!(
                "{path}:{number}: {name} has {length} lines, at most {FUNCTION_LINES_MAX}: a function fits on a screen"
            )));
        }
    }
    found
}

/// Where the tests in the file begin: an inline `mod … {` under `#[cfg(test)]`.
pub(super) fn tests_start(lines: &[&str]) -> usize {
    let starts = |at: usize| {
        let next = lines[at + 1..].iter().find(|line| !line.trim().is_empty()).map(|line| line.trim());
        lines[at].trim() == "#[cfg(test)]" && next.is_some_and(|next| next.contains("mod ") && next.ends_with('{'))
    };
    (0..lines.len()).find(|at| starts(*at)).unwrap_or(lines.len())
}

/// (line number, name, lines from `fn` to its closing brace) of every function with a body.
fn functions(lines: &[&str]) -> Vec<(usize, String, usize)> {
    let mut found = Vec::new();
    for (at, line) in lines.iter().enumerate() {
        if let Some(name) = function_name(line)
            && let Some(length) = body_length(&lines[at..])
        {
            found.push((at + 1, name, length));
        }
    }
    found
}

/// The name after a `fn` that stands for itself; function pointer types have none.
fn function_name(line: &str) -> Option<String> {
    let at = line.match_indices("fn ").map(|(at, _)| at).find(|at| {
        let before = line[..*at].chars().next_back();
        before.is_none_or(|before| before.is_whitespace() || before == '(')
    })?;
    let name: String = line[at + 3..].chars().take_while(|letter| letter.is_alphanumeric() || *letter == '_').collect();
    (!name.is_empty()).then_some(name)
}

fn body_length(lines: &[&str]) -> Option<usize> {
    // Braces of the body, and brackets of the signature, where a `;` may stand in an array type.
    let (mut braces, mut brackets) = (0_i32, 0_i32);
    for (count, line) in lines.iter().enumerate() {
        for letter in line.chars() {
            match letter {
                '{' => braces += 1,
                '}' => braces -= 1,
                '(' | '[' => brackets += 1,
                ')' | ']' => brackets -= 1,
                ';' if braces == 0 && brackets == 0 => return None,
                _ => continue,
            }
            if letter == '}' && braces == 0 {
                return Some(count + 1);
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn errors(path: &str, text: &str) -> Vec<String> {
        check(path, text).into_iter().filter(|finding| !finding.warning).map(|finding| finding.text).collect()
    }

    #[test]
    fn sources_are_judged() {
        let long = |lines: usize| format!("//! Much in it.\nfn long() {{\n{}}}\n", "    a();\n".repeat(lines));
        let tall = |lines: usize| format!("//! Much in it.\n{}", "const A: u8 = 1;\n".repeat(lines));
        let tested = format!("{}#[cfg(test)]\nmod tests {{\n{}}}\n", tall(10), "const A: u8 = 1;\n".repeat(700));
        let cases = [
            ("fine", "a/src/x.rs", "//! What is here.\nfn a() {}\n".to_owned(), None),
            ("no first line", "a/src/x.rs", "fn a() {}\n".to_owned(), Some("say in one")),
            ("an empty first line", "a/src/x.rs", "//! \nfn a() {}\n".to_owned(), Some("say in one")),
            ("mod.rs", "a/src/b/mod.rs", "//! What is here.\n".to_owned(), Some("not mod.rs")),
            ("a vague name", "a/src/util.rs", "//! What is here.\n".to_owned(), Some("by what is in it")),
            ("not done", "a/src/x.rs", "//! What is here.\nfn a() { todo!() }\n".to_owned(), Some("todo!")),
            ("only talked of", "a/src/x.rs", "//! No todo! in here.\nconst A: &str = \"todo!\";\n".to_owned(), None),
            ("a function of 70 lines", "a/src/x.rs", long(68), None),
            ("a function of 71 lines", "a/src/x.rs", long(69), Some("long has 71 lines")),
            ("600 lines", "a/src/x.rs", tall(599), None),
            ("601 lines", "a/src/x.rs", tall(600), Some("601 lines of code")),
            ("tests do not count", "a/src/x.rs", tested, None),
            ("test files do not count", "a/src/x/tests.rs", tall(700), None),
        ];
        for (why, path, text, expected) in cases {
            let found = errors(path, &text);
            match expected {
                None => assert!(found.is_empty(), "{why}: {found:?}"),
                Some(part) => assert!(found.len() == 1 && found[0].contains(part), "{why}: {found:?}"),
            }
        }
    }

    #[test]
    fn functions_are_found_with_their_bodies() {
        let text = "trait A {\n    fn declared(&self) -> [u8; 4];\n    fn with_body(&self) {\n        x\n    }\n}\ntype F = fn (u8);\n";
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(functions(&lines), [(3, "with_body".to_owned(), 3)]);
    }
}

//! `$(NAME)` in values, commands and arguments. `$$` is a literal `$`; a name that is not known stays as written.
//!
//! <https://kubernetes.io/docs/tasks/inject-data-application/define-interdependent-environment-variables/>

/// Replaces every `$(NAME)` that `lookup` knows.
pub fn expand(text: &str, lookup: impl Fn(&str) -> Option<String>) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        out.push_str(&rest[..at]);
        let after = &rest[at + 1..];
        if let Some(tail) = after.strip_prefix('$') {
            out.push('$');
            rest = tail;
        } else if let Some((name, tail)) = after.strip_prefix('(').and_then(|inner| inner.split_once(')')) {
            match lookup(name) {
                Some(value) => out.push_str(&value),
                None => {
                    out.push_str("$(");
                    out.push_str(name);
                    out.push(')');
                }
            }
            rest = tail;
        } else {
            out.push('$');
            rest = after;
        }
    }
    out.push_str(rest);
    out
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("missing value for {name:?}")]
pub struct UnknownVariable {
    pub name: String,
}

/// The same where a name that is not known must not be taken for text: it would become part of a path.
pub fn expand_known(text: &str, lookup: impl Fn(&str) -> Option<String>) -> Result<String, UnknownVariable> {
    let unknown = std::cell::RefCell::new(None);
    let noting = |name: &str| {
        let value = lookup(name);
        if value.is_none() {
            unknown.borrow_mut().get_or_insert_with(|| name.to_owned());
        }
        value
    };
    let expanded = expand(text, noting);
    unknown.into_inner().map_or(Ok(expanded), |name| Err(UnknownVariable { name }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expansions() {
        let lookup = |name: &str| match name {
            "A" => Some("1".to_owned()),
            "EMPTY" => Some(String::new()),
            _ => None,
        };
        let cases = [
            ("plain", "plain"),
            ("$(A)", "1"),
            ("x$(A)y$(A)", "x1y1"),
            ("$(EMPTY)|", "|"),
            ("$(UNKNOWN)", "$(UNKNOWN)"),
            ("$$(A)", "$(A)"),
            ("$$$(A)", "$1"),
            ("$$$$(A)", "$$(A)"),
            ("$A", "$A"),
            ("$(A", "$(A"),
            ("a$", "a$"),
            ("$()", "$()"),
        ];
        for (text, expected) in cases {
            assert_eq!(expand(text, lookup), expected, "{text}");
        }
    }

    #[test]
    fn a_variable_that_is_missing_is_no_part_of_a_path() {
        let lookup = |name: &str| (name == "A").then(|| "1".to_owned());
        let cases = [
            ("plain", Ok("plain")),
            ("$(A)/x", Ok("1/x")),
            ("$$(GONE)", Ok("$(GONE)")),
            ("$(A)/$(GONE)/$(TOO)", Err("missing value for \"GONE\"")),
        ];
        for (text, expected) in cases {
            let got = expand_known(text, lookup).map_err(|err| err.to_string());
            assert_eq!(got.as_deref().map_err(String::as_str), expected, "{text}");
        }
    }
}

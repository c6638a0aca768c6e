//! `$(NAME)` in values, commands and arguments. `$$` is a literal `$`; a name that is not known stays as written.
//!
//! <https://kubernetes.io/docs/tasks/inject-data-application/define-interdependent-environment-variables/>

/// Bytes of a container's variables and arguments together. The kernel runs no process with more (a quarter of the usual
/// stack limit), and a few short variables that name each other twice would otherwise grow without end.
pub const PROCESS_BYTES_MAX: usize = 2 << 20;
/// Of one path: the kernel takes none that is longer.
const PATH_BYTES_MAX: usize = 4096;

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ExpandError {
    #[error("missing value for {name:?}")]
    Unknown { name: String },
    #[error("with all variables expanded it has more than the {max} bytes that the kernel takes")]
    TooLarge { max: usize },
}

/// How much more may be written before [`ExpandError::TooLarge`].
#[derive(Debug)]
pub struct Room {
    left: usize,
    max: usize,
}

impl Room {
    pub fn new(max: usize) -> Self {
        Self { left: max, max }
    }

    /// Asked before anything is copied.
    pub fn take(&mut self, bytes: usize) -> Result<(), ExpandError> {
        self.left = self.left.checked_sub(bytes).ok_or(ExpandError::TooLarge { max: self.max })?;
        Ok(())
    }
}

/// Replaces every `$(NAME)` that `lookup` knows, as far as there is room.
pub fn expand<'a>(
    text: &'a str,
    lookup: impl Fn(&str) -> Option<&'a str>,
    room: &mut Room,
) -> Result<String, ExpandError> {
    let mut out = String::new();
    let mut push = |part: &str| -> Result<(), ExpandError> {
        room.take(part.len())?;
        out.push_str(part);
        Ok(())
    };
    let mut rest = text;
    // Looked for once: a text of nothing but `$(` would be read to its end at each of them.
    let last_close = text.rfind(')').map_or("", |at| &text[at..]);
    while let Some(at) = rest.find('$') {
        push(&rest[..at])?;
        let after = &rest[at + 1..];
        let closes = after.len() >= last_close.len() && !last_close.is_empty();
        if let Some(tail) = after.strip_prefix('$') {
            push("$")?;
            rest = tail;
        } else if closes && let Some((name, tail)) = after.strip_prefix('(').and_then(|inner| inner.split_once(')')) {
            match lookup(name) {
                Some(value) => push(value)?,
                None => push(&rest[at..rest.len() - tail.len()])?,
            }
            rest = tail;
        } else {
            push("$")?;
            rest = after;
        }
    }
    push(rest)?;
    Ok(out)
}

/// The same for a path: a name that is not known must not be taken for a part of it.
pub fn expand_path<'a>(text: &'a str, lookup: impl Fn(&str) -> Option<&'a str>) -> Result<String, ExpandError> {
    let unknown = std::cell::RefCell::new(None);
    let noting = |name: &str| {
        let value = lookup(name);
        if value.is_none() {
            unknown.borrow_mut().get_or_insert_with(|| name.to_owned());
        }
        value
    };
    let expanded = expand(text, noting, &mut Room::new(PATH_BYTES_MAX))?;
    unknown.into_inner().map_or(Ok(expanded), |name| Err(ExpandError::Unknown { name }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expansions() {
        let lookup = |name: &str| match name {
            "A" => Some("1"),
            "EMPTY" => Some(""),
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
            ("$(A)$(A", "1$(A"),
            ("$(A$(A)", "$(A$(A)"),
            ("a$", "a$"),
            ("$()", "$()"),
        ];
        for (text, expected) in cases {
            assert_eq!(expand(text, lookup, &mut Room::new(100)).as_deref(), Ok(expected), "{text}");
        }
    }

    #[test]
    fn a_variable_that_is_missing_is_no_part_of_a_path() {
        let lookup = |name: &str| (name == "A").then_some("1");
        let cases = [
            ("plain", Ok("plain")),
            ("$(A)/x", Ok("1/x")),
            ("$$(GONE)", Ok("$(GONE)")),
            ("$(A)/$(GONE)/$(TOO)", Err("missing value for \"GONE\"")),
        ];
        for (text, expected) in cases {
            let got = expand_path(text, lookup).map_err(|err| err.to_string());
            assert_eq!(got.as_deref().map_err(String::as_str), expected, "{text}");
        }
    }

    #[test]
    fn a_text_grows_no_further_than_there_is_room() {
        let value = "x".repeat(1 << 20);
        let lookup = |name: &str| (name == "A").then_some(value.as_str());
        let text = "$(A)".repeat(100_000);
        let got = expand(&text, lookup, &mut Room::new(PROCESS_BYTES_MAX));
        assert_eq!(got, Err(ExpandError::TooLarge { max: PROCESS_BYTES_MAX }));
        assert!(expand("$(A)$(A)", lookup, &mut Room::new(PROCESS_BYTES_MAX)).is_ok(), "all there is room for");
        assert_eq!(expand_path("$(A)", lookup), Err(ExpandError::TooLarge { max: PATH_BYTES_MAX }));
    }

    /// Read to its end at every `$(` it would take minutes.
    #[test]
    fn names_that_never_end_are_read_once() {
        let text = format!("$(A){}", "$(".repeat(1 << 19));
        let began = std::time::Instant::now();
        let got = expand(&text, |_| Some("1"), &mut Room::new(PROCESS_BYTES_MAX)).unwrap();
        assert_eq!(got.len(), text.len() - 3);
        assert!(began.elapsed() < std::time::Duration::from_secs(5));
    }
}

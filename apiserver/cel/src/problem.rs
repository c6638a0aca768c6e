//! What is wrong with an expression, and where: printed as Kubernetes users know it, with the line and a caret.

use std::fmt;

use crate::ast::{HEIGHT_MAX, NODES_MAX, TooLarge};
use crate::lexer::Unreadable;

/// Lines that are longer are not shown.
const SNIPPET_MAX: usize = 16384;

/// Where in an expression: the line from 1, the column from 0 in code points.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    pub line: u32,
    pub column: u32,
}

/// One thing that is wrong. It prints as `ERROR: <input>:1:5: message`, with the line and a caret below it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    pub position: Position,
    pub message: String,
    /// The line of the expression, for printing; none if it is too long.
    line: Option<String>,
}

impl Problem {
    /// `at` counts code points from the beginning of the text.
    pub(crate) fn new(text: &str, at: u32, message: impl Into<String>) -> Self {
        let mut position = Position { line: 1, column: 0 };
        for c in text.chars().take(at as usize) {
            if c == '\n' {
                position = Position { line: position.line + 1, column: 0 };
            } else {
                position.column += 1;
            }
        }
        let line = text.split('\n').nth(position.line as usize - 1).unwrap_or("");
        let line = (line.len() <= SNIPPET_MAX).then(|| line.to_owned());
        Self { position, message: message.into(), line }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Position { line, column } = self.position;
        write!(f, "ERROR: <input>:{line}:{}: {}", column + 1, self.message)?;
        let Some(text) = &self.line else { return Ok(()) };
        write!(f, "\n | {}\n | ", text.replace('\t', " "))?;
        let mut rest = text.chars();
        for c in rest.by_ref().take(column as usize) {
            f.write_str(if c.is_ascii() { "." } else { "\u{ff0e}" })?;
        }
        f.write_str(if rest.next().is_none_or(|c| c.is_ascii()) { "^" } else { "\u{ff3e}" })
    }
}

/// All of them, one below the other.
pub fn list(problems: &[Problem]) -> String {
    problems.iter().map(Problem::to_string).collect::<Vec<_>>().join("\n")
}

/// Why parsing ended, and where.
#[derive(Debug, PartialEq)]
pub(crate) struct Stop {
    pub(crate) at: u32,
    pub(crate) message: String,
}

impl Stop {
    pub(crate) fn new(at: u32, message: impl Into<String>) -> Self {
        Self { at, message: message.into() }
    }
}
impl From<TooLarge> for Stop {
    fn from(why: TooLarge) -> Self {
        match why {
            TooLarge::High => Self::new(0, format!("expression recursion limit exceeded: {HEIGHT_MAX}")),
            TooLarge::Many => Self::new(0, format!("expression is too large: it has more than {NODES_MAX} nodes")),
        }
    }
}
impl From<Unreadable> for Stop {
    fn from(Unreadable { at, message }: Unreadable) -> Self {
        Self { at, message }
    }
}

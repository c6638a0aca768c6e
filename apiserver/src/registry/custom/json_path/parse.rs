//! What a path says, as upstream reads it.

use serde_json::Value;

use super::{Comparison, Filter, Slice, Step};

/// `None`: it is no path.
pub(super) fn steps(text: &str) -> Option<Vec<Step>> {
    let mut steps = Vec::new();
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        if let Some(filter) = rest.strip_prefix("[?(") {
            let end = filter_end(filter)?;
            steps.push(Step::Where(filter_of(&filter[..end])?));
            rest = filter[end..].strip_prefix(")]")?;
            continue;
        }
        if let Some(after) = rest.strip_prefix("..") {
            if steps.last() == Some(&Step::Recursive) {
                return None;
            }
            steps.push(Step::Recursive);
            rest = if after.starts_with(is_of_word) { field(after, &mut steps) } else { after };
            continue;
        }
        let after = &rest[c.len_utf8()..];
        rest = match c {
            ' ' | '@' | '$' => after,
            '[' => {
                let (inner, after) = after.split_once(']')?;
                bracket(inner, &mut steps)?;
                after
            }
            '.' => field(after, &mut steps),
            '"' | '\'' => {
                let (text, after) = quoted(after, c)?;
                steps.push(Step::Literal(text.into()));
                after
            }
            '+' | '-' | '0'..='9' => {
                let (number, after) = number(rest)?;
                steps.push(Step::Literal(number));
                after
            }
            c if is_of_word(c) => {
                let (word, after) = rest.split_at(rest.find(ends_word).unwrap_or(rest.len()));
                steps.push(match word {
                    "true" | "false" => Step::Literal((word == "true").into()),
                    _ => Step::Unknown,
                });
                after
            }
            _ => return None,
        };
    }
    Some(steps)
}

fn is_of_word(c: char) -> bool {
    c == '_' || c.is_alphanumeric()
}
fn ends_word(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\r' | '\n' | '.' | ',' | '[' | ']' | '$' | '@' | '{' | '}')
}

/// A name up to what ends it; that is part of it behind a backslash.
fn field<'t>(text: &'t str, steps: &mut Vec<Step>) -> &'t str {
    let (mut name, mut rest) = (String::new(), "");
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '\\' => name.extend(chars.next().map(|(_, escaped)| escaped)),
            c if ends_word(c) => {
                rest = &text[at..];
                break;
            }
            c => name.push(c),
        }
    }
    steps.push(if name == "*" { Step::All } else { Step::Field(name) });
    rest
}

fn bracket(inner: &str, steps: &mut Vec<Step>) -> Option<()> {
    if inner.contains(',') {
        let one = |part: &str| {
            let mut steps = Vec::new();
            bracket(part.trim_matches(' '), &mut steps)?;
            Some(steps)
        };
        steps.push(Step::Union(inner.split(',').map(one).collect::<Option<_>>()?));
        return Some(());
    }
    let name = inner.strip_prefix('\'').and_then(|rest| rest.strip_suffix('\''));
    if let Some(name) = name.filter(|name| !name.contains('\'')) {
        // As if it stood behind a dot.
        steps.extend(self::steps(&format!(".{name}"))?);
        return Some(());
    }
    steps.push(Step::Slice(slice(inner)?));
    Some(())
}

fn slice(inner: &str) -> Option<Slice> {
    let mut parts = if inner == "*" { ":" } else { inner }.split(':');
    let number = |text: &str| -> Option<Option<i64>> {
        let is_plain = text.strip_prefix('-').unwrap_or(text).bytes().all(|byte| byte.is_ascii_digit());
        match (text, is_plain) {
            ("", _) => Some(None),
            (text, true) => text.parse().ok().map(Some),
            (_, false) => None,
        }
    };
    let from = number(parts.next()?)?;
    let (to, step) = (parts.next(), parts.next());
    if parts.next().is_some() {
        return None;
    }
    Some(Slice {
        from,
        to: match to {
            Some(to) => number(to)?,
            None => Some(from.unwrap_or(0).checked_add(1)?),
        },
        is_one: to.is_none(),
        step: step.map_or(Some(None), number)?,
    })
}

/// Where a filter ends: at the first bracket that stands in no quotes, of which there is one pair at most.
fn filter_end(text: &str) -> Option<usize> {
    let (mut quote, mut is_closed, mut before) = (None, false, ' ');
    for (at, c) in text.char_indices() {
        match (c, quote) {
            ('\n', _) => return None,
            ('"' | '\'', None) => quote = Some(c),
            ('"' | '\'', Some(open)) if c == open && before != '\\' => is_closed = true,
            (')', _) if quote.is_some() == is_closed => return Some(at),
            _ => {}
        }
        before = c;
    }
    None
}

fn filter_of(text: &str) -> Option<Filter> {
    let is_sign = |c: char| matches!(c, '!' | '<' | '>' | '=');
    let signs = text.find(is_sign).map(|from| {
        let rest = &text[from..];
        (from, from + rest.find(|c: char| !is_sign(c)).unwrap_or(rest.len()))
    });
    let Some((from, to)) = signs else { return Some(Filter { left: steps(text)?, is: None }) };
    let comparison = match &text[from..to] {
        "==" => Comparison::Equal,
        "!=" => Comparison::NotEqual,
        "<" => Comparison::Less,
        "<=" => Comparison::LessOrEqual,
        ">" => Comparison::Greater,
        ">=" => Comparison::GreaterOrEqual,
        _ => return None,
    };
    Some(Filter { left: steps(&text[..from])?, is: Some((comparison, steps(&text[to..])?)) })
}

/// A number as it stands at the beginning.
fn number(text: &str) -> Option<(Value, &str)> {
    let signed = text.strip_prefix(['+', '-']).unwrap_or(text);
    let end = signed.find(|c: char| c != '.' && !c.is_ascii_digit()).unwrap_or(signed.len());
    let (number, rest) = text.split_at(text.len() - signed.len() + end);
    let whole = number.parse::<i64>().ok().map(Value::from);
    let number = whole.or_else(|| number.parse::<f64>().ok().filter(|number| number.is_finite()).map(Value::from))?;
    Some((number, rest))
}

/// A text up to its closing quote.
fn quoted(text: &str, quote: char) -> Option<(String, &str)> {
    let mut out = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '\n' => return None,
            c if c == quote => return Some((out, &text[at + c.len_utf8()..])),
            '\\' => {
                let (_, escaped) = chars.next()?;
                out.push(match escaped {
                    'a' => '\x07',
                    'b' => '\x08',
                    'f' => '\x0c',
                    'n' => '\n',
                    'r' => '\r',
                    't' => '\t',
                    'v' => '\x0b',
                    '\\' => '\\',
                    'x' | 'u' | 'U' => {
                        let digits = match escaped {
                            'x' => 2,
                            'u' => 4,
                            _ => 8,
                        };
                        let code = chars.by_ref().take(digits).map(|(_, digit)| digit.to_digit(16));
                        let code = code.collect::<Option<Vec<_>>>().filter(|code| code.len() == digits)?;
                        char::from_u32(code.into_iter().fold(0, |code, digit| (code << 4) | digit))?
                    }
                    escaped if escaped == quote => quote,
                    _ => return None,
                });
            }
            c => out.push(c),
        }
    }
    None
}

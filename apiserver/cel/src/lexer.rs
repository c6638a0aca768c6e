//! Text to tokens, as CEL's grammar has them.

use crate::ast::Literal;
use crate::literal;

/// Longer expressions are refused, as upstream's are.
pub(crate) const CODE_POINTS_MAX: usize = 100_000;

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Token {
    Ident(String),
    /// `` `a-b` ``: a field's name that is no identifier.
    Quoted(String),
    /// A number without its sign, so that the smallest int can be written.
    Int {
        digits: String,
        radix: u32,
    },
    Value(Literal),
    /// An operator or bracket, `in`, and `true`, `false`, `null` as keywords of their own.
    Symbol(&'static str),
    End,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Spanned {
    pub(crate) token: Token,
    /// Code points from the beginning of the text.
    pub(crate) at: u32,
    /// As it is written.
    pub(crate) text: String,
}

/// What cannot be read, and at which code point.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Unreadable {
    pub(crate) at: u32,
    pub(crate) message: String,
}

const SYMBOLS: &[&str] = &[
    "==", "!=", "<=", ">=", "&&", "||", "<", ">", "[", "]", "{", "}", "(", ")", ".", ",", "-", "!", "?", ":", "+", "*",
    "/", "%",
];

pub(crate) fn tokens(text: &str) -> Result<Vec<Spanned>, Unreadable> {
    let chars: Vec<char> = text.chars().collect();
    if chars.len() > CODE_POINTS_MAX {
        let message =
            format!("expression code point size exceeds limit: size: {}, limit {CODE_POINTS_MAX}", chars.len());
        return Err(Unreadable { at: 0, message });
    }
    let mut lexer = Lexer { chars: &chars, here: 0 };
    let mut tokens = Vec::new();
    loop {
        lexer.skip_blanks();
        let at = lexer.here;
        let token = lexer.token()?;
        let is_end = token == Token::End;
        let text = if is_end { "<EOF>".to_owned() } else { chars[at..lexer.here].iter().collect() };
        tokens.push(Spanned { token, at: position(at), text });
        if is_end {
            return Ok(tokens);
        }
    }
}

fn position(at: usize) -> u32 {
    u32::try_from(at).unwrap_or(u32::MAX)
}

struct Lexer<'a> {
    chars: &'a [char],
    here: usize,
}

impl Lexer<'_> {
    fn peek(&self, ahead: usize) -> Option<char> {
        self.chars.get(self.here + ahead).copied()
    }
    fn has(&self, ahead: usize, wanted: impl Fn(char) -> bool) -> bool {
        self.peek(ahead).is_some_and(wanted)
    }
    fn starts_with(&self, wanted: &str) -> bool {
        wanted.chars().enumerate().all(|(i, c)| self.peek(i) == Some(c))
    }
    fn take_while(&mut self, wanted: impl Fn(char) -> bool) -> String {
        let start = self.here;
        while self.has(0, &wanted) {
            self.here += 1;
        }
        self.chars[start..self.here].iter().collect()
    }
    fn skip_blanks(&mut self) {
        loop {
            if self.has(0, |c| matches!(c, '\t' | ' ' | '\r' | '\n' | '\u{c}')) {
                self.here += 1;
            } else if self.starts_with("//") {
                let _comment = self.take_while(|c| c != '\n');
            } else {
                return;
            }
        }
    }
    fn token(&mut self) -> Result<Token, Unreadable> {
        let Some(first) = self.peek(0) else { return Ok(Token::End) };
        if let Some(token) = self.string()? {
            return Ok(token);
        }
        if first.is_ascii_alphabetic() || first == '_' {
            let name = self.take_while(|c| c.is_ascii_alphanumeric() || c == '_');
            return Ok(match name.as_str() {
                "in" => Token::Symbol("in"),
                "true" => Token::Symbol("true"),
                "false" => Token::Symbol("false"),
                "null" => Token::Symbol("null"),
                _ => Token::Ident(name),
            });
        }
        if first.is_ascii_digit() || (first == '.' && self.has(1, |c| c.is_ascii_digit())) {
            return self.number();
        }
        if first == '`' {
            return self.quoted();
        }
        if let Some(symbol) = SYMBOLS.iter().find(|symbol| self.starts_with(symbol)) {
            self.here += symbol.len();
            return Ok(Token::Symbol(symbol));
        }
        Err(self.unrecognized(self.here + 1))
    }
    fn unrecognized(&self, end: usize) -> Unreadable {
        let found: String = self.chars[self.here..end.min(self.chars.len())].iter().collect();
        let found = found.replace('\n', "\\n").replace('\r', "\\r").replace('\t', "\\t");
        Unreadable { at: position(self.here), message: format!("Syntax error: token recognition error at: '{found}'") }
    }
    fn quoted(&mut self) -> Result<Token, Unreadable> {
        let inside = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-' | '/' | ' ');
        let length = self.chars[self.here + 1..].iter().take_while(|c| inside(**c)).count();
        if length == 0 || self.peek(length + 1) != Some('`') {
            return Err(self.unrecognized(self.here + 1 + length));
        }
        let name = self.chars[self.here + 1..=self.here + length].iter().collect();
        self.here += length + 2;
        Ok(Token::Quoted(name))
    }
    fn number(&mut self) -> Result<Token, Unreadable> {
        let start = self.here;
        if self.starts_with("0x") && self.has(2, |c| c.is_ascii_hexdigit()) {
            self.here += 2;
            let digits = self.take_while(|c| c.is_ascii_hexdigit());
            return self.int(start, digits, 16);
        }
        let digits = self.take_while(|c| c.is_ascii_digit());
        let mut is_double = false;
        if self.peek(0) == Some('.') && self.has(1, |c| c.is_ascii_digit()) {
            self.here += 1;
            let _fraction = self.take_while(|c| c.is_ascii_digit());
            is_double = true;
        }
        if self.has(0, |c| matches!(c, 'e' | 'E')) {
            let sign = usize::from(self.has(1, |c| matches!(c, '+' | '-')));
            if self.has(1 + sign, |c| c.is_ascii_digit()) {
                self.here += 1 + sign;
                let _exponent = self.take_while(|c| c.is_ascii_digit());
                is_double = true;
            }
        }
        if !is_double {
            return self.int(start, digits, 10);
        }
        let written: String = self.chars[start..self.here].iter().collect();
        match written.parse::<f64>() {
            Ok(value) if value.is_finite() => Ok(Token::Value(Literal::Double(value))),
            _ => Err(Unreadable { at: position(start), message: "invalid double literal".into() }),
        }
    }
    fn int(&mut self, start: usize, digits: String, radix: u32) -> Result<Token, Unreadable> {
        if !self.has(0, |c| matches!(c, 'u' | 'U')) {
            return Ok(Token::Int { digits, radix });
        }
        self.here += 1;
        match u64::from_str_radix(&digits, radix) {
            Ok(value) => Ok(Token::Value(Literal::Uint(value))),
            Err(_) => Err(Unreadable { at: position(start), message: "invalid uint literal".into() }),
        }
    }
    /// A string or bytes, if one begins here.
    fn string(&mut self) -> Result<Option<Token>, Unreadable> {
        let is = |ahead: usize, which: [char; 2]| self.has(ahead, |c| which.contains(&c));
        let is_bytes = is(0, ['b', 'B']);
        let mut prefix = usize::from(is_bytes);
        let is_raw = is(prefix, ['r', 'R']);
        prefix += usize::from(is_raw);
        let Some(quote) = self.peek(prefix).filter(|c| matches!(c, '"' | '\'')) else { return Ok(None) };
        let is_long = self.peek(prefix + 1) == Some(quote) && self.peek(prefix + 2) == Some(quote);
        let delimiter = if is_long { 3 } else { 1 };
        let start = self.here + prefix + delimiter;
        let mut end = start;
        loop {
            match self.chars.get(end) {
                None => return Err(self.unrecognized(end)),
                Some('\n' | '\r') if !is_long => return Err(self.unrecognized(end)),
                Some('\\') if !is_raw => end += 2,
                Some(c) if *c == quote => {
                    let closes = !is_long || (1..3).all(|i| self.chars.get(end + i) == Some(&quote));
                    if closes {
                        break;
                    }
                    end += 1;
                }
                Some(_) => end += 1,
            }
        }
        let body: String = self.chars[start..end].iter().collect();
        let at = position(self.here);
        self.here = end + delimiter;
        let value = literal::unescape(&body, is_raw, is_bytes);
        match value {
            Ok(bytes) if is_bytes => Ok(Some(Token::Value(Literal::Bytes(bytes.into())))),
            Ok(bytes) => match String::from_utf8(bytes) {
                Ok(text) => Ok(Some(Token::Value(Literal::String(text.into())))),
                Err(_) => Err(Unreadable { at, message: "invalid unicode code point".into() }),
            },
            Err(message) => Err(Unreadable { at, message: message.into() }),
        }
    }
}

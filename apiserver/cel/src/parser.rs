//! Tokens to a tree: precedence climbing with a bound on depth, so that no text overflows the stack.

use std::sync::Arc;

use crate::ast::{Entry, Expr, Field, Item, Kind, Literal, Nodes};
use crate::lexer::{self, Spanned, Token};
use crate::macros::{self, Macros};
use crate::problem::{Problem, Stop};

/// How deep brackets, calls and conditionals may stand in each other.
const DEPTH_MAX: u32 = 100;
/// They are fields' names, but no variables'.
pub(crate) const RESERVED: &[&str] = &[
    "as",
    "break",
    "const",
    "continue",
    "else",
    "for",
    "function",
    "if",
    "import",
    "let",
    "loop",
    "package",
    "namespace",
    "return",
    "var",
    "void",
    "while",
];
const OPERAND: &str =
    "{'[', '{', '(', '.', '-', '!', 'true', 'false', 'null', NUM_FLOAT, NUM_INT, NUM_UINT, STRING, BYTES, IDENTIFIER}";

/// A tree, and how many ids its nodes have.
#[derive(Debug)]
pub(crate) struct Parsed {
    pub(crate) root: Expr,
    pub(crate) ids: u32,
}

pub(crate) fn parse(text: &str, macros: Macros) -> Result<Parsed, Problem> {
    let parse = || {
        let tokens = lexer::tokens(text)?;
        let mut parser = Parser { tokens, here: 0, depth: 0, nodes: Nodes::default(), macros };
        let root = parser.expr()?;
        let rest = parser.peek();
        if rest.token != Token::End {
            return Err(Stop::new(rest.at, format!("Syntax error: extraneous input '{}' expecting <EOF>", rest.text)));
        }
        Ok(Parsed { root, ids: parser.nodes.count() })
    };
    parse().map_err(|Stop { at, message }| Problem::new(text, at, message))
}

struct Parser {
    tokens: Vec<Spanned>,
    here: usize,
    depth: u32,
    nodes: Nodes,
    macros: Macros,
}

/// An infix operator's function, and how strongly it binds.
fn infix(symbol: &str) -> Option<(&'static str, u8)> {
    Some(match symbol {
        "||" => ("_||_", 1),
        "&&" => ("_&&_", 2),
        "==" => ("_==_", 3),
        "!=" => ("_!=_", 3),
        "<" => ("_<_", 3),
        "<=" => ("_<=_", 3),
        ">" => ("_>_", 3),
        ">=" => ("_>=_", 3),
        "in" => ("@in", 3),
        "+" => ("_+_", 4),
        "-" => ("_-_", 4),
        "*" => ("_*_", 5),
        "/" => ("_/_", 5),
        "%" => ("_%_", 5),
        _ => return None,
    })
}

impl Parser {
    fn peek(&self) -> &Spanned {
        // The last token is the end, and nothing goes past it.
        &self.tokens[self.here.min(self.tokens.len() - 1)]
    }
    fn symbol(&self) -> Option<&'static str> {
        if let Token::Symbol(symbol) = self.peek().token { Some(symbol) } else { None }
    }
    /// Takes the symbol if it is next, and says where it stood.
    fn take(&mut self, wanted: &str) -> Option<u32> {
        if self.symbol() != Some(wanted) {
            return None;
        }
        let at = self.peek().at;
        self.here += 1;
        Some(at)
    }
    fn expect(&mut self, wanted: &str) -> Result<u32, Stop> {
        self.take(wanted).ok_or_else(|| {
            let Spanned { at, text, .. } = self.peek();
            Stop::new(*at, format!("Syntax error: missing '{wanted}' at '{text}'"))
        })
    }
    fn mismatch(&self, expecting: &str) -> Stop {
        let Spanned { at, text, .. } = self.peek();
        Stop::new(*at, format!("Syntax error: mismatched input '{text}' expecting {expecting}"))
    }
    fn call(&mut self, at: u32, function: &str, args: Vec<Expr>) -> Result<Expr, Stop> {
        Ok(self.nodes.make(at, Kind::Call { target: None, function: function.into(), args })?)
    }

    fn expr(&mut self) -> Result<Expr, Stop> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err(Stop::new(0, format!("expression recursion limit exceeded: {DEPTH_MAX}")));
        }
        let condition = self.binary(1)?;
        let Some(at) = self.take("?") else {
            self.depth -= 1;
            return Ok(condition);
        };
        let truthy = self.binary(1)?;
        self.expect(":")?;
        let falsy = self.expr()?;
        self.depth -= 1;
        self.call(at, "_?_:_", vec![condition, truthy, falsy])
    }
    fn binary(&mut self, weakest: u8) -> Result<Expr, Stop> {
        let mut left = self.unary()?;
        while let Some(symbol) = self.symbol()
            && let Some((function, strength)) = infix(symbol)
            && strength >= weakest
        {
            left = if strength <= 2 {
                self.logic(left, symbol, function, strength)?
            } else {
                let at = self.peek().at;
                self.here += 1;
                let right = self.binary(strength + 1)?;
                self.call(at, function, vec![left, right])?
            };
        }
        Ok(left)
    }
    /// `a && b && c …`: as a balanced tree, so that long ones are not high.
    fn logic(&mut self, first: Expr, symbol: &str, function: &str, strength: u8) -> Result<Expr, Stop> {
        let mut terms = vec![Some(first)];
        let mut operators = Vec::new();
        while let Some(at) = self.take(symbol) {
            operators.push(at);
            terms.push(Some(self.binary(strength + 1)?));
        }
        self.balanced(function, &mut terms, &operators, 0)
    }
    /// `from` is where the operators begin among the terms' gaps.
    fn balanced(
        &mut self,
        function: &str,
        terms: &mut [Option<Expr>],
        operators: &[u32],
        from: usize,
    ) -> Result<Expr, Stop> {
        if operators.is_empty() {
            return terms[from].take().ok_or_else(|| Stop::new(0, "Syntax error: a term is missing"));
        }
        let middle = operators.len() / 2;
        let left = self.balanced(function, terms, &operators[..middle], from)?;
        let right = self.balanced(function, terms, &operators[middle + 1..], from + middle + 1)?;
        self.call(operators[middle], function, vec![left, right])
    }
    fn unary(&mut self) -> Result<Expr, Stop> {
        for (symbol, function) in [("!", "!_"), ("-", "-_")] {
            let Some(first) = self.take(symbol) else { continue };
            let mut count = 1;
            while self.take(symbol).is_some() {
                count += 1;
            }
            if symbol == "-" && count == 1 && self.is_number() {
                let number = self.number(Some(first))?;
                return self.member(number);
            }
            let operand = self.primary()?;
            let operand = self.member(operand)?;
            return if count % 2 == 0 { Ok(operand) } else { self.call(first, function, vec![operand]) };
        }
        let operand = self.primary()?;
        self.member(operand)
    }
    fn is_number(&self) -> bool {
        matches!(self.peek().token, Token::Int { .. } | Token::Value(Literal::Double(_)))
    }
    fn number(&mut self, minus: Option<u32>) -> Result<Expr, Stop> {
        let Spanned { token, at, .. } = self.peek().clone();
        self.here += 1;
        let at = minus.unwrap_or(at);
        let sign = if minus.is_some() { "-" } else { "" };
        let literal = match token {
            Token::Int { digits, radix } => i64::from_str_radix(&format!("{sign}{digits}"), radix)
                .map(Literal::Int)
                .map_err(|_| Stop::new(at, "invalid int literal"))?,
            Token::Value(Literal::Double(value)) => Literal::Double(if minus.is_some() { -value } else { value }),
            _ => return Err(Stop::new(at, "invalid int literal")),
        };
        Ok(self.nodes.make(at, Kind::Literal(literal))?)
    }
    /// What follows an operand: `.field`, `.?field`, `.call(…)`, `[index]`, `[?index]`.
    fn member(&mut self, mut operand: Expr) -> Result<Expr, Stop> {
        loop {
            if let Some(at) = self.take(".") {
                operand = self.selected(operand, at)?;
            } else if let Some(at) = self.take("[") {
                let function = if self.optional(self.here)? { "_[?_]" } else { "_[_]" };
                let index = self.expr()?;
                self.expect("]")?;
                operand = self.call(at, function, vec![operand, index])?;
            } else {
                return Ok(operand);
            }
        }
    }
    fn selected(&mut self, operand: Expr, at: u32) -> Result<Expr, Stop> {
        let is_optional = self.optional(self.here - 1)?;
        let (field, field_at, is_plain) = self.field_name()?;
        if is_optional {
            let field = self.nodes.make(field_at, Kind::Literal(Literal::String(field)))?;
            return self.call(at, "_?._", vec![operand, field]);
        }
        if is_plain && let Some(open) = self.take("(") {
            let args = self.args()?;
            return self.call_or_macro(open, Some(operand), field, args);
        }
        Ok(self.nodes.make(at, Kind::Select { operand: Box::new(operand), field, test: false })?)
    }
    /// Takes the `?` of optional syntax, which only some environments have.
    fn optional(&mut self, construct: usize) -> Result<bool, Stop> {
        if self.take("?").is_none() {
            return Ok(false);
        }
        if self.macros.optional {
            return Ok(true);
        }
        let Spanned { at, text, .. } = &self.tokens[construct];
        let shown = if matches!(text.as_str(), "." | "[") { format!("{text}?") } else { "?".to_owned() };
        Err(Stop::new(*at, format!("unsupported syntax '{shown}'")))
    }
    /// A field's name, where it stands, and whether it is written without backquotes.
    fn field_name(&mut self) -> Result<(Arc<str>, u32, bool), Stop> {
        let Spanned { token, at, .. } = self.peek();
        let found = match token {
            Token::Ident(name) => (name.as_str().into(), *at, true),
            Token::Quoted(_) if !self.macros.quoted_fields => return Err(Stop::new(*at, "unsupported syntax: '`'")),
            Token::Quoted(name) => (name.as_str().into(), *at, false),
            _ => return Err(self.mismatch("IDENTIFIER")),
        };
        self.here += 1;
        Ok(found)
    }
    /// Arguments up to the closing bracket.
    fn args(&mut self) -> Result<Vec<Expr>, Stop> {
        let mut args = Vec::new();
        if self.take(")").is_some() {
            return Ok(args);
        }
        loop {
            args.push(self.expr()?);
            if self.take(",").is_none() {
                self.expect(")")?;
                return Ok(args);
            }
        }
    }
    fn call_or_macro(
        &mut self,
        at: u32,
        target: Option<Expr>,
        function: Arc<str>,
        args: Vec<Expr>,
    ) -> Result<Expr, Stop> {
        if let Some(which) = macros::find(self.macros, target.as_ref(), &function, args.len()) {
            return which.expand(&mut self.nodes, at, target, args);
        }
        let target = target.map(Box::new);
        Ok(self.nodes.make(at, Kind::Call { target, function, args })?)
    }
    fn primary(&mut self) -> Result<Expr, Stop> {
        let Spanned { token, at, .. } = self.peek().clone();
        match token {
            Token::Int { .. } | Token::Value(Literal::Double(_)) => self.number(None),
            Token::Value(literal) => self.literal(at, literal),
            Token::Symbol("true") => self.literal(at, Literal::Bool(true)),
            Token::Symbol("false") => self.literal(at, Literal::Bool(false)),
            Token::Symbol("null") => self.literal(at, Literal::Null),
            Token::Symbol("(") => {
                self.here += 1;
                let inner = self.expr()?;
                self.expect(")")?;
                Ok(inner)
            }
            Token::Symbol("[") => self.list(at),
            Token::Symbol("{") => self.map(at),
            Token::Symbol(".") => {
                self.here += 1;
                self.named(at, ".")
            }
            Token::Ident(_) => self.named(at, ""),
            Token::Symbol(_) | Token::Quoted(_) | Token::End => Err(self.mismatch(OPERAND)),
        }
    }
    fn literal(&mut self, at: u32, literal: Literal) -> Result<Expr, Stop> {
        self.here += 1;
        Ok(self.nodes.make(at, Kind::Literal(literal))?)
    }
    /// A variable, a call, or `a.b.Type{…}`.
    fn named(&mut self, at: u32, dot: &str) -> Result<Expr, Stop> {
        if let Some(name) = self.struct_name() {
            return self.construct(format!("{dot}{name}").into());
        }
        let Token::Ident(name) = self.peek().token.clone() else { return Err(self.mismatch("IDENTIFIER")) };
        if RESERVED.contains(&name.as_str()) {
            return Err(Stop::new(at, format!("reserved identifier: {name}")));
        }
        let here = self.peek().at;
        self.here += 1;
        let name: Arc<str> = format!("{dot}{name}").into();
        if let Some(open) = self.take("(") {
            let args = self.args()?;
            return self.call_or_macro(open, None, name, args);
        }
        Ok(self.nodes.make(here, Kind::Ident(name))?)
    }
    /// Takes `a.b.Type` if a `{` follows it.
    fn struct_name(&mut self) -> Option<String> {
        let mut end = self.here;
        let mut name = String::new();
        loop {
            let Token::Ident(part) = &self.tokens.get(end)?.token else { return None };
            name.push_str(part);
            match self.tokens.get(end + 1)?.token {
                Token::Symbol("{") => break,
                Token::Symbol(".") => name.push('.'),
                _ => return None,
            }
            end += 2;
        }
        self.here = end + 1;
        Some(name)
    }
    fn construct(&mut self, name: Arc<str>) -> Result<Expr, Stop> {
        let at = self.expect("{")?;
        let mut fields = Vec::new();
        while self.take("}").is_none() {
            let optional = self.optional(self.here)?;
            let (name, _, _) = self.field_name()?;
            let at = self.expect(":")?;
            fields.push(Field { at, name, value: self.expr()?, optional });
            if self.take(",").is_none() {
                self.expect("}")?;
                break;
            }
        }
        Ok(self.nodes.make(at, Kind::Struct { name, fields })?)
    }
    fn list(&mut self, at: u32) -> Result<Expr, Stop> {
        self.here += 1;
        let mut items = Vec::new();
        while self.take("]").is_none() {
            let optional = self.optional(self.here)?;
            items.push(Item { value: self.expr()?, optional });
            if self.take(",").is_none() {
                self.expect("]")?;
                break;
            }
        }
        Ok(self.nodes.make(at, Kind::List(items))?)
    }
    fn map(&mut self, at: u32) -> Result<Expr, Stop> {
        self.here += 1;
        let mut entries = Vec::new();
        while self.take("}").is_none() {
            let optional = self.optional(self.here)?;
            let key = self.expr()?;
            self.expect(":")?;
            entries.push(Entry { key, value: self.expr()?, optional });
            if self.take(",").is_none() {
                self.expect("}")?;
                break;
            }
        }
        Ok(self.nodes.make(at, Kind::Map(entries))?)
    }
}

#[cfg(test)]
mod tests;

//! The expression tree: what the parser makes, the checker annotates, and cost and evaluation walk.

use std::sync::Arc;

/// No tree is higher, so that whatever walks one by recursion has a bound.
pub(crate) const HEIGHT_MAX: u16 = 160;
/// No tree has more nodes. `optMap` copies its target, so a short text could make a huge tree.
pub(crate) const NODES_MAX: u32 = 100_000;
/// The variable that a comprehension gathers its result in. No identifier can be written so.
pub(crate) const ACCUMULATOR: &str = "@result";

#[derive(Clone, Debug)]
pub(crate) struct Expr {
    /// Unique in its tree, and below the tree's number of ids.
    pub(crate) id: u32,
    /// Code points from the beginning of the text.
    pub(crate) at: u32,
    height: u16,
    pub(crate) kind: Kind,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Literal {
    Null,
    Bool(bool),
    Int(i64),
    Uint(u64),
    Double(f64),
    String(Arc<str>),
    Bytes(Arc<[u8]>),
}

#[derive(Clone, Debug)]
pub(crate) enum Kind {
    Literal(Literal),
    Ident(Arc<str>),
    /// `test` is `has(operand.field)`.
    Select {
        operand: Box<Expr>,
        field: Arc<str>,
        test: bool,
    },
    Call {
        target: Option<Box<Expr>>,
        function: Arc<str>,
        args: Vec<Expr>,
    },
    List(Vec<Item>),
    Map(Vec<Entry>),
    Struct {
        name: Arc<str>,
        fields: Vec<Field>,
    },
    Fold(Box<Fold>),
    Bind(Box<Bind>),
}

#[derive(Clone, Debug)]
pub(crate) struct Item {
    pub(crate) value: Expr,
    pub(crate) optional: bool,
}

#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) key: Expr,
    pub(crate) value: Expr,
    pub(crate) optional: bool,
}

#[derive(Clone, Debug)]
pub(crate) struct Field {
    pub(crate) at: u32,
    pub(crate) name: Arc<str>,
    pub(crate) value: Expr,
    pub(crate) optional: bool,
}

/// A comprehension: while `condition` holds, `step` makes the next accumulator of the last one and of a range's next element.
#[derive(Clone, Debug)]
pub(crate) struct Fold {
    pub(crate) range: Expr,
    pub(crate) variable: Arc<str>,
    /// With two variables the first is the index or key, the second the element or value.
    pub(crate) second: Option<Arc<str>>,
    pub(crate) accumulator: Arc<str>,
    pub(crate) init: Expr,
    pub(crate) condition: Expr,
    pub(crate) step: Expr,
    pub(crate) result: Expr,
}

/// `cel.bind` and its like: a value has a name within `result`.
#[derive(Clone, Debug)]
pub(crate) struct Bind {
    pub(crate) name: Arc<str>,
    pub(crate) value: Expr,
    pub(crate) result: Expr,
}

/// Why a tree cannot be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TooLarge {
    High,
    Many,
}

/// Makes nodes with unique ids, within the bounds.
#[derive(Debug, Default)]
pub(crate) struct Nodes {
    next: u32,
}

impl Nodes {
    pub(crate) fn count(&self) -> u32 {
        self.next
    }
    pub(crate) fn make(&mut self, at: u32, kind: Kind) -> Result<Expr, TooLarge> {
        let below = children(&kind).into_iter().map(|child| child.height).max().unwrap_or(0);
        let id = self.take_id()?;
        if below >= HEIGHT_MAX {
            return Err(TooLarge::High);
        }
        Ok(Expr { id, at, height: below + 1, kind })
    }
    /// The same tree with ids of its own.
    pub(crate) fn copy(&mut self, expr: &Expr) -> Result<Expr, TooLarge> {
        let mut copy = expr.clone();
        self.renumber(&mut copy)?;
        Ok(copy)
    }
    fn renumber(&mut self, expr: &mut Expr) -> Result<(), TooLarge> {
        expr.id = self.take_id()?;
        for child in children_mut(&mut expr.kind) {
            self.renumber(child)?;
        }
        Ok(())
    }
    fn take_id(&mut self) -> Result<u32, TooLarge> {
        if self.next >= NODES_MAX {
            return Err(TooLarge::Many);
        }
        self.next += 1;
        Ok(self.next - 1)
    }
}

pub(crate) fn children(kind: &Kind) -> Vec<&Expr> {
    match kind {
        Kind::Literal(_) | Kind::Ident(_) => Vec::new(),
        Kind::Select { operand, .. } => vec![operand],
        Kind::Call { target, args, .. } => target.iter().map(AsRef::as_ref).chain(args).collect(),
        Kind::List(items) => items.iter().map(|item| &item.value).collect(),
        Kind::Map(entries) => entries.iter().flat_map(|entry| [&entry.key, &entry.value]).collect(),
        Kind::Struct { fields, .. } => fields.iter().map(|field| &field.value).collect(),
        Kind::Fold(fold) => vec![&fold.range, &fold.init, &fold.condition, &fold.step, &fold.result],
        Kind::Bind(bind) => vec![&bind.value, &bind.result],
    }
}

fn children_mut(kind: &mut Kind) -> Vec<&mut Expr> {
    match kind {
        Kind::Literal(_) | Kind::Ident(_) => Vec::new(),
        Kind::Select { operand, .. } => vec![operand],
        Kind::Call { target, args, .. } => target.iter_mut().map(AsMut::as_mut).chain(args).collect(),
        Kind::List(items) => items.iter_mut().map(|item| &mut item.value).collect(),
        Kind::Map(entries) => entries.iter_mut().flat_map(|entry| [&mut entry.key, &mut entry.value]).collect(),
        Kind::Struct { fields, .. } => fields.iter_mut().map(|field| &mut field.value).collect(),
        Kind::Fold(fold) => {
            let Fold { range, init, condition, step, result, .. } = fold.as_mut();
            vec![range, init, condition, step, result]
        }
        Kind::Bind(bind) => {
            let Bind { value, result, .. } = bind.as_mut();
            vec![value, result]
        }
    }
}

//! Macros: `has`, `all`, `map` and their like, which the parser replaces by comprehensions and conditionals.

use std::sync::Arc;

use crate::ast::{ACCUMULATOR, Bind, Expr, Fold, Item, Kind, Literal, Nodes};
use crate::problem::Stop;

/// Which macros and syntax an environment has beyond the standard ones.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Macros {
    /// `a.?b`, `a[?b]`, `optMap`.
    pub(crate) optional: bool,
    pub(crate) two_variables: bool,
    /// `sortBy`.
    pub(crate) lists: bool,
    /// `cel.bind`.
    pub(crate) bind: bool,
    /// `` a.`b-c` ``.
    pub(crate) quoted_fields: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Macro {
    Has,
    All,
    Exists,
    ExistsOne,
    /// With or without a filter.
    Map,
    Filter,
    TransformMap,
    TransformMapEntry,
    OptMap,
    OptFlatMap,
    SortBy,
    Bind,
}

/// A macro, and how many variables it binds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Found {
    which: Macro,
    variables: usize,
}

const NAME_WANTED: &str = "argument must be a simple name";
const IDENT_WANTED: &str = "argument is not an identifier";
const OVERWRITES: &str = "iteration variable overwrites accumulator variable";
const UNUSED: &str = "#unused";

pub(crate) fn find(macros: Macros, target: Option<&Expr>, function: &str, args: usize) -> Option<Found> {
    let Some(target) = target else {
        return (function == "has" && args == 1).then_some(Found { which: Macro::Has, variables: 0 });
    };
    let is_cel = matches!(&target.kind, Kind::Ident(name) if **name == *"cel");
    let (which, variables) = match (function, args) {
        ("all", 2) => (Macro::All, 1),
        ("exists", 2) => (Macro::Exists, 1),
        ("exists_one" | "existsOne", 2) => (Macro::ExistsOne, 1),
        ("map", 2 | 3) => (Macro::Map, 1),
        ("filter", 2) => (Macro::Filter, 1),
        ("all", 3) if macros.two_variables => (Macro::All, 2),
        ("exists", 3) if macros.two_variables => (Macro::Exists, 2),
        ("exists_one" | "existsOne", 3) if macros.two_variables => (Macro::ExistsOne, 2),
        ("transformList", 3 | 4) if macros.two_variables => (Macro::Map, 2),
        ("transformMap", 3 | 4) if macros.two_variables => (Macro::TransformMap, 2),
        ("transformMapEntry", 3 | 4) if macros.two_variables => (Macro::TransformMapEntry, 2),
        ("optMap", 2) if macros.optional => (Macro::OptMap, 1),
        ("optFlatMap", 2) if macros.optional => (Macro::OptFlatMap, 1),
        ("sortBy", 2) if macros.lists => (Macro::SortBy, 1),
        ("bind", 3) if macros.bind && is_cel => (Macro::Bind, 1),
        _ => return None,
    };
    Some(Found { which, variables })
}

impl Found {
    pub(crate) fn expand(
        self,
        nodes: &mut Nodes,
        at: u32,
        target: Option<Expr>,
        args: Vec<Expr>,
    ) -> Result<Expr, Stop> {
        let mut make = Make { nodes, at };
        match (self.which, target) {
            (Macro::Has, _) => make.has(args),
            (Macro::OptMap | Macro::OptFlatMap, Some(target)) => make.optional(target, args, self.which),
            (Macro::SortBy, Some(target)) => make.sort_by(target, args),
            (Macro::Bind, _) => make.bind(args),
            (which, Some(target)) => make.comprehension(which, self.variables, target, args),
            (_, None) => Err(Stop::new(at, "Syntax error: a macro without its target")),
        }
    }
}

/// Makes nodes that stand where the macro is called.
struct Make<'a> {
    nodes: &'a mut Nodes,
    at: u32,
}

impl Make<'_> {
    fn node(&mut self, kind: Kind) -> Result<Expr, Stop> {
        Ok(self.nodes.make(self.at, kind)?)
    }
    fn ident(&mut self, name: &str) -> Result<Expr, Stop> {
        self.node(Kind::Ident(name.into()))
    }
    fn accumulator(&mut self) -> Result<Expr, Stop> {
        self.ident(ACCUMULATOR)
    }
    fn literal(&mut self, literal: Literal) -> Result<Expr, Stop> {
        self.node(Kind::Literal(literal))
    }
    fn call(&mut self, function: &str, args: Vec<Expr>) -> Result<Expr, Stop> {
        self.node(Kind::Call { target: None, function: function.into(), args })
    }
    fn member(&mut self, function: &str, target: Expr, args: Vec<Expr>) -> Result<Expr, Stop> {
        self.node(Kind::Call { target: Some(Box::new(target)), function: function.into(), args })
    }
    fn list(&mut self, items: Vec<Expr>) -> Result<Expr, Stop> {
        let items = items.into_iter().map(|value| Item { value, optional: false }).collect();
        self.node(Kind::List(items))
    }

    fn has(&mut self, args: Vec<Expr>) -> Result<Expr, Stop> {
        let Some(arg) = args.into_iter().next() else {
            return Err(Stop::new(self.at, "invalid argument to has() macro"));
        };
        match arg.kind {
            Kind::Select { operand, field, test: false } => self.node(Kind::Select { operand, field, test: true }),
            _ => Err(Stop::new(arg.at, "invalid argument to has() macro")),
        }
    }
    fn comprehension(&mut self, which: Macro, variables: usize, range: Expr, args: Vec<Expr>) -> Result<Expr, Stop> {
        let mut names: Vec<Arc<str>> = Vec::new();
        for arg in &args[..variables] {
            let not_a_name = if matches!(which, Macro::Map | Macro::Filter) { IDENT_WANTED } else { NAME_WANTED };
            let name = name_of(arg, not_a_name)?;
            if names.contains(&name) {
                return Err(Stop::new(arg.at, format!("duplicate variable name: {name}")));
            }
            names.push(name);
        }
        let mut args = args.into_iter();
        let first = args.next();
        let mut rest: Vec<Expr> = args.skip(variables - 1).collect();
        let Some(last) = rest.pop() else { return Err(Stop::new(self.at, NAME_WANTED)) };
        let filter = rest.pop();
        let key = names[0].clone();
        let mut names = names.into_iter();
        let (variable, second) = (names.next().unwrap_or_else(|| UNUSED.into()), names.next());
        let init = self.init(which)?;
        let condition = self.condition(which)?;
        let step = match which {
            Macro::All => {
                let so_far = self.accumulator()?;
                self.call("_&&_", vec![so_far, last])?
            }
            Macro::Exists => {
                let so_far = self.accumulator()?;
                self.call("_||_", vec![so_far, last])?
            }
            Macro::ExistsOne => {
                let (so_far, one) = (self.accumulator()?, self.literal(Literal::Int(1))?);
                let more = self.call("_+_", vec![so_far, one])?;
                self.if_so(Some(last), more)?
            }
            Macro::Filter => {
                let element = match first {
                    Some(element) => element,
                    None => self.ident(&key)?,
                };
                let (so_far, one) = (self.accumulator()?, self.list(vec![element])?);
                let more = self.call("_+_", vec![so_far, one])?;
                self.if_so(Some(last), more)?
            }
            Macro::TransformMap => {
                let (so_far, key) = (self.accumulator()?, self.ident(&key)?);
                let more = self.call("cel.@mapInsert", vec![so_far, key, last])?;
                self.if_so(filter, more)?
            }
            Macro::TransformMapEntry => {
                let so_far = self.accumulator()?;
                let more = self.call("cel.@mapInsert", vec![so_far, last])?;
                self.if_so(filter, more)?
            }
            _ => {
                let (so_far, one) = (self.accumulator()?, self.list(vec![last])?);
                let more = self.call("_+_", vec![so_far, one])?;
                self.if_so(filter, more)?
            }
        };
        let mut result = self.accumulator()?;
        if which == Macro::ExistsOne {
            let one = self.literal(Literal::Int(1))?;
            result = self.call("_==_", vec![result, one])?;
        }
        let accumulator = ACCUMULATOR.into();
        self.node(Kind::Fold(Box::new(Fold { range, variable, second, accumulator, init, condition, step, result })))
    }
    fn init(&mut self, which: Macro) -> Result<Expr, Stop> {
        match which {
            Macro::All => self.literal(Literal::Bool(true)),
            Macro::Exists => self.literal(Literal::Bool(false)),
            Macro::ExistsOne => self.literal(Literal::Int(0)),
            Macro::TransformMap | Macro::TransformMapEntry => self.node(Kind::Map(Vec::new())),
            _ => self.list(Vec::new()),
        }
    }
    fn condition(&mut self, which: Macro) -> Result<Expr, Stop> {
        if !matches!(which, Macro::All | Macro::Exists) {
            return self.literal(Literal::Bool(true));
        }
        let mut goes_on = self.accumulator()?;
        if which == Macro::Exists {
            goes_on = self.call("!_", vec![goes_on])?;
        }
        self.call("@not_strictly_false", vec![goes_on])
    }
    /// `filter ? more : accumulator`.
    fn if_so(&mut self, filter: Option<Expr>, more: Expr) -> Result<Expr, Stop> {
        let Some(filter) = filter else { return Ok(more) };
        let otherwise = self.accumulator()?;
        self.call("_?_:_", vec![filter, more, otherwise])
    }
    /// `value` has the name within `result`.
    fn named(&mut self, name: Arc<str>, value: Expr, result: Expr) -> Result<Expr, Stop> {
        self.node(Kind::Bind(Box::new(Bind { name, value, result })))
    }
    fn optional(&mut self, target: Expr, args: Vec<Expr>, which: Macro) -> Result<Expr, Stop> {
        let mut args = args.into_iter();
        let (Some(name), Some(result)) = (args.next(), args.next()) else {
            return Err(Stop::new(self.at, NAME_WANTED));
        };
        let shown = if which == Macro::OptMap { "optMap" } else { "optFlatMap" };
        let Kind::Ident(name) = name.kind else {
            return Err(Stop::new(name.at, format!("{shown}() variable name must be a simple identifier")));
        };
        let copy = self.nodes.copy(&target)?;
        let value = self.member("value", copy, Vec::new())?;
        let mut mapped = self.named(name, value, result)?;
        if which == Macro::OptMap {
            mapped = self.call("optional.of", vec![mapped])?;
        }
        let has_value = self.member("hasValue", target, Vec::new())?;
        let none = self.call("optional.none", Vec::new())?;
        self.call("_?_:_", vec![has_value, mapped, none])
    }
    fn sort_by(&mut self, target: Expr, args: Vec<Expr>) -> Result<Expr, Stop> {
        const INPUT: &str = "@__sortBy_input__";
        if matches!(target.kind, Kind::Literal(_) | Kind::Map(_) | Kind::Struct { .. }) {
            let message = "sortBy can only be applied to a list, identifier, comprehension, call or select expression";
            return Err(Stop::new(target.at, message));
        }
        let range = self.ident(INPUT)?;
        let keys = self.comprehension(Macro::Map, 1, range, args)?;
        let list = self.ident(INPUT)?;
        let sorted = self.member("@sortByAssociatedKeys", list, vec![keys])?;
        self.named(INPUT.into(), target, sorted)
    }
    fn bind(&mut self, args: Vec<Expr>) -> Result<Expr, Stop> {
        let mut args = args.into_iter();
        let (Some(name), Some(value), Some(result)) = (args.next(), args.next(), args.next()) else {
            return Err(Stop::new(self.at, NAME_WANTED));
        };
        match name.kind {
            Kind::Ident(name) => self.named(name, value, result),
            _ => Err(Stop::new(name.at, "cel.bind() variable names must be simple identifiers")),
        }
    }
}

fn name_of(arg: &Expr, not_a_name: &str) -> Result<Arc<str>, Stop> {
    match &arg.kind {
        Kind::Ident(name) if **name == *"__result__" => Err(Stop::new(arg.at, OVERWRITES)),
        Kind::Ident(name) => Ok(name.clone()),
        _ => Err(Stop::new(arg.at, not_a_name)),
    }
}

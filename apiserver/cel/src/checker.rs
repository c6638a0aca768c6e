//! The type checker: what type each node has, which overloads it may call, and what is wrong.

mod literals;
mod unify;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::ast::{Bind, Entry, Expr, Field, Fold, Item, Kind, Literal};
use crate::environment::{Environment, type_named};
use crate::library::Overload;
use crate::parser::Parsed;
use crate::pattern::Compiled;
use crate::problem::Problem;
use crate::types::Type;
use literals::Literals;
use unify::Unify;

/// More are not told.
const PROBLEMS_MAX: usize = 100;

/// A tree with what is known of its nodes, by their ids.
#[derive(Debug)]
pub(crate) struct Checked {
    pub(crate) root: Expr,
    pub(crate) types: Vec<Type>,
    pub(crate) overloads: Vec<Vec<&'static Overload>>,
    /// The variables that are named.
    pub(crate) variables: BTreeSet<Arc<str>>,
    /// By the patterns that stand in it.
    pub(crate) regexes: Compiled,
}

impl Checked {
    pub(crate) fn type_of(&self, expr: &Expr) -> &Type {
        self.types.get(expr.id as usize).unwrap_or(&Type::Dyn)
    }
}

pub(crate) fn check(text: &str, parsed: Parsed, environment: &Environment) -> Result<Checked, Vec<Problem>> {
    let Parsed { mut root, ids } = parsed;
    let mut checker = Checker {
        text,
        environment,
        types: vec![Type::Error; ids as usize],
        overloads: vec![Vec::new(); ids as usize],
        variables: BTreeSet::new(),
        scope: Vec::new(),
        unify: Unify::default(),
        problems: Vec::new(),
    };
    checker.expr(&mut root);
    let types = std::mem::take(&mut checker.types);
    let types: Vec<Type> = types.iter().map(|of| checker.unify.substitute(of, true)).collect();
    if checker.unify.is_exhausted() {
        checker.problem(0, "expression is too large to be type checked");
    }
    let mut regexes = BTreeMap::new();
    if checker.problems.is_empty() {
        let mut literals = Literals::new(&types, PROBLEMS_MAX);
        literals.check(&root);
        let (wrong, patterns) = literals.done();
        wrong.into_iter().for_each(|(at, message)| checker.problem(at, message));
        regexes = patterns;
    }
    let Checker { overloads, variables, mut problems, .. } = checker;
    if problems.is_empty() {
        return Ok(Checked { root, types, overloads, variables, regexes });
    }
    problems.sort_by_key(|problem| problem.position);
    Err(problems)
}

struct Checker<'e> {
    text: &'e str,
    environment: &'e Environment,
    types: Vec<Type>,
    overloads: Vec<Vec<&'static Overload>>,
    variables: BTreeSet<Arc<str>>,
    /// Variables of comprehensions, the innermost last.
    scope: Vec<(Arc<str>, Type)>,
    unify: Unify,
    problems: Vec<Problem>,
}

impl Checker<'_> {
    fn problem(&mut self, at: u32, message: impl Into<String>) {
        if self.problems.len() < PROBLEMS_MAX {
            self.problems.push(Problem::new(self.text, at, message));
        }
    }
    fn undeclared(&mut self, at: u32, name: &str) -> Type {
        self.problem(at, format!("undeclared reference to '{name}' (in container '')"));
        Type::Error
    }
    fn mismatch(&mut self, at: u32, wanted: &Type, found: &Type) {
        self.problem(at, format!("expected type '{}' but found '{}'", wanted.brief(), found.brief()));
    }
    fn fits(&mut self, given: &Type, wanted: &Type) -> bool {
        self.unify.fit(std::slice::from_ref(given), std::slice::from_ref(wanted))
    }
    fn known(&mut self, of: &Type) -> Type {
        self.unify.substitute(of, false)
    }
    /// Checks, and remembers the type.
    fn expr(&mut self, expr: &mut Expr) -> Type {
        // It is refused in the end.
        if self.unify.is_exhausted() {
            return Type::Error;
        }
        let of = match expr.kind {
            Kind::Ident(_) => self.ident(expr),
            Kind::Select { .. } => self.select(expr),
            Kind::Call { .. } => self.call(expr),
            _ => self.other(expr),
        };
        if let Some(slot) = self.types.get_mut(expr.id as usize) {
            *slot = of.clone();
        }
        of
    }
    fn other(&mut self, expr: &mut Expr) -> Type {
        let at = expr.at;
        match &mut expr.kind {
            Kind::Literal(literal) => literal_type(literal),
            Kind::List(items) => self.list(items),
            Kind::Map(entries) => self.map(entries),
            Kind::Struct { name, fields } => self.construct(at, name, fields),
            Kind::Fold(fold) => self.fold(fold),
            Kind::Bind(bind) => self.bind(bind),
            Kind::Ident(_) | Kind::Select { .. } | Kind::Call { .. } => Type::Error,
        }
    }
    fn named(&mut self, name: &str) -> Option<Type> {
        if let Some(variable) = self.environment.variable(name) {
            self.variables.insert(name.into());
            return Some(variable.of.clone());
        }
        type_named(name).map(|of| Type::Type(Arc::new(of)))
    }
    #[inline(never)]
    fn ident(&mut self, expr: &Expr) -> Type {
        let Kind::Ident(name) = &expr.kind else { return Type::Error };
        let global = name.strip_prefix('.');
        if global.is_none()
            && let Some((_, of)) = self.scope.iter().rev().find(|(known, _)| known == name)
        {
            return of.clone();
        }
        let name = global.unwrap_or(name);
        match self.named(name) {
            Some(of) => of,
            None => self.undeclared(expr.at, name),
        }
    }
    #[inline(never)]
    fn select(&mut self, expr: &mut Expr) -> Type {
        // A variable's name may have dots.
        if let Some(name) = self.qualified(expr)
            && let Some(of) = self.named(&name)
        {
            expr.kind = Kind::Ident(name.into());
            return of;
        }
        let at = expr.at;
        let Kind::Select { operand, field, test } = &mut expr.kind else { return Type::Error };
        let (field, test) = (field.clone(), *test);
        let of = self.field(at, operand, &field, false);
        if test { Type::Bool } else { self.known(&of) }
    }
    /// `a.b.c`, unless `a` is a comprehension's variable.
    fn qualified(&self, expr: &Expr) -> Option<String> {
        match &expr.kind {
            Kind::Ident(name) if self.scope.iter().any(|(known, _)| known == name) => None,
            Kind::Ident(name) => Some(name.strip_prefix('.').unwrap_or(name).to_owned()),
            Kind::Select { operand, field, test: false } => Some(format!("{}.{field}", self.qualified(operand)?)),
            _ => None,
        }
    }
    fn field(&mut self, at: u32, operand: &mut Expr, field: &str, optional: bool) -> Type {
        let of = self.expr(operand);
        let of = self.known(&of);
        let (target, is_optional) = match of.unwrapped() {
            Some(inner) => (inner.clone(), true),
            None => (of, false),
        };
        let found = match &target {
            Type::Map(_, values) => (**values).clone(),
            Type::Object(object) => match object.fields.get(field) {
                Some(of) => of.clone(),
                None if object.is_open => Type::Dyn,
                None => {
                    self.problem(at, format!("undefined field '{field}'"));
                    Type::Error
                }
            },
            Type::Param(_) => {
                self.fits(&Type::Dyn, &target);
                Type::Dyn
            }
            Type::Dyn | Type::Error => Type::Dyn,
            other => {
                self.problem(at, format!("type '{}' does not support field selection", other.brief()));
                Type::Dyn
            }
        };
        if is_optional || optional { Type::optional(found) } else { found }
    }
    #[inline(never)]
    fn call(&mut self, expr: &mut Expr) -> Type {
        let (id, at) = (expr.id, expr.at);
        let Kind::Call { target, function, args } = &mut expr.kind else { return Type::Error };
        if &**function == "_?._" {
            return self.optional_field(id, at, args);
        }
        let mut types: Vec<Type> = args.iter_mut().map(|arg| self.expr(arg)).collect();
        if let Some(receiver) = target {
            // `a.b.c()` may be the function `a.b.c`.
            let namespaced = self.qualified(receiver).map(|prefix| format!("{prefix}.{function}"));
            if let Some(name) = namespaced.filter(|name| self.environment.overloads(name).next().is_some()) {
                *function = name.into();
                *target = None;
            } else {
                let receiver = self.expr(receiver);
                types.insert(0, receiver);
            }
        }
        let name = function.strip_prefix('.').map_or_else(|| function.clone(), Arc::from);
        *function = name.clone();
        if self.environment.overloads(&name).next().is_none() {
            return self.undeclared(at, &name);
        }
        let is_member = target.is_some();
        if matches!(&*name, "_&&_" | "_||_") {
            let places: Vec<u32> = args.iter().map(|arg| arg.at).collect();
            return self.logic(id, &name, &types, &places);
        }
        let of = self.resolve(id, at, &name, &types, is_member);
        // What the sum of nothing is, only the overload tells.
        if &*name == "sum"
            && let [overload] = self.overloads[id as usize].as_slice()
        {
            *function = overload.id.into();
        }
        of
    }
    fn logic(&mut self, id: u32, name: &str, types: &[Type], places: &[u32]) -> Type {
        let mut result = Type::Bool;
        for (of, at) in types.iter().zip(places) {
            if !self.fits(of, &Type::Bool) {
                let found = self.known(of);
                self.mismatch(*at, &Type::Bool, &found);
                result = Type::Error;
            }
        }
        self.overloads[id as usize] = self.environment.overloads(name).collect();
        result
    }
    fn optional_field(&mut self, id: u32, at: u32, args: &mut [Expr]) -> Type {
        let [operand, field] = args else { return Type::Error };
        let Kind::Literal(Literal::String(name)) = &field.kind else { return Type::Error };
        let name = name.clone();
        self.expr(field);
        let of = self.field(at, operand, &name, true);
        self.overloads[id as usize] = self.environment.overloads("_?._").collect();
        self.known(&of)
    }
    fn resolve(&mut self, id: u32, at: u32, name: &str, types: &[Type], is_member: bool) -> Type {
        let mut result: Option<Type> = None;
        let mut matching = Vec::new();
        let candidates = self.environment.overloads(name).filter(|overload| overload.is_member == is_member);
        for overload in candidates {
            let signature: Vec<&Type> = overload.args.iter().chain([&overload.result]).collect();
            let mut signature = self.unify.instantiate(&signature, overload.params);
            let Some(gives) = signature.pop() else { continue };
            if !self.unify.fit(types, &signature) {
                continue;
            }
            matching.push(overload);
            let gives = self.known(&gives);
            result = Some(match result {
                None => gives,
                Some(before) if before == Type::Dyn || self.unify.is_same(&before, &gives) => before,
                Some(_) => Type::Dyn,
            });
        }
        self.overloads[id as usize] = matching;
        if let Some(result) = result {
            return result;
        }
        let shown: Vec<String> = types.iter().map(|of| self.unify.substitute(of, true).brief()).collect();
        let applied = match shown.split_first() {
            Some((receiver, args)) if is_member => format!("{receiver}.({})", args.join(", ")),
            _ => format!("({})", shown.join(", ")),
        };
        self.problem(at, format!("found no matching overload for '{name}' applied to '{applied}'"));
        Type::Error
    }
    /// The type of what may be optional, and whether it is not though it should be.
    fn unwrapped(&mut self, value: &Expr, of: Type, optional: bool) -> Type {
        if !optional {
            return of;
        }
        let of = self.known(&of);
        if let Some(inner) = of.unwrapped() {
            return inner.clone();
        }
        if of != Type::Dyn {
            self.mismatch(value.at, &Type::optional(of.clone()), &of);
        }
        of
    }
    /// What is of many types is dyn; whether it may be is looked at later (`literals.rs`).
    fn joined(&mut self, before: Option<Type>, of: Type) -> Type {
        match before {
            None => of,
            Some(before) if self.fits(&before, &of) => self.unify.most_general(&before, &of),
            Some(_) => Type::Dyn,
        }
    }
    #[inline(never)]
    fn list(&mut self, items: &mut [Item]) -> Type {
        let mut joined = None;
        for item in items {
            let of = self.expr(&mut item.value);
            let of = self.unwrapped(&item.value, of, item.optional);
            joined = Some(self.joined(joined, of));
        }
        Type::list(joined.unwrap_or_else(|| self.unify.fresh()))
    }
    #[inline(never)]
    fn map(&mut self, entries: &mut [Entry]) -> Type {
        let (mut keys, mut values) = (None, None);
        for entry in entries {
            let key = self.expr(&mut entry.key);
            keys = Some(self.joined(keys, key));
            let value = self.expr(&mut entry.value);
            let value = self.unwrapped(&entry.value, value, entry.optional);
            values = Some(self.joined(values, value));
        }
        let keys = keys.unwrap_or_else(|| self.unify.fresh());
        Type::map(keys, values.unwrap_or_else(|| self.unify.fresh()))
    }
    #[inline(never)]
    fn construct(&mut self, at: u32, name: &str, fields: &mut [Field]) -> Type {
        let name = name.strip_prefix('.').unwrap_or(name);
        let Some(object) = self.environment.object(name) else {
            if self.environment.variable(name).is_some() {
                self.problem(at, format!("'{name}' is not a type"));
                return Type::Error;
            }
            return self.undeclared(at, name);
        };
        for field in fields {
            let value = self.expr(&mut field.value);
            let value = self.unwrapped(&field.value, value, field.optional);
            let Some(wanted) = object.fields.get(&field.name) else {
                if object.is_open {
                    continue;
                }
                self.problem(field.at, format!("undefined field '{}'", field.name));
                continue;
            };
            if !self.fits(wanted, &value) {
                let found = self.known(&value);
                let (wanted, found) = (wanted.brief(), found.brief());
                let message =
                    format!("expected type of field '{}' is '{wanted}' but provided type is '{found}'", field.name);
                self.problem(field.at, message);
            }
        }
        Type::Object(object)
    }
    #[inline(never)]
    fn fold(&mut self, fold: &mut Fold) -> Type {
        let range = self.expr(&mut fold.range);
        let init = self.expr(&mut fold.init);
        let range = self.known(&range);
        let base = self.scope.len();
        self.scope.push((fold.accumulator.clone(), init.clone()));
        let two = fold.second.is_some();
        let (first, second) = match &range {
            Type::List(items) if two => (Type::Int, (**items).clone()),
            Type::List(items) => ((**items).clone(), Type::Dyn),
            Type::Map(keys, values) => ((**keys).clone(), (**values).clone()),
            Type::Dyn | Type::Error | Type::Param(_) => {
                self.fits(&Type::Dyn, &range);
                (Type::Dyn, Type::Dyn)
            }
            other => {
                let other = other.brief();
                let message = format!(
                    "expression of type '{other}' cannot be range of a comprehension (must be list, map, or dynamic)"
                );
                self.problem(fold.range.at, message);
                (Type::Error, Type::Error)
            }
        };
        self.scope.push((fold.variable.clone(), first));
        if let Some(name) = &fold.second {
            self.scope.push((name.clone(), second));
        }
        let condition = self.expr(&mut fold.condition);
        self.assert(&fold.condition, &Type::Bool, &condition);
        let step = self.expr(&mut fold.step);
        self.assert(&fold.step, &init, &step);
        self.scope.truncate(base + 1);
        let result = self.expr(&mut fold.result);
        self.scope.truncate(base);
        self.known(&result)
    }
    #[inline(never)]
    fn bind(&mut self, bind: &mut Bind) -> Type {
        let value = self.expr(&mut bind.value);
        self.scope.push((bind.name.clone(), value));
        let result = self.expr(&mut bind.result);
        self.scope.pop();
        self.known(&result)
    }
    fn assert(&mut self, expr: &Expr, wanted: &Type, found: &Type) {
        if !self.fits(wanted, found) {
            let (wanted, found) = (self.known(wanted), self.known(found));
            self.mismatch(expr.at, &wanted, &found);
        }
    }
}

fn literal_type(literal: &Literal) -> Type {
    match literal {
        Literal::Null => Type::Null,
        Literal::Bool(_) => Type::Bool,
        Literal::Int(_) => Type::Int,
        Literal::Uint(_) => Type::Uint,
        Literal::Double(_) => Type::Double,
        Literal::String(_) => Type::String,
        Literal::Bytes(_) => Type::Bytes,
    }
}

//! What an expression may cost: a walk that keeps what is known of sizes.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::calls::{self, Node};
use super::{BIND, Estimate};
use crate::ast::{ACCUMULATOR, Bind, Entry, Expr, Fold, Item, Kind, Literal};
use crate::checker::Checked;
use crate::environment::Environment;
use crate::schema::{Schema, Shape};
use crate::types::Type;

/// Elements of a path that are no fields.
const ITEMS: &str = "@items";
const KEYS: &str = "@keys";
const VALUES: &str = "@values";
const INDICES: &str = "@indices";

type Path = Vec<Arc<str>>;

pub(crate) fn estimate(checked: &Checked, environment: &Environment) -> Estimate {
    let mut walk = Walk {
        checked,
        environment,
        paths: BTreeMap::new(),
        sizes: BTreeMap::new(),
        entries: BTreeMap::new(),
        locals: Vec::new(),
    };
    walk.expr(&checked.root)
}

/// The sizes of a list's items, or of a map's keys and values.
#[derive(Clone, Copy)]
struct Entries {
    is_list: bool,
    key: Estimate,
    value: Estimate,
}

impl Entries {
    fn or(self, other: Self) -> Self {
        Self { key: self.key.or(other.key), value: self.value.or(other.value), ..self }
    }
}

struct Local {
    name: Arc<str>,
    path: Path,
    size: Option<Estimate>,
    entries: Option<Entries>,
}

struct Walk<'c> {
    checked: &'c Checked,
    environment: &'c Environment,
    paths: BTreeMap<u32, Path>,
    sizes: BTreeMap<u32, Estimate>,
    entries: BTreeMap<u32, Entries>,
    /// The innermost last.
    locals: Vec<Local>,
}

impl Walk<'_> {
    fn expr(&mut self, expr: &Expr) -> Estimate {
        match &expr.kind {
            Kind::Literal(_) => Estimate::fixed(0),
            Kind::Ident(name) => {
                let path = self.local(name).map_or_else(|| vec![name.clone()], |local| local.path.clone());
                self.paths.insert(expr.id, path);
                Estimate::fixed(1)
            }
            Kind::Select { operand, field, test } => self.select(expr, operand, field, *test),
            Kind::Call { target, function, args } => self.call(expr, target.as_deref(), function, args),
            Kind::List(items) => self.list(expr, items),
            Kind::Map(entries) => self.map(expr, entries),
            Kind::Struct { fields, .. } => {
                let sum = |sum: Estimate, cost: Estimate| sum.plus(cost);
                fields.iter().map(|field| self.expr(&field.value)).fold(Estimate::fixed(40), sum)
            }
            Kind::Fold(fold) => self.fold(expr, fold),
            Kind::Bind(bind) => self.bind(expr, bind),
        }
    }
    fn local(&self, name: &str) -> Option<&Local> {
        self.locals.iter().rev().find(|local| *local.name == *name)
    }
    fn path(&self, expr: &Expr) -> Path {
        if let Kind::Ident(name) = &expr.kind
            && let Some(local) = self.local(name)
        {
            return local.path.clone();
        }
        self.paths.get(&expr.id).cloned().unwrap_or_default()
    }
    fn longer(&self, expr: &Expr, element: &str) -> Path {
        let mut path = self.path(expr);
        path.push(element.into());
        path
    }
    #[inline(never)]
    fn select(&mut self, expr: &Expr, operand: &Expr, field: &Arc<str>, test: bool) -> Estimate {
        let cost = self.expr(operand);
        if test {
            return cost;
        }
        self.paths.insert(expr.id, self.longer(operand, field));
        let is_selectable = matches!(self.checked.type_of(operand), Type::Map(..) | Type::Object(_) | Type::Param(_));
        if is_selectable { cost.plus(Estimate::fixed(1)) } else { cost }
    }
    #[inline(never)]
    fn list(&mut self, expr: &Expr, items: &[Item]) -> Estimate {
        let mut cost = Estimate::fixed(10);
        let mut value = none_of(items.is_empty());
        for item in items {
            cost = cost.plus(self.expr(&item.value));
            value = value.or(self.size_or_unknown(&item.value));
        }
        self.entries.insert(expr.id, Entries { is_list: true, key: Estimate::fixed(1), value });
        cost
    }
    #[inline(never)]
    fn map(&mut self, expr: &Expr, entries: &[Entry]) -> Estimate {
        let mut cost = Estimate::fixed(30);
        let (mut key, mut value) = (none_of(entries.is_empty()), none_of(entries.is_empty()));
        for entry in entries {
            cost = cost.plus(self.expr(&entry.key)).plus(self.expr(&entry.value));
            key = key.or(self.size_or_unknown(&entry.key));
            value = value.or(self.size_or_unknown(&entry.value));
        }
        self.entries.insert(expr.id, Entries { is_list: false, key, value });
        cost
    }
    #[inline(never)]
    fn bind(&mut self, expr: &Expr, bind: &Bind) -> Estimate {
        let cost = Estimate::fixed(BIND).plus(self.expr(&bind.value));
        self.push_local(&bind.name, &bind.value);
        let cost = cost.plus(self.expr(&bind.result));
        if let Some(size) = self.size(&bind.result) {
            self.sizes.insert(expr.id, size);
        }
        if let Some(entries) = self.entries_of(&bind.result) {
            self.entries.insert(expr.id, entries);
        }
        self.locals.pop();
        cost
    }
    fn push_local(&mut self, name: &Arc<str>, value: &Expr) {
        let (path, size, entries) = (self.path(value), self.size(value), self.entries_of(value));
        self.locals.push(Local { name: name.clone(), path, size, entries });
    }
    fn push_element(&mut self, name: &Arc<str>, range: &Expr, element: &str, size: Option<Estimate>) {
        let path = self.longer(range, element);
        self.locals.push(Local { name: name.clone(), path, size, entries: None });
    }
    #[inline(never)]
    fn fold(&mut self, expr: &Expr, fold: &Fold) -> Estimate {
        let before = self.expr(&fold.range).plus(self.expr(&fold.init));
        self.push_local(&fold.accumulator, &fold.init);
        let entries = self.entries_of(&fold.range);
        let is_list = entries
            .map_or_else(|| matches!(self.checked.type_of(&fold.range), Type::List(_)), |entries| entries.is_list);
        let (key, value) = (entries.map(|entries| entries.key), entries.map(|entries| entries.value));
        let (keys, values) = if is_list { (INDICES, ITEMS) } else { (KEYS, VALUES) };
        match &fold.second {
            Some(second) => {
                self.push_element(&fold.variable, &fold.range, keys, key);
                self.push_element(second, &fold.range, values, value);
            }
            None if is_list => self.push_element(&fold.variable, &fold.range, values, value),
            None => self.push_element(&fold.variable, &fold.range, keys, key),
        }
        let each = self.expr(&fold.condition).plus(self.expr(&fold.step));
        let step_entries = self.entries_of(&fold.step);
        self.locals.truncate(self.locals.len() - 1 - usize::from(fold.second.is_some()));
        let after = self.expr(&fold.result);
        self.locals.pop();
        let count = self.size_or_unknown(&fold.range);
        match &fold.init.kind {
            Kind::Literal(_) => {
                if let Some(size) = self.size(&fold.init) {
                    self.sizes.insert(expr.id, size);
                }
            }
            Kind::List(_) | Kind::Map(_) => {
                self.sizes.insert(expr.id, count);
                if let Some(entries) = step_entries {
                    self.entries.insert(expr.id, entries);
                }
            }
            _ => {}
        }
        before.plus(after).plus(count.times(each))
    }
    fn node(&mut self, expr: &Expr) -> Node {
        let mut path = self.path(expr);
        if path.first().is_some_and(|first| **first == *ACCUMULATOR) {
            path.clear();
        }
        let literal = if let Kind::Literal(literal) = &expr.kind { Some(literal.clone()) } else { None };
        Node { path, of: self.checked.type_of(expr).clone(), literal, size: self.size(expr) }
    }
    #[inline(never)]
    fn call(&mut self, expr: &Expr, target: Option<&Expr>, function: &str, args: &[Expr]) -> Estimate {
        if let ("dyn", [arg]) = (function, args) {
            let cost = self.expr(arg).plus(Estimate::fixed(1));
            if let Some(size) = self.size(arg) {
                self.sizes.insert(expr.id, size);
            }
            if let Some(entries) = self.entries_of(arg) {
                self.entries.insert(expr.id, entries);
            }
            return cost;
        }
        let mut costs = Vec::new();
        let mut nodes = Vec::new();
        for arg in args {
            costs.push(self.expr(arg));
            nodes.push(self.node(arg));
        }
        let checked = self.checked;
        let overloads = checked.overloads.get(expr.id as usize).map_or(&[][..], Vec::as_slice);
        if overloads.is_empty() {
            return Estimate::fixed(0);
        }
        let (target_cost, receiver) = match target {
            Some(target) => (self.expr(target), Some(self.node(target))),
            None => (Estimate::fixed(0), None),
        };
        let mut cost = Estimate::new(u64::MAX, 0);
        let mut size: Option<Estimate> = None;
        for overload in overloads {
            let (one, result) = self.overload(expr, function, overload.id, receiver.as_ref(), args, &nodes, &costs);
            cost = cost.or(one);
            size = match (size, result) {
                (Some(size), Some(result)) => Some(size.or(result)),
                (size, result) => size.or(result),
            };
            if let ("index_list" | "index_map", Some(of)) = (overload.id, args.first()) {
                size = self.entries_of(of).map(|entries| entries.value);
                let element = if overload.id == "index_list" { ITEMS } else { VALUES };
                self.paths.insert(expr.id, self.longer(of, element));
            }
            size = size.or_else(|| self.size(expr));
        }
        if let Some(size) = size {
            self.sizes.insert(expr.id, size);
        }
        target_cost.plus(cost)
    }
    #[expect(clippy::too_many_arguments, reason = "all of one call")]
    #[inline(never)]
    fn overload(
        &mut self,
        expr: &Expr,
        function: &str,
        id: &str,
        receiver: Option<&Node>,
        args: &[Expr],
        nodes: &[Node],
        costs: &[Estimate],
    ) -> calls::Called {
        let sum = costs.iter().fold(Estimate::fixed(0), |sum, cost| sum.plus(*cost));
        if let (Some(a), Some(b)) = (args.first(), args.get(1))
            && matches!(id, "add_list" | "add_string" | "add_bytes")
            && let (Some(a), Some(b)) = (self.entries_of(a), self.entries_of(b))
        {
            self.entries.insert(expr.id, a.or(b));
        }
        match (id, costs, args) {
            ("logical_and" | "logical_or", [a, b], _) => return (Estimate::new(a.min, a.plus(*b).max), None),
            ("conditional", [condition, a, b], [_, truthy, falsy]) => {
                if let (Some(a), Some(b)) = (self.entries_of(truthy), self.entries_of(falsy)) {
                    self.entries.insert(expr.id, a.or(b));
                }
                let size = self.size_or_unknown(truthy).or(self.size_or_unknown(falsy));
                return (condition.plus(a.or(*b)), Some(size));
            }
            _ => {}
        }
        let items = |list: &Node| self.items(list);
        let called = calls::call(function, id, receiver, nodes, &items);
        let (cost, size) = called.unwrap_or_else(|| calls::standard(id, receiver, nodes));
        (cost.plus(sum), size)
    }
    /// Of what stands in a list.
    fn items(&self, list: &Node) -> Option<(Type, Estimate)> {
        let of = match &list.of {
            Type::List(items) => (**items).clone(),
            Type::Map(keys, _) => (**keys).clone(),
            _ => return None,
        };
        let mut path = list.path.clone();
        let known = if path.is_empty() {
            None
        } else {
            path.push(ITEMS.into());
            self.known(&path)
        };
        Some((of, known.unwrap_or(Estimate::UNKNOWN)))
    }

    fn size_or_unknown(&mut self, expr: &Expr) -> Estimate {
        self.size(expr).unwrap_or(Estimate::UNKNOWN)
    }
    fn size(&mut self, expr: &Expr) -> Option<Estimate> {
        if let Some(size) = self.sizes.get(&expr.id) {
            return Some(*size);
        }
        if let Some(size) = written_size(expr) {
            return Some(Estimate::fixed(size));
        }
        let path = self.path(expr);
        if let Some(size) = self.known(&path) {
            self.sizes.insert(expr.id, size);
            return Some(size);
        }
        if self.checked.type_of(expr).is_scalar() {
            return Some(Estimate::fixed(1));
        }
        match &expr.kind {
            Kind::Ident(name) => self.local(name)?.size,
            _ => None,
        }
    }
    fn entries_of(&self, expr: &Expr) -> Option<Entries> {
        if let Some(entries) = self.entries.get(&expr.id) {
            return Some(*entries);
        }
        match &expr.kind {
            Kind::Ident(name) => self.local(name)?.entries,
            _ => None,
        }
    }
    /// What the schemas say of a part of a variable.
    fn known(&self, path: &[Arc<str>]) -> Option<Estimate> {
        let (variable, elements) = path.split_first()?;
        let mut schema: &Schema = self.environment.variable(variable)?.schema.as_ref()?;
        for element in elements {
            schema = match (&schema.shape, &**element) {
                (Shape::List { items, .. }, ITEMS | VALUES) => items.as_ref(),
                (Shape::Map(values), ITEMS | VALUES) => values.as_ref(),
                // Nothing bounds a map's keys.
                (Shape::Map(_), KEYS) => return Some(Estimate::new(0, 0)),
                (Shape::Object(fields), field) => &fields.get(field)?.schema,
                _ => return None,
            };
        }
        Some(Estimate::new(0, schema.max_elements))
    }
}

fn none_of(is_empty: bool) -> Estimate {
    Estimate::new(if is_empty { 0 } else { u64::MAX }, 0)
}

fn written_size(expr: &Expr) -> Option<u64> {
    let size = match &expr.kind {
        Kind::Literal(Literal::String(text)) => text.chars().count(),
        Kind::Literal(Literal::Bytes(bytes)) => bytes.len(),
        Kind::Literal(_) => 1,
        Kind::List(items) => items.len(),
        Kind::Map(entries) => entries.len(),
        _ => return None,
    };
    Some(size as u64)
}

//! Which type fits where, and what open types turn out to be.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::types::Type;

/// An expression whose types take more looks than this is refused.
const WORK_MAX: u32 = 500_000;

/// And one that has a type nested deeper, so that whatever walks a type by recursion has a bound.
const DEPTH_MAX: u16 = 250;

/// What open types stand for, and a way back when a try fails.
#[derive(Debug, Default)]
pub(super) struct Unify {
    bound: BTreeMap<u32, Type>,
    trail: Vec<(u32, Option<Type>)>,
    next: u32,
    work: u32,
    /// How deep in a type it is that is gone through.
    depth: u16,
}

impl Unify {
    pub(super) fn is_exhausted(&self) -> bool {
        self.work >= WORK_MAX
    }
    pub(super) fn fresh(&mut self) -> Type {
        self.next += 1;
        Type::Param(self.next - 1)
    }
    /// A signature's types with open types of its own.
    pub(super) fn instantiate(&mut self, types: &[&Type], params: u32) -> Vec<Type> {
        let base = self.next;
        self.next += params;
        types.iter().map(|of| self.replaced(of, &|number| Some(Type::Param(base + number)))).collect()
    }
    /// With open types as far as they are known; what is not known is `dyn` in the end.
    pub(super) fn substitute(&mut self, of: &Type, open_is_dyn: bool) -> Type {
        if self.depth >= DEPTH_MAX {
            self.work = WORK_MAX;
        }
        self.work = self.work.saturating_add(1);
        if self.is_exhausted() {
            return Type::Dyn;
        }
        self.depth += 1;
        let made = self.substituted(of, open_is_dyn);
        self.depth -= 1;
        made
    }
    fn substituted(&mut self, of: &Type, open_is_dyn: bool) -> Type {
        match of {
            Type::Param(number) => match self.bound.get(number).cloned() {
                Some(known) => self.substitute(&known, open_is_dyn),
                None if open_is_dyn => Type::Dyn,
                None => of.clone(),
            },
            Type::List(items) => Type::list(self.substitute(items, open_is_dyn)),
            Type::Map(keys, values) => {
                Type::map(self.substitute(keys, open_is_dyn), self.substitute(values, open_is_dyn))
            }
            Type::Type(inner) => Type::Type(Arc::new(self.substitute(inner, open_is_dyn))),
            Type::Opaque(name, params) => {
                Type::Opaque(name.clone(), params.iter().map(|param| self.substitute(param, open_is_dyn)).collect())
            }
            other => other.clone(),
        }
    }
    fn replaced(&mut self, of: &Type, by: &dyn Fn(u32) -> Option<Type>) -> Type {
        self.work = self.work.saturating_add(1);
        if self.is_exhausted() {
            return Type::Dyn;
        }
        match of {
            Type::Param(number) => by(*number).unwrap_or_else(|| of.clone()),
            Type::List(items) => Type::list(self.replaced(items, by)),
            Type::Map(keys, values) => Type::map(self.replaced(keys, by), self.replaced(values, by)),
            Type::Type(inner) => Type::Type(Arc::new(self.replaced(inner, by))),
            Type::Opaque(name, params) => {
                Type::Opaque(name.clone(), params.iter().map(|param| self.replaced(param, by)).collect())
            }
            other => other.clone(),
        }
    }
    /// Whether all fit. What they bind stays only then.
    pub(super) fn fit(&mut self, given: &[Type], wanted: &[Type]) -> bool {
        let mark = self.trail.len();
        let fits = given.len() == wanted.len() && given.iter().zip(wanted).all(|(a, b)| self.assignable(a, b));
        if !fits {
            while self.trail.len() > mark
                && let Some((number, before)) = self.trail.pop()
            {
                match before {
                    Some(before) => self.bound.insert(number, before),
                    None => self.bound.remove(&number),
                };
            }
        }
        fits
    }
    fn bind(&mut self, number: u32, to: Type) {
        let before = self.bound.insert(number, to);
        self.trail.push((number, before));
    }
    fn assignable(&mut self, a: &Type, b: &Type) -> bool {
        self.work = self.work.saturating_add(1);
        if self.is_exhausted() {
            return true;
        }
        if let Type::Param(number) = b {
            let (fits, is_known) = self.fits_open(a, *number);
            if fits || is_known {
                return fits;
            }
        }
        if let Type::Param(number) = a {
            return self.fits_open(b, *number).0;
        }
        if a.is_dyn_or_error() || b.is_dyn_or_error() {
            return true;
        }
        match (a, b) {
            (Type::Null, other) | (other, Type::Null) => {
                matches!(other, Type::Null | Type::Opaque(..) | Type::Object(_) | Type::Duration | Type::Timestamp)
            }
            (Type::Type(_), Type::Type(_)) => true,
            (Type::List(a), Type::List(b)) => Arc::ptr_eq(a, b) || self.assignable(a, b),
            (Type::Map(a, x), Type::Map(b, y)) => {
                (Arc::ptr_eq(a, b) || self.assignable(a, b)) && (Arc::ptr_eq(x, y) || self.assignable(x, y))
            }
            (Type::Opaque(a, x), Type::Opaque(b, y)) => {
                a == b && x.len() == y.len() && x.iter().zip(y).all(|(x, y)| self.assignable(x, y))
            }
            (a, b) => a == b,
        }
    }
    /// Whether a type may be what an open one stands for, and whether that one stands for something already.
    fn fits_open(&mut self, of: &Type, number: u32) -> (bool, bool) {
        if *of == Type::Param(number) {
            return (true, true);
        }
        if let Some(known) = self.bound.get(&number).cloned() {
            if self.is_same(of, &known) {
                return (true, true);
            }
            if !self.assignable(of, &known) {
                return (false, true);
            }
            let general = self.most_general(of, &known);
            if !self.occurs(number, &general) {
                self.bind(number, general);
            }
            return (true, true);
        }
        if self.occurs(number, of) {
            return (false, false);
        }
        self.bind(number, of.clone());
        (true, false)
    }
    fn occurs(&mut self, number: u32, within: &Type) -> bool {
        self.work = self.work.saturating_add(1);
        if self.is_exhausted() {
            return true;
        }
        match within {
            Type::Param(other) if *other == number => true,
            Type::Param(other) => match self.bound.get(other).cloned() {
                Some(known) => self.occurs(number, &known),
                None => false,
            },
            Type::List(inner) | Type::Type(inner) => self.occurs(number, inner),
            Type::Map(keys, values) => self.occurs(number, keys) || self.occurs(number, values),
            Type::Opaque(_, params) => params.iter().any(|param| self.occurs(number, param)),
            _ => false,
        }
    }
    /// Whether they are one type. It takes the looks that this needs.
    pub(super) fn is_same(&mut self, a: &Type, b: &Type) -> bool {
        self.all(a, b, |a, b| match (a, b) {
            (Type::Opaque(a, x), Type::Opaque(b, y)) => Some(a == b && x.len() == y.len()).filter(|same| !same),
            (Type::List(_), Type::List(_)) | (Type::Map(..), Type::Map(..)) | (Type::Type(_), Type::Type(_)) => None,
            (a, b) => Some(a == b),
        })
    }
    /// Of two that fit.
    pub(super) fn most_general(&mut self, a: &Type, b: &Type) -> Type {
        let is_as_general = self.all(a, b, |a, b| match (a, b) {
            (Type::Dyn | Type::Param(_), _) => Some(true),
            (_, Type::Dyn | Type::Param(_)) => Some(false),
            (Type::Opaque(a, x), Type::Opaque(b, y)) => Some(a == b && x.len() == y.len()).filter(|same| !same),
            (Type::List(_), Type::List(_)) | (Type::Map(..), Type::Map(..)) => None,
            (Type::Type(_), Type::Type(_)) => Some(true),
            (a, b) => Some(a == b),
        });
        if is_as_general { a.clone() } else { b.clone() }
    }
    /// Whether it holds for two types: as `holds` says, or as it does for what they are of if that says nothing. What two
    /// types share is not looked into.
    fn all(&mut self, a: &Type, b: &Type, holds: impl Fn(&Type, &Type) -> Option<bool> + Copy) -> bool {
        self.work = self.work.saturating_add(1);
        if self.is_exhausted() {
            return true;
        }
        if let Some(holds) = holds(a, b) {
            return holds;
        }
        match (a, b) {
            (Type::List(a), Type::List(b)) | (Type::Type(a), Type::Type(b)) => {
                Arc::ptr_eq(a, b) || self.all(a, b, holds)
            }
            (Type::Map(a, x), Type::Map(b, y)) => {
                (Arc::ptr_eq(a, b) || self.all(a, b, holds)) && (Arc::ptr_eq(x, y) || self.all(x, y, holds))
            }
            (Type::Opaque(_, x), Type::Opaque(_, y)) => x.iter().zip(y).all(|(x, y)| self.all(x, y, holds)),
            _ => false,
        }
    }
}

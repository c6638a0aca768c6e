//! The types of expressions, as the checker knows them and messages print them.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::sync::Arc;

/// A type. Two object types are the same if their names are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Type {
    /// Any value; what may be done with it shows when it is evaluated.
    Dyn,
    Null,
    Bool,
    Int,
    Uint,
    Double,
    String,
    Bytes,
    Timestamp,
    Duration,
    List(Arc<Type>),
    Map(Arc<Type>, Arc<Type>),
    /// With named fields.
    Object(Arc<ObjectType>),
    /// Known by its name alone: `optional_type(…)`, `net.IP`, `kubernetes.Quantity`, …
    Opaque(Arc<str>, Vec<Type>),
    /// The type of a type.
    Type(Arc<Type>),
    /// What stands for any one type: in a signature, or still to be found.
    Param(u32),
    /// Of what is wrong already, so that it is told once.
    Error,
}

/// Fields by the names that expressions know them by.
#[derive(Clone, Debug)]
pub struct ObjectType {
    pub name: Arc<str>,
    pub fields: BTreeMap<Arc<str>, Type>,
    /// Whether it may have any other field, of any type.
    pub is_open: bool,
}

impl PartialEq for ObjectType {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}
impl Eq for ObjectType {}

pub(crate) const OPTIONAL: &str = "optional_type";

impl Type {
    pub fn list(items: Self) -> Self {
        Self::List(Arc::new(items))
    }
    pub fn map(keys: Self, values: Self) -> Self {
        Self::Map(Arc::new(keys), Arc::new(values))
    }
    pub fn optional(of: Self) -> Self {
        Self::Opaque(OPTIONAL.into(), vec![of])
    }
    pub fn opaque(name: &str) -> Self {
        Self::Opaque(name.into(), Vec::new())
    }
    pub fn object(name: &str, fields: impl IntoIterator<Item = (Arc<str>, Self)>) -> Self {
        let fields = fields.into_iter().collect();
        Self::Object(Arc::new(ObjectType { name: name.into(), fields, is_open: false }))
    }
    /// What an optional holds.
    pub(crate) fn unwrapped(&self) -> Option<&Self> {
        match self {
            Self::Opaque(name, params) if **name == *OPTIONAL => params.first(),
            _ => None,
        }
    }
    /// As it is printed, or the beginning of that: types of types can be large.
    pub(crate) fn brief(&self) -> String {
        let mut out = Brief(String::new());
        // It fails when there is enough.
        if write!(out, "{self}").is_err() {
            out.0.push('…');
        }
        out.0
    }
    pub(crate) fn is_dyn_or_error(&self) -> bool {
        matches!(self, Self::Dyn | Self::Error)
    }
    /// Of a size that is known.
    pub(crate) fn is_scalar(&self) -> bool {
        match self {
            Self::Bool | Self::Int | Self::Uint | Self::Double | Self::Timestamp | Self::Duration => true,
            other => other.unwrapped().is_some_and(Self::is_scalar),
        }
    }
    /// What `type(x)` has as its name.
    pub(crate) fn name(&self) -> &str {
        match self {
            Self::Dyn => "dyn",
            Self::Null => "null_type",
            Self::Bool => "bool",
            Self::Int => "int",
            Self::Uint => "uint",
            Self::Double => "double",
            Self::String => "string",
            Self::Bytes => "bytes",
            Self::Timestamp => "google.protobuf.Timestamp",
            Self::Duration => "google.protobuf.Duration",
            Self::List(_) => "list",
            Self::Map(..) => "map",
            Self::Object(object) => &object.name,
            Self::Opaque(name, _) => name,
            Self::Type(_) => "type",
            Self::Param(_) | Self::Error => "!error!",
        }
    }
}

/// As messages of the checker have it.
impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("null"),
            Self::Timestamp => f.write_str("timestamp"),
            Self::Duration => f.write_str("duration"),
            Self::List(items) => write!(f, "list({items})"),
            Self::Map(keys, values) => write!(f, "map({keys}, {values})"),
            Self::Type(of) => write!(f, "type({of})"),
            Self::Opaque(name, params) if !params.is_empty() => {
                write!(f, "{name}(")?;
                for (index, param) in params.iter().enumerate() {
                    f.write_str(if index > 0 { ", " } else { "" })?;
                    write!(f, "{param}")?;
                }
                f.write_str(")")
            }
            Self::Param(number) => write!(f, "_var{number}"),
            other => f.write_str(other.name()),
        }
    }
}

/// Text that does not grow beyond what somebody reads.
struct Brief(String);

impl fmt::Write for Brief {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        const MAX: usize = 2048;
        if self.0.len() + text.len() > MAX {
            return Err(fmt::Error);
        }
        self.0.push_str(text);
        Ok(())
    }
}

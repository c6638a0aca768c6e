//! Reads a table of types. A type is a line with its name, and a line of two spaces for each of its fields:
//!
//! ```text
//! core.v1.Container
//!   name 1 string required
//!   ports 6 []core.v1.ContainerPort omitempty list=map(containerPort,protocol) patch=merge(containerPort)
//! ```
//!
//! - Type: `NAME [kind=API_VERSION,KIND] [atomic] [open] [union=DISCRIMINATOR(FIELD:VALUE,…)]`.
//! - Field: `NAME NUMBER TYPE [required] [omitempty] [default=JSON] [list=…] [map=atomic] [patch=…]`. The number is protobuf's: `-` for
//!   none, `2.1` for field 1 of the embedded message 2. The type is as Go writes it; a `*` says that absent and zero
//!   differ, `omitempty` that zero is not written.
//! - Lines that begin with `#`, and empty ones, say nothing.

mod size;

use std::collections::HashMap;
use std::sync::Arc;

use super::model::{
    Alternative, Around, Field, List, ListKind, Map, Node, NodeId, PatchStrategy, Scalar, Schema, Struct, Union, Zero,
};

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {why}")]
pub struct TextError {
    pub line: usize,
    pub why: Why,
}

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Why {
    #[error("a field needs a name, a number and a type")]
    Short,
    #[error("a field before any type")]
    NoType,
    #[error("{0:?} is no protobuf number")]
    Number(String),
    #[error("{0:?} means nothing here")]
    Mark(String),
    #[error("the type {0:?} is used and not there")]
    Unknown(String),
    #[error("more than {MAX_NODES} nodes")]
    TooMany,
}

/// Ids are 32 bits; a table of a hundredth of this is already absurd.
const MAX_NODES: usize = 1 << 20;

/// The schema that a table describes.
pub fn read(text: &str) -> Result<Schema, TextError> {
    let mut reader = Reader::default();
    for (at, line) in text.lines().enumerate() {
        reader.line(line).map_err(|why| TextError { line: at + 1, why })?;
    }
    reader.finish().map_err(|why| TextError { line: text.lines().count(), why })
}

#[derive(Default)]
struct Reader {
    schema: Schema,
    /// Nodes without a name that are there already; and the one that each word for a scalar means.
    unnamed: HashMap<Unnamed, NodeId>,
    /// Types that were used and have not been described yet.
    open: HashMap<Arc<str>, NodeId>,
    current: Option<Current>,
}

/// The type whose lines are being read.
struct Current {
    name: Arc<str>,
    atomic: bool,
    open: bool,
    unions: Vec<Union>,
    fields: Vec<Field>,
}

#[derive(PartialEq, Eq, Hash, Clone)]
enum Unnamed {
    List(List),
    Map(Map),
    Scalar(Scalar),
}

impl Reader {
    fn line(&mut self, line: &str) -> Result<(), Why> {
        if line.is_empty() || line.starts_with('#') {
            return Ok(());
        }
        match line.strip_prefix("  ") {
            Some(field) => {
                let field = self.field(field)?;
                self.current.as_mut().ok_or(Why::NoType)?.fields.push(field);
                Ok(())
            }
            None => {
                self.close()?;
                self.open_type(line)
            }
        }
    }

    fn open_type(&mut self, line: &str) -> Result<(), Why> {
        let mut words = line.split(' ');
        let name: Arc<str> = words.next().unwrap_or_default().into();
        let (mut atomic, mut open, mut unions) = (false, false, Vec::new());
        let node = self.named(&name)?;
        for word in words {
            match word.split_once('=') {
                None if word == "atomic" => atomic = true,
                None if word == "open" => open = true,
                Some(("kind", kind)) => {
                    let (api_version, kind) = kind.split_once(',').ok_or_else(|| Why::Mark(word.to_owned()))?;
                    self.schema.kinds.insert((api_version.into(), kind.into()), node);
                }
                Some(("union", text)) => unions.push(union(text).ok_or_else(|| Why::Mark(word.to_owned()))?),
                _ => return Err(Why::Mark(word.to_owned())),
            }
        }
        self.current = Some(Current { name, atomic, open, unions, fields: Vec::new() });
        Ok(())
    }

    /// Ends the type that is being described.
    fn close(&mut self) -> Result<(), Why> {
        let Some(Current { name, atomic, open, unions, fields }) = self.current.take() else { return Ok(()) };
        let NodeId(at) = self.named(&name)?;
        self.open.remove(&name);
        let mut of = Struct::new(name, atomic, unions, fields);
        of.open = open;
        of.filled = size::filled(&of, &self.schema);
        self.schema.nodes[at as usize] = Node::Struct(of);
        Ok(())
    }

    fn finish(mut self) -> Result<Schema, Why> {
        self.close()?;
        match self.open.keys().min() {
            Some(name) => Err(Why::Unknown(name.to_string())),
            None => {
                self.schema.held = size::held(&self.schema);
                Ok(self.schema)
            }
        }
    }

    fn add(&mut self, node: Node) -> Result<NodeId, Why> {
        if self.schema.nodes.len() >= MAX_NODES {
            return Err(Why::TooMany);
        }
        // Below MAX_NODES, which is below 2^32.
        let id = NodeId(self.schema.nodes.len() as u32);
        self.schema.nodes.push(node);
        Ok(id)
    }

    /// The node of a type with a name, which may be described later.
    fn named(&mut self, name: &str) -> Result<NodeId, Why> {
        if let Some(id) = self.schema.types.get(name) {
            return Ok(*id);
        }
        let name: Arc<str> = name.into();
        let id = self.add(Node::Scalar(Scalar::RawExtension))?;
        self.schema.types.insert(name.clone(), id);
        self.open.insert(name, id);
        Ok(id)
    }

    fn unnamed(&mut self, key: Unnamed) -> Result<NodeId, Why> {
        if let Some(id) = self.unnamed.get(&key) {
            return Ok(*id);
        }
        let id = self.add(match key.clone() {
            Unnamed::List(list) => Node::List(list),
            Unnamed::Map(map) => Node::Map(map),
            Unnamed::Scalar(scalar) => Node::Scalar(scalar),
        })?;
        self.unnamed.insert(key, id);
        Ok(id)
    }

    fn field(&mut self, text: &str) -> Result<Field, Why> {
        let mut words = text.split(' ');
        let (Some(name), Some(number), Some(of)) = (words.next(), words.next(), words.next()) else {
            return Err(Why::Short);
        };
        let (around, number) = self::number(number)?;
        let (mut zero, of) = of.strip_prefix('*').map_or((Zero::Written, of), |of| (Zero::Distinct, of));
        let (mut required, mut atomic_map, mut kind) = (false, false, ListKind::Atomic);
        let (mut patch, mut default) = (PatchStrategy::default(), None);
        for word in words {
            match word.split_once('=') {
                None if word == "required" => required = true,
                None if word == "omitempty" => zero = Zero::Omitted,
                Some(("list", list)) => kind = list_kind(list).ok_or_else(|| Why::Mark(word.to_owned()))?,
                Some(("map", "atomic")) => atomic_map = true,
                Some(("patch", strategy)) => {
                    patch = patch_strategy(strategy).ok_or_else(|| Why::Mark(word.to_owned()))?;
                }
                Some(("default", json)) => {
                    default = Some(serde_json::from_str(json).map_err(|_| Why::Mark(word.to_owned()))?);
                }
                _ => return Err(Why::Mark(word.to_owned())),
            }
        }
        let node = self.node(of, kind, atomic_map)?;
        Ok(Field { name: name.into(), node, required, zero, number, around, patch, default })
    }

    /// The node of a type as Go writes it. `kind` and `atomic` are about the outermost list or map.
    fn node(&mut self, of: &str, kind: ListKind, atomic: bool) -> Result<NodeId, Why> {
        if let Some(items) = of.strip_prefix("[]") {
            let items = self.node(items, ListKind::Atomic, false)?;
            return self.unnamed(Unnamed::List(List { items, kind }));
        }
        if let Some(values) = of.strip_prefix("map[string]") {
            let values = self.node(values, ListKind::Atomic, false)?;
            return self.unnamed(Unnamed::Map(Map { values, atomic }));
        }
        match scalar(of) {
            Some(scalar) => self.unnamed(Unnamed::Scalar(scalar)),
            // A field may be atomic where its type is not elsewhere; a copy of the type would then be needed. None is.
            None => self.named(of),
        }
    }
}

fn scalar(word: &str) -> Option<Scalar> {
    Some(match word {
        "string" => Scalar::String,
        "bool" => Scalar::Bool,
        "int32" => Scalar::Int32,
        "int64" => Scalar::Int64,
        "float64" => Scalar::Float64,
        "bytes" => Scalar::Bytes,
        "Time" => Scalar::Time,
        "MicroTime" => Scalar::MicroTime,
        "Quantity" => Scalar::Quantity,
        "IntOrString" => Scalar::IntOrString,
        "RawExtension" => Scalar::RawExtension,
        "FieldsV1" => Scalar::FieldsV1,
        "ExtraValue" => Scalar::ExtraValue,
        "SchemaOrArray" => Scalar::SchemaOr(Alternative::Array),
        "SchemaOrBool" => Scalar::SchemaOr(Alternative::Bool),
        "SchemaOrStringArray" => Scalar::SchemaOr(Alternative::StringArray),
        _ => return None,
    })
}

/// `-`, `7`, `2.1`, `2.2.1`: the numbers of the messages around, and the field's own, or 0.
fn number(text: &str) -> Result<(Around, u16), Why> {
    if text == "-" {
        return Ok((Around::NONE, 0));
    }
    let wrong = || Why::Number(text.to_owned());
    let (outer, number) = text.rsplit_once('.').map_or((None, text), |(outer, number)| (Some(outer), number));
    let parse = |digits: &str| digits.parse::<u16>().map_err(|_| wrong());
    let mut around = Around::NONE;
    for digits in outer.into_iter().flat_map(|outer| outer.split('.')) {
        around = around.within(parse(digits)?).ok_or_else(wrong)?;
    }
    Ok((around, parse(number)?))
}

/// `atomic`, `set`, `map(a,b)`.
fn list_kind(text: &str) -> Option<ListKind> {
    match text {
        "atomic" => Some(ListKind::Atomic),
        "set" => Some(ListKind::Set),
        _ => Some(ListKind::Map(within("map", text)?.split(',').map(Arc::from).collect())),
    }
}

/// `type(queuing:Queuing,…)`, or `(pod:Pod)` without a discriminator.
fn union(text: &str) -> Option<Union> {
    let (discriminator, fields) = text.strip_suffix(')')?.split_once('(')?;
    let field = |pair: &str| pair.split_once(':').map(|(name, value)| (Arc::from(name), Arc::from(value)));
    Some(Union {
        discriminator: (!discriminator.is_empty()).then(|| discriminator.into()),
        fields: fields.split(',').map(field).collect::<Option<_>>()?,
    })
}

/// `merge`, `merge(name)`, `retainKeys`, `replace`, or several with `+` between.
fn patch_strategy(text: &str) -> Option<PatchStrategy> {
    let mut strategy = PatchStrategy::default();
    for word in text.split('+') {
        match word {
            "merge" => strategy.merge = true,
            "retainKeys" => strategy.retain_keys = true,
            "replace" => strategy.merge = false,
            _ => {
                strategy.merge = true;
                strategy.merge_key = Some(within("merge", word)?.into());
            }
        }
    }
    Some(strategy)
}

/// What stands in brackets behind a word.
fn within<'t>(word: &str, text: &'t str) -> Option<&'t str> {
    text.strip_prefix(word)?.strip_prefix('(')?.strip_suffix(')').filter(|inner| !inner.is_empty())
}

#[cfg(test)]
mod tests;

//! Where a value stands in a body: as users write it, and as Go names it.

use std::fmt;

use crate::schema::Struct;

/// A chain on the stack; printed only when there is something to tell: `spec.containers[0].imagee`.
#[derive(Clone, Copy, Debug)]
pub(super) enum Path<'a> {
    Root,
    /// A field of a struct.
    Field(&'a Path<'a>, &'a Struct, &'a str),
    /// A key of a map, or one that its struct does not know.
    Key(&'a Path<'a>, &'a str),
    Index(&'a Path<'a>, usize),
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Root => Ok(()),
            Self::Field(Self::Root, _, key) | Self::Key(Self::Root, key) => f.write_str(key),
            Self::Field(parent, _, key) | Self::Key(parent, key) => write!(f, "{parent}.{key}"),
            Self::Index(parent, index) => write!(f, "{parent}[{index}]"),
        }
    }
}

impl<'a> Path<'a> {
    /// `struct field Container.spec.containers.name`: the innermost struct, and the fields that lead there, without keys of
    /// maps and indexes; `value` where there are none.
    pub(super) fn in_go(&'a self) -> impl fmt::Display + 'a {
        InGo(self)
    }
    fn parent(&self) -> Option<&'a Self> {
        match self {
            Self::Root => None,
            Self::Field(parent, ..) | Self::Key(parent, _) | Self::Index(parent, _) => Some(parent),
        }
    }
}

struct InGo<'a>(&'a Path<'a>);

impl fmt::Display for InGo<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let chain = std::iter::successors(Some(self.0), |path| path.parent());
        let fields: Vec<_> = chain
            .filter_map(|path| if let Path::Field(_, of, name) = path { Some((of, name)) } else { None })
            .collect();
        let Some((of, _)) = fields.first() else { return f.write_str("value") };
        write!(f, "struct field {}", of.name.rsplit('.').next().unwrap_or_default())?;
        fields.iter().rev().try_for_each(|(_, name)| write!(f, ".{name}"))
    }
}

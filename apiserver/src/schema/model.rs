//! The model: nodes in an arena. Types that contain themselves (a JSON schema does) need no special care so.

use std::collections::HashMap;
use std::sync::Arc;

use serde_json::Value;

/// A place in its schema's arena.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct NodeId(pub(super) u32);

/// Types that refer to each other, and the kinds that they make.
#[derive(Debug, Default)]
pub struct Schema {
    pub(super) nodes: Vec<Node>,
    /// By the type's name: `core.v1.PodSpec`.
    pub(super) types: HashMap<Arc<str>, NodeId>,
    /// By `apiVersion` and `kind`.
    pub(super) kinds: HashMap<(Arc<str>, Arc<str>), NodeId>,
    /// By node: what a value takes where it stands, in bytes.
    pub(super) held: Vec<u32>,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Node {
    Struct(Struct),
    Map(Map),
    List(List),
    Scalar(Scalar),
    /// Nothing is known of the value: any JSON, whose objects merge field by field.
    Any,
}

/// An object whose fields are known.
#[derive(Clone, Debug, PartialEq)]
pub struct Struct {
    /// `core.v1.PodSpec`.
    pub name: Arc<str>,
    /// Server-side apply takes it or leaves it as a whole (`x-kubernetes-map-type: atomic`).
    pub atomic: bool,
    /// Fields of which one is meant (`x-kubernetes-unions`).
    pub unions: Box<[Union]>,
    /// Fields that are not known may be there too.
    pub open: bool,
    /// By name.
    pub(super) fields: Box<[Field]>,
    /// Places in `fields`, by protobuf number.
    pub(super) numbers: Box<[u16]>,
    /// Places in `fields` of those that are there whenever the struct is.
    pub(super) filled: Box<[u16]>,
}

/// Fields of which one may be there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Union {
    /// The field whose value says which; `None`: the one that is there.
    pub discriminator: Option<Arc<str>>,
    /// Each field, and the value that means it.
    pub fields: Box<[(Arc<str>, Arc<str>)]>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Field {
    pub name: Arc<str>,
    pub node: NodeId,
    /// Whether the published document says that the field must be there. Decoding takes a missing one for zero.
    pub required: bool,
    pub zero: Zero,
    /// The number in protobuf; 0: not in protobuf.
    pub number: u16,
    /// The messages around it, for a field of a struct that Go embeds.
    pub around: Around,
    pub patch: PatchStrategy,
    /// What is meant where nothing is given: a list's keys need it, to tell items apart.
    pub default: Option<Value>,
}

/// How JSON has a field whose value is zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Zero {
    /// As any other value: `"replicas": 0`, `"status": {}`, `"items": null`.
    Written,
    /// Not at all: zero and absent are the same.
    Omitted,
    /// As any other value, which absent is not.
    Distinct,
}

/// What a strategic merge patch does with a field that is there already (`x-kubernetes-patch-strategy`).
/// <https://kubernetes.io/docs/tasks/manage-kubernetes-objects/update-api-object-kubectl-patch/>
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PatchStrategy {
    /// Lists are merged and not replaced.
    pub merge: bool,
    /// The field that tells the items of a merged list apart; `None` for lists of plain values.
    pub merge_key: Option<Arc<str>>,
    /// What the patch does not name goes.
    pub retain_keys: bool,
}

/// An object with any names, all values of one type.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Map {
    pub values: NodeId,
    pub atomic: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct List {
    pub items: NodeId,
    pub kind: ListKind,
}

/// What makes two items of a list the same to server-side apply (`x-kubernetes-list-type`).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ListKind {
    /// The list is one value.
    Atomic,
    /// Equal values are the same item.
    Set,
    /// Items with equal values of these fields are the same.
    Map(Box<[Arc<str>]>),
}

/// Values without parts that a schema could know.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scalar {
    String,
    Bool,
    Int32,
    Int64,
    Float64,
    /// Base64 in JSON.
    Bytes,
    /// RFC 3339 with seconds, or null.
    Time,
    /// RFC 3339 with six digits of a second, or null.
    MicroTime,
    /// `100m`, `1Gi`, or a number. <https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/>
    Quantity,
    IntOrString,
    /// Any JSON.
    RawExtension,
    /// The fields that a manager owns: JSON that only server-side apply looks into.
    FieldsV1,
    /// A list of strings that protobuf gives a message of its own.
    ExtraValue,
    /// A schema of a custom kind, or what may stand instead of one.
    SchemaOr(Alternative),
}

/// What stands where a schema of a custom kind may stand. JSON tells them apart by themselves, protobuf has a message for both.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Alternative {
    /// Schemas.
    Array,
    Bool,
    /// Texts.
    StringArray,
}

impl Schema {
    /// The type of a kind, if it is here.
    pub fn kind(&self, api_version: &str, kind: &str) -> Option<Shape<'_>> {
        self.kind_node(api_version, kind).map(|node| self.shape(node))
    }
    /// Where the type of a kind stands, if it is here.
    pub fn kind_node(&self, api_version: &str, kind: &str) -> Option<NodeId> {
        self.kinds.get(&(Arc::from(api_version), Arc::from(kind))).copied()
    }
    /// The type of this name: `meta.v1.ObjectMeta`.
    pub fn named(&self, name: &str) -> Option<Shape<'_>> {
        self.types.get(name).map(|node| self.shape(*node))
    }
    /// All types that have a name, in no order.
    pub fn structs(&self) -> impl Iterator<Item = &Struct> {
        self.nodes.iter().filter_map(|node| if let Node::Struct(of) = node { Some(of) } else { None })
    }
    /// All kinds, as `apiVersion` and `kind`, in no order.
    pub fn kinds(&self) -> impl Iterator<Item = (&str, &str)> {
        self.kinds.keys().map(|(api_version, kind)| (&**api_version, &**kind))
    }
    /// `node` is of this schema.
    pub fn shape(&self, node: NodeId) -> Shape<'_> {
        Shape { schema: self, node }
    }
}

/// A node with the arena that it is in: what a walk over an object carries.
#[derive(Clone, Copy, Debug)]
pub struct Shape<'s> {
    schema: &'s Schema,
    node: NodeId,
}

impl<'s> Shape<'s> {
    pub fn node(self) -> &'s Node {
        // Ids are made by the arena's own reader, for nodes that it then makes.
        &self.schema.nodes[self.node.0 as usize]
    }
    pub fn as_struct(self) -> Option<&'s Struct> {
        if let Node::Struct(of) = self.node() { Some(of) } else { None }
    }
    /// The field of a struct, and the shape of its value.
    pub fn field(self, name: &str) -> Option<(&'s Field, Shape<'s>)> {
        let field = self.as_struct()?.field(name)?;
        Some((field, self.schema.shape(field.node)))
    }
    /// The shape of a field that was found in this schema.
    pub fn of(self, field: &Field) -> Shape<'s> {
        self.schema.shape(field.node)
    }
    /// What a value takes in memory where it stands, in bytes; lists, maps and texts take more elsewhere.
    pub fn held_bytes(self) -> usize {
        self.schema.held.get(self.node.0 as usize).map_or(0, |bytes| *bytes as usize)
    }
    /// The shape of a list's items or a map's values.
    pub fn element(self) -> Option<Shape<'s>> {
        match self.node() {
            Node::List(list) => Some(self.schema.shape(list.items)),
            Node::Map(map) => Some(self.schema.shape(map.values)),
            Node::Struct(_) | Node::Scalar(_) | Node::Any => None,
        }
    }
    /// The shape of what stands under `name` in an object: a struct's field, or any entry of a map.
    pub fn child(self, name: &str) -> Option<Shape<'s>> {
        match self.node() {
            Node::Struct(_) => self.field(name).map(|(_, shape)| shape),
            Node::Map(_) => self.element(),
            Node::List(_) | Node::Scalar(_) | Node::Any => None,
        }
    }
}

impl Struct {
    pub(super) fn new(name: Arc<str>, atomic: bool, unions: Vec<Union>, mut fields: Vec<Field>) -> Self {
        fields.sort_by(|a, b| a.name.cmp(&b.name));
        let mut numbers: Vec<u16> = (0..).take(fields.len()).collect();
        numbers.retain(|at| fields[usize::from(*at)].number != 0);
        numbers.sort_by_key(|at| {
            let field = &fields[usize::from(*at)];
            (field.around, field.number)
        });
        let (fields, numbers) = (fields.into(), numbers.into());
        Self { name, atomic, unions: unions.into(), open: false, fields, numbers, filled: Box::default() }
    }
    /// By name.
    pub fn fields(&self) -> &[Field] {
        &self.fields
    }
    pub fn field(&self, name: &str) -> Option<&Field> {
        Some(&self.fields[self.position(name)?])
    }
    /// The place of a field in [`fields`](Self::fields).
    pub fn position(&self, name: &str) -> Option<usize> {
        self.fields.binary_search_by(|field| (*field.name).cmp(name)).ok()
    }
    /// The places of the fields that are there whenever the struct is, at their zero if nothing else: those that Go writes
    /// whatever is in them and that have no parts.
    pub fn filled(&self) -> impl Iterator<Item = usize> + '_ {
        self.filled.iter().map(|at| usize::from(*at))
    }
    pub fn fills(&self, at: usize) -> bool {
        self.filled().any(|filled| filled == at)
    }
    /// By number in protobuf, within the messages around it.
    pub fn numbered(&self, around: Around, number: u16) -> Option<&Field> {
        let key = |at: &u16| {
            let field = &self.fields[usize::from(*at)];
            (field.around, field.number)
        };
        let found = self.numbers.binary_search_by_key(&(around, number), key).ok()?;
        Some(&self.fields[usize::from(self.numbers[found])])
    }
    /// Within these messages field `number` is an embedded struct, whose fields JSON has in the outer object: the messages around
    /// those. `None`: it is none.
    pub fn embedded(&self, around: Around, number: u16) -> Option<Around> {
        let within = around.within(number)?;
        let of = |at: &u16| self.fields[usize::from(*at)].around;
        let first = self.numbers.partition_point(|at| of(at) < within);
        self.numbers.get(first).is_some_and(|at| of(at).begins_with(within)).then_some(within)
    }
}

/// The numbers of the messages around a field, from the outermost on: Go embeds structs within structs, and JSON shows none of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Around([u16; 2]);

impl Around {
    /// It stands in the message itself.
    pub const NONE: Self = Self([0; 2]);

    /// `None`: no type of the API has structs embedded so deep.
    pub fn within(self, number: u16) -> Option<Self> {
        match self.0 {
            [0, 0] => Some(Self([number, 0])),
            [outer, 0] => Some(Self([outer, number])),
            _ => None,
        }
    }
    /// From the outermost on.
    pub fn numbers(self) -> impl Iterator<Item = u16> {
        self.0.into_iter().filter(|number| *number != 0)
    }
    fn begins_with(self, outer: Self) -> bool {
        self.0[0] == outer.0[0] && (outer.0[1] == 0 || self.0[1] == outer.0[1])
    }
}

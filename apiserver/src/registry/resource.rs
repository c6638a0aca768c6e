//! A kind as it is served in one version: plain data, and the rules of its objects.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use corten_api::Scope;

use super::rules::{Rules, Typed};
use super::{AnyObject, Column, Conversion, Kind, NameRule, SelectableField};
use crate::decode::{self, DecodeError, Normal, SyntaxError};
use crate::schema::{self, NodeId, Schema, Shape};

/// What the server knows of a kind in one version. It never changes while it is served; [`Registry`](super::Registry) says
/// which there are.
pub struct ApiResource {
    names: Names,
    scope: Scope,
    store_prefix: Arc<str>,
    subresources: Vec<Arc<str>>,
    fields: Arc<[SelectableField]>,
    traits: Traits,
    columns: Arc<[Column]>,
    conversion: Option<Conversion>,
    schema: Arc<Schema>,
    node: Option<NodeId>,
    /// What the text of an object is read by.
    read_as: ReadAs,
    rules: Box<dyn Rules>,
}

/// By what the text of an object is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ReadAs {
    /// The kind's type.
    Type,
    /// Type and metadata by those of all objects, the rest by the kind's rules.
    Custom,
}

/// What a custom kind is made of.
pub struct CustomParts {
    pub names: Names,
    pub scope: Scope,
    pub store_prefix: Arc<str>,
    pub subresources: Vec<Arc<str>>,
    pub fields: Vec<SelectableField>,
    pub columns: Arc<[Column]>,
    pub conversion: Option<Conversion>,
    pub schema: Arc<Schema>,
    pub node: NodeId,
    pub deprecation: Option<String>,
    /// Its definition is being deleted: no object is made any more.
    pub terminating: bool,
    pub rules: Box<dyn Rules>,
}

/// How a kind is called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Names {
    /// "" for the core.
    pub group: Arc<str>,
    pub version: Arc<str>,
    pub kind: Arc<str>,
    pub list_kind: Arc<str>,
    pub plural: Arc<str>,
    pub singular: Arc<str>,
    pub short_names: Vec<Arc<str>>,
    pub categories: Vec<Arc<str>>,
}

/// What kinds differ in, as upstream's strategies do.
#[derive(Clone, Debug)]
struct Traits {
    has_generation: bool,
    ttl_secs: Option<u32>,
    create_on_update: bool,
    unconditional_update: bool,
    name_rule: NameRule,
    delete_collection: bool,
    delete_returns_object: bool,
    orphans_by_default: Option<&'static str>,
    deprecation: Option<Cow<'static, str>>,
    terminating: bool,
}

impl ApiResource {
    /// A built-in kind, which has a type.
    pub fn of<K: Kind>() -> Self {
        let shared = |texts: &[&str]| texts.iter().map(|text| Arc::from(*text)).collect();
        let schema = schema::builtin();
        Self {
            names: Names {
                group: K::GROUP.into(),
                version: K::VERSION.into(),
                kind: K::KIND.into(),
                list_kind: format!("{}List", K::KIND).into(),
                plural: K::URL_PATH_SEGMENT.into(),
                singular: K::SINGULAR.into(),
                short_names: shared(K::SHORT_NAMES),
                categories: shared(K::CATEGORIES),
            },
            scope: <K as corten_api::Object>::SCOPE,
            store_prefix: K::STORE_PREFIX.into(),
            subresources: shared(K::SUBRESOURCES),
            fields: K::FIELDS.into(),
            traits: Traits {
                has_generation: K::HAS_GENERATION,
                ttl_secs: K::TTL_SECS,
                create_on_update: K::CREATE_ON_UPDATE,
                unconditional_update: K::UNCONDITIONAL_UPDATE,
                name_rule: K::NAME_RULE,
                delete_collection: K::DELETE_COLLECTION,
                delete_returns_object: K::DELETE_RETURNS_OBJECT,
                orphans_by_default: K::ORPHANS_BY_DEFAULT,
                deprecation: K::DEPRECATION.map(Cow::Borrowed),
                terminating: false,
            },
            columns: K::columns().into(),
            conversion: K::conversion().map(Conversion::Local),
            node: schema.kind_node(K::API_VERSION, K::KIND),
            schema: schema.clone(),
            read_as: ReadAs::Type,
            rules: Box::new(Typed::<K>::default()),
        }
    }

    /// A kind that users define.
    pub fn custom(parts: CustomParts) -> Self {
        Self {
            names: parts.names,
            scope: parts.scope,
            store_prefix: parts.store_prefix,
            subresources: parts.subresources,
            fields: parts.fields.into(),
            traits: Traits {
                has_generation: true,
                ttl_secs: None,
                create_on_update: false,
                unconditional_update: false,
                name_rule: NameRule::Dns1123Subdomain,
                delete_collection: true,
                delete_returns_object: false,
                orphans_by_default: None,
                deprecation: parts.deprecation.map(Cow::Owned),
                terminating: parts.terminating,
            },
            columns: parts.columns,
            conversion: parts.conversion,
            node: Some(parts.node),
            schema: parts.schema,
            read_as: ReadAs::Custom,
            rules: parts.rules,
        }
    }

    pub fn names(&self) -> &Names {
        &self.names
    }
    pub fn group(&self) -> &str {
        &self.names.group
    }
    pub fn version(&self) -> &str {
        &self.names.version
    }
    pub fn kind(&self) -> &str {
        &self.names.kind
    }
    pub fn plural(&self) -> &str {
        &self.names.plural
    }
    /// `v1`, `apps/v1`.
    pub fn api_version(&self) -> String {
        match self.group() {
            "" => self.version().to_owned(),
            group => format!("{group}/{}", self.version()),
        }
    }
    pub fn scope(&self) -> Scope {
        self.scope
    }
    /// Under `/registry/`, without slashes around it. Kinds that are stored as another have that one's.
    pub fn store_prefix(&self) -> &str {
        &self.store_prefix
    }
    pub fn subresources(&self) -> &[Arc<str>] {
        &self.subresources
    }
    pub fn has_subresource(&self, name: &str) -> bool {
        self.subresources.iter().any(|sub| **sub == *name)
    }
    /// Beyond `metadata.name` and `metadata.namespace`.
    pub fn fields(&self) -> &[SelectableField] {
        &self.fields
    }
    pub fn has_generation(&self) -> bool {
        self.traits.has_generation
    }
    pub fn ttl_secs(&self) -> Option<u32> {
        self.traits.ttl_secs
    }
    pub fn create_on_update(&self) -> bool {
        self.traits.create_on_update
    }
    pub fn unconditional_update(&self) -> bool {
        self.traits.unconditional_update
    }
    pub fn name_rule(&self) -> NameRule {
        self.traits.name_rule
    }
    pub fn has_delete_collection(&self) -> bool {
        self.traits.delete_collection
    }
    /// What its users are warned of.
    pub fn deprecation(&self) -> Option<&str> {
        self.traits.deprecation.as_deref()
    }
    /// Whether users have defined it.
    pub fn is_custom(&self) -> bool {
        self.read_as == ReadAs::Custom
    }
    /// Whether its definition is being deleted, so that no object is made any more.
    pub fn is_terminating(&self) -> bool {
        self.traits.terminating
    }
    /// Whether the delete of an object that goes at once is answered with the object.
    pub fn delete_returns_object(&self) -> bool {
        self.traits.delete_returns_object
    }
    /// Whether what an object owns stays when its delete says nothing of it, and what the caller is told then.
    pub fn orphans_by_default(&self) -> Option<&'static str> {
        self.traits.orphans_by_default
    }
    pub fn columns(&self) -> &[Column] {
        &self.columns
    }
    /// `None`: stored as served.
    pub fn conversion(&self) -> Option<&Conversion> {
        self.conversion.as_ref()
    }
    /// Whether its objects are stored in another version, from which a webhook converts them.
    pub fn is_by_webhook(&self) -> bool {
        matches!(&self.conversion, Some(Conversion::Webhook(webhook)) if webhook.stored() != self.api_version())
    }
    /// The kind's type in its schema.
    pub fn shape(&self) -> Option<Shape<'_>> {
        self.node.map(|node| self.schema.shape(node))
    }
    pub fn rules(&self) -> &dyn Rules {
        &*self.rules
    }
    /// What is kept of a text that is to be an object of the kind, and what strict decoding objects to.
    pub fn normal(&self, json: &[u8]) -> Result<Normal, DecodeError> {
        match self.read_as {
            ReadAs::Type => decode::normal(self.shape(), json),
            ReadAs::Custom => self.rules.pruned(decode::normal(schema::custom(), json)?),
        }
    }
    /// The object that a text says, in its normal form.
    pub fn decode(&self, json: &[u8]) -> Result<Box<dyn AnyObject>, DecodeError> {
        self.object(&self.normal(json)?)
    }
    /// The object of a text that has been read along the kind's type.
    pub fn object(&self, normal: &Normal) -> Result<Box<dyn AnyObject>, DecodeError> {
        Ok(self.rules.decode(normal.json()?)?)
    }
    /// The object of a text that is in its normal form already: what the cache has, and what is converted from that.
    pub(crate) fn cached(&self, json: &[u8]) -> Result<Box<dyn AnyObject>, DecodeError> {
        let json = std::str::from_utf8(json).map_err(|_| SyntaxError::NotUtf8)?;
        Ok(self.rules.decode(json)?)
    }
    /// What is stored, as it would be stored today: what was stored before zeros went may have some. `None`: it is that already,
    /// or it cannot be read.
    pub(crate) fn mended(&self, stored: &[u8]) -> Option<Vec<u8>> {
        if self.is_custom() {
            return self.rules.mended(stored);
        }
        let normal = decode::normal(Some(self.shape()?), stored).ok()?;
        if !normal.is_changed() {
            return None;
        }
        let mut object = self.object(&normal).ok()?;
        self.rules.fill_defaults(&mut *object);
        object.to_json().ok()
    }
}

impl fmt::Debug for ApiResource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}/{}", self.plural(), self.version(), self.group())
    }
}

//! One line of a history: a request with its times and its answer, what a watcher was told, or a fault.

/// Since the run began.
pub type Micros = u64;
pub type Revision = i64;
/// Of a write, and the value that it writes. 0 is no write's: an object whose value is nothing of ours.
pub type Number = u32;

/// In the order in which they were recorded, which is no order of time: the times say that.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct History {
    pub seed: u64,
    pub records: Vec<Record>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    Asked(Asked),
    Told(Told),
    Fault { from: Micros, to: Micros, what: String },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    ConfigMap,
    Secret,
    Lease,
}

impl Kind {
    pub const ALL: [Self; 3] = [Self::ConfigMap, Self::Secret, Self::Lease];
}

/// An object's place. All are in one namespace.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    pub kind: Kind,
    pub name: String,
}

/// Which process of which server was asked: a server that is killed and started again is another process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Via {
    pub server: usize,
    pub process: usize,
}

/// A request of a client, which asks one at a time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    pub from: Micros,
    /// When it was answered, or given up.
    pub to: Micros,
    pub client: String,
    pub via: Via,
    pub request: Request,
    pub answer: Answer,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    Write(Write),
    Get { key: Key, at: At },
    List { kind: Kind, at: At },
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Write {
    pub number: Number,
    pub how: How,
    pub key: Key,
    /// Preconditions: the object's revision and uid, as they were last seen.
    pub revision: Option<Revision>,
    pub uid: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    Create,
    Update,
    MergePatch,
    JsonPatch,
    Apply,
    Delete,
}

impl Write {
    /// Whether it makes an object that is not there.
    pub fn makes(&self) -> bool {
        let named = self.revision.is_some() || self.uid.is_some();
        match self.how {
            How::Create => true,
            How::Apply => !named,
            // Of these three kinds, a Lease alone is made by a PUT.
            How::Update => self.key.kind == Kind::Lease && !named,
            How::MergePatch | How::JsonPatch | How::Delete => false,
        }
    }
}

/// How old a read may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum At {
    /// No resourceVersion: not older than anything acknowledged before.
    Newest,
    /// `resourceVersion=0`: whatever the server has.
    Any,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    Written(Version),
    Deleted {
        uid: String,
    },
    Found(Version),
    /// Of a get: 404.
    Missing,
    Listed(Snapshot),
    /// It was not done, and will not be.
    Refused {
        code: u16,
        reason: String,
    },
    /// It may have been done, or be done yet.
    Unknown(String),
}

/// A state of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    pub revision: Revision,
    pub uid: String,
    pub value: Number,
}

/// All objects of a kind, by name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    pub revision: Revision,
    pub items: Vec<(String, Version)>,
}

/// What a watcher of all objects of a kind was told. Its lists are requests of the same client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    pub at: Micros,
    pub client: String,
    pub via: Via,
    pub kind: Kind,
    pub what: Message,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// The watch began, with the changes after this revision.
    Began(Revision),
    Added(String, Version),
    Modified(String, Version),
    /// With the object's last value, at the revision of its deletion.
    Deleted(String, Version),
    Bookmark(Revision),
    /// It ended, or broke.
    Ended(String),
}

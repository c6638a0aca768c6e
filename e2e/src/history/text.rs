//! Histories as text: a record a line, its words parted by blanks; `#` at a line's beginning is a remark.
//!
//! ```text
//! seed 17
//! 100 180 w1 m2.0 create cm/a #7 -> written 101 u1 #7
//! 190 200 w1 m2.0 update cm/a #8 if 101 -> refused 409 Conflict
//! 210 220 w1 m1.0 get cm/a any -> found 101 u1 #7
//! 215 215 v1 m1.0 cm added a 101 u1 #7
//! 220 225 w2 m1.0 list cm -> listed 110 a:101:u1:#7
//! 230 900 fault kill etcd of master1
//! ```

use std::fmt::{self, Display, Formatter};
use std::str::SplitWhitespace;

use super::record::{
    Answer, Asked, At, History, How, Key, Kind, Message, Number, Record, Request, Snapshot, Told, Version, Via, Write,
};

const KINDS: [(Kind, &str); 3] = [(Kind::ConfigMap, "cm"), (Kind::Secret, "secret"), (Kind::Lease, "lease")];
const HOWS: [(How, &str); 6] = [
    (How::Create, "create"),
    (How::Update, "update"),
    (How::MergePatch, "merge"),
    (How::JsonPatch, "json"),
    (How::Apply, "apply"),
    (How::Delete, "delete"),
];

impl Display for History {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(f, "seed {}", self.seed)?;
        self.records.iter().try_for_each(|record| writeln!(f, "{record}"))
    }
}

impl Display for Record {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Asked(Asked { from, to, client, via, request, answer }) => {
                write!(f, "{from} {to} {client} {via} {request} -> {answer}")
            }
            Self::Told(Told { at, client, via, kind, what }) => write!(f, "{at} {at} {client} {via} {kind} {what}"),
            Self::Fault { from, to, what } => write!(f, "{from} {to} fault {what}"),
        }
    }
}

impl Display for Via {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "m{}.{}", self.server + 1, self.process)
    }
}

impl Display for Kind {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(word_of(&KINDS, self))
    }
}

impl Display for Key {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.kind, self.name)
    }
}

impl Display for Version {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} #{}", self.revision, self.uid, self.value)
    }
}

impl Display for Request {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let age = |at: &At| if *at == At::Any { " any" } else { "" };
        match self {
            Self::Get { key, at } => write!(f, "get {key}{}", age(at)),
            Self::List { kind, at } => write!(f, "list {kind}{}", age(at)),
            Self::Write(write) => {
                write!(f, "{} {} #{}", word_of(&HOWS, &write.how), write.key, write.number)?;
                write.revision.iter().try_for_each(|revision| write!(f, " if {revision}"))?;
                write.uid.iter().try_for_each(|uid| write!(f, " uid {uid}"))
            }
        }
    }
}

impl Display for Answer {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Written(version) => write!(f, "written {version}"),
            Self::Deleted { uid } => write!(f, "deleted {uid}"),
            Self::Found(version) => write!(f, "found {version}"),
            Self::Missing => f.write_str("missing"),
            Self::Listed(Snapshot { revision, items }) => {
                write!(f, "listed {revision}")?;
                items.iter().try_for_each(|(name, v)| write!(f, " {name}:{}:{}:#{}", v.revision, v.uid, v.value))
            }
            Self::Refused { code, reason } => write!(f, "refused {code} {reason}"),
            Self::Unknown(why) => write!(f, "unknown {}", one_line(why)),
        }
    }
}

impl Display for Message {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Began(revision) => write!(f, "watch {revision}"),
            Self::Added(name, version) => write!(f, "added {name} {version}"),
            Self::Modified(name, version) => write!(f, "modified {name} {version}"),
            Self::Deleted(name, version) => write!(f, "deleted {name} {version}"),
            Self::Bookmark(revision) => write!(f, "bookmark {revision}"),
            Self::Ended(why) => write!(f, "ended {}", one_line(why)),
        }
    }
}

fn word_of<T: PartialEq>(table: &[(T, &'static str)], wanted: &T) -> &'static str {
    table.iter().find(|(each, _)| each == wanted).map_or("", |(_, word)| word)
}

/// Without what has a meaning in a line.
fn one_line(text: &str) -> String {
    text.replace("->", "=>").split_whitespace().collect::<Vec<_>>().join(" ")
}

/// A line that is no record.
#[derive(Debug, PartialEq, Eq)]
pub struct Unreadable {
    /// From 1.
    pub line: usize,
    pub why: String,
}

impl History {
    /// What `Display` wrote.
    pub fn parse(text: &str) -> Result<Self, Unreadable> {
        let mut history = Self::default();
        for (at, line) in text.lines().map(str::trim).enumerate() {
            let unreadable = |why: String| Unreadable { line: at + 1, why: format!("{why}: {line}") };
            match line.strip_prefix("seed ") {
                Some(seed) => history.seed = seed.parse().map_err(|err| unreadable(format!("{err}")))?,
                None if line.is_empty() || line.starts_with('#') => {}
                None => history.records.push(record(line).map_err(unreadable)?),
            }
        }
        Ok(history)
    }
}

fn record(line: &str) -> Result<Record, String> {
    let (head, answer) = line.split_once(" -> ").map_or((line, None), |(head, answer)| (head, Some(answer)));
    let mut words = Words(head.split_whitespace());
    let (from, to, client) = (words.number()?, words.number()?, words.next()?.to_owned());
    if client == "fault" {
        return Ok(Record::Fault { from, to, what: words.rest() });
    }
    let via = via(words.next()?)?;
    match answer {
        Some(answer) => {
            let answer = self::answer(&mut Words(answer.split_whitespace()))?;
            Ok(Record::Asked(Asked { from, to, client, via, request: request(&mut words)?, answer }))
        }
        None => {
            let kind = of_word(&KINDS, words.next()?)?;
            Ok(Record::Told(Told { at: from, client, via, kind, what: message(&mut words)? }))
        }
    }
}

fn via(word: &str) -> Result<Via, String> {
    let parts = word.strip_prefix('m').and_then(|rest| rest.split_once('.')).ok_or("no server")?;
    let server: usize = number(parts.0)?;
    Ok(Via { server: server.checked_sub(1).ok_or("servers begin with m1")?, process: number(parts.1)? })
}

fn request(words: &mut Words<'_>) -> Result<Request, String> {
    let at = |words: &mut Words<'_>| if words.0.next() == Some("any") { At::Any } else { At::Newest };
    match words.next()? {
        "get" => Ok(Request::Get { key: key(words.next()?)?, at: at(words) }),
        "list" => Ok(Request::List { kind: of_word(&KINDS, words.next()?)?, at: at(words) }),
        verb => {
            let how = of_word(&HOWS, verb)?;
            let mut write =
                Write { how, key: key(words.next()?)?, number: value(words.next()?)?, revision: None, uid: None };
            while let Some(word) = words.0.next() {
                match word {
                    "if" => write.revision = Some(words.number()?),
                    "uid" => write.uid = Some(words.next()?.to_owned()),
                    other => return Err(format!("{other:?} is no precondition")),
                }
            }
            Ok(Request::Write(write))
        }
    }
}

fn answer(words: &mut Words<'_>) -> Result<Answer, String> {
    Ok(match words.next()? {
        "written" => Answer::Written(version(words)?),
        "deleted" => Answer::Deleted { uid: words.next()?.to_owned() },
        "found" => Answer::Found(version(words)?),
        "missing" => Answer::Missing,
        "listed" => {
            let revision = words.number()?;
            Answer::Listed(Snapshot { revision, items: words.0.by_ref().map(item).collect::<Result<_, _>>()? })
        }
        "refused" => Answer::Refused { code: words.number()?, reason: words.rest() },
        "unknown" => Answer::Unknown(words.rest()),
        other => return Err(format!("{other:?} is no answer")),
    })
}

fn message(words: &mut Words<'_>) -> Result<Message, String> {
    Ok(match words.next()? {
        "watch" => Message::Began(words.number()?),
        "added" => Message::Added(words.next()?.to_owned(), version(words)?),
        "modified" => Message::Modified(words.next()?.to_owned(), version(words)?),
        "deleted" => Message::Deleted(words.next()?.to_owned(), version(words)?),
        "bookmark" => Message::Bookmark(words.number()?),
        "ended" => Message::Ended(words.rest()),
        other => return Err(format!("{other:?} is nothing that a watcher is told")),
    })
}

fn item(word: &str) -> Result<(String, Version), String> {
    let mut parts = word.split(':');
    let mut part = || parts.next().ok_or_else(|| format!("{word:?} is no item"));
    let name = part()?.to_owned();
    Ok((name, Version { revision: number(part()?)?, uid: part()?.to_owned(), value: value(part()?)? }))
}

fn version(words: &mut Words<'_>) -> Result<Version, String> {
    Ok(Version { revision: words.number()?, uid: words.next()?.to_owned(), value: value(words.next()?)? })
}

fn key(word: &str) -> Result<Key, String> {
    let (kind, name) = word.split_once('/').ok_or("no kind/name")?;
    Ok(Key { kind: of_word(&KINDS, kind)?, name: name.to_owned() })
}

fn value(word: &str) -> Result<Number, String> {
    number(word.strip_prefix('#').ok_or("no #number")?)
}

fn of_word<T: Copy>(table: &[(T, &str)], wanted: &str) -> Result<T, String> {
    let found = table.iter().find(|(_, word)| *word == wanted);
    found
        .map(|(each, _)| *each)
        .ok_or_else(|| format!("{wanted:?} is none of {:?}", table.iter().map(|(_, w)| w).collect::<Vec<_>>()))
}

fn number<T: std::str::FromStr<Err: Display>>(word: &str) -> Result<T, String> {
    word.parse().map_err(|err| format!("{word:?}: {err}"))
}

struct Words<'a>(SplitWhitespace<'a>);

impl<'a> Words<'a> {
    fn next(&mut self) -> Result<&'a str, String> {
        self.0.next().ok_or_else(|| "it ends too early".to_owned())
    }
    fn number<T: std::str::FromStr<Err: Display>>(&mut self) -> Result<T, String> {
        number(self.next()?)
    }
    fn rest(&mut self) -> String {
        self.0.by_ref().collect::<Vec<_>>().join(" ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again() {
        let text = "\
            seed 17\n\
            100 180 w1 m2.0 create cm/a #7 -> written 101 u1 #7\n\
            100 180 w1 m2.0 update lease/a #8 if 101 uid u1 -> refused 409 Conflict\n\
            100 180 w1 m2.0 delete secret/b #9 uid u1 -> deleted u1\n\
            100 180 w1 m2.0 merge secret/b #10 -> unknown no answer within 2s\n\
            100 180 w1 m2.3 get cm/a any -> found 101 u1 #7\n\
            100 180 w1 m1.0 get cm/a -> missing\n\
            100 180 w1 m1.0 list cm -> listed 110 a:101:u1:#7 b:102:u2:#0\n\
            190 190 v1 m1.0 cm watch 110\n\
            191 191 v1 m1.0 cm added a 101 u1 #7\n\
            192 192 v1 m1.0 cm deleted a 103 u1 #7\n\
            193 193 v1 m1.0 cm bookmark 104\n\
            194 194 v1 m1.0 cm ended silence\n\
            200 900 fault kill etcd of master1\n";
        let history = History::parse(text).unwrap();
        assert_eq!((history.seed, history.records.len()), (17, 13));
        assert_eq!(history.to_string(), text);
    }

    #[test]
    fn a_line_that_is_no_record_is_named() {
        let cases = [
            ("1 2 w1 m1.0 get cm/a", "none of"),
            ("1 2 w1 m0.0 get cm/a -> missing", "servers begin"),
            ("1 2 w1 m1.0 put cm/a #1 -> missing", "none of"),
            ("1 2 w1 m1.0 get cm/a -> found 1 u1", "too early"),
            ("x 2 fault", "invalid digit"),
        ];
        for (line, why) in cases {
            let err = History::parse(&format!("seed 1\n{line}\n")).unwrap_err();
            assert!(err.line == 2 && err.why.contains(why), "{line}: {err:?}");
        }
    }
}

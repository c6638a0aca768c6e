//! Reads the tables of built-in roles and bindings. Their form stands at their beginning.

use std::collections::BTreeSet;

use corten_api::Key;
use k8s_openapi::api::rbac::v1::PolicyRule;

const READ: &[&str] = &["get", "list", "watch"];
const WRITE: &[&str] = &["create", "delete", "deletecollection", "patch", "update"];
const EVENTS: &str = "create,patch,update on events in core,events.k8s.io";
/// The group that has no name in the API.
const CORE: &str = "core";
const CONTROLLER_PREFIX: &str = "system:controller:";
const CONTROLLER_NAMESPACE: &str = "kube-system";

/// What a table says, in its order.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Table {
    pub roles: Vec<RoleRow>,
    pub bindings: Vec<BindingRow>,
    /// Subjects for bindings of other tables: the binding's name, or how it begins (`system:controller:*`).
    pub more: Vec<(String, Vec<Bound>)>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct RoleRow {
    /// Without a namespace it is a ClusterRole.
    pub key: Key,
    pub labels: Vec<Pair>,
    pub aggregates: Vec<Pair>,
    pub rules: Vec<PolicyRule>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct BindingRow {
    pub key: Key,
    /// Without a namespace it is a ClusterRole.
    pub role: Key,
    pub subjects: Vec<Bound>,
}

/// A label.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pair {
    pub key: String,
    pub value: String,
}

/// Who has a role.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Bound {
    User(String),
    Group(String),
    Account(Key),
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TextError {
    #[error("line {line}: {error}")]
    Line { line: usize, error: Box<Self> },
    #[error("{0:?} is not understood")]
    Word(String),
    #[error("there is nothing above it that this could belong to")]
    Stray,
    #[error("{0} is not a namespace and a name")]
    Key(String),
    #[error("{0} is not a key and a value")]
    Pair(String),
    #[error("a rule says VERBS on RESOURCES in GROUPS [named NAMES], or VERBS at PATHS")]
    Rule,
}

impl Table {
    /// Takes in another table, which may give more subjects to bindings of this one.
    pub fn append(&mut self, other: Self) {
        self.roles.extend(other.roles);
        self.bindings.extend(other.bindings);
        for (name, subjects) in other.more {
            let fits = |binding: &&mut BindingRow| {
                let own = &binding.key.name;
                binding.key.namespace.is_empty()
                    && name.strip_suffix('*').map_or(*own == name, |start| own.starts_with(start))
            };
            self.bindings.iter_mut().filter(fits).for_each(|binding| binding.subjects.extend_from_slice(&subjects));
        }
    }
}

pub fn table(text: &str) -> Result<Table, TextError> {
    let mut reader = Reader::default();
    for (n, line) in text.lines().enumerate() {
        let read = match line.strip_prefix("  ") {
            _ if line.trim().is_empty() || line.starts_with('#') => Ok(()),
            Some(item) => reader.item(item),
            None => reader.head(line),
        };
        read.map_err(|error| TextError::Line { line: n + 1, error: Box::new(error) })?;
    }
    Ok(reader.table)
}

/// What the lines below a head belong to.
#[derive(Clone, Copy, Default)]
enum Of {
    #[default]
    Nothing,
    /// The last role, which nobody has so far.
    Role,
    /// The last role, and the last binding, which gives it.
    BoundRole,
    /// The last binding.
    Binding,
    /// The last of `more`.
    More,
}

#[derive(Default)]
struct Reader {
    table: Table,
    of: Of,
}

impl Reader {
    fn head(&mut self, line: &str) -> Result<(), TextError> {
        let words: Vec<&str> = line.split(' ').collect();
        match words[..] {
            ["ClusterRole", name] => self.role(Key::cluster(name)),
            ["Role", name] => self.role(key(name)?),
            ["Controller", name] => {
                self.role(Key::cluster(format!("{CONTROLLER_PREFIX}{name}")));
                self.subjects()?.push(Bound::Account(Key::new(CONTROLLER_NAMESPACE, name)));
            }
            ["RoleBinding", name, "of", role] => {
                let key = key(name)?;
                let role = Key::new(key.namespace.as_str(), role);
                self.table.bindings.push(BindingRow { key, role, subjects: Vec::new() });
                self.of = Of::Binding;
            }
            ["Bind", name] => {
                self.table.more.push((name.to_owned(), Vec::new()));
                self.of = Of::More;
            }
            _ => return Err(TextError::Word(line.to_owned())),
        }
        Ok(())
    }

    fn item(&mut self, item: &str) -> Result<(), TextError> {
        let (word, rest) = item.split_once(' ').ok_or_else(|| TextError::Word(item.to_owned()))?;
        match (word, rest.split_once(' ')) {
            ("allow", _) => self.last_role()?.rules.push(rule(rest)?),
            ("label", None) => self.last_role()?.labels.push(pair(rest)?),
            ("aggregates", None) => self.last_role()?.aggregates.push(pair(rest)?),
            ("for", None) if rest == "nobody" => _ = self.subjects()?,
            ("for", Some(("user", name))) => self.subjects()?.push(Bound::User(name.to_owned())),
            ("for", Some(("group", name))) => self.subjects()?.push(Bound::Group(name.to_owned())),
            ("for", Some(("account", name))) => self.subjects()?.push(Bound::Account(key(name)?)),
            _ => return Err(TextError::Word(item.to_owned())),
        }
        Ok(())
    }

    fn role(&mut self, key: Key) {
        self.table.roles.push(RoleRow { key, labels: Vec::new(), aggregates: Vec::new(), rules: Vec::new() });
        self.of = Of::Role;
    }
    fn last_role(&mut self) -> Result<&mut RoleRow, TextError> {
        match self.of {
            Of::Role | Of::BoundRole => self.table.roles.last_mut().ok_or(TextError::Stray),
            Of::Nothing | Of::Binding | Of::More => Err(TextError::Stray),
        }
    }
    /// Of the binding, or of the role's own, which is made now if nobody had the role so far.
    fn subjects(&mut self) -> Result<&mut Vec<Bound>, TextError> {
        if let Of::Role = self.of {
            let key = self.last_role()?.key.clone();
            self.table.bindings.push(BindingRow { role: key.clone(), key, subjects: Vec::new() });
            self.of = Of::BoundRole;
        }
        let subjects = match self.of {
            Of::Binding | Of::BoundRole => self.table.bindings.last_mut().map(|binding| &mut binding.subjects),
            Of::More => self.table.more.last_mut().map(|(_, subjects)| subjects),
            Of::Nothing | Of::Role => None,
        };
        subjects.ok_or(TextError::Stray)
    }
}

/// Its lists are sorted, as upstream sorts those of its own.
pub fn rule(text: &str) -> Result<PolicyRule, TextError> {
    let text = if text == "EVENTS" { EVENTS } else { text };
    let (names, rule) = match text.split_once(" named ") {
        Some((rule, names)) => (Some(list(names)?), rule),
        None => (None, text),
    };
    let words: Vec<&str> = rule.split(' ').collect();
    match words[..] {
        [verbs, "on", resources, "in", groups] => Ok(PolicyRule {
            verbs: list(verbs)?,
            api_groups: Some(list(groups)?),
            resources: Some(list(resources)?),
            resource_names: names,
            non_resource_urls: None,
        }),
        [verbs, "at", paths] if names.is_none() => {
            Ok(PolicyRule { verbs: list(verbs)?, non_resource_urls: Some(list(paths)?), ..PolicyRule::default() })
        }
        _ => Err(TextError::Rule),
    }
}

fn list(text: &str) -> Result<Vec<String>, TextError> {
    let mut words = BTreeSet::new();
    for word in text.split(',') {
        match word {
            "" => return Err(TextError::Rule),
            "READ" => words.extend(READ),
            "WRITE" => words.extend(WRITE),
            CORE => _ = words.insert(""),
            _ => _ = words.insert(word),
        }
    }
    Ok(words.into_iter().map(str::to_owned).collect())
}

fn key(text: &str) -> Result<Key, TextError> {
    let (namespace, name) = text.split_once('/').ok_or_else(|| TextError::Key(text.to_owned()))?;
    Ok(Key::new(namespace, name))
}

fn pair(text: &str) -> Result<Pair, TextError> {
    let (key, value) = text.split_once('=').ok_or_else(|| TextError::Pair(text.to_owned()))?;
    Ok(Pair { key: key.to_owned(), value: value.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_read() {
        let text = "# said\n\nClusterRole a\n  label k=v\n  for nobody\n  allow READ,fly on pods in core,apps named x\n\
                    ClusterRole b\n  aggregates k=v\nController c\n  allow get at /b,/a\n\
                    Role n/d\n  for group g\n  for account n/s\nRoleBinding n/e of d\n  for user u\nBind a*\n  for user v\n";
        let table = table(text).unwrap();
        let role = |key, labels: &[&str], aggregates: &[&str], rules| RoleRow {
            key,
            labels: labels.iter().map(|text| pair(text).unwrap()).collect(),
            aggregates: aggregates.iter().map(|text| pair(text).unwrap()).collect(),
            rules,
        };
        let words = |words: &[&str]| -> Vec<String> { words.iter().map(|word| (*word).to_owned()).collect() };
        let pods = PolicyRule {
            verbs: words(&["fly", "get", "list", "watch"]),
            api_groups: Some(words(&["", "apps"])),
            resources: Some(words(&["pods"])),
            resource_names: Some(words(&["x"])),
            non_resource_urls: None,
        };
        let paths = PolicyRule {
            verbs: words(&["get"]),
            non_resource_urls: Some(words(&["/a", "/b"])),
            ..PolicyRule::default()
        };
        let (a, c, d) = (Key::cluster("a"), Key::cluster("system:controller:c"), Key::new("n", "d"));
        let roles = [
            role(a.clone(), &["k=v"], &[], vec![pods]),
            role(Key::cluster("b"), &[], &["k=v"], vec![]),
            role(c.clone(), &[], &[], vec![paths]),
            role(d.clone(), &[], &[], vec![]),
        ];
        assert_eq!(table.roles, roles);
        let account = |key: &Key| Bound::Account(key.clone());
        let own = |key: &Key, subjects| BindingRow { key: key.clone(), role: key.clone(), subjects };
        let bindings = [
            own(&a, vec![]),
            own(&c, vec![account(&Key::new("kube-system", "c"))]),
            own(&d, vec![Bound::Group("g".into()), account(&Key::new("n", "s"))]),
            BindingRow { key: Key::new("n", "e"), role: d, subjects: vec![Bound::User("u".into())] },
        ];
        assert_eq!(table.bindings, bindings);
        assert_eq!(table.more, [("a*".to_owned(), vec![Bound::User("v".into())])]);
    }

    #[test]
    fn one_table_gives_more_subjects_to_anothers_bindings() {
        let mut one =
            table("ClusterRole aa\n  for user u\nClusterRole ab\n  for nobody\nRole n/ab\n  for nobody\n").unwrap();
        one.append(table("Bind a*\n  for user v\nBind ab\n  for user w\nBind b\n  for user x\n").unwrap());
        let names: Vec<String> = one.bindings.iter().map(|binding| format!("{:?}", binding.subjects)).collect();
        assert_eq!(names, [r#"[User("u"), User("v")]"#, r#"[User("v"), User("w")]"#, "[]"]);
    }

    #[test]
    fn what_is_wrong_is_told_with_its_line() {
        let cases = [
            ("ClusterRole", r#"line 1: "ClusterRole" is not understood"#),
            ("# x\nKlusterRole a", r#"line 2: "KlusterRole a" is not understood"#),
            ("  for user u", "line 1: there is nothing above it that this could belong to"),
            ("Bind a\n  allow get at /", "line 2: there is nothing above it that this could belong to"),
            ("ClusterRole a\n  give get at /", r#"line 2: "give get at /" is not understood"#),
            ("ClusterRole a\n  for robot r", r#"line 2: "for robot r" is not understood"#),
            ("Role a", "line 1: a is not a namespace and a name"),
            ("ClusterRole a\n  label k", "line 2: k is not a key and a value"),
            (
                "ClusterRole a\n  allow get pods",
                "line 2: a rule says VERBS on RESOURCES in GROUPS [named NAMES], or VERBS at PATHS",
            ),
            (
                "ClusterRole a\n  allow get at / named x",
                "line 2: a rule says VERBS on RESOURCES in GROUPS [named NAMES], or VERBS at PATHS",
            ),
            (
                "ClusterRole a\n  allow get on pods, in core",
                "line 2: a rule says VERBS on RESOURCES in GROUPS [named NAMES], or VERBS at PATHS",
            ),
        ];
        for (text, expected) in cases {
            assert_eq!(table(text).unwrap_err().to_string(), expected, "{text:?}");
        }
    }
}

//! Reads struct tags of Go types, line by line: protobuf numbers, and how a field without a value is written.

use std::collections::{HashMap, HashSet};

/// How a field that has its zero value is written in JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Zero {
    /// It is written: `"replicas": 0`, `"status": {}`.
    Written,
    /// It is left out; zero and absent are the same.
    Omitted,
    /// Absent and zero differ: the field is a pointer, and absent when that is nil.
    Pointer,
}

/// What the tags of one field say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Tag {
    /// The numbers of the messages around this field's, from the outermost on, if the field stands in an embedded struct.
    pub(super) around: Vec<u32>,
    /// 0: not in protobuf.
    pub(super) number: u32,
    pub(super) zero: Zero,
    /// The Go type is a list with a message of its own (`ExtraValue`).
    pub(super) wrapped: bool,
    /// What stands for a value that is not given, as JSON (`+default=` in the comment above).
    pub(super) default: Option<String>,
}

/// A field as its line has it.
#[derive(Debug)]
struct Line {
    json: String,
    number: u32,
    /// With its package: `core.v1.PodPhase`, `*int32`, `[]string`.
    go_type: String,
    omit_empty: bool,
    omit_zero: bool,
    default: Option<String>,
}

#[derive(Debug, Default)]
struct Struct {
    fields: Vec<Line>,
    /// Embedded structs: number and type, with its package.
    embedded: Vec<(u32, String)>,
}

/// All structs of all packages, by `package.Name`.
#[derive(Debug, Default)]
pub(super) struct Structs {
    structs: HashMap<String, Struct>,
    /// Named types that are no structs.
    plain: HashSet<String>,
}

impl Structs {
    /// Adds the types of a file of `package` (`core.v1`).
    pub(super) fn read(&mut self, package: &str, source: &str) {
        let (mut open, mut default): (Option<String>, Option<String>) = (None, None);
        for line in source.lines() {
            if let Some(rest) = line.strip_prefix("type ") {
                let mut words = rest.split_whitespace();
                let (Some(name), Some(what)) = (words.next(), words.next()) else { continue };
                let full = format!("{package}.{name}");
                if what == "struct" {
                    self.structs.insert(full.clone(), Struct::default());
                    open = (!rest.trim_end().ends_with('}')).then_some(full);
                } else {
                    self.plain.insert(full);
                }
            } else if line.starts_with('}') {
                open = None;
            } else if let Some((_, value)) = line.split_once("// +default=") {
                // A reference to a constant is left out: none of them concerns a list's keys.
                default = (!value.starts_with("ref(")).then(|| value.trim().to_owned());
            } else if let Some(current) = open.as_deref().and_then(|name| self.structs.get_mut(name)) {
                read_field(package, line, &mut default, current);
            }
        }
    }

    /// The tag of a field, looked for in the struct and those embedded in it.
    pub(super) fn tag(&self, type_name: &str, field: &str) -> Option<Tag> {
        let found = self.structs.get(type_name)?;
        if let Some(line) = found.fields.iter().find(|line| line.json == field) {
            let wrapped = line.go_type.ends_with("ExtraValue");
            return Some(Tag {
                around: Vec::new(),
                number: line.number,
                zero: self.zero(line),
                wrapped,
                default: line.default.clone(),
            });
        }
        found.embedded.iter().find_map(|(number, inner)| {
            let tag = self.tag(inner, field)?;
            // An embedded struct without a number is not in protobuf: TypeMeta, which the envelope has.
            if *number == 0 {
                return Some(Tag { around: Vec::new(), number: 0, ..tag });
            }
            let around = [*number].into_iter().chain(tag.around).collect();
            Some(Tag { around, ..tag })
        })
    }

    fn zero(&self, line: &Line) -> Zero {
        if line.go_type.starts_with('*') {
            return Zero::Pointer;
        }
        // Go's encoder never takes a struct for empty, unless it is asked to leave zero values out.
        let is_struct = !is_builtin(&line.go_type) && !self.plain.contains(&line.go_type);
        if line.omit_zero || (line.omit_empty && !is_struct) { Zero::Omitted } else { Zero::Written }
    }
}

fn read_field(package: &str, line: &str, default: &mut Option<String>, into: &mut Struct) {
    let Some((head, tag)) = line.split_once('`') else { return };
    let json = quoted(tag, "json:").unwrap_or_default();
    let number = quoted(tag, "protobuf:").and_then(|text| text.split(',').nth(1)?.parse().ok()).unwrap_or(0);
    let (name, options) = json.split_once(',').unwrap_or((json, ""));
    let words: Vec<&str> = head.split_whitespace().collect();
    let Some(go_type) = words.last().filter(|_| !head.trim_start().starts_with("//")) else { return };
    let default = default.take();
    if words.len() == 1 && name.is_empty() {
        into.embedded.push((number, qualified(package, go_type)));
    } else if !name.is_empty() && name != "-" {
        into.fields.push(Line {
            json: name.to_owned(),
            number,
            go_type: qualified(package, go_type),
            omit_empty: options.contains("omitempty"),
            omit_zero: options.contains("omitzero"),
            default,
        });
    }
}

/// Types that are empty when they are zero: scalars, lists, maps, and the names of strings from outside.
fn is_builtin(go_type: &str) -> bool {
    let scalar = matches!(go_type, "string" | "bool" | "int" | "int32" | "int64" | "float64" | "byte");
    scalar || go_type.starts_with("[]") || go_type.starts_with("map[") || go_type.starts_with("types.")
}

/// The text between the quotes behind `key`.
fn quoted<'t>(tag: &'t str, key: &str) -> Option<&'t str> {
    tag.split_once(key)?.1.strip_prefix('"')?.split('"').next()
}

/// A type with its package, `core.v1.PodPhase`, as it stands in `package`. Packages that are imported under a name of
/// group and version (`metav1`, `v1` for core) are known by it; others keep theirs (`types.UID`, `intstr.IntOrString`).
fn qualified(package: &str, go_type: &str) -> String {
    let (stars, bare) = go_type.strip_prefix('*').map_or(("", go_type), |bare| ("*", bare));
    let is_name = bare.starts_with(|c: char| c.is_ascii_uppercase());
    let qualified = match bare.split_once('.') {
        None if is_name => format!("{package}.{bare}"),
        Some((alias, name)) if !alias.starts_with(['[', 'm']) || alias.starts_with("meta") => match alias {
            "v1" | "corev1" => format!("core.v1.{name}"),
            "metav1" => format!("meta.v1.{name}"),
            _ => bare.to_owned(),
        },
        _ => bare.to_owned(),
    };
    format!("{stars}{qualified}")
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOURCE: &str = r#"
// Phase is a word.
type Phase string
type ExtraValue []string

type Key struct {
	Reference `json:",inline" protobuf:"bytes,1,opt,name=reference"`
	// The key.
	Key string `json:"key" protobuf:"bytes,2,opt,name=key"`
}

type Outer struct {
	Key `json:",inline" protobuf:"bytes,3,opt,name=key"`
}

type Reference struct {
	Name string `json:"name,omitempty" protobuf:"bytes,1,opt,name=name"`
}

type Thing struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty" protobuf:"bytes,1,opt,name=metadata"`
	Replicas *int32 `json:"replicas,omitempty" protobuf:"varint,1,opt,name=replicas"` // why
	// +default="Pending"
	// The phase.
	Phase Phase `json:"phase,omitempty" protobuf:"bytes,2,opt,name=phase,casttype=Phase"`
	Status Reference `json:"status,omitempty" protobuf:"bytes,3,opt,name=status"`
	Time metav1.Time `json:"time,omitempty,omitzero" protobuf:"bytes,4,opt,name=time"`
	Items []Reference `json:"items" protobuf:"bytes,5,rep,name=items"`
	Extra map[string]ExtraValue `json:"extra,omitempty" protobuf:"bytes,6,rep,name=extra"`
	// Gone string `json:"gone" protobuf:"bytes,7,opt,name=gone"`
}
"#;

    #[test]
    fn tags_say_numbers_and_what_is_left_out() {
        let mut structs = Structs::default();
        structs.read("test.v1", SOURCE);
        structs.read(
            "meta.v1",
            "type TypeMeta struct {\n\tKind string `json:\"kind,omitempty\" protobuf:\"bytes,1,opt\"`\n}\n",
        );
        let tag =
            |of: &str, field: &str| structs.tag(&format!("test.v1.{of}"), field).map(|t| (t.around, t.number, t.zero));
        for (of, field, expected) in [
            ("Thing", "replicas", Some((vec![], 1, Zero::Pointer))),
            ("Thing", "phase", Some((vec![], 2, Zero::Omitted))),
            ("Thing", "status", Some((vec![], 3, Zero::Written))),
            ("Thing", "time", Some((vec![], 4, Zero::Omitted))),
            ("Thing", "items", Some((vec![], 5, Zero::Written))),
            ("Thing", "extra", Some((vec![], 6, Zero::Omitted))),
            ("Key", "name", Some((vec![1], 1, Zero::Omitted))),
            ("Outer", "name", Some((vec![3, 1], 1, Zero::Omitted))),
            ("Outer", "key", Some((vec![3], 2, Zero::Written))),
            ("Key", "key", Some((vec![], 2, Zero::Written))),
            ("Thing", "metadata", Some((vec![], 1, Zero::Written))),
            ("Thing", "kind", Some((vec![], 0, Zero::Omitted))),
            ("Thing", "gone", None),
        ] {
            assert_eq!(tag(of, field), expected, "{of}.{field}");
        }
        let default = |field: &str| structs.tag("test.v1.Thing", field).and_then(|tag| tag.default);
        assert_eq!((default("phase").as_deref(), default("status")), (Some("\"Pending\""), None));
        assert!(structs.tag("test.v1.Thing", "extra").is_some_and(|tag| tag.wrapped));
    }
}

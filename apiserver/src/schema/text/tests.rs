//! Tables of types, read: what they become, and what is refused.

use super::*;

const TABLE: &str = r#"# A comment.

a.v1.Thing kind=a.b/v1,Thing union=kind(key:Key)
  spec 2 a.v1.Spec required
  key 1.1 string omitempty default="TCP"
a.v1.Spec atomic
  parts 1 []a.v1.Part omitempty list=map(name,port) patch=merge(name)+retainKeys
  labels 2 map[string]string map=atomic
  sets 3 [][]string list=set
  replicas 4 *int32
  loose - RawExtension
a.v1.Part
  name 1 string
  inner 2 *a.v1.Part
"#;

#[test]
fn a_table_becomes_nodes() {
    let schema = read(TABLE).unwrap();
    let thing = schema.kind("a.b/v1", "Thing").unwrap();
    assert_eq!(&*thing.as_struct().unwrap().name, "a.v1.Thing");
    assert!(schema.kind("a.b/v1", "Spec").is_none());
    let union = Union { discriminator: Some("kind".into()), fields: [("key".into(), "Key".into())].into() };
    assert_eq!(*thing.as_struct().unwrap().unions, [union]);
    assert_eq!(thing.field("key").unwrap().0.default, Some("TCP".into()));
    let (field, spec) = thing.field("spec").unwrap();
    assert!(field.required && spec.as_struct().unwrap().atomic && !thing.as_struct().unwrap().atomic);

    let (parts, list) = spec.field("parts").unwrap();
    let by_name_and_port = ListKind::Map(["name", "port"].map(Arc::from).into());
    assert!(matches!(list.node(), Node::List(List { kind, .. }) if *kind == by_name_and_port));
    let strategy = PatchStrategy { merge: true, merge_key: Some("name".into()), retain_keys: true };
    assert_eq!((&parts.patch, parts.zero), (&strategy, Zero::Omitted));
    // A type may hold itself.
    let part = list.element().unwrap();
    let inner = part.child("inner").unwrap().child("inner").unwrap();
    assert_eq!(inner.as_struct().unwrap().name, part.as_struct().unwrap().name);

    let (_, labels) = spec.field("labels").unwrap();
    assert!(matches!(labels.node(), Node::Map(Map { atomic: true, .. })));
    assert!(matches!(labels.child("any").unwrap().node(), Node::Scalar(Scalar::String)));
    let (_, sets) = spec.field("sets").unwrap();
    assert!(matches!(sets.node(), Node::List(List { kind: ListKind::Set, .. })));
    assert!(matches!(sets.element().unwrap().node(), Node::List(List { kind: ListKind::Atomic, .. })));
    assert_eq!(spec.field("replicas").unwrap().0.zero, Zero::Distinct);
    assert_eq!((labels.held_bytes(), part.held_bytes(), thing.held_bytes()), (24, 24 + 8, 24 * 4 + 8 + 32));
    assert_eq!(part.as_struct().unwrap().filled().collect::<Vec<_>>(), [1], "a name is always there");
    assert!(spec.child("nothing").is_none() && spec.child("replicas").unwrap().child("x").is_none());
}

#[test]
fn fields_are_found_by_their_numbers() {
    let schema = read(TABLE).unwrap();
    let name = |of: &str, around, number| {
        let of = schema.named(of).unwrap().as_struct().unwrap();
        of.numbered(around, number).map(|field| field.name.to_string())
    };
    let (own, embedded) = (Around::NONE, Around::NONE.within(1).unwrap());
    assert_eq!(name("a.v1.Thing", own, 2).as_deref(), Some("spec"));
    assert_eq!(name("a.v1.Thing", embedded, 1).as_deref(), Some("key"));
    assert_eq!(name("a.v1.Thing", own, 1), None);
    // What is not in protobuf has no number, not number 0.
    assert_eq!(name("a.v1.Spec", own, 0), None);
    let thing = schema.named("a.v1.Thing").unwrap().as_struct().unwrap();
    assert_eq!((thing.embedded(own, 1), thing.embedded(own, 2)), (Some(embedded), None));
    // A struct in a struct: the inner one is no field of the outermost, and it alone may be all that the outer one has.
    let deep = read("a.v1.Deep\n  own 1 string\n  inner 2.2.1 string\n  after 3.1 string\n").unwrap();
    let deep = deep.named("a.v1.Deep").unwrap().as_struct().unwrap();
    let two = Around::NONE.within(2).unwrap();
    let both = two.within(2).unwrap();
    assert_eq!((deep.embedded(own, 2), deep.embedded(two, 2)), (Some(two), Some(both)));
    assert_eq!((deep.embedded(own, 1), deep.embedded(two, 1), deep.embedded(both, 1)), (None, None, None));
    assert_eq!(deep.numbered(both, 1).map(|field| &*field.name), Some("inner"));
}

#[test]
fn what_means_nothing_is_refused_with_its_line() {
    for (table, line, why) in [
        ("  name 1 string", 1, Why::NoType),
        ("a.v1.A\n  name 1", 2, Why::Short),
        ("a.v1.A\n  name x string", 2, Why::Number("x".into())),
        ("a.v1.A\n  name 1.70000 string", 2, Why::Number("1.70000".into())),
        ("a.v1.A\n  name 1 string sometimes", 2, Why::Mark("sometimes".into())),
        ("a.v1.A\n  name 1 []string list=map()", 2, Why::Mark("list=map()".into())),
        ("a.v1.A\n  name 1 []string patch=merge(", 2, Why::Mark("patch=merge(".into())),
        ("a.v1.A kind=v1", 1, Why::Mark("kind=v1".into())),
        ("a.v1.A\n  b 1 a.v1.B", 2, Why::Unknown("a.v1.B".into())),
    ] {
        assert_eq!(read(table).unwrap_err(), TextError { line, why }, "{table}");
    }
}

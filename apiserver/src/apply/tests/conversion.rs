//! Kinds of several versions: whose fields they are, whatever version somebody wrote.

use serde_json::{Map, Value, json};

use crate::apply::testing::Story;
use crate::apply::{Convert, Converted, ObjectType, Tracked, Unconverted};
use crate::schema::{Schema, Shape, text};

/// In each version a field is called otherwise: `scalar_v1`, `part_v2`.
fn schema() -> Schema {
    let of_version = |version: &str| {
        format!(
            "{version}.Thing kind={version},Thing\n  apiVersion - string omitempty\n  kind - string omitempty\n  \
             metadata - {version}.Meta\n  spec - {version}.Spec\n\
             {version}.Meta\n  managedFields - []RawExtension omitempty list=atomic\n  name - string omitempty\n\
             {version}.Spec\n  name - string omitempty\n  part_{version} - *{version}.Part\n  \
             scalar_{version} - string omitempty\n\
             {version}.Part\n  name - string omitempty\n"
        )
    };
    text::read(&["v1", "v2", "v3"].map(of_version).concat()).unwrap()
}

fn renamed(value: &Value, from: &str, to: &str) -> Value {
    match value {
        Value::Object(fields) => {
            let rename = |(name, value): (&String, &Value)| {
                let name = name.strip_suffix(&format!("_{from}")).map_or(name.clone(), |bare| format!("{bare}_{to}"));
                (name, renamed(value, from, to))
            };
            fields.iter().map(rename).collect::<Map<_, _>>().into()
        }
        other => other.clone(),
    }
}

fn convert<'s>(schema: &'s Schema, object: &Value, to: &str) -> Result<Converted<'s>, Unconverted> {
    let shape = Some(schema.kind(to, "Thing").ok_or(Unconverted::NotServed)?);
    let mut object = renamed(object, object["apiVersion"].as_str().unwrap(), to);
    object["apiVersion"] = json!(to);
    Ok(Converted { object, shape })
}

fn of<'a>(schema: &'a Schema, version: &'a str, convert: &'a Convert<'a>) -> ObjectType<'a> {
    let shape: Option<Shape<'a>> = schema.kind(version, "Thing");
    ObjectType { api_version: version, kind: "Thing", shape, tracked: &Tracked::All, convert }
}

fn thing(version: &str, spec: &Value) -> Value {
    json!({"apiVersion": version, "kind": "Thing", "metadata": {"name": "x"}, "spec": renamed(spec, "v", version)})
}

/// Each write in a version of its own, and all versions in every order.
fn in_all_versions(story: impl Fn(&mut Versions<'_>, [&'static str; 3])) {
    const ALL: [&str; 3] = ["v1", "v2", "v3"];
    let schema = schema();
    let convert = |object: &Value, to: &str| convert(&schema, object, to);
    for first in ALL {
        for second in ALL {
            for third in ALL {
                let mut versions =
                    Versions { schema: &schema, convert: &convert, story: Story::of(of(&schema, first, &convert)) };
                story(&mut versions, [first, second, third]);
            }
        }
    }
}

struct Versions<'a> {
    schema: &'a Schema,
    convert: &'a Convert<'a>,
    story: Story<'a>,
}

impl Versions<'_> {
    /// The stored object, and the writes that follow, are of this version.
    fn turn_to(&mut self, version: &'static str) {
        self.story.of = of(self.schema, version, self.convert);
        let Some(object) = self.story.object.take() else { return };
        let mut turned = (self.convert)(&object, version).unwrap().object;
        // Managed fields are the same in all versions.
        turned["metadata"] = object["metadata"].clone();
        self.story.object = Some(turned);
    }
    fn apply(&mut self, manager: &str, version: &'static str, spec: Value) -> Result<bool, String> {
        self.turn_to(version);
        self.story.apply(manager, &thing(version, &spec), false)
    }
    fn update(&mut self, manager: &str, version: &'static str, spec: Value) {
        self.turn_to(version);
        self.story.update(manager, thing(version, &spec));
    }
    /// The spec in the version of the last write, and who owns what in which version.
    fn expect(&self, spec: Value, managers: &[String]) {
        let version = self.story.of.api_version;
        assert_eq!(self.story.spec(), thing(version, &spec)["spec"]);
        assert_eq!(self.story.managers(), managers, "{version}");
    }
}

#[test]
fn what_its_applier_gives_up_goes_in_any_version() {
    in_all_versions(|versions, [first, second, _]| {
        versions.apply("one", first, json!({"name": "a", "scalar_v": "a"})).unwrap();
        versions.apply("one", second, json!({"name": "a"})).unwrap();
        versions.expect(json!({"name": "a"}), &[r#"one Apply 2 {"f:name":{}}"#.to_owned()]);
        versions.apply("one", first, json!({"name": "a", "part_v": {"name": "b"}})).unwrap();
        versions.apply("one", second, json!({"name": "a"})).unwrap();
        versions.expect(json!({"name": "a"}), &[r#"one Apply 4 {"f:name":{}}"#.to_owned()]);
        assert_eq!(
            versions.apply("one", first, json!({"name": "a"})),
            Ok(first != second),
            "the entry is of its version"
        );
    });
}

#[test]
fn what_another_applies_or_has_set_stays_in_any_version() {
    in_all_versions(|versions, [first, second, third]| {
        versions.apply("one", first, json!({"name": "a", "scalar_v": "a", "part_v": {"name": "b"}})).unwrap();
        versions.apply("two", second, json!({"scalar_v": "a", "part_v": {"name": "b"}})).unwrap();
        versions.apply("one", third, json!({"name": "a"})).unwrap();
        versions.expect(
            json!({"name": "a", "scalar_v": "a", "part_v": {"name": "b"}}),
            &[
                format!(r#"two Apply 2 {{"f:part_{second}":{{"f:name":{{}}}},"f:scalar_{second}":{{}}}}"#),
                r#"one Apply 3 {"f:name":{}}"#.to_owned(),
            ],
        );
    });
    in_all_versions(|versions, [first, second, third]| {
        versions.update("up", first, json!({"name": "a", "scalar_v": "a"}));
        versions.apply("one", second, json!({"name": "a", "scalar_v": "a"})).unwrap();
        versions.apply("one", third, json!({"name": "a"})).unwrap();
        versions.expect(
            json!({"name": "a", "scalar_v": "a"}),
            &[
                r#"one Apply 3 {"f:name":{}}"#.to_owned(),
                format!(r#"up Update 1 {{"f:name":{{}},"f:scalar_{first}":{{}}}}"#),
            ],
        );
    });
}

#[test]
fn fields_are_taken_and_defended_in_any_version() {
    in_all_versions(|versions, [first, second, third]| {
        versions.apply("one", first, json!({"name": "a", "scalar_v": "a"})).unwrap();
        let told = versions.apply("two", second, json!({"scalar_v": "b"})).unwrap_err();
        assert_eq!(told, format!(r#"Apply failed with 1 conflict: conflict with "one": .spec.scalar_{first}"#));
        versions.update("up", third, json!({"name": "a", "scalar_v": "b"}));
        versions.expect(
            json!({"name": "a", "scalar_v": "b"}),
            &[r#"one Apply 1 {"f:name":{}}"#.to_owned(), format!(r#"up Update 3 {{"f:scalar_{third}":{{}}}}"#)],
        );
    });
}

#[test]
fn who_owned_fields_of_a_version_that_is_no_more_is_forgotten() {
    in_all_versions(|versions, [first, second, _]| {
        versions.apply("one", first, json!({"name": "a", "scalar_v": "a"})).unwrap();
        let object = versions.story.object.as_mut().unwrap();
        object["metadata"]["managedFields"][0]["apiVersion"] = json!("v0");
        versions.apply("one", second, json!({"name": "a"})).unwrap();
        versions.expect(json!({"name": "a", "scalar_v": "a"}), &[r#"one Apply 2 {"f:name":{}}"#.to_owned()]);
    });
}

#[test]
fn who_owns_fields_in_a_version_that_nobody_can_convert_to_owns_the_same_afterwards() {
    let schema = schema();
    let convert = |object: &Value, to: &str| convert(&schema, object, to);
    let unknown = |_: &Value, _: &str| Err(Unconverted::Unknown);
    let mut versions = Versions { schema: &schema, convert: &convert, story: Story::of(of(&schema, "v1", &convert)) };
    versions.apply("one", "v1", json!({"name": "a", "scalar_v": "a"})).unwrap();
    versions.update("up", "v2", json!({"name": "b", "scalar_v": "a"}));
    versions.turn_to("v2");
    versions.story.of = of(&schema, "v2", &unknown);
    versions.story.update("other", thing("v2", &json!({"name": "c", "scalar_v": "c"})));
    versions.expect(
        json!({"name": "c", "scalar_v": "c"}),
        &[
            r#"one Apply 1 {"f:scalar_v1":{}}"#.to_owned(),
            r#"other Update 3 {"f:name":{},"f:scalar_v2":{}}"#.to_owned(),
        ],
    );
}

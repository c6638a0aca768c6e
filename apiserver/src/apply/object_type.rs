//! What a write is about: the type of its object, in each version that somebody may own fields in, and the fields that a
//! write like this one can set.

use serde_json::Value;

use super::element::{Element, Path};
use super::field_set::FieldSet;
use crate::schema::Shape;

/// The type of the object that is written.
#[derive(Clone, Copy)]
pub struct ObjectType<'a> {
    /// The version that is written: `apps/v1`.
    pub api_version: &'a str,
    pub kind: &'a str,
    /// `None`: nothing is known of its fields. Objects merge then, and lists are replaced.
    pub shape: Option<Shape<'a>>,
    /// The fields that this write, of the object or of a subresource, can set.
    pub tracked: &'a Tracked,
    /// An object, of the version that it says it is, in another `apiVersion`, and its type there. Called a few times for each
    /// version that somebody owns fields in, other than the one that is written.
    pub convert: &'a Convert<'a>,
}

pub type Convert<'a> = dyn Fn(&Value, &str) -> Result<Converted<'a>, Unconverted> + Sync + 'a;

/// An object in another version.
#[derive(Clone, Debug)]
pub struct Converted<'a> {
    pub object: Value,
    pub shape: Option<Shape<'a>>,
}

/// Why an object is not to be had in another version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unconverted {
    /// The version is not served: whoever owns fields in it is forgotten.
    NotServed,
    /// Nobody has said what it is there: whoever owns fields in that version owns the same afterwards.
    Unknown,
}

impl<'a> ObjectType<'a> {
    /// A kind of one version, all of whose fields can be set.
    pub fn plain(api_version: &'a str, kind: &'a str, shape: Option<Shape<'a>>) -> Self {
        Self { api_version, kind, shape, tracked: &Tracked::All, convert: &|_, _| Err(Unconverted::NotServed) }
    }
}

/// Which fields a write can set. The others keep their values whatever it says, and so nobody comes to own them by it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Tracked {
    #[default]
    All,
    /// Not these and what is below them: `.status`, for a write of the object itself.
    AllBut(FieldSet),
    /// What is below one of these, and what leads there: what a write of `pods/resize` may set.
    Only(Vec<Vec<Step>>),
}

/// A step of a path to the fields that can be set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    To(Element),
    /// Any field, entry or item.
    Any,
}

impl Tracked {
    /// All but some fields at the top: `&["status"]`.
    pub fn all_but(fields: &[&str]) -> Self {
        Self::AllBut(fields.iter().map(|name| Path(vec![Element::field(name)])).collect())
    }

    pub(super) fn filter(&self, fields: &mut FieldSet) {
        match self {
            Self::All => {}
            Self::AllBut(others) => fields.subtract_with_all_below(others),
            Self::Only(ways) => {
                let ways: Vec<&[Step]> = ways.iter().map(Vec::as_slice).collect();
                keep(fields, &ways);
            }
        }
    }
}

/// Keeps what one of `ways` leads to.
fn keep(fields: &mut FieldSet, ways: &[&[Step]]) {
    fields.retain_nodes(|node| {
        let goes = |step: &Step| match step {
            Step::To(element) => *element == node.element,
            Step::Any => true,
        };
        let rest: Vec<&[Step]> = ways
            .iter()
            .filter_map(|way| way.split_first().filter(|(step, _)| goes(step)).map(|(_, rest)| rest))
            .collect();
        if rest.is_empty() {
            (node.member, node.below) = (false, FieldSet::default());
        } else if rest.iter().all(|way| !way.is_empty()) {
            keep(&mut node.below, &rest);
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(json: &str) -> FieldSet {
        FieldSet::from_fields_v1(&serde_json::from_str(json).unwrap()).unwrap()
    }
    fn to(name: &str) -> Step {
        Step::To(Element::field(name))
    }

    #[test]
    fn what_a_write_cannot_set_is_not_tracked() {
        let all = r#"{"f:metadata":{"f:labels":{".":{},"f:a":{}}},"f:spec":{"f:containers":{"k:{\"name\":\"a\"}":{".":{},"f:image":{},"f:resources":{"f:limits":{}}}},"f:nodeName":{}},"f:status":{".":{},"f:phase":{}}}"#;
        let resize = vec![vec![to("spec"), to("containers"), Step::Any, to("resources")]];
        for (why, tracked, expected) in [
            ("all", Tracked::All, all),
            (
                "a write of the status",
                Tracked::AllBut(set(r#"{"f:metadata":{"f:labels":{}},"f:spec":{}}"#)),
                r#"{"f:status":{".":{},"f:phase":{}}}"#,
            ),
            (
                "any other",
                Tracked::all_but(&["status"]),
                r#"{"f:metadata":{"f:labels":{".":{},"f:a":{}}},"f:spec":{"f:containers":{"k:{\"name\":\"a\"}":{".":{},"f:image":{},"f:resources":{"f:limits":{}}}},"f:nodeName":{}}}"#,
            ),
            (
                "what resize may set, and what leads there",
                Tracked::Only(resize),
                r#"{"f:spec":{"f:containers":{"k:{\"name\":\"a\"}":{".":{},"f:resources":{"f:limits":{}}}}}}"#,
            ),
            (
                "one way is enough",
                Tracked::Only(vec![vec![to("status")], vec![to("x")]]),
                r#"{"f:status":{".":{},"f:phase":{}}}"#,
            ),
            ("none", Tracked::Only(Vec::new()), "{}"),
        ] {
            let mut fields = set(all);
            tracked.filter(&mut fields);
            assert_eq!(fields.to_fields_v1_text(), expected, "{why}");
        }
    }
}

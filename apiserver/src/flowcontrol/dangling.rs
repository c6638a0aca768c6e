//! The condition that tells of a flow schema whether its priority level is there.

use std::collections::HashSet;

use k8s_openapi::api::flowcontrol::v1::{FlowSchema, FlowSchemaCondition, PriorityLevelConfiguration};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::objects::good_levels;
use crate::registry::flowcontrol::flowschema::DANGLING;

/// The schemas whose status is not as it should be, with the condition that they should have. Nothing: all is well.
pub fn due<'a>(
    levels: &[PriorityLevelConfiguration],
    schemas: &'a [FlowSchema],
    now: &Time,
) -> Vec<(&'a FlowSchema, FlowSchemaCondition)> {
    let good: HashSet<&str> = good_levels(levels).collect();
    let wanted = |schema: &'a FlowSchema| {
        let level = schema.spec.priority_level_configuration.name.as_str();
        let wanted = condition(level, good.contains(level), now);
        (!has(schema, &wanted)).then_some((schema, wanted))
    };
    schemas.iter().filter_map(wanted).collect()
}

fn condition(level: &str, is_there: bool, now: &Time) -> FlowSchemaCondition {
    let (status, reason, end) = match is_there {
        true => ("False", "Found", "and it exists"),
        false => ("True", "NotFound", "but there is no such object"),
    };
    let message = format!("This FlowSchema references the PriorityLevelConfiguration object named {level:?} {end}");
    FlowSchemaCondition {
        type_: DANGLING.into(),
        status: Some(status.into()),
        reason: Some(reason.into()),
        message: Some(message),
        last_transition_time: Some(now.clone()),
    }
}

fn has(schema: &FlowSchema, wanted: &FlowSchemaCondition) -> bool {
    let list = schema.status.as_ref().and_then(|status| status.conditions.as_deref()).unwrap_or_default();
    list.iter().any(|old| old.type_ == wanted.type_ && same(old, wanted))
}

/// But for the time.
fn same(one: &FlowSchemaCondition, other: &FlowSchemaCondition) -> bool {
    (&one.status, &one.reason, &one.message) == (&other.status, &other.reason, &other.message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::flowcontrol::bootstrap::{mandatory, suggested};

    fn at(secs: i64) -> Time {
        Time(k8s_openapi::jiff::Timestamp::from_second(secs).unwrap())
    }
    fn schema(level: &str) -> FlowSchema {
        let mut schema = suggested().schemas[0].clone();
        schema.spec.priority_level_configuration.name = level.into();
        schema
    }
    /// The schemas with what is due, as the server's apply would leave them.
    fn statuses(levels: &[PriorityLevelConfiguration], schemas: &[FlowSchema], now: &Time) -> Vec<FlowSchema> {
        let written = |(schema, new): (&FlowSchema, FlowSchemaCondition)| {
            let mut schema = schema.clone();
            let list = schema.status.get_or_insert_default().conditions.get_or_insert_default();
            match list.iter_mut().find(|old| old.type_ == new.type_) {
                Some(old) => *old = new,
                None => list.push(new),
            }
            schema
        };
        due(levels, schemas, now).into_iter().map(written).collect()
    }
    fn told(schema: &FlowSchema) -> Vec<String> {
        let conditions = schema.status.iter().flat_map(|status| &status.conditions).flatten();
        let text = |field: &Option<String>| field.clone().unwrap_or_default();
        conditions
            .map(|c| {
                let secs = c.last_transition_time.as_ref().map_or(0, |time| time.0.as_second());
                format!("{} {} {} at {secs}: {}", c.type_, text(&c.status), text(&c.reason), text(&c.message))
            })
            .collect()
    }

    #[test]
    fn a_schema_is_told_once_whether_its_level_is_there() {
        let levels = &mandatory().levels;
        let found = statuses(levels, &[schema("exempt")], &at(5));
        let expected = r#"Dangling False Found at 5: This FlowSchema references the PriorityLevelConfiguration object named "exempt" and it exists"#;
        assert_eq!(told(&found[0]), [expected]);
        assert_eq!(statuses(levels, &found, &at(6)), [], "nothing has changed");

        let lost = statuses(&[], &found, &at(7));
        let expected = r#"Dangling True NotFound at 7: This FlowSchema references the PriorityLevelConfiguration object named "exempt" but there is no such object"#;
        assert_eq!(told(&lost[0]), [expected]);
        assert_eq!(statuses(&[], &lost, &at(8)), []);
    }

    #[test]
    fn another_level_is_another_message_and_a_broken_level_is_none() {
        let mut broken = suggested().levels[0].clone();
        let here = statuses(&[broken.clone()], &[schema("system")], &at(1));
        broken.spec.type_ = "Odd".into();
        assert!(told(&statuses(&[broken], &here, &at(2))[0])[0].contains("True NotFound at 2"));
        let mut other = here[0].clone();
        other.spec.priority_level_configuration.name = "node-high".into();
        assert!(told(&statuses(&suggested().levels, &[other], &at(3))[0])[0].contains(r#"named "node-high" and"#));
    }

    #[test]
    fn other_conditions_do_not_count() {
        let mut schema = schema("exempt");
        let other = FlowSchemaCondition { type_: "Mine".into(), ..FlowSchemaCondition::default() };
        schema.status.get_or_insert_default().conditions = Some(vec![other]);
        let told = told(&statuses(&mandatory().levels, &[schema], &at(1))[0]);
        assert!(told.len() == 2 && told[0].starts_with("Mine") && told[1].starts_with("Dangling False"), "{told:?}");
    }
}

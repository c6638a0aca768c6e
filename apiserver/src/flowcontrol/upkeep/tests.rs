//! The server's own objects: whose spec is kept, whose is the administrators', and what is cleared away.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::*;

/// All that a new server makes, as the store has it then.
fn fresh() -> (Vec<PriorityLevelConfiguration>, Vec<FlowSchema>) {
    let mut levels = [&mandatory().levels[..], &suggested().levels].concat();
    let mut schemas = [&mandatory().schemas[..], &suggested().schemas].concat();
    levels.iter_mut().for_each(|level| stored(&mut level.metadata));
    schemas.iter_mut().for_each(|schema| stored(&mut schema.metadata));
    (levels, schemas)
}
fn stored(meta: &mut ObjectMeta) {
    meta.generation = Some(1);
    meta.resource_version = Some("7".into());
}
fn annotate(meta: &mut ObjectMeta, value: Option<&str>) {
    meta.annotations = value.map(|value| [(AUTO_UPDATE.to_owned(), value.to_owned())].into());
}
/// `create level/name`, in order.
fn told(actions: &[Action]) -> Vec<String> {
    let tell = |action: &Action| {
        let (verb, kept) = match action {
            Action::Create(kept) => ("create", kept),
            Action::Update(kept) => ("update", kept),
            Action::Delete(kept) => ("delete", kept),
        };
        match kept {
            Kept::Level(level) => format!("{verb} level/{}", level.name()),
            Kept::Schema(schema) => format!("{verb} schema/{}", schema.name()),
        }
    };
    actions.iter().map(tell).collect()
}

#[test]
fn a_new_cluster_gets_all_of_them_levels_first() {
    let actions = decide(&[], &[]);
    let told = told(&actions);
    assert_eq!(told.len(), 8 + 12);
    assert!(told.iter().all(|text| text.starts_with("create ")));
    for action in &actions {
        let Action::Create(Kept::Schema(schema)) = action else { continue };
        let at = |text: String| told.iter().position(|have| *have == text).unwrap();
        let level = &schema.spec.priority_level_configuration.name;
        // The exempt level is made last of all: requests have it before there is an object.
        if level != EXEMPT {
            assert!(at(format!("create level/{level}")) < at(format!("create schema/{}", schema.name())));
        }
    }
    let (levels, schemas) = fresh();
    assert_eq!(decide(&levels, &schemas), [], "and then nothing is to do");
}

/// What becomes of the suggested level "system": its annotation and generation, and whether an administrator changed it.
#[test]
fn a_suggested_one_is_kept_until_somebody_makes_it_his() {
    /// Why, annotation, generation, changed → (spec restored, annotation).
    type Case = (&'static str, Option<&'static str>, i64, bool, Option<(bool, &'static str)>);
    let cases: [Case; 11] = [
        ("as it was made", Some("true"), 1, false, None),
        ("changed, and said to be kept", Some("true"), 2, true, Some((true, "true"))),
        ("changed, and said to be somebody's own", Some("false"), 2, true, None),
        ("not changed, and said to be somebody's own", Some("false"), 1, false, None),
        ("nothing said, never changed", None, 1, false, Some((false, "true"))),
        ("nothing said, never changed, another release's", None, 1, true, Some((true, "true"))),
        ("nothing said, changed once", None, 2, true, Some((false, "false"))),
        ("nonsense said, never changed", Some("maybe"), 1, true, Some((true, "true"))),
        ("nonsense said, changed once", Some("maybe"), 3, true, Some((false, "false"))),
        ("said as Go may", Some("T"), 9, false, None),
        ("said as Go may", Some("F"), 1, true, None),
    ];
    for (why, annotation, generation, is_changed, expected) in cases {
        let (mut levels, schemas) = fresh();
        let level = levels.iter_mut().find(|level| level.name() == "system").unwrap();
        let wanted = level.spec.clone();
        annotate(&mut level.metadata, annotation);
        level.metadata.generation = Some(generation);
        if is_changed {
            level.spec.limited.as_mut().unwrap().nominal_concurrency_shares = Some(99);
        }
        let was = level.spec.clone();
        let actions = decide(&levels, &schemas);
        let Some((is_restored, annotation)) = expected else {
            assert_eq!(actions, [], "{why}");
            continue;
        };
        let [Action::Update(Kept::Level(new))] = &actions[..] else { panic!("{why}: {actions:?}") };
        assert_eq!(new.spec, if is_restored { wanted } else { was }, "{why}");
        assert_eq!(new.metadata.annotations.as_ref().unwrap()[AUTO_UPDATE], annotation, "{why}");
        assert_eq!(new.metadata.resource_version.as_deref(), Some("7"), "{why}");
    }
}

#[test]
fn a_mandatory_one_is_the_servers_whatever_is_said() {
    let (mut levels, mut schemas) = fresh();
    let catch_all = levels.iter_mut().find(|level| level.name() == "catch-all").unwrap();
    annotate(&mut catch_all.metadata, Some("false"));
    catch_all.spec.limited.as_mut().unwrap().nominal_concurrency_shares = Some(99);
    let exempt = schemas.iter_mut().find(|schema| schema.name() == "exempt").unwrap();
    exempt.spec.rules = None;
    let actions = decide(&levels, &schemas);
    assert_eq!(told(&actions), ["update level/catch-all", "update schema/exempt"]);
    let Action::Update(Kept::Level(new)) = &actions[0] else { panic!("{actions:?}") };
    assert_eq!(new.spec, mandatory().levels[1].spec);
    assert_eq!(new.metadata.annotations, mandatory().levels[1].metadata.annotations);
}

#[test]
fn the_share_of_the_exempt_is_the_administrators() {
    let (mut levels, schemas) = fresh();
    let exempt = levels.iter_mut().find(|level| level.name() == EXEMPT).unwrap();
    exempt.spec.exempt.as_mut().unwrap().nominal_concurrency_shares = Some(50);
    exempt.metadata.generation = Some(2);
    assert_eq!(decide(&levels, &schemas), []);
    levels.iter_mut().find(|level| level.name() == EXEMPT).unwrap().spec.exempt = None;
    assert_eq!(told(&decide(&levels, &schemas)), ["update level/exempt"]);
}

#[test]
fn what_an_older_release_made_goes_and_what_others_made_stays() {
    let (mut levels, mut schemas) = fresh();
    let mut old = |name: &str, annotation: Option<&str>| {
        let mut level = levels[2].clone();
        level.metadata.name = Some(name.into());
        annotate(&mut level.metadata, annotation);
        let mut schema = schemas[2].clone();
        schema.metadata = level.metadata.clone();
        levels.push(level);
        schemas.push(schema);
    };
    old("older", Some("true"));
    old("an-old", Some("1"));
    old("mine", None);
    old("also-mine", Some("false"));
    old("odd", Some("maybe"));
    let expected = ["delete schema/an-old", "delete schema/older", "delete level/an-old", "delete level/older"];
    assert_eq!(told(&decide(&levels, &schemas)), expected);
}

#[test]
fn one_that_is_deleted_comes_back() {
    let (mut levels, mut schemas) = fresh();
    levels.retain(|level| level.name() != "workload-low");
    schemas.retain(|schema| !["catch-all", "probes"].contains(&schema.name()));
    let expected = ["create level/workload-low", "create schema/probes", "create schema/catch-all"];
    assert_eq!(told(&decide(&levels, &schemas)), expected);
}

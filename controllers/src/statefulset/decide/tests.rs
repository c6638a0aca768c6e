//! What a StatefulSet does next, as a table of stories; what it reports.

mod claims;
mod report;

use corten_api::Key;
use corten_api::k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde_json::{Value, json};

use super::*;
use crate::history::REVISION_LABEL;

const NOW: i64 = 1_000_000;

fn at(secs_ago: i64) -> Timestamp {
    Timestamp::from_second(NOW - secs_ago).unwrap()
}

fn template(image: &str) -> Value {
    json!({"metadata": {"labels": {"app": "db"}}, "spec": {"containers": [{"name": "main", "image": image}]}})
}

/// A StatefulSet of three pods with the template `image`. `changes` are merged into its spec.
fn set(image: &str, changes: &Value) -> StatefulSet {
    let mut spec = json!({
        "replicas": 3, "serviceName": "db", "podManagementPolicy": "OrderedReady", "revisionHistoryLimit": 10,
        "selector": {"matchLabels": {"app": "db"}}, "template": template(image),
        "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": 0, "maxUnavailable": 1}},
    });
    spec.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
    let meta = json!({"name": "db", "namespace": "ns", "uid": "set", "generation": 4});
    serde_json::from_value(json!({"metadata": meta, "spec": spec, "status": {"replicas": 0}})).unwrap()
}

fn revision(image: &str, number: i64) -> Arc<ControllerRevision> {
    Arc::new(new_revision(&set(image, &json!({})), number))
}

/// `ORDINAL IMAGE STATE`. STATE: `serves`, `broken` (never was ready), `fell` (was ready), `pending`, `young` (ready for two
/// seconds), `ended`, `going`.
fn pod(text: &str) -> SeenPod {
    let [ordinal, image, state] = text.split(' ').collect::<Vec<_>>()[..] else { panic!("{text}") };
    let name = format!("db-{ordinal}");
    let revision = revision(image, 1);
    let labels = [(REVISION_LABEL, revision.name()), (POD_NAME_LABEL, name.as_str()), ("app", "db")];
    let ready = |secs_ago| Some(at(secs_ago));
    let pod = SeenPod {
        key: Key::new("ns", name.as_str()),
        uid: format!("uid-{ordinal}"),
        phase: Phase::Running,
        labels: labels.into_iter().map(|(k, v)| (k.to_owned(), v.to_owned())).collect(),
        ..SeenPod::default()
    };
    match state {
        "serves" => SeenPod { ready_since: ready(100), was_ready: true, ..pod },
        "young" => SeenPod { ready_since: ready(2), was_ready: true, ..pod },
        "going" => SeenPod { ready_since: ready(100), was_ready: true, deleting: ready(1), ..pod },
        "fell" => SeenPod { was_ready: true, ..pod },
        "broken" => pod,
        "pending" => SeenPod { phase: Phase::Pending, ..pod },
        "ended" => SeenPod { phase: Phase::Succeeded, ..pod },
        _ => panic!("{text}"),
    }
}

/// What is seen of a StatefulSet with these pods. `history`: images, oldest first; the first is the one before.
fn observed(set: StatefulSet, history: &[&str], pods: &[&str]) -> Observed {
    let revisions: Vec<_> = history.iter().zip(1..).map(|(image, number)| revision(image, number)).collect();
    let mut set = set;
    set.status.as_mut().unwrap().current_revision = revisions.first().map(|first| first.name().to_owned());
    Observed {
        now: at(0),
        set: Arc::new(set),
        revisions,
        pods: pods.iter().map(|text| Arc::new(pod(text))).collect(),
        claims: BTreeMap::new(),
    }
}

/// A decision in words.
fn said(seen: &Observed, decision: &Decision) -> Vec<String> {
    let image = |template: Option<&corten_api::k8s_openapi::api::core::v1::PodSpec>| {
        template.and_then(|spec| spec.containers[0].image.clone()).unwrap_or_default()
    };
    let history = decision.history.iter().map(|step| match step {
        Step::Create(new) => {
            let template = history::template(new).unwrap();
            format!("revision {} of {}", history::number(new), image(template.spec.as_ref()))
        }
        Step::Renumber { number, .. } => format!("renumber {number}"),
    });
    let claims = decision.claims.iter().map(|step| match step {
        ClaimStep::Create { claim, pod } => format!("claim {} for {pod}", claim.name()),
        ClaimStep::Own { claim, owners, conflict } => {
            let owners: Vec<_> = owners.iter().map(|owner| owner.uid.as_str()).collect();
            format!("own {} by [{}]{}", claim.name(), owners.join(" "), if *conflict { " conflict" } else { "" })
        }
    });
    let pods = decision.pods.iter().map(|step| match step {
        PodStep::Create(new) => {
            let pod = new.pod();
            let image = image(pod.spec.as_ref());
            let expected = seen.revisions.iter().find(|r| pod.label(REVISION_LABEL) == Some(r.name())).unwrap();
            assert_eq!(self::image_of(expected), image, "a pod is labelled by what it is made from");
            format!("create {} of {image}", pod.name())
        }
        PodStep::Delete(pod) => format!("delete {}", pod.key.name),
        PodStep::Label(pod) => format!("label {}", pod.key.name),
        PodStep::Refuse { verb, pod, why } => format!("{verb} {pod}: {why}"),
    });
    let surplus = decision.surplus.iter().map(|revision| format!("drop {}", image_of(revision)));
    history.chain(claims).chain(pods).chain(surplus).collect()
}

fn image_of(revision: &ControllerRevision) -> String {
    history::template(revision).unwrap().spec.unwrap().containers[0].image.clone().unwrap()
}

type Row<'a> = (&'a str, &'a str, Value, &'a [&'a str], &'a [&'a str], &'a [&'a str]);

/// why, image, changes of the spec, history, pods, what is done
fn check(cases: &[Row<'_>]) {
    for (why, image, changes, history, pods, expected) in cases {
        let seen = observed(set(image, changes), history, pods);
        assert_eq!(said(&seen, &decide(&seen)), *expected, "{why}");
    }
}

#[test]
fn history_comes_first_table() {
    let none = || json!({});
    check(&[
        ("a new one: its first revision", "a", none(), &[], &[], &["revision 1 of a"]),
        ("a new template", "b", none(), &["a"], &["0 a serves"], &["revision 2 of b"]),
        ("an old template again", "a", none(), &["a", "b"], &["0 a serves"], &["renumber 3"]),
        (
            "nothing is made from the oldest beyond the limit",
            "c",
            json!({"replicas": 1, "revisionHistoryLimit": 1}),
            &["a", "x", "y", "b", "c"],
            &["0 b serves"],
            &["delete db-0", "drop x"],
        ),
    ]);
    let mut going = set("b", &json!({}));
    going.metadata.deletion_timestamp = Some(Time(at(1)));
    assert_eq!(
        decide(&observed(going, &["a"], &["0 a serves"])),
        Decision::default(),
        "one that goes makes no history"
    );
}

#[test]
fn one_after_the_other_table() {
    let none = || json!({});
    let slow = || json!({"minReadySeconds": 10});
    check(&[
        ("the first", "a", none(), &["a"], &[], &["create db-0 of a"]),
        ("the second waits for the first", "a", none(), &["a"], &["0 a pending"], &[]),
        ("ready, but not for long enough", "a", slow(), &["a"], &["0 a young"], &[]),
        ("the second", "a", slow(), &["a"], &["0 a serves"], &["create db-1 of a"]),
        ("a gap is filled first", "a", none(), &["a"], &["0 a serves", "2 a serves"], &["create db-1 of a"]),
        ("not while one before goes", "a", none(), &["a"], &["0 a going", "2 a serves"], &[]),
        ("one that ended goes", "a", none(), &["a"], &["0 a ended", "1 a serves"], &["delete db-0"]),
        ("as wanted", "a", none(), &["a"], &["0 a serves", "1 a serves", "2 a serves"], &[]),
        (
            "from another start",
            "a",
            json!({"replicas": 2, "ordinals": {"start": 5}}),
            &["a"],
            &["5 a serves"],
            &["create db-6 of a"],
        ),
    ]);
}

#[test]
fn scale_down_table() {
    let two = || json!({"replicas": 1});
    check(&[
        ("the highest goes", "a", two(), &["a"], &["0 a serves", "1 a serves", "2 a serves"], &["delete db-2"]),
        ("one after the other", "a", two(), &["a"], &["0 a serves", "1 a serves", "2 a going"], &[]),
        ("not while one that stays is down", "a", two(), &["a"], &["0 a fell", "1 a serves", "2 a serves"], &[]),
        (
            "the highest is down: it goes",
            "a",
            two(),
            &["a"],
            &["0 a serves", "1 a serves", "2 a fell"],
            &["delete db-2"],
        ),
        ("one below it is down, too: it waits", "a", two(), &["a"], &["0 a serves", "1 a fell", "2 a fell"], &[]),
        (
            "one below it is down: it goes",
            "a",
            two(),
            &["a"],
            &["0 a serves", "1 a fell", "2 a serves"],
            &["delete db-2"],
        ),
        ("to none", "a", json!({"replicas": 0}), &["a"], &["0 a serves"], &["delete db-0"]),
        (
            "ordinals begin later: those before go",
            "a",
            json!({"replicas": 1, "ordinals": {"start": 2}}),
            &["a"],
            &["0 a serves", "1 a serves", "2 a serves"],
            &["delete db-1"],
        ),
        ("scaling comes before an update", "b", two(), &["a", "b"], &["0 a serves", "1 a serves"], &["delete db-1"]),
    ]);
}

#[test]
fn update_table() {
    let all_a: &[&str] = &["0 a serves", "1 a serves", "2 a serves"];
    let rolling = |partition: i32, max: &str| {
        let max = max.parse::<i32>().map_or_else(|_| json!(max), |n| json!(n));
        let rolling = json!({"partition": partition, "maxUnavailable": max});
        json!({"updateStrategy": {"type": "RollingUpdate", "rollingUpdate": rolling}})
    };
    let on_delete = || json!({"updateStrategy": {"type": "OnDelete"}});
    let ab: &[&str] = &["a", "b"];
    let abc: &[&str] = &["a", "b", "c"];
    check(&[
        ("the highest goes", "b", rolling(0, "1"), ab, all_a, &["delete db-2"]),
        ("it comes anew", "b", rolling(0, "1"), ab, &["0 a serves", "1 a serves"], &["create db-2 of b"]),
        ("it is waited for", "b", rolling(0, "1"), ab, &["0 a serves", "1 a serves", "2 b broken"], &[]),
        ("the next", "b", rolling(0, "1"), ab, &["0 a serves", "1 a serves", "2 b serves"], &["delete db-1"]),
        ("two at once", "b", rolling(0, "2"), ab, all_a, &["delete db-2", "delete db-1"]),
        ("a third of three", "b", rolling(0, "34%"), ab, all_a, &["delete db-2"]),
        ("a percentage that is none is one", "b", rolling(0, "1%"), ab, all_a, &["delete db-2"]),
        ("down to the partition", "b", rolling(2, "1"), ab, &["0 a serves", "1 a serves", "2 b serves"], &[]),
        ("below it the one before comes anew", "b", rolling(2, "1"), ab, &["0 a serves"], &["create db-1 of a"]),
        ("above it the new one", "b", rolling(1, "1"), ab, &["0 a serves"], &["create db-1 of b"]),
        ("only who deletes gets a new one", "b", on_delete(), ab, all_a, &[]),
        ("who deletes gets a new one", "b", on_delete(), ab, &["0 a serves", "1 a serves"], &["create db-2 of b"]),
        ("what is broken is deleted by who says so", "c", on_delete(), abc, &["0 b broken"], &[]),
        (
            "a broken update that is followed by another",
            "c",
            rolling(0, "1"),
            abc,
            &["0 a serves", "1 a serves", "2 b broken"],
            &["delete db-2"],
        ),
        ("a first revision that was broken", "b", rolling(0, "1"), ab, &["0 a broken"], &["delete db-0"]),
        (
            "a pod that waits for a node is not waited for",
            "b",
            rolling(0, "1"),
            ab,
            &["0 a serves", "1 a pending"],
            &["delete db-1"],
        ),
        ("one that fell comes back first", "b", rolling(0, "1"), ab, &["0 a fell", "1 a serves", "2 a serves"], &[]),
    ]);
}

#[test]
fn parallel_table() {
    let with = |changes: Value| {
        let mut all = json!({"podManagementPolicy": "Parallel"});
        all.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        all
    };
    let max_2 = || with(json!({"updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 2}}}));
    let ab: &[&str] = &["a", "b"];
    check(&[
        (
            "all at once",
            "a",
            with(json!({})),
            &["a"],
            &[],
            &["create db-0 of a", "create db-1 of a", "create db-2 of a"],
        ),
        (
            "whatever the others do",
            "a",
            with(json!({})),
            &["a"],
            &["0 a broken", "1 a ended"],
            &["delete db-1", "create db-2 of a"],
        ),
        (
            "all go at once",
            "a",
            with(json!({"replicas": 0})),
            &["a"],
            &["0 a serves", "1 a broken", "2 a going"],
            &["delete db-1", "delete db-0"],
        ),
        (
            "an update takes one",
            "b",
            with(json!({})),
            ab,
            &["0 a serves", "1 a serves", "2 a serves"],
            &["delete db-2"],
        ),
        (
            "an update takes two",
            "b",
            max_2(),
            ab,
            &["0 a serves", "1 a serves", "2 a serves"],
            &["delete db-2", "delete db-1"],
        ),
        (
            "one that is made counts",
            "b",
            max_2(),
            ab,
            &["0 a serves", "1 a serves"],
            &["create db-2 of b", "delete db-1"],
        ),
        (
            "what never served goes at once",
            "b",
            with(json!({})),
            ab,
            &["0 a broken", "1 a pending", "2 a serves"],
            &["delete db-1", "delete db-0"],
        ),
    ]);
    let many = with(json!({"replicas": 2_000_000_000}));
    let seen = observed(set("a", &many), &["a"], &["7 a serves"]);
    assert_eq!(decide(&seen).pods.len(), BURST_PODS, "a bounded burst");
}

#[test]
fn a_pod_is_given_its_label_back_and_one_without_its_claims_is_told_of() {
    let claims = json!({"replicas": 1, "volumeClaimTemplates": [{"metadata": {"name": "data"}}]});
    let mut seen = observed(set("a", &json!({"replicas": 1})), &["a"], &["0 a serves"]);
    Arc::make_mut(&mut seen.pods[0]).labels.remove(POD_NAME_LABEL);
    assert_eq!(said(&seen, &decide(&seen)), ["label db-0"]);
    assert_eq!(label_patch(&seen.pods[0])["metadata"]["labels"][POD_NAME_LABEL], "db-0");
    let seen = observed(set("a", &claims), &["a"], &["0 a serves"]);
    let told = said(&seen, &decide(&seen));
    assert!(told.len() == 1 && told[0].starts_with("Update db-0: its volumes are not its claims"), "{told:?}");
}

#[test]
fn a_revision_that_cannot_be_read_is_told_of() {
    let below = json!({"updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": 3}}});
    let mut seen = observed(set("b", &below), &["a", "b"], &[]);
    Arc::make_mut(&mut seen.revisions[0]).data.0 = json!({"spec": "?"});
    let told = said(&seen, &decide(&seen));
    assert!(told.len() == 1 && told[0].ends_with("is no pod template"), "{told:?}");
}

#[test]
fn hundreds_of_pods_and_claims_to_be_made_share_what_they_are_made_from() {
    let many = json!({
        "replicas": 400, "podManagementPolicy": "Parallel",
        "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": 399}},
        "volumeClaimTemplates": [{"metadata": {"name": "data"}}],
    });
    let seen = observed(set("b", &many), &["a", "b"], &[]);
    let decision = decide(&seen);
    let pods: Vec<&NewPod> = decision
        .pods
        .iter()
        .map(|step| match step {
            PodStep::Create(new) => new,
            other => panic!("{other:?}"),
        })
        .collect();
    let kept = pods[0].template.as_ref().unwrap();
    let is_shared =
        |new: &&NewPod| Arc::ptr_eq(&new.set, &seen.set) && Arc::ptr_eq(new.template.as_ref().unwrap(), kept);
    assert!(pods.len() == 400 && pods[..399].iter().all(is_shared), "all of the revision before");
    assert_eq!(pods[399].template, None, "the last is made from the set's own");
    let images: Vec<_> = [0, 398, 399].map(|n: usize| pods[n].pod().spec.unwrap().containers[0].image.clone()).into();
    assert_eq!(images, ["a", "a", "b"].map(|image| Some(image.to_owned())));
    let is_claim =
        |step: &ClaimStep| matches!(step, ClaimStep::Create { claim, .. } if Arc::ptr_eq(&claim.set, &seen.set));
    assert!(decision.claims.len() == 400 && decision.claims.iter().all(is_claim));
}

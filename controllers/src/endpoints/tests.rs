//! The table of Endpoints: what is written for which pods.

use corten_api::Key;
use corten_api::k8s_openapi::api::core::v1::ServicePort;
use jiff::Timestamp;

use super::*;
use crate::pods::Phase;

fn pod(n: usize) -> SeenPod {
    SeenPod {
        key: Key::new("ns", format!("pod-{n}")),
        uid: format!("uid-{n}"),
        phase: Phase::Running,
        ips: vec![format!("10.244.{}.{}", n / 250, n % 250)],
        ready_since: Some(Timestamp::UNIX_EPOCH),
        ..SeenPod::default()
    }
}
fn service() -> Service {
    Service {
        metadata: ObjectMeta { name: Some("web".into()), namespace: Some("ns".into()), ..Default::default() },
        spec: Some(ServiceSpec {
            selector: Some([("app".into(), "web".into())].into()),
            ports: Some(vec![ServicePort { port: 80, ..ServicePort::default() }]),
            ..ServiceSpec::default()
        }),
        status: None,
    }
}
fn told(action: &Action) -> String {
    let counts = |e: &Endpoints| {
        let n = |l: &Option<Vec<EndpointAddress>>| l.as_ref().map_or(0, Vec::len);
        let subsets = e.subsets.iter().flatten();
        subsets.map(|s| format!("{}+{}", n(&s.addresses), n(&s.not_ready_addresses))).collect::<Vec<_>>().join(" ")
    };
    match action {
        Action::Keep => "keep".into(),
        Action::Create(e) => format!("create {}", counts(e)),
        Action::Update(e) => format!("update {}", counts(e)),
        Action::Delete { .. } => "delete".into(),
    }
}
fn decided(service: Option<&Service>, pods: Vec<SeenPod>, existing: Option<&Endpoints>) -> Action {
    let pods: Vec<_> = pods.into_iter().map(Arc::new).collect();
    decide(&Observed { service, pods: &pods, existing })
}

#[test]
fn endpoints_table() {
    let web = service();
    let mut no_selector = service();
    no_selector.spec.get_or_insert_default().selector = None;
    let Action::Create(made) = decided(Some(&web), vec![pod(1)], None) else { panic!("must be made") };
    let theirs = Endpoints { metadata: web.metadata.clone(), subsets: None };
    let unready = SeenPod { ready_since: None, ..pod(2) };
    let going = SeenPod { deleting: Some(Timestamp::UNIX_EPOCH), ..pod(3) };
    let cases = [
        ("new, one of two is ready", Some(&web), vec![pod(1), unready], None, "create 1+1"),
        ("one on its way out is left out", Some(&web), vec![pod(1), going], None, "create 1+0"),
        ("no pods", Some(&web), vec![], None, "create "),
        ("as it should be", Some(&web), vec![pod(1)], Some(&made), "keep"),
        ("one more", Some(&web), vec![pod(1), pod(2)], Some(&made), "update 2+0"),
        ("no selector: its user writes them", Some(&no_selector), vec![], Some(&made), "keep"),
        ("the Service is gone: so are ours", None, vec![], Some(&made), "delete"),
        ("the Service is gone: others' stay", None, vec![], Some(&theirs), "keep"),
        ("too many: a thousand", Some(&web), (0..1200).map(pod).collect(), None, "create 1000+0"),
    ];
    for (why, service, pods, existing, expected) in cases {
        assert_eq!(told(&decided(service, pods, existing)), expected, "{why}");
    }
}

#[test]
fn truncation_is_annotated_and_the_note_goes_away() {
    let web = service();
    let Action::Create(made) = decided(Some(&web), (0..1200).map(pod).collect(), None) else { panic!() };
    assert_eq!(made.annotation(OVER_CAPACITY), Some("truncated"));
    let Action::Update(fewer) = decided(Some(&web), vec![pod(1)], Some(&made)) else { panic!() };
    assert_eq!(fewer.annotation(OVER_CAPACITY), None);
}

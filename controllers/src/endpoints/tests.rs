//! The table of Endpoints: what is written for which pods.

use corten_api::Key;
use corten_api::k8s_openapi::api::core::v1::ServicePort;
use corten_api::k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
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
    let named = |headless: bool| {
        let mut named = service();
        let spec = named.spec.get_or_insert_default();
        spec.ports.as_mut().unwrap()[0].target_port = Some(IntOrString::String("web".into()));
        spec.cluster_ip = headless.then(|| "None".into());
        named
    };
    let (named, headless) = (named(false), named(true));
    let cases = [
        ("a pod without the port that is named", Some(&named), vec![pod(1)], None, "create "),
        ("the same of a headless Service", Some(&headless), vec![pod(1)], None, "create "),
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

#[test]
fn what_stands_in_them() {
    let mut web = service();
    web.metadata.labels =
        Some([("team".to_owned(), "x".to_owned()), (HEADLESS_LABEL.to_owned(), String::new())].into());
    let spec = web.spec.get_or_insert_default();
    spec.ports = Some(vec![ServicePort { name: Some("http".into()), port: 80, ..ServicePort::default() }]);
    let unready = SeenPod { ready_since: None, ..pod(2) };
    let Action::Create(made) = decided(Some(&web), vec![pod(11), pod(1), unready], None) else {
        panic!("must be made")
    };
    assert_eq!((made.metadata.name.as_deref(), made.metadata.namespace.as_deref()), (Some("web"), Some("ns")));
    assert_eq!((made.label("team"), made.label(MANAGED_BY_LABEL)), (Some("x"), Some(MANAGER)));
    assert_eq!(made.label(HEADLESS_LABEL), None, "it is not, whatever it says");
    let [subset] = &made.subsets.as_ref().unwrap()[..] else { panic!("{made:?}") };
    let ips = |list: &Option<Vec<EndpointAddress>>| list.iter().flatten().map(|a| a.ip.clone()).collect::<Vec<_>>();
    assert_eq!(ips(&subset.addresses), ["10.244.0.1", "10.244.0.11"], "in order");
    assert_eq!(ips(&subset.not_ready_addresses), ["10.244.0.2"]);
    assert_eq!(subset.addresses.as_ref().unwrap()[0].target_ref.as_ref().unwrap().name.as_deref(), Some("pod-1"));
    let [port] = &subset.ports.as_ref().unwrap()[..] else { panic!("{subset:?}") };
    assert_eq!((port.name.as_deref(), port.port, port.protocol.as_deref()), (Some("http"), 80, Some("TCP")));

    let spec = web.spec.get_or_insert_default();
    (spec.cluster_ip, spec.ports) = (Some("None".into()), None);
    let Action::Create(made) = decided(Some(&web), vec![pod(1)], None) else { panic!("must be made") };
    assert_eq!(made.label(HEADLESS_LABEL), Some(""));
    assert_eq!(made.subsets.unwrap()[0].ports, None, "a headless one may do without ports");
    let Action::Create(unnamed) = decided(Some(&service()), vec![pod(1)], None) else { panic!("must be made") };
    assert_eq!(unnamed.subsets.unwrap()[0].ports.as_ref().unwrap()[0].name, None);
}

#[test]
fn publishing_table() {
    let unready = || SeenPod { ready_since: None, ..pod(2) };
    let going = || SeenPod { deleting: Some(Timestamp::UNIX_EPOCH), ..pod(3) };
    for (publishes, expected) in [(false, "create 0+1"), (true, "create 2+0")] {
        let mut web = service();
        web.spec.get_or_insert_default().publish_not_ready_addresses = Some(publishes);
        assert_eq!(told(&decided(Some(&web), vec![unready(), going()], None)), expected, "{publishes}");
    }
    let crowd = (0..1000).map(|n| SeenPod { ready_since: None, ..pod(n) });
    let Action::Create(full) = decided(Some(&service()), crowd.clone().collect(), None) else { panic!("must be made") };
    assert_eq!(full.annotation(OVER_CAPACITY), None, "just as many as may be");
    let pods = crowd.chain([pod(1001)]).collect();
    assert_eq!(told(&decided(Some(&service()), pods, None)), "create 1+999", "those that serve stay");
}

#[test]
fn a_service_or_endpoints_on_its_way_out() {
    let web = service();
    let Action::Create(made) = decided(Some(&web), vec![pod(1)], None) else { panic!("must be made") };
    let mut going = service();
    going.metadata.deletion_timestamp =
        Some(corten_api::k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(Timestamp::UNIX_EPOCH));
    assert_eq!(told(&decided(Some(&going), vec![pod(1)], Some(&made))), "delete");
    assert_eq!(decided(Some(&going), vec![pod(1)], None), Action::Keep);
    let mut leaving = made.clone();
    leaving.metadata.deletion_timestamp = going.metadata.deletion_timestamp;
    assert_eq!(decided(None, vec![], Some(&leaving)), Action::Keep, "deleted once");
    let mut annotated = made.clone();
    annotated.metadata.annotations =
        Some([(OVER_CAPACITY.to_owned(), "truncated".to_owned()), ("a".into(), "b".into())].into());
    let Action::Update(new) = decided(Some(&web), vec![pod(1)], Some(&annotated)) else { panic!("must be written") };
    assert_eq!((new.annotation(OVER_CAPACITY), new.annotation("a")), (None, Some("b")), "others' notes stay");
}

//! What a configuration file may say, and what comes of it.

use super::*;
use crate::profile::Enabled;

fn read(rest: &str) -> Result<Configuration, String> {
    let text = format!("apiVersion: {API_VERSION}\nkind: {KIND}\n{rest}");
    let file: File = serde_saphyr::from_str(&text).map_err(|err| err.to_string())?;
    file.check().map_err(|invalid| invalid.to_string())
}
fn only(configuration: &Configuration) -> &Profile {
    assert_eq!(configuration.profiles.len(), 1);
    configuration.profiles.values().next().unwrap()
}
fn plugin<'a>(profile: &'a Profile, name: &str) -> Option<&'a Enabled> {
    profile.plugins.iter().find(|e| e.plugin.name() == name)
}

#[test]
fn an_empty_file_is_the_default() {
    let configuration = read("").unwrap();
    assert_eq!(configuration.profiles.keys().collect::<Vec<_>>(), ["default-scheduler"]);
    assert_eq!(configuration.backoff, Backoff::default());
    let (got, default) = (only(&configuration), Profile::default());
    let told = |p: &Profile| -> Vec<_> {
        p.plugins.iter().map(|e| (e.plugin.name(), e.filters, e.scores, e.weight)).collect()
    };
    let said =
        |p: &Profile| -> Vec<_> { told(p).into_iter().filter(|(_, filters, scores, _)| *filters || *scores).collect() };
    assert_eq!(said(got), said(&default));
    assert_eq!((got.preemption, got.percentage_of_nodes_to_score), (default.preemption, 0));
}

#[test]
fn profiles_have_their_own_plugins() {
    let configuration = read(
        "
percentageOfNodesToScore: 40
podInitialBackoffSeconds: 2
podMaxBackoffSeconds: 20
leaderElection: {leaderElect: true, resourceLock: leases}
profiles:
- schedulerName: default-scheduler
- schedulerName: packing
  percentageOfNodesToScore: 10
  plugins:
    multiPoint:
      enabled: [{name: NodeResourcesFit, weight: 5}]
      disabled: [{name: ImageLocality}]
    score:
      disabled: [{name: NodeAffinity}]
    postFilter:
      disabled: [{name: '*'}]
  pluginConfig:
  - name: NodeResourcesFit
    args:
      apiVersion: kubescheduler.config.k8s.io/v1
      kind: NodeResourcesFitArgs
      scoringStrategy:
        type: MostAllocated
        resources: [{name: cpu, weight: 3}, {name: x.io/gpu}]
- schedulerName: no-scores
  plugins:
    score: {disabled: [{name: '*'}], enabled: [{name: ImageLocality}]}
",
    )
    .unwrap();
    assert_eq!(configuration.backoff, Backoff { first: Duration::from_secs(2), max: Duration::from_secs(20) });
    let packing = &configuration.profiles["packing"];
    assert_eq!((packing.percentage_of_nodes_to_score, packing.preemption), (10, None));
    assert_eq!(configuration.profiles["default-scheduler"].percentage_of_nodes_to_score, 40);
    assert!(plugin(packing, "ImageLocality").is_none());
    let affinity = plugin(packing, "NodeAffinity").unwrap();
    assert_eq!((affinity.filters, affinity.scores), (true, false));
    let fit = plugin(packing, "NodeResourcesFit").unwrap();
    assert_eq!(fit.weight, 5);
    assert!(format!("{:?}", fit.plugin).contains("MostAllocated"), "{:?}", fit.plugin);
    let scoring = |profile: &Profile| -> Vec<&str> {
        profile.plugins.iter().filter(|e| e.scores).map(|e| e.plugin.name()).collect()
    };
    assert_eq!(scoring(&configuration.profiles["no-scores"]), ["ImageLocality"]);
}

#[test]
fn refusals_table() {
    let profile = |rest: &str| format!("profiles:\n- {rest}");
    let args = |name: &str, args: &str| profile(&format!("pluginConfig: [{{name: {name}, args: {args}}}]"));
    let cases = [
        ("a field that is none", "nonsense: 1".to_owned(), "nonsense"),
        ("a field that is none within", profile("schedulerNme: x"), "schedulerNme"),
        (
            "two of a name",
            "profiles: [{schedulerName: a}, {schedulerName: a}]".to_owned(),
            "profiles[1].schedulerName: Duplicate value: \"a\"",
        ),
        ("two without a name", "profiles: [{}, {}]".to_owned(), "profiles[0].schedulerName: Required value"),
        (
            "too many percent",
            "percentageOfNodesToScore: 101".to_owned(),
            "percentageOfNodesToScore: not in valid range [0-100]",
        ),
        ("no backoff", "podInitialBackoffSeconds: 0".to_owned(), "podInitialBackoffSeconds: must be greater than 0"),
        ("backoff", "podInitialBackoffSeconds: 20".to_owned(), "podMaxBackoffSeconds: must be greater than or equal"),
        ("extenders", "extenders: [{urlPrefix: x}]".to_owned(), "extenders: this scheduler has no extenders"),
        ("threads", "parallelism: 16".to_owned(), "parallelism: this scheduler decides in one thread"),
        (
            "no leader",
            "leaderElection: {leaderElect: false}".to_owned(),
            "leaderElection.leaderElect: a leader is always",
        ),
        (
            "another lease",
            "leaderElection: {resourceName: x}".to_owned(),
            "leaderElection.resourceName: must be kube-scheduler",
        ),
        (
            "an unknown plugin",
            profile("plugins: {filter: {enabled: [{name: X}]}}"),
            "profiles[0].plugins.filter.enabled[0]: there is no plugin \"X\"",
        ),
        (
            "not yet",
            profile("plugins: {multiPoint: {enabled: [{name: DynamicResources}]}}"),
            "DynamicResources is not supported by this scheduler yet",
        ),
        (
            "at the wrong point",
            profile("plugins: {score: {enabled: [{name: NodePorts}]}}"),
            "NodePorts does nothing at this extension point",
        ),
        ("no order", profile("plugins: {queueSort: {disabled: [{name: '*'}]}}"), "PrioritySort cannot be disabled"),
        ("args of none", args("NodePorts", "{}"), "\"NodePorts\" takes no arguments here"),
        (
            "args of another kind",
            args("NodeAffinity", "{kind: X}"),
            "profiles[0].pluginConfig[0].args.kind: must be NodeAffinityArgs",
        ),
        ("an argument that is none", args("InterPodAffinity", "{x: 1}"), "unknown field `x`"),
        (
            "a weight",
            args("InterPodAffinity", "{hardPodAffinityWeight: 101}"),
            "hardPodAffinityWeight: not in valid range [0, 100]",
        ),
        (
            "a strategy",
            args("NodeResourcesFit", "{scoringStrategy: {type: X}}"),
            "scoringStrategy.type: Unsupported value: \"X\"",
        ),
        (
            "no shape",
            args("NodeResourcesFit", "{scoringStrategy: {type: RequestedToCapacityRatio}}"),
            "at least one point",
        ),
        (
            "defaults without their type",
            args(
                "PodTopologySpread",
                "{defaultConstraints: [{maxSkew: 1, topologyKey: z, whenUnsatisfiable: ScheduleAnyway}]}",
            ),
            "defaultingType: must be List",
        ),
        (
            "a default with a selector",
            args(
                "PodTopologySpread",
                "{defaultingType: List, defaultConstraints: [{maxSkew: 1, topologyKey: z, whenUnsatisfiable: ScheduleAnyway, labelSelector: {}}]}",
            ),
            "defaultConstraints[0].labelSelector: constraint must not define a selector",
        ),
        (
            "a field of a constraint that is none",
            args(
                "PodTopologySpread",
                "{defaultingType: List, defaultConstraints: [{maxSkew: 1, topologyKey: z, whenUnsatisfiable: ScheduleAnyway, x: 1}]}",
            ),
            "args.defaultConstraints[0].x: unknown field",
        ),
        (
            "an affinity that cannot be judged",
            args(
                "NodeAffinity",
                "{addedAffinity: {requiredDuringSchedulingIgnoredDuringExecution: {nodeSelectorTerms: [{matchExpressions: [{key: a, operator: In}]}]}}}",
            ),
            "nodeSelectorTerms[0].matchExpressions[0]: must have values with In and NotIn",
        ),
        (
            "no candidates",
            args("DefaultPreemption", "{minCandidateNodesPercentage: 0, minCandidateNodesAbsolute: 0}"),
            "cannot be zero at the same time",
        ),
    ];
    for (why, text, expected) in cases {
        let err = read(&text).expect_err(why);
        assert!(err.contains(expected), "{why}: {err}");
    }
    let other = "apiVersion: kubescheduler.config.k8s.io/v1beta3\nkind: KubeSchedulerConfiguration\n";
    let file: File = serde_saphyr::from_str(other).unwrap();
    assert_eq!(file.check().unwrap_err().field, "apiVersion");
}

#[test]
fn arguments_reach_their_plugins() {
    let configuration = read(
        "
profiles:
- pluginConfig:
  - name: DefaultPreemption
    args: {minCandidateNodesAbsolute: 7}
  - name: PodTopologySpread
    args:
      defaultingType: List
      defaultConstraints: [{maxSkew: 2, topologyKey: rack, whenUnsatisfiable: DoNotSchedule}]
  - name: NodeAffinity
    args:
      addedAffinity:
        requiredDuringSchedulingIgnoredDuringExecution:
          nodeSelectorTerms: [{matchExpressions: [{key: disk, operator: Exists}]}]
",
    )
    .unwrap();
    let profile = only(&configuration);
    assert_eq!(profile.preemption.unwrap().min_candidate_nodes_absolute, 7);
    let told = |name: &str| format!("{:?}", plugin(profile, name).unwrap().plugin);
    assert!(told("PodTopologySpread").contains("rack"), "{}", told("PodTopologySpread"));
    assert!(told("NodeAffinity").contains("disk"), "{}", told("NodeAffinity"));
}

//! APIService: a group version, and who serves it: this server (Local) or a Service.

use corten_api::{Object, Problems};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::kube_aggregator::pkg::apis::apiregistration::v1::{APIService, APIServiceCondition, APIServiceStatus};

use crate::registry::path::Path;
use crate::registry::{Cell, Column, Kind, NameRule, WriteContext, cells, check, conditions};

pub const PLURAL: &str = "apiservices";
pub const STORE_PREFIX: &str = "apiregistration.k8s.io/apiservices";
/// The condition that says whether requests are sent there.
pub const AVAILABLE: &str = "Available";
/// Where none is said.
pub const SERVICE_PORT: i32 = 443;
const GROUP_PRIORITY_MAX: i32 = 20_000;
const VERSION_PRIORITY_MAX: i32 = 1_000;

const COLUMNS: &[Column] = &[
    cells::NAME,
    cells::text("Service", "The Service that hosts the API, or Local where this server does"),
    cells::text("Available", "Whether the API is available"),
    cells::AGE,
];

impl Kind for APIService {
    const SINGULAR: &'static str = "apiservice";
    const CATEGORIES: &'static [&'static str] = &["api-extensions"];
    const STORE_PREFIX: &'static str = STORE_PREFIX;
    const SUBRESOURCES: &'static [&'static str] = &["status"];
    const UNCONDITIONAL_UPDATE: bool = false;
    const NAME_RULE: NameRule = NameRule::PathSegment;

    strategy!(spec, status);
    fn fill_defaults(&mut self) {
        let spec = self.spec.get_or_insert_default();
        if let Some(service) = &mut spec.service {
            service.port.get_or_insert(SERVICE_PORT);
        }
    }
    fn prepare_create(&mut self, context: &WriteContext<'_>) {
        if !is_remote(self) {
            set(self.status.get_or_insert_default(), &Availability::local(), &context.now);
        }
    }
    fn prepare_status(&mut self, old: &Self, _context: &WriteContext<'_>) {
        let (new, old) = (&mut self.metadata, &old.metadata);
        new.labels.clone_from(&old.labels);
        new.annotations.clone_from(&old.annotations);
        new.finalizers.clone_from(&old.finalizers);
        new.owner_references.clone_from(&old.owner_references);
    }
    fn validate(&self, problems: &mut Problems) {
        validate(self, problems);
    }
    fn validate_status(&self, _old: &Self, problems: &mut Problems) {
        let root = Path::root("status.conditions");
        for (i, condition) in self.status.iter().flat_map(|status| &status.conditions).flatten().enumerate() {
            check::known_word(problems, &root.index(i).field("status"), &condition.status, conditions::STATUSES);
        }
    }
    fn columns() -> &'static [Column] {
        COLUMNS
    }
    fn row(&self, now_secs: i64) -> Vec<Cell> {
        let service = self.spec.as_ref().and_then(|spec| spec.service.as_ref()).map_or("Local".to_owned(), |service| {
            format!("{}/{}", check::text(service.namespace.as_ref()), check::text(service.name.as_ref()))
        });
        let available = match available(self) {
            None => "Unknown".to_owned(),
            Some(APIServiceCondition { status, reason: Some(reason), .. })
                if status != "True" && !reason.is_empty() =>
            {
                format!("{status} ({reason})")
            }
            Some(condition) => condition.status.clone(),
        };
        vec![
            cells::name(&self.metadata),
            Cell::text(service),
            Cell::text(available),
            cells::age(&self.metadata, now_secs),
        ]
    }
}

fn validate(of: &APIService, problems: &mut Problems) {
    let Some(spec) = &of.spec else { return };
    let root = Path::root("spec");
    let (group, version) = (check::text(spec.group.as_ref()), check::text(spec.version.as_ref()));
    let name = format!("{version}.{group}");
    if is_path_segment(of.name()) && of.name() != name {
        problems.invalid("metadata.name", of.name(), &format!("must be `spec.version+\".\"+spec.group`: {name:?}"));
    }
    match group {
        "" if version != "v1" => {
            problems.required(root.field("group"), "only v1 may have an empty group and it better be legacy kube");
        }
        "" => {}
        group => check::dns_subdomain(problems, &root.field("group"), group),
    }
    check::dns_1035_label(problems, &root.field("version"), version);
    let mut priority = |field: &'static str, value: i32, max: i32| {
        if value <= 0 || value > max {
            problems.invalid(root.field(field), value, &format!("must be positive and less than {max}"));
        }
    };
    priority("groupPriorityMinimum", spec.group_priority_minimum, GROUP_PRIORITY_MAX);
    priority("versionPriority", spec.version_priority, VERSION_PRIORITY_MAX);
    let bundle_bytes = spec.ca_bundle.as_ref().map_or(0, |bundle| bundle.0.len());
    let is_insecure = spec.insecure_skip_tls_verify == Some(true);
    let Some(service) = &spec.service else {
        if bundle_bytes > 0 {
            let bytes = format!("{bundle_bytes} bytes");
            problems.invalid(root.field("caBundle"), bytes, "local APIServices may not have a caBundle");
        }
        if is_insecure {
            let why = "local APIServices may not have insecureSkipTLSVerify";
            problems.invalid(root.field("insecureSkipTLSVerify"), true, why);
        }
        return;
    };
    let of_service = root.field("service");
    if check::text(service.namespace.as_ref()).is_empty() {
        problems.required(of_service.field("namespace"), "");
    }
    if check::text(service.name.as_ref()).is_empty() {
        problems.required(of_service.field("name"), "");
    }
    let port = service.port.unwrap_or_default();
    if !(1..=i32::from(u16::MAX)).contains(&port) {
        problems.invalid(of_service.field("port"), port, &format!("port is not valid: {}", check::PORT_RANGE));
    }
    if is_insecure && bundle_bytes > 0 {
        problems.invalid(root.field("insecureSkipTLSVerify"), true, "may not be true if caBundle is present");
    }
}

/// What else is wrong with a name is told by the rule for all objects.
fn is_path_segment(name: &str) -> bool {
    !name.is_empty() && !matches!(name, "." | "..") && !name.contains(['/', '%'])
}

/// Whether a Service answers, and not this server.
pub fn is_remote(of: &APIService) -> bool {
    of.spec.as_ref().is_some_and(|spec| spec.service.is_some())
}

const IS_LOCAL: &str = "Local APIServices are always available";

/// What the condition `Available` says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Availability {
    pub status: &'static str,
    pub reason: &'static str,
    pub message: String,
}

impl Availability {
    pub fn local() -> Self {
        Self { status: "True", reason: "Local", message: IS_LOCAL.into() }
    }
}

pub fn available(of: &APIService) -> Option<&APIServiceCondition> {
    let mut conditions = of.status.iter().flat_map(|status| &status.conditions).flatten();
    conditions.find(|condition| condition.type_ == AVAILABLE)
}

pub fn is_available(of: &APIService) -> bool {
    available(of).is_some_and(|condition| condition.status == "True")
}

/// Whether it is said already.
pub fn has(of: &APIService, wanted: &Availability) -> bool {
    available(of).is_some_and(|condition| {
        (condition.status.as_str(), check::text(condition.reason.as_ref()), check::text(condition.message.as_ref()))
            == (wanted.status, wanted.reason, wanted.message.as_str())
    })
}

/// The time stays where the status does.
pub fn set(of: &mut APIServiceStatus, wanted: &Availability, now: &Time) {
    let conditions = of.conditions.get_or_insert_default();
    let at = conditions.iter().position(|condition| condition.type_ == AVAILABLE).unwrap_or_else(|| {
        conditions.push(APIServiceCondition { type_: AVAILABLE.into(), ..APIServiceCondition::default() });
        conditions.len() - 1
    });
    let Some(condition) = conditions.get_mut(at) else { return };
    if condition.status != wanted.status {
        condition.status = wanted.status.into();
        condition.last_transition_time = Some(now.clone());
    }
    condition.reason = Some(wanted.reason.into());
    condition.message = Some(wanted.message.clone());
}

#[cfg(test)]
mod tests;

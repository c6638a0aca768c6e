//! Errors as the Kubernetes API words them: a `Status` with a reason, a message and the fields at fault.
//!
//! Follows <https://github.com/kubernetes/community/blob/master/contributors/devel/sig-architecture/api-conventions.md#response-status-kind>.

use std::fmt;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Status, StatusCause, StatusDetails};

/// An error and its causes in one line, for a log or a message. Each is said once: many errors repeat their cause's text.
pub fn with_causes(err: &dyn std::error::Error) -> String {
    let mut text = err.to_string();
    let mut cause = err.source();
    while let Some(err) = cause {
        let more = err.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        cause = err.source();
    }
    text
}

/// Why a request failed; each has one HTTP code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    BadRequest,
    Unauthorized,
    Forbidden,
    NotFound,
    MethodNotAllowed,
    NotAcceptable,
    AlreadyExists,
    Conflict,
    Expired,
    RequestEntityTooLarge,
    UnsupportedMediaType,
    Invalid,
    TooManyRequests,
    InternalError,
    ServiceUnavailable,
    Timeout,
}

use Reason as R;
const REASONS: &[(Reason, &str, u16)] = &[
    (R::BadRequest, "BadRequest", 400),
    (R::Unauthorized, "Unauthorized", 401),
    (R::Forbidden, "Forbidden", 403),
    (R::NotFound, "NotFound", 404),
    (R::MethodNotAllowed, "MethodNotAllowed", 405),
    (R::NotAcceptable, "NotAcceptable", 406),
    (R::AlreadyExists, "AlreadyExists", 409),
    (R::Conflict, "Conflict", 409),
    (R::Expired, "Expired", 410),
    (R::RequestEntityTooLarge, "RequestEntityTooLarge", 413),
    (R::UnsupportedMediaType, "UnsupportedMediaType", 415),
    (R::Invalid, "Invalid", 422),
    (R::TooManyRequests, "TooManyRequests", 429),
    (R::InternalError, "InternalError", 500),
    (R::ServiceUnavailable, "ServiceUnavailable", 503),
    (R::Timeout, "Timeout", 504),
];

impl Reason {
    fn row(self) -> &'static (Reason, &'static str, u16) {
        REASONS.iter().find(|(r, ..)| *r == self).unwrap_or(&REASONS[13])
    }
    pub fn as_str(self) -> &'static str {
        self.row().1
    }
    pub fn code(self) -> u16 {
        self.row().2
    }
    /// The reason a Status names; one that we do not know counts by its HTTP code.
    pub fn of(status: &Status) -> Self {
        let named = REASONS.iter().find(|(_, name, _)| Some(*name) == status.reason.as_deref());
        let coded = || REASONS.iter().find(|(_, _, code)| Some(i32::from(*code)) == status.code);
        named.or_else(coded).map_or(Self::InternalError, |(r, ..)| *r)
    }
}

/// The cause of a Conflict that says that its author leads no more.
const LEASE_LOST: &str = "LeaseLost";

/// A failed request: what the caller is told, whole. Boxed so that `Result`s stay small.
#[derive(Clone, Debug, PartialEq)]
pub struct ApiError(Box<Status>);

impl ApiError {
    pub fn new(reason: Reason, message: impl Into<String>) -> Self {
        Self(Box::new(Status {
            code: Some(i32::from(reason.code())),
            reason: Some(reason.as_str().into()),
            status: Some("Failure".into()),
            message: Some(message.into()),
            ..Status::default()
        }))
    }
    pub fn from_status(status: Status) -> Self {
        Self(Box::new(status))
    }
    pub fn status(&self) -> &Status {
        &self.0
    }
    pub fn reason(&self) -> Reason {
        Reason::of(&self.0)
    }
    pub fn code(&self) -> u16 {
        self.0.code.and_then(|c| u16::try_from(c).ok()).unwrap_or(500)
    }
    pub fn message(&self) -> &str {
        self.0.message.as_deref().unwrap_or_default()
    }
    pub fn is(&self, reason: Reason) -> bool {
        self.reason() == reason
    }
    /// Nobody knows whether a write that failed so was done.
    pub fn is_doubtful(&self) -> bool {
        matches!(self.reason(), Reason::ServiceUnavailable | Reason::Timeout | Reason::InternalError)
    }

    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::new(R::BadRequest, message)
    }
    pub fn internal(message: impl fmt::Display) -> Self {
        Self::new(R::InternalError, format!("Internal error occurred: {message}"))
    }
    /// A path that leads nowhere. It has details, though nothing is in them: `kubectl debug` looks into them.
    pub fn no_such_path() -> Self {
        Self::new(R::NotFound, "the server could not find the requested resource").with_details()
    }
    /// Whether a whole kind is not served, and not only one object not there.
    pub fn is_no_such_path(&self) -> bool {
        self.is(R::NotFound) && self.0.details.as_ref().is_none_or(|details| details.name.is_none())
    }
    pub fn method_not_allowed() -> Self {
        Self::new(R::MethodNotAllowed, "the server does not allow this method on the requested resource").with_details()
    }
    pub fn unavailable(message: impl Into<String>) -> Self {
        Self::new(R::ServiceUnavailable, message)
    }
    /// `pods "web" not found`.
    pub fn not_found(group: &str, plural: &str, name: &str) -> Self {
        Self::new(R::NotFound, format!("{} {name:?} not found", qualified(plural, group))).about(group, plural, name)
    }
    /// `pods "web" already exists`.
    pub fn already_exists(group: &str, plural: &str, name: &str) -> Self {
        Self::new(R::AlreadyExists, format!("{} {name:?} already exists", qualified(plural, group)))
            .about(group, plural, name)
    }
    /// `Operation cannot be fulfilled on pods "web": …`.
    pub fn conflict(group: &str, plural: &str, name: &str, why: &str) -> Self {
        let what = qualified(plural, group);
        Self::new(R::Conflict, format!("Operation cannot be fulfilled on {what} {name:?}: {why}"))
            .about(group, plural, name)
    }
    /// The message of every lost compare-and-swap.
    pub fn stale(group: &str, plural: &str, name: &str) -> Self {
        let why = "the object has been modified; please apply your changes to the latest version and try again";
        Self::conflict(group, plural, name, why)
    }
    pub fn forbidden(group: &str, plural: &str, name: &str, why: impl fmt::Display) -> Self {
        let what = qualified(plural, group);
        let message = if name.is_empty() {
            format!("{what} is forbidden: {why}")
        } else {
            format!("{what} {name:?} is forbidden: {why}")
        };
        Self::new(R::Forbidden, message).about(group, plural, name)
    }
    pub fn expired(message: impl Into<String>) -> Self {
        Self::new(R::Expired, message)
    }
    pub fn too_many_requests(message: impl Into<String>, retry_after_secs: i32) -> Self {
        let mut err = Self::new(R::TooManyRequests, message);
        err.details().retry_after_seconds = Some(retry_after_secs);
        err
    }
    /// `Pod "web" is invalid: spec.containers: Required value`, with one cause for each field.
    pub fn invalid(group: &str, kind: &str, name: &str, problems: Problems) -> Self {
        let Problems { causes, more } = problems;
        let mut texts: Vec<String> = causes.iter().map(Cause::to_string).collect();
        if more > 0 {
            texts.push(format!("and {more} more"));
        }
        let text = if texts.len() == 1 { texts[0].clone() } else { format!("[{}]", texts.join(", ")) };
        let mut err = Self::new(R::Invalid, format!("{} {name:?} is invalid: {text}", qualified(kind, group)))
            .about(group, kind, name);
        err.details().causes = Some(causes.into_iter().map(Cause::into_status_cause).collect());
        err
    }
    /// The refusal of a write by who led by this Lease and does no longer. A Conflict with a cause of its own.
    pub fn lease_lost(lease: &str, why: &str) -> Self {
        let mut err = Self::conflict("coordination.k8s.io", "leases", lease, why);
        let cause = StatusCause { reason: Some(LEASE_LOST.into()), message: Some(why.into()), field: None };
        err.details().causes = Some(vec![cause]);
        err
    }
    pub fn is_lease_lost(&self) -> bool {
        let causes = self.0.details.iter().flat_map(|d| d.causes.iter().flatten());
        self.is(R::Conflict) && causes.into_iter().any(|c| c.reason.as_deref() == Some(LEASE_LOST))
    }
    fn with_details(mut self) -> Self {
        self.details();
        self
    }
    fn about(mut self, group: &str, kind: &str, name: &str) -> Self {
        let full = |s: &str| (!s.is_empty()).then(|| s.to_owned());
        let details = self.details();
        (details.group, details.kind, details.name) = (full(group), full(kind), full(name));
        self
    }
    pub fn details(&mut self) -> &mut StatusDetails {
        self.0.details.get_or_insert_with(StatusDetails::default)
    }
}

impl fmt::Display for ApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.message())
    }
}
impl std::error::Error for ApiError {}

/// `deployments.apps`, or `pods` in the core group.
pub fn qualified(plural_or_kind: &str, group: &str) -> String {
    if group.is_empty() { plural_or_kind.to_owned() } else { format!("{plural_or_kind}.{group}") }
}

/// One field's fault, in the words of upstream's `field.Error`.
#[derive(Clone, Debug, PartialEq)]
pub struct Cause {
    /// `FieldValueRequired`, `FieldValueInvalid`, …
    reason: &'static str,
    field: String,
    /// Everything after `field: `.
    body: String,
    /// It is none where an update leaves the field as it was.
    of_change: bool,
}

impl Cause {
    fn into_status_cause(self) -> StatusCause {
        StatusCause { field: Some(self.field), message: Some(self.body), reason: Some(self.reason.into()) }
    }
    pub fn field(&self) -> &str {
        &self.field
    }
    /// `FieldValueRequired`, `FieldValueInvalid`, …
    pub fn reason(&self) -> &'static str {
        self.reason
    }
    /// Whether the value is of another shape than its field has, as upstream counts it: expressions are not asked of such.
    pub fn is_of_shape(&self) -> bool {
        matches!(self.reason, NOT_SUPPORTED | REQUIRED | TOO_LONG | TOO_MANY | TYPE_INVALID)
    }
}
impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.field, self.body)
    }
}

const NOT_SUPPORTED: &str = "FieldValueNotSupported";
const REQUIRED: &str = "FieldValueRequired";
const TOO_LONG: &str = "FieldValueTooLong";
const TOO_MANY: &str = "FieldValueTooMany";
const TYPE_INVALID: &str = "FieldValueTypeInvalid";

/// Causes told of one object. Whoever has more to mend begins with these.
const MAX_CAUSES: usize = 1000;

/// What validation found, in the order it was found. Empty means valid.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Problems {
    causes: Vec<Cause>,
    /// Counted only.
    more: usize,
}

impl Problems {
    pub fn is_empty(&self) -> bool {
        self.causes.is_empty()
    }
    /// Whether some are counted only.
    pub fn has_untold(&self) -> bool {
        self.more > 0
    }
    /// The first [`MAX_CAUSES`].
    pub fn causes(&self) -> &[Cause] {
        &self.causes
    }
    fn push(&mut self, reason: &'static str, field: impl Into<String>, body: String) {
        if self.causes.len() < MAX_CAUSES {
            self.causes.push(Cause { reason, field: field.into(), body, of_change: false });
        } else {
            self.more += 1;
        }
    }
    /// `spec.containers: Required value`, with `: why` if there is more to say.
    pub fn required(&mut self, field: impl Into<String>, why: &str) {
        self.push(REQUIRED, field, with_detail("Required value".into(), why));
    }
    /// `metadata.name: Invalid value: "A": why`. The value prints as JSON, as upstream's do.
    pub fn invalid(&mut self, field: impl Into<String>, value: impl serde::Serialize, why: &str) {
        self.push("FieldValueInvalid", field, with_detail(format!("Invalid value: {}", shown(&value)), why));
    }
    /// As [`Self::invalid`], by a rule that may be younger than what is stored: see [`Self::let_through`].
    pub fn invalid_if_changed(&mut self, field: impl Into<String>, value: impl serde::Serialize, why: &str) {
        let before = self.causes.len();
        self.invalid(field, value, why);
        self.causes[before..].iter_mut().for_each(|cause| cause.of_change = true);
    }
    /// Whether there are some that are none where the field is as it was.
    pub fn has_of_changes(&self) -> bool {
        self.causes.iter().any(|cause| cause.of_change)
    }
    /// Forgets those that are none where the field is as it was: `is_unchanged` says whether it is. Nothing, where there are
    /// more than are told: none must be left without a word of why.
    pub fn let_through(&mut self, is_unchanged: impl Fn(&str) -> bool) {
        if self.more == 0 {
            self.causes.retain(|cause| !(cause.of_change && is_unchanged(&cause.field)));
        }
    }
    /// As [`invalid`](Self::invalid), of a value that is not of its field's type.
    pub fn type_invalid(&mut self, field: impl Into<String>, value: impl serde::Serialize, why: &str) {
        self.push(TYPE_INVALID, field, with_detail(format!("Invalid value: {}", shown(&value)), why));
    }
    /// What others found, behind what is there.
    pub fn append(&mut self, others: Self) {
        self.more += others.more;
        let room = MAX_CAUSES - self.causes.len();
        self.more += others.causes.len().saturating_sub(room);
        self.causes.extend(others.causes.into_iter().take(room));
    }
    /// `status.conditions: Invalid value: why`, where the value itself would say nothing.
    pub fn invalid_unshown(&mut self, field: impl Into<String>, why: &str) {
        self.push("FieldValueInvalid", field, with_detail("Invalid value".into(), why));
    }
    /// `spec.type: Unsupported value: "X": supported values: "A", "B"`.
    pub fn unsupported(&mut self, field: impl Into<String>, value: impl serde::Serialize, supported: &[&str]) {
        let list: Vec<String> = supported.iter().map(|s| format!("{s:?}")).collect();
        let why = format!("supported values: {}", list.join(", "));
        self.push(NOT_SUPPORTED, field, with_detail(format!("Unsupported value: {}", shown(&value)), &why));
    }
    pub fn duplicate(&mut self, field: impl Into<String>, value: impl serde::Serialize) {
        self.push("FieldValueDuplicate", field, format!("Duplicate value: {}", shown(&value)));
    }
    /// As [`duplicate`](Self::duplicate), where the value itself would say nothing.
    pub fn duplicate_unshown(&mut self, field: impl Into<String>) {
        self.push("FieldValueDuplicate", field, "Duplicate value".into());
    }
    /// `<nil>: Internal error: why`: nobody knows whether the value is good.
    pub fn internal(&mut self, field: impl Into<String>, why: &str) {
        self.push("InternalError", field, with_detail("Internal error".into(), why));
    }
    pub fn forbidden(&mut self, field: impl Into<String>, why: &str) {
        self.push("FieldValueForbidden", field, with_detail("Forbidden".into(), why));
    }
    pub fn not_found(&mut self, field: impl Into<String>, value: impl serde::Serialize) {
        self.not_found_because(field, value, "");
    }
    /// `spec.claims[0]: Not found: "x": why`.
    pub fn not_found_because(&mut self, field: impl Into<String>, value: impl serde::Serialize, why: &str) {
        self.push("FieldValueNotFound", field, with_detail(format!("Not found: {}", shown(&value)), why));
    }
    pub fn too_long(&mut self, field: impl Into<String>, max_bytes: usize) {
        let body = format!("Too long: may not be more than {max_bytes} bytes");
        self.push(TOO_LONG, field, body);
    }
    pub fn too_many(&mut self, field: impl Into<String>, have: usize, max_items: usize) {
        self.push(TOO_MANY, field, format!("Too many: {have}: must have at most {max_items} items"));
    }
}

fn with_detail(head: String, why: &str) -> String {
    if why.is_empty() { head } else { format!("{head}: {why}") }
}

fn shown(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value).unwrap_or_else(|err| format!("<unprintable: {err}>"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Texts from the outermost error to the innermost cause.
    #[derive(Debug)]
    struct Nested(&'static [&'static str], Option<Box<Nested>>);

    impl Nested {
        fn of(texts: &'static [&'static str]) -> Self {
            let inner = &texts[1..];
            Self(texts, (!inner.is_empty()).then(|| Box::new(Self::of(inner))))
        }
    }
    impl fmt::Display for Nested {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(self.0[0])
        }
    }
    impl std::error::Error for Nested {
        fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
            self.1.as_deref().map(|inner| inner as _)
        }
    }

    #[test]
    fn every_cause_is_said_once() {
        let cases: [(&str, &'static [&'static str], &str); 5] = [
            ("no cause", &["it broke"], "it broke"),
            ("all of them, not the first alone", &["a", "b", "c"], "a: b: c"),
            ("one that its error has said", &["reading /x: gone", "gone"], "reading /x: gone"),
            ("one that passes its cause's text on", &["dialling", "refused", "refused"], "dialling: refused"),
            ("one that was said further out", &["a: c", "b", "c"], "a: c: b"),
        ];
        for (why, texts, expected) in cases {
            assert_eq!(with_causes(&Nested::of(texts)), expected, "{why}");
        }
    }

    #[test]
    fn invalid_reads_as_users_know_it() {
        let mut one = Problems::default();
        one.required("spec.containers", "");
        let err = ApiError::invalid("", "Pod", "web", one.clone());
        assert_eq!(err.message(), r#"Pod "web" is invalid: spec.containers: Required value"#);
        assert_eq!(err.code(), 422);

        one.invalid("metadata.name", "A_b", "must be lower case");
        let err = ApiError::invalid("apps", "Deployment", "web", one);
        assert_eq!(
            err.message(),
            r#"Deployment.apps "web" is invalid: [spec.containers: Required value, metadata.name: Invalid value: "A_b": must be lower case]"#
        );
    }

    #[test]
    fn a_value_that_tells_nothing_is_not_shown() {
        let mut one = Problems::default();
        one.invalid_unshown("status.conditions", "both are true");
        one.duplicate_unshown("spec.list[1]");
        one.internal("<nil>", "it cannot be read");
        let told: Vec<String> = one.causes().iter().map(Cause::to_string).collect();
        assert_eq!(
            told,
            [
                "status.conditions: Invalid value: both are true",
                "spec.list[1]: Duplicate value",
                "<nil>: Internal error: it cannot be read"
            ]
        );
    }

    #[test]
    fn what_is_as_it_was_is_no_problem_by_a_younger_rule() {
        let mut some = Problems::default();
        some.invalid_if_changed("spec.a", 1, "too much");
        some.invalid_if_changed("spec.b", 1, "too much");
        some.invalid("spec.c", 1, "never was");
        assert!(some.has_of_changes());
        some.let_through(|field| field != "spec.a");
        let left: Vec<&str> = some.causes().iter().map(Cause::field).collect();
        assert_eq!(left, ["spec.a", "spec.c"]);
        let mut many = Problems::default();
        (0..=MAX_CAUSES).for_each(|n| many.invalid_if_changed(format!("f[{n}]"), 1, "too much"));
        many.let_through(|_| true);
        assert!(!many.is_empty(), "one more is not told of");
    }

    #[test]
    fn a_thousand_causes_are_told_and_the_others_counted() {
        let mut many = Problems::default();
        (0..MAX_CAUSES + 7).for_each(|n| many.required(format!("f[{n}]"), ""));
        let err = ApiError::invalid("", "Pod", "web", many);
        assert_eq!(err.status().details.as_ref().and_then(|d| d.causes.as_ref()).map(Vec::len), Some(MAX_CAUSES));
        assert!(err.message().ends_with("f[999]: Required value, and 7 more]"), "{}", &err.message()[20_000..]);
    }

    #[test]
    fn a_404_without_a_resource_has_details_for_kubectl_debug_to_look_into() {
        for err in [ApiError::no_such_path(), ApiError::method_not_allowed()] {
            let json = serde_json::to_value(err.status()).unwrap();
            assert_eq!(json["details"], serde_json::json!({}), "{json}");
        }
    }

    #[test]
    fn messages_name_the_resource() {
        assert!(ApiError::no_such_path().is_no_such_path());
        assert!(!ApiError::not_found("apps", "deployments", "x").is_no_such_path());
        assert_eq!(ApiError::not_found("apps", "deployments", "x").message(), r#"deployments.apps "x" not found"#);
        assert_eq!(ApiError::stale("", "pods", "x").reason(), Reason::Conflict);
    }

    #[test]
    fn a_lost_lease_is_a_conflict_of_its_own() {
        let err = ApiError::lease_lost("kube-scheduler", "another holds it");
        assert_eq!((err.code(), err.is_lease_lost()), (409, true));
        assert!(!ApiError::stale("coordination.k8s.io", "leases", "kube-scheduler").is_lease_lost());
    }

    #[test]
    fn an_unknown_reason_counts_by_its_code() {
        let status = Status { code: Some(404), reason: Some("Odd".into()), ..Status::default() };
        assert_eq!(Reason::of(&status), Reason::NotFound);
    }
}

//! Questions about rights and identities that are asked by POSTing them: may I, may they, what may I, who am I, whose token is
//! this.
//!
//! <https://kubernetes.io/docs/reference/access-authn-authz/authorization/#checking-api-access>. Nothing is stored.

mod identity;
mod selectors;

use bytes::Bytes;
use corten_api::{ApiError, Problems};
use http::{Response, StatusCode};
use k8s_openapi::api::authentication::v1::SelfSubjectReview;
use k8s_openapi::api::authorization::v1::{
    LocalSubjectAccessReview, NonResourceAttributes, ResourceAttributes, SelfSubjectAccessReview,
    SelfSubjectRulesReview, SubjectAccessReview, SubjectAccessReviewSpec, SubjectAccessReviewStatus,
};
use k8s_openapi::api::core::v1::Binding;
use serde::de::DeserializeOwned;

use super::body::Body;
use super::query::{self, Query};
use super::respond;
use crate::authz::Attributes;
use crate::decode::{self, DecodeError, Normal};
use crate::registry::questions::{QUESTIONS, Question};
use crate::request::{Target, User};
use crate::resources::{Allowed, Authorized, Resources, WriteOptions, to};
use crate::schema::builtin;

pub fn find(target: &Target) -> Option<&'static Question> {
    let fits = |q: &&Question| q.namespaced != target.namespace.is_empty();
    let named = QUESTIONS.iter().find(|q| q.group == target.group && q.plural == target.resource);
    named.filter(|_| target.version == "v1" && target.subresource.is_empty()).filter(fits)
}

/// `may`: do to the question whatever the request would; only to create it makes sense.
pub async fn answer(
    resources: &Resources,
    question: &Question,
    may: &Allowed,
    query: &Query<'_>,
    content_type: Option<&str>,
    body: Bytes,
) -> Result<Response<Body>, ApiError> {
    let Allowed::Create(asker) = may else { return Err(respond::method_not_allowed()) };
    // Empty for what has none.
    let (user, namespace) = (asker.user(), asker.target().namespace.as_str());
    let body = decode::decode(decode::format_of(content_type)?, body)?;
    let api_version = format!("{}/v1", question.group);
    let json = &decode::normal(builtin().kind(&api_version, question.kind), &body.json)?;
    decode::check_kind(json, question.group, "v1", question.kind)?;
    match question.plural {
        "bindings" => {
            let options = query::write_options(query, "CreateOptions", "")?;
            bind(resources, asker, (read(question, json)?, body.json.clone()), options).await
        }
        "selfsubjectreviews" => {
            let _asked: SelfSubjectReview = read(question, json)?;
            Ok(respond::value(StatusCode::CREATED, &identity::who_am_i(user)))
        }
        "tokenreviews" => {
            let review = identity::whose_token(resources, read(question, json)?).await?;
            Ok(respond::value(StatusCode::CREATED, &review))
        }
        "selfsubjectaccessreviews" => {
            let mut review: SelfSubjectAccessReview = read(question, json)?;
            let spec = &review.spec;
            let status = decide(
                (resources, asker),
                question,
                user,
                spec.resource_attributes.as_ref(),
                spec.non_resource_attributes.as_ref(),
            )
            .await?;
            review.status = Some(status);
            Ok(respond::value(StatusCode::CREATED, &review))
        }
        "selfsubjectrulesreviews" => {
            let mut review: SelfSubjectRulesReview = read(question, json)?;
            let namespace = review.spec.namespace.as_deref().filter(|namespace| !namespace.is_empty());
            let namespace = namespace.ok_or_else(|| ApiError::bad_request("no namespace on request"))?;
            review.status = Some(resources.authorizer().rules(user, namespace));
            Ok(respond::value(StatusCode::CREATED, &review))
        }
        "localsubjectaccessreviews" => {
            let mut review: LocalSubjectAccessReview = read(question, json)?;
            check_local(question, namespace, &mut review)?;
            review.status = Some(decide_about((resources, asker), question, &review.spec).await?);
            Ok(respond::value(StatusCode::CREATED, &review))
        }
        _ => {
            let mut review: SubjectAccessReview = read(question, json)?;
            review.status = Some(decide_about((resources, asker), question, &review.spec).await?);
            Ok(respond::value(StatusCode::CREATED, &review))
        }
    }
}

/// Another way to write `pods/binding`: the pod's name stands in the body alone.
async fn bind(
    resources: &Resources,
    may: &Authorized<to::Create>,
    (binding, json): (Binding, Bytes),
    options: WriteOptions,
) -> Result<Response<Body>, ApiError> {
    let name = binding.metadata.name.filter(|name| !name.is_empty());
    let name = name.ok_or_else(|| ApiError::bad_request("metadata.name of a Binding is its pod's, and required"))?;
    let bound = resources.create(&may.as_binding_of(name)?, json, options).await?;
    Ok(respond::json(StatusCode::CREATED, bound.object))
}

/// Such a question is about its own namespace, whose admins may ask it.
fn check_local(question: &Question, namespace: &str, review: &mut LocalSubjectAccessReview) -> Result<(), ApiError> {
    let own = review.metadata.namespace.get_or_insert_with(|| namespace.to_owned());
    if own != namespace {
        return Err(ApiError::bad_request(
            "the namespace of the provided object does not match the namespace sent on the request",
        ));
    }
    let mut problems = Problems::default();
    let asked = review.spec.resource_attributes.as_ref();
    if let Some(other) = asked.map(|a| a.namespace.as_deref().unwrap_or_default()).filter(|n| *n != namespace) {
        problems.invalid("spec.resourceAttributes.namespace", other, "must match metadata.namespace");
    }
    if let Some(path) = &review.spec.non_resource_attributes {
        problems.invalid("spec.nonResourceAttributes", path, "disallowed on this kind of request");
    }
    if problems.is_empty() { Ok(()) } else { Err(ApiError::invalid(question.group, question.kind, "", problems)) }
}

/// `asked`: of whom, and by whom.
async fn decide_about(
    asked: (&Resources, &Authorized<to::Create>),
    question: &Question,
    spec: &SubjectAccessReviewSpec,
) -> Result<SubjectAccessReviewStatus, ApiError> {
    let about = User {
        name: spec.user.clone().unwrap_or_default(),
        uid: spec.uid.clone().unwrap_or_default(),
        groups: spec.groups.clone().unwrap_or_default(),
        extra: spec.extra.clone().unwrap_or_default(),
    };
    if about.name.is_empty() && about.groups.is_empty() {
        let mut problems = Problems::default();
        problems.invalid("spec.user", "", "at least one of user or group must be specified");
        return Err(ApiError::invalid(question.group, question.kind, "", problems));
    }
    let (resource, path) = (spec.resource_attributes.as_ref(), spec.non_resource_attributes.as_ref());
    decide(asked, question, &about, resource, path).await
}

fn read<T: DeserializeOwned>(question: &Question, body: &Normal) -> Result<T, ApiError> {
    let read = || Ok::<T, DecodeError>(serde_json::from_str(body.json()?)?);
    read().map_err(|err| err.of_kind(question.kind, "v1"))
}

/// `asker`: who wants to know it of `user`.
async fn decide(
    (resources, asker): (&Resources, &Authorized<to::Create>),
    question: &Question,
    user: &User,
    resource: Option<&ResourceAttributes>,
    path: Option<&NonResourceAttributes>,
) -> Result<SubjectAccessReviewStatus, ApiError> {
    let mut problems = Problems::default();
    if let Some(asked) = resource {
        selectors::validate(asked, &mut problems);
    }
    let (decided, evaluation_error) = match (resource, path) {
        (Some(asked), None) if problems.is_empty() => {
            let text = |field: &Option<String>| field.clone().unwrap_or_default();
            let target = Target {
                group: text(&asked.group),
                version: text(&asked.version),
                resource: text(&asked.resource),
                subresource: text(&asked.subresource),
                namespace: text(&asked.namespace),
                name: text(&asked.name),
            };
            let selectors::Asked { fields, evaluation_error } = selectors::read(asked);
            let verb = asked.verb.as_deref().unwrap_or_default();
            (resources.explain(asker, user, verb, &target, &fields).await?, evaluation_error)
        }
        (None, Some(asked)) => {
            let (verb, path) = (asked.verb.as_deref().unwrap_or_default(), asked.path.as_deref().unwrap_or_default());
            (resources.authorizer().explain(user, Attributes::Path { verb, path }), None)
        }
        (both, path) => {
            match (both, path) {
                (Some(_), Some(path)) => {
                    let why = "cannot be specified in combination with resourceAttributes";
                    problems.invalid("spec.nonResourceAttributes", path, why);
                }
                (None, _) => {
                    let why = "exactly one of nonResourceAttributes or resourceAttributes must be specified";
                    problems.invalid("spec.resourceAttributes", serde_json::Value::Null, why);
                }
                // Its selectors are wrong.
                (Some(_), None) => {}
            }
            return Err(ApiError::invalid(question.group, question.kind, "", problems));
        }
    };
    let (allowed, reason) = decided.map_or_else(|why| (false, why), |by| (true, by));
    let reason = (!reason.is_empty()).then_some(reason);
    Ok(SubjectAccessReviewStatus { allowed, reason, evaluation_error, ..SubjectAccessReviewStatus::default() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::Registry;
    use crate::resources::target;
    use crate::resources::testing::settings;
    use crate::storage::memory::Memory;

    async fn ask(resources: &Resources, plural: &str, user: &User, body: &str) -> Result<u16, u16> {
        let question = QUESTIONS.iter().find(|q| q.plural == plural).unwrap();
        let body = Bytes::copy_from_slice(body.as_bytes());
        let namespace = if question.namespaced { "n" } else { "" };
        let may = Allowed::Create(Authorized::unasked(user, &target(question.group, plural, namespace, "")));
        let answered = answer(resources, question, &may, &Query::default(), None, body).await;
        answered.map(|r| r.status().as_u16()).map_err(|e| e.code())
    }

    #[tokio::test]
    async fn selectors_count_where_rights_depend_on_them() {
        let store = std::sync::Arc::new(Memory::default());
        let resources = Resources::start(store, Registry::default(), settings()).await.unwrap();
        let question = QUESTIONS.iter().find(|q| q.plural == "subjectaccessreviews").unwrap();
        for (field_selector, expected) in [
            (r#"{"rawSelector":"spec.nodeName=n1"}"#, (true, None)),
            (r#"{"requirements":[{"key":"spec.nodeName","operator":"In","values":["n1"]}]}"#, (true, None)),
            (r#"{"rawSelector":"spec.nodeName=n2"}"#, (false, None)),
            (
                r#"{"rawSelector":"spec.nodeName"}"#,
                (false, Some("spec.resourceAttributes.fieldSelector ignored due to parse error".into())),
            ),
        ] {
            let asked = format!(r#"{{"verb":"list","resource":"pods","fieldSelector":{field_selector}}}"#);
            let spec = format!(r#"{{"user":"system:node:n1","groups":["system:nodes"],"resourceAttributes":{asked}}}"#);
            let spec = serde_json::from_str(&spec).unwrap();
            let asker = Authorized::unasked(&User::default(), &Target::default());
            let status = decide_about((&resources, &asker), question, &spec).await.unwrap();
            assert_eq!((status.allowed, status.evaluation_error), expected, "{field_selector}");
        }
    }

    #[tokio::test]
    async fn malformed_questions_are_refused() {
        let settings = settings();
        let store = std::sync::Arc::new(Memory::default());
        let resources = Resources::start(store, Registry::default(), settings).await.unwrap();
        let jane = User { name: "jane".into(), ..User::default() };
        for (plural, body, expected) in [
            ("selfsubjectreviews", "{}", Ok(201)),
            ("tokenreviews", r#"{"spec":{"token":"abc"}}"#, Ok(201)),
            ("tokenreviews", r#"{"spec":{}}"#, Err(400)),
            ("tokenreviews", "{}", Err(400)),
            (
                "selfsubjectaccessreviews",
                r#"{"spec":{"resourceAttributes":{"verb":"get","resource":"pods"}}}"#,
                Ok(201),
            ),
            ("selfsubjectaccessreviews", r#"{"spec":{}}"#, Err(422)),
            ("selfsubjectaccessreviews", r#"{"kind":"Pod"}"#, Err(400)),
            ("selfsubjectaccessreviews", "{", Err(400)),
            ("subjectaccessreviews", r#"{"spec":{"resourceAttributes":{"verb":"get"}}}"#, Err(422)),
            (
                "subjectaccessreviews",
                r#"{"spec":{"user":"bob","resourceAttributes":{"verb":"get"},"nonResourceAttributes":{"path":"/"}}}"#,
                Err(422),
            ),
            ("selfsubjectaccessreviews", r#"{"spec":{"resourceAttributes":{"fieldSelector":{}}}}"#, Err(422)),
            ("selfsubjectrulesreviews", r#"{"spec":{"namespace":"x"}}"#, Ok(201)),
            ("selfsubjectrulesreviews", r#"{"spec":{}}"#, Err(400)),
            (
                "localsubjectaccessreviews",
                r#"{"spec":{"user":"bob","resourceAttributes":{"verb":"get","resource":"pods","namespace":"n"}}}"#,
                Ok(201),
            ),
            (
                "localsubjectaccessreviews",
                r#"{"metadata":{"namespace":"n"},"spec":{"user":"bob","resourceAttributes":{"namespace":"other"}}}"#,
                Err(422),
            ),
            ("localsubjectaccessreviews", r#"{"spec":{"user":"bob","resourceAttributes":{"verb":"get"}}}"#, Err(422)),
            ("localsubjectaccessreviews", r#"{"spec":{"user":"bob","nonResourceAttributes":{"path":"/"}}}"#, Err(422)),
            (
                "localsubjectaccessreviews",
                r#"{"metadata":{"namespace":"other"},"spec":{"user":"bob","resourceAttributes":{"namespace":"n"}}}"#,
                Err(400),
            ),
        ] {
            assert_eq!(ask(&resources, plural, &jane, body).await, expected, "{plural} {body}");
        }
    }
}

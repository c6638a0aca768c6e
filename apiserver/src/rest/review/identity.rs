//! Whose is this token, and who am I.

use corten_api::ApiError;
use k8s_openapi::api::authentication::v1::{
    SelfSubjectReview, SelfSubjectReviewStatus, TokenReview, TokenReviewStatus, UserInfo,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use k8s_openapi::jiff::Timestamp;

use crate::authn::TokenError;
use crate::request::User;
use crate::resources::Resources;

pub(super) fn who_am_i(user: &User) -> SelfSubjectReview {
    let now = Timestamp::now();
    let now = Timestamp::from_second(now.as_second()).unwrap_or(now);
    SelfSubjectReview {
        metadata: ObjectMeta { creation_timestamp: Some(Time(now)), ..ObjectMeta::default() },
        status: Some(SelfSubjectReviewStatus { user_info: Some(info_of(user)) }),
    }
}

/// Asked by those who are shown a token and cannot verify it themselves. Why it is no good is told to them.
pub(super) async fn whose_token(resources: &Resources, mut review: TokenReview) -> Result<TokenReview, ApiError> {
    if review.spec.token.is_empty() {
        return Err(ApiError::bad_request("token is required for TokenReview in authentication"));
    }
    let audiences = review.spec.audiences.as_deref().unwrap_or_default();
    let status = match resources.authenticate(&review.spec.token, audiences).await {
        Ok(known) => TokenReviewStatus {
            authenticated: Some(true),
            user: Some(info_of(&known.user)),
            audiences: Some(known.audiences),
            error: None,
        },
        Err(TokenError::Unanswered(err)) => return Err(err),
        Err(why) => TokenReviewStatus { error: Some(why.to_string()), ..TokenReviewStatus::default() },
    };
    review.status = Some(status);
    Ok(review)
}

fn info_of(user: &User) -> UserInfo {
    let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    UserInfo {
        username: some(&user.name),
        uid: some(&user.uid),
        groups: Some(user.groups.clone()),
        extra: Some(user.extra.clone()).filter(|extra| !extra.is_empty()),
    }
}

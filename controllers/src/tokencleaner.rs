//! Deletes bootstrap tokens that are past.

pub mod decide;

use corten_api::k8s_openapi::api::core::v1::Secret;
use corten_api::{ApiError, Key};
use corten_client::{Cache, Next};
use jiff::Timestamp;
use tracing::info;

use crate::bootstraptokens::{SeenToken, watch};
use crate::context::Context;
use crate::controller::{Controller, Loop, Setup};
use decide::{Action, decide};

const WORKERS: usize = 1;

/// Its items are the Secrets of tokens.
pub fn controller(setup: &Setup) -> Loop {
    let tokens = setup.caches.own(watch, SeenToken::of);
    Controller::new(setup).workers(WORKERS).reconciles(&tokens).run(move |context, key| {
        let tokens = Cache::clone(&tokens);
        async move { sync(&context, &tokens, &key).await }
    })
}

async fn sync(context: &Context, tokens: &Cache<SeenToken>, key: &Key) -> Result<Next, ApiError> {
    let Some(token) = tokens.get(key) else { return Ok(Next::Done) };
    match decide(&token, Timestamp::now()) {
        Action::Keep(wait) => Ok(wait.map_or(Next::Done, Next::After)),
        Action::Delete => {
            info!(secret = %key, "the bootstrap token is past: deleting");
            context.delete::<Secret>(key, &token.uid).await?;
            context.seen_gone(tokens, key, |seen: &SeenToken| seen.uid != token.uid || seen.deleting).await;
            Ok(Next::Done)
        }
    }
}

//! Deletes requests for certificates that nobody needs any more.

pub mod decide;

use corten_api::k8s_openapi::api::certificates::v1::CertificateSigningRequest;
use corten_api::{ApiError, Key, Object};
use corten_client::Next;
use jiff::Timestamp;
use tracing::info;

use crate::context::Context;
use crate::controller::{Controller, Loop, Setup};
use decide::{Action, decide};

const WORKERS: usize = 1;

pub fn controller(setup: &Setup) -> Loop {
    Controller::new(setup)
        .workers(WORKERS)
        .reconciles(&setup.caches.of::<CertificateSigningRequest>())
        .run(|context, key| async move { sync(&context, &key).await })
}

async fn sync(context: &Context, key: &Key) -> Result<Next, ApiError> {
    let cache = context.caches.of::<CertificateSigningRequest>();
    let Some(csr) = cache.get(key) else { return Ok(Next::Done) };
    match decide(&csr, Timestamp::now()) {
        Action::Keep(wait) => Ok(wait.map_or(Next::Done, Next::After)),
        Action::Delete => {
            info!(csr = %key, "is old, and was decided or will never be: deleting");
            context.delete::<CertificateSigningRequest>(key, csr.uid()).await?;
            let gone = |seen: &CertificateSigningRequest| seen.uid() != csr.uid() || seen.is_deleting();
            context.seen_gone(&cache, key, gone).await;
            Ok(Next::Done)
        }
    }
}

//! Approves the requests of kubelets for certificates, where who asks may have one.

pub mod decide;

use corten_api::k8s_openapi::api::certificates::v1::CertificateSigningRequest;
use corten_api::{ApiError, Key, Object, Reason};
use corten_client::Next;

use crate::context::Context;
use crate::controller::{Controller, Loop, Setup};

pub fn controller(setup: &Setup) -> Loop {
    Controller::new(setup)
        .reconciles(&setup.caches.of::<CertificateSigningRequest>())
        .run(|context, key| async move { sync(&context, &key).await })
}

async fn sync(context: &Context, key: &Key) -> Result<Next, ApiError> {
    let cache = context.caches.of::<CertificateSigningRequest>();
    let Some(csr) = cache.get(key).filter(|csr| !csr.is_deleting()) else { return Ok(Next::Done) };
    let permissions = decide::permissions(&csr)
        .map_err(|err| ApiError::internal(format!("unable to parse csr {:?}: {err}", csr.name())))?;
    let mut tried = Vec::new();
    for permission in permissions {
        let answer = context.client.create(&decide::review(&csr, permission)).await?;
        if !answer.status.is_some_and(|status| status.allowed) {
            tried.push(permission.subresource);
            continue;
        }
        return match context.client.update_subresource(&decide::approved(&csr, permission), "approval").await {
            Ok(approved) => {
                context.caught_up(&cache, approved.revision()).await;
                Ok(Next::Done)
            }
            Err(err) if err.is(Reason::NotFound) => Ok(Next::Done),
            // It has changed: its change asks for the next look.
            Err(err) => Err(err),
        };
    }
    if tried.is_empty() {
        return Ok(Next::Done);
    }
    // The permission may be given yet, of which nothing tells.
    let why = format!("recognized as {}, but subject access review was not approved", tried.join(", "));
    Err(ApiError::forbidden("certificates.k8s.io", "certificatesigningrequests", csr.name(), why))
}

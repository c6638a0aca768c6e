//! Signs approved requests for certificates as the signers of Kubernetes' own.

pub mod decide;
pub mod der;
pub mod issue;

use std::sync::Arc;

use corten_api::k8s_openapi::ByteString;
use corten_api::k8s_openapi::api::certificates::v1::CertificateSigningRequest;
use corten_api::{ApiError, Key, Object, Reason};
use corten_client::Next;
use jiff::Timestamp;
use ring::rand::{SecureRandom, SystemRandom};
use tracing::info;

use crate::certificates;
use crate::certificates::authority::{Authority, AuthorityError, Files};
use crate::certificates::flags::Signing;
use crate::certificates::request::{Request, RequestError};
use crate::certificates::signer::Signer;
use crate::context::Context;
use crate::controller::{Controller, Loop, Setup};
use decide::{Action, Expired, decide, validity};
use issue::{IssueError, SERIAL_BYTES, Terms, issue};

#[derive(Debug, thiserror::Error)]
enum SignError {
    #[error("unable to parse the request")]
    Request(#[from] RequestError),
    #[error("cannot sign with {} and {}", files.cert.display(), files.key.display())]
    Authority {
        files: Files,
        #[source]
        source: AuthorityError,
    },
    #[error(transparent)]
    Expired(#[from] Expired),
    #[error("cannot issue the certificate")]
    Issue(#[from] IssueError),
    #[error("the system's random source failed")]
    Random,
}

/// One for all signers: what each has of its own is in the settings.
pub fn controller(setup: &Setup) -> Loop {
    let signing = Arc::new(setup.settings.signing.clone());
    Controller::new(setup).reconciles(&setup.caches.of::<CertificateSigningRequest>()).run(move |context, key| {
        let signing = Arc::clone(&signing);
        async move { sync(&context, &signing, &key).await }
    })
}

async fn sync(context: &Context, signing: &Signing, key: &Key) -> Result<Next, ApiError> {
    let cache = context.caches.of::<CertificateSigningRequest>();
    let Some(csr) = cache.get(key).filter(|csr| !csr.is_deleting()) else { return Ok(Next::Done) };
    let Some(signer) = Signer::of(&csr) else { return Ok(Next::Done) };
    // Another program may be this signer.
    let Some(files) = signing.files.get(&signer) else { return Ok(Next::Done) };
    let done = answered(&csr, signer, signing, files).map_err(|err| {
        ApiError::internal(format!("error auto signing csr {:?}: {}", csr.name(), corten_api::error::with_causes(&err)))
    })?;
    let Some(done) = done else { return Ok(Next::Done) };
    match context.client.update_status(&done).await {
        Ok(written) => {
            info!(csr = %key, signer = signer.name(), signed = certificates::certificate(&written).is_some(), "answered");
            context.caught_up(&cache, written.revision()).await;
        }
        Err(err) if err.is(Reason::NotFound) => {}
        Err(err) => return Err(err),
    }
    Ok(Next::Done)
}

/// The request with its certificate, or refused for good. `None`: nothing is to be done.
fn answered(
    csr: &CertificateSigningRequest,
    signer: Signer,
    signing: &Signing,
    files: &Files,
) -> Result<Option<CertificateSigningRequest>, SignError> {
    let (request, life) = match decide(csr, signer, signing.longest)? {
        Action::Leave => return Ok(None),
        Action::Fail(why) => return Ok(Some(decide::failed(csr, &why, Timestamp::now()))),
        Action::Sign { request, life } => (request, life),
    };
    let authority = files.read().map_err(|source| SignError::Authority { files: files.clone(), source })?;
    let pem = signed(csr, &request, life, &authority)?;
    let mut csr = csr.clone();
    csr.status.get_or_insert_default().certificate = Some(ByteString(pem.into_bytes()));
    Ok(Some(csr))
}

fn signed(
    csr: &CertificateSigningRequest,
    request: &Request,
    life: jiff::SignedDuration,
    authority: &Authority,
) -> Result<String, SignError> {
    let (from, until) = validity(Timestamp::now(), life, authority.until)?;
    let mut serial = [0; SERIAL_BYTES];
    SystemRandom::new().fill(&mut serial).map_err(|_| SignError::Random)?;
    Ok(issue(request, &Terms { usages: certificates::usages(csr), from, until, serial }, authority)?)
}

//! Webhooks, whatever they are asked: where they are, whom they have to be, and calls over connections that are kept.
//!
//! Admission asks them about writes (`admission/webhook`), and custom kinds about their objects in other versions (`conversion`).

mod address;
mod client;
#[cfg(test)]
pub(crate) mod testing;
pub(crate) mod tls;

use corten_api::ApiError;
use futures::future::BoxFuture;

pub(crate) use address::{Address, Place};
pub(crate) use client::{Bounds, Failure, HookClient, Share, look_up, lookups_of_one};

/// Who finds where a Service is.
pub trait Resolve: Send + Sync {
    /// `host:port` of one that serves. The error is told to who wanted something of it.
    fn resolve<'a>(
        &'a self,
        namespace: &'a str,
        service: &'a str,
        port: u16,
    ) -> BoxFuture<'a, Result<String, ApiError>>;
    /// All that are worth a try, one after the other, and at least one.
    fn candidates<'a>(
        &'a self,
        namespace: &'a str,
        service: &'a str,
        port: u16,
    ) -> BoxFuture<'a, Result<Vec<String>, ApiError>> {
        Box::pin(async move { Ok(vec![self.resolve(namespace, service, port).await?]) })
    }
}

/// The version of a review that a webhook is sent: the first that it takes and the server knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ReviewVersion {
    V1,
    V1Beta1,
}

impl ReviewVersion {
    pub(crate) fn first(accepted: &[String]) -> Option<Self> {
        accepted.iter().find_map(|version| match version.as_str() {
            "v1" => Some(Self::V1),
            "v1beta1" => Some(Self::V1Beta1),
            _ => None,
        })
    }
}

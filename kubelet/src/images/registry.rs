//! One registry's side of a pull: manifests and blobs as the distribution API has them. Whatever it answers is bounded, in bytes
//! and in time: anybody may name a registry in a pod.
//!
//! <https://github.com/opencontainers/distribution-spec/blob/main/spec.md>,
//! <https://distribution.github.io/distribution/spec/auth/token/>

use std::time::Duration;

use bytes::Bytes;
use corten_api::error::with_causes;
use futures::StreamExt as _;
use futures::stream::BoxStream;
use http::header::{ACCEPT, AUTHORIZATION, WWW_AUTHENTICATE};
use http::{HeaderValue, StatusCode};
use parking_lot::Mutex;
use reqwest::{Response, Url};
use serde::Deserialize;
use sha2::Digest as _;

use super::documents::{Document, digest_named, digest_of};
use super::reference::Reference;
use super::{ImageError, RegistryAuth};
use crate::runtime::containerd::store::{Blob, DOCUMENT_MAX_BYTES};

const CONNECT_MAX: Duration = Duration::from_secs(10);
/// A registry that sends nothing for so long has gone away.
const SILENCE_MAX: Duration = Duration::from_secs(60);
/// For one document, or the beginning of a layer, with all that leads to it: redirects, tokens, a second try.
const ANSWER_MAX: Duration = Duration::from_secs(120);
/// Upstream's registries send tokens of a few kilobytes.
const TOKEN_BYTES_MAX: u64 = 1 << 20;
const ERROR_BYTES_MAX: u64 = 64 << 10;
/// What is shown of a registry's own words.
const WORDS_SHOWN_CHARS: usize = 200;
const MANIFESTS: &str = "application/vnd.oci.image.index.v1+json, application/vnd.docker.distribution.manifest.list.v2+json, \
     application/vnd.oci.image.manifest.v1+json, application/vnd.docker.distribution.manifest.v2+json";

/// A registry to ask and who to be there.
pub(super) struct Source {
    pub(super) registry: String,
    pub(super) plain_http: bool,
    /// `None`: nobody.
    pub(super) auth: Option<RegistryAuth>,
}

/// Why a layer did not come whole.
#[derive(Debug, thiserror::Error)]
pub(super) enum Broken {
    #[error("the connection broke")]
    Connection(#[from] reqwest::Error),
    #[error("it sent {sent} for {asked}")]
    Other { asked: String, sent: String },
}

pub(super) struct Registry<'a> {
    client: reqwest::Client,
    source: &'a Source,
    image: &'a str,
    path: &'a str,
    /// Learned from the first refusal. Of this pull alone: another pod's secret must not open this pod's image.
    authorization: Mutex<Option<HeaderValue>>,
}

impl<'a> Registry<'a> {
    pub(super) fn new(source: &'a Source, image: &'a str, reference: &'a Reference) -> Result<Self, ImageError> {
        let builder = reqwest::Client::builder().connect_timeout(CONNECT_MAX).read_timeout(SILENCE_MAX);
        let client = builder.build().map_err(|err| network(source, image, with_causes(&err)))?;
        Ok(Self { client, source, image, path: &reference.path, authorization: Mutex::default() })
    }

    /// A manifest or index, checked against the digest it was asked for by.
    pub(super) async fn manifest(&self, version: &str) -> Result<Document, ImageError> {
        let bytes = self.document("manifest", &format!("manifests/{version}"), MANIFESTS).await?;
        let document = Document::of(bytes);
        if version.starts_with("sha256:") && document.digest != version {
            let why = format!("{} sent {} for {version}", self.source.registry, document.digest);
            return Err(ImageError::BadImage { image: self.image.into(), why });
        }
        Ok(document)
    }

    /// A config: read whole, and checked.
    pub(super) async fn small_blob(&self, blob: &Blob) -> Result<Bytes, ImageError> {
        let bytes = self.document("config", &format!("blobs/{}", blob.digest), "*/*").await?;
        match digest_of(&bytes) {
            digest if digest == blob.digest => Ok(bytes),
            other => Err(self.network(format!("it sent {other} for {}", blob.digest))),
        }
    }

    /// A layer as it comes; the last item is an error if it was another one. Who stores it bounds its size.
    pub(super) async fn blob(&self, blob: &Blob) -> Result<BoxStream<'static, Result<Bytes, Broken>>, ImageError> {
        let response = self.in_time(self.get(&format!("blobs/{}", blob.digest), "*/*")).await?;
        let begun = (response, sha2::Sha256::new(), blob.digest.clone());
        let chunks = futures::stream::try_unfold(begun, |(mut response, mut hash, asked)| async move {
            if let Some(chunk) = response.chunk().await? {
                hash.update(&chunk);
                return Ok(Some((chunk, (response, hash, asked))));
            }
            let sent = digest_named(&hash.finalize());
            if sent == asked { Ok(None) } else { Err(Broken::Other { asked, sent }) }
        });
        Ok(chunks.boxed())
    }

    pub(super) fn network(&self, why: String) -> ImageError {
        network(self.source, self.image, why)
    }

    async fn document(&self, what: &str, rest: &str, accept: &'static str) -> Result<Bytes, ImageError> {
        let whole = async {
            let mut response = self.get(rest, accept).await?;
            let (bytes, complete) = self.read(&mut response, DOCUMENT_MAX_BYTES).await?;
            let too_large = || ImageError::BadImage {
                image: self.image.into(),
                why: format!("its {what} is larger than {} MiB", DOCUMENT_MAX_BYTES >> 20),
            };
            if complete { Ok(bytes) } else { Err(too_large()) }
        };
        self.in_time(whole).await
    }

    async fn in_time<T>(&self, answer: impl Future<Output = Result<T, ImageError>>) -> Result<T, ImageError> {
        let late = |_| Err(self.network(format!("no answer within {} seconds", ANSWER_MAX.as_secs())));
        tokio::time::timeout(ANSWER_MAX, answer).await.unwrap_or_else(late)
    }

    /// At most so many bytes of a body, and whether that was all.
    async fn read(&self, response: &mut Response, max: u64) -> Result<(Bytes, bool), ImageError> {
        let mut bytes = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|err| self.network(with_causes(&err)))? {
            if (bytes.len() + chunk.len()) as u64 > max {
                return Ok((bytes.into(), false));
            }
            bytes.extend_from_slice(&chunk);
        }
        Ok((bytes.into(), true))
    }

    /// A good answer. Who we are is told only where it is asked, and once more where a token has run out.
    async fn get(&self, rest: &str, accept: &'static str) -> Result<Response, ImageError> {
        let scheme = if self.source.plain_http { "http" } else { "https" };
        let url = format!("{scheme}://{}/v2/{}/{rest}", self.source.registry, self.path);
        let mut response = self.send(&url, accept).await?;
        if response.status() == StatusCode::UNAUTHORIZED
            && let Some(authorization) = self.authorize(&challenges(&response)).await?
        {
            *self.authorization.lock() = Some(authorization);
            response = self.send(&url, accept).await?;
        }
        if response.status() == StatusCode::OK { Ok(response) } else { Err(self.refused(response).await?) }
    }

    async fn send(&self, url: &str, accept: &'static str) -> Result<Response, ImageError> {
        let mut request = self.client.get(url).header(ACCEPT, accept);
        if let Some(authorization) = self.authorization.lock().clone() {
            request = request.header(AUTHORIZATION, authorization);
        }
        request.send().await.map_err(|err| self.network(with_causes(&err)))
    }

    /// What to say of ourselves; `None` where there is nothing that the registry would take.
    async fn authorize(&self, challenges: &[String]) -> Result<Option<HeaderValue>, ImageError> {
        for header in challenges {
            for challenge in http_auth::parse_challenges(header).unwrap_or_default() {
                let of = |name: &str| {
                    challenge.params.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v.to_unescaped())
                };
                match (challenge.scheme.to_ascii_lowercase().as_str(), &self.source.auth) {
                    ("bearer", _) => {
                        let Some(realm) = of("realm") else { continue };
                        return self.token(&realm, of("service")).await.map(Some);
                    }
                    ("basic", Some(auth)) => return self.header(basic(auth)).map(Some),
                    _ => {}
                }
            }
        }
        Ok(None)
    }

    async fn token(&self, realm: &str, service: Option<String>) -> Result<HeaderValue, ImageError> {
        #[derive(Deserialize)]
        struct Token {
            token: Option<String>,
            access_token: Option<String>,
        }
        let mut url = Url::parse(realm).map_err(|err| self.auth(format!("its realm {realm:?} is no URL: {err}")))?;
        url.query_pairs_mut().append_pair("scope", &format!("repository:{}:pull", self.path));
        if let Some(service) = service {
            url.query_pairs_mut().append_pair("service", &service);
        }
        let mut request = self.client.get(url);
        if let Some(auth) = &self.source.auth {
            request = request.header(AUTHORIZATION, self.header(basic(auth))?);
        }
        let mut response = request.send().await.map_err(|err| self.network(with_causes(&err)))?;
        match response.status() {
            StatusCode::OK => {}
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => return Err(self.refused(response).await?),
            other => return Err(self.network(format!("its token server answers {other}"))),
        }
        let (bytes, complete) = self.read(&mut response, TOKEN_BYTES_MAX).await?;
        if !complete {
            return Err(self.network(format!("its token is larger than {} MiB", TOKEN_BYTES_MAX >> 20)));
        }
        let token: Token =
            serde_json::from_slice(&bytes).map_err(|err| self.network(format!("its token cannot be read: {err}")))?;
        let token = token.token.or(token.access_token).ok_or_else(|| self.auth("it gives no token".into()))?;
        self.header(format!("Bearer {token}"))
    }

    fn header(&self, text: String) -> Result<HeaderValue, ImageError> {
        let mut value =
            HeaderValue::try_from(text).map_err(|_| self.auth("what to say cannot stand in a header".into()))?;
        value.set_sensitive(true);
        Ok(value)
    }

    async fn refused(&self, mut response: Response) -> Result<ImageError, ImageError> {
        #[derive(Default, Deserialize)]
        struct Envelope {
            #[serde(default)]
            errors: Vec<Refusal>,
        }
        #[derive(Default, Deserialize)]
        #[serde(default)]
        struct Refusal {
            code: String,
            message: String,
        }
        let status = response.status();
        let (bytes, _) = self.read(&mut response, ERROR_BYTES_MAX).await?;
        // Many send a page instead: then the status has to say it.
        let envelope: Envelope = serde_json::from_slice(&bytes).unwrap_or_default();
        let refusal = envelope.errors.into_iter().next().unwrap_or_default();
        let words: String = format!("{} {}", refusal.code, refusal.message).chars().take(WORDS_SHOWN_CHARS).collect();
        let why = format!("it answers {status} {words}").trim_end().to_owned();
        let (image, registry) = (self.image.to_owned(), self.source.registry.clone());
        Ok(match (status, refusal.code.as_str()) {
            (StatusCode::NOT_FOUND, _) | (_, "MANIFEST_UNKNOWN" | "NAME_UNKNOWN" | "NOT_FOUND" | "BLOB_UNKNOWN") => {
                ImageError::NotFound { image, registry }
            }
            (StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN, _) | (_, "UNAUTHORIZED" | "DENIED") => self.auth(why),
            _ => self.network(why),
        })
    }

    fn auth(&self, why: String) -> ImageError {
        ImageError::Auth { image: self.image.into(), registry: self.source.registry.clone(), why }
    }
}

fn challenges(response: &Response) -> Vec<String> {
    let headers = response.headers().get_all(WWW_AUTHENTICATE);
    headers.iter().filter_map(|h| h.to_str().ok().map(str::to_owned)).collect()
}

fn network(source: &Source, image: &str, why: String) -> ImageError {
    ImageError::Network { image: image.into(), registry: source.registry.clone(), why }
}

fn basic(auth: &RegistryAuth) -> String {
    use base64::Engine as _;
    let words = format!("{}:{}", auth.username, auth.password);
    format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(words))
}

#[cfg(test)]
mod tests;

//! What the server itself asks of others: small answers, each within its time and of a bounded size.

use std::future::ready;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use corten_api::error::with_causes;
use http::header::{ACCEPT, CONTENT_TYPE, ETAG, HOST, IF_NONE_MATCH, USER_AGENT};
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Empty, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::time::{Instant, timeout_at};
use tokio_util::task::AbortOnDropHandle;

use super::identity;
use super::reach::{Reach, Unreachable, Within};
use crate::connect::proxy::dial::Connection;
use crate::registry::apiregistration::routes::Server;
use crate::request::User;
use crate::webhook::Resolve;

const BUFFER_BYTES: usize = 64 * 1024;
const TOO_LATE: &str = "context deadline exceeded (Client.Timeout exceeded while awaiting headers)";

/// As whom the server asks, as upstream's aggregator does: what is described must not depend on who looks first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asks {
    /// Which resources there are, which nobody may keep from it. The path is one of ours, `/apis` or `/apis/group/version`, whatever
    /// the other server says: a right to everything must not follow where somebody points.
    Discovery,
    /// What they look like: of no group.
    OpenApi,
}

impl Asks {
    fn user(self) -> User {
        match self {
            Self::Discovery => {
                User { name: "system:kube-aggregator".into(), groups: vec!["system:masters".into()], ..User::default() }
            }
            Self::OpenApi => User { name: "system:aggregator".into(), ..User::default() },
        }
    }
}

/// One question.
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    pub path: &'a str,
    pub asks: Asks,
    pub accept: &'static str,
    /// Of what is known already: it is not sent again.
    pub etag: Option<&'a str>,
    /// Of the answer's body.
    pub max_bytes: usize,
    pub within: Duration,
}

#[derive(Clone, Debug)]
pub struct Answer {
    pub code: StatusCode,
    pub media: String,
    pub etag: Option<String>,
    pub body: Bytes,
    /// Of whom it was asked.
    pub url: String,
}

/// How servers are asked.
#[derive(Clone, Copy, Debug)]
pub struct Asker<'a> {
    pub reach: &'a Reach,
    pub within: Within,
}

impl Asker<'_> {
    /// The error says why there is no answer, in Go's words where it has some.
    pub async fn get(
        self,
        resolve: &dyn Resolve,
        server: &Arc<Server>,
        question: Question<'_>,
    ) -> Result<Answer, String> {
        self.ask(resolve, server, question, |response| read(response, question.max_bytes)).await
    }

    /// What an answer's head says, and of whom it was asked. Nothing more of it is taken.
    pub async fn status(
        self,
        resolve: &dyn Resolve,
        server: &Arc<Server>,
        question: Question<'_>,
    ) -> Result<Answer, String> {
        self.ask(resolve, server, question, |response| ready(Ok(head(&response)))).await
    }

    async fn ask<R: Future<Output = Result<Answer, String>>>(
        self,
        resolve: &dyn Resolve,
        server: &Arc<Server>,
        question: Question<'_>,
        read: impl FnOnce(Response<Incoming>) -> R,
    ) -> Result<Answer, String> {
        let url = |authority: &str| format!("https://{authority}{}", question.path);
        let deadline = Instant::now() + question.within;
        let within = Within { time: question.within, ..self.within };
        let (connection, authority) = match self.reach.connect(resolve, server, within).await {
            Ok(reached) => reached,
            Err(Unreachable::Nowhere(why)) => return Err(why),
            Err(Unreachable::Unusable(why)) => {
                return Err(missing(&url(&format!("{}:{}", server.name(), server.port)), &why));
            }
            Err(Unreachable::Failed { at, why }) => return Err(missing(&url(&at), &why)),
        };
        let url = url(&authority);
        match timeout_at(deadline, exchange(connection, server, question, read)).await {
            Ok(Ok(answer)) => Ok(Answer { url, ..answer }),
            Ok(Err(why)) => Err(missing(&url, &why)),
            Err(_) => Err(missing(&url, TOO_LATE)),
        }
    }
}

fn missing(url: &str, why: &str) -> String {
    format!("failing or missing response from {url}: Get {url:?}: {why}")
}

async fn exchange<R: Future<Output = Result<Answer, String>>>(
    connection: Connection,
    server: &Server,
    question: Question<'_>,
    read: impl FnOnce(Response<Incoming>) -> R,
) -> Result<Answer, String> {
    let handshake = http1::Builder::new().max_buf_size(BUFFER_BYTES).handshake(TokioIo::new(connection));
    let (mut sender, driven) = handshake.await.map_err(|err| told(&err))?;
    let _open = AbortOnDropHandle::new(tokio::spawn(driven));
    let mut request = Request::get(question.path)
        .header(HOST, server.name())
        .header(ACCEPT, question.accept)
        .header(USER_AGENT, "kube-aggregator");
    if let Some(etag) = question.etag {
        request = request.header(IF_NONE_MATCH, etag);
    }
    let mut request = request.body(Empty::<Bytes>::new()).map_err(|err| err.to_string())?;
    identity::say(&question.asks.user(), request.headers_mut()).map_err(|err| err.to_string())?;
    let response = sender.send_request(request).await.map_err(|err| told(&err))?;
    read(response).await
}

/// An answer without its body.
fn head(response: &Response<Incoming>) -> Answer {
    let text = |name| response.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let (media, etag) = (text(CONTENT_TYPE).unwrap_or_default(), text(ETAG));
    Answer { code: response.status(), media, etag, body: Bytes::new(), url: String::new() }
}

async fn read(response: Response<Incoming>, max_bytes: usize) -> Result<Answer, String> {
    let head = head(&response);
    let body = Limited::new(response.into_body(), max_bytes).collect().await;
    let body = body.map_err(|err| match err.downcast_ref::<LengthLimitError>() {
        Some(_) => format!("the response is larger than {max_bytes} bytes"),
        None => "unexpected EOF".to_owned(),
    })?;
    Ok(Answer { body: body.to_bytes(), ..head })
}

fn told(err: &hyper::Error) -> String {
    if err.is_incomplete_message() { "EOF".into() } else { with_causes(err) }
}

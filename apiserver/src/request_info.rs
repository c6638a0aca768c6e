//! What a request is: its number and its door, what is asked, whose it is and where it was sorted. One value for each request,
//! made by the outermost layer of the pipeline, which travels in the request's extensions: whoever looks at a request reads it
//! here, and nobody reads method, path or message again.
//!
//! It is made of the request's head. What comes later is written once, by the layer whose business it is: what a gRPC message
//! is about (`subject`), who sent it (`authentication`), whom it counts as (`impersonation`), where it was sorted (`fairness`).

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use corten_api::ApiError;
use corten_api::selector::FieldSelector;
use http::HeaderValue;
use tokio::time::Instant;

use crate::authz::Attributes;
use crate::flowcontrol::{Classified, Sorted};
use crate::registry::ApiResource;
use crate::registry::apiregistration::routes::Remote;
use crate::request::delegated::{About, Delegated};
use crate::request::{Target, User, Verb};
use crate::told::Told;

/// A request that is not done by then is told so. Watches and connections to containers last as long as they like.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(60);

/// Which door a request came in by, and what its answer must know for that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Door {
    /// `prefers_protobuf`: the client wants a refusal in it, too.
    Rest {
        prefers_protobuf: bool,
    },
    Grpc,
}

/// How long a request may take, and what it holds meanwhile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lasts {
    /// It has a deadline, and holds seats until it is done.
    Short,
    /// Its beginning has both. It lasts as long as its client likes, and is counted as long-running.
    Watch,
    /// Neither, from the beginning: a connection into a pod, or a stream of messages.
    Open,
}

/// What tells a request from all others: upstream's `Audit-ID`, which a client may choose.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RequestId {
    Given(HeaderValue),
    Made(uuid::Uuid),
}

impl RequestId {
    /// `given`: by the client. What is made needs to be unique, and nothing depends on it being hard to guess.
    pub fn new(given: Option<&HeaderValue>) -> Self {
        match given.filter(|value| !value.is_empty()) {
            Some(value) => Self::Given(value.clone()),
            None => Self::Made(uuid::Builder::from_random_bytes(rand::random()).into_uuid()),
        }
    }
    pub fn header(&self) -> Option<HeaderValue> {
        match self {
            Self::Given(value) => Some(value.clone()),
            Self::Made(id) => {
                HeaderValue::from_str(id.hyphenated().encode_lower(&mut uuid::Uuid::encode_buffer())).ok()
            }
        }
    }
}

/// What a request is about.
#[derive(Debug)]
pub enum Subject {
    Resource {
        verb: Verb,
        target: Target,
    },
    /// A container's log or streams.
    Container {
        verb: Verb,
        target: Target,
    },
    /// What is behind a pod, a Service or a node. `verb`: as roles name it, empty for OPTIONS; `path`: behind it.
    Proxied {
        verb: &'static str,
        target: Target,
        path: String,
    },
    /// Below a group version that another server answers for.
    Delegated {
        asked: Delegated,
        to: Arc<Remote>,
    },
    /// What lies beside resources. `verb`: the method in lower case.
    Path {
        verb: String,
        path: String,
    },
    /// A stream of gRPC, each of whose messages is a request of its own.
    Messages,
}

/// What is asked, and what is known at once of answering it.
#[derive(Debug)]
pub struct Question {
    pub subject: Subject,
    /// The kind that it is about; none of our own names, or of a kind that is not served.
    pub resource: Option<Arc<ApiResource>>,
    /// The field selector of a list or watch, another server's as well. One that is malformed is none here, and told of later to those who may ask.
    pub fields: FieldSelector,
    /// What a list, or a watch that begins with the state, walks over.
    pub walks: Option<Walked>,
}

/// [`Walk`](crate::flowcontrol::work::Walk), but for the field selector.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Walked {
    pub selects_labels: bool,
    pub limit: Option<usize>,
}

impl Question {
    pub fn about(subject: Subject) -> Self {
        Self { subject, resource: None, fields: FieldSelector::default(), walks: None }
    }
    /// What roles and flow schemas are asked about; none of a stream, whose messages say it.
    pub fn attributes(&self) -> Option<Attributes<'_>> {
        match &self.subject {
            Subject::Resource { verb, target } | Subject::Container { verb, target } => {
                Some(Attributes::Resource { verb: verb.as_str(), target })
            }
            Subject::Proxied { verb, target, .. } => Some(Attributes::Resource { verb, target }),
            Subject::Delegated { asked: Delegated { verb, about, .. }, .. } => Some(match about {
                About::Resource(target) => Attributes::Resource { verb, target },
                About::Path(path) => Attributes::Path { verb, path },
            }),
            Subject::Path { verb, path } => Some(Attributes::Path { verb, path }),
            Subject::Messages => None,
        }
    }
}

/// See the top of the file.
#[derive(Debug)]
pub struct RequestInfo {
    pub id: RequestId,
    pub door: Door,
    /// As metrics have it: known before it is known what is asked.
    pub verb: &'static str,
    pub lasts: Lasts,
    pub received: Instant,
    /// None for what lasts from the beginning.
    deadline: Option<Instant>,
    /// Why the head makes no sense.
    fault: Option<ApiError>,
    /// Why the client's own bound makes none.
    bad_timeout: Option<ApiError>,
    question: OnceLock<Question>,
    sender: OnceLock<Arc<User>>,
    user: OnceLock<Arc<User>>,
    sorted: OnceLock<Sorted>,
    /// What is told of it beside its answer.
    pub told: Told,
}

/// What a head says.
#[derive(Debug)]
pub enum Read {
    Question(Question),
    /// The verb alone. The message says what about.
    InTheMessage,
    Fault(ApiError),
}

/// A layer was asked for what another one writes first: the stack is not in order.
fn out_of_order(what: &str) -> ApiError {
    ApiError::internal(format!("{what} is not known yet"))
}

impl RequestInfo {
    pub fn new(id: RequestId, door: Door, verb: &'static str, lasts: Lasts, read: Read) -> Self {
        let received = Instant::now();
        let deadline = (lasts != Lasts::Open).then(|| received + REQUEST_TIMEOUT);
        let (fault, question) = match read {
            Read::Question(question) => (None, OnceLock::from(question)),
            Read::InTheMessage => (None, OnceLock::new()),
            Read::Fault(why) => (Some(why), OnceLock::new()),
        };
        let (sender, user, sorted) = (OnceLock::new(), OnceLock::new(), OnceLock::new());
        let (bad_timeout, told) = (None, Told::default());
        Self { id, door, verb, lasts, received, deadline, fault, bad_timeout, question, sender, user, sorted, told }
    }

    /// `timeout`: how long its client waits. It makes the time shorter, never longer, and none of it is no bound of his.
    #[must_use]
    pub fn with_timeout(mut self, timeout: Result<Option<Duration>, ApiError>) -> Self {
        match (self.lasts, timeout) {
            (Lasts::Short, Ok(Some(timeout))) if !timeout.is_zero() && timeout < REQUEST_TIMEOUT => {
                self.deadline = Some(self.received + timeout);
            }
            (Lasts::Short, Err(why)) => self.bad_timeout = Some(why),
            // What lasts has bounds of its own.
            (Lasts::Short | Lasts::Watch | Lasts::Open, _) => {}
        }
        self
    }
    /// When it is given up; `None`: never.
    pub fn deadline(&self) -> Result<Option<Instant>, ApiError> {
        match &self.bad_timeout {
            Some(why) => Err(why.clone()),
            None => Ok(self.deadline),
        }
    }

    pub fn fault(&self) -> Option<&ApiError> {
        self.fault.as_ref()
    }
    /// What is asked, as soon as that is known.
    pub fn asked(&self) -> Option<&Question> {
        self.question.get()
    }
    pub fn question(&self) -> Result<&Question, ApiError> {
        self.asked().ok_or_else(|| out_of_order("what is asked"))
    }
    /// The message has said it.
    pub fn is_about(&self, question: Question) -> Result<(), ApiError> {
        self.question.set(question).map_err(|_| out_of_order("a second question"))
    }

    /// Who sent it, once that is known.
    pub fn sender(&self) -> Option<&Arc<User>> {
        self.sender.get()
    }
    /// Whom it counts as, once that is known: its sender, or another whom he may be.
    pub fn counts_as(&self) -> Option<&Arc<User>> {
        self.user.get()
    }
    pub fn user(&self) -> Result<&Arc<User>, ApiError> {
        self.counts_as().ok_or_else(|| out_of_order("who asks"))
    }
    pub fn is_sent_by(&self, user: Arc<User>) -> Result<(), ApiError> {
        self.sender.set(user).map_err(|_| out_of_order("a second sender"))
    }
    pub fn is_to_count_as(&self, user: Arc<User>) -> Result<(), ApiError> {
        self.user.set(user).map_err(|_| out_of_order("a second user"))
    }

    /// Where it was sorted, if it was.
    pub fn sorted(&self) -> Option<&Sorted> {
        self.sorted.get()
    }
    pub fn is_sorted(&self, flow: &Classified<'_>) -> Result<(), ApiError> {
        self.sorted.set(flow.sorted()).map_err(|_| out_of_order("a second flow"))
    }
}

/// A request's own. Every layer below the outermost has it.
pub fn of<B>(request: &http::Request<B>) -> Result<Arc<RequestInfo>, ApiError> {
    request.extensions().get::<Arc<RequestInfo>>().cloned().ok_or_else(|| out_of_order("the request"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_may_name_its_request_and_all_others_get_names_of_their_own() {
        let given = HeaderValue::from_static("mine");
        assert_eq!(RequestId::new(Some(&given)).header(), Some(given));
        let empty = HeaderValue::from_static("");
        let made: Vec<_> = [None, Some(&empty)].map(|given| RequestId::new(given).header().unwrap()).into();
        assert_ne!(made[0], made[1]);
        assert!(made.iter().all(|id| id.to_str().unwrap().parse::<uuid::Uuid>().is_ok()), "{made:?}");
    }

    #[test]
    fn each_fact_is_written_once_and_read_by_nobody_before() {
        let info = RequestInfo::new(RequestId::new(None), Door::Grpc, "get", Lasts::Short, Read::InTheMessage);
        assert_eq!(info.question().err().map(|err| err.code()), Some(500));
        assert_eq!(info.user().err().map(|err| err.code()), Some(500));
        info.is_about(Question::about(Subject::Messages)).unwrap();
        assert_eq!(info.is_about(Question::about(Subject::Messages)).err().map(|err| err.code()), Some(500));
        let jane = Arc::new(User { name: "jane".into(), ..User::default() });
        info.is_sent_by(jane.clone()).unwrap();
        assert!(info.counts_as().is_none(), "whom it counts as is another question");
        info.is_to_count_as(jane.clone()).unwrap();
        assert!(info.is_to_count_as(jane).is_err());
    }
}

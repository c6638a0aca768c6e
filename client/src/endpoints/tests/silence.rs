//! Apiservers whose connections live and say nothing.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use hyper::body::{Body, Bytes, Frame};
use tonic::server::NamedService;

use super::*;

/// Begins to answer whatever it is asked, and sends nothing more. Streams of binds and watches it does not even begin to answer.
#[derive(Clone)]
pub(super) struct Silent;

struct Nothing;

impl Body for Nothing {
    type Data = Bytes;
    type Error = Infallible;
    fn poll_frame(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Pending
    }
}

impl NamedService for Silent {
    const NAME: &'static str = ResourcesServer::<Served>::NAME;
}

impl tower::Service<http::Request<tonic::body::Body>> for Silent {
    type Response = http::Response<tonic::body::Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }
    fn call(&mut self, request: http::Request<tonic::body::Body>) -> Self::Future {
        let is_ignored = ["/Bind", "/Watch"].iter().any(|call| request.uri().path().ends_with(call));
        Box::pin(async move {
            if is_ignored {
                std::future::pending::<()>().await;
            }
            let answer = http::Response::builder().header("content-type", "application/grpc");
            Ok(answer.body(tonic::body::Body::new(Nothing)).unwrap())
        })
    }
}

/// A client that likes `a`, which is silent, better than `b`, which is not.
async fn client() -> (Net, Client) {
    let net = Net::of(&["a", "b"]);
    net.fakes.lock().get_mut("a").unwrap().silent = true;
    loop {
        let endpoints = Arc::new(net.endpoints());
        if endpoints.connection().await.unwrap().uri.host() == Some("a") {
            return (net, Client::new(Arc::into_inner(endpoints).unwrap()));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn reads_whose_answer_stalls_are_asked_of_another_apiserver() {
    let (net, client) = client().await;
    let listed = timeout(DEADLINE, client.list::<ConfigMap>(None)).await.expect("a list waits for ever").unwrap();
    assert_eq!(listed.revision, 5);
    assert!(net.seen("b").iter().any(|(_, what)| what == "list"));
    let (net, client) = self::client().await;
    let got = timeout(DEADLINE, client.get::<ConfigMap>(&Key::new("n", "a"))).await.expect("a read waits for ever");
    assert!(got.is_ok(), "{got:?}");
    assert!(net.seen("b").iter().any(|(_, what)| what == "get configmaps"));
}

#[tokio::test(start_paused = true)]
async fn a_write_whose_answer_stalls_may_have_been_done_and_is_not_sent_again() {
    let (net, client) = client().await;
    let mut object = ConfigMap::default();
    (object.metadata.namespace, object.metadata.name) = (Some("n".into()), Some("a".into()));
    let created = timeout(DEADLINE, client.create(&object)).await.expect("a write waits for ever");
    assert!(created.as_ref().is_err_and(|err| err.is(Reason::ServiceUnavailable)), "{created:?}");
    assert_eq!(net.seen("b"), []);
}

#[tokio::test(start_paused = true)]
async fn a_watch_that_does_not_begin_is_asked_of_another_apiserver() {
    let (net, client) = client().await;
    let (stop, began) = (CancellationToken::new(), Instant::now());
    let cache = Watch::<ConfigMap>::all(&client).start(&stop, |_| {});
    timeout(DEADLINE, cache.synced()).await.expect("a watch is waited for for ever");
    let took = began.elapsed().as_secs();
    assert!((15..18).contains(&took), "{took} s");
    assert!(net.seen("b").iter().any(|(_, what)| what == "watch after 0"));
    stop.cancel();
}

#[tokio::test(start_paused = true)]
async fn an_apiserver_that_opens_no_stream_of_binds_is_left_for_another() {
    let (net, client) = client().await;
    let binder = client.binder();
    let bind =
        async || timeout(DEADLINE, binder.bind("n", "p", "uid", "node")).await.expect("a placement waits for ever");
    let refused = bind().await;
    assert!(refused.as_ref().is_err_and(|err| err.is(Reason::ServiceUnavailable)), "{refused:?}");
    assert_eq!(bind().await, Ok(()));
    assert!(net.seen("b").iter().any(|(_, what)| what == "bind p uid node"));
}

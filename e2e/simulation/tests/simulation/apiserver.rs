//! An apiserver as the product puts it together, over the simulated store and lines. TLS alone is left out: whom a certificate
//! would name, the line says.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};

use axum::body::Body;
use axum::extract::Request;
use axum::middleware::{Next, from_fn};
use axum::response::Response;
use corten_api::ApiError;
use corten_apiserver::admission::Chain;
use corten_apiserver::authn::Tokens;
use corten_apiserver::authn::key_files::KeyFiles;
use corten_apiserver::authn::tokens::Rules;
use corten_apiserver::connect::KubeletTls;
use corten_apiserver::flowcontrol::FlowControl;
use corten_apiserver::request::Peer;
use corten_apiserver::resources::Settings;
use corten_apiserver::serve::{Server, TlsFiles, TlsKeeper};
use corten_apiserver::start;
use corten_apiserver::storage::Storage;
use corten_client::CancellationToken;
use tonic::service::Routes;

use crate::court::{AUTHOR, Author};
use crate::disk::Disk;
use crate::net::Host;
use crate::world::{Ground, World, name, pause};

const ISSUER: &str = "https://kubernetes.default.svc";

pub(crate) async fn run(world: World, host: Host, life: CancellationToken) {
    let disk = Disk {
        memory: world.memory.clone(),
        court: world.court.clone(),
        net: world.net.clone(),
        weather: world.weather.clone(),
        life: life.clone(),
        news: world.news(host),
        mutant: world.mutant,
    };
    let disk = Arc::new(disk);
    let mut server = loop {
        match assemble(disk.clone(), &world.ground).await {
            Ok(server) => break server,
            // A program that cannot start ends, and is started again.
            Err(err) => world.court.say(format!("{} cannot start: {err}", name(host))),
        }
        pause(1000).await;
    };
    let looked = world.clone();
    let layer = from_fn(move |request: Request, next: Next| authored(looked.clone(), request, next));
    server.grpc = Routes::from(server.grpc.into_axum_router().layer(layer));
    let pipeline = server.pipeline();
    let mut incoming = world.net.listen(host, &life);
    while let Some(connection) = incoming.recv().await {
        let served =
            server.clone().serve_over(connection.stream, connection.peer, connection.identity, pipeline.clone());
        tokio::spawn(life.clone().run_until_cancelled_owned(served));
    }
}

pub(crate) async fn assemble(storage: Arc<dyn Storage>, ground: &Ground) -> Result<Server, ApiError> {
    let path = |name: &str| ground.files.join(name);
    let files = TlsFiles {
        cert: path("server.crt"),
        key: path("server.key"),
        client_ca: path("ca.crt"),
        front_proxy: None,
        front_proxy_client: None,
    };
    let tls = TlsKeeper::open(files).unwrap();
    let rules = Rules {
        issuer: ISSUER.into(),
        other_issuers: Vec::new(),
        audiences: vec![ISSUER.into()],
        max_life_secs: None,
        extends_pods: true,
    };
    let key_files = KeyFiles { signing: path("server.key"), verifying: Vec::new() };
    let settings = Settings {
        service_cidr: "10.96.0.0/16".parse().unwrap(),
        node_ports: 30000..=32767,
        advertise: None,
        tokens: Arc::new(Tokens::new(rules, key_files.load().unwrap())),
        admission: Chain::default(),
    };
    let kubelets = KubeletTls { cert: path("server.crt"), key: path("server.key"), ca: path("ca.crt") };
    start::assemble(storage, settings, kubelets, tls, FlowControl::default()).await
}

/// Says whose request it is to who looks on, also while an answer streams; refuses what is too much.
async fn authored(world: World, request: Request, next: Next) -> Result<Response, Infallible> {
    let host = match request.extensions().get::<Peer>().map(|peer| peer.0) {
        Some(std::net::IpAddr::V4(address)) => address.octets()[3],
        _ => 0,
    };
    let percent = world.refused.load(Ordering::SeqCst);
    if percent > 0 && world.net.chance(|chance| chance.percent(percent)) {
        let err = match world.net.chance(|chance| chance.below(2)) {
            0 => ApiError::too_many_requests("too many requests, please try again later", 1),
            _ => ApiError::unavailable("the store does not answer"),
        };
        let status = serde_json::to_vec(err.status()).unwrap();
        return Ok(corten_proto::status::to_grpc(err.code(), err.message(), status).into_http());
    }
    let author = Author { host, name: name(host) };
    let answer = async {
        match world.mutant {
            Some(mutant) => mutant.answer(&author.name, request, next).await,
            None => next.run(request).await,
        }
    };
    let answer = AUTHOR.scope(author.clone(), answer).await;
    Ok(answer.map(|body| Body::new(Authored { body, author })))
}

struct Authored {
    body: Body,
    author: Author,
}

impl http_body::Body for Authored {
    type Data = bytes::Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<bytes::Bytes>, axum::Error>>> {
        let Self { body, author } = &mut *self;
        AUTHOR.sync_scope(author.clone(), || Pin::new(body).poll_frame(cx))
    }
}

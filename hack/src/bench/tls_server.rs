//! A small HTTPS server of our own on loopback: what apiservers call while they are measured, and what stands in for one in tests.
use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::Context;
use bytes::Bytes;
use cortenadm::pki::Pki;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

/// Serves until its runtime ends.
pub(super) struct Server {
    pub(super) address: SocketAddr,
    /// Requests that came.
    pub(super) asked: Arc<AtomicUsize>,
}

impl Server {
    /// With the apiserver's certificate, which is of loopback too.
    pub(super) async fn start<F>(
        pki: &Pki,
        reply: impl Fn(Request<Incoming>) -> F + Clone + Send + Sync + 'static,
    ) -> anyhow::Result<Self>
    where
        F: Future<Output = Response<Full<Bytes>>> + Send + 'static,
    {
        let acceptor = acceptor(pki)?;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.context("no free port on loopback")?;
        let address = listener.local_addr()?;
        let asked = Arc::new(AtomicUsize::new(0));
        let counting = Arc::clone(&asked);
        tokio::spawn(async move {
            while let Ok((tcp, _)) = listener.accept().await {
                let (acceptor, counting, reply) = (acceptor.clone(), Arc::clone(&counting), reply.clone());
                tokio::spawn(async move {
                    let Ok(tls) = acceptor.accept(tcp).await else { return };
                    let service = service_fn(move |request| {
                        counting.fetch_add(1, Ordering::Relaxed);
                        let answering = reply(request);
                        async move { Ok::<_, Infallible>(answering.await) }
                    });
                    // Who asks sees how a connection ended.
                    hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(tls), service).await.ok();
                });
            }
        });
        Ok(Self { address, asked })
    }
}

fn acceptor(pki: &Pki) -> anyhow::Result<TlsAcceptor> {
    let certs = vec![CertificateDer::from_pem_file(pki.cert("apiserver"))?];
    let key = PrivateKeyDer::from_pem_file(pki.key("apiserver"))?;
    let config = rustls::ServerConfig::builder().with_no_client_auth().with_single_cert(certs, key)?;
    Ok(TlsAcceptor::from(Arc::new(config)))
}

//! A client that keeps its connection, and a store that takes its time.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use corten_apiserver::storage::memory::Memory;
use corten_apiserver::storage::{ChangeStream, Listed, Outcome, Storage, StorageError, Stored, Write};
use http::Request;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::SendRequest;
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use serde_json::Value;
use tokio::net::{TcpSocket, TcpStream};
use tokio_rustls::client::TlsStream;

use super::server::TestServer;

pub(crate) const JSON: &str = "application/json";

/// A TLS connection that says nothing more.
pub(crate) async fn connect(server: &TestServer, who: Option<&str>) -> std::io::Result<TlsStream<TcpStream>> {
    connect_from([127, 0, 0, 1], server, who).await
}

/// As `connect`, from another address of this machine.
pub(crate) async fn connect_from(
    from: [u8; 4],
    server: &TestServer,
    who: Option<&str>,
) -> std::io::Result<TlsStream<TcpStream>> {
    let socket = TcpSocket::new_v4()?;
    socket.bind((from, 0).into())?;
    let tcp = socket.connect(server.address).await?;
    let name = ServerName::try_from("localhost").unwrap();
    tokio_rustls::TlsConnector::from(Arc::new(server.tls_of(who))).connect(name, tcp).await
}

pub(crate) struct Line {
    sender: SendRequest<Full<Bytes>>,
}

impl Line {
    pub(crate) async fn open(server: &TestServer, who: &str) -> Self {
        Self::over(connect(server, Some(who)).await.unwrap()).await
    }
    pub(crate) async fn over(tls: TlsStream<TcpStream>) -> Self {
        let (sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(tls)).await.unwrap();
        tokio::spawn(connection);
        Self { sender }
    }
    /// Code and body.
    pub(crate) async fn send(&mut self, method: &str, path: &str, body: &Value) -> (u16, Bytes) {
        let body = if body.is_null() { Bytes::new() } else { body.to_string().into() };
        let request = Request::builder().method(method).uri(path).header("host", "localhost");
        self.answer(request.header("content-type", JSON).body(Full::new(body)).unwrap()).await
    }
    pub(crate) async fn get(&mut self, path: &str, accept: &str) -> (u16, Bytes) {
        let request = Request::builder().uri(path).header("host", "localhost").header("accept", accept);
        self.answer(request.body(Full::default()).unwrap()).await
    }
    async fn answer(&mut self, request: Request<Full<Bytes>>) -> (u16, Bytes) {
        self.sender.ready().await.unwrap();
        let response = self.sender.send_request(request).await.unwrap();
        let code = response.status().as_u16();
        (code, response.into_body().collect().await.unwrap().to_bytes())
    }
}

/// Memory whose commits take a while, as etcd's do under load.
#[derive(Debug)]
pub(crate) struct Slow {
    pub(crate) memory: Memory,
    pub(crate) commit: Duration,
}

#[async_trait]
impl Storage for Slow {
    async fn get(&self, key: &str) -> Result<Option<Stored>, StorageError> {
        self.memory.get(key).await
    }
    async fn list(&self, prefix: &str, revision: Option<i64>) -> Result<Listed, StorageError> {
        self.memory.list(prefix, revision).await
    }
    async fn current_revision(&self) -> Result<i64, StorageError> {
        self.memory.current_revision().await
    }
    async fn commit(&self, writes: Vec<Write>) -> Result<Outcome, StorageError> {
        tokio::time::sleep(self.commit).await;
        self.memory.commit(writes).await
    }
    async fn watch(&self, prefix: &str, after: i64) -> Result<ChangeStream, StorageError> {
        self.memory.watch(prefix, after).await
    }
    async fn compact(&self, revision: i64) -> Result<(), StorageError> {
        self.memory.compact(revision).await
    }
}

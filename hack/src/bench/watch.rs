//! Watches over HTTP: counted events for the load, decoded ones for the pods.
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context, bail};
use bytes::{Buf, Bytes, BytesMut};
use http::Method;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use serde_json::Value;
use tokio::sync::Notify;
use tokio::time::timeout;

use crate::rest::{Client, Sender};

/// A line of a watch is one event; no object of a benchmark is larger.
const EVENT_BYTES_MAX: usize = 1024 * 1024;

/// Counts what many watchers receive.
#[derive(Default)]
pub(super) struct Counter {
    events: AtomicUsize,
    changed: Notify,
}

impl Counter {
    /// Waits until that many events have come in, over all watchers.
    pub(super) async fn reaches(&self, wanted: usize, within: Duration) -> anyhow::Result<()> {
        let waiting = async {
            loop {
                let changed = self.changed.notified();
                if self.events.load(Ordering::Acquire) >= wanted {
                    return;
                }
                changed.await;
            }
        };
        let waited = timeout(within, waiting).await;
        waited.with_context(|| {
            let seen = self.events.load(Ordering::Acquire);
            format!("after {} s the watchers had {seen} events of {wanted}", within.as_secs())
        })
    }

    pub(super) fn seen(&self) -> usize {
        self.events.load(Ordering::Acquire)
    }

    /// Reads a watch to its end and counts lines, without looking into them.
    pub(super) async fn count(self: Arc<Self>, mut watch: Watch) {
        while let Ok(Some(data)) = watch.next_data().await {
            let lines = data.iter().filter(|byte| **byte == b'\n').count();
            if lines > 0 {
                self.events.fetch_add(lines, Ordering::AcqRel);
                self.changed.notify_waiters();
            }
        }
    }
}

/// An open watch. The connection lives as long as it does.
pub(super) struct Watch {
    body: Incoming,
    buffer: BytesMut,
    _sender: Sender,
}

impl Watch {
    /// `path` with `watch=1` in it.
    pub(super) async fn open(client: &Client, path: &str) -> anyhow::Result<Self> {
        let mut sender = client.connect().await?;
        let request = client.request(Method::GET, path, "application/json", Bytes::new())?;
        let response = sender.send_request(request).await?;
        if !response.status().is_success() {
            bail!("GET {path} answered {}", response.status());
        }
        Ok(Self { body: response.into_body(), buffer: BytesMut::new(), _sender: sender })
    }

    async fn next_data(&mut self) -> anyhow::Result<Option<Bytes>> {
        while let Some(frame) = self.body.frame().await {
            if let Ok(data) = frame?.into_data() {
                return Ok(Some(data));
            }
        }
        Ok(None)
    }

    /// The next event.
    pub(super) async fn next(&mut self) -> anyhow::Result<Value> {
        loop {
            if let Some(end) = self.buffer.iter().position(|byte| *byte == b'\n') {
                let line = self.buffer.split_to(end);
                self.buffer.advance(1);
                return serde_json::from_slice(&line).context("a watch event is not JSON");
            }
            if self.buffer.len() > EVENT_BYTES_MAX {
                bail!("a watch event is larger than {EVENT_BYTES_MAX} bytes");
            }
            let data = self.next_data().await?.context("the watch ended")?;
            self.buffer.extend_from_slice(&data);
        }
    }
}

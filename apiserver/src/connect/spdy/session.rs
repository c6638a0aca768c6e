//! A SPDY connection at work: streams that the client opens, read and written each for itself.
//!
//! Assumes that the client keeps no flow-control windows (kubectl's library does not). A stream that is not read stops
//! the connection's reader, and so, over TCP, the client: nothing is buffered without bound.

use std::collections::HashMap;
use std::io;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures::{Sink, SinkExt};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::{Frame, HEAD_BYTES, Head, HeaderCodec, MAX_FRAME_BYTES, ResetReason, SpdyError};

/// Streams of one connection. Forwarding a port takes two for each TCP connection.
const MAX_STREAMS: usize = 512;
/// Data frames of one stream that wait for its reader.
const STREAM_QUEUE: usize = 8;
/// Frames that wait to be written.
const WRITE_QUEUE: usize = 32;
/// Of the last frames, when the connection ends.
const FLUSH_DEADLINE: Duration = Duration::from_secs(5);

/// The server's side of a connection. Dropped, it cuts the connection.
#[derive(Debug)]
pub struct Session {
    streams: mpsc::Receiver<SpdyStream>,
    out: mpsc::Sender<Bytes>,
    reader: JoinHandle<()>,
    writer: JoinHandle<()>,
}

/// A stream that the client has opened and we have accepted.
#[derive(Debug)]
pub struct SpdyStream {
    headers: Vec<(String, String)>,
    /// Ends when the client closes its half, resets the stream or goes away.
    pub incoming: mpsc::Receiver<Bytes>,
    pub outgoing: StreamWriter,
}

impl SpdyStream {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(k, _)| k == name).map(|(_, v)| v.as_str())
    }
}

/// The writing half of a stream. Cheap to clone.
#[derive(Clone, Debug)]
pub struct StreamWriter {
    id: u32,
    out: mpsc::Sender<Bytes>,
}

/// The connection is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the client's connection is gone")]
pub struct Gone;

impl StreamWriter {
    pub async fn send(&self, mut data: Bytes) -> Result<(), Gone> {
        while !data.is_empty() {
            let piece = data.split_to(data.len().min(MAX_FRAME_BYTES));
            let mut frame = BytesMut::with_capacity(HEAD_BYTES + piece.len());
            frame.extend_from_slice(&super::data_head(self.id, piece.len(), false));
            frame.extend_from_slice(&piece);
            self.out.send(frame.freeze()).await.map_err(|_| Gone)?;
        }
        Ok(())
    }
    /// Nothing more will be written.
    pub async fn close(&self) -> Result<(), Gone> {
        self.out.send(super::data_head(self.id, 0, true)).await.map_err(|_| Gone)
    }
    pub async fn reset(&self) -> Result<(), Gone> {
        self.out.send(super::reset(self.id, ResetReason::Cancel)).await.map_err(|_| Gone)
    }
}

impl Session {
    /// `wrap` makes the sink's items out of frames; `farewell` is sent last.
    pub fn start<R, S, T>(reader: R, sink: S, wrap: fn(Bytes) -> T, farewell: Option<T>) -> Self
    where
        R: AsyncRead + Send + Unpin + 'static,
        S: Sink<T, Error: Send> + Send + Unpin + 'static,
        T: Send + 'static,
    {
        let (out, queue) = mpsc::channel(WRITE_QUEUE);
        let (opened, streams) = mpsc::channel(MAX_STREAMS);
        let writer = tokio::spawn(write_all(queue, sink, wrap, farewell));
        let reading = Reading { codec: HeaderCodec::default(), inputs: HashMap::new(), opened, out: out.clone() };
        let reader = tokio::spawn(async move {
            if let Err(err) = reading.run(reader).await {
                tracing::debug!("a SPDY connection ended: {err}");
            }
        });
        Self { streams, out, reader, writer }
    }

    /// The next stream that the client opens; `None` once it is gone.
    pub async fn next_stream(&mut self) -> Option<SpdyStream> {
        self.streams.recv().await
    }

    /// Says goodbye and sees that all that was written goes out.
    pub async fn finish(mut self) {
        // A client that is gone needs no goodbye.
        let _told = self.out.send(super::go_away(0)).await;
        self.reader.abort();
        let (nowhere, _) = mpsc::channel(1);
        self.out = nowhere;
        if tokio::time::timeout(FLUSH_DEADLINE, &mut self.writer).await.is_err() {
            tracing::debug!("a SPDY client does not take the end of its data");
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.reader.abort();
        self.writer.abort();
    }
}

async fn write_all<S: Sink<T> + Unpin, T>(
    mut queue: mpsc::Receiver<Bytes>,
    mut sink: S,
    wrap: fn(Bytes) -> T,
    farewell: Option<T>,
) {
    while let Some(frame) = queue.recv().await {
        if sink.feed(wrap(frame)).await.is_err() {
            return;
        }
        // One flush for all that waits.
        if queue.is_empty() && sink.flush().await.is_err() {
            return;
        }
    }
    let told = match farewell {
        Some(farewell) => sink.send(farewell).await,
        None => Ok(()),
    };
    if told.is_ok() {
        // Whoever is not there to be closed is closed.
        let _closed = sink.close().await;
    }
}

struct Reading {
    codec: HeaderCodec,
    inputs: HashMap<u32, mpsc::Sender<Bytes>>,
    opened: mpsc::Sender<SpdyStream>,
    out: mpsc::Sender<Bytes>,
}

#[derive(Debug, thiserror::Error)]
enum ReadError {
    #[error(transparent)]
    Spdy(#[from] SpdyError),
    #[error("reading failed")]
    Io(#[from] io::Error),
    #[error(transparent)]
    Gone(#[from] Gone),
}

impl Reading {
    async fn run(mut self, mut reader: impl AsyncRead + Unpin) -> Result<(), ReadError> {
        let mut head = [0; HEAD_BYTES];
        loop {
            match reader.read_exact(&mut head).await {
                Ok(_) => {}
                Err(err) if err.kind() == io::ErrorKind::UnexpectedEof => return Ok(()),
                Err(err) => return Err(err.into()),
            }
            let head = Head::read(head)?;
            let mut payload = BytesMut::zeroed(head.len);
            reader.read_exact(&mut payload).await?;
            let frame = head.frame(payload.freeze(), &mut self.codec)?;
            self.handle(frame).await?;
        }
    }

    async fn handle(&mut self, frame: Frame) -> Result<(), ReadError> {
        match frame {
            Frame::SynStream { id, headers, fin } => self.open(id, headers, fin).await?,
            Frame::Data { id, data, fin } => {
                if let Some(input) = self.inputs.get(&id)
                    && !data.is_empty()
                    && input.send(data).await.is_err()
                {
                    // Nobody reads this stream any more; what still comes for it is dropped.
                    self.inputs.remove(&id);
                }
                if fin {
                    self.inputs.remove(&id);
                }
            }
            Frame::Reset { id } => drop(self.inputs.remove(&id)),
            Frame::Ping { id } => self.send(super::ping(id)).await?,
            Frame::SynReply { .. } | Frame::GoAway | Frame::Other => {}
        }
        Ok(())
    }

    async fn open(&mut self, id: u32, headers: Vec<(String, String)>, fin: bool) -> Result<(), ReadError> {
        self.inputs.retain(|_, input| !input.is_closed());
        let (input, incoming) = mpsc::channel(STREAM_QUEUE);
        let outgoing = StreamWriter { id, out: self.out.clone() };
        let stream = SpdyStream { headers, incoming, outgoing };
        if self.inputs.len() >= MAX_STREAMS || self.inputs.contains_key(&id) {
            return Ok(self.send(super::reset(id, ResetReason::RefusedStream)).await?);
        }
        let reply = super::syn_reply(id, &mut self.codec)?;
        self.send(reply).await?;
        if !fin {
            self.inputs.insert(id, input);
        }
        self.opened.send(stream).await.map_err(|_| ReadError::Gone(Gone))
    }

    async fn send(&self, frame: Bytes) -> Result<(), Gone> {
        self.out.send(frame).await.map_err(|_| Gone)
    }
}

#[cfg(test)]
mod tests {
    use flate2::{Compress, Compression};
    use tokio::io::AsyncWriteExt;
    use tokio_util::codec::{BytesCodec, FramedWrite};

    use super::*;
    use crate::connect::spdy::headers::tests::pack;

    fn syn_stream(deflate: &mut Compress, id: u32, kind: &str) -> Vec<u8> {
        let block = pack(deflate, id == 1, &[("streamtype", kind)]);
        let mut payload = id.to_be_bytes().to_vec();
        payload.extend([0; 6]);
        payload.extend(block);
        crate::connect::spdy::control(1, 0, &payload).to_vec()
    }

    #[tokio::test]
    async fn streams_carry_data_both_ways() {
        let (mut client, server) = tokio::io::duplex(1 << 16);
        let (reader, writer) = tokio::io::split(server);
        let mut session = Session::start(reader, FramedWrite::new(writer, BytesCodec::new()), |b| b, None);
        let mut deflate = Compress::new(Compression::best(), true);
        client.write_all(&syn_stream(&mut deflate, 1, "error")).await.unwrap();
        client.write_all(&syn_stream(&mut deflate, 3, "data")).await.unwrap();
        client.write_all(&[&super::super::data_head(3, 2, true)[..], b"hi"].concat()).await.unwrap();
        client.write_all(&super::super::ping(1)).await.unwrap();

        let error = session.next_stream().await.unwrap();
        let mut data = session.next_stream().await.unwrap();
        assert_eq!((error.header("streamtype"), data.header("streamtype")), (Some("error"), Some("data")));
        assert_eq!(data.incoming.recv().await.unwrap(), "hi");
        assert_eq!(data.incoming.recv().await, None, "the client has closed its half");
        data.outgoing.send("yo".into()).await.unwrap();
        data.outgoing.close().await.unwrap();
        drop((error, data));
        session.finish().await;

        let mut seen = Vec::new();
        client.read_to_end(&mut seen).await.unwrap();
        let (mut codec, mut frames, mut at) = (HeaderCodec::default(), Vec::new(), 0);
        while at < seen.len() {
            let head = Head::read(seen[at..at + HEAD_BYTES].try_into().unwrap()).unwrap();
            let end = at + HEAD_BYTES + head.len;
            frames.push(head.frame(Bytes::copy_from_slice(&seen[at + HEAD_BYTES..end]), &mut codec).unwrap());
            at = end;
        }
        for expected in [
            Frame::SynReply { id: 1 },
            Frame::SynReply { id: 3 },
            Frame::Ping { id: 1 },
            Frame::Data { id: 3, data: "yo".into(), fin: false },
            Frame::Data { id: 3, data: Bytes::new(), fin: true },
            Frame::GoAway,
        ] {
            assert!(frames.contains(&expected), "{expected:?} in {frames:?}");
        }
    }
}

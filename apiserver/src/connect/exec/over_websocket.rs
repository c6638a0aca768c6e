//! Exec over WebSocket: each message begins with the number of its channel.
//!
//! v4.channel.k8s.io: 0 stdin, 1 stdout, 2 stderr, 3 error (a Status, last), 4 terminal size. v5 adds 255: the client
//! closes the channel whose number follows.

use bytes::{BufMut, Bytes, BytesMut};
use corten_api::ApiError;
use corten_proto::node::ExecInput;
use corten_proto::node::exec_input::Input;
use corten_proto::node::exec_output::Output;
use futures::stream::SplitSink;
use futures::{SinkExt, StreamExt};
use tokio::sync::mpsc;
use tokio_tungstenite::tungstenite::{Error, Message};

use super::ending::Ending;
use super::{Process, Size, input};
use crate::connect::websocket::{self, Socket};

const STDIN: u8 = 0;
const STDOUT: u8 = 1;
const STDERR: u8 = 2;
const ERROR: u8 = 3;
const RESIZE: u8 = 4;
const CLOSE: u8 = 255;

pub(super) async fn run(socket: Socket, process: Process, closes_channels: bool) {
    let (mut sink, mut stream) = socket.split();
    let Process { input, mut output, .. } = process;
    let incoming = async {
        while let Some(Ok(message)) = stream.next().await {
            match message {
                Message::Binary(bytes) => {
                    if let Some(message) = read(&bytes, closes_channels) {
                        forward(&input, message).await;
                    }
                }
                Message::Close(_) => return,
                _ => {}
            }
        }
    };
    let outgoing = async {
        // Tells the client that the connection stands, as upstream does.
        sink.send(channel(STDOUT, &[])).await?;
        let ending = loop {
            match output.message().await {
                Ok(Some(message)) => match message.output {
                    Some(Output::Stdout(data)) => sink.send(channel(STDOUT, &data)).await?,
                    Some(Output::Stderr(data)) => sink.send(channel(STDERR, &data)).await?,
                    Some(Output::ExitCode(code)) => break Ending::of(Ok(Some(code))),
                    Some(Output::Started(_)) | None => {}
                },
                Ok(None) => break Ending::of(Ok(None)),
                Err(status) => break Ending::of(Err(&status)),
            }
        };
        sink.send(channel(ERROR, &ending.status_json())).await?;
        Ok::<_, Error>(())
    };
    // Whichever ends first ends the other: without a client the node stops the process's streams.
    tokio::select! {
        () = incoming => return,
        result = outgoing => if let Err(err) = result {
            return tracing::debug!("a client of an exec is gone: {err}");
        },
    }
    finish(sink, stream).await;
}

/// Tells a client whose connection stands already that nothing was started.
pub(super) async fn refuse(socket: Socket, err: ApiError) {
    let (mut sink, stream) = socket.split();
    match sink.send(channel(ERROR, &Ending::Failed(err).status_json())).await {
        Ok(()) => finish(sink, stream).await,
        Err(err) => tracing::debug!("a client of an exec is gone: {err}"),
    }
}

async fn finish(mut sink: SplitSink<Socket, Message>, stream: futures::stream::SplitStream<Socket>) {
    // A client that is gone needs no goodbye.
    if sink.send(Message::Close(Some(websocket::normal_close()))).await.is_ok() {
        websocket::wait_for_close(stream).await;
    }
}

/// Sends on to the node; a process that takes no more input goes on without.
async fn forward(input: &mpsc::Sender<ExecInput>, message: ExecInput) {
    if input.send(message).await.is_err() {
        tracing::trace!("input for a process that has ended");
    }
}

fn read(bytes: &Bytes, closes_channels: bool) -> Option<ExecInput> {
    let (number, data) = (*bytes.first()?, bytes.slice(1..));
    match number {
        STDIN if data.is_empty() => None,
        STDIN => Some(input(Input::Stdin(data))),
        RESIZE => serde_json::from_slice::<Size>(&data).ok().map(Into::into),
        CLOSE if closes_channels && data.first() == Some(&STDIN) => Some(input(Input::CloseStdin(true))),
        _ => None,
    }
}

fn channel(number: u8, data: &[u8]) -> Message {
    let mut bytes = BytesMut::with_capacity(1 + data.len());
    bytes.put_u8(number);
    bytes.put_slice(data);
    Message::Binary(bytes.freeze())
}

#[cfg(test)]
mod tests {
    use super::*;
    use corten_proto::node::TerminalSize;

    #[test]
    fn messages_to_the_node() {
        let cases: [(&[u8], bool, Option<Input>); 7] = [
            (b"\x00ls\n", true, Some(Input::Stdin("ls\n".into()))),
            (b"\x00", true, None),
            (b"\x04{\"Width\":80,\"Height\":24}", true, Some(Input::Resize(TerminalSize { width: 80, height: 24 }))),
            (b"\x04wide", true, None),
            (b"\xff\x00", true, Some(Input::CloseStdin(true))),
            (b"\xff\x00", false, None),
            (b"", true, None),
        ];
        for (bytes, v5, expected) in cases {
            assert_eq!(read(&Bytes::copy_from_slice(bytes), v5).and_then(|m| m.input), expected, "{bytes:?}");
        }
    }
}

//! Exec over WebSocket: each message begins with the number of its channel.
//!
//! 0 stdin, 1 stdout, 2 stderr, 3 error (how it ended, last), 4 terminal size. How they are written is the dialect's.

use bytes::Bytes;
use corten_api::ApiError;
use corten_proto::node::ExecInput;
use corten_proto::node::exec_input::Input;
use corten_proto::node::exec_output::Output;
use futures::stream::SplitSink;
use futures::{SinkExt, StreamExt};
use tokio::sync::mpsc;
use tokio_tungstenite::tungstenite::{Error, Message};

use super::dialect::Dialect;
use super::ending::Ending;
use super::{Process, Size, input};
use crate::connect::websocket::{self, Socket};

const STDIN: u8 = 0;
const STDOUT: u8 = 1;
const STDERR: u8 = 2;
const ERROR: u8 = 3;
const RESIZE: u8 = 4;

pub(super) async fn run(socket: Socket, process: Process, dialect: Dialect) {
    let (mut sink, mut stream) = socket.split();
    let Process { input, mut output, .. } = process;
    let incoming = async {
        while let Some(Ok(message)) = stream.next().await {
            match message {
                Message::Binary(bytes) => forward(&input, read(&bytes, dialect)).await,
                Message::Text(text) => forward(&input, read(&text.into(), dialect)).await,
                Message::Close(_) => return,
                _ => {}
            }
        }
    };
    let outgoing = async {
        // Tells the client that the connection stands, as upstream does.
        sink.send(dialect.write(STDOUT, &[])).await?;
        let ending = loop {
            match output.message().await {
                Ok(Some(message)) => match message.output {
                    Some(Output::Stdout(data)) => sink.send(dialect.write(STDOUT, &data)).await?,
                    Some(Output::Stderr(data)) => sink.send(dialect.write(STDERR, &data)).await?,
                    Some(Output::ExitCode(code)) => break Ending::of(Ok(Some(code))),
                    Some(Output::Started(_)) | None => {}
                },
                Ok(None) => break Ending::of(Ok(None)),
                Err(status) => break Ending::of(Err(&status)),
            }
        };
        if let Some(told) = dialect.ending(&ending) {
            sink.send(dialect.write(ERROR, &told)).await?;
        }
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
pub(super) async fn refuse(socket: Socket, err: ApiError, dialect: Dialect) {
    let (mut sink, stream) = socket.split();
    let told = dialect.ending(&Ending::Failed(err)).unwrap_or_default();
    match sink.send(dialect.write(ERROR, &told)).await {
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
async fn forward(input: &mpsc::Sender<ExecInput>, message: Option<ExecInput>) {
    if let Some(message) = message
        && input.send(message).await.is_err()
    {
        tracing::trace!("input for a process that has ended");
    }
}

/// Upstream reads over what makes no sense, too.
fn read(bytes: &Bytes, dialect: Dialect) -> Option<ExecInput> {
    if dialect.closed_channel(bytes) == Some(STDIN) {
        return Some(input(Input::CloseStdin(true)));
    }
    let (number, data) = dialect.read(bytes)?;
    match number {
        STDIN if data.is_empty() => None,
        STDIN => Some(input(Input::Stdin(data))),
        RESIZE => serde_json::from_slice::<Size>(&data).ok().map(Into::into),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use corten_proto::node::TerminalSize;

    #[test]
    fn messages_to_the_node() {
        let (v5, v4) = (Some("v5.channel.k8s.io"), Some("v4.channel.k8s.io"));
        let base64 = Some("base64.channel.k8s.io");
        let size = || Some(Input::Resize(TerminalSize { width: 80, height: 24 }));
        let cases: [(&[u8], Option<&str>, Option<Input>); 13] = [
            (b"\x00ls\n", v5, Some(Input::Stdin("ls\n".into()))),
            (b"\x00ls\n", None, Some(Input::Stdin("ls\n".into()))),
            (b"\x00", v5, None),
            (b"\x04{\"Width\":80,\"Height\":24}", v5, size()),
            (b"\x04wide", v5, None),
            (b"\xff\x00", v5, Some(Input::CloseStdin(true))),
            (b"\xff\x00", v4, None),
            (b"", v5, None),
            (b"0bHMK", base64, Some(Input::Stdin("ls\n".into()))),
            (b"4eyJXaWR0aCI6ODAsIkhlaWdodCI6MjR9", Some("v4.base64.channel.k8s.io"), size()),
            (b"0not base64", base64, None),
            (b"\x00bHMK", base64, None),
            (b"0", base64, None),
        ];
        for (bytes, dialect, expected) in cases {
            let dialect = Dialect::of(dialect);
            assert_eq!(read(&Bytes::copy_from_slice(bytes), dialect).and_then(|m| m.input), expected, "{bytes:?}");
        }
    }
}

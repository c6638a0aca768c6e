//! Exec over SPDY: a stream for each of error, stdin, stdout, stderr and terminal size. v4.channel.k8s.io.

use std::collections::HashMap;
use std::time::Duration;

use corten_proto::node::ExecInput;
use corten_proto::node::exec_input::Input;
use corten_proto::node::exec_output::Output;
use tokio::sync::mpsc;

use super::ending::Ending;
use super::{Process, Size, input};
use crate::connect::spdy::session::{Gone, Session, SpdyStream, StreamWriter};

/// For the client to open its streams. Upstream's number.
const STREAMS_DEADLINE: Duration = Duration::from_secs(30);
/// A terminal size that is not complete yet.
const MAX_SIZE_BYTES: usize = 1024;

pub(super) async fn run(mut session: Session, process: Process) {
    let wanted = kinds(&process);
    let Some(mut streams) = gather(&mut session, &wanted).await else {
        return tracing::debug!("a client opened not all of its streams: {wanted:?}");
    };
    let Process { input, output, .. } = process;
    let stdin = streams.remove("stdin").map(|s| tokio::spawn(feed(s.incoming, input.clone())));
    let resize = streams.remove("resize").map(|s| tokio::spawn(sizes(s.incoming, input.clone())));
    let writers: HashMap<&str, StreamWriter> = streams.iter().map(|(k, s)| (*k, s.outgoing.clone())).collect();
    let gone = async { while session.next_stream().await.is_some() {} };
    tokio::select! {
        told = tell(output, &writers) => if told.is_ok() {
            session.finish().await;
        },
        () = gone => {}
    }
    stdin.into_iter().chain(resize).for_each(|task| task.abort());
}

fn kinds(process: &Process) -> Vec<&'static str> {
    let start = &process.start;
    let optional = [("stdin", start.stdin), ("stdout", start.stdout), ("stderr", start.stderr), ("resize", start.tty)];
    std::iter::once("error").chain(optional.into_iter().filter(|(_, on)| *on).map(|(kind, _)| kind)).collect()
}

async fn gather(session: &mut Session, wanted: &[&'static str]) -> Option<HashMap<&'static str, SpdyStream>> {
    let mut streams = HashMap::new();
    let all = async {
        while streams.len() < wanted.len() {
            let stream = session.next_stream().await?;
            let kind = wanted.iter().find(|kind| stream.header("streamtype") == Some(**kind));
            match kind {
                Some(kind) => drop(streams.insert(*kind, stream)),
                None => stream.outgoing.reset().await.ok()?,
            }
        }
        Some(())
    };
    tokio::time::timeout(STREAMS_DEADLINE, all).await.ok()??;
    Some(streams)
}

async fn tell(
    mut output: tonic::Streaming<corten_proto::node::ExecOutput>,
    to: &HashMap<&str, StreamWriter>,
) -> Result<(), Gone> {
    let ending = loop {
        let (kind, data) = match output.message().await {
            Ok(Some(message)) => match message.output {
                Some(Output::Stdout(data)) => ("stdout", data),
                Some(Output::Stderr(data)) => ("stderr", data),
                Some(Output::ExitCode(code)) => break Ending::of(Ok(Some(code))),
                Some(Output::Started(_)) | None => continue,
            },
            Ok(None) => break Ending::of(Ok(None)),
            Err(status) => break Ending::of(Err(&status)),
        };
        if let Some(writer) = to.get(kind) {
            writer.send(data).await?;
        }
    };
    for (_, writer) in to.iter().filter(|(kind, _)| **kind != "error") {
        writer.close().await?;
    }
    if let Some(error) = to.get("error") {
        error.send(ending.status_json().into()).await?;
        error.close().await?;
    }
    Ok(())
}

async fn feed(mut incoming: mpsc::Receiver<bytes::Bytes>, to: mpsc::Sender<ExecInput>) {
    while let Some(data) = incoming.recv().await {
        if to.send(input(Input::Stdin(data))).await.is_err() {
            return;
        }
    }
    // The process may have ended already.
    let _told = to.send(input(Input::CloseStdin(true))).await;
}

async fn sizes(mut incoming: mpsc::Receiver<bytes::Bytes>, to: mpsc::Sender<ExecInput>) {
    let mut pending = Vec::new();
    while let Some(data) = incoming.recv().await {
        pending.extend_from_slice(&data);
        let mut read = serde_json::Deserializer::from_slice(&pending).into_iter::<Size>();
        while let Some(Ok(size)) = read.next() {
            if to.send(size.into()).await.is_err() {
                return;
            }
        }
        let done = read.byte_offset();
        pending.drain(..done);
        if pending.len() > MAX_SIZE_BYTES {
            pending.clear();
        }
    }
}

//! Attach: the container's own process, talked to through its standard input's FIFO and its log.
//!
//! The shim keeps the FIFO open, so that input goes on from one client to the next; the logger keeps the output, so that
//! any number of clients see it and none can hold it up.

use std::sync::atomic::{AtomicBool, Ordering};

use tokio::io::AsyncWriteExt;
use tokio::net::unix::pipe;
use tokio::sync::mpsc;

use super::record::Record;
use super::{Containerd, RuntimeError, stdio};
use crate::logs::{LogOptions, Reader, Stream};
use crate::runtime::{SESSION_QUEUE, Session, SessionInput, SessionOutput};

impl Containerd {
    pub(super) async fn attach_session(&self, id: &str) -> Result<Session, RuntimeError> {
        let object = self.object(id).await?;
        let Some(Record::Container(record)) = Record::from_labels(&object.labels) else {
            return Err(RuntimeError::NotFound { id: id.into() });
        };
        if self.running_pid(id).await?.is_none() {
            return Err(RuntimeError::NotRunning { id: id.into() });
        }
        let stdin = match record.stdin {
            true => Some(stdio::open_input(&self.fifo_dir(id).join("stdin"))?),
            false => None,
        };
        // Opened before any input can be given: no answer to it is missed.
        let options = LogOptions { tail_lines: Some(0), follow: true, ..LogOptions::default() };
        let log = Reader::open(&record.log_path, options).await.map_err(RuntimeError::Log)?;
        let attached = Attached {
            runtime: self.clone(),
            id: id.into(),
            tty: record.tty,
            // A terminal's input has no end of its own.
            closes_stdin: record.stdin_once && !record.tty,
        };
        let (input, input_rx) = mpsc::channel(SESSION_QUEUE);
        let (output_tx, output) = mpsc::channel(SESSION_QUEUE);
        tokio::spawn(attached.run(stdin, log, input_rx, output_tx));
        Ok(Session { input, output })
    }
}

struct Attached {
    runtime: Containerd,
    id: String,
    tty: bool,
    closes_stdin: bool,
}

impl Attached {
    /// Until the process ends or the client is gone. A client whose input is at its end still gets output.
    async fn run(
        self,
        stdin: Option<pipe::Sender>,
        log: Reader,
        input: mpsc::Receiver<SessionInput>,
        output: mpsc::Sender<SessionOutput>,
    ) {
        let show = self.show(log, &output);
        let feed = self.feed(stdin, input);
        tokio::pin!(show, feed);
        let mut fed = false;
        loop {
            tokio::select! {
                () = &mut show => return,
                () = output.closed() => break,
                () = &mut feed, if !fed => {
                    fed = true;
                    self.end_input().await;
                }
            }
        }
        if !fed {
            self.end_input().await;
        }
    }

    /// Until the client's input ends.
    async fn feed(&self, mut stdin: Option<pipe::Sender>, mut input: mpsc::Receiver<SessionInput>) {
        while let Some(message) = input.recv().await {
            match (message, &mut stdin) {
                (SessionInput::Stdin(bytes), Some(pipe)) => {
                    if let Err(why) = pipe.write_all(&bytes).await {
                        tracing::warn!(container = self.id, %why, "input cannot be given to the process");
                        stdin = None;
                    }
                }
                // A container without standard input reads nothing.
                (SessionInput::Stdin(_), None) => {}
                (SessionInput::CloseStdin, _) => return,
                (SessionInput::Resize { width, height }, _) => self.runtime.resize(&self.id, "", width, height).await,
            }
        }
    }

    async fn end_input(&self) {
        if self.closes_stdin
            && let Err(why) = self.runtime.close_stdin(&self.id, "").await
        {
            let why = corten_api::error::with_causes(&why);
            tracing::warn!(
                container = self.id,
                why,
                "the input of the process could not be closed: it may wait for more"
            );
        }
    }

    /// What the container writes from the log's place on, and how it ended.
    async fn show(&self, log: Reader, output: &mpsc::Sender<SessionOutput>) {
        let (lines_tx, mut lines) = mpsc::channel(SESSION_QUEUE);
        let running = AtomicBool::new(true);
        let is_running = || running.load(Ordering::SeqCst);
        let read = async move {
            if let Err(why) = log.run(is_running, &lines_tx).await {
                tracing::warn!(
                    container = self.id,
                    why = corten_api::error::with_causes(&why),
                    "an attached client sees no more"
                );
            }
        };
        let end = async {
            let code = self.runtime.wait_to_the_end(&self.id, "").await;
            running.store(false, Ordering::SeqCst);
            code
        };
        let pass_on = async {
            while let Some((stream, bytes)) = lines.recv().await {
                let message = match stream {
                    Stream::Stderr if !self.tty => SessionOutput::Stderr(bytes),
                    _ => SessionOutput::Stdout(bytes),
                };
                if output.send(message).await.is_err() {
                    break;
                }
            }
        };
        let ((), code, ()) = tokio::join!(read, end, pass_on);
        if let Some(code) = code {
            // The client is gone: nobody asks how it ended.
            let _ = output.send(SessionOutput::Exited(code)).await;
        }
    }
}

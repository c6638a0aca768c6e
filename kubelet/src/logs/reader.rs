//! Reads a log: its tail, from a time on, one stream, up to a size, and what is still to come.

use std::fs::TryLockError;
use std::io::{self, SeekFrom};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use bytes::Bytes;
use jiff::Timestamp;
use nix::fcntl::OFlag;
use tokio::fs::File;
use tokio::io::{AsyncReadExt, AsyncSeekExt};
use tokio::sync::mpsc;

use super::changes::Changes;
use super::line::{Line, Stream};
use super::place;

/// How often a follower looks after a change: the logger's end is one, and the container's is known to others a moment later.
const LOOK_EVERY: Duration = Duration::from_millis(50);
const LOOK_FOR: Duration = Duration::from_secs(1);
/// And when nothing changes any more: the container may have ended while another process holds its output open.
const LOOK_SELDOM: Duration = Duration::from_secs(2);
/// A process left in the background may hold a container's output open; after this a reader waits for it no longer.
const LAST_WORDS_MAX: Duration = Duration::from_secs(2);
const CHUNK_BYTES: usize = 64 * 1024;
/// A line is at most 16 KiB and its head; what is longer is no line.
const LINE_MAX_BYTES: usize = 64 * 1024;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogOptions {
    /// Only the last so many lines.
    pub tail_lines: Option<u64>,
    pub since: Option<Timestamp>,
    pub timestamps: bool,
    /// Output ends after so many bytes.
    pub limit_bytes: Option<u64>,
    /// Only this stream.
    pub stream: Option<Stream>,
    /// Wait for more while the container runs.
    pub follow: bool,
}

#[derive(Debug, thiserror::Error)]
pub enum LogError {
    #[error("the container has no log yet: it has not started")]
    Missing,
    #[error("reading the log {}", path.display())]
    Io {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
}

impl LogError {
    fn of(path: &Path, source: io::Error) -> Self {
        match source.kind() {
            io::ErrorKind::NotFound => Self::Missing,
            _ => Self::Io { path: path.into(), source },
        }
    }
}

/// A log opened at the place from which it is read: what is written after the opening is surely seen.
pub struct Reader {
    path: PathBuf,
    file: File,
    options: LogOptions,
}

impl Reader {
    pub async fn open(path: &Path, options: LogOptions) -> Result<Self, LogError> {
        let mut file = open(path).await.map_err(|e| LogError::of(path, e))?;
        if let Some(lines) = options.tail_lines {
            let start = tail_offset(&mut file, lines).await.map_err(|e| LogError::of(path, e))?;
            file.seek(SeekFrom::Start(start)).await.map_err(|e| LogError::of(path, e))?;
        }
        Ok(Self { path: path.into(), file, options })
    }

    /// Sends the log's content with its stream to `out` until its end: of a container that has ended, as `is_running` says, this
    /// is once the logger has written the last of it. A follower waits for the container's end, too. Ends early when nobody receives.
    pub async fn run(
        mut self,
        is_running: impl Fn() -> bool,
        out: &mpsc::Sender<(Stream, Bytes)>,
    ) -> Result<(), LogError> {
        let mut printer =
            Printer { options: &self.options, sent_bytes: 0, at_line_start: [true; 2], pending: Vec::new() };
        let mut chunk = vec![0; CHUNK_BYTES];
        let (mut ended_at, mut changed_at) = (None, Instant::now());
        let mut changes = self.options.follow.then(|| Changes::of(&self.path)).flatten();
        let mut newer: Option<File> = None;
        loop {
            // Asked before the read: what was written before the container ended is then surely read.
            let more_to_come = if is_running() {
                self.options.follow
            } else {
                ended_at.get_or_insert_with(Instant::now).elapsed() < LAST_WORDS_MAX
                    && is_written(&self.file).await.map_err(|e| LogError::of(&self.path, e))?
            };
            let count = self.file.read(&mut chunk).await.map_err(|e| LogError::of(&self.path, e))?;
            if count > 0 {
                if printer.print(&chunk[..count], out).await.is_break() {
                    return Ok(());
                }
            } else if let Some(next) = newer.take() {
                if printer.print_torn(out).await.is_break() {
                    return Ok(());
                }
                self.file = next;
                changes = Changes::of(&self.path);
            } else if let Some(next) = rotated_away(&self.path, &self.file).await {
                // Where a new log stands nothing more comes to this one. What came to it since it was read is read first.
                newer = Some(next);
            } else if !more_to_come {
                // Whether anybody is there to receive it makes no difference any more.
                let _ = printer.print_torn(out).await;
                return Ok(());
            } else {
                let rest = rest(changes.is_some(), changed_at.elapsed(), ended_at.is_some());
                tokio::select! {
                    () = out.closed() => return Ok(()),
                    () = changed(changes.as_ref()) => changed_at = Instant::now(),
                    () = tokio::time::sleep(rest) => {}
                }
            }
        }
    }
}

/// Opens a log and sends what it holds: [`Reader::open`] and [`Reader::run`] in one.
pub async fn read(
    path: &Path,
    options: LogOptions,
    is_running: impl Fn() -> bool,
    out: &mpsc::Sender<(Stream, Bytes)>,
) -> Result<(), LogError> {
    Reader::open(path, options).await?.run(is_running, out).await
}

/// The end of the log of a container that has ended: of its last `lines` lines at most the last `bytes_max` bytes. Waits
/// for the logger to write what it still has, as long as a follower would.
pub async fn read_last(path: &Path, lines: u64, bytes_max: usize) -> Result<Vec<u8>, LogError> {
    let failed = |e| LogError::of(path, e);
    let log = open(path).await.map_err(failed)?;
    let changes = Changes::of(path);
    let begun = Instant::now();
    while is_written(&log).await.map_err(failed)? && begun.elapsed() < LAST_WORDS_MAX {
        tokio::select! {
            () = changed(changes.as_ref()) => {}
            // The logger's end is no change of the file.
            () = tokio::time::sleep(LOOK_EVERY) => {}
        }
    }
    let (tx, mut rx) = mpsc::channel::<(Stream, Bytes)>(1);
    let options = LogOptions { tail_lines: Some(lines), ..LogOptions::default() };
    let reader = Reader::open(path, options).await?;
    let keep = async {
        let mut end = Vec::new();
        while let Some((_, bytes)) = rx.recv().await {
            end.extend_from_slice(&bytes);
            end.drain(..end.len().saturating_sub(bytes_max));
        }
        end
    };
    // The sender must go with the reading, or the keeping would wait for more for ever.
    let read = async move { reader.run(|| false, &tx).await };
    let (done, end) = tokio::join!(read, keep);
    done.map(|()| end)
}

async fn open(path: &Path) -> io::Result<File> {
    let path = path.to_owned();
    let opened = tokio::task::spawn_blocking(move || place::open(&path, OFlag::O_RDONLY)).await;
    opened.map_err(io::Error::other)?.map(File::from_std)
}

/// Until a follower looks again. One that nobody tells of changes has to look for them.
fn rest(is_told: bool, unchanged_for: Duration, has_ended: bool) -> Duration {
    if is_told && unchanged_for > LOOK_FOR && !has_ended { LOOK_SELDOM } else { LOOK_EVERY }
}

async fn changed(changes: Option<&Changes>) {
    match changes {
        Some(changes) => changes.next().await,
        None => std::future::pending().await,
    }
}

/// Whether the logger, which holds a lock, is still there.
async fn is_written(log: &File) -> io::Result<bool> {
    let log = log.try_clone().await?.into_std().await;
    match log.try_lock_shared() {
        Ok(()) => log.unlock().map(|()| false),
        Err(TryLockError::WouldBlock) => Ok(true),
        Err(TryLockError::Error(e)) => Err(e),
    }
}

/// The new file, if the one that is read was moved away.
async fn rotated_away(path: &Path, was: &File) -> Option<File> {
    let now = tokio::fs::symlink_metadata(path).await.ok()?;
    if now.ino() == was.metadata().await.ok()?.ino() {
        return None;
    }
    open(path).await.ok()
}

/// Where the last `lines` lines begin.
async fn tail_offset(file: &mut File, lines: u64) -> io::Result<u64> {
    let end = file.metadata().await?.len();
    if lines == 0 {
        return Ok(end);
    }
    let mut found = 0;
    let mut chunk = vec![0; CHUNK_BYTES];
    let mut at = end;
    while at > 0 {
        let from = at.saturating_sub(CHUNK_BYTES as u64);
        let part = &mut chunk[..usize::try_from(at - from).unwrap_or(CHUNK_BYTES)];
        file.seek(SeekFrom::Start(from)).await?;
        file.read_exact(part).await?;
        for (offset, _) in part.iter().enumerate().rev().filter(|(_, b)| **b == b'\n') {
            let after = from + offset as u64 + 1;
            // The newline at the very end closes the last line; it does not begin one.
            if after < end {
                found += 1;
                if found == lines {
                    return Ok(after);
                }
            }
        }
        at = from;
    }
    Ok(0)
}

struct Printer<'a> {
    options: &'a LogOptions,
    sent_bytes: u64,
    /// By stream: a time stamp goes only before the first part of a line.
    at_line_start: [bool; 2],
    pending: Vec<u8>,
}

impl Printer<'_> {
    async fn print(&mut self, chunk: &[u8], out: &mpsc::Sender<(Stream, Bytes)>) -> std::ops::ControlFlow<()> {
        use std::ops::ControlFlow::{Break, Continue};
        self.pending.extend_from_slice(chunk);
        let mut text = std::mem::take(&mut self.pending);
        let whole = text.iter().rposition(|b| *b == b'\n').map_or(0, |last| last + 1);
        let mut batch: Option<(Stream, Vec<u8>)> = None;
        for line in text[..whole].split(|b| *b == b'\n').filter_map(Line::parse) {
            let Some(piece) = self.render(&line) else { continue };
            match &mut batch {
                Some((stream, bytes)) if *stream == line.stream => bytes.extend_from_slice(&piece),
                _ => {
                    if let Some((stream, bytes)) = batch.replace((line.stream, piece))
                        && self.send(stream, bytes, out).await.is_break()
                    {
                        return Break(());
                    }
                }
            }
        }
        if let Some((stream, bytes)) = batch
            && self.send(stream, bytes, out).await.is_break()
        {
            return Break(());
        }
        text.drain(..whole);
        if text.len() <= LINE_MAX_BYTES {
            self.pending = text;
        }
        Continue(())
    }

    /// What is left at the end of a file: of its last line the disk took only a part.
    async fn print_torn(&mut self, out: &mpsc::Sender<(Stream, Bytes)>) -> std::ops::ControlFlow<()> {
        let text = std::mem::take(&mut self.pending);
        let Some(line) = Line::parse(&text) else { return std::ops::ControlFlow::Continue(()) };
        match self.render(&Line { partial: true, ..line }) {
            Some(piece) => self.send(line.stream, piece, out).await,
            None => std::ops::ControlFlow::Continue(()),
        }
    }

    fn render(&mut self, line: &Line<'_>) -> Option<Vec<u8>> {
        if self.options.stream.is_some_and(|only| only != line.stream)
            || self.options.since.is_some_and(|s| line.at < s)
        {
            return None;
        }
        let at_start = &mut self.at_line_start[line.stream as usize];
        let mut piece = Vec::with_capacity(line.content.len() + 1);
        if self.options.timestamps && *at_start {
            piece.extend_from_slice(line.at_text.as_bytes());
            piece.push(b' ');
        }
        piece.extend_from_slice(line.content);
        if !line.partial {
            piece.push(b'\n');
        }
        *at_start = !line.partial;
        Some(piece)
    }

    async fn send(
        &mut self,
        stream: Stream,
        mut bytes: Vec<u8>,
        out: &mpsc::Sender<(Stream, Bytes)>,
    ) -> std::ops::ControlFlow<()> {
        use std::ops::ControlFlow::{Break, Continue};
        let left = self.options.limit_bytes.map_or(u64::MAX, |limit| limit - self.sent_bytes);
        bytes.truncate(usize::try_from(left).unwrap_or(usize::MAX));
        self.sent_bytes += bytes.len() as u64;
        let full = self.options.limit_bytes == Some(self.sent_bytes);
        if out.send((stream, bytes.into())).await.is_err() || full { Break(()) } else { Continue(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: &str = "2023-11-14T22:13:20.000000001Z stdout F one\n\
        2023-11-14T22:13:21.000000000Z stderr F err\n\
        torn li\n\
        2023-11-14T22:13:22.000000000Z stdout P tw\n\
        2023-11-14T22:13:22.500000000Z stdout F o\n\
        2023-11-14T22:13:23.000000000Z stdout P end";

    async fn all(options: LogOptions) -> String {
        all_of(&format!("{LOG}\n"), options).await
    }

    async fn all_of(log: &str, options: LogOptions) -> String {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("0.log");
        std::fs::write(&path, log).unwrap();
        let (tx, mut rx) = mpsc::channel(100);
        read(&path, options, || false, &tx).await.unwrap();
        drop(tx);
        let mut text = Vec::new();
        while let Some((_, bytes)) = rx.recv().await {
            text.extend_from_slice(&bytes);
        }
        String::from_utf8(text).unwrap()
    }

    #[tokio::test]
    async fn options_table() {
        let none = LogOptions::default();
        let cases = [
            ("all, parts joined", none.clone(), "one\nerr\ntwo\nend"),
            ("one stream", LogOptions { stream: Some(Stream::Stderr), ..none.clone() }, "err\n"),
            ("tail counts lines of the file", LogOptions { tail_lines: Some(3), ..none.clone() }, "two\nend"),
            ("tail of nothing", LogOptions { tail_lines: Some(0), ..none.clone() }, ""),
            ("tail of more than there is", LogOptions { tail_lines: Some(99), ..none.clone() }, "one\nerr\ntwo\nend"),
            ("since", LogOptions { since: Some("2023-11-14T22:13:22.1Z".parse().unwrap()), ..none.clone() }, "o\nend"),
            ("limit", LogOptions { limit_bytes: Some(6), ..none.clone() }, "one\ner"),
            ("limit of nothing", LogOptions { limit_bytes: Some(0), ..none.clone() }, ""),
            (
                "time stamps once a line",
                LogOptions { timestamps: true, tail_lines: Some(3), ..none },
                "2023-11-14T22:13:22.000000000Z two\n2023-11-14T22:13:23.000000000Z end",
            ),
        ];
        for (why, options, expected) in cases {
            assert_eq!(all(options).await, expected, "{why}");
        }
    }

    #[tokio::test]
    async fn of_a_last_line_that_is_torn_there_is_what_the_disk_took() {
        let cases = [
            ("within its text", "2023-11-14T22:13:24Z stdout F las", "one\nlas"),
            ("before its text", "2023-11-14T22:13:24Z stdout F ", "one\n"),
            ("within its head", "2023-11-14T22:13:24Z std", "one\n"),
            ("of another stream", "2023-11-14T22:13:24Z stderr F las", "one\n"),
        ];
        for (why, torn, expected) in cases {
            let options = LogOptions { stream: Some(Stream::Stdout), ..LogOptions::default() };
            let log = format!("2023-11-14T22:13:20Z stdout F one\n{torn}");
            assert_eq!(all_of(&log, options).await, expected, "{why}");
        }
    }

    #[tokio::test]
    async fn a_last_line_without_a_newline_has_none_that_it_did_not_write() {
        let head = "2023-11-14T22:13:20Z stdout F first\n2023-11-14T22:13:20Z stdout";
        for (rest, expected) in [("P DONE", "DONE"), ("F DONE", "DONE\n"), ("F ", "\n")] {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("0.log");
            std::fs::write(&path, format!("{head} {rest}\n")).unwrap();
            let end = read_last(&path, 1, 100).await.unwrap();
            assert_eq!(String::from_utf8(end).unwrap(), expected, "{rest}");
        }
    }

    #[tokio::test]
    async fn following_goes_on_in_the_new_file_after_a_rotation() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("0.log");
        std::fs::write(&path, "2023-11-14T22:13:20Z stdout F one\n").unwrap();
        let (tx, mut rx) = mpsc::channel(10);
        let running = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(true));
        let (follow_path, is_running) = (path.clone(), running.clone());
        let follower = tokio::spawn(async move {
            let options = LogOptions { follow: true, ..LogOptions::default() };
            read(&follow_path, options, || is_running.load(std::sync::atomic::Ordering::SeqCst), &tx).await
        });
        assert_eq!(rx.recv().await.unwrap().1, "one\n");
        std::fs::rename(&path, dir.path().join("0.log.old")).unwrap();
        std::fs::write(&path, "2023-11-14T22:13:21Z stdout F two\n").unwrap();
        assert_eq!(rx.recv().await.unwrap().1, "two\n");
        running.store(false, std::sync::atomic::Ordering::SeqCst);
        follower.await.unwrap().unwrap();
        assert!(rx.recv().await.is_none(), "it ends with the container");
    }

    /// The first line of each log tells that the follower reads it. The second comes while it finds that nothing follows, and
    /// the log is moved away at once.
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn what_comes_just_before_a_rotation_is_not_lost() {
        use std::io::Write as _;
        const ROTATIONS: usize = 1000;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("0.log");
        let mut log = std::fs::File::create(&path).unwrap();
        let (tx, mut rx) = mpsc::channel(10);
        let options = LogOptions { follow: true, ..LogOptions::default() };
        let reader = Reader::open(&path, options).await.unwrap();
        let follower = tokio::spawn(async move { reader.run(|| true, &tx).await });
        for number in 0..ROTATIONS {
            for line in ["first", "last"] {
                log.write_all(format!("2023-11-14T22:13:20Z stdout F {number} {line}\n").as_bytes()).unwrap();
                if line == "last" {
                    std::fs::rename(&path, dir.path().join(number.to_string())).unwrap();
                    log = std::fs::File::create(&path).unwrap();
                }
                let seen = tokio::time::timeout(Duration::from_secs(20), rx.recv()).await;
                let seen = seen.unwrap_or_else(|_| panic!("the {line} line of log {number} was not seen")).unwrap();
                assert_eq!(seen.1, format!("{number} {line}\n"));
            }
        }
        follower.abort();
    }

    /// Whoever is told that a container has ended may ask for its log before the logger has its turn.
    #[tokio::test]
    async fn last_words_are_waited_for_while_the_logger_holds_the_log() {
        use std::io::Write as _;
        for follow in [true, false] {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("0.log");
            let mut log = std::fs::File::create(&path).unwrap();
            log.lock().unwrap();
            let (tx, mut rx) = mpsc::channel(10);
            let options = LogOptions { follow, ..LogOptions::default() };
            let reader = Reader::open(&path, options).await.unwrap();
            let mut reading = tokio::spawn(async move { reader.run(|| false, &tx).await });
            let too_early = tokio::time::timeout(LOOK_EVERY * 4, &mut reading).await;
            assert!(too_early.is_err(), "the logger still holds it; follow: {follow}, {too_early:?}");
            log.write_all(b"2023-11-14T22:13:20Z stdout F last\n").unwrap();
            assert_eq!(rx.recv().await.unwrap().1, "last\n", "follow: {follow}");
            drop(log);
            reading.await.unwrap().unwrap();
            assert!(rx.recv().await.is_none());
        }
    }

    #[tokio::test]
    async fn of_a_container_that_runs_there_is_what_it_has_written_and_nobody_waits() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("0.log");
        let log = std::fs::File::create(&path).unwrap();
        log.lock().unwrap();
        let (tx, mut rx) = mpsc::channel(10);
        let reader = Reader::open(&path, LogOptions::default()).await.unwrap();
        tokio::time::timeout(LAST_WORDS_MAX / 2, reader.run(|| true, &tx)).await.expect("it has ended").unwrap();
        drop(tx);
        assert!(rx.recv().await.is_none());
    }

    #[test]
    fn a_follower_that_is_told_of_changes_hardly_looks() {
        let long = LOOK_FOR * 2;
        let cases = [
            ("all is quiet", (true, long, false), LOOK_SELDOM),
            ("something changed just now", (true, LOOK_FOR, false), LOOK_EVERY),
            ("the container has ended", (true, long, true), LOOK_EVERY),
            ("nobody tells of changes", (false, long, false), LOOK_EVERY),
        ];
        for (why, (is_told, unchanged_for, has_ended), expected) in cases {
            assert_eq!(rest(is_told, unchanged_for, has_ended), expected, "{why}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_follower_is_told_of_the_end_without_looking_for_it() {
        use std::sync::atomic::{AtomicBool, Ordering};
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("0.log");
        let log = std::fs::File::create(&path).unwrap();
        log.lock().unwrap();
        // The clock moves past no task of a thread: while this one waits no time passes, and nobody looks again.
        let (_time_stands, held) = std::sync::mpsc::channel::<()>();
        tokio::task::spawn_blocking(move || held.recv_timeout(Duration::from_secs(20)));
        let (tx, mut rx) = mpsc::channel(10);
        let (running, looked) = (AtomicBool::new(true), tokio::sync::Notify::new());
        let is_running = || {
            looked.notify_one();
            running.load(Ordering::SeqCst)
        };
        let options = LogOptions { follow: true, ..LogOptions::default() };
        let follow = read(&path, options, is_running, &tx);
        let end = async {
            looked.notified().await;
            running.store(false, Ordering::SeqCst);
            drop(log);
        };
        let begun = tokio::time::Instant::now();
        let (done, ()) = tokio::join!(follow, end);
        done.unwrap();
        assert_eq!(begun.elapsed(), Duration::ZERO, "it had to look");
        drop(tx);
        assert!(rx.recv().await.is_none());
    }

    #[tokio::test]
    async fn the_end_of_a_log_is_read_once_the_logger_is_done() {
        use std::io::Write as _;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("0.log");
        let mut log = std::fs::File::create(&path).unwrap();
        log.lock().unwrap();
        let reading = read_last(&path, 2, 7);
        tokio::pin!(reading);
        let too_early = tokio::time::timeout(LOOK_EVERY * 4, &mut reading).await;
        assert!(too_early.is_err(), "the logger still holds it: {too_early:?}");
        log.write_all(b"2023-11-14T22:13:20Z stdout F one\n2023-11-14T22:13:20Z stdout P tw\n").unwrap();
        log.write_all(b"2023-11-14T22:13:20Z stdout F o\n2023-11-14T22:13:20Z stderr F three\n").unwrap();
        drop(log);
        assert_eq!(String::from_utf8(reading.await.unwrap()).unwrap(), "\nthree\n", "the last bytes");
        assert_eq!(read_last(&path, 2, 100).await.unwrap(), b"o\nthree\n", "the last lines");
        assert_eq!(read_last(&path, 80, 2048).await.unwrap(), b"one\ntwo\nthree\n");
    }

    #[tokio::test]
    async fn a_log_that_is_not_there_is_said_to_be_missing() {
        let (tx, _rx) = mpsc::channel(1);
        let result = read(Path::new("/nowhere/0.log"), LogOptions::default(), || false, &tx).await;
        assert!(matches!(result, Err(LogError::Missing)));
    }
}

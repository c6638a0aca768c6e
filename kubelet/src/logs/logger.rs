//! The logger: one small process per container that copies its output into its log. It outlives the kubelet and containerd.
//!
//! containerd's shim starts it as `corten-kubelet log /path` with the container's stdout as descriptor 3, its stderr as 4, and 5
//! to close when ready. While it may still write, it holds a lock on the log. One thread, no runtime, no allocation that grows: there is one of these for every container.
#![allow(unsafe_code, reason = "descriptors that the shim passes by number, and a signal to be ignored")]

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, FromRawFd, RawFd};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigHandler, Signal, signal};

use super::line::{self, CONTENT_MAX_BYTES, Stream};
use super::place;
use crate::beneath::Dir;

/// The one query key of the logger's `binary://` address: containerd passes it as the first argument.
pub const QUERY_KEY: &str = "log";
/// `containerLogMaxSize`: a log that is larger makes room for a new one.
const FILE_MAX_BYTES: u64 = 10 * 1024 * 1024;
/// `containerLogMaxFiles` without the one that is written.
const OLD_FILES_MAX: usize = 4;
/// Files looked at in a log's directory: what is ours are a few for each time the container was started.
const ENTRIES_MAX: usize = 4096;
/// Output without a newline (a prompt) is written as a part when nothing follows for this long.
const PART_AFTER_MS: u16 = 20;

const STDOUT: RawFd = 3;
const STDERR: RawFd = 4;
const READY: RawFd = 5;

/// The log's path if this process was started as a logger. To be asked before anything else is done.
pub fn log_path_from_args() -> Option<PathBuf> {
    let mut args = std::env::args_os().skip(1);
    let is_logger = args.next().is_some_and(|key| key == QUERY_KEY);
    let path = args.next()?;
    (is_logger && args.next().is_none()).then(|| path.into())
}

/// Copies until both streams are at their end. Trouble with the log loses output; it never blocks the container.
pub fn run(path: &Path) {
    without_huge_pages();
    for ignored in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP, Signal::SIGPIPE] {
        // SAFETY: ignoring a signal installs no handler. The shim sends SIGTERM before the last output is read.
        let _ = unsafe { signal(ignored, SigHandler::SigIgn) };
    }
    // SAFETY: the shim made these three for us and nobody else in this process knows them.
    let (stdout, stderr, ready) =
        unsafe { (File::from_raw_fd(STDOUT), File::from_raw_fd(STDERR), File::from_raw_fd(READY)) };
    let mut log = Log::new(path.into());
    log.open();
    drop(ready);
    copy(stdout, stderr, &mut log);
}

/// Where the kernel gives huge pages to all, the allocator's first touch costs 4 MiB for each logger. The wish to have none
/// holds from the next program on, so this one starts itself again, once.
fn without_huge_pages() {
    use std::os::unix::process::CommandExt;
    if nix::sys::prctl::get_thp_disable() == Ok(false) && nix::sys::prctl::set_thp_disable(true).is_ok() {
        // Returns only if it failed: then this program goes on, larger than it need be.
        let _ = std::process::Command::new("/proc/self/exe").args(std::env::args_os().skip(1)).exec();
    }
}

struct Source {
    pipe: Option<File>,
    stream: Stream,
    /// An unfinished line, at most `CONTENT_MAX_BYTES`.
    pending: Vec<u8>,
}

impl Source {
    fn new(pipe: File, stream: Stream) -> Self {
        Self { pipe: Some(pipe), stream, pending: Vec::new() }
    }

    /// Takes what is there and writes all whole lines of it.
    fn take(&mut self, log: &mut Log) {
        let Some(pipe) = &mut self.pipe else { return };
        let mut chunk = [0; CONTENT_MAX_BYTES];
        let room = CONTENT_MAX_BYTES - self.pending.len();
        let count = match pipe.read(&mut chunk[..room]) {
            Err(e) if matches!(e.kind(), io::ErrorKind::Interrupted | io::ErrorKind::WouldBlock) => return,
            // A terminal's other side shows as EIO when it is closed.
            Ok(0) | Err(_) => {
                self.pipe = None;
                // Of a line without its end there is what was written of it: a part, as containerd's own logs have it.
                return self.flush_part(log);
            }
            Ok(count) => count,
        };
        let mut rest = &chunk[..count];
        let mut out = Vec::new();
        let now = Timestamp::now();
        while let Some(end) = rest.iter().position(|b| *b == b'\n') {
            self.pending.extend_from_slice(&rest[..end]);
            line::write(&mut out, now, self.stream, false, &self.pending);
            self.pending.clear();
            rest = &rest[end + 1..];
        }
        self.pending.extend_from_slice(rest);
        log.append(&out);
        if self.pending.len() == CONTENT_MAX_BYTES {
            self.flush_part(log);
        }
    }

    fn flush_part(&mut self, log: &mut Log) {
        if !self.pending.is_empty() {
            let mut out = Vec::new();
            line::write(&mut out, Timestamp::now(), self.stream, true, &self.pending);
            self.pending.clear();
            log.append(&out);
        }
    }
}

fn copy(stdout: File, stderr: File, log: &mut Log) {
    let mut sources = [Source::new(stdout, Stream::Stdout), Source::new(stderr, Stream::Stderr)];
    loop {
        let mut waiting = Vec::new();
        let mut of = Vec::new();
        for (at, source) in sources.iter().enumerate() {
            if let Some(pipe) = &source.pipe {
                waiting.push(PollFd::new(pipe.as_fd(), PollFlags::POLLIN));
                of.push(at);
            }
        }
        if waiting.is_empty() {
            return;
        }
        let unfinished = sources.iter().any(|s| !s.pending.is_empty());
        let timeout = if unfinished { PollTimeout::from(PART_AFTER_MS) } else { PollTimeout::NONE };
        let count = poll(&mut waiting, timeout);
        let ready: Vec<usize> =
            waiting.iter().zip(of).filter(|(fd, _)| fd.any().unwrap_or(true)).map(|(_, at)| at).collect();
        match count {
            Ok(0) => sources.iter_mut().for_each(|s| s.flush_part(log)),
            Ok(_) => ready.into_iter().for_each(|at| sources[at].take(log)),
            Err(nix::errno::Errno::EINTR) => {}
            Err(_) => return,
        }
    }
}

/// The file that is written, and its size.
struct Log {
    path: PathBuf,
    file: Option<File>,
    bytes: u64,
    /// The file ends within a line: of the last write only a part was taken.
    is_torn: bool,
}

impl Log {
    fn new(path: PathBuf) -> Self {
        Self { path, file: None, bytes: 0, is_torn: false }
    }

    fn open(&mut self) {
        self.file = place::open(&self.path, OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_APPEND).ok();
        if let Some(file) = &self.file {
            // Tells readers that somebody still writes. Nobody else locks it; a file system without locks has readers
            // that stop a little early.
            let _ = file.try_lock();
        }
        self.bytes = self.file.as_ref().and_then(|f| f.metadata().ok()).map_or(0, |m| m.len());
        self.is_torn = false;
    }

    /// One write per call, so that a reader never sees half of it. What was torn before is closed first, or the next line would
    /// be lost with it.
    fn append(&mut self, lines: &[u8]) {
        if lines.is_empty() {
            return;
        }
        if self.file.is_none() {
            self.open();
        }
        let Some(file) = &mut self.file else { return };
        let closed = if self.is_torn { [b"\n", lines].concat() } else { Vec::new() };
        let lines = if self.is_torn { &closed[..] } else { lines };
        // A full disk: what it did not take is lost, the container goes on, the next lines are tried again.
        let taken = write_as_much_as_fits(file, lines);
        self.bytes += taken as u64;
        if let Some(last) = lines[..taken].last() {
            self.is_torn = *last != b'\n';
        }
        if self.bytes > FILE_MAX_BYTES {
            self.rotate();
        }
    }

    fn rotate(&mut self) {
        let stamp = format!("{:.9}", Timestamp::now()).replace([':', '-'], "");
        let name = self.path.file_name().unwrap_or_default().to_owned();
        let mut old_name = name.clone();
        old_name.push(format!(".{stamp}"));
        if let Ok(dir) = place::dir_of(&self.path)
            && dir.rename(&name, &old_name).is_ok()
        {
            self.file = None;
            self.open();
            remove_oldest(&dir, &name);
        } else {
            // Not now; do not try again at every line.
            self.bytes = 0;
        }
    }
}

/// How many of the bytes are in the file.
fn write_as_much_as_fits(file: &mut File, bytes: &[u8]) -> usize {
    let mut taken = 0;
    while taken < bytes.len() {
        match file.write(&bytes[taken..]) {
            Ok(0) => break,
            Ok(count) => taken += count,
            Err(err) if err.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => break,
        }
    }
    taken
}

/// The names of a log's rotated files, oldest first.
pub fn rotated(dir: &Dir, name: &OsStr) -> io::Result<Vec<OsString>> {
    let prefix = format!("{}.", name.display());
    let is_ours = |(entry, _): &(OsString, bool)| entry.to_str().is_some_and(|n| n.starts_with(&prefix));
    let mut all: Vec<OsString> = dir.entries(ENTRIES_MAX)?.into_iter().filter(is_ours).map(|(name, _)| name).collect();
    all.sort();
    Ok(all)
}

fn remove_oldest(dir: &Dir, name: &OsStr) {
    let all = rotated(dir, name).unwrap_or_default();
    let surplus = all.len().saturating_sub(OLD_FILES_MAX);
    for old in &all[..surplus] {
        // Somebody else was quicker, or it will be tried at the next rotation.
        let _ = dir.remove(old);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::logs::Line;

    fn pipe() -> (File, File) {
        let (read, write) = nix::unistd::pipe().unwrap();
        (read.into(), write.into())
    }

    #[test]
    fn output_becomes_lines_and_long_ones_parts() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("0.log");
        let ((out_r, mut out_w), (err_r, mut err_w)) = (pipe(), pipe());
        let writer = std::thread::spawn(move || {
            out_w.write_all(b"one\ntwo\n").unwrap();
            err_w.write_all(b"oops\n").unwrap();
            out_w.write_all(&[b'x'; CONTENT_MAX_BYTES + 10]).unwrap();
            out_w.write_all(b"\nlast without newline").unwrap();
        });
        copy(out_r, err_r, &mut Log::new(path.clone()));
        writer.join().unwrap();
        let text = std::fs::read(&path).unwrap();
        let lines: Vec<Line<'_>> =
            text.split(|b| *b == b'\n').filter(|l| !l.is_empty()).map(|l| Line::parse(l).unwrap()).collect();
        let stderr: Vec<_> = lines.iter().filter(|l| l.stream == Stream::Stderr).map(|l| l.content).collect();
        assert_eq!(stderr, [b"oops"]);
        let stdout = lines.iter().filter(|l| l.stream == Stream::Stdout);
        let whole: Vec<u8> =
            stdout.flat_map(|l| l.content.iter().copied().chain((!l.partial).then_some(b'\n'))).collect();
        let mut expected = b"one\ntwo\n".to_vec();
        expected.extend([b'x'; CONTENT_MAX_BYTES + 10]);
        expected.extend(b"\nlast without newline");
        assert_eq!(whole, expected, "joined by their tags the lines are what was written");
        assert!(lines.iter().all(|l| l.content.len() <= CONTENT_MAX_BYTES));
    }

    #[test]
    fn a_last_line_without_a_newline_is_a_part() {
        let full = "x".repeat(CONTENT_MAX_BYTES);
        // What comes before the end, whether it is written as a part before it, and the tags and contents of the log.
        let cases = [
            ("a newline", "one\n", false, vec![(false, "one")]),
            ("none", "one", false, vec![(true, "one")]),
            ("none, after a whole line", "one\ntwo", false, vec![(false, "one"), (true, "two")]),
            ("a prompt that was shown", "> ", true, vec![(true, "> ")]),
            ("as long as a part", full.as_str(), false, vec![(true, full.as_str())]),
            ("nothing at all", "", false, vec![]),
        ];
        for (why, output, shown, expected) in cases {
            let dir = tempfile::tempdir().unwrap();
            let mut log = Log::new(dir.path().join("0.log"));
            log.open();
            let (read, mut write) = pipe();
            let mut source = Source::new(read, Stream::Stdout);
            write.write_all(output.as_bytes()).unwrap();
            if !output.is_empty() {
                source.take(&mut log);
            }
            if shown {
                source.flush_part(&mut log);
            }
            drop(write);
            source.take(&mut log);
            assert!(source.pipe.is_none(), "{why}");
            let text = std::fs::read(&log.path).unwrap();
            let lines = text.split(|b| *b == b'\n').filter(|l| !l.is_empty()).map(|l| Line::parse(l).unwrap());
            let got: Vec<_> = lines.map(|l| (l.partial, std::str::from_utf8(l.content).unwrap().to_owned())).collect();
            assert_eq!(got, expected.iter().map(|(p, t)| (*p, (*t).to_owned())).collect::<Vec<_>>(), "{why}");
        }
    }

    /// A pipe that nobody reads takes a part of what is written, and then nothing, as a full disk does.
    #[test]
    fn a_line_of_which_a_full_disk_took_a_part_does_not_spoil_the_next() {
        use nix::fcntl::{FcntlArg, fcntl};
        let (mut disk, file) = pipe();
        fcntl(&file, FcntlArg::F_SETPIPE_SZ(8192)).unwrap();
        fcntl(&file, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).unwrap();
        let mut log = Log::new("full".into());
        log.file = Some(file);
        let line = |text: &str| {
            let mut line = Vec::new();
            line::write(&mut line, Timestamp::now(), Stream::Stdout, false, text.as_bytes());
            line
        };
        // Longer than what a pipe takes as a whole or not at all.
        let long = "x".repeat(5000);
        log.append(&line(&long));
        log.append(&line(&long));
        let mut written = vec![0; usize::try_from(log.bytes).unwrap()];
        assert!((5050..10_000).contains(&written.len()), "of the second a part: {}", written.len());
        disk.read_exact(&mut written).unwrap();
        log.append(&line("there is room again"));
        log.append(&line("and more"));
        log.file = None;
        disk.read_to_end(&mut written).unwrap();
        assert_eq!(log.bytes, written.len() as u64);
        let lines: Vec<_> = written.split(|b| *b == b'\n').map(Line::parse).collect();
        let texts: Vec<_> = lines.iter().flatten().map(|l| std::str::from_utf8(l.content).unwrap()).collect();
        assert_eq!((texts[0], &texts[texts.len() - 2..]), (long.as_str(), &["there is room again", "and more"][..]));
    }

    #[test]
    fn a_large_log_makes_room_and_old_ones_go() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("0.log");
        let mut log = Log::new(path.clone());
        for _ in 0..OLD_FILES_MAX + 2 {
            log.open();
            log.bytes = FILE_MAX_BYTES;
            log.append(b"line\n");
        }
        let (dir, name) = (place::dir_of(&path).unwrap(), path.file_name().unwrap());
        assert_eq!(rotated(&dir, name).unwrap().len(), OLD_FILES_MAX);
        assert_eq!(std::fs::metadata(&path).unwrap().len(), 0, "a new file takes what comes next");
    }
}

//! `/logs/…`: the files of this machine's log directory, for those who may ask for such paths: administrators alone, unless a
//! role says otherwise.

use std::fs::{File, Metadata};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;

use bytes::Bytes;
use corten_api::ApiError;
use futures::StreamExt;
use http::header::{HeaderName, HeaderValue};
use http::{Response, StatusCode};
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, open, openat2};
use nix::sys::stat::Mode;
use tokio::io::AsyncReadExt;
use tokio_util::io::ReaderStream;

use super::body::{Body, BoxError};
use super::respond;

/// Where upstream's apiserver looks, too.
pub const DIRECTORY: &str = "/var/log";
/// Of a directory; there are more, and they are not shown.
const ENTRIES_MAX: usize = 10_000;
const PIECE_BYTES: usize = 64 * 1024;
const HTML: HeaderValue = HeaderValue::from_static("text/html; charset=utf-8");
/// Logs hold what strangers sent: no browser is to take that for a page.
const NO_SNIFF: (HeaderName, HeaderValue) =
    (HeaderName::from_static("x-content-type-options"), HeaderValue::from_static("nosniff"));

enum Found {
    Directory(Vec<String>),
    File(File, Metadata),
}

/// What lies `below` the directory: a file as it is now, or a list of links.
pub async fn serve(directory: &'static str, below: &str) -> Result<Response<Body>, ApiError> {
    let below = below.trim_matches('/').to_owned();
    let asked = below.clone();
    let found = tokio::task::spawn_blocking(move || find(Path::new(directory), &asked)).await;
    let mut response = match found.map_err(ApiError::internal)? {
        Ok(Found::Directory(names)) => respond::with_type(StatusCode::OK, HTML, Body::whole(listing(&below, &names))),
        Ok(Found::File(file, metadata)) => {
            // What is written meanwhile is left out: a log that is written faster than it is read has no end.
            let file = tokio::fs::File::from_std(file).take(metadata.len());
            let pieces = ReaderStream::with_capacity(file, PIECE_BYTES).map(|piece| piece.map_err(BoxError::from));
            respond::with_type(StatusCode::OK, respond::TEXT, Body::Stream(pieces.boxed()))
        }
        Err(err) if err.kind() == io::ErrorKind::PermissionDenied => {
            respond::text(StatusCode::FORBIDDEN, "403 Forbidden\n")
        }
        Err(err) => {
            tracing::debug!("/logs/{below}: {err}");
            respond::text(StatusCode::NOT_FOUND, "404 page not found\n")
        }
    };
    response.headers_mut().insert(NO_SNIFF.0, NO_SNIFF.1);
    Ok(response)
}

/// No link leads out of the directory.
fn find(directory: &Path, below: &str) -> io::Result<Found> {
    let root = open(directory, OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty())?;
    let below = if below.is_empty() { "." } else { below };
    // Without O_NONBLOCK a pipe would wait for somebody to write.
    let how = OpenHow::new()
        .flags(OFlag::O_RDONLY | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC)
        .resolve(ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_MAGICLINKS);
    let opened: OwnedFd = openat2(&root, below, how)?;
    let file = File::from(opened);
    let metadata = file.metadata()?;
    if metadata.is_file() {
        return Ok(Found::File(file, metadata));
    }
    if !metadata.is_dir() {
        return Err(io::Error::from(io::ErrorKind::NotFound));
    }
    let mut names = Vec::new();
    // By its descriptor: the directory that was opened, whatever has its name now.
    for entry in std::fs::read_dir(format!("/proc/self/fd/{}", file.as_raw_fd()))?.take(ENTRIES_MAX) {
        let entry = entry?;
        // Names that are no text cannot be asked for.
        let Ok(name) = entry.file_name().into_string() else { continue };
        names.push(if entry.file_type()?.is_dir() { format!("{name}/") } else { name });
    }
    names.sort();
    Ok(Found::Directory(names))
}

fn listing(below: &str, names: &[String]) -> Bytes {
    let above = if below.is_empty() { String::new() } else { format!("{below}/") };
    let mut html = String::from("<!doctype html>\n<pre>\n");
    for name in names {
        let link = format!("/logs/{above}{name}");
        let link: String = percent_encoding::utf8_percent_encode(&link, IN_LINKS).to_string();
        html.push_str(&format!("<a href=\"{link}\">{}</a>\n", escaped(name)));
    }
    html.push_str("</pre>\n");
    html.into()
}

/// All that would end a path, or an attribute.
const IN_LINKS: &percent_encoding::AsciiSet =
    &percent_encoding::CONTROLS.add(b' ').add(b'"').add(b'#').add(b'%').add(b'<').add(b'>').add(b'?').add(b'&');

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;

    #[tokio::test]
    async fn logs_are_read_and_nothing_beside_them() {
        let dir = tempfile::tempdir().unwrap();
        let logs = dir.path().join("log");
        std::fs::create_dir_all(logs.join("pods")).unwrap();
        std::fs::write(dir.path().join("secret"), "s").unwrap();
        std::fs::write(logs.join("a & <b>.log"), "one\ntwo\n").unwrap();
        std::fs::write(logs.join("pods/p.log"), "p\n").unwrap();
        std::os::unix::fs::symlink("../secret", logs.join("out")).unwrap();
        std::os::unix::fs::symlink("pods/p.log", logs.join("in")).unwrap();
        let logs: &'static str = logs.to_str().unwrap().to_owned().leak();
        let list = "<!doctype html>\n<pre>\n<a href=\"/logs/a%20%26%20%3Cb%3E.log\">a &amp; &lt;b&gt;.log</a>\n\
            <a href=\"/logs/in\">in</a>\n<a href=\"/logs/out\">out</a>\n<a href=\"/logs/pods/\">pods/</a>\n</pre>\n";
        let not_found = "404 page not found\n";
        for (below, code, expected) in [
            ("", 200, list),
            ("/", 200, list),
            ("/a & <b>.log", 200, "one\ntwo\n"),
            ("/pods", 200, "<!doctype html>\n<pre>\n<a href=\"/logs/pods/p.log\">p.log</a>\n</pre>\n"),
            ("/pods/p.log", 200, "p\n"),
            ("/in", 200, "p\n"),
            ("/out", 404, not_found),
            ("/none", 404, not_found),
            ("/../secret", 404, not_found),
            ("/pods/../../secret", 404, not_found),
            ("//etc/passwd", 404, not_found),
        ] {
            let response = serve(logs, below).await.unwrap();
            assert_eq!(response.status().as_u16(), code, "{below}");
            assert_eq!(response.headers()["x-content-type-options"], "nosniff");
            let text = response.into_body().collect().await.unwrap().to_bytes();
            assert_eq!(String::from_utf8_lossy(&text), expected, "{below}");
        }
    }
}

//! The body of a page: unpacked if it is packed, its links changed, and packed again, piece by piece as it comes.

use std::io::{self, Write};

use bytes::Bytes;
use flate2::Compression;
use flate2::write::{DeflateDecoder, DeflateEncoder, GzEncoder, MultiGzDecoder, ZlibDecoder, ZlibEncoder};
use futures::{Stream, StreamExt};
use http::HeaderMap;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE};

use super::html::Page;
use super::links::Links;
use crate::rest::body::BoxError;

/// Of a packed page taken at a time: unpacked it is a megabyte at most, as nothing packs better than a thousand times.
const STEP_BYTES: usize = 1024;

/// How a page is packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coding {
    None,
    Gzip,
    Deflate,
}

/// Whether links in what has these headers are to be changed, and how it is packed. A coding that we do not know goes by as it
/// is.
pub fn of(headers: &HeaderMap) -> Option<Coding> {
    let text = |value: &http::HeaderValue| value.to_str().unwrap_or("?").trim().to_owned();
    let media = headers.get(CONTENT_TYPE).map(text).unwrap_or_default();
    if media.split(';').next().map(str::trim) != Some("text/html") {
        return None;
    }
    match headers.get(CONTENT_ENCODING).map(text).unwrap_or_default().as_str() {
        "" => Some(Coding::None),
        "gzip" => Some(Coding::Gzip),
        "deflate" => Some(Coding::Deflate),
        _ => None,
    }
}

/// The page with its links changed.
pub fn rewritten(
    pieces: impl Stream<Item = Result<Bytes, BoxError>> + Send + 'static,
    coding: Coding,
    links: Links,
) -> impl Stream<Item = Result<Bytes, BoxError>> + Send + 'static {
    let pieces = pieces.filter(|piece| std::future::ready(!matches!(piece, Ok(bytes) if bytes.is_empty())));
    let page = Some((Box::pin(pieces), Bytes::new(), None::<Changer>, links));
    let changed = futures::stream::unfold(page, move |page| async move {
        let (mut pieces, mut piece, changer, links) = page?;
        if piece.is_empty() {
            match pieces.next().await {
                Some(Ok(next)) => piece = next,
                Some(Err(err)) => return Some((Err(err), None)),
                // Nothing came: an empty page is not even packed.
                None => {
                    let rest = changer.map_or(Ok(Vec::new()), Changer::finish);
                    return Some((rest.map(Bytes::from).map_err(BoxError::from), None));
                }
            }
        }
        let step = piece.split_to(piece.len().min(STEP_BYTES));
        let mut changer = changer.unwrap_or_else(|| Changer::new(coding, step.first().copied(), links.clone()));
        match changer.change(&step) {
            Ok(changed) => {
                // A packed page is work: others get their turn.
                tokio::task::yield_now().await;
                Some((Ok(changed.into()), Some((pieces, piece, Some(changer), links))))
            }
            Err(err) => Some((Err(err.into()), None)),
        }
    });
    changed.filter(|step| std::future::ready(!matches!(step, Ok(bytes) if bytes.is_empty())))
}

/// Changes what is written to it, and writes it on.
struct Rewriting<W> {
    page: Page,
    to: W,
}

impl<W: Write> Write for Rewriting<W> {
    fn write(&mut self, piece: &[u8]) -> io::Result<usize> {
        self.to.write_all(&self.page.push(piece))?;
        Ok(piece.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<W: Write> Rewriting<W> {
    fn finish(mut self) -> io::Result<W> {
        self.to.write_all(&self.page.finish())?;
        Ok(self.to)
    }
}

type Packed = Vec<u8>;

/// A page on its way, unpacked and packed again.
enum Changer {
    Plain(Rewriting<Packed>),
    Gzip(MultiGzDecoder<Rewriting<GzEncoder<Packed>>>),
    /// What `deflate` means. RFC 1950.
    Zlib(ZlibDecoder<Rewriting<ZlibEncoder<Packed>>>),
    /// What many servers send by that name. RFC 1951 alone.
    Deflate(DeflateDecoder<Rewriting<DeflateEncoder<Packed>>>),
}

impl Changer {
    /// `first`: of the page as it comes.
    fn new(coding: Coding, first: Option<u8>, links: Links) -> Self {
        let page = Page::new(links);
        let level = Compression::fast();
        match coding {
            Coding::None => Self::Plain(Rewriting { page, to: Vec::new() }),
            Coding::Gzip => Self::Gzip(MultiGzDecoder::new(Rewriting { page, to: GzEncoder::new(Vec::new(), level) })),
            // Where a bare stream has this, a block would be stored with bits set that are always clear.
            Coding::Deflate if first.is_some_and(|first| first & 0x0f == 8) => {
                Self::Zlib(ZlibDecoder::new(Rewriting { page, to: ZlibEncoder::new(Vec::new(), level) }))
            }
            Coding::Deflate => {
                Self::Deflate(DeflateDecoder::new(Rewriting { page, to: DeflateEncoder::new(Vec::new(), level) }))
            }
        }
    }

    fn change(&mut self, piece: &[u8]) -> io::Result<Packed> {
        match self {
            Self::Plain(to) => to.write_all(piece).map(|()| std::mem::take(&mut to.to)),
            Self::Gzip(from) => {
                from.write_all(piece)?;
                from.flush()?;
                Ok(std::mem::take(from.get_mut().to.get_mut()))
            }
            Self::Zlib(from) => {
                from.write_all(piece)?;
                from.flush()?;
                Ok(std::mem::take(from.get_mut().to.get_mut()))
            }
            Self::Deflate(from) => {
                from.write_all(piece)?;
                from.flush()?;
                Ok(std::mem::take(from.get_mut().to.get_mut()))
            }
        }
    }

    /// What is left of the page. A packed one that breaks off is an error.
    fn finish(self) -> io::Result<Packed> {
        match self {
            Self::Plain(to) => to.finish(),
            Self::Gzip(from) => from.finish()?.finish()?.finish(),
            Self::Zlib(from) => from.finish()?.finish()?.finish(),
            Self::Deflate(from) => from.finish()?.finish()?.finish(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packed(coding: &str, text: &[u8]) -> Vec<u8> {
        let level = Compression::best();
        match coding {
            "gzip" => {
                let mut to = GzEncoder::new(Vec::new(), level);
                to.write_all(text).unwrap();
                to.finish().unwrap()
            }
            "zlib" => {
                let mut to = ZlibEncoder::new(Vec::new(), level);
                to.write_all(text).unwrap();
                to.finish().unwrap()
            }
            "deflate" => {
                let mut to = DeflateEncoder::new(Vec::new(), level);
                to.write_all(text).unwrap();
                to.finish().unwrap()
            }
            _ => text.to_vec(),
        }
    }
    fn unpacked(coding: &str, bytes: &[u8]) -> Vec<u8> {
        match coding {
            "gzip" => {
                let mut from = MultiGzDecoder::new(Vec::new());
                from.write_all(bytes).unwrap();
                from.finish().unwrap()
            }
            "zlib" => {
                let mut from = ZlibDecoder::new(Vec::new());
                from.write_all(bytes).unwrap();
                from.finish().unwrap()
            }
            "deflate" => {
                let mut from = DeflateDecoder::new(Vec::new());
                from.write_all(bytes).unwrap();
                from.finish().unwrap()
            }
            _ => bytes.to_vec(),
        }
    }

    async fn through(bytes: Vec<u8>, coding: Coding) -> Result<Vec<u8>, BoxError> {
        let pieces: Vec<Result<Bytes, BoxError>> = bytes.chunks(700).map(|p| Ok(Bytes::copy_from_slice(p))).collect();
        let links = Links::new("/p", "10.0.0.5:80", "host");
        let steps: Vec<_> = rewritten(futures::stream::iter(pieces), coding, links).collect().await;
        Ok(steps.into_iter().collect::<Result<Vec<Bytes>, BoxError>>()?.concat())
    }

    #[tokio::test]
    async fn packed_pages_come_packed_as_they_were() {
        let long = format!("{}<a href=\"/x\">é</a>{}", "text ".repeat(50_000), "<b>".repeat(9_000));
        let expected = long.replace("/x", "/p/x");
        for (name, coding) in
            [("", Coding::None), ("gzip", Coding::Gzip), ("zlib", Coding::Deflate), ("deflate", Coding::Deflate)]
        {
            for (page, expected) in [(long.as_str(), expected.as_str()), ("", ""), ("<a href=/x", "<a href=/x")] {
                let have = through(packed(name, page.as_bytes()), coding).await.unwrap();
                assert_eq!(unpacked(name, &have), expected.as_bytes(), "{name} of {} bytes", page.len());
            }
        }
        let mut broken = packed("gzip", long.as_bytes());
        broken.truncate(broken.len() / 2);
        assert!(through(broken, Coding::Gzip).await.is_err(), "half a page is not taken for a whole one");
        assert!(through(b"no gzip".to_vec(), Coding::Gzip).await.is_err());
    }

    #[test]
    fn what_is_a_page() {
        let cases = [
            ("text/html", "", Some(Coding::None)),
            ("text/html; charset=utf-8", "", Some(Coding::None)),
            ("text/html", "gzip", Some(Coding::Gzip)),
            ("text/html", "deflate", Some(Coding::Deflate)),
            ("text/html", "br", None),
            ("text/plain", "", None),
            ("application/xhtml+xml", "", None),
            ("", "", None),
        ];
        for (media, coding, expected) in cases {
            let mut headers = HeaderMap::new();
            if !media.is_empty() {
                headers.insert(CONTENT_TYPE, media.parse().unwrap());
            }
            if !coding.is_empty() {
                headers.insert(CONTENT_ENCODING, coding.parse().unwrap());
            }
            assert_eq!(of(&headers), expected, "{media} {coding}");
        }
    }
}

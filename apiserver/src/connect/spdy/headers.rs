//! Header blocks of SPDY/3: name-value pairs in one zlib stream for each direction, with a dictionary known beforehand.
//!
//! SPDY Protocol Draft 3, section 2.6.10.

use std::sync::LazyLock;

use bytes::Buf;
use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};

use super::SpdyError;

/// One block, unpacked.
const MAX_BLOCK_BYTES: usize = 64 * 1024;
const MAX_PAIRS: u32 = 128;

/// The words that the dictionary begins with, each written with its length before it.
const WORDS: &[&str] = &[
    "options",
    "head",
    "post",
    "put",
    "delete",
    "trace",
    "accept",
    "accept-charset",
    "accept-encoding",
    "accept-language",
    "accept-ranges",
    "age",
    "allow",
    "authorization",
    "cache-control",
    "connection",
    "content-base",
    "content-encoding",
    "content-language",
    "content-length",
    "content-location",
    "content-md5",
    "content-range",
    "content-type",
    "date",
    "etag",
    "expect",
    "expires",
    "from",
    "host",
    "if-match",
    "if-modified-since",
    "if-none-match",
    "if-range",
    "if-unmodified-since",
    "last-modified",
    "location",
    "max-forwards",
    "pragma",
    "proxy-authenticate",
    "proxy-authorization",
    "range",
    "referer",
    "retry-after",
    "server",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "user-agent",
    "vary",
    "via",
    "warning",
    "www-authenticate",
    "method",
    "get",
    "status",
    "200 OK",
    "version",
    "HTTP/1.1",
    "url",
    "public",
    "set-cookie",
    "keep-alive",
    "origin",
];
/// What follows them, as one run of text.
const RUN: &str = concat!(
    "100101201202205206300302303304305306307402405406407408409410411412413414415416417502504505",
    "203 Non-Authoritative Information204 No Content301 Moved Permanently400 Bad Request401 Unauthorized",
    "403 Forbidden404 Not Found500 Internal Server Error501 Not Implemented503 Service Unavailable",
    "Jan Feb Mar Apr May Jun Jul Aug Sept Oct Nov Dec 00:00:00 Mon, Tue, Wed, Thu, Fri, Sat, Sun, GMT",
    "chunked,text/html,image/png,image/jpg,image/gif,application/xml,application/xhtml+xml,text/plain,",
    "text/javascript,publicprivatemax-age=gzip,deflate,sdchcharset=utf-8charset=iso-8859-1,utf-,*,enq=0."
);

static DICTIONARY: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let mut dictionary = Vec::new();
    for word in WORDS {
        dictionary.extend((word.len() as u32).to_be_bytes());
        dictionary.extend(word.as_bytes());
    }
    dictionary.extend(RUN.as_bytes());
    dictionary
});

/// Both directions of one connection.
#[derive(Debug)]
pub struct HeaderCodec {
    inflate: Decompress,
    deflate: Compress,
    deflate_begun: bool,
}

impl Default for HeaderCodec {
    fn default() -> Self {
        let deflate = Compress::new(Compression::fast(), true);
        Self { inflate: Decompress::new(true), deflate, deflate_begun: false }
    }
}

impl HeaderCodec {
    /// Reads the next block of the connection. Names come in lower case.
    pub fn read(&mut self, block: &[u8]) -> Result<Vec<(String, String)>, SpdyError> {
        let plain = self.unpack(block)?;
        let mut buf = plain.as_slice();
        let short = SpdyError::Headers("it breaks off");
        let pairs = buf.try_get_u32().map_err(|_| short.clone())?;
        if pairs > MAX_PAIRS {
            return Err(SpdyError::Headers("too many pairs"));
        }
        let mut text = || -> Result<String, SpdyError> {
            let len = buf.try_get_u32().map_err(|_| short.clone())? as usize;
            if buf.len() < len {
                return Err(short.clone());
            }
            let (bytes, rest) = buf.split_at(len);
            buf = rest;
            String::from_utf8(bytes.to_vec()).map_err(|_| SpdyError::Headers("it is not UTF-8"))
        };
        (0..pairs).map(|_| Ok((text()?.to_ascii_lowercase(), text()?))).collect()
    }

    fn unpack(&mut self, mut block: &[u8]) -> Result<Vec<u8>, SpdyError> {
        let mut out = Vec::with_capacity(1024);
        loop {
            if out.len() >= MAX_BLOCK_BYTES {
                return Err(SpdyError::Headers("it is too long"));
            }
            out.reserve(1024);
            let (read, written) = (self.inflate.total_in(), self.inflate.total_out());
            let result = self.inflate.decompress_vec(block, &mut out, FlushDecompress::Sync);
            let consumed = usize::try_from(self.inflate.total_in() - read).unwrap_or(usize::MAX);
            block = block.get(consumed..).unwrap_or_default();
            match result {
                Ok(Status::StreamEnd) => return Ok(out),
                Ok(_) => {}
                Err(err) if err.needs_dictionary().is_some() => {
                    let set = self.inflate.set_dictionary(&DICTIONARY);
                    set.map_err(|_| SpdyError::Headers("it wants another dictionary"))?;
                    continue;
                }
                Err(_) => return Err(SpdyError::Headers("its compression is broken")),
            }
            let nothing_new = self.inflate.total_out() == written && consumed == 0;
            if block.is_empty() && out.len() < out.capacity() || nothing_new {
                return Ok(out);
            }
        }
    }

    /// Appends a block without pairs: all that our replies need to say.
    pub fn write_empty(&mut self, out: &mut Vec<u8>) -> Result<(), SpdyError> {
        let broken = |_| SpdyError::Headers("it cannot be compressed");
        if !self.deflate_begun {
            self.deflate.set_dictionary(&DICTIONARY).map_err(broken)?;
            self.deflate_begun = true;
        }
        // Four bytes and a sync marker: this is more than enough.
        out.reserve(64);
        self.deflate.compress_vec(&0_u32.to_be_bytes(), out, FlushCompress::Sync).map_err(broken)?;
        Ok(())
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A block as a client packs it.
    pub(in crate::connect::spdy) fn pack(deflate: &mut Compress, first: bool, pairs: &[(&str, &str)]) -> Vec<u8> {
        if first {
            deflate.set_dictionary(&DICTIONARY).unwrap();
        }
        let mut plain = (pairs.len() as u32).to_be_bytes().to_vec();
        for text in pairs.iter().flat_map(|(k, v)| [k, v]) {
            plain.extend((text.len() as u32).to_be_bytes());
            plain.extend(text.as_bytes());
        }
        let mut out = Vec::with_capacity(plain.len() + 1024);
        deflate.compress_vec(&plain, &mut out, FlushCompress::Sync).unwrap();
        out
    }

    #[test]
    fn the_dictionary_is_the_agreed_one() {
        // Its Adler-32, which stands in every zlib stream made with it.
        let (mut a, mut b) = (1_u32, 0_u32);
        for byte in DICTIONARY.iter() {
            a = (a + u32::from(*byte)) % 65521;
            b = (b + a) % 65521;
        }
        assert_eq!((DICTIONARY.len(), b << 16 | a), (1423, 0xe3c6_a7c2));
    }

    #[test]
    fn blocks_of_one_connection_are_one_stream() {
        let mut client = Compress::new(Compression::best(), true);
        let mut codec = HeaderCodec::default();
        let long = "x".repeat(5000);
        for (first, pairs) in [
            (true, vec![("streamtype", "error"), ("port", "80"), ("requestid", "0")]),
            (false, vec![("Streamtype", "data"), ("port", "80")]),
            (false, vec![("long", long.as_str())]),
            (false, vec![]),
        ] {
            let block = pack(&mut client, first, &pairs);
            let have = codec.read(&block).unwrap();
            let want: Vec<_> = pairs.iter().map(|(k, v)| (k.to_lowercase(), (*v).to_owned())).collect();
            assert_eq!(have, want);
        }
    }

    #[test]
    fn bad_blocks_are_errors() {
        assert!(HeaderCodec::default().read(b"no zlib").is_err());
        let mut client = Compress::new(Compression::best(), true);
        let bomb = "0".repeat(2_000_000);
        let mut block = pack(&mut client, true, &[]);
        let mut more = Vec::with_capacity(100_000);
        client.compress_vec(bomb.as_bytes(), &mut more, FlushCompress::Sync).unwrap();
        block.extend(more);
        assert_eq!(HeaderCodec::default().read(&block), Err(SpdyError::Headers("it is too long")));
    }
}

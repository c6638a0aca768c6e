//! Changes links in HTML as it streams by. A tag is looked at once all of it is there; nothing else is held back. Pure.
//!
//! Only values of attributes that hold links are replaced, and every other byte stays what it is. What stands in scripts,
//! styles and comments is no markup.

use std::ops::Range;

use super::links::Links;

/// A longer tag goes by as it is: this is all that is held of a page.
const MAX_TAG_BYTES: usize = 16 * 1024;

/// Which attributes of which elements are links. <https://www.w3.org/TR/html401/index/attributes.html> and HTML 5's.
const LINKS: &[(&str, &[&str])] = &[
    ("a", &["href"]),
    ("applet", &["codebase"]),
    ("area", &["href"]),
    ("audio", &["src"]),
    ("base", &["href"]),
    ("blockquote", &["cite"]),
    ("body", &["background"]),
    ("button", &["formaction"]),
    ("command", &["icon"]),
    ("del", &["cite"]),
    ("embed", &["src"]),
    ("form", &["action"]),
    ("frame", &["longdesc", "src"]),
    ("head", &["profile"]),
    ("html", &["manifest"]),
    ("iframe", &["longdesc", "src"]),
    ("img", &["longdesc", "src", "usemap"]),
    ("input", &["src", "usemap", "formaction"]),
    ("ins", &["cite"]),
    ("link", &["href"]),
    ("object", &["classid", "codebase", "data", "usemap"]),
    ("q", &["cite"]),
    ("script", &["src"]),
    ("source", &["src"]),
    ("video", &["poster", "src"]),
];

/// Elements whose content is text up to their own end tag.
const RAW: &[&str] =
    &["iframe", "noembed", "noframes", "noscript", "plaintext", "script", "style", "textarea", "title", "xmp"];

/// A page on its way.
#[derive(Debug)]
pub struct Page {
    links: Links,
    /// What is not decided yet: the beginning of a tag or comment.
    held: Vec<u8>,
    place: Place,
}

/// Where in the markup the next byte is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Text,
    /// In an element whose content is text.
    Raw(&'static str),
    Comment,
    /// In a tag that is too long to be looked at.
    LongTag,
}

/// What is known of the bytes from here on.
enum Step {
    /// So many go by, and then the place is this.
    Pass(usize, Place),
    /// So many are a tag.
    Tag(usize),
    /// It takes more to tell what they are.
    More,
}

impl Page {
    pub fn new(links: Links) -> Self {
        Self { links, held: Vec::new(), place: Place::Text }
    }

    /// Takes a piece of the page, and gives what of it is ready.
    pub fn push(&mut self, piece: &[u8]) -> Vec<u8> {
        self.held.extend_from_slice(piece);
        let held = std::mem::take(&mut self.held);
        let mut out = Vec::with_capacity(held.len() + 256);
        let mut at = 0;
        while at < held.len() {
            let left = &held[at..];
            match step(self.place, left) {
                Step::Pass(len, place) => {
                    out.extend_from_slice(&left[..len]);
                    (at, self.place) = (at + len, place);
                }
                Step::Tag(len) => {
                    self.tag(&left[..len], &mut out);
                    at += len;
                }
                Step::More => break,
            }
        }
        self.held.extend_from_slice(&held[at..]);
        out
    }

    /// What is left when no more comes.
    pub fn finish(self) -> Vec<u8> {
        self.held
    }

    fn tag(&mut self, tag: &[u8], out: &mut Vec<u8>) {
        let Some(parsed) = Tag::parse(tag) else { return out.extend_from_slice(tag) };
        let name = &tag[1..parsed.name_end];
        let of_links = LINKS.iter().find(|(element, _)| is(name, element)).map_or(&[][..], |(_, names)| names);
        let mut done = 0;
        for attribute in &parsed.attributes {
            if !of_links.iter().any(|link| is(&tag[attribute.name.clone()], link)) {
                continue;
            }
            let Ok(value) = std::str::from_utf8(&tag[attribute.value.clone()]) else { continue };
            if let Some(link) = self.links.link(value) {
                out.extend_from_slice(&tag[done..attribute.value.start]);
                out.extend_from_slice(link.as_bytes());
                done = attribute.value.end;
            }
        }
        out.extend_from_slice(&tag[done..]);
        self.place = RAW.iter().find(|element| is(name, element)).map_or(Place::Text, |element| Place::Raw(element));
    }
}

fn is(name: &[u8], wanted: &str) -> bool {
    name.eq_ignore_ascii_case(wanted.as_bytes())
}

fn find(text: &[u8], wanted: &[u8]) -> Option<usize> {
    text.windows(wanted.len()).position(|window| window == wanted)
}

fn step(place: Place, left: &[u8]) -> Step {
    match place {
        Place::Text if left[0] != b'<' => {
            Step::Pass(left.iter().position(|byte| *byte == b'<').unwrap_or(left.len()), Place::Text)
        }
        Place::Text => markup(left),
        Place::Raw(element) => raw(element, left),
        Place::Comment => match find(left, b"-->") {
            Some(end) => Step::Pass(end + 3, Place::Text),
            // Two bytes of the end may be here.
            None if left.len() > 2 => Step::Pass(left.len() - 2, Place::Comment),
            None => Step::More,
        },
        Place::LongTag => match left.iter().position(|byte| *byte == b'>') {
            Some(end) => Step::Pass(end + 1, Place::Text),
            None => Step::Pass(left.len(), Place::LongTag),
        },
    }
}

/// What begins with `<`.
fn markup(left: &[u8]) -> Step {
    match left.get(1) {
        None => Step::More,
        Some(first) if first.is_ascii_alphabetic() => match Tag::parse(&left[..left.len().min(MAX_TAG_BYTES)]) {
            Some(tag) => Step::Tag(tag.len),
            None if left.len() >= MAX_TAG_BYTES => Step::Pass(1, Place::LongTag),
            None => Step::More,
        },
        Some(b'!') if left.len() < 4 && b"<!--".starts_with(left) => Step::More,
        // `<!-->` is a whole comment.
        Some(b'!') if left.starts_with(b"<!--") => Step::Pass(2, Place::Comment),
        Some(b'!' | b'/' | b'?') => Step::Pass(1, Place::LongTag),
        Some(_) => Step::Pass(1, Place::Text),
    }
}

/// Up to the element's own end tag.
fn raw(element: &'static str, left: &[u8]) -> Step {
    let len = element.len() + 2;
    let is_end = |at: &usize| {
        let tag = &left[*at..];
        let ends = tag.get(len).is_some_and(|next| next.is_ascii_whitespace() || matches!(next, b'/' | b'>'));
        ends && tag[1] == b'/' && is(&tag[2..len], element)
    };
    let mut starts = (0..left.len()).filter(|at| left[*at] == b'<');
    let Some(first) = starts.clone().next() else { return Step::Pass(left.len(), Place::Raw(element)) };
    if element == "plaintext" {
        return Step::Pass(left.len(), Place::Raw(element));
    }
    match starts.find(is_end) {
        Some(end) => Step::Pass(end + 1, Place::LongTag),
        // The beginning of the end tag may be here.
        None if left.len() > len => {
            let ready = (left.len() - len).max(first).max(1);
            Step::Pass(ready, Place::Raw(element))
        }
        None if first > 0 => Step::Pass(first, Place::Raw(element)),
        None => Step::More,
    }
}

/// `<a href="/x">`, whole.
struct Tag {
    name_end: usize,
    /// Those that have a value.
    attributes: Vec<Attribute>,
    /// With its `>`.
    len: usize,
}

/// Where an attribute's name and value stand in their tag.
struct Attribute {
    name: Range<usize>,
    value: Range<usize>,
}

impl Tag {
    /// `None` while its end is not there.
    fn parse(text: &[u8]) -> Option<Self> {
        let is_space = |byte: u8| byte.is_ascii_whitespace();
        // The end of what begins at `from` and is all like that.
        let run = |from: usize, like: &dyn Fn(u8) -> bool| {
            Some(from + text.get(from..)?.iter().position(|byte| !like(*byte))?)
        };
        let name_end = run(1, &|byte| !is_space(byte) && !matches!(byte, b'/' | b'>'))?;
        let mut attributes = Vec::new();
        let mut at = name_end;
        loop {
            at = run(at, &|byte| is_space(byte) || byte == b'/')?;
            if text[at] == b'>' {
                return Some(Self { name_end, attributes, len: at + 1 });
            }
            // A name may begin with `=`.
            let name = at..run(at + 1, &|byte| !is_space(byte) && !matches!(byte, b'/' | b'>' | b'='))?;
            at = run(name.end, &is_space)?;
            if text[at] != b'=' {
                continue;
            }
            at = run(at + 1, &is_space)?;
            let value = match text[at] {
                quote @ (b'"' | b'\'') => at + 1..run(at + 1, &|byte| byte != quote)?,
                _ => at..run(at, &|byte| !is_space(byte) && byte != b'>')?,
            };
            at = if value.start == at { value.end } else { value.end + 1 };
            attributes.push(Attribute { name, value });
        }
    }
}

#[cfg(test)]
mod tests {
    use corten_fuzz::Inputs;

    use super::*;

    fn rewritten(html: &str, piece: usize) -> String {
        let mut page = Page::new(Links::new("/p", "10.0.0.5:80", "host"));
        let mut out = Vec::new();
        for piece in html.as_bytes().chunks(piece) {
            out.extend(page.push(piece));
        }
        out.extend(page.finish());
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn links_of_pages() {
        let same = |html: &'static str| (html, html);
        let cases = [
            (
                r#"<pre><a href="kubelet.log">k</a><a href="/google.log">g</a></pre>"#,
                r#"<pre><a href="kubelet.log">k</a><a href="/p/google.log">g</a></pre>"#,
            ),
            (r#"<img src="/a.jpg"/>"#, r#"<img src="/p/a.jpg"/>"#),
            ("<A HREF='/x' class=b>", "<A HREF='/p/x' class=b>"),
            ("<a href=/x>y", "<a href=/p/x>y"),
            ("<a href=/x/>y", "<a href=/p/x/>y"),
            ("<a\n href = \"/x\"\n>", "<a\n href = \"/p/x\"\n>"),
            ("<form action=\"/x?a&amp;b\">", "<form action=\"/p/x?a&amp;b\">"),
            (
                r#"<frame longdesc="/a" src="/b"><video poster=/c src=/d>"#,
                r#"<frame longdesc="/p/a" src="/p/b"><video poster=/p/c src=/p/d>"#,
            ),
            (r#"<script src="http://10.0.0.5:80/k.js"></script>"#, r#"<script src="/p/k.js"></script>"#),
            same(r#"<script src="http://google.com/k.js"/>"#),
            same("<p title=\"/x\" href=\"/y\">"),
            same("<a data-href=\"/x\" href>"),
            same("<!-- <a href=\"/x\"> -->"),
            same("<!--><b>"),
            same("<script>if (a<b) { x = '<a href=\"/x\">' }</script>"),
            same("<style>a > b { background: url(/x) }</style>"),
            same("<textarea><a href=\"/x\"></textarea>"),
            same("<plaintext><a href=\"/x\"></plaintext>"),
            same("a < b <3 </ <? <!doctype html> <"),
            same("<a title=\"<a href='/x'>\" >"),
            same("<a href=\"/x"),
            ("<script></script ><a href=/x>", "<script></script ><a href=/p/x>"),
            ("<SCRIPT>a</script><a href=/x>", "<SCRIPT>a</script><a href=/p/x>"),
            ("<title>x</titles></title><a href=/x>", "<title>x</titles></title><a href=/p/x>"),
            ("<!-- - -- ><a href=/x>--><a href=/x>", "<!-- - -- ><a href=/x>--><a href=/p/x>"),
            ("<a href=/x?a=\"b>c", "<a href=/p/x?a=\"b>c"),
            ("<a =\"x\" href=\"/x\">", "<a =\"x\" href=\"/p/x\">"),
            ("é<a href=\"/é\">ü", "é<a href=\"/p/%C3%A9\">ü"),
        ];
        for (html, expected) in cases {
            for piece in [1, 2, 3, 7, 1000] {
                assert_eq!(rewritten(html, piece), expected, "{html} in pieces of {piece}");
            }
        }
    }

    #[test]
    fn a_tag_without_an_end_is_not_held() {
        let mut page = Page::new(Links::new("/p", "10.0.0.5:80", "host"));
        let mut given = 0;
        let mut out = page.push(b"<a href=\"");
        for _ in 0..100 {
            given += 4096;
            out.extend(page.push(&[b'x'; 4096]));
            assert!(page.held.len() <= MAX_TAG_BYTES + 4096, "{}", page.held.len());
        }
        assert!(out.len() + page.held.len() == given + 9 && page.held.is_empty());
        assert_eq!(page.push(b"\"><a href=/x>"), b"\"><a href=/p/x>");
    }

    #[test]
    fn a_page_is_the_same_in_whatever_pieces_it_comes() {
        let inputs = Inputs {
            valid: &[
                b"<html><a href=\"/x\">y</a><script src=/s>if (a<b) {}</script><!-- c --><img src='/i'></html>",
                b"<title>t</title><textarea></textarea><form action=/a><input formaction=\"/b\"/></form>",
            ],
            tokens: &[b"<", b">", b"</script>", b"<script>", b"<!--", b"-->", b"\"", b"'", b"=", b"/", b" href=/"],
        };
        corten_fuzz::run("a_page_is_the_same_in_whatever_pieces_it_comes", |random| {
            let html = String::from_utf8_lossy(&inputs.mutate(random)).into_owned();
            let piece = 1 + random.below(40);
            assert_eq!(rewritten(&html, piece), rewritten(&html, usize::MAX), "{html:?} in pieces of {piece}");
        });
    }
}

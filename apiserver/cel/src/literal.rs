//! What stands between the quotes of a string or bytes literal.

const CANNOT: &str = "unable to unescape string";
const BAD_OCTAL: &str = "unable to unescape octal sequence in string";
const BAD_CODE_POINT: &str = "invalid unicode code point";

/// The bytes of a literal's body. In bytes, `\xff` and `\377` are bytes and not code points, and `\u` may not stand.
pub(crate) fn unescape(body: &str, is_raw: bool, is_bytes: bool) -> Result<Vec<u8>, &'static str> {
    // Line ends are the same everywhere.
    let body = body.replace("\r\n", "\n").replace('\r', "\n");
    if is_raw {
        return Ok(body.into_bytes());
    }
    let mut out = Vec::with_capacity(body.len());
    let mut rest = body.chars();
    while let Some(c) = rest.next() {
        if c == '\\' {
            escape(&mut rest, is_bytes, &mut out)?;
        } else {
            push(c, &mut out);
        }
    }
    Ok(out)
}

fn push(c: char, out: &mut Vec<u8>) {
    out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
}

fn escape(rest: &mut std::str::Chars<'_>, is_bytes: bool, out: &mut Vec<u8>) -> Result<(), &'static str> {
    let plain = match rest.next().ok_or("unable to unescape string, found '\\' as last character")? {
        'a' => '\u{7}',
        'b' => '\u{8}',
        'f' => '\u{c}',
        'n' => '\n',
        'r' => '\r',
        't' => '\t',
        'v' => '\u{b}',
        c @ ('\\' | '\'' | '"' | '`' | '?') => c,
        'x' | 'X' => return number(rest, 2, 16, is_bytes, CANNOT, out),
        'u' if !is_bytes => return number(rest, 4, 16, false, CANNOT, out),
        'U' if !is_bytes => return number(rest, 8, 16, false, CANNOT, out),
        first @ '0'..='3' => {
            let digits: String = std::iter::once(first).chain(rest.by_ref().take(2)).collect();
            return number(&mut digits.chars(), 3, 8, is_bytes, BAD_OCTAL, out);
        }
        _ => return Err(CANNOT),
    };
    push(plain, out);
    Ok(())
}

fn number(
    digits: &mut std::str::Chars<'_>,
    count: usize,
    radix: u32,
    is_byte: bool,
    why: &'static str,
    out: &mut Vec<u8>,
) -> Result<(), &'static str> {
    let mut value = 0_u32;
    for _ in 0..count {
        let digit = digits.next().and_then(|c| c.to_digit(radix)).ok_or(why)?;
        value = value.checked_mul(radix).and_then(|v| v.checked_add(digit)).ok_or(BAD_CODE_POINT)?;
    }
    if is_byte {
        out.push(u8::try_from(value).map_err(|_| why)?);
    } else {
        push(char::from_u32(value).ok_or(BAD_CODE_POINT)?, out);
    }
    Ok(())
}

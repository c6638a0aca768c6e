//! `"%s is %d".format([…])`.

use std::borrow::Cow;
use std::fmt::Write as _;

use super::convert;
use crate::error::EvalError;
use crate::escape::quoted;
use crate::limits::Run;
use crate::value::{List, Map, Value};

const PRECISION: usize = 6;
/// Numbers with more places are not written.
const PRECISION_MAX: usize = 1000;

pub(super) fn format(text: &str, values: &List<'_>, run: &mut Run<'_>) -> Result<String, EvalError> {
    let failed = |why: String| EvalError::function(why);
    // The text itself, which stands in the result beside what is written of values.
    run.allocate(text.len())?;
    let mut out = String::new();
    let mut next = 0;
    let mut rest = text.chars();
    while let Some(c) = rest.next() {
        if c != '%' {
            out.push(c);
            continue;
        }
        let mut clause = rest.next();
        if clause == Some('%') {
            out.push('%');
            continue;
        }
        let precision = match clause {
            Some('.') => {
                let mut digits = String::new();
                loop {
                    clause = rest.next();
                    match clause {
                        Some(digit) if digit.is_ascii_digit() => digits.push(digit),
                        _ => break,
                    }
                }
                let precision = digits.parse().ok().filter(|precision| *precision <= PRECISION_MAX);
                precision.ok_or_else(|| {
                    failed("error while parsing precision: unable to find end of precision specifier".into())
                })?
            }
            _ => PRECISION,
        };
        let Some(clause) = clause else { return Err(failed("unexpected end of string".into())) };
        let value = values.item(next, run)?.ok_or_else(|| failed(format!("index {next} out of range")))?;
        next += 1;
        clause_of(clause, precision, &value, &mut Out { text: &mut out, run })?;
    }
    Ok(out)
}

/// What is written, within the bounds of the call.
struct Out<'o, 'r, 'p> {
    text: &'o mut String,
    run: &'r mut Run<'p>,
}

impl Out<'_, '_, '_> {
    fn push(&mut self, text: &str) -> Result<(), EvalError> {
        self.run.allocate(text.len())?;
        self.text.push_str(text);
        Ok(())
    }
}

fn clause_of(clause: char, precision: usize, value: &Value<'_>, out: &mut Out<'_, '_, '_>) -> Result<(), EvalError> {
    if clause == 's' {
        return string(value, out);
    }
    if let ('x' | 'X', Value::String(_) | Value::Bytes(_)) = (clause, value) {
        // Two digits a byte, once more while they are written.
        out.run.allocate(value.bytes().saturating_mul(2))?;
    }
    out.push(&number(clause, precision, value)?)
}

fn number(clause: char, precision: usize, value: &Value<'_>) -> Result<String, EvalError> {
    let refused = |wanted: &str| {
        let found = value.type_of();
        Err(EvalError::function(format!("error during formatting: {wanted}, was given {}", found.name())))
    };
    match (clause, value) {
        ('d', Value::Int(n)) => Ok(n.to_string()),
        ('d', Value::Uint(n)) => Ok(n.to_string()),
        ('f', _) => match double_of(value) {
            Some(n) => Ok(fixed(n, precision)),
            None => refused("fixed-point clause can only be used on doubles"),
        },
        ('e', _) => match double_of(value) {
            Some(n) => Ok(scientific(n, precision)),
            None => refused("scientific clause can only be used on doubles"),
        },
        ('b', Value::Int(n)) => Ok(signed(*n, |n| format!("{n:b}"))),
        ('b', Value::Uint(n)) => Ok(format!("{n:b}")),
        ('b', Value::Bool(value)) => Ok(u8::from(*value).to_string()),
        ('o', Value::Int(n)) => Ok(signed(*n, |n| format!("{n:o}"))),
        ('o', Value::Uint(n)) => Ok(format!("{n:o}")),
        ('x', _) => hex(value).map_or_else(|| refused(HEX), Ok),
        ('X', _) => hex(value).map_or_else(|| refused(HEX), |text| Ok(text.to_uppercase())),
        ('d', _) => refused("decimal clause can only be used on integers"),
        ('b', _) => refused("only integers and bools can be formatted as binary"),
        ('o', _) => refused("octal clause can only be used on integers"),
        _ => Err(EvalError::function(format!(
            "could not parse formatting clause: unrecognized formatting clause \"{clause}\""
        ))),
    }
}

const HEX: &str = "only integers, byte buffers, and strings can be formatted as hex";

fn signed(n: i64, write: impl Fn(u64) -> String) -> String {
    let written = write(n.unsigned_abs());
    if n < 0 { format!("-{written}") } else { written }
}

fn hex(value: &Value<'_>) -> Option<String> {
    let bytes = |bytes: &[u8]| {
        bytes.iter().fold(String::new(), |mut out, byte| {
            // Writing to a string cannot fail.
            let _written = write!(out, "{byte:02x}");
            out
        })
    };
    match value {
        Value::Int(n) => Some(signed(*n, |n| format!("{n:x}"))),
        Value::Uint(n) => Some(format!("{n:x}")),
        Value::String(text) => Some(bytes(text.as_bytes())),
        Value::Bytes(of) => Some(bytes(of)),
        _ => None,
    }
}

fn double_of(value: &Value<'_>) -> Option<f64> {
    match value {
        Value::Double(n) => Some(*n),
        Value::String(text) => match &**text {
            "NaN" => Some(f64::NAN),
            "Infinity" => Some(f64::INFINITY),
            "-Infinity" => Some(f64::NEG_INFINITY),
            _ => None,
        },
        _ => None,
    }
}

/// What is no number has its sign.
fn special(n: f64) -> Option<&'static str> {
    match n {
        n if n.is_nan() => Some("NaN"),
        f64::INFINITY => Some("∞"),
        f64::NEG_INFINITY => Some("-∞"),
        _ => None,
    }
}

/// With commas, as the locale `en_US` has them.
fn fixed(n: f64, precision: usize) -> String {
    if let Some(special) = special(n) {
        return special.into();
    }
    let plain = format!("{n:.precision$}");
    let (sign, plain) = plain.strip_prefix('-').map_or(("", plain.as_str()), |rest| ("-", rest));
    let (whole, fraction) = plain.split_once('.').map_or((plain, None), |(whole, fraction)| (whole, Some(fraction)));
    let mut out = String::from(sign);
    for (at, digit) in whole.char_indices() {
        if at > 0 && (whole.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    if let Some(fraction) = fraction {
        out.push('.');
        out.push_str(fraction);
    }
    out
}

/// As the locale `en_US` has it: `1.052033×10⁰³`.
fn scientific(n: f64, precision: usize) -> String {
    const RAISED: [char; 10] = ['⁰', '¹', '²', '³', '⁴', '⁵', '⁶', '⁷', '⁸', '⁹'];
    if let Some(special) = special(n) {
        return special.into();
    }
    let plain = format!("{n:.precision$e}");
    let (digits, exponent) = plain.split_once('e').unwrap_or((&plain, "0"));
    let (sign, exponent) = exponent.strip_prefix('-').map_or(("", exponent), |rest| ("\u{207b}", rest));
    let raised = format!("{exponent:0>2}");
    let raised = raised.chars().filter_map(|c| RAISED.get(c.to_digit(10)? as usize));
    format!("{digits}\u{d7}10{sign}{}", raised.collect::<String>())
}

fn string(value: &Value<'_>, out: &mut Out<'_, '_, '_>) -> Result<(), EvalError> {
    match value {
        Value::List(list) => list_text(list, out),
        Value::Map(map) => map_text(map, out),
        Value::Null => out.push("null"),
        Value::Optional(_) | Value::Opaque(_) | Value::Struct(_) => {
            let found = value.type_of();
            Err(EvalError::function(format!(
                "error during formatting: string clause can only be used on strings, bools, bytes, ints, doubles, maps, lists, types, durations, and timestamps, was given {}",
                found.name()
            )))
        }
        other => out.push(&convert::to_string(other)?),
    }
}

fn list_text(list: &List<'_>, out: &mut Out<'_, '_, '_>) -> Result<(), EvalError> {
    out.push("[")?;
    let mut items = list.items();
    let mut separator = "";
    while let Some(item) = items.next(out.run)? {
        out.push(separator)?;
        inner(&item, out)?;
        separator = ", ";
    }
    out.push("]")
}

fn map_text(map: &Map<'_>, out: &mut Out<'_, '_, '_>) -> Result<(), EvalError> {
    let mut pairs = Vec::new();
    for key in map.keys(out.run)? {
        let Some(value) = map.get(&key, out.run)? else { continue };
        let mut pair = String::new();
        let mut written = Out { text: &mut pair, run: out.run };
        inner(&key, &mut written)?;
        written.push(":")?;
        inner(&value, &mut written)?;
        pairs.push(pair);
    }
    pairs.sort();
    out.push("{")?;
    let mut separator = "";
    for pair in &pairs {
        out.push(separator)?;
        out.push(pair)?;
        separator = ", ";
    }
    out.push("}")
}

/// Within a list or map: text has quotes, and times say what they are.
fn inner(value: &Value<'_>, out: &mut Out<'_, '_, '_>) -> Result<(), EvalError> {
    let text: Cow<'_, str> = match value {
        Value::String(text) => {
            out.run.allocate(text.len())?;
            quoted(text).into()
        }
        Value::Bytes(bytes) => {
            out.run.allocate(bytes.len())?;
            format!("b{}", quoted(&convert::to_string(value)?)).into()
        }
        Value::Timestamp(_) => format!("timestamp({})", quoted(&convert::to_string(value)?)).into(),
        Value::Duration(_) => format!("duration({})", quoted(&convert::to_string(value)?)).into(),
        Value::Double(n) if n.is_finite() => format!("{n:.6}").into(),
        Value::Double(n) => quoted(&convert::double(*n)).into(),
        other => return string(other, out),
    };
    out.push(&text)
}

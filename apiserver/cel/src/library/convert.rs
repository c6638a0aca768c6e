//! Conversions between types, `size`, `type` and `dyn`.

use std::borrow::Cow;

use jiff::Timestamp;

use crate::error::EvalError;
use crate::limits::Run;
use crate::time;
use crate::value::Value;

type Evaluated<'a> = Result<Value<'a>, EvalError>;

pub(super) fn call<'a>(function: &str, args: &[Value<'a>], run: &mut Run<'_>) -> Option<Evaluated<'a>> {
    let [value] = args else { return None };
    Some(match function {
        "size" => {
            let size = if let Value::Opaque(_) = value { None } else { value.size() };
            size.map(|size| Value::Int(i64::try_from(size).unwrap_or(i64::MAX))).ok_or(EvalError::NoSuchOverload)
        }
        "type" => Ok(Value::Type(value.type_of())),
        "dyn" => Ok(value.clone()),
        "bool" => to_bool(value),
        "bytes" => to_bytes(value, run),
        "double" => to_double(value),
        "int" => to_int(value),
        "uint" => to_uint(value),
        "string" => match value {
            Value::String(_) => Ok(value.clone()),
            other => to_string(other).and_then(|text| Value::copied(&text, run)),
        },
        "duration" => to_duration(value),
        "timestamp" => to_timestamp(value),
        _ => return None,
    })
}

fn failed<T>(value: &Value<'_>, to: &str) -> Result<T, EvalError> {
    Err(EvalError::conversion(value.type_of().name(), to))
}

fn to_bool<'a>(value: &Value<'a>) -> Evaluated<'a> {
    match value {
        Value::Bool(_) => Ok(value.clone()),
        Value::String(text) => match &**text {
            "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(Value::Bool(true)),
            "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(Value::Bool(false)),
            _ => failed(value, "bool"),
        },
        _ => failed(value, "bool"),
    }
}

fn to_bytes<'a>(value: &Value<'a>, run: &mut Run<'_>) -> Evaluated<'a> {
    match value {
        Value::Bytes(_) => Ok(value.clone()),
        Value::String(text) => {
            run.allocate(text.len())?;
            Ok(Value::Bytes(text.as_bytes().into()))
        }
        _ => failed(value, "bytes"),
    }
}

fn to_double<'a>(value: &Value<'a>) -> Evaluated<'a> {
    match value {
        Value::Double(_) => Ok(value.clone()),
        Value::Int(n) => Ok(Value::Double(*n as f64)),
        Value::Uint(n) => Ok(Value::Double(*n as f64)),
        Value::String(text) => match text.parse::<f64>() {
            Ok(n) if n.is_finite() || !text.contains(|c: char| c.is_ascii_digit()) => Ok(Value::Double(n)),
            _ => failed(value, "double"),
        },
        _ => failed(value, "double"),
    }
}

fn to_int<'a>(value: &Value<'a>) -> Evaluated<'a> {
    match value {
        Value::Int(_) => Ok(value.clone()),
        Value::Uint(n) => i64::try_from(*n).map(Value::Int).map_err(|_| EvalError::IntOverflow),
        // Both ends are left out, as doubles near them are not exact.
        Value::Double(n) if *n > -9_223_372_036_854_775_808.0 && *n < 9_223_372_036_854_775_808.0 => {
            Ok(Value::Int(*n as i64))
        }
        Value::Double(_) => Err(EvalError::IntOverflow),
        Value::String(text) => text.parse().map(Value::Int).or_else(|_| failed(value, "int")),
        Value::Timestamp(at) => Ok(Value::Int(at.as_second() - i64::from(at.subsec_nanosecond() < 0))),
        Value::Duration(nanos) => Ok(Value::Int(*nanos)),
        _ => failed(value, "int"),
    }
}

fn to_uint<'a>(value: &Value<'a>) -> Evaluated<'a> {
    match value {
        Value::Uint(_) => Ok(value.clone()),
        Value::Int(n) => u64::try_from(*n).map(Value::Uint).map_err(|_| EvalError::UintOverflow),
        Value::Double(n) if *n >= 0.0 && *n < 18_446_744_073_709_551_616.0 => Ok(Value::Uint(*n as u64)),
        Value::Double(_) => Err(EvalError::UintOverflow),
        Value::String(text) => match text.parse() {
            Ok(n) if !text.starts_with('+') => Ok(Value::Uint(n)),
            _ => failed(value, "uint"),
        },
        _ => failed(value, "uint"),
    }
}

fn to_duration<'a>(value: &Value<'a>) -> Evaluated<'a> {
    match value {
        Value::Duration(_) => Ok(value.clone()),
        Value::String(text) => {
            time::parse_duration(text).map(Value::Duration).or_else(|_| failed(value, "google.protobuf.Duration"))
        }
        _ => failed(value, "google.protobuf.Duration"),
    }
}

fn to_timestamp<'a>(value: &Value<'a>) -> Evaluated<'a> {
    match value {
        Value::Timestamp(_) => Ok(value.clone()),
        Value::Int(secs) => {
            let at = Timestamp::from_second(*secs).map_err(|_| EvalError::TimestampOverflow)?;
            time::in_range(at).map(Value::Timestamp)
        }
        Value::String(text) => match time::parse_timestamp(text) {
            Some(at) => time::in_range(at).map(Value::Timestamp),
            None => failed(value, "google.protobuf.Timestamp"),
        },
        _ => failed(value, "google.protobuf.Timestamp"),
    }
}

/// What is text already is not copied.
pub(crate) fn to_string<'v>(value: &'v Value<'_>) -> Result<Cow<'v, str>, EvalError> {
    Ok(match value {
        Value::String(text) => Cow::Borrowed(text),
        Value::Bool(value) => value.to_string().into(),
        Value::Int(n) => n.to_string().into(),
        Value::Uint(n) => n.to_string().into(),
        Value::Double(n) => double(*n).into(),
        Value::Bytes(bytes) => match std::str::from_utf8(bytes) {
            Ok(text) => Cow::Borrowed(text),
            Err(_) => return Err(EvalError::function("invalid UTF-8 in bytes, cannot convert to string")),
        },
        Value::Duration(nanos) => time::duration_text(*nanos).into(),
        Value::Timestamp(at) => at.to_string().into(),
        Value::Type(of) => Cow::Borrowed(of.name()),
        Value::Opaque(opaque) => match opaque.text() {
            Some(text) => text.into(),
            None => return failed(value, "string"),
        },
        other => return failed(other, "string"),
    })
}

/// As upstream's language writes numbers shortest: with an exponent from a million on, and below a ten thousandth.
pub(crate) fn double(n: f64) -> String {
    if n.is_nan() {
        return "NaN".into();
    }
    if n.is_infinite() {
        return if n > 0.0 { "+Inf".into() } else { "-Inf".into() };
    }
    let shown = format!("{n:e}");
    let (digits, exponent) = shown.split_once('e').unwrap_or((&shown, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if n == 0.0 || (-4..6).contains(&exponent) {
        return format!("{n}");
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{digits}e{sign}{:02}", exponent.abs())
}

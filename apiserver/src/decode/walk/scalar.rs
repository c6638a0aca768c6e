//! Values without parts: read as Go reads them, written as Go writes them.

use std::borrow::Cow;
use std::fmt::Write;

use corten_api::quantity::Quantity;

use super::super::DecodeError;
use super::super::path::Path;
use super::super::text::unquoted;
use super::{Outcome, Walk, ZERO_TIME, base64, json_type, time};
use crate::schema::Scalar;

/// The type that Go names where another value stands.
pub(super) fn go_type(scalar: Scalar) -> &'static str {
    match scalar {
        // A time reads itself from a text.
        Scalar::String | Scalar::Time | Scalar::MicroTime => "string",
        Scalar::Bool => "bool",
        // A number or text reads itself from a number, where it is no text.
        Scalar::Int32 | Scalar::IntOrString => "int32",
        Scalar::Int64 => "int64",
        Scalar::Float64 => "float64",
        Scalar::Bytes => "[]uint8",
        Scalar::Quantity => "resource.Quantity",
        Scalar::ExtraValue => "v1.ExtraValue",
        Scalar::RawExtension => "runtime.RawExtension",
        Scalar::FieldsV1 => "v1.FieldsV1",
        Scalar::SchemaOr(_) => "apiextensions.JSONSchemaProps",
    }
}

impl Walk<'_> {
    /// `first`: the byte that the value begins with.
    pub(super) fn scalar(&mut self, scalar: Scalar, first: u8, path: &Path<'_>) -> Result<Outcome, DecodeError> {
        match (scalar, first) {
            (Scalar::RawExtension | Scalar::FieldsV1, _) => self.untyped(),
            (Scalar::SchemaOr(_), _) => self.schema_or(first, path),
            (Scalar::String, b'"') => {
                let quoted = self.text.string()?;
                self.out.push_str(quoted);
                Ok(Outcome::zero_if(quoted.len() == 2))
            }
            (Scalar::Bool, b't' | b'f') => {
                let word = self.text.word()?;
                self.out.push_str(word);
                Ok(Outcome::zero_if(word == "false"))
            }
            (Scalar::Int32 | Scalar::Int64 | Scalar::Float64, b'-' | b'0'..=b'9') => self.number(scalar, path),
            (Scalar::IntOrString, b'"') => {
                // A text is not zero, not even the empty one.
                self.out.push_str(self.text.string()?);
                Ok(Outcome::Value)
            }
            (Scalar::IntOrString, b'-' | b'0'..=b'9') => self.number(scalar, path),
            (Scalar::Bytes, b'"') => self.bytes(),
            (Scalar::Quantity, _) => self.quantity(),
            (Scalar::Time | Scalar::MicroTime, b'"') => self.time(scalar == Scalar::MicroTime),
            (Scalar::Time | Scalar::MicroTime | Scalar::IntOrString, _) => {
                self.text.skip()?;
                self.mismatch(json_type(first), go_type(scalar), path, true);
                Ok(Outcome::Nothing)
            }
            (
                Scalar::String
                | Scalar::Bool
                | Scalar::Int32
                | Scalar::Int64
                | Scalar::Float64
                | Scalar::Bytes
                | Scalar::ExtraValue,
                _,
            ) => self.wrong(first, go_type(scalar), path),
        }
    }

    /// Whole numbers have no point and no exponent: Go takes `1.0` for none.
    fn number(&mut self, scalar: Scalar, path: &Path<'_>) -> Result<Outcome, DecodeError> {
        let digits = self.text.number()?;
        let zero = match scalar {
            Scalar::Float64 => digits.parse::<f64>().ok().filter(|n| n.is_finite()).map(|n| n == 0.0),
            Scalar::Int64 => digits.parse::<i64>().ok().map(|n| n == 0),
            _ => digits.parse::<i32>().ok().map(|n| n == 0),
        };
        let Some(is_zero) = zero else {
            let is_last = scalar == Scalar::IntOrString;
            self.mismatch(&format!("number {digits}"), go_type(scalar), path, is_last);
            return Ok(Outcome::Nothing);
        };
        self.out.push_str(if is_zero { "0" } else { digits });
        Ok(Outcome::zero_if(is_zero))
    }

    fn bytes(&mut self) -> Result<Outcome, DecodeError> {
        let quoted = self.text.string()?;
        let start = self.out.len();
        // Go reads over the ends of lines.
        if quoted.contains('\\') {
            self.changed = true;
            let text = unquoted(quoted).replace(['\n', '\r'], "");
            self.out.push_str(&serde_json::Value::from(text).to_string());
        } else {
            self.out.push_str(quoted);
        }
        let inner = self.out.get(start + 1..self.out.len() - 1).unwrap_or_default();
        if let Some(at) = base64::first_fault(inner) {
            self.fault(format!("illegal base64 data at input byte {at}"), false);
            self.out.truncate(start);
            return Ok(Outcome::Nothing);
        }
        Ok(Outcome::zero_if(inner.is_empty()))
    }

    /// Any value is tried: what is no quantity is told of as that.
    fn quantity(&mut self) -> Result<Outcome, DecodeError> {
        let start = self.text.at();
        self.text.skip()?;
        let text = self.text.since(start);
        let inner = text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or(text);
        match Quantity::parse(inner.trim()) {
            Ok(quantity) => {
                // Writing to a String cannot fail.
                let written_at = self.out.len();
                let _ = write!(self.out, "\"{quantity}\"");
                self.changed |= self.out.get(written_at..) != Some(text);
                Ok(Outcome::zero_if(quantity.is_zero()))
            }
            Err(err) => {
                self.fault(err.to_string(), true);
                Ok(Outcome::Nothing)
            }
        }
    }

    fn time(&mut self, is_micro: bool) -> Result<Outcome, DecodeError> {
        let text = unquoted(self.text.string()?);
        match time::canonical(&text, is_micro) {
            // The zero time is how "no time" is kept, and none is written.
            Ok(time) if ZERO_TIME.get(1..20) == time.get(..19) => Ok(Outcome::Nothing),
            Ok(time) => {
                self.changed |= matches!(time, Cow::Owned(_));
                self.out.push('"');
                self.out.push_str(&time);
                self.out.push('"');
                Ok(Outcome::Value)
            }
            Err(words) => {
                self.fault(words, true);
                Ok(Outcome::Nothing)
            }
        }
    }
}

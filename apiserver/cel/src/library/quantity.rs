//! Quantities: `100m`, `1.5Gi`.

use std::cmp::Ordering;

use corten_api::quantity::{Format, Quantity};

use crate::error::EvalError;
use crate::opaque::Opaque;
use crate::value::Value;

pub(super) fn call<'a>(function: &str, args: &[Value<'a>]) -> Option<Result<Value<'a>, EvalError>> {
    let made = |quantity| Ok(Value::Opaque(Opaque::Quantity(quantity)));
    let whole = |quantity: Quantity| {
        let units = quantity.units();
        // What is cut off at the largest int is none.
        (quantity.is_whole() && units != i64::MAX && units != -i64::MAX).then_some(units)
    };
    Some(match (function, args) {
        ("quantity", [Value::String(text)]) => match Quantity::parse(text) {
            Ok(quantity) => made(quantity),
            Err(e) => Err(EvalError::function(e.to_string())),
        },
        ("isQuantity", [Value::String(text)]) => Ok(Value::Bool(Quantity::parse(text).is_ok())),
        (_, [Value::Opaque(Opaque::Quantity(a))]) => match function {
            "sign" => Ok(Value::Int(i64::from(!a.is_zero()) * if a.is_negative() { -1 } else { 1 })),
            "asApproximateFloat" => Ok(Value::Double(a.approximate())),
            "isInteger" => Ok(Value::Bool(whole(*a).is_some())),
            "asInteger" => {
                whole(*a).map(Value::Int).ok_or_else(|| EvalError::function("cannot convert value to integer"))
            }
            _ => return None,
        },
        (_, [Value::Opaque(Opaque::Quantity(a)), Value::Opaque(Opaque::Quantity(b))]) => {
            let order = a.partial_cmp(b).unwrap_or(Ordering::Equal);
            match function {
                "isGreaterThan" => Ok(Value::Bool(order.is_gt())),
                "isLessThan" => Ok(Value::Bool(order.is_lt())),
                "compareTo" => Ok(Value::Int(order as i64)),
                "add" => made(*a + *b),
                "sub" => made(*a - *b),
                _ => return None,
            }
        }
        ("add", [Value::Opaque(Opaque::Quantity(a)), Value::Int(b)]) => {
            made(*a + Quantity::from_units(*b, Format::DecimalExponent))
        }
        ("sub", [Value::Opaque(Opaque::Quantity(a)), Value::Int(b)]) => {
            made(*a - Quantity::from_units(*b, Format::DecimalExponent))
        }
        _ => return None,
    })
}

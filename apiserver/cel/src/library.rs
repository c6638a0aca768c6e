//! The functions that expressions may call, by library: their signatures, and what they do.

mod authorizer;
pub(crate) mod convert;
mod format;
mod lists;
mod matching;
mod named_formats;
mod net;
mod optional;
mod quantity;
mod semver;
mod signatures;
mod strings;
mod time_parts;
mod url;

pub(crate) use signatures::{Overload, overloads};

use crate::error::EvalError;
use crate::limits::Run;
use crate::value::Value;

/// A library, with the minor version of Kubernetes that brought it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Library {
    Standard,
    Strings,
    Regex,
    Lists,
    Url,
    Authorizer,
    Optional,
    Quantity,
    Sets,
    Net,
    Format,
    Selectors,
    TwoVariables,
    Semver,
    MoreLists,
    /// Of MutatingAdmissionPolicy alone.
    JsonPatch,
}

impl Library {
    /// The first minor version that has it.
    pub(crate) fn since(self) -> u32 {
        match self {
            Self::Standard | Self::Strings | Self::Regex | Self::Lists | Self::Url | Self::JsonPatch => 0,
            Self::Authorizer => 27,
            Self::Optional | Self::Quantity => 28,
            Self::Sets => 29,
            Self::Net => 30,
            Self::Format | Self::Selectors => 31,
            Self::TwoVariables => 32,
            Self::Semver => 33,
            Self::MoreLists => 34,
        }
    }
}

/// What a call of `sum` sums: the checker names its overload, if there is but one.
pub(crate) fn summed(function: &str) -> Option<&str> {
    match function {
        "sum" => Some("int"),
        _ => Some(function.strip_prefix("list_")?.split_once("_sum_")?.1),
    }
}

/// Calls a function with arguments that all have values. The receiver, if there is one, is the first of them.
pub(crate) fn call<'a>(function: &str, args: &[Value<'a>], run: &mut Run<'_>) -> Result<Value<'a>, EvalError> {
    let called = convert::call(function, args, run)
        .or_else(|| strings::call(function, args, run))
        .or_else(|| lists::call(function, args, run))
        .or_else(|| matching::call(function, args, run))
        .or_else(|| time_parts::call(function, args))
        .or_else(|| optional::call(function, args, run))
        .or_else(|| net::call(function, args))
        .or_else(|| quantity::call(function, args))
        .or_else(|| semver::call(function, args, run))
        .or_else(|| url::call(function, args, run))
        .or_else(|| named_formats::call(function, args, run))
        .or_else(|| authorizer::call(function, args, run));
    called.unwrap_or(Err(EvalError::NoSuchOverload))
}

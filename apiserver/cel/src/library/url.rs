//! URLs and their parts.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::error::EvalError;
use crate::limits::Run;
use crate::opaque::Opaque;
use crate::url::{bad_escape, escaped_path, hostname, parse, port, unescape};
use crate::value::{Key, Text, Value};

pub(super) fn call<'a>(function: &str, args: &[Value<'a>], run: &mut Run<'_>) -> Option<Result<Value<'a>, EvalError>> {
    Some(match (function, args) {
        ("url", [Value::String(text)]) => match parse(text) {
            Ok(url) => {
                let made = Value::Opaque(Opaque::Url(Arc::new(url)));
                run.allocate(made.bytes()).map(|()| made)
            }
            Err(why) => Err(EvalError::function(format!("URL parse error during conversion from string: {why}"))),
        },
        ("isURL", [Value::String(text)]) => Ok(Value::Bool(parse(text).is_ok())),
        (_, [Value::Opaque(Opaque::Url(url))]) => match function {
            "getScheme" => Value::copied(&url.scheme, run),
            "getHost" => Value::copied(&url.host, run),
            "getHostname" => Value::copied(hostname(&url.host), run),
            "getPort" => Value::copied(port(&url.host), run),
            "getEscapedPath" => Value::copied(&escaped_path(&url.path), run),
            "getQuery" => query(&url.query, run),
            _ => return None,
        },
        _ => return None,
    })
}

fn query<'a>(text: &str, run: &mut Run<'_>) -> Result<Value<'a>, EvalError> {
    let mut found: BTreeMap<String, Vec<Value<'a>>> = BTreeMap::new();
    for pair in text.split('&').filter(|pair| !pair.is_empty() && !pair.contains(';')) {
        run.step()?;
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        if bad_escape(key).is_some() || bad_escape(value).is_some() {
            continue;
        }
        // With what a list and an entry take.
        run.allocate(pair.len() * 2 + 4 * size_of::<Value<'_>>())?;
        found.entry(unescape(key, true)).or_default().push(Value::text(unescape(value, true)));
    }
    let entry = |(key, values): (String, Vec<Value<'a>>)| {
        let key = Text::Shared(Arc::from(key));
        (Key::String(key.clone()), (Value::String(key), Value::list(values)))
    };
    Ok(Value::map(found.into_iter().map(entry).collect()))
}

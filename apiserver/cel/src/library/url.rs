//! URLs and their parts.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::error::EvalError;
use crate::opaque::Opaque;
use crate::opaque::url::{bad_escape, escaped_path, hostname, parse, port, unescape};
use crate::value::{Key, Value};

pub(super) fn call<'a>(function: &str, args: &[Value<'a>]) -> Option<Result<Value<'a>, EvalError>> {
    Some(match (function, args) {
        ("url", [Value::String(text)]) => match parse(text) {
            Ok(url) => Ok(Value::Opaque(Opaque::Url(Arc::new(url)))),
            Err(why) => Err(EvalError::function(format!("URL parse error during conversion from string: {why}"))),
        },
        ("isURL", [Value::String(text)]) => Ok(Value::Bool(parse(text).is_ok())),
        (_, [Value::Opaque(Opaque::Url(url))]) => match function {
            "getScheme" => Ok(Value::text(url.scheme.as_str())),
            "getHost" => Ok(Value::text(url.host.as_str())),
            "getHostname" => Ok(Value::text(hostname(&url.host))),
            "getPort" => Ok(Value::text(port(&url.host))),
            "getEscapedPath" => Ok(Value::text(escaped_path(&url.path))),
            "getQuery" => Ok(query(&url.query)),
            _ => return None,
        },
        _ => return None,
    })
}

fn query<'a>(text: &str) -> Value<'a> {
    let mut found: BTreeMap<String, Vec<Value<'a>>> = BTreeMap::new();
    for pair in text.split('&').filter(|pair| !pair.is_empty() && !pair.contains(';')) {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        if bad_escape(key).is_some() || bad_escape(value).is_some() {
            continue;
        }
        found.entry(unescape(key, true)).or_default().push(Value::text(unescape(value, true)));
    }
    let entry = |(key, values): (String, Vec<Value<'a>>)| {
        let key: Arc<str> = key.into();
        (Key::String(key.clone()), (Value::text(key), Value::list(values)))
    };
    Value::map(found.into_iter().map(entry).collect())
}

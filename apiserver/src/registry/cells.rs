//! What `kubectl get` shows: the columns and cells that many kinds share, ages, lists cut short.
//!
//! Ages read as in <https://pkg.go.dev/k8s.io/apimachinery/pkg/util/duration#HumanDuration>.

use std::borrow::Cow;
use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::PodSpec;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};

use super::{Cell, Column};

pub const NONE: &str = "<none>";
pub const UNKNOWN: &str = "<unknown>";
pub const UNSET: &str = "<unset>";
/// How many items of a list a cell shows before it only counts them.
const SHOWN_ITEMS_MAX: usize = 3;

pub const NAME: Column = column("Name", "string", "name", "Unique within its namespace", 0);
pub const AGE: Column = text("Age", "Time since the object was created");
/// In the tables of kinds that have no columns of their own.
pub const CREATED_AT: Column = column("Created At", "date", "", "When the object was created", 0);
pub const CONTAINERS: Column = wide("Containers", "Names of the template's containers");
pub const IMAGES: Column = wide("Images", "Images of the template's containers");
pub const SELECTOR: Column = wide("Selector", "Labels of the pods that are meant");

pub const fn text(name: &'static str, description: &'static str) -> Column {
    column(name, "string", "", description, 0)
}
pub const fn integer(name: &'static str, description: &'static str) -> Column {
    column(name, "integer", "", description, 0)
}
pub const fn boolean(name: &'static str, description: &'static str) -> Column {
    column(name, "boolean", "", description, 0)
}
/// Shown with `-o wide` only.
pub const fn wide(name: &'static str, description: &'static str) -> Column {
    column(name, "string", "", description, 1)
}
pub const fn column(
    name: &'static str,
    kind: &'static str,
    format: &'static str,
    description: &'static str,
    priority: i32,
) -> Column {
    Column {
        name: Cow::Borrowed(name),
        kind: Cow::Borrowed(kind),
        format: Cow::Borrowed(format),
        description: Cow::Borrowed(description),
        priority,
    }
}

impl Cell {
    pub fn text(text: impl Into<Cow<'static, str>>) -> Self {
        Self::Text(text.into())
    }
    /// The text, or `otherwise` for none or an empty one.
    pub fn text_or(text: Option<&str>, otherwise: &'static str) -> Self {
        match text {
            Some(text) if !text.is_empty() => Self::Text(text.to_owned().into()),
            _ => Self::Text(otherwise.into()),
        }
    }
    pub fn boolean(value: bool) -> Self {
        Self::text(if value { "true" } else { "false" })
    }
    pub fn count(n: usize) -> Self {
        Self::Int(i64::try_from(n).unwrap_or(i64::MAX))
    }
}

pub fn name(meta: &ObjectMeta) -> Cell {
    Cell::text_or(meta.name.as_deref(), "")
}
pub fn age(meta: &ObjectMeta, now_secs: i64) -> Cell {
    since(meta.creation_timestamp.as_ref(), now_secs)
}
/// The cell of [`CREATED_AT`]: RFC 3339.
pub fn created_at(meta: &ObjectMeta) -> Cell {
    meta.creation_timestamp.as_ref().map_or(Cell::Null, |time| Cell::text(time.0.to_string()))
}
pub fn since(time: Option<&Time>, now_secs: i64) -> Cell {
    Cell::text(age_of(time.map(|t| t.0.as_second()), now_secs))
}
/// The age of a Unix time; `<unknown>` where there is none.
pub fn age_of(at_secs: Option<i64>, now_secs: i64) -> Cow<'static, str> {
    at_secs.map_or(UNKNOWN.into(), |at| human_duration(now_secs - at).into())
}

/// `59s`, `3m20s`, `5h`, `2d3h`, `400d`, …: two units while the smaller one still matters.
pub fn human_duration(secs: i64) -> String {
    let two = |big: i64, big_unit: &str, small: i64, small_unit: &str| match small {
        0 => format!("{big}{big_unit}"),
        _ => format!("{big}{big_unit}{small}{small_unit}"),
    };
    let (minutes, hours, days) = (secs / 60, secs / 3600, secs / 86400);
    match secs {
        ..-1 => "<invalid>".into(),
        -1 => "0s".into(),
        0..120 => format!("{secs}s"),
        120..600 => two(minutes, "m", secs % 60, "s"),
        600..10_800 => format!("{minutes}m"),
        10_800..28_800 => two(hours, "h", minutes % 60, "m"),
        28_800..172_800 => format!("{hours}h"),
        172_800..691_200 => two(days, "d", hours % 24, "h"),
        691_200..63_072_000 => format!("{days}d"),
        63_072_000..252_288_000 => two(days / 365, "y", days % 365, "d"),
        _ => format!("{}y", days / 365),
    }
}

/// `a=b,c=d`, or `<none>`.
pub fn labels(labels: Option<&BTreeMap<String, String>>) -> Cell {
    let text: Vec<String> = labels.into_iter().flatten().map(|(k, v)| format!("{k}={v}")).collect();
    Cell::text(if text.is_empty() { NONE.into() } else { text.join(",") })
}

/// The first few items, and how many more there are; `empty` if there is none.
pub fn cut_list(items: impl Iterator<Item = String>, empty: &'static str) -> Cell {
    let items: Vec<String> = items.collect();
    match items.len() {
        0 => Cell::text(empty),
        n if n > SHOWN_ITEMS_MAX => {
            Cell::text(format!("{} + {} more...", items[..SHOWN_ITEMS_MAX].join(","), n - SHOWN_ITEMS_MAX))
        }
        _ => Cell::text(items.join(",")),
    }
}

/// The cells of [`CONTAINERS`] and [`IMAGES`].
pub fn containers_and_images(spec: Option<&PodSpec>) -> [Cell; 2] {
    let containers = || spec.into_iter().flat_map(|s| &s.containers);
    let names: Vec<&str> = containers().map(|c| c.name.as_str()).collect();
    let images: Vec<&str> = containers().map(|c| c.image.as_deref().unwrap_or_default()).collect();
    [Cell::text(names.join(",")), Cell::text(images.join(","))]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_read_as_kubectl_users_know_them() {
        let cases = [
            (-5, "<invalid>"),
            (-1, "0s"),
            (0, "0s"),
            (119, "119s"),
            (120, "2m"),
            (200, "3m20s"),
            (600, "10m"),
            (10_799, "179m"),
            (10_800, "3h"),
            (10_860, "3h1m"),
            (28_800, "8h"),
            (172_800, "2d"),
            (176_400, "2d1h"),
            (691_200, "8d"),
            (63_072_000, "2y"),
            (63_158_400, "2y1d"),
            (300_000_000, "9y"),
        ];
        for (secs, expected) in cases {
            assert_eq!(human_duration(secs), expected, "{secs}");
        }
    }

    #[test]
    fn long_lists_are_cut() {
        let list = |n: i32| cut_list((0..n).map(|i| i.to_string()), "<unset>");
        assert_eq!(list(0), Cell::text("<unset>"));
        assert_eq!(list(3), Cell::text("0,1,2"));
        assert_eq!(list(5), Cell::text("0,1,2 + 2 more..."));
    }
}

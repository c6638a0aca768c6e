//! Sets of a Job's indexes, as text: `0,2-4,9`.

/// In upstream's words.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum IndexError {
    #[error(
        "the fragment {0:?} violates the requirement that an index interval can have at most two parts separated by '-'"
    )]
    Parts(String),
    #[error("cannot convert string to integer for index: {0:?}")]
    NotANumber(String),
    #[error("too large index: {0:?}")]
    TooLarge(String),
    #[error("non-increasing order, previous: {previous}, current: {current}")]
    Order { previous: i64, current: i64 },
}

/// How many indexes there are. Each must be below `completions`, and above the one before.
pub(super) fn count(text: &str, completions: i32) -> Result<i64, IndexError> {
    let (mut total, mut before) = (0, None);
    if text.is_empty() {
        return Ok(total);
    }
    for interval in intervals(text, completions) {
        let (first, last) = interval?;
        if let Some(previous) = before.filter(|before| *before >= first) {
            return Err(IndexError::Order { previous, current: first });
        }
        total += last - first + 1;
        before = Some(last);
    }
    Ok(total)
}

/// The first index that is in both sets. What is malformed is skipped: [`count`] tells of it.
pub(super) fn overlap(one: &str, other: &str, completions: i32) -> Option<i64> {
    let good = |text| intervals(text, completions).filter_map(Result::ok).peekable();
    let (mut one, mut other) = (good(one), good(other));
    while let (Some((first, last)), Some((other_first, other_last))) = (one.peek(), other.peek()) {
        if first <= other_last && other_first <= last {
            return Some(*first.max(other_first));
        }
        if first <= other_first {
            one.next();
        } else {
            other.next();
        }
    }
    None
}

/// First and last index of each interval.
fn intervals(text: &str, completions: i32) -> impl Iterator<Item = Result<(i64, i64), IndexError>> {
    text.split(',').map(move |interval| {
        let Some((first, last)) = interval.split_once('-') else {
            return index(interval, completions).map(|only| (only, only));
        };
        if last.contains('-') {
            return Err(IndexError::Parts(interval.into()));
        }
        match (index(first, completions)?, index(last, completions)?) {
            (first, last) if first < last => Ok((first, last)),
            (previous, current) => Err(IndexError::Order { previous, current }),
        }
    })
}

fn index(text: &str, completions: i32) -> Result<i64, IndexError> {
    let index: i64 = text.parse().map_err(|_| IndexError::NotANumber(text.into()))?;
    if index >= i64::from(completions) {
        return Err(IndexError::TooLarge(text.into()));
    }
    Ok(index)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_are_counted_or_refused_in_upstreams_words() {
        let order = |previous, current| format!("non-increasing order, previous: {previous}, current: {current}");
        let cases: [(&str, Result<i64, String>); 12] = [
            ("", Ok(0)),
            ("0", Ok(1)),
            ("0,2-4,9", Ok(5)),
            ("+1,002", Ok(2)),
            ("10", Err(r#"too large index: "10""#.into())),
            ("3-10", Err(r#"too large index: "10""#.into())),
            ("a", Err(r#"cannot convert string to integer for index: "a""#.into())),
            ("1,", Err(r#"cannot convert string to integer for index: """#.into())),
            (
                "1-2-3",
                Err(r#"the fragment "1-2-3" violates the requirement that an index interval can have at most two parts separated by '-'"#.into()),
            ),
            ("3-3", Err(order(3, 3))),
            ("1,1", Err(order(1, 1))),
            ("2-4,3", Err(order(4, 3))),
        ];
        for (text, expected) in cases {
            assert_eq!(count(text, 10).map_err(|err| err.to_string()), expected, "{text:?}");
        }
    }

    #[test]
    fn the_first_common_index_is_found() {
        let cases = [
            ("", "", None),
            ("0-4", "5-9", None),
            ("0,2,4", "1,3,5", None),
            ("0,2-6", "1,5-9", Some(5)),
            ("3", "0-9", Some(3)),
            ("x,7", "6-7", Some(7)),
            ("7", "", None),
        ];
        for (one, other, expected) in cases {
            assert_eq!(overlap(one, other, 10), expected, "{one} and {other}");
            assert_eq!(overlap(other, one, 10), expected, "{other} and {one}");
        }
    }
}

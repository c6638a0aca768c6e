//! Sets of completion indexes, written as `0,2-4,9`.

use std::fmt;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Interval {
    first: i32,
    last: i32,
}

/// In order; no two intervals touch. Its size is that of its text, however many indexes there are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Indexes(Vec<Interval>);

impl Indexes {
    /// Indexes from `completions` on are left out, as is what is no number: the apiserver refuses both where users write.
    pub fn parse(text: &str, completions: i32) -> Self {
        let mut parsed = Self::default();
        for part in text.split(',') {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let (Ok(first), Ok(last)) = (first.parse::<i32>(), last.parse::<i32>()) else { continue };
            if first >= completions {
                break;
            }
            parsed.append(Interval { first, last: last.min(completions - 1) });
        }
        parsed
    }

    /// `indexes` in any order.
    pub fn of(indexes: impl IntoIterator<Item = i32>) -> Self {
        let mut sorted: Vec<i32> = indexes.into_iter().collect();
        sorted.sort_unstable();
        let mut set = Self::default();
        sorted.into_iter().for_each(|index| set.append(Interval { first: index, last: index }));
        set
    }

    #[must_use]
    pub fn union(&self, other: &Self) -> Self {
        let mut all: Vec<Interval> = self.0.iter().chain(&other.0).copied().collect();
        all.sort_unstable_by_key(|interval| interval.first);
        let mut union = Self::default();
        all.into_iter().for_each(|interval| union.append(interval));
        union
    }

    /// The last interval grows where the new one touches it. `next` begins no earlier than it.
    fn append(&mut self, next: Interval) {
        match self.0.last_mut() {
            Some(last) if next.first <= last.last.saturating_add(1) => last.last = last.last.max(next.last),
            _ => self.0.push(next),
        }
    }

    pub fn total(&self) -> i32 {
        self.0.iter().map(|interval| interval.last - interval.first + 1).sum()
    }
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
    pub fn has(&self, index: i32) -> bool {
        let at = self.0.partition_point(|interval| interval.last < index);
        self.0.get(at).is_some_and(|interval| interval.first <= index)
    }

    /// How many indexes are in both.
    pub fn common(&self, other: &Self) -> i32 {
        let (mut one, mut two, mut common) = (self.0.iter().peekable(), other.0.iter().peekable(), 0);
        while let (Some(a), Some(b)) = (one.peek(), two.peek()) {
            common += (a.last.min(b.last) - a.first.max(b.first) + 1).max(0);
            if a.last <= b.last {
                one.next();
            } else {
                two.next();
            }
        }
        common
    }

    /// The first `count` indexes below `completions` that are not in the set.
    pub fn first_missing(&self, count: usize, completions: i32) -> Vec<i32> {
        let mut missing = Vec::new();
        let mut candidate = 0;
        let end = Interval { first: completions, last: completions };
        for taken in self.0.iter().chain([&end]) {
            let free = candidate..taken.first.min(completions);
            missing.extend(free.take(count - missing.len()));
            candidate = candidate.max(taken.last.saturating_add(1));
        }
        missing
    }
}

impl fmt::Display for Indexes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, Interval { first, last }) in self.0.iter().enumerate() {
            let comma = if n > 0 { "," } else { "" };
            match last - first {
                0 => write!(f, "{comma}{first}")?,
                1 => write!(f, "{comma}{first},{last}")?,
                _ => write!(f, "{comma}{first}-{last}")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_table() {
        for (text, completions, expected, total) in [
            ("", 10, "", 0),
            ("0", 10, "0", 1),
            ("0,1", 10, "0,1", 2),
            ("0,1,2", 10, "0-2", 3),
            ("1-3,4,7", 10, "1-4,7", 5),
            ("1,3-8", 6, "1,3-5", 4),
            ("1,8-9,3", 6, "1", 1),
            ("x,2,3-y,5", 10, "2,5", 2),
        ] {
            let parsed = Indexes::parse(text, completions);
            assert_eq!((parsed.to_string().as_str(), parsed.total()), (expected, total), "{text}");
        }
    }

    #[test]
    fn sets_table() {
        let set = |text: &str| Indexes::parse(text, 100);
        for (one, other, union, common) in [
            ("", "", "", 0),
            ("0-3", "", "0-3", 0),
            ("0-3", "2-5", "0-5", 2),
            ("0,4", "1-3", "0-4", 0),
            ("0-9", "2,4,6-7", "0-9", 4),
            ("1,5", "0,9", "0,1,5,9", 0),
        ] {
            for (a, b) in [(one, other), (other, one)] {
                assert_eq!(set(a).union(&set(b)).to_string(), union, "{a} and {b}");
                assert_eq!(set(a).common(&set(b)), common, "{a} and {b}");
            }
        }
        let some = set("1,3-5,9");
        let members: Vec<i32> = (0..12).filter(|index| some.has(*index)).collect();
        assert_eq!(members, [1, 3, 4, 5, 9]);
        assert_eq!(Indexes::of([5, 3, 9, 1, 4, 4]), some);
    }

    #[test]
    fn missing_table() {
        for (taken, count, completions, expected) in [
            ("", 3, 5, vec![0, 1, 2]),
            ("0-1,3", 3, 6, vec![2, 4, 5]),
            ("0-1,3", 9, 5, vec![2, 4]),
            ("0-4", 2, 5, vec![]),
            ("2-7", 0, 9, vec![]),
            ("6-8", 9, 4, vec![0, 1, 2, 3]),
        ] {
            assert_eq!(Indexes::parse(taken, 100).first_missing(count, completions), expected, "{taken}");
        }
    }
}

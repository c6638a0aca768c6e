//! Patterns as Go reads them, matched in linear time and within bounds of memory.
//!
//! - [`Judge`]: whether a definition's patterns are some, and not too many or too large, which is asked when it is written. One that
//!   upstream takes and that is too large here is refused then: accepted, it would let through, or refuse, all values
//! - [`Pattern`]: one of a schema that is served. It is compiled when a value is matched first, and kept in a cache that all schemas
//!   share; of those that are in no use the oldest go.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use corten_cel::re2::translated;
use regex::{Regex, RegexBuilder};

/// Of one: each `\pL` of it becomes some hundred ranges before its size is known.
const TEXT_BYTES_MAX: usize = 8 * 1024;
/// What one may take when it is compiled: its size is the first that is enough.
const SIZES_BYTES: [usize; 5] = [8 * 1024, 32 * 1024, 128 * 1024, 512 * 1024, SIZE_BYTES_MAX];
const SIZE_BYTES_MAX: usize = 1024 * 1024;
/// What is built while matching, for each direction, is as large as the pattern, but for small ones.
const MATCHING_BYTES_MIN: usize = 16 * 1024;
/// Bytes of a pattern that make matching a byte one step dearer.
const STEP_BYTES: usize = 4 * 1024;
/// Bytes of a pattern that are compiled in one step.
const COMPILE_BYTES: usize = 64;
/// Different patterns in one definition. Large ones have some dozens.
const MAX_PATTERNS: usize = 256;
/// Of all patterns of one definition, compiled.
const DEFINITION_BYTES_MAX: usize = 32 * 1024 * 1024;
/// Of all patterns that are kept compiled.
const PROCESS_BYTES_MAX: usize = 64 * 1024 * 1024;

static CACHE: LazyLock<Mutex<Cache>> = LazyLock::new(|| Mutex::new(Cache::new(PROCESS_BYTES_MAX)));

/// One of a schema.
#[derive(Debug)]
pub(super) struct Pattern {
    text: Arc<str>,
}

impl Pattern {
    pub(super) fn new(text: &str) -> Self {
        Self { text: text.into() }
    }
    /// As its author wrote it.
    pub(super) fn text(&self) -> &str {
        &self.text
    }
    /// What it is matched with, and how many steps of work it took to get it. Fails with why it is no pattern, which was told when
    /// its definition was written.
    pub(super) fn compiled(&self) -> (Result<Arc<Compiled>, String>, usize) {
        let lock = || CACHE.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = lock().known.get(&self.text) {
            return (Ok(known.clone()), 1);
        }
        match Compiled::of(&self.text) {
            Ok(compiled) => {
                let (steps, compiled) = (compiled.size_bytes / COMPILE_BYTES, Arc::new(compiled));
                lock().put(self.text.clone(), compiled.clone());
                (Ok(compiled), steps)
            }
            Err(why) => (Err(why), SIZE_BYTES_MAX / COMPILE_BYTES),
        }
    }
}

#[derive(Debug)]
pub(super) struct Compiled {
    regex: Regex,
    size_bytes: usize,
}

impl Compiled {
    fn of(text: &str) -> Result<Self, String> {
        if text.len() > TEXT_BYTES_MAX {
            return Err(format!("it is longer than {TEXT_BYTES_MAX} bytes"));
        }
        let ours = translated(text)?;
        for size_bytes in SIZES_BYTES {
            let mut builder = RegexBuilder::new(&ours);
            builder.size_limit(size_bytes).dfa_size_limit(size_bytes.max(MATCHING_BYTES_MIN));
            match builder.build() {
                Ok(regex) => return Ok(Self { regex, size_bytes }),
                Err(regex::Error::CompiledTooBig(_)) => {}
                Err(regex::Error::Syntax(why)) => {
                    return Err(why.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned());
                }
                Err(other) => return Err(other.to_string()),
            }
        }
        Err(format!("it takes more than {SIZE_BYTES_MAX} bytes"))
    }
    /// What it takes with all that is built while it is matched.
    fn bytes(&self) -> usize {
        2 * self.size_bytes + 2 * self.size_bytes.max(MATCHING_BYTES_MIN)
    }
    /// Steps of work that matching a text takes at most.
    pub(super) fn steps(&self, text: &str) -> usize {
        text.len().saturating_mul((self.size_bytes / STEP_BYTES).max(1))
    }
    /// Whether it is found anywhere in a text.
    pub(super) fn matches(&self, text: &str) -> bool {
        self.regex.is_match(text)
    }
}

/// Compiled patterns. The oldest go.
struct Cache {
    known: HashMap<Arc<str>, Arc<Compiled>>,
    oldest_first: VecDeque<Arc<str>>,
    bytes: usize,
    bytes_max: usize,
}

impl Cache {
    fn new(bytes_max: usize) -> Self {
        Self { known: HashMap::new(), oldest_first: VecDeque::new(), bytes: 0, bytes_max }
    }
    fn put(&mut self, text: Arc<str>, compiled: Arc<Compiled>) {
        // Two that match at the same time may both have compiled it.
        if self.known.contains_key(&text) {
            return;
        }
        self.bytes += compiled.bytes();
        self.oldest_first.push_back(text.clone());
        self.known.insert(text, compiled);
        while self.bytes > self.bytes_max
            && let Some(oldest) = self.oldest_first.pop_front()
        {
            self.bytes -= self.known.remove(&oldest).map_or(0, |gone| gone.bytes());
        }
    }
}

/// Judges the patterns of one definition, in all its versions: each text once, and none beyond what a definition may have.
#[derive(Default)]
pub struct Judge {
    judged: HashMap<String, Result<(), String>>,
    bytes: usize,
    is_over: bool,
}

/// Why a pattern is refused.
pub(super) enum Refused {
    /// It is none.
    Flaw(String),
    /// There are too many, or they are too large. Said once.
    Bound(String),
    /// That has been said.
    Again,
}

impl Judge {
    pub(super) fn judge(&mut self, text: &str) -> Result<(), Refused> {
        if let Some(known) = self.judged.get(text) {
            return known.clone().map_err(Refused::Flaw);
        }
        if self.is_over {
            return Err(Refused::Again);
        }
        if self.judged.len() == MAX_PATTERNS {
            self.is_over = true;
            return Err(Refused::Bound(format!("a definition has at most {MAX_PATTERNS} different patterns")));
        }
        let compiled = Compiled::of(text);
        self.bytes += compiled.as_ref().map_or(0, Compiled::bytes);
        let judged = compiled.map(|_| ());
        self.judged.insert(text.to_owned(), judged.clone());
        if self.bytes > DEFINITION_BYTES_MAX {
            self.is_over = true;
            return Err(Refused::Bound(format!(
                "all patterns of a definition take at most {DEFINITION_BYTES_MAX} bytes"
            )));
        }
        judged.map_err(Refused::Flaw)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_pattern_is_told_of() {
        for (pattern, why) in [
            ("(", "unclosed group"),
            ("[z-a]", "invalid character class range"),
            ("a**", "invalid nested repetition operator: `**`"),
            (r"(\pL{100}){10}", "bytes"),
            ("a".repeat(10_000).as_str(), "longer than"),
        ] {
            let told = Compiled::of(pattern).unwrap_err();
            assert!(told.contains(why), "{pattern}: {told}");
        }
        for good in ["(a{100}b){10}", "a{1000}|b{1000}", "(a{0}){1000}", "(?-i:a)"] {
            assert!(Compiled::of(good).is_ok(), "{good}");
        }
    }

    #[test]
    fn the_oldest_go_when_there_are_too_many() {
        let compiled = |text: &str| Arc::new(Compiled::of(text).unwrap());
        let each = compiled("^a$").bytes();
        let mut cache = Cache::new(3 * each);
        for text in ["a", "b", "a", "c", "d"] {
            cache.put(text.into(), compiled(text));
        }
        let mut known: Vec<&str> = cache.known.keys().map(|text| &**text).collect();
        known.sort_unstable();
        assert_eq!((known, cache.bytes, cache.oldest_first.len()), (vec!["b", "c", "d"], 3 * each, 3));
    }

    #[test]
    fn a_definition_is_judged_up_to_its_bounds() {
        let mut judge = Judge::default();
        let count = |judge: &mut Judge, texts: &mut dyn Iterator<Item = String>| {
            let (mut flaws, mut bounds, mut again) = (0, 0, 0);
            for text in texts {
                match judge.judge(&text) {
                    Ok(()) => {}
                    Err(Refused::Flaw(_)) => flaws += 1,
                    Err(Refused::Bound(_)) => bounds += 1,
                    Err(Refused::Again) => again += 1,
                }
            }
            (flaws, bounds, again)
        };
        let mut few = (0..3000).map(|n| format!("^{}$", n % 256));
        assert_eq!(count(&mut judge, &mut few), (0, 0, 0));
        assert_eq!(count(&mut judge, &mut (0..300).map(|n| format!("({n}"))), (0, 1, 299));
        let mut judge = Judge::default();
        let mut large = (0..100).map(|n| format!(r"{n}\pL{{15}}"));
        let (_, bounds, again) = count(&mut judge, &mut large);
        assert!(bounds == 1 && again > 20, "{bounds} {again}");
    }
}

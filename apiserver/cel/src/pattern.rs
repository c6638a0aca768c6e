//! Regular expressions: RE2's syntax ([`re2`](crate::re2)), matched in time that is linear in the text, and within bounds of memory.

use std::collections::BTreeMap;
use std::sync::Arc;

use regex::{Regex, RegexBuilder};

use crate::error::EvalError;
use crate::re2::translated;

/// Patterns that stand in an expression, by their text.
pub(crate) type Compiled = BTreeMap<Arc<str>, Regex>;

/// Of all compiled patterns that stand in an expression, in bytes.
const LITERALS_MAX: usize = 2 * 1024 * 1024;
/// Of one that an evaluation makes, maybe many times.
const DYNAMIC_BYTES_MAX: usize = 256 * 1024;
/// How long such a one may be.
const DYNAMIC_LENGTH_MAX: usize = 16 * 1024;
/// Compiling is tried with so much, and then twice as much, up to the bound: so it is known what a pattern takes.
const BYTES_MIN: usize = 16 * 1024;
/// How much is compiled in the time of a step.
const BYTES_PER_STEP: usize = 2;
/// Of what the matcher remembers between texts.
const CACHE_BYTES_MAX: usize = 512 * 1024;
const NESTING_MAX: u32 = 200;

/// The patterns that stand in an expression, compiled.
#[derive(Debug)]
pub(crate) struct Literals {
    made: Compiled,
    bytes_left: usize,
}

impl Default for Literals {
    fn default() -> Self {
        Self { made: BTreeMap::new(), bytes_left: LITERALS_MAX }
    }
}

impl Literals {
    pub(crate) fn compile(&mut self, pattern: &Arc<str>) -> Result<(), EvalError> {
        if !self.made.contains_key(pattern) {
            let (regex, bytes) = sized(pattern, self.bytes_left)?;
            self.bytes_left = self.bytes_left.saturating_sub(bytes);
            self.made.insert(pattern.clone(), regex);
        }
        Ok(())
    }
    pub(crate) fn into_made(self) -> Compiled {
        self.made
    }
}

/// Of a pattern that an evaluation has made, with how many steps it took to compile it, or to find that it cannot be.
pub(crate) fn compile_dynamic(pattern: &str) -> (Result<Regex, EvalError>, usize) {
    if pattern.len() > DYNAMIC_LENGTH_MAX {
        let why = format!("expression has more than {DYNAMIC_LENGTH_MAX} bytes");
        return (Err(EvalError::Regex(why)), 0);
    }
    match sized(pattern, DYNAMIC_BYTES_MAX) {
        Ok((regex, bytes)) => (Ok(regex), bytes / BYTES_PER_STEP),
        Err(e) => (Err(e), DYNAMIC_BYTES_MAX / BYTES_PER_STEP),
    }
}

/// With how many bytes it takes at most.
fn sized(pattern: &str, most: usize) -> Result<(Regex, usize), EvalError> {
    let translated = translated(pattern).map_err(EvalError::Regex)?;
    let mut bytes = BYTES_MIN.max(pattern.len()).min(most);
    loop {
        let mut builder = RegexBuilder::new(&translated);
        let built = builder.size_limit(bytes).dfa_size_limit(CACHE_BYTES_MAX).nest_limit(NESTING_MAX).build();
        match built {
            Ok(regex) => return Ok((regex, bytes)),
            Err(regex::Error::CompiledTooBig(_)) if bytes < most => bytes = bytes.saturating_mul(2).min(most),
            Err(regex::Error::CompiledTooBig(_)) => return Err(EvalError::Regex("expression too large".into())),
            Err(e) => return Err(EvalError::Regex(e.to_string())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compile(pattern: &str) -> Result<Regex, EvalError> {
        sized(pattern, LITERALS_MAX).map(|(regex, _)| regex)
    }

    #[test]
    fn what_would_be_large_is_refused() {
        for pattern in ["(((a{30}){30}){30}){30}", "(", "a**b(", "\\p{Greek}{1000}{100}"] {
            assert!(compile(pattern).is_err(), "{pattern}");
        }
        assert!(compile(&"(".repeat(100_000)).is_err());
    }

    #[test]
    fn patterns_of_an_expression_have_one_bound_together() {
        let mut literals = Literals::default();
        let pattern = |i: u32| Arc::from(format!(".{{{}}}", 900 + i));
        let compiled = (0..100).filter(|i| literals.compile(&pattern(*i)).is_ok()).count();
        assert!((2..20).contains(&compiled), "{compiled}");
        assert!(literals.compile(&pattern(0)).is_ok(), "it is there already");
    }
}

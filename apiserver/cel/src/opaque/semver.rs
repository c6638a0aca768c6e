//! Semantic versions, in the order that <https://semver.org> gives them.

/// What is built of it does not count.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Semver {
    pub(crate) numbers: [u64; 3],
    pre: Pre,
}

/// A release comes after all that is before it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Pre {
    Before(Vec<Part>),
    Release,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Part {
    Number(u64),
    Text(String),
}

impl Semver {
    /// What it takes in memory, about.
    pub(crate) fn bytes(&self) -> usize {
        match &self.pre {
            Pre::Before(parts) => parts.len() * size_of::<Part>(),
            Pre::Release => 0,
        }
    }
}

pub(crate) fn read(text: &str, normalize: bool) -> Result<Semver, String> {
    if normalize { parse(&normalized(text)?) } else { parse(text) }
}

/// Without `v` and leading zeros, and with all three numbers.
fn normalized(text: &str) -> Result<String, String> {
    let text = text.strip_prefix('v').unwrap_or(text);
    let mut parts: Vec<String> = text.splitn(3, '.').map(str::to_owned).collect();
    for part in &mut parts {
        if part.len() > 1 {
            let kept = part.trim_start_matches('0');
            let needs_zero = !kept.starts_with(|c: char| c.is_ascii_digit());
            *part = format!("{}{kept}", if needs_zero { "0" } else { "" });
        }
    }
    if parts.len() < 3 {
        if parts.last().is_some_and(|last| last.contains(['+', '-'])) {
            return Err("short version cannot contain PreRelease/Build meta data".into());
        }
        parts.resize(3, "0".into());
    }
    Ok(parts.join("."))
}

pub(crate) fn parse(text: &str) -> Result<Semver, String> {
    if text.is_empty() {
        return Err("Version string empty".into());
    }
    let mut parts = text.splitn(3, '.');
    let (Some(major), Some(minor), Some(rest)) = (parts.next(), parts.next(), parts.next()) else {
        return Err("No Major.Minor.Patch elements found".into());
    };
    let (rest, build) = rest.split_once('+').map_or((rest, None), |(rest, build)| (rest, Some(build)));
    let (patch, pre) = rest.split_once('-').map_or((rest, None), |(patch, pre)| (patch, Some(pre)));
    let numbers = [number("Major", major)?, number("Minor", minor)?, number("Patch", patch)?];
    if let Some(bad) = build.into_iter().flat_map(|build| build.split('.')).find(|part| !is_part(part)) {
        return Err(if bad.is_empty() {
            "Build meta data is empty".into()
        } else {
            format!("Invalid character(s) found in build meta data {bad:?}")
        });
    }
    let pre = match pre {
        Some(pre) => Pre::Before(pre.split('.').map(pre_part).collect::<Result<_, _>>()?),
        None => Pre::Release,
    };
    Ok(Semver { numbers, pre })
}

fn number(which: &str, text: &str) -> Result<u64, String> {
    if text.is_empty() || !text.bytes().all(|b| b.is_ascii_digit()) {
        return Err(format!("Invalid character(s) found in {} number {text:?}", which.to_lowercase()));
    }
    if text.len() > 1 && text.starts_with('0') {
        return Err(format!("{which} number must not contain leading zeroes {text:?}"));
    }
    text.parse().map_err(|_| format!("strconv.ParseUint: parsing {text:?}: value out of range"))
}

fn is_part(part: &str) -> bool {
    !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
}

fn pre_part(part: &str) -> Result<Part, String> {
    if part.is_empty() {
        return Err("Prerelease is empty".into());
    }
    if part.bytes().all(|b| b.is_ascii_digit()) {
        if part.len() > 1 && part.starts_with('0') {
            return Err(format!("Numeric PreRelease version must not contain leading zeroes {part:?}"));
        }
        return part
            .parse()
            .map(Part::Number)
            .map_err(|_| format!("strconv.ParseUint: parsing {part:?}: value out of range"));
    }
    if !is_part(part) {
        return Err(format!("Invalid character(s) found in prerelease {part:?}"));
    }
    Ok(Part::Text(part.into()))
}

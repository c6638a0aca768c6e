//! Image references: `nginx` means `docker.io/library/nginx:latest`. Pure.
//!
//! Grammar: <https://github.com/distribution/reference>.

use std::fmt;

/// A full reference. Prints as `registry/path:tag` or `registry/path@digest`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Reference {
    /// Host, with port if any: `docker.io`, `localhost:5000`.
    pub registry: String,
    /// `library/nginx`.
    pub path: String,
    /// Left out where only a digest was given.
    pub tag: Option<String>,
    /// `sha256:…`; wins over the tag.
    pub digest: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid reference format: {0}")]
pub struct Invalid(&'static str);

const NAME_MAX: usize = 255;
const TAG_MAX: usize = 128;
const SHA256_HEX: usize = 64;

impl Reference {
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        let (named, digest) = match text.split_once('@') {
            Some((named, digest)) => (named, Some(checked_digest(digest)?)),
            None => (text, None),
        };
        // A colon after the last slash starts the tag; one before it belongs to the registry's port.
        let name_end = named.rfind('/').map_or(0, |slash| slash + 1);
        let (name, tag) = match named[name_end..].split_once(':') {
            Some((last, tag)) => (&named[..name_end + last.len()], Some(checked_tag(tag)?)),
            None => (named, None),
        };
        let (registry, path) = match name.split_once('/') {
            Some((first, rest)) if first.contains(['.', ':']) || first == "localhost" => (first, rest.to_owned()),
            Some(_) => ("docker.io", name.to_owned()),
            None => ("docker.io", format!("library/{name}")),
        };
        let registry = if registry == "index.docker.io" { "docker.io" } else { registry };
        let path = if registry == "docker.io" && !path.contains('/') { format!("library/{path}") } else { path };
        check_registry(registry)?;
        check_path(&path)?;
        if name.is_empty() {
            return Err(Invalid("the name is empty"));
        }
        if registry.len() + path.len() >= NAME_MAX {
            return Err(Invalid("the name is longer than 255 characters"));
        }
        let tag = match (tag, &digest) {
            (None, None) => Some("latest".to_owned()),
            (tag, _) => tag,
        };
        Ok(Self { registry: registry.into(), path, tag, digest })
    }

    /// Without tag and digest.
    pub fn repository(&self) -> String {
        format!("{}/{}", self.registry, self.path)
    }
    /// What to ask the registry for.
    pub fn version(&self) -> &str {
        self.digest.as_deref().or(self.tag.as_deref()).unwrap_or("latest")
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.registry, self.path)?;
        match (&self.digest, &self.tag) {
            (Some(digest), _) => write!(f, "@{digest}"),
            (None, Some(tag)) => write!(f, ":{tag}"),
            (None, None) => Ok(()),
        }
    }
}

pub(super) fn checked_digest(digest: &str) -> Result<String, Invalid> {
    let hex = digest.strip_prefix("sha256:").ok_or(Invalid("only sha256 digests are known"))?;
    let good = hex.len() == SHA256_HEX && hex.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    if good { Ok(digest.into()) } else { Err(Invalid("a sha256 digest has 64 lower-case hex digits")) }
}

fn checked_tag(tag: &str) -> Result<String, Invalid> {
    let good = (1..=TAG_MAX).contains(&tag.len())
        && !tag.starts_with(['.', '-'])
        && tag.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-'));
    if good { Ok(tag.into()) } else { Err(Invalid("a tag has letters, digits, '_', '.' and '-', at most 128")) }
}

fn check_registry(registry: &str) -> Result<(), Invalid> {
    let (host, port) = registry.split_once(':').unwrap_or((registry, "0"));
    let label = |l: &str| {
        !l.is_empty()
            && !l.starts_with('-')
            && !l.ends_with('-')
            && l.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
    };
    if host.split('.').all(label) && port.parse::<u16>().is_ok() {
        Ok(())
    } else {
        Err(Invalid("the registry is not a host name"))
    }
}

fn check_path(path: &str) -> Result<(), Invalid> {
    let part = |part: &str| {
        let edge = |c: Option<char>| c.is_some_and(|c| c.is_ascii_lowercase() || c.is_ascii_digit());
        edge(part.chars().next())
            && edge(part.chars().last())
            && part.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'.' | b'-'))
            && !part.contains("..")
            && !part.contains("___")
    };
    if path.split('/').all(part) { Ok(()) } else { Err(Invalid("repository name must be lowercase")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_made_full() {
        let digest = format!("sha256:{}", "a".repeat(64));
        let cases = [
            ("short name", "nginx".to_owned(), "docker.io/library/nginx:latest".to_owned()),
            ("tag", "nginx:1.27".into(), "docker.io/library/nginx:1.27".into()),
            ("user", "team/app".into(), "docker.io/team/app:latest".into()),
            ("host", "reg.example/app:v1".into(), "reg.example/app:v1".into()),
            ("port", "localhost:5000/app".into(), "localhost:5000/app:latest".into()),
            ("old name of docker.io", "index.docker.io/nginx".into(), "docker.io/library/nginx:latest".into()),
            ("digest", format!("nginx@{digest}"), format!("docker.io/library/nginx@{digest}")),
            ("tag and digest", format!("nginx:1@{digest}"), format!("docker.io/library/nginx@{digest}")),
        ];
        for (why, text, expected) in cases {
            assert_eq!(Reference::parse(&text).unwrap().to_string(), expected, "{why}");
        }
    }

    #[test]
    fn bad_references_are_refused() {
        let long = "a".repeat(256);
        let cases = [
            "",
            "Nginx",
            "nginx:",
            "nginx:-x",
            "a//b",
            "/nginx",
            "nginx@sha256:abc",
            "nginx@md5:abc",
            "-x.y/z",
            "a b",
            "x:99999/y",
            &long,
        ];
        for text in cases {
            assert!(Reference::parse(text).is_err(), "{text:?} must be refused");
        }
    }
}

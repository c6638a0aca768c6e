//! Which machine an image is for: the one of an index that this machine runs best. Pure.
//!
//! <https://github.com/opencontainers/image-spec/blob/main/image-index.md#image-index-property-descriptions>

use std::fmt;

use serde::Deserialize;

/// As images name it: Go's words for the architecture.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub(crate) struct Platform {
    #[serde(default)]
    pub(super) os: String,
    #[serde(default)]
    pub(super) architecture: String,
    #[serde(default)]
    pub(super) variant: String,
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        if self.variant.is_empty() { Ok(()) } else { write!(f, "/{}", self.variant) }
    }
}

impl Platform {
    /// The machine that this program was built for, which is the one it runs on.
    pub(crate) fn of_this_machine() -> Self {
        let (architecture, variant) = match std::env::consts::ARCH {
            "x86_64" => ("amd64", ""),
            "x86" => ("386", ""),
            "aarch64" => ("arm64", "v8"),
            "arm" => ("arm", "v7"),
            "powerpc64" if cfg!(target_endian = "little") => ("ppc64le", ""),
            "powerpc64" => ("ppc64", ""),
            other => (other, ""),
        };
        Self { os: "linux".into(), architecture: architecture.into(), variant: variant.into() }
    }

    /// Go's name for the architecture.
    pub(crate) fn architecture(&self) -> &str {
        &self.architecture
    }

    /// How far an image for `image` is from what this machine runs best; `None`: it does not run here.
    fn distance(&self, image: &Self) -> Option<u32> {
        if image.os != self.os || image.architecture != self.architecture {
            return None;
        }
        let (ours, theirs) = (self.level(), image.level());
        ours.checked_sub(theirs)
    }

    /// The number in the variant. What is left out is the first of amd64, and what every machine of the others has.
    fn level(&self) -> u32 {
        let given = self.variant.strip_prefix('v').and_then(|n| n.parse().ok());
        given.unwrap_or(match self.architecture.as_str() {
            "amd64" => 1,
            "arm64" => 8,
            "arm" => 7,
            _ => 0,
        })
    }

    /// Whether an image with this in its config runs here. Old builders leave it out: such an image is let through.
    pub(super) fn runs(&self, image: &Self) -> bool {
        image.architecture.is_empty() || self.distance(image).is_some()
    }

    /// The place of the one that fits best; of several that fit alike the first.
    pub(super) fn choose<'a>(&self, offered: impl Iterator<Item = Option<&'a Self>>) -> Option<usize> {
        let fitting = offered.enumerate().filter_map(|(at, platform)| Some((self.distance(platform?)?, at)));
        fitting.min().map(|(_, at)| at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn platform(text: &str) -> Platform {
        let mut parts = text.split('/').map(str::to_owned);
        let mut next = || parts.next().unwrap_or_default();
        Platform { os: next(), architecture: next(), variant: next() }
    }

    #[test]
    fn the_image_for_this_machine_is_chosen() {
        let both = ["linux/amd64", "linux/arm64"];
        let many =
            ["unknown/unknown", "windows/amd64", "linux/arm/v6", "linux/arm/v7", "linux/arm64/v8", "linux/amd64"];
        let cases = [
            ("amd64 of both", "linux/amd64", &both[..], Some(0)),
            ("arm64 of both", "linux/arm64/v8", &both[..], Some(1)),
            ("neither", "linux/riscv64", &both[..], None),
            ("arm64 among many", "linux/arm64/v8", &many[..], Some(4)),
            ("amd64 among many", "linux/amd64", &many[..], Some(5)),
            ("the newest variant that runs", "linux/arm/v7", &many[..], Some(3)),
            ("an older variant, if there is no other", "linux/arm/v7", &["linux/arm/v6"][..], Some(0)),
            ("no newer one", "linux/arm/v6", &["linux/arm/v7"][..], None),
            (
                "an amd64 with more than this machine has",
                "linux/amd64",
                &["linux/amd64/v3", "linux/amd64"][..],
                Some(1),
            ),
            ("a newer arm64", "linux/arm64/v8", &["linux/arm64/v9"][..], None),
            ("of two alike the first", "linux/amd64", &["linux/amd64/v1", "linux/amd64"][..], Some(0)),
            ("none at all", "linux/amd64", &[][..], None),
        ];
        for (why, machine, offered, expected) in cases {
            let offered: Vec<Platform> = offered.iter().map(|text| platform(text)).collect();
            assert_eq!(platform(machine).choose(offered.iter().map(Some)), expected, "{why}");
        }
        assert_eq!(platform("linux/amd64").choose([None].into_iter()), None, "one that names no platform");
    }

    #[test]
    fn an_image_for_another_machine_is_not_run_here() {
        let machine = platform("linux/arm64/v8");
        let cases = [("linux/arm64", true), ("linux/arm64/v8", true), ("linux/amd64", false), ("", true)];
        for (image, expected) in cases {
            assert_eq!(machine.runs(&platform(image)), expected, "{image:?}");
        }
    }
}

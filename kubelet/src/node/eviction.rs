//! Below which amounts the node is under pressure, in the words of upstream's `--eviction-hard`.
//! <https://kubernetes.io/docs/concepts/scheduling-eviction/node-pressure-eviction/#hard-eviction-thresholds>

use std::str::FromStr;

use corten_api::quantity::Quantity;

/// Upstream's defaults, and that a twentieth of all process ids is free.
pub const DEFAULT: &str = "memory.available<100Mi,nodefs.available<10%,pid.available<5%";

/// What is not named is never scarce.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EvictionHard {
    pub memory: Threshold,
    pub disk: Threshold,
    pub pids: Threshold,
}

/// The least that has to be there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Threshold {
    /// Bytes, or process ids.
    Amount(u64),
    /// Of all.
    Percent(u64),
}

impl Default for Threshold {
    fn default() -> Self {
        Self::Amount(0)
    }
}

impl Threshold {
    /// Whether less than that is available of `all`.
    pub(super) fn is_crossed(self, available: u64, all: u64) -> bool {
        match self {
            Self::Amount(least) => available < least,
            Self::Percent(least) => u128::from(available) * 100 < u128::from(all) * u128::from(least),
        }
    }

    fn parse(text: &str) -> Result<Self, String> {
        if let Some(percent) = text.strip_suffix('%') {
            let percent: u64 = percent.parse().map_err(|_| format!("{text:?} is no whole number of percent"))?;
            return if percent < 100 {
                Ok(Self::Percent(percent))
            } else {
                Err(format!("{text} leaves nothing to use"))
            };
        }
        let amount = Quantity::parse(text).map_err(|err| format!("{text:?}: {err}"))?;
        u64::try_from(amount.units()).map(Self::Amount).map_err(|_| format!("{text} is negative"))
    }
}

impl FromStr for EvictionHard {
    type Err = String;

    /// `memory.available<100Mi,nodefs.available<10%`.
    fn from_str(text: &str) -> Result<Self, String> {
        let mut all = Self::default();
        for one in text.split(',').filter(|one| !one.is_empty()) {
            let (signal, least) = one.split_once('<').ok_or_else(|| format!("{one:?} is not SIGNAL<AMOUNT"))?;
            let least = Threshold::parse(least)?;
            match signal {
                "memory.available" => all.memory = least,
                "nodefs.available" => all.disk = least,
                "pid.available" => all.pids = least,
                _ => {
                    return Err(format!(
                        "{signal:?}: only memory.available, nodefs.available and pid.available are known"
                    ));
                }
            }
        }
        Ok(all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thresholds_are_read_as_upstream_writes_them() {
        let some = |memory, disk, pids| Ok(EvictionHard { memory, disk, pids });
        let (amount, percent, none) = (Threshold::Amount, Threshold::Percent, Threshold::default());
        let cases = [
            (DEFAULT, some(amount(100 << 20), percent(10), percent(5))),
            ("nodefs.available<1Gi", some(none, amount(1 << 30), none)),
            ("", some(none, none, none)),
            ("nodefs.available", Err("\"nodefs.available\" is not SIGNAL<AMOUNT".to_owned())),
            ("nodefs.available<100%", Err("100% leaves nothing to use".to_owned())),
            ("memory.available<-1", Err("-1 is negative".to_owned())),
            (
                "imagefs.available<15%",
                Err("\"imagefs.available\": only memory.available, nodefs.available and pid.available are known"
                    .to_owned()),
            ),
        ];
        for (text, expected) in cases {
            assert_eq!(text.parse(), expected, "{text}");
        }
        assert!("memory.available<much".parse::<EvictionHard>().unwrap_err().contains("much"));
    }

    #[test]
    fn a_threshold_is_crossed_below_it() {
        let cases = [
            (Threshold::Amount(10), 9, 100, true),
            (Threshold::Amount(10), 10, 100, false),
            (Threshold::Percent(10), 9, 100, true),
            (Threshold::Percent(10), 10, 100, false),
            (Threshold::Percent(10), u64::MAX / 20, u64::MAX, true),
            (Threshold::default(), 0, 100, false),
        ];
        for (threshold, available, all, expected) in cases {
            assert_eq!(threshold.is_crossed(available, all), expected, "{threshold:?} {available} of {all}");
        }
    }
}

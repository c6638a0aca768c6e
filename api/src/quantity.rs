//! Quantities such as `100m`, `1.5`, `128Mi`, `2e3`: parsed exactly, compared by value, printed canonically.
//!
//! Grammar: <https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/>.

use k8s_openapi::apimachinery::pkg::api::resource::Quantity as Wire;

/// Which family of suffixes a quantity was written in; it prints in the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// `k M G T P E` and `m u n`
    DecimalSi,
    /// `Ki Mi Gi Ti Pi Ei`
    BinarySi,
    /// `e3`
    DecimalExponent,
}

/// An exact amount in billionths; parsing rounds finer ones up, as upstream does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quantity {
    nanos: i128,
    format: Format,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'")]
pub struct ParseError;

const NANO: i128 = 1_000_000_000;
/// Amounts are cut off here, as upstream's are (2^63-1).
const MAX: i128 = i64::MAX as i128 * NANO;
const BINARY: &[(&str, u32)] = &[("Ki", 10), ("Mi", 20), ("Gi", 30), ("Ti", 40), ("Pi", 50), ("Ei", 60)];
const DECIMAL: &[(&str, i32)] =
    &[("n", -9), ("u", -6), ("m", -3), ("", 0), ("k", 3), ("M", 6), ("G", 9), ("T", 12), ("P", 15), ("E", 18)];

impl Quantity {
    pub fn parse(text: &str) -> Result<Self, ParseError> {
        let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
        let digits_end = unsigned.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(unsigned.len());
        let (number, suffix) = unsigned.split_at(digits_end);
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if fraction.contains('.') || (whole.is_empty() && fraction.is_empty()) {
            return Err(ParseError);
        }
        let (format, scale) = parse_suffix(suffix).ok_or(ParseError)?;
        let amount = scaled(whole, fraction, scale);
        let nanos = if text.starts_with('-') { -amount } else { amount };
        Ok(Self { nanos, format })
    }
    pub fn from_wire(q: &Wire) -> Result<Self, ParseError> {
        Self::parse(&q.0)
    }
    pub fn from_units(units: i64, format: Format) -> Self {
        Self { nanos: i128::from(units) * NANO, format }
    }
    pub fn from_millis(millis: i64) -> Self {
        Self { nanos: i128::from(millis) * (NANO / 1000), format: Format::DecimalSi }
    }
    /// Thousandths, rounded up: what cpu is counted in.
    pub fn millis(self) -> i64 {
        clamp(div_ceil(self.nanos, NANO / 1000))
    }
    /// Whole units, rounded up: bytes, pods, devices.
    pub fn units(self) -> i64 {
        clamp(div_ceil(self.nanos, NANO))
    }
    /// As near as a double comes.
    pub fn approximate(self) -> f64 {
        self.nanos as f64 / NANO as f64
    }
    pub fn is_negative(self) -> bool {
        self.nanos < 0
    }
    pub fn is_zero(self) -> bool {
        self.nanos == 0
    }
    pub fn is_whole(self) -> bool {
        self.nanos % NANO == 0
    }
    /// Thousandths are the finest that resource lists keep; what is finer is rounded up.
    #[must_use]
    pub fn up_to_millis(self) -> Self {
        const MILLI: i128 = NANO / 1000;
        Self { nanos: div_ceil(self.nanos, MILLI) * MILLI, ..self }
    }
    /// Whole units, rounded up.
    #[must_use]
    pub fn up_to_units(self) -> Self {
        Self { nanos: div_ceil(self.nanos, NANO) * NANO, ..self }
    }
    /// Whether it is as much, in whatever format.
    pub fn is_as_much_as(self, other: Self) -> bool {
        self.nanos == other.nanos
    }
    pub fn to_wire(self) -> Wire {
        Wire(self.to_string())
    }
    /// A sum reads as its first part does, unless that is zero.
    fn in_format_of(self, other: Self, nanos: i128) -> Self {
        let format = if self.is_zero() { other.format } else { self.format };
        Self { nanos: nanos.clamp(-MAX, MAX), format }
    }
}

/// Nothing at all.
impl Default for Quantity {
    fn default() -> Self {
        Self { nanos: 0, format: Format::DecimalSi }
    }
}

/// Cut off where parsing cuts off.
impl std::ops::Add for Quantity {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        self.in_format_of(other, self.nanos + other.nanos)
    }
}
impl std::ops::Sub for Quantity {
    type Output = Self;
    fn sub(self, other: Self) -> Self {
        self.in_format_of(other, self.nanos - other.nanos)
    }
}

impl PartialOrd for Quantity {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        self.nanos.partial_cmp(&other.nanos)
    }
}

/// The canonical form: the largest suffix that leaves no fraction.
impl std::fmt::Display for Quantity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.nanos == 0 {
            return f.write_str("0");
        }
        if self.format == Format::BinarySi && self.nanos % NANO == 0 && (self.nanos / NANO).abs() >= 1024 {
            let units = self.nanos / NANO;
            let best = BINARY.iter().rev().find(|(_, shift)| units % (1_i128 << shift) == 0);
            return match best {
                Some((suffix, shift)) => write!(f, "{}{suffix}", units >> shift),
                None => write!(f, "{units}"),
            };
        }
        let best = DECIMAL.iter().rev().find(|(_, exp)| self.nanos % pow10(exp + 9) == 0).unwrap_or(&DECIMAL[0]);
        let amount = self.nanos / pow10(best.1 + 9);
        match (self.format, best.1) {
            (Format::DecimalExponent, 0) | (_, 0) => write!(f, "{amount}"),
            (Format::DecimalExponent, exp) => write!(f, "{amount}e{exp}"),
            _ => write!(f, "{amount}{}", best.0),
        }
    }
}

enum Scale {
    Pow2(u32),
    Pow10(i32),
}

fn parse_suffix(suffix: &str) -> Option<(Format, Scale)> {
    if let Some((_, shift)) = BINARY.iter().find(|(s, _)| *s == suffix) {
        return Some((Format::BinarySi, Scale::Pow2(*shift)));
    }
    if let Some((_, exp)) = DECIMAL.iter().find(|(s, _)| *s == suffix) {
        return Some((Format::DecimalSi, Scale::Pow10(*exp)));
    }
    let exp: i32 = suffix.strip_prefix(['e', 'E'])?.parse().ok()?;
    Some((Format::DecimalExponent, Scale::Pow10(exp)))
}

/// `whole.fraction` at a scale, in nanos, rounded up and cut off at [`MAX`].
fn scaled(whole: &str, fraction: &str, scale: Scale) -> i128 {
    // 18 digits of fraction outlive any scale we know; the 19th only decides rounding up.
    let kept = &fraction[..fraction.len().min(18)];
    let lost = fraction[kept.len()..].bytes().any(|b| b != b'0');
    let Ok(mantissa) = format!("0{whole}{kept}").parse::<i128>() else { return MAX };
    if mantissa == 0 && !lost {
        return 0;
    }
    let places = i32::try_from(kept.len()).unwrap_or(18);
    let nanos = match scale {
        Scale::Pow2(shift) => mantissa
            .checked_mul(1_i128 << shift)
            .map(|n| if places <= 9 { n.saturating_mul(pow10(9 - places)) } else { div_ceil(n, pow10(places - 9)) }),
        Scale::Pow10(exp) => match exp.saturating_add(9).saturating_sub(places) {
            up @ 0..=38 => mantissa.checked_mul(pow10(up)),
            down if (-38..0).contains(&down) => Some(div_ceil(mantissa, pow10(-down))),
            down if down < 0 => Some(1),
            _ => None,
        },
    };
    nanos.map_or(MAX, |n| n.saturating_add(i128::from(lost))).min(MAX)
}

fn pow10(exp: i32) -> i128 {
    10_i128.pow(exp.unsigned_abs())
}
fn div_ceil(n: i128, by: i128) -> i128 {
    n.div_euclid(by) + i128::from(n.rem_euclid(by) != 0)
}
fn clamp(n: i128) -> i64 {
    i64::try_from(n).unwrap_or(if n < 0 { i64::MIN } else { i64::MAX })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parse_and_print_table() {
        let cases = [
            // written, millis, units (rounded up), canonical
            ("100m", 100, 1, "100m"),
            ("0.1", 100, 1, "100m"),
            ("1", 1000, 1, "1"),
            ("1.5", 1500, 2, "1500m"),
            ("2k", 2_000_000, 2000, "2k"),
            ("2000", 2_000_000, 2000, "2k"),
            ("1Ki", 1_024_000, 1024, "1Ki"),
            ("128Mi", 134_217_728_000, 134_217_728, "128Mi"),
            ("1024Mi", 1_073_741_824_000, 1_073_741_824, "1Gi"),
            ("0.5Gi", 536_870_912_000, 536_870_912, "512Mi"),
            ("1e3", 1_000_000, 1000, "1e3"),
            ("-5", -5000, -5, "-5"),
            ("1n", 1, 1, "1n"),
            ("1u", 1, 1, "1u"),
            ("1500u", 2, 1, "1500u"),
            ("0.0000000001", 1, 1, "1n"),
            ("0", 0, 0, "0"),
            ("0.00000000000000000001", 1, 1, "1n"),
            ("1.0000000000000000001", 1001, 2, "1000000001n"),
            ("0.0000000001Ki", 1, 1, "103n"),
            ("0.000000000000000001Ki", 1, 1, "1n"),
            ("-1.5", -1500, -1, "-1500m"),
            ("000000000000000000000000000000000000001", 1000, 1, "1"),
            ("123456789012345678901234567890123456", i64::MAX, i64::MAX, "9223372036854775807"),
            ("1e-40", 1, 1, "1e-9"),
            ("-99999999999E", i64::MIN, i64::MIN + 1, "-9223372036854775807"),
            ("1e-50", 1, 1, "1e-9"),
            ("0.000000000000000001e-2147483648", 1, 1, "1e-9"),
            ("1e40", i64::MAX, i64::MAX, "9223372036854775807"),
            ("1234567890123456789.000000000000000000", i64::MAX, 1_234_567_890_123_456_789, "1234567890123456789"),
            ("99999999999E", i64::MAX, i64::MAX, "9223372036854775807"),
            // As much as is reckoned with, and something is lost that rounds up.
            ("170141183460469231731.6873037158841057271G", i64::MAX, i64::MAX, "9223372036854775807"),
            ("-170141183460469231731.6873037158841057271G", i64::MIN, i64::MIN + 1, "-9223372036854775807"),
        ];
        for (text, millis, units, canonical) in cases {
            let q = Quantity::parse(text).unwrap();
            assert_eq!((q.millis(), q.units(), q.to_string().as_str()), (millis, units, canonical), "{text}");
        }
    }

    #[test]
    fn nonsense_is_refused() {
        for text in ["", "abc", "1.2.3", "1Zi", "Mi", "1 Mi", "1e", "--1", ".", "1mi", "1e99x"] {
            assert_eq!(Quantity::parse(text), Err(ParseError), "{text:?}");
        }
    }

    #[test]
    fn properties_table() {
        let cases = [
            // written, zero, negative, whole
            ("0", true, false, true),
            ("0Mi", true, false, true),
            ("1n", false, false, false),
            ("-1", false, true, true),
            ("1500m", false, false, false),
            ("1000m", false, false, true),
        ];
        for (text, zero, negative, whole) in cases {
            let q = Quantity::parse(text).unwrap();
            assert_eq!((q.is_zero(), q.is_negative(), q.is_whole()), (zero, negative, whole), "{text}");
        }
    }

    #[test]
    fn what_is_counted_reads_as_what_is_written() {
        for (made, written) in [
            (Quantity::from_units(3, Format::DecimalSi), "3"),
            (Quantity::from_units(2048, Format::BinarySi), "2Ki"),
            (Quantity::from_millis(1500), "1500m"),
            (Quantity::from_millis(-2000), "-2"),
        ] {
            assert_eq!(made, Quantity::parse(written).unwrap());
            assert_eq!(made.to_wire().0, written);
        }
    }

    #[test]
    fn order_is_by_value() {
        assert!(Quantity::parse("1Gi").unwrap() > Quantity::parse("1G").unwrap());
        assert!(Quantity::parse("100m").unwrap() < Quantity::parse("1").unwrap());
        assert!(Quantity::parse("1024").unwrap().is_as_much_as(Quantity::parse("1Ki").unwrap()));
    }

    #[test]
    fn sums_and_differences_read_as_their_first_part() {
        let cases = [
            ("1Gi", "1G", "2073741824", "73741824"),
            ("1Gi", "1Gi", "2Gi", "0"),
            ("0", "1Mi", "1Mi", "-1Mi"),
            ("100m", "1", "1100m", "-900m"),
            ("9223372036854775807", "1", "9223372036854775807", "9223372036854775806"),
            ("-9223372036854775807", "1", "-9223372036854775806", "-9223372036854775807"),
        ];
        for (a, b, sum, difference) in cases {
            let (a, b) = (Quantity::parse(a).unwrap(), Quantity::parse(b).unwrap());
            assert_eq!(((a + b).to_string(), (a - b).to_string()), (sum.to_owned(), difference.to_owned()), "{a} {b}");
        }
        assert_eq!(Quantity::default().to_string(), "0");
    }

    #[test]
    fn finer_amounts_are_rounded_up() {
        for (written, millis, units) in
            [("1500u", "2m", "1"), ("1.5", "1500m", "2"), ("-1500u", "-1m", "0"), ("1536", "1536", "1536")]
        {
            let q = Quantity::parse(written).unwrap();
            let rounded = (q.up_to_millis().to_string(), q.up_to_units().to_string());
            assert_eq!(rounded, (millis.to_owned(), units.to_owned()), "{written}");
        }
    }

    #[test]
    fn sums_read_as_their_first_part() {
        let cases = [
            ("1Gi", "1G", "2073741824"),
            ("1Gi", "1Gi", "2Gi"),
            ("0", "1Mi", "1Mi"),
            ("100m", "1", "1100m"),
            ("9223372036854775807", "1", "9223372036854775807"),
        ];
        for (a, b, sum) in cases {
            let (a, b) = (Quantity::parse(a).unwrap(), Quantity::parse(b).unwrap());
            assert_eq!((a + b).to_string(), sum, "{a} {b}");
        }
    }
}

//! Lists of quantities by resource name: how they are stored, checked, and reckoned with.

use std::collections::BTreeMap;
use std::fmt;

use corten_api::Problems;
pub use corten_api::pod::sums::{add, raise};
use corten_api::quantity::Quantity;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity as Wire;

use super::check;
use super::path::Path;

/// As the API has them.
pub type Wires = BTreeMap<String, Wire>;
/// As they are reckoned with.
pub type List = BTreeMap<String, Quantity>;

pub const NOT_POSITIVE: &str = "must be greater than zero";
const NOT_WHOLE: &str = "must be an integer";
/// Whole units up to here can be told in thousandths.
const MILLIS_UNITS_MAX: i64 = i64::MAX / 1000;

/// Quantities are stored as they print, `0.5` as `500m`, and no finer than thousandths. What does not parse is left for
/// validation to refuse.
pub fn canonical(list: Option<&mut Wires>) {
    for quantity in list.into_iter().flat_map(BTreeMap::values_mut) {
        if let Ok(parsed) = Quantity::from_wire(quantity) {
            *quantity = parsed.up_to_millis().to_wire();
        }
    }
}

/// What does not parse is left out: validation refuses it.
pub fn parsed(list: Option<&Wires>) -> List {
    let all = list.into_iter().flatten();
    all.filter_map(|(name, wire)| Some((name.clone(), Quantity::from_wire(wire).ok()?))).collect()
}

/// One of a list; `None` for one that is missing or does not parse.
pub fn get(list: Option<&Wires>, name: &str) -> Option<Quantity> {
    Quantity::from_wire(list?.get(name)?).ok()
}

/// One of a list as it prints; "0" where there is none.
pub fn shown(list: Option<&Wires>, name: &str) -> String {
    get(list, name).unwrap_or_default().to_string()
}

/// The quantity, or what is wrong with how it is written.
pub fn well_formed(problems: &mut Problems, at: &Path<'_>, wire: &Wire) -> Option<Quantity> {
    Quantity::from_wire(wire).map_err(|err| problems.invalid(at, &wire.0, &err.to_string())).ok()
}
pub fn all_well_formed(problems: &mut Problems, list: &Path<'_>, quantities: Option<&Wires>) {
    for (name, wire) in quantities.into_iter().flatten() {
        well_formed(problems, &list.key(name), wire);
    }
}
pub fn not_negative(problems: &mut Problems, at: &Path<'_>, quantity: Quantity) {
    if quantity.is_negative() {
        problems.invalid(at, quantity.to_wire(), check::NEGATIVE);
    }
}
pub fn positive(problems: &mut Problems, at: &Path<'_>, quantity: Quantity) {
    if quantity.is_negative() || quantity.is_zero() {
        problems.invalid(at, quantity.to_wire(), NOT_POSITIVE);
    }
}
/// Capacities and the like: `not_negative`, in older words.
pub fn basic(problems: &mut Problems, at: &Path<'_>, quantity: Quantity) {
    if quantity.units() < 0 {
        problems.invalid(at, quantity.units(), "must be a valid resource quantity");
    }
}
pub fn whole(problems: &mut Problems, at: &Path<'_>, quantity: Quantity) {
    if !quantity.is_whole() {
        problems.invalid(at, quantity.to_wire(), NOT_WHOLE);
    }
}

/// `a=1,b=2Gi`, in the order of the names.
pub fn text(list: &List) -> String {
    list.iter().map(|(name, amount)| format!("{name}={amount}")).collect::<Vec<_>>().join(",")
}

/// One amount by another, exact. Prints six places, as `%f` does.
#[derive(Clone, Copy, Debug)]
pub struct Ratio {
    over: i128,
    under: i128,
}

impl Ratio {
    /// `None`: nothing can be divided by zero, nor is there a ratio to less than that.
    pub fn of(over: Quantity, under: Quantity) -> Option<Self> {
        let fine = [over, under].iter().all(|q| q.units() <= MILLIS_UNITS_MAX);
        let [over, under] = [over, under].map(|q| i128::from(if fine { q.millis() } else { q.units() }));
        (under > 0).then_some(Self { over, under })
    }
    /// How it stands to a plain number.
    pub fn against(self, number: Quantity) -> std::cmp::Ordering {
        (self.over * 1000).cmp(&(i128::from(number.millis()) * self.under))
    }
}

impl fmt::Display for Ratio {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const PLACES: i128 = 1_000_000;
        let scaled = (self.over * PLACES + self.under / 2).div_euclid(self.under);
        let sign = if scaled < 0 { "-" } else { "" };
        write!(f, "{sign}{}.{:06}", scaled.abs() / PLACES, scaled.abs() % PLACES)
    }
}

#[cfg(test)]
mod tests {
    use std::cmp::Ordering;

    use super::*;

    fn q(text: &str) -> Quantity {
        Quantity::parse(text).unwrap()
    }
    fn list(pairs: &[(&str, &str)]) -> List {
        pairs.iter().map(|(name, amount)| ((*name).into(), q(amount))).collect()
    }

    #[test]
    fn lists_are_stored_as_they_print_and_no_finer_than_thousandths() {
        let mut wires: Wires = [("a", "0.5"), ("b", "1500u"), ("c", "lots"), ("d", "1024Mi")]
            .map(|(name, amount)| (name.to_owned(), Wire(amount.into())))
            .into();
        canonical(Some(&mut wires));
        let stored: Vec<&str> = wires.values().map(|wire| wire.0.as_str()).collect();
        assert_eq!(stored, ["500m", "2m", "lots", "1Gi"]);
        assert_eq!(parsed(Some(&wires)).len(), 3);
        assert_eq!(get(Some(&wires), "b"), Some(q("2m")));
    }

    #[test]
    fn sums_and_peaks() {
        let mut sum = list(&[("cpu", "1"), ("memory", "1Gi")]);
        add(&mut sum, &list(&[("cpu", "500m"), ("pods", "1")]));
        assert_eq!(text(&sum), "cpu=1500m,memory=1Gi,pods=1");
        raise(&mut sum, &list(&[("cpu", "1"), ("memory", "2Gi"), ("x/y", "3")]));
        assert_eq!(text(&sum), "cpu=1500m,memory=2Gi,pods=1,x/y=3");
    }

    #[test]
    fn ratios() {
        let cases = [
            ("2", "1", "2", Ordering::Equal, "2.000000"),
            ("1", "3", "300m", Ordering::Greater, "0.333333"),
            ("2", "3", "1", Ordering::Less, "0.666667"),
            ("16Ei", "8Ei", "1", Ordering::Equal, "1.000000"),
            ("10Pi", "5Pi", "2", Ordering::Equal, "2.000000"),
        ];
        for (over, under, number, expected, text) in cases {
            let ratio = Ratio::of(q(over), q(under)).unwrap();
            assert_eq!((ratio.against(q(number)), ratio.to_string().as_str()), (expected, text), "{over}/{under}");
        }
        assert!(Ratio::of(q("1"), q("0")).is_none() && Ratio::of(q("1"), q("-1")).is_none());
    }

    #[test]
    fn amounts_that_may_not_be() {
        type Check = fn(&mut Problems, &Path<'_>, Quantity);
        let found = |check: Check, amount: &str| {
            let mut problems = Problems::default();
            check(&mut problems, &Path::root("f"), q(amount));
            problems.causes().iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
        };
        let cases: [(Check, &str, &str); 8] = [
            (not_negative, "0", ""),
            (not_negative, "-1", r#"f: Invalid value: "-1": must be greater than or equal to 0"#),
            (positive, "1", ""),
            (positive, "0", r#"f: Invalid value: "0": must be greater than zero"#),
            (basic, "0", ""),
            (basic, "-5", "f: Invalid value: -5: must be a valid resource quantity"),
            (whole, "1000m", ""),
            (whole, "1500m", r#"f: Invalid value: "1500m": must be an integer"#),
        ];
        for (check, amount, expected) in cases {
            assert_eq!(found(check, amount), expected, "{amount}");
        }
    }
}

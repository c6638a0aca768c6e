//! What users write in selectors, quantities and names, tried with made-up texts.
#![allow(clippy::unwrap_used, reason = "what a test cannot do without fails it")]

use corten_api::quantity::Quantity;
use corten_api::selector::{FieldSelector, Labels, Selector};
use corten_api::{names, rollout};
use corten_fuzz::{Inputs, Random, run};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

fn text(inputs: &Inputs<'_>, random: &mut Random) -> String {
    String::from_utf8_lossy(&inputs.mutate(random)).into_owned()
}

#[test]
fn selectors_are_read_or_refused() {
    let inputs = Inputs {
        valid: &[b"a=b", b"a in (b,c),!d", b"x.y/z notin (1, 2),e", b"n>5,m<-3", b"metadata.name!=a,spec.nodeName=b"],
        tokens: &[b"in", b"notin", b"(", b")", b",", b"!", b"==", b"!=", b"\\,", b" ", b"9223372036854775808"],
    };
    let labels: Labels = [("a", "b"), ("n", "7")].map(|(k, v)| (k.to_owned(), v.to_owned())).into();
    run("selectors_are_read_or_refused", |random| {
        let text = text(&inputs, random);
        if let Ok(selector) = Selector::parse(&text) {
            let again = Selector::new(selector.requirements().to_vec());
            assert_eq!(selector.matches(&labels), again.matches(&labels), "{text:?}");
        }
        if let Ok(fields) = FieldSelector::parse(&text) {
            let _may_match = fields.matches_by(|_| Some("b"));
        }
    });
}

#[test]
fn quantities_keep_their_value_on_the_wire() {
    let inputs = Inputs {
        valid: &[b"0", b"1", b"100m", b"1.5Gi", b"-3k", b"12e6", b"0.5", b"9223372036854775807", b"1n", b"+7Ei"],
        tokens: &[b"e", b"E", b"i", b"Ki", b"m", b"u", b"n", b".", b"-", b"+", b"99999999999999999999", b"e-400"],
    };
    run("quantities_keep_their_value_on_the_wire", |random| {
        let text = text(&inputs, random);
        let Ok(quantity) = Quantity::parse(&text) else { return };
        let again = Quantity::from_wire(&quantity.to_wire()).unwrap();
        assert_eq!(again.millis(), quantity.millis(), "{text:?} became {:?}", quantity.to_wire());
        assert_eq!(again.units(), quantity.units(), "{text:?} became {:?}", quantity.to_wire());
    });
}

#[test]
fn names_and_percentages_are_judged() {
    let inputs = Inputs {
        valid: &[b"web", b"a.b-c", b"example.com/name", b"HOME_1", b"25%", b"-1%"],
        tokens: &[b"/", b".", b"..", b"-", b"_", b"%", "\u{e9}".as_bytes(), b"\0", b"2147483648"],
    };
    run("names_and_percentages_are_judged", |random| {
        let text = text(&inputs, random);
        if names::is_dns1123_label(&text) {
            assert!(names::is_dns1123_subdomain(&text) && names::is_label_value(&text), "{text:?}");
        }
        let _judged = (names::is_qualified_name(&text), names::is_env_var_name(&text), names::is_config_key(&text));
        let _generated = names::generate(&text);
        let total = i32::try_from(random.below(1 << 31)).unwrap();
        let _scaled = rollout::scaled(&IntOrString::String(text), total, rollout::Round::Up);
    });
}

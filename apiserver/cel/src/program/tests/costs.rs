//! What expressions cost, as upstream counts it: the least and the most by the estimate, and what is used.

use crate::environment::Environment;
use crate::limits::{Budget, PER_CALL_LIMIT};
use crate::program::compile;

/// Expression, the least and the most of its estimate, and its cost.
type Row = (&'static str, u64, u64, u64);

const STRINGS: &[Row] = &[
    ("'ABCDEFGHIJ abcdefghij'.lowerAscii()", 3, 3, 3),
    ("'ABCDEFGHIJ abcdefghij'.lowerAscii() == 'abcdefghij ABCDEFGHIJ'.lowerAscii()", 7, 9, 9),
    ("'ABCDEFGHIJ abcdefghij'.upperAscii()", 3, 3, 3),
    ("'ABCDEFGHIJ abcdefghij'.upperAscii() == 'abcdefghij ABCDEFGHIJ'.upperAscii()", 7, 9, 9),
    ("strings.quote('ABCDEFGHIJ abcdefghij')", 3, 3, 3),
    ("strings.quote('ABCDEFGHIJ abcdefghij') == strings.quote('ABCDEFGHIJ abcdefghij')", 7, 11, 9),
    ("'abc 123 def 123'.replace('123', '456')", 3, 3, 3),
    ("'abc 123 def 123'.replace('', 'x')", 3, 3, 3),
    ("'abc 123 def 123'.replace('123', '')", 3, 3, 3),
    ("'abc 123 def 123'.replace('123', '456', 1)", 3, 3, 3),
    ("'abc 123 def 123'.split(' ')", 3, 3, 3),
    ("'abc 123 def 123'.split(' ', 1)", 3, 3, 3),
    ("'abc 123 def 123'.substring(5)", 2, 2, 2),
    ("'abc 123 def 123'.substring(5, 8)", 2, 2, 2),
    ("'  abc 123 def 123  '.trim()", 2, 2, 2),
    ("'abc 123 def 123'.find('123')", 2, 2, 2),
    ("'abc 123 def 123'.findAll('123')", 2, 2, 2),
    ("'abc 123 def 123'.findAll('123', 1)", 2, 2, 2),
    ("jsonpatch.escapeKey('abc/def~ abc/def~')", 2, 2, 2),
];
const SETS: &[Row] = &[
    ("sets.contains([], [])", 21, 21, 21),
    ("sets.contains([1], [])", 21, 21, 21),
    ("sets.contains([1], [1])", 22, 22, 22),
    ("sets.contains([1], [1, 1])", 23, 23, 23),
    ("sets.contains([1, 1], [1])", 23, 23, 23),
    ("sets.contains([2, 1], [1])", 23, 23, 23),
    ("sets.contains([1, 2, 3, 4], [2, 3])", 29, 29, 29),
    ("!sets.contains([1], [2])", 23, 23, 23),
    ("!sets.contains([1], [1, 2])", 24, 24, 24),
    ("sets.equivalent([], [])", 21, 21, 21),
    ("sets.equivalent([1], [1])", 23, 23, 23),
    ("sets.equivalent([1], [1, 1])", 25, 25, 25),
    ("sets.equivalent([1, 1], [1])", 25, 25, 25),
    ("!sets.equivalent([2, 1], [1])", 26, 26, 26),
    ("!sets.equivalent([1], [1, 2])", 26, 26, 26),
    ("sets.intersects([1], [1])", 22, 22, 22),
    ("sets.intersects([1], [1, 1])", 23, 23, 23),
    ("sets.intersects([1, 1], [1])", 23, 23, 23),
    ("sets.intersects([2, 1], [1])", 23, 23, 23),
    ("sets.intersects([1], [1, 2])", 23, 23, 23),
    ("!sets.intersects([], [])", 22, 22, 22),
    ("!sets.intersects([1], [])", 22, 22, 22),
    ("!sets.intersects([1], [2])", 23, 23, 23),
];
const QUANTITIES: &[Row] = &[
    ("quantity(\"12Mi\")", 1, 1, 1),
    ("isQuantity(\"20\")", 1, 1, 1),
    ("isQuantity(\"20M\")", 1, 1, 1),
    ("quantity(\"200M\") == quantity(\"200M\")", 3, 3, 3),
    ("quantity(\"200M\") == quantity(\"0.2G\") && quantity(\"0.2G\") == quantity(\"200M\")", 3, 6, 6),
    (
        "quantity(\"2M\") == quantity(\"0.002G\") && quantity(\"2000k\") == quantity(\"2M\") && quantity(\"0.002G\") == quantity(\"2000k\")",
        3,
        9,
        9,
    ),
    ("quantity(\"50M\").isLessThan(quantity(\"50Mi\"))", 3, 3, 3),
    ("quantity(\"50Mi\").isGreaterThan(quantity(\"50M\"))", 3, 3, 3),
    ("quantity(\"200M\").compareTo(quantity(\"0.2G\")) > 0", 4, 4, 4),
    ("quantity(\"50k\").add(quantity(\"20\")) == quantity(\"50.02k\")", 5, 5, 5),
    ("quantity(\"50k\").sub(quantity(\"20\")) == quantity(\"49.98k\")", 5, 5, 5),
    ("quantity(\"50k\").sub(20) == quantity(\"49980\")", 4, 4, 4),
    ("quantity(\"50k\").add(20).sub(quantity(\"100k\")).asInteger() > 0", 6, 6, 6),
    ("quantity(\"50k\").add(20).sub(quantity(\"100k\")).sub(-50000).asInteger() > 0", 7, 7, 7),
    ("quantity(\"50k\").asInteger() > 0", 3, 3, 3),
    ("quantity(\"50\").isInteger()", 2, 2, 2),
    ("quantity(\"50.703k\").asApproximateFloat() > 0.0", 3, 3, 3),
];
const VERSIONS: &[Row] = &[
    ("semver(\"1.0.0\")", 1, 1, 1),
    ("semver(\"1234.56789012345.67890123456789\")", 4, 4, 4),
    ("isSemver(\"1.0.0\")", 1, 1, 1),
    ("isSemver(\"1234.56789012345.67890123456789\")", 4, 4, 4),
    ("semver(\"1.2.3\").major()", 2, 2, 2),
    ("semver(\"1.2.3\").minor()", 2, 2, 2),
    ("semver(\"1.2.3\").patch()", 2, 2, 2),
    ("semver(\"1.0.0\").isLessThan(semver(\"1.1.0\"))", 3, 3, 3),
    ("semver(\"1.1.0\").isGreaterThan(semver(\"1.0.0\"))", 3, 3, 3),
    ("semver(\"1.0.0\").compareTo(semver(\"1.2.3\"))", 3, 3, 3),
];
const COMPREHENSIONS: &[Row] = &[
    ("{'a': 1, 'b': 2}.all(k, v, v > 0)", 37, 41, 41),
    ("{'a': 1, 'b': 2}.exists(k, v, v > 0)", 39, 43, 40),
    ("{'a': 1, 'b': 2}.existsOne(k, v, v > 0)", 38, 40, 40),
    ("{'a': 1, 'b': 2}.transformMap(k, v, v + 1)", 71, 71, 71),
    ("{'a': 1, 'b': 2}.transformMap(k, v, v < 5, v + 1)", 67, 75, 75),
    ("{'a': 1, 'b': 2}.transformMapEntry(k, v, {k: v + 1})", 131, 131, 131),
    ("{'a': 1, 'b': 2}.transformMapEntry(k, v, v < 5, {k: v + 1})", 67, 135, 135),
    ("[1, 2].all(i, v, v > 0)", 17, 21, 21),
    ("[1, 2].exists(i, v, v > 0)", 19, 23, 20),
    ("[1, 2].existsOne(i, v, v > 0)", 18, 20, 20),
    ("[1, 2].transformList(i, v, v + 1)", 49, 49, 49),
    ("[1, 2].transformList(i, v, v < 5, v + 1)", 27, 53, 53),
];
const FORMATS: &[Row] = &[
    ("format.named(\"dns1123subdomain\")", 1, 1, 1),
    ("format.named(\"dns1123Subdomain\").value().validate(\"my-name\")", 34, 34, 17),
    ("format.named(\"dns1123Label\").value().validate(\"my-name\")", 34, 34, 10),
    ("format.named(\"dns1123Label\").value().validate(\"my-name\")", 34, 34, 10),
    ("format.named(\"dns1123Label\").value() == format.named(\"dns1123Label\").value()", 5, 11, 5),
];
const NETWORKS: &[Row] = &[
    ("ip('192.168.0.1')", 2, 2, 2),
    ("ip('2001:db8:3333:4444:5555:6666:7777:8888').family()", 5, 5, 5),
    ("ip('192.168.0.1') == ip('192.168.0.1')", 5, 5, 5),
];
const BINDS: &[Row] = &[("[3, 1].sortBy(x, x)", 78, 78, 78), ("optional.of(1).optMap(x, x + 1)", 3, 17, 17)];
const LISTS: &[Row] = &[
    ("[1, 2, 3, 4, 5].sum()", 15, 15, 15),
    ("[uint(1), uint(2), uint(3), uint(4), uint(5)].max()", 20, 20, 20),
    ("[duration('1s'), duration('2s'), duration('3s'), duration('4s'), duration('5s')].isSorted()", 20, 20, 20),
    ("[1, 2, 3, 4, 5].indexOf(3)", 15, 15, 15),
    ("[uint(1), uint(2), uint(3), uint(4), uint(5)].lastIndexOf(uint(3))", 21, 21, 21),
];

#[test]
fn costs_are_upstreams() {
    let tables = [STRINGS, SETS, QUANTITIES, VERSIONS, COMPREHENSIONS, FORMATS, NETWORKS, LISTS, BINDS];
    let environment = Environment::default().with_mutation();
    let mut wrong = Vec::new();
    for (text, min, max, used) in tables.into_iter().flatten() {
        let program = match compile(text, &environment) {
            Ok(program) => program,
            Err(problems) => {
                wrong.push(format!("{text}: {}", problems[0].message));
                continue;
            }
        };
        let estimate = program.estimated_cost();
        let mut budget = Budget::new(PER_CALL_LIMIT);
        let result = program.evaluate(&(), &mut budget).map(|_| ());
        let cost = PER_CALL_LIMIT - budget.remaining;
        if result.is_err() || (estimate.min, estimate.max, cost) != (*min, *max, *used) {
            wrong.push(format!("{text}: {min} to {max}, {used}, not {estimate:?}, {cost} {result:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

//! One table for each library.

use super::all_give;

#[test]
fn conversions() {
    all_give(&[
        ("int('42') + int(1.9) + int(2u)", "45"),
        ("int(-1.9)", "-1"),
        ("int('a')", "error: type conversion error from 'string' to 'int'"),
        ("int(1e30)", "error: integer overflow"),
        ("uint(-1)", "error: unsigned integer overflow"),
        ("double('1.5') + double(1)", "2.5"),
        (
            "string(1.0) + ' ' + string(1000000.0) + ' ' + string(0.00001) + ' ' + string(123456.5)",
            "\"1 1e+06 1e-05 123456.5\"",
        ),
        ("string(true) + string(b'abc') + string(1u)", "\"trueabc1\""),
        ("string(duration('1h1.5s'))", "\"3601.5s\""),
        ("string(timestamp('2000-01-01T00:00:00.5Z'))", "\"2000-01-01T00:00:00.5Z\""),
        ("string(b'\\xff')", "error: invalid UTF-8 in bytes, cannot convert to string"),
        ("duration(5)", "error: type conversion error from 'int' to 'google.protobuf.Duration'"),
        ("bool('true') && !bool('0')", "true"),
        ("bytes('é') == b'\\xc3\\xa9'", "true"),
        ("timestamp('2000-01-01')", "refused: invalid timestamp argument"),
        ("int(timestamp('1970-01-01T00:00:10Z')) + int(duration('1ns'))", "11"),
    ]);
}

#[test]
fn times() {
    let cases = [
        ("getFullYear()", "2023"),
        ("getMonth()", "11"),
        ("getDayOfYear()", "358"),
        ("getDayOfMonth()", "24"),
        ("getDate()", "25"),
        ("getDayOfWeek()", "1"),
        ("getHours()", "1"),
        ("getMinutes()", "2"),
        ("getSeconds()", "3"),
        ("getMilliseconds()", "456"),
        ("getHours('America/New_York')", "20"),
        ("getDate('America/New_York')", "24"),
        ("getHours('+02:30')", "3"),
        ("getMinutes('-00:30')", "32"),
        ("getHours('Nowhere/Else')", "error: unknown time zone Nowhere/Else"),
        ("getHours('america/new_york')", "error: unknown time zone america/new_york"),
        ("getHours('utc')", "error: unknown time zone utc"),
        ("getHours('Etc/UTC') + timestamp(0).getHours('US/Eastern')", "20"),
        ("getHours('-0:-2147483648')", "error: unknown time zone -0:-2147483648"),
    ];
    for (call, wanted) in cases {
        all_give(&[(format!("timestamp('2023-12-25T01:02:03.456Z').{call}").as_str(), wanted)]);
    }
    all_give(&[
        ("duration('3h').getMinutes() + duration('90s').getHours() + duration('-90s').getMinutes()", "179"),
        ("timestamp('2023-01-01T00:00:00Z') + duration('24h') == timestamp('2023-01-02T00:00:00Z')", "true"),
        ("timestamp('2023-01-02T00:00:00Z') - timestamp('2023-01-01T00:00:00Z') == duration('24h')", "true"),
        ("timestamp('9999-12-30T21:59:59Z') + duration('30h')", "error: timestamp overflow"),
        ("duration('1m') > duration('59s')", "true"),
    ]);
}

#[test]
fn strings() {
    all_give(&[
        ("'tacocat'.charAt(3)", "\"o\""),
        ("'tacocat'.charAt(7)", "\"\""),
        ("'tacocat'.charAt(30)", "error: index out of range: 30"),
        ("'ta©o©αT'.charAt(4)", "\"©\""),
        ("'ta©o©αT'.indexOf('©')", "2"),
        ("'ta©o©αT'.indexOf('©', 3)", "4"),
        ("'tacocat'.indexOf('none')", "-1"),
        ("'tacocat'.indexOf('')", "0"),
        ("'tacocat'.indexOf('a', 30)", "-1"),
        ("'tacocat'.indexOf('a', -1)", "error: index out of range: -1"),
        ("'ta©o©αT'.lastIndexOf('©')", "4"),
        ("'ta©o©αT'.lastIndexOf('©', 3)", "2"),
        ("'tacocat'.lastIndexOf('at')", "5"),
        ("'tacocat'.lastIndexOf('')", "7"),
        ("'tacocat'.lastIndexOf('a', -1)", "error: index out of range: -1"),
        ("''.lastIndexOf('a', -1)", "error: index out of range: -1"),
        ("''.lastIndexOf('a', 0)", "-1"),
        ("''.lastIndexOf('ab')", "-1"),
        ("'TacoCÆt'.lowerAscii() + 'TacoCÆt'.upperAscii()", "\"tacocÆtTACOCÆT\""),
        ("'{0} days {0} hours'.replace('{0}', '2', 1)", "\"2 days {0} hours\""),
        ("'1 ©αT taco'.replace('αT', 'o©α')", "\"1 ©o©α taco\""),
        ("'abc'.replace('', '-')", "\"-a-b-c-\""),
        ("'hello world'.split(' ')", "[\"hello\", \"world\"]"),
        ("'hello world events!'.split(' ', 2)", "[\"hello\", \"world events!\"]"),
        ("'hello'.split(' ', 0)", "[]"),
        ("'o©o'.split('')", "[\"o\", \"©\", \"o\"]"),
        ("'o©o'.split('', 2)", "[\"o\", \"©o\"]"),
        ("'tacocat'.substring(4) + 'tacocat'.substring(0, 4)", "\"cattaco\""),
        ("'ta©o©αT'.substring(2, 6)", "\"©o©α\""),
        ("'tacocat'.substring(40)", "error: index out of range: 40"),
        ("'tacocat'.substring(3, 1)", "error: invalid substring range. start: 3, end: 1"),
        ("' \\ttrim\\n    '.trim()", "\"trim\""),
        ("['x', 'y'].join() + ['x', 'y'].join('-')", "\"xyx-y\""),
        ("dyn([dyn('x'), dyn(1u)]).join()", "error: join: invalid input: 1u"),
        (
            "dyn([{'b': dyn([dyn(1.0), dyn(b'a')]), 'a': dyn(optional.of(duration('1s')))}]).join()",
            "error: join: invalid input: {\"a\": optional.of(duration(\"1s\")), \"b\": [1.0, b\"\\141\"]}",
        ),
        (
            "{'a': 1}[dyn([dyn(timestamp(0)), dyn(type(1)), dyn(null)])]",
            "error: no such key: [timestamp(\"1970-01-01T00:00:00Z\"), int, null]",
        ),
        ("strings.quote('a\"\\n')", "\"\\\"a\\\\\\\"\\\\n\\\"\""),
        ("'abc'.reverse()", "refused: found no matching overload for 'reverse' applied to 'string.()'"),
        (
            "'%d %s %f %s %s'.format([1, 'abc', 1.0, duration('1m'), timestamp('2000-01-01T00:00:00.000Z')])",
            "\"1 abc 1.000000 60s 2000-01-01T00:00:00Z\"",
        ),
        ("'%e'.format([3.14])", "\"3.140000×10⁰⁰\""),
        ("'%o %o %o'.format([7, 8, 9])", "\"7 10 11\""),
        ("'%b %b %b'.format([7, 8, 9])", "\"111 1000 1001\""),
        ("'%x %X %x'.format([255, 'hi', b'\\xff'])", "\"ff 6869 ff\""),
        ("'%.2f %%'.format([1234.567])", "\"1,234.57 %\""),
        ("'%s %s'.format([['a', 'b'], {'k': 1}])", "\"[\\\"a\\\", \\\"b\\\"] {\\\"k\\\":1}\""),
        (
            "'%d'.format(['a'])",
            "error: error during formatting: decimal clause can only be used on integers, was given string",
        ),
        ("'%s'.format([])", "error: index 0 out of range"),
        ("'abc'.contains('b') && 'abc'.startsWith('a') && 'abc'.endsWith('c')", "true"),
        ("'abc'.matches('^a.c$') && matches('abc', 'b')", "true"),
        ("'123 abc 456'.find('[0-9]+')", "\"123\""),
        ("'123 abc 456'.findAll('[0-9]+')", "[\"123\", \"456\"]"),
        ("'123 abc 456'.findAll('[0-9]+', 1)", "[\"123\"]"),
    ]);
}

#[test]
fn lists_and_sets() {
    all_give(&[
        ("[1, 2, 2].isSorted() && !['b', 'a'].isSorted()", "true"),
        ("[1, 3].sum() + [1, 3].max() + [1, 3].min()", "8"),
        ("[1.5, 1.0].sum()", "2.5"),
        ("[duration('1s')].filter(x, false).sum() == duration('0s')", "true"),
        ("string([duration('1s')].filter(x, false).sum())", "\"0s\""),
        ("[1u].filter(x, false).sum() + 1u", "1u"),
        ("[1.0].filter(x, false).sum() + 0.5", "0.5"),
        ("[1].filter(x, false).sum() + 1", "1"),
        ("type([].sum()) == int", "true"),
        ("[duration('1m'), duration('1s')].sum() == duration('61s')", "true"),
        ("[].min() == 1", "error: min called on empty list"),
        ("['a', 'b', 'b'].indexOf('b') + ['a', 'b', 'b'].lastIndexOf('b')", "3"),
        ("[1].indexOf(2)", "-1"),
        ("[1, 2, 3, 4].slice(1, 3)", "[2, 3]"),
        ("[1].slice(0, 2)", "error: cannot slice(0, 2), list is length 1"),
        ("[[1], [2, 3]].flatten()", "[1, 2, 3]"),
        ("[dyn([1]), dyn([[2]])].flatten(2)", "[1, 2]"),
        ("[dyn([1]), dyn([[2]])].flatten(1)", "[1, [2]]"),
        ("lists.range(3).reverse()", "[2, 1, 0]"),
        ("[1, 2, 1].distinct()", "[1, 2]"),
        ("[3, 1, 2].sort()", "[1, 2, 3]"),
        ("[2.0, 0.0 / 0.0, 1.0].sort()", "[1, 2, NaN]"),
        ("lists.range(100).map(i, i % 3 == 0 ? 0.0 / 0.0 : double(100 - i)).sort().first().value()", "2"),
        ("lists.range(100).sortBy(i, i % 7 == 0 ? 0.0 / 0.0 : double(-i)).first().value()", "99"),
        ("[0.0 / 0.0, 1.0].isSorted() && [1.0, 0.0 / 0.0, 2.0].max() == 2.0", "true"),
        ("[{'n': 'b'}, {'n': 'a'}].sortBy(x, x.n).map(x, x.n)", "[\"a\", \"b\"]"),
        ("sets.contains([1, 2, 3], [3, 1]) && !sets.contains([1], [2])", "true"),
        ("sets.equivalent([1, 1], [1]) && sets.intersects([1, 2], [2, 3])", "true"),
    ]);
}

#[test]
fn quantities_and_versions() {
    all_give(&[
        ("quantity('12Mi').asInteger()", "12582912"),
        (
            "quantity('10Mo')",
            "error: quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'",
        ),
        ("isQuantity('20Mi') && !isQuantity('20Mo')", "true"),
        ("quantity('200M') == quantity('0.2G') && quantity('2000k') == quantity('2M')", "true"),
        ("quantity('50M').isLessThan(quantity('50Mi')) && quantity('50Mi').isGreaterThan(quantity('50M'))", "true"),
        ("quantity('50M').compareTo(quantity('50Mi'))", "-1"),
        ("quantity('50k').add(quantity('20')) == quantity('50.02k')", "true"),
        ("quantity('50k').sub(20) == quantity('49980')", "true"),
        ("quantity('50k').add(20).sub(quantity('100k')).asInteger()", "-49980"),
        ("quantity('9999999999999999999999999999999999999G').isInteger()", "false"),
        ("quantity('9999999999999999999999999999999999999G').asInteger()", "error: cannot convert value to integer"),
        ("quantity('50.703k').asApproximateFloat()", "50703"),
        ("sign(quantity('-1'))", "-1"),
        ("semver('1.2.3').major() + semver('1.2.3').minor() + semver('1.2.3').patch()", "6"),
        ("isSemver('v1.0') || !isSemver('v1.0', true) || isSemver('01.0.0')", "false"),
        ("semver('v01.01', true) == semver('1.1.0')", "true"),
        ("semver('1.0.0-beta.2').isLessThan(semver('1.0.0-beta.11'))", "true"),
        ("semver('1.0.0').compareTo(semver('1.0.0-rc.1'))", "1"),
        ("semver('1.0.0+a') == semver('1.0.0+b')", "true"),
    ]);
}

#[test]
fn networks_and_urls() {
    all_give(&[
        ("ip('192.168.0.1').family() + ip('2001:db8::68').family()", "10"),
        ("isIP('192.168.0.1.0') || isIP('::1%eth0') || isIP('::ffff:1.2.3.4') || isIP('01.2.3.4')", "false"),
        (
            "ip('192.168.0.1.0')",
            "error: IP Address \"192.168.0.1.0\" parse error during conversion from string: ParseAddr(\"192.168.0.1.0\"): unable to parse IP",
        ),
        ("ip('::ffff:192.168.0.1')", "error: IPv4-mapped IPv6 address \"::ffff:192.168.0.1\" is not allowed"),
        ("ip.isCanonical('2001:db8::abcd') && !ip.isCanonical('2001:DB8::ABCD')", "true"),
        ("ip('0.0.0.0').isUnspecified() && ip('::1').isLoopback() && ip('224.0.0.1').isLinkLocalMulticast()", "true"),
        ("ip('169.254.169.254').isLinkLocalUnicast() && ip('192.168.0.1').isGlobalUnicast()", "true"),
        ("ip('255.255.255.255').isGlobalUnicast()", "false"),
        ("string(ip('10.0.0.1')) + string(cidr('10.0.0.0/8'))", "\"10.0.0.110.0.0.0/8\""),
        ("ip('127.0.0.1') == ip('127.0.0.1') && type(ip('10.0.0.1')) == net.IP", "true"),
        (
            "cidr('192.168.0.0/24').containsIP(ip('192.168.0.1')) && cidr('192.168.0.0/24').containsIP('192.168.0.1')",
            "true",
        ),
        ("cidr('192.168.0.0/24').containsIP('::1')", "false"),
        (
            "cidr('192.168.0.0/24').containsCIDR(cidr('192.168.0.0/25')) && !cidr('192.168.0.0/24').containsCIDR('192.168.0.0/23')",
            "true",
        ),
        (
            "cidr('192.168.0.1/24').masked() == cidr('192.168.0.0/24') && cidr('192.168.0.1/24').prefixLength() == 24",
            "true",
        ),
        ("isCIDR('192.168.0.0/33') || isCIDR('192.168.0.0') || isCIDR('10.0.0.0/08')", "false"),
        ("url('https://user@example.com:80/a%20b?k=v1').getHost()", "\"example.com:80\""),
        ("url('https://example.com:80/').getHostname() + url('https://[::1]:8/').getHostname()", "\"example.com::1\""),
        ("url('https://[::1]:8/').getPort() + url('HTTPS://a').getScheme()", "\"8https\""),
        ("url('https://example.com/a%20b c').getEscapedPath()", "\"/a%20b%20c\""),
        ("url('/path/to').getEscapedPath()", "\"/path/to\""),
        ("url('https://e.com/?k=v1&k=v2&x=%41+b').getQuery()", "{\"k\": [\"v1\", \"v2\"], \"x\": [\"A b\"]}"),
        ("isURL('https://a:80/b') && !isURL('../relative') && !isURL('') && !isURL('https://a:b/')", "true"),
    ]);
}

#[test]
fn formats() {
    all_give(&[
        ("format.dns1123Label().validate('my-label-name')", "none"),
        ("format.named('dns1123Label').value().validate('A').hasValue()", "true"),
        (
            "format.dns1123Label().validate('aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa').value()",
            "[\"must be no more than 63 characters\"]",
        ),
        ("format.named('none')", "none"),
        (
            "format.uuid().validate('3d8c5a1e-0000-4000-8000-0123456789ab').hasValue() || format.uuid().validate('x').value() != ['does not match the UUID format']",
            "false",
        ),
        ("format.byte().validate('aGVsbG8=').hasValue() || !format.byte().validate('?').hasValue()", "false"),
        ("format.date().validate('2021-01-01').hasValue() || !format.date().validate('x').hasValue()", "false"),
        ("format.datetime().validate('2021-01-01T00:00:00Z').hasValue()", "false"),
        (
            "format.qualifiedName().validate('example.com/Name').hasValue() || !format.qualifiedName().validate('a/b/c').hasValue()",
            "false",
        ),
        ("format.dns1123LabelPrefix().validate('a-').hasValue()", "false"),
        ("format.uri().validate('http://a').hasValue()", "false"),
    ]);
}

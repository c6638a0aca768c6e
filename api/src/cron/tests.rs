//! Schedules: what is one, and when it is next time, across the changes of clocks.

use super::*;

fn at(text: &str) -> Timestamp {
    text.parse().unwrap_or_else(|err| panic!("{err}: {text}"))
}
fn next(schedule: &str, zone: &str, after: &str) -> Option<Timestamp> {
    let parsed = Schedule::parse(schedule).unwrap_or_else(|err| panic!("{err}: {schedule}"));
    parsed.next(at(after), &time_zone(zone).unwrap_or_else(|| panic!("no zone {zone}")))
}
/// `(schedule, after, next)`, all in one time zone.
fn check(zone: &str, cases: &[(&str, &str, &str)]) {
    for (schedule, after, expected) in cases {
        assert_eq!(next(schedule, zone, after), Some(at(expected)), "{schedule} after {after} in {zone}");
    }
}

#[test]
fn fields_name_values() {
    let all: Vec<i8> = (0..60).collect();
    let cases: [(&field::Bounds, &str, &[i8]); 14] = [
        (&field::MINUTES, "*", &all),
        (&field::MINUTES, "?", &all),
        (&field::MINUTES, "5", &[5]),
        (&field::MINUTES, "+5", &[5]),
        (&field::MINUTES, "1-4", &[1, 2, 3, 4]),
        (&field::MINUTES, "*/20", &[0, 20, 40]),
        (&field::MINUTES, "3-20/8", &[3, 11, 19]),
        (&field::MINUTES, "50/4", &[50, 54, 58]),
        (&field::MINUTES, "1,,3-4,2", &[1, 2, 3, 4]),
        (&field::MINUTES, "*/1000000000000", &[0]),
        (&field::MINUTES, ",", &[]),
        (&field::MONTHS, "jan,MAR-May", &[1, 3, 4, 5]),
        (&field::WEEKDAYS, "Sun,fri-SAT", &[0, 5, 6]),
        (&field::DAYS, "*/10", &[1, 11, 21, 31]),
    ];
    for (bounds, text, expected) in cases {
        let values = bounds.parse(text).unwrap();
        assert_eq!(all.iter().copied().filter(|n| values.has(*n)).collect::<Vec<_>>(), expected, "{text}");
    }
    for (text, is_any) in [("*", true), ("?", true), ("*/1", true), ("5,*", true), ("*/2", false), ("0-59", false)] {
        assert_eq!(field::MINUTES.parse(text).unwrap().is_any(), is_any, "{text}");
    }
}

#[test]
fn bad_schedules_are_refused_in_upstreams_words() {
    let cases = [
        ("", "empty spec string"),
        ("* * * *", "expected exactly 5 fields, found 4: [* * * *]"),
        ("* * * * * *", "expected exactly 5 fields, found 6: [* * * * * *]"),
        (" @daily", "expected exactly 5 fields, found 1: [@daily]"),
        ("@reboot", "unrecognized descriptor: @reboot"),
        ("@every", "unrecognized descriptor: @every"),
        ("@every 5", r#"failed to parse duration @every 5: time: missing unit in duration "5""#),
        ("@every 1d", r#"failed to parse duration @every 1d: time: unknown unit "d" in duration "1d""#),
        ("@every x", r#"failed to parse duration @every x: time: invalid duration "x""#),
        ("x * * * *", r#"failed to parse int from x: strconv.Atoi: parsing "x": invalid syntax"#),
        ("*/ * * * *", r#"failed to parse int from : strconv.Atoi: parsing "": invalid syntax"#),
        (
            "99999999999999999999 * * * *",
            r#"failed to parse int from 99999999999999999999: strconv.Atoi: parsing "99999999999999999999": value out of range"#,
        ),
        ("*/-5 * * * *", "negative number (-5) not allowed: -5"),
        ("1-2-3 * * * *", "too many hyphens: 1-2-3"),
        ("*/5/5 * * * *", "too many slashes: */5/5"),
        ("* * 0 * *", "beginning of range (0) below minimum (1): 0"),
        ("60 * * * *", "end of range (60) above maximum (59): 60"),
        ("* 24 * * *", "end of range (24) above maximum (23): 24"),
        ("* * * * 7", "end of range (7) above maximum (6): 7"),
        ("5-4 * * * *", "beginning of range (5) beyond end of range (4): 5-4"),
        ("*/0 * * * *", "step of range should be a positive number: */0"),
        ("TZ=Nowhere/Land 0 5 * * *", "provided bad location Nowhere/Land: unknown time zone Nowhere/Land"),
        ("CRON_TZ=UTC", "expected exactly 5 fields, found 0: []"),
        ("TZ=europe/rome 0 5 * * *", "provided bad location europe/rome: unknown time zone europe/rome"),
    ];
    for (text, expected) in cases {
        assert_eq!(Schedule::parse(text).unwrap_err().to_string(), expected, "{text}");
    }
}

#[test]
fn a_time_comes_after_the_one_it_is_asked_for() {
    check(
        "UTC",
        &[
            ("*/15 * * * *", "2012-07-09T14:45:00Z", "2012-07-09T15:00:00Z"),
            ("*/15 * * * *", "2012-07-09T14:59:59.5Z", "2012-07-09T15:00:00Z"),
            ("*/15 * * * *", "2012-07-09T14:44:59Z", "2012-07-09T14:45:00Z"),
            ("20-35/15 * * * *", "2012-07-09T23:46:00Z", "2012-07-10T00:20:00Z"),
            ("20-35/15 0-2 * * *", "2012-07-09T23:46:00Z", "2012-07-10T00:20:00Z"),
            ("0 0 9 4 *", "2012-07-09T23:35:00Z", "2013-04-09T00:00:00Z"),
            ("0 0 * feb mon", "2012-07-09T23:35:00Z", "2013-02-04T00:00:00Z"),
            ("0 0 29 2 *", "2012-07-09T23:35:00Z", "2016-02-29T00:00:00Z"),
            ("59 23 31 12 *", "2012-12-31T23:59:00Z", "2013-12-31T23:59:00Z"),
            ("@yearly", "2012-07-09T23:35:00Z", "2013-01-01T00:00:00Z"),
            ("@annually", "2013-01-01T00:00:00Z", "2014-01-01T00:00:00Z"),
            ("@monthly", "2012-07-09T23:35:00Z", "2012-08-01T00:00:00Z"),
            ("@weekly", "2012-07-09T23:35:00Z", "2012-07-15T00:00:00Z"),
            ("@daily", "2012-07-09T23:35:00Z", "2012-07-10T00:00:00Z"),
            ("@midnight", "2012-07-10T00:00:00Z", "2012-07-11T00:00:00Z"),
            ("@hourly", "2012-07-09T23:35:00Z", "2012-07-10T00:00:00Z"),
            ("@every 1h30m", "2012-07-09T23:35:07.9Z", "2012-07-10T01:05:07Z"),
            ("@every 90.7s", "2012-07-09T23:35:00Z", "2012-07-09T23:36:30Z"),
            ("@every 5ms", "2012-07-09T23:35:00Z", "2012-07-09T23:35:01Z"),
            ("@every -2h", "2012-07-09T23:35:00Z", "2012-07-09T23:35:01Z"),
        ],
    );
}

#[test]
fn one_of_two_days_is_enough_unless_a_star_says_any() {
    // July 15, 2012 is a Sunday.
    check(
        "UTC",
        &[
            ("0 0 15 * sun", "2012-07-10T00:00:00Z", "2012-07-15T00:00:00Z"),
            ("0 0 15 * sun", "2012-07-15T00:00:00Z", "2012-07-22T00:00:00Z"),
            ("0 0 15 * sun", "2012-08-14T00:00:00Z", "2012-08-15T00:00:00Z"),
            ("0 0 * * sun", "2012-08-14T00:00:00Z", "2012-08-19T00:00:00Z"),
            ("0 0 15 * ?", "2012-07-15T00:00:00Z", "2012-08-15T00:00:00Z"),
            ("0 0 */10 * sun", "2012-07-16T00:00:00Z", "2012-07-21T00:00:00Z"),
        ],
    );
}

#[test]
fn what_never_fits_is_found_out_soon() {
    let began = std::time::Instant::now();
    for schedule in ["0 0 30 2 *", "0 0 31 4,6,9,11 *", ", * * * *", "* , * * *", "* * , * *", "* * * , *"] {
        assert_eq!(next(schedule, "America/New_York", "2012-07-09T23:35:00Z"), None, "{schedule}");
    }
    assert!(began.elapsed() < std::time::Duration::from_secs(2), "{:?}", began.elapsed());
}

#[test]
fn an_hour_that_clocks_skip_has_no_times() {
    check(
        "America/New_York",
        &[
            ("30 2 11 mar ?", "2012-03-11T00:00:00-05:00", "2013-03-11T02:30:00-04:00"),
            ("0 * * * *", "2012-03-11T01:00:00-05:00", "2012-03-11T03:00:00-04:00"),
            ("0 * * * *", "2012-03-11T03:00:00-04:00", "2012-03-11T04:00:00-04:00"),
            ("0 1 * * *", "2012-03-11T01:00:00-05:00", "2012-03-12T01:00:00-04:00"),
            ("0 2 * * *", "2012-03-11T00:00:00-05:00", "2012-03-12T02:00:00-04:00"),
            ("15 2-3 * * *", "2012-03-11T00:00:00-05:00", "2012-03-11T03:15:00-04:00"),
        ],
    );
}

#[test]
fn an_hour_that_clocks_show_twice_has_its_times_twice() {
    check(
        "America/New_York",
        &[
            ("30 2 4 nov ?", "2012-11-04T00:00:00-04:00", "2012-11-04T02:30:00-05:00"),
            ("30 1 4 nov ?", "2012-11-04T01:45:00-04:00", "2012-11-04T01:30:00-05:00"),
            ("0 * * * *", "2012-11-04T00:00:00-04:00", "2012-11-04T01:00:00-04:00"),
            ("0 * * * *", "2012-11-04T01:00:00-04:00", "2012-11-04T01:00:00-05:00"),
            ("0 * * * *", "2012-11-04T01:00:00-05:00", "2012-11-04T02:00:00-05:00"),
            ("0 1 * * *", "2012-11-04T00:00:00-04:00", "2012-11-04T01:00:00-04:00"),
            ("0 1 * * *", "2012-11-04T01:00:00-04:00", "2012-11-04T01:00:00-05:00"),
            ("0 1 * * *", "2012-11-04T01:00:00-05:00", "2012-11-05T01:00:00-05:00"),
            ("0 2 * * *", "2012-11-04T00:00:00-04:00", "2012-11-04T02:00:00-05:00"),
            ("0 3 3 * ?", "2012-11-04T00:00:00-04:00", "2012-12-03T03:00:00-05:00"),
        ],
    );
}

#[test]
fn a_day_may_begin_at_one_or_have_two_ends() {
    // Clocks went from 00:00 to 01:00 on 2018-11-04, and from 00:00 back to 23:00 on 2018-02-18.
    check(
        "America/Sao_Paulo",
        &[
            ("0 9 10 * ?", "2018-10-17T05:00:00-04:00", "2018-11-10T09:00:00-02:00"),
            ("0 9 22 * ?", "2018-02-14T05:00:00-05:00", "2018-02-22T09:00:00-03:00"),
            ("0 0 * * *", "2018-11-03T00:00:00-03:00", "2018-11-05T00:00:00-02:00"),
            ("30 * 4 11 *", "2018-10-17T05:00:00-04:00", "2018-11-04T01:30:00-02:00"),
            ("0 23 17 2 *", "2018-02-17T23:00:00-02:00", "2018-02-17T23:00:00-03:00"),
            ("0 0 18 2 *", "2018-02-17T23:30:00-02:00", "2018-02-18T00:00:00-03:00"),
        ],
    );
    // The month began at one.
    check("America/Asuncion", &[("0 0 1 11 *", "2023-10-15T12:00:00Z", "2023-11-01T00:00:00-03:00")]);
    // Half an hour, forward at two o'clock.
    check("Australia/Lord_Howe", &[("0 3 * * *", "2023-10-01T01:15:00+10:30", "2023-10-01T03:00:00+11:00")]);
    // A day that never was.
    check("Pacific/Apia", &[("0 5 * * *", "2011-12-29T05:00:00-10:00", "2011-12-31T05:00:00+14:00")]);
}

#[test]
fn a_schedule_may_name_its_time_zone() {
    check(
        "America/New_York",
        &[
            ("TZ=UTC 0 5 * * *", "2012-07-09T00:00:00Z", "2012-07-09T05:00:00Z"),
            ("CRON_TZ=Asia/Tokyo 0 5 * * *", "2012-07-09T00:00:00Z", "2012-07-09T20:00:00Z"),
            ("TZ=Asia/Kolkata  @daily", "2012-07-09T00:00:00Z", "2012-07-09T18:30:00Z"),
            ("TZ=Local 0 5 * * *", "2012-07-09T00:00:00Z", "2012-07-09T09:00:00Z"),
        ],
    );
}

#[test]
fn time_zones_have_one_spelling() {
    for name in ["UTC", "GMT", "Etc/UTC", "Etc/GMT+7", "Europe/Rome", "America/Argentina/Buenos_Aires", "US/Eastern"] {
        assert!(time_zone(name).is_some(), "{name}");
    }
    for name in ["", "utc", "europe/rome", "Europe/InvalidRome", "Local", "Etc/Unknown", "../etc/passwd", "Europe/"] {
        assert_eq!(time_zone(name), None, "{name}");
    }
}

#[test]
fn durations_are_read_as_upstream_does() {
    let cases = [
        ("0", 0),
        ("+5s", 5_000_000_000),
        ("-1m", -60_000_000_000),
        ("1h15m30.5s", 4_530_500_000_000),
        (".5s", 500_000_000),
        ("1.s", 1_000_000_000),
        ("2us3µs4μs", 9_000),
        ("0.1234567890123456789h", 444_444_440_444),
        ("2540400h", 9_145_440_000_000_000_000),
    ];
    for (text, nanos) in cases {
        assert_eq!(duration::parse(text), Ok(SignedDuration::from_nanos(nanos)), "{text}");
    }
    for text in ["", "-", ".", "s", "1", "1.5", "1 s", "3000000h", "99999999999999999999999999999999999999999999s"] {
        assert!(duration::parse(text).is_err(), "{text}");
    }
}

//! Prints results as a table: what was measured, what we aim at, what the Go original does.

/// One line.
pub(super) struct Row {
    pub(super) what: String,
    pub(super) measured: String,
    pub(super) goal: &'static str,
    pub(super) go: &'static str,
}

impl Row {
    pub(super) fn new(what: impl Into<String>, measured: String, goal: &'static str, go: &'static str) -> Self {
        Self { what: what.into(), measured, goal, go }
    }
}

pub(super) fn print(title: &str, rows: &[Row]) {
    say!("\n{title}");
    say!("{:<52} {:>14} {:>12} {:>18}", "", "MEASURED", "GOAL", "KUBERNETES IN GO");
    for row in rows {
        say!("{:<52} {:>14} {:>12} {:>18}", row.what, row.measured, row.goal, row.go);
    }
}

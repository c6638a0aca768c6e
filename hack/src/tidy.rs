//! `hack/tidy`: what a machine can check is not a review comment.
//!
//! - `source`: each .rs file: its first line, its length, its functions' lengths, words that must not be
//! - `house`: who may depend on whom, where an outside world may be named, what may lie in the root
//! - `circles`: which modules of a room may use each other
//! - `lexer`: blanks out strings and comments, so that the others see code only
mod circles;
mod house;
mod lexer;
mod source;

use std::fs;
use std::path::Path;
use std::process::ExitCode;

use anyhow::Context;

use crate::run;

/// One thing that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Finding {
    pub(crate) text: String,
    /// A warning is shown and does not fail.
    pub(crate) warning: bool,
}

impl Finding {
    fn error(text: String) -> Self {
        Self { text, warning: false }
    }

    fn warning(text: String) -> Self {
        Self { text, warning: true }
    }
}

/// Checks every file that git knows or would add. Fails when there is an error among the findings.
pub(crate) fn run(root: &Path) -> anyhow::Result<ExitCode> {
    let shown = root.display().to_string();
    let listed = run::output("git", &["-C", &shown, "ls-files", "--cached", "--others", "--exclude-standard"])
        .context("tidy reads the list of files from git: call it inside a clone")?;
    let mut files: Vec<&str> = listed.lines().filter(|file| root.join(file).is_file()).collect();
    files.sort_unstable();
    let mut findings = house::check_root(&files);
    let mut uses = circles::Uses::default();
    for file in &files {
        let is_manifest = file.ends_with("/Cargo.toml");
        if !is_manifest && !file.ends_with(".rs") {
            continue;
        }
        let text = fs::read_to_string(root.join(file)).with_context(|| format!("cannot read {file}"))?;
        if is_manifest {
            findings.extend(house::check_manifest(file, &text));
        } else {
            findings.extend(source::check(file, &text));
            findings.extend(house::check_names(file, &text));
            uses.note(file, &text);
        }
    }
    findings.extend(uses.check());
    Ok(report(&findings, files.len()))
}

fn report(findings: &[Finding], files: usize) -> ExitCode {
    let errors = findings.iter().filter(|finding| !finding.warning).count();
    for finding in findings {
        say!("{}: {}", if finding.warning { "warning" } else { "error" }, finding.text);
    }
    say!("tidy: {files} files, {errors} errors, {} warnings", findings.len() - errors);
    if errors > 0 { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

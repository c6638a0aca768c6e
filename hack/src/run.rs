//! Runs other programs and turns their failure into an error that shows what they said.
use std::ffi::OsStr;
use std::io::Write;
use std::process::{Command, Stdio};

use anyhow::{Context, bail};

/// How much of a failed program's output an error shows.
const SHOWN_BYTES_MAX: usize = 4096;

/// Runs a program to its end; its standard output is the result.
pub(crate) fn output<S: AsRef<OsStr>>(program: &str, args: &[S]) -> anyhow::Result<String> {
    finish(program, Command::new(program).args(args).stdin(Stdio::null()))
}

/// The same with `input` on standard input.
pub(crate) fn with_input(program: &str, args: &[&str], input: &str) -> anyhow::Result<String> {
    let mut child = Command::new(program)
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot run {program}: is it installed? hack/setup installs what is missing"))?;
    if let Some(mut stdin) = child.stdin.take() {
        // A program that ends before it has read everything says why in its exit status.
        stdin.write_all(input.as_bytes()).ok();
    }
    judge(program, child.wait_with_output()?)
}

/// Runs a prepared command to its end.
pub(crate) fn finish(what: &str, command: &mut Command) -> anyhow::Result<String> {
    let output = command
        .output()
        .with_context(|| format!("cannot run {what}: is it installed? hack/setup installs what is missing"))?;
    judge(what, output)
}

fn judge(what: &str, output: std::process::Output) -> anyhow::Result<String> {
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let said = said.trim();
    let start = said.len().saturating_sub(SHOWN_BYTES_MAX);
    let start = (start..said.len()).find(|at| said.is_char_boundary(*at)).unwrap_or(said.len());
    bail!("{what} failed ({}): {}", output.status, &said[start..]);
}

/// Whether a program is found on PATH.
pub(crate) fn exists(program: &str) -> bool {
    find(program).is_some()
}

/// Where a program is on PATH.
pub(crate) fn find(program: &str) -> Option<std::path::PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|dir| dir.join(program)).find(|file| file.is_file())
}

//! Runs the real kubectl: once, or in the background until dropped.

use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use serde_json::Value;

use crate::wait::eventually;

/// Where several versions of kubectl may be installed side by side, as `kubectl.1.30`.
const VERSIONS_DIR: &str = "/usr/lib/google-cloud-sdk/bin";

/// One kubectl, on one cluster and (if set) one namespace.
#[derive(Clone, Debug)]
pub struct Kubectl {
    program: PathBuf,
    kubeconfig: PathBuf,
    namespace: Option<String>,
}

/// What a command that ended said.
#[derive(Clone, Debug)]
pub struct Output {
    pub ok: bool,
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Output {
    /// Standard output of a command that must have succeeded.
    #[track_caller]
    pub fn text(self) -> String {
        assert!(self.ok, "kubectl failed ({:?}): {}{}", self.code, self.stdout, self.stderr);
        self.stdout
    }
    /// Standard error of a command that must have failed.
    #[track_caller]
    pub fn refusal(self) -> String {
        assert!(!self.ok, "kubectl should have failed, but said: {}", self.stdout);
        self.stderr
    }
}

impl Kubectl {
    pub fn new(kubeconfig: PathBuf) -> Self {
        Self { program: "kubectl".into(), kubeconfig, namespace: None }
    }
    #[must_use]
    pub fn in_namespace(&self, namespace: &str) -> Self {
        Self { namespace: Some(namespace.into()), ..self.clone() }
    }
    /// Every kubectl that is installed, with its name; at least the one on the PATH.
    pub fn every_version(&self) -> Vec<(String, Self)> {
        let mut found: Vec<(String, Self)> = std::fs::read_dir(VERSIONS_DIR)
            .into_iter()
            .flatten()
            .filter_map(|entry| {
                let path = entry.ok()?.path();
                let name = path.file_name()?.to_str()?.to_owned();
                name.starts_with("kubectl.1.").then(|| (name, Self { program: path, ..self.clone() }))
            })
            .collect();
        found.sort_by(|a, b| a.0.cmp(&b.0));
        if found.is_empty() {
            found.push(("kubectl".into(), self.clone()));
        }
        found
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command.arg("--kubeconfig").arg(&self.kubeconfig);
        if let Some(namespace) = &self.namespace {
            command.args(["--namespace", namespace]);
        }
        command.args(args);
        command
    }

    /// Runs to the end.
    #[track_caller]
    pub fn run(&self, args: &[&str]) -> Output {
        self.run_with_input(args, "")
    }

    /// Runs to the end with `input` on standard input (for `-f -`).
    #[track_caller]
    pub fn run_with_input(&self, args: &[&str], input: &str) -> Output {
        let mut command = self.command(args);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|err| panic!("cannot run {}: {err}", self.program.display()));
        if let Some(mut stdin) = child.stdin.take() {
            // kubectl may refuse its arguments before it reads.
            let _ = stdin.write_all(input.as_bytes());
        }
        let done = child.wait_with_output().unwrap_or_else(|err| panic!("kubectl {args:?}: {err}"));
        Output {
            ok: done.status.success(),
            code: done.status.code(),
            stdout: String::from_utf8_lossy(&done.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&done.stderr).into_owned(),
        }
    }

    /// `apply -f -`, which must succeed.
    #[track_caller]
    pub fn apply(&self, manifest: &str) -> String {
        self.run_with_input(&["apply", "-f", "-"], manifest).text()
    }

    /// `get … -o json`; `None` if there is no such object.
    #[track_caller]
    pub fn json(&self, args: &[&str]) -> Option<Value> {
        let mut all = vec!["get"];
        all.extend(args);
        all.extend(["-o", "json", "--ignore-not-found"]);
        let text = self.run(&all).text();
        (!text.trim().is_empty()).then(|| serde_json::from_str(&text).unwrap_or_else(|err| panic!("{err}: {text}")))
    }

    /// A field of an object by JSON pointer, as text; "" if it is not there.
    #[track_caller]
    pub fn field(&self, args: &[&str], pointer: &str) -> String {
        let object = self.json(args).unwrap_or_default();
        match object.pointer(pointer) {
            None | Some(Value::Null) => String::new(),
            Some(Value::String(text)) => text.clone(),
            Some(other) => other.to_string(),
        }
    }

    /// Waits until a field has a value.
    #[track_caller]
    pub fn wait_field(&self, args: &[&str], pointer: &str, expected: &str, within: Duration) {
        eventually(&format!("{} {pointer} = {expected:?}", args.join(" ")), within, || {
            let seen = self.field(args, pointer);
            if seen == expected { Ok(()) } else { Err(format!("{pointer} = {seen:?}")) }
        });
    }

    /// Starts a command that goes on (`-w`, `logs -f`, `port-forward`).
    #[track_caller]
    pub fn start(&self, args: &[&str]) -> Background {
        let mut command = self.command(args);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::inherit());
        let mut child = command.spawn().unwrap_or_else(|err| panic!("cannot run {}: {err}", self.program.display()));
        let (sender, lines) = channel();
        if let Some(stdout) = child.stdout.take() {
            std::thread::spawn(move || {
                for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                    if sender.send(line).is_err() {
                        break;
                    }
                }
            });
        }
        Background { child, lines }
    }
}

/// A command in the background, ended when dropped.
#[derive(Debug)]
pub struct Background {
    child: Child,
    lines: Receiver<String>,
}

impl Background {
    /// The next line that `wanted` accepts; those before it are passed over.
    #[track_caller]
    pub fn line(&self, what: &str, within: Duration, wanted: impl Fn(&str) -> bool) -> String {
        eventually(what, within, || match self.lines.try_recv() {
            Ok(line) if wanted(&line) => Ok(line),
            Ok(line) => Err(format!("line: {line}")),
            Err(err) => Err(err.to_string()),
        })
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

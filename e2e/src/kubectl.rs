//! Runs the real kubectl: once, or in the background until dropped.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};

use serde_json::Value;

use crate::wait::{SOON, eventually};

/// Where several versions of kubectl may be installed side by side, as `kubectl.1.30`.
const VERSIONS_DIR: &str = "/usr/lib/google-cloud-sdk/bin";

/// One kubectl, on one cluster and (if set) one namespace.
#[derive(Clone, Debug)]
pub struct Kubectl {
    program: PathBuf,
    kubeconfig: PathBuf,
    namespace: Option<String>,
    /// Flags before the verb.
    flags: Vec<String>,
}

/// What a command that ended said.
#[derive(Clone, Debug)]
pub struct Output {
    pub command: String,
    pub ok: bool,
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Output {
    pub(crate) fn of(command: &str, done: std::process::Output) -> Self {
        Self {
            command: command.into(),
            ok: done.status.success(),
            code: done.status.code(),
            stdout: String::from_utf8_lossy(&done.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&done.stderr).into_owned(),
        }
    }
    /// Standard output of a command that must have succeeded.
    #[track_caller]
    pub fn text(self) -> String {
        assert!(self.ok, "{} failed ({:?}): {}{}", self.command, self.code, self.stdout, self.stderr);
        self.stdout
    }
    /// Standard error of a command that must have failed.
    #[track_caller]
    pub fn refusal(self) -> String {
        assert!(!self.ok, "{} should have failed, but said: {}", self.command, self.stdout);
        self.stderr
    }
}

impl Kubectl {
    pub fn new(kubeconfig: PathBuf) -> Self {
        Self { program: "kubectl".into(), kubeconfig, namespace: None, flags: Vec::new() }
    }
    /// Which kubectl this is.
    pub fn program(&self) -> &Path {
        &self.program
    }
    #[must_use]
    pub fn in_namespace(&self, namespace: &str) -> Self {
        Self { namespace: Some(namespace.into()), ..self.clone() }
    }
    /// With a flag that stands before the verb, such as `--server=…`.
    #[must_use]
    pub fn with_flag(&self, flag: &str) -> Self {
        let mut with = self.clone();
        with.flags.push(flag.into());
        with
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
        command.args(&self.flags).args(args);
        command
    }

    /// `kubectl <words>`, which must succeed: its output.
    #[track_caller]
    pub fn ok(&self, words: &str) -> String {
        self.attempt(words).text()
    }

    /// `kubectl <words>`, which must fail: what it said.
    #[track_caller]
    pub fn refused(&self, words: &str) -> String {
        self.attempt(words).refusal()
    }

    /// `kubectl <words>`. For arguments that have blanks in them there is `run`.
    #[track_caller]
    pub fn attempt(&self, words: &str) -> Output {
        self.run(&words.split_whitespace().collect::<Vec<_>>())
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
        Output::of(&format!("kubectl {}", args.join(" ")), done)
    }

    /// `apply -f -`, which must succeed.
    #[track_caller]
    pub fn apply(&self, manifest: &str) -> String {
        self.run_with_input(&["apply", "-f", "-"], manifest).text()
    }

    /// `apply -f -`, which must be refused: what was said.
    #[track_caller]
    pub fn apply_refused(&self, manifest: &str) -> String {
        self.run_with_input(&["apply", "-f", "-"], manifest).refusal()
    }

    /// `get <what> -o json`; `None` if there is no such object.
    #[track_caller]
    pub fn json(&self, what: &str) -> Option<Value> {
        let text = self.ok(&format!("get {what} -o json --ignore-not-found"));
        (!text.trim().is_empty()).then(|| serde_json::from_str(&text).unwrap_or_else(|err| panic!("{err}: {text}")))
    }

    /// The objects of a list, as `pods -l app=web`.
    #[track_caller]
    pub fn list(&self, what: &str) -> Vec<Value> {
        let list = self.json(what).unwrap_or_default();
        list["items"].as_array().cloned().unwrap_or_default()
    }

    /// How many endpoints of a Service get traffic.
    #[track_caller]
    pub fn ready_endpoints(&self, service: &str) -> usize {
        let slices = self.list(&format!("endpointslices -l kubernetes.io/service-name={service}"));
        let ends = slices.iter().flat_map(|slice| slice["endpoints"].as_array().cloned().unwrap_or_default());
        ends.filter(|end| end["conditions"]["ready"] == true).count()
    }

    /// A field of an object (`pod web`) by JSON pointer, as text; "" if it is not there.
    #[track_caller]
    pub fn field(&self, what: &str, pointer: &str) -> String {
        let object = self.json(what).unwrap_or_default();
        match object.pointer(pointer) {
            None | Some(Value::Null) => String::new(),
            Some(Value::String(text)) => text.clone(),
            Some(other) => other.to_string(),
        }
    }

    /// Waits until a field of an object has a value.
    #[track_caller]
    pub fn becomes(&self, what: &str, pointer: &str, expected: &str) {
        eventually(&format!("{what} {pointer} = {expected:?}"), SOON, || {
            let seen = self.field(what, pointer);
            if seen == expected { Ok(()) } else { Err(format!("{pointer} = {seen:?}")) }
        });
    }

    /// Waits until `kubectl <words>` prints something with `wanted` in it; all that it printed.
    #[track_caller]
    pub fn shows(&self, words: &str, wanted: &str) -> String {
        eventually(&format!("`kubectl {words}` to show {wanted:?}"), SOON, || {
            let output = self.attempt(words);
            if output.ok && output.stdout.contains(wanted) { Ok(output.stdout) } else { Err(format!("{output:?}")) }
        })
    }

    #[track_caller]
    pub fn pod_is_ready(&self, name: &str) {
        eventually(&format!("pod {name} to be Ready"), SOON, || {
            let pod = self.json(&format!("pod {name}")).ok_or("no such pod")?;
            if condition(&pod, "Ready") == "True" {
                Ok(())
            } else {
                Err(format!("{} {}", pod["status"]["phase"], pod["status"]["containerStatuses"]))
            }
        });
    }

    /// Runs a shell command in a pod; its output, whether it failed or not.
    #[track_caller]
    pub fn sh(&self, pod: &str, command: &str) -> Output {
        self.run(&["exec", pod, "--", "sh", "-c", command])
    }

    /// Waits until a shell command in a pod prints what `wanted` accepts.
    #[track_caller]
    pub fn sh_until(&self, pod: &str, command: &str, wanted: impl Fn(&str) -> bool) -> String {
        eventually(&format!("`{command}` in {pod}"), SOON, || {
            let output = self.sh(pod, command);
            if output.ok && wanted(&output.stdout) { Ok(output.stdout) } else { Err(format!("{output:?}")) }
        })
    }

    /// Starts a command that goes on (`-w`, `logs -f`, `port-forward`).
    #[track_caller]
    pub fn start(&self, words: &str) -> Background {
        let mut command = self.command(&words.split_whitespace().collect::<Vec<_>>());
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

/// The status of an object's condition: "True", "False", "Unknown", or "" if it has none of this type.
pub fn condition<'a>(object: &'a Value, kind: &str) -> &'a str {
    let conditions = object["status"]["conditions"].as_array();
    let found = conditions.and_then(|list| list.iter().find(|each| each["type"] == kind));
    found.and_then(|each| each["status"].as_str()).unwrap_or_default()
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
    pub fn line(&self, what: &str, mut wanted: impl FnMut(&str) -> bool) -> String {
        eventually(what, SOON, || match self.lines.try_recv() {
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

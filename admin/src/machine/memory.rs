//! A machine in memory: files, units that take a moment to start, an apiserver that answers while its unit runs.
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};

use super::{Certificates, Look, Machine, MachineError};
use crate::api::ApiError;
use crate::topology::kernel::{MODULES, sysctl_path};

/// Certificates are no files here.
const PKI: &str = "/etc/corten/pki";
const PAUSE: Duration = Duration::from_millis(100);
/// How often a unit is looked at before it runs.
const LOOKS_TO_START: u32 = 3;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Unit {
    pub(crate) enabled: bool,
    pub(crate) started: bool,
    looks: u32,
}

/// What outlives a run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Disk {
    pub(crate) files: BTreeMap<PathBuf, (String, u32)>,
    pub(crate) dirs: BTreeMap<PathBuf, u32>,
    pub(crate) certificates: BTreeSet<String>,
    pub(crate) labels: BTreeSet<String>,
    /// Whose what is, if it is not root's.
    pub(crate) owners: BTreeMap<PathBuf, String>,
    /// Where somebody set another mode than what it was made with.
    pub(crate) modes: BTreeMap<PathBuf, u32>,
}

#[derive(Default)]
pub(crate) struct Memory {
    pub(crate) disk: RefCell<Disk>,
    pub(crate) units: RefCell<BTreeMap<String, Unit>>,
    /// Commands that change something, as they were given.
    pub(crate) commands: RefCell<Vec<String>>,
    /// So many changes are made before everything fails, as when power goes.
    pub(crate) changes_left: Cell<Option<u32>>,
    /// Units that never run.
    pub(crate) broken: BTreeSet<String>,
    /// Units that run for a moment and end, again and again.
    pub(crate) fleeting: BTreeSet<String>,
    pub(crate) elapsed: Cell<Duration>,
}

impl Memory {
    fn change(&self) -> Result<(), MachineError> {
        match self.changes_left.get() {
            Some(0) => Err(MachineError::Failed { command: "everything".into(), said: "power is gone".into() }),
            Some(left) => {
                self.changes_left.set(Some(left - 1));
                Ok(())
            }
            None => Ok(()),
        }
    }

    pub(crate) fn runs(&self, unit: &str) -> bool {
        let units = self.units.borrow();
        units.get(unit).is_some_and(|unit| unit.started && unit.looks >= LOOKS_TO_START)
    }

    fn show(&self, name: &str) -> String {
        let mut units = self.units.borrow_mut();
        let unit = units.entry(name.to_owned()).or_default();
        unit.looks += 1;
        let enabled = if unit.enabled { "enabled" } else { "disabled" };
        let ended = self.broken.contains(name) || (self.fleeting.contains(name) && unit.looks != LOOKS_TO_START);
        let runs = unit.started && unit.looks >= LOOKS_TO_START && !ended;
        // Right after a restart the program before it still runs, and the job waits.
        let (active, job) = match (unit.started, unit.looks) {
            (false, _) => ("inactive", ""),
            (true, 1) => ("active", "17"),
            (true, _) => (if runs { "active" } else { "activating" }, ""),
        };
        let own = Path::new("/etc/systemd/system").join(name);
        let of_package = ["etcd.service", "containerd.service"].contains(&name);
        let load = if of_package || self.disk.borrow().files.contains_key(&own) { "loaded" } else { "not-found" };
        format!("LoadState={load}\nActiveState={active}\nSubState=some\nUnitFileState={enabled}\nJob={job}\n")
    }

    fn systemctl(&self, args: &[&str]) -> Result<String, MachineError> {
        if let ["show", name, ..] = args {
            return Ok(self.show(name));
        }
        self.change()?;
        self.commands.borrow_mut().push(args.join(" "));
        let mut units = self.units.borrow_mut();
        match args {
            ["daemon-reload"] => {}
            ["restart", "systemd-sysctl.service"] => self.set_sysctls(),
            ["stop", name] => units.entry((*name).to_owned()).or_default().started = false,
            ["enable", name] => units.entry((*name).to_owned()).or_default().enabled = true,
            ["restart", "--no-block", name] => {
                let unit = units.entry((*name).to_owned()).or_default();
                (unit.started, unit.looks) = (true, 0);
            }
            ["disable", "--now", name] => drop(units.insert((*name).to_owned(), Unit::default())),
            _ => panic!("systemctl {args:?} is not known here"),
        }
        Ok(String::new())
    }

    fn set_sysctls(&self) {
        let mut disk = self.disk.borrow_mut();
        let conf = disk.files.get(Path::new("/etc/sysctl.d/zz-corten.conf")).cloned().unwrap_or_default().0;
        for (name, value) in conf.lines().filter_map(|line| line.split_once(" = ")) {
            disk.files.insert(sysctl_path(name), (format!("{value}\n"), 0o644));
        }
    }

    fn unreachable() -> MachineError {
        let address = SocketAddr::from(([127, 0, 0, 1], 6443));
        ApiError::Unreachable { address, source: std::io::ErrorKind::ConnectionRefused.into() }.into()
    }

    fn node(&self) -> Value {
        let labels: BTreeMap<String, String> =
            self.disk.borrow().labels.iter().map(|label| (label.clone(), String::new())).collect();
        let ready = if self.runs("corten-proxy.service") { "True" } else { "False" };
        json!({"metadata": {"labels": labels}, "status": {"conditions": [{"type": "Ready", "status": ready}]}})
    }
}

impl Machine for Memory {
    fn read(&self, path: &Path) -> Result<Option<String>, MachineError> {
        Ok(self.disk.borrow().files.get(path).map(|(text, _)| text.clone()))
    }

    fn write(&self, path: &Path, text: &str, mode: u32) -> Result<(), MachineError> {
        self.change()?;
        let mut disk = self.disk.borrow_mut();
        // A new file takes its place: it is of whoever writes it.
        disk.owners.remove(path);
        disk.modes.remove(path);
        disk.files.insert(path.into(), (text.to_owned(), mode));
        Ok(())
    }

    fn remove(&self, path: &Path) -> Result<(), MachineError> {
        self.change()?;
        self.disk.borrow_mut().files.remove(path);
        Ok(())
    }

    fn exists(&self, path: &Path) -> bool {
        let disk = self.disk.borrow();
        let below = |file: &PathBuf| file.starts_with(path);
        let has_certificate = |stem: &String| Path::new(PKI).join(stem).starts_with(path);
        disk.files.keys().chain(disk.dirs.keys()).any(below) || disk.certificates.iter().any(has_certificate)
    }

    fn make_dir(&self, path: &Path, mode: u32) -> Result<(), MachineError> {
        self.change()?;
        self.disk.borrow_mut().dirs.entry(path.into()).or_insert(mode);
        Ok(())
    }

    fn look(&self, path: &Path) -> Result<Option<Look>, MachineError> {
        let disk = self.disk.borrow();
        let is_pki = path.starts_with(PKI) && !disk.certificates.is_empty();
        let mode_of_pki = || {
            let is_dir = path.extension().is_none();
            is_pki.then(|| if is_dir { 0o755 } else { crate::pki::mode_of(&path.to_string_lossy()) })
        };
        let made = disk.files.get(path).map(|(_, mode)| *mode).or_else(|| disk.dirs.get(path).copied());
        let above = disk.files.keys().any(|file| file.starts_with(path)).then_some(0o755);
        let mode = disk.modes.get(path).copied().or(made).or_else(mode_of_pki).or(above);
        let user = disk.owners.get(path).cloned().unwrap_or_else(|| "root".to_owned());
        Ok(mode.map(|mode| Look { user, mode, is_link: false }))
    }

    fn set_mode(&self, path: &Path, mode: u32) -> Result<(), MachineError> {
        self.change()?;
        self.disk.borrow_mut().modes.insert(path.into(), mode);
        Ok(())
    }

    fn set_owner(&self, path: &Path, user: &str) -> Result<(), MachineError> {
        self.change()?;
        let mut disk = self.disk.borrow_mut();
        match user {
            "root" => drop(disk.owners.remove(path)),
            _ => drop(disk.owners.insert(path.into(), user.to_owned())),
        }
        Ok(())
    }

    fn others_in(&self, dir: &Path, user: &str) -> Result<Vec<PathBuf>, MachineError> {
        let disk = self.disk.borrow();
        let inside = disk.files.keys().chain(disk.dirs.keys()).filter(|path| path.starts_with(dir) && *path != dir);
        let is_others = |path: &&PathBuf| disk.owners.get(*path).map_or("root", String::as_str) != user;
        Ok(inside.filter(is_others).cloned().collect())
    }

    fn give_all_in(&self, dir: &Path, user: &str) -> Result<(), MachineError> {
        self.others_in(dir, user)?.iter().try_for_each(|path| self.set_owner(path, user))
    }

    fn remove_dir(&self, path: &Path) -> Result<(), MachineError> {
        self.change()?;
        let mut disk = self.disk.borrow_mut();
        disk.files.retain(|file, _| !file.starts_with(path));
        disk.dirs.retain(|dir, _| !dir.starts_with(path));
        disk.owners.retain(|file, _| !file.starts_with(path));
        disk.modes.retain(|file, _| !file.starts_with(path));
        if path == Path::new(PKI) {
            disk.certificates.clear();
        }
        Ok(())
    }

    fn run(&self, program: &str, args: &[&str]) -> Result<String, MachineError> {
        match (program, args) {
            ("systemctl", args) => self.systemctl(args),
            ("modprobe", [name]) => {
                self.change()?;
                let module = MODULES.into_iter().find(|module| module.name == *name).unwrap();
                self.disk.borrow_mut().files.insert(module.seen_at.into(), ("0\n".into(), 0o644));
                Ok(String::new())
            }
            _ => panic!("{program} is not known here"),
        }
    }

    fn lacking(&self, wanted: &Certificates) -> Result<Vec<String>, MachineError> {
        let disk = self.disk.borrow();
        let all = wanted.control_plane.certificates().into_iter().chain(wanted.node.clone());
        Ok(all.map(|plan| plan.file_stem).filter(|stem| !disk.certificates.contains(stem)).collect())
    }

    fn issue(&self, wanted: &Certificates) -> Result<(), MachineError> {
        for stem in self.lacking(wanted)? {
            self.change()?;
            self.disk.borrow_mut().certificates.insert(stem);
        }
        Ok(())
    }

    fn kubeconfig(&self, cluster: &str, server: &str) -> Result<String, MachineError> {
        Ok(format!("{cluster} at {server}"))
    }

    fn get(&self, path: &str) -> Result<Option<Value>, MachineError> {
        match path {
            _ if !self.runs("corten-apiserver.service") => Err(Self::unreachable()),
            "/readyz" => Ok(Some("ok".into())),
            _ => Ok(self.runs("corten-kubelet.service").then(|| self.node())),
        }
    }

    fn patch(&self, _path: &str, patch: &Value) -> Result<(), MachineError> {
        self.change()?;
        let labels = patch["metadata"]["labels"].as_object().cloned().unwrap_or_default();
        self.disk.borrow_mut().labels.extend(labels.into_iter().map(|(label, _)| label));
        Ok(())
    }

    fn elapsed(&self) -> Duration {
        self.elapsed.get()
    }

    fn pause(&self) {
        self.elapsed.set(self.elapsed.get() + PAUSE);
    }
}

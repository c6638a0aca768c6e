//! This machine: files through std, programs through systemd's and others' commands.
use std::fs::{self, DirBuilder, OpenOptions, Permissions};
use std::io::{ErrorKind, Write};
use std::net::SocketAddr;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde_json::Value;

use super::{Certificates, Look, Machine, MachineError, owners};
use crate::api::Api;
use crate::kubeconfig::{self, Access};
use crate::pki::Pki;

const PAUSE: Duration = Duration::from_millis(100);
/// How much of what a failed program says an error shows.
const SHOWN_BYTES_MAX: usize = 2048;
/// Where administrators' programs are that a user's PATH may lack.
const SBIN: &str = "/usr/local/sbin:/usr/sbin:/sbin";

pub struct ThisMachine {
    pki_dir: PathBuf,
    api: SocketAddr,
    started: Instant,
}

impl ThisMachine {
    /// `api`: where its apiserver will be.
    pub fn new(pki_dir: impl Into<PathBuf>, api: SocketAddr) -> Self {
        Self { pki_dir: pki_dir.into(), api, started: Instant::now() }
    }

    fn pki(&self) -> Pki {
        Pki::new(&self.pki_dir, Timestamp::now())
    }

    fn api(&self) -> Result<Api, MachineError> {
        Ok(Api::new(self.api, &self.pki(), "admin")?)
    }
}

impl Machine for ThisMachine {
    fn read(&self, path: &Path) -> Result<Option<String>, MachineError> {
        match fs::read_to_string(path) {
            Ok(text) => Ok(Some(text)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(source) => Err(MachineError::File { doing: "read", path: path.into(), source }),
        }
    }

    fn write(&self, path: &Path, text: &str, mode: u32) -> Result<(), MachineError> {
        let failed = |doing| move |source| MachineError::File { doing, path: path.into(), source };
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).map_err(failed("make the directory of"))?;
        }
        let mut name = path.file_name().unwrap_or_default().to_owned();
        name.push(".new");
        let new = path.with_file_name(name);
        // What a run that was cut off left behind may have another mode, which only a new file is given.
        self.remove(&new)?;
        let mut file =
            OpenOptions::new().write(true).create_new(true).mode(mode).open(&new).map_err(failed("create"))?;
        // The umask has taken from it.
        file.set_permissions(Permissions::from_mode(mode)).map_err(failed("set the mode of"))?;
        file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(failed("write"))?;
        fs::rename(&new, path).map_err(failed("rename into"))
    }

    fn remove(&self, path: &Path) -> Result<(), MachineError> {
        match fs::remove_file(path) {
            Err(source) if source.kind() != ErrorKind::NotFound => {
                Err(MachineError::File { doing: "remove", path: path.into(), source })
            }
            _ => Ok(()),
        }
    }

    fn exists(&self, path: &Path) -> bool {
        path.exists()
    }

    fn make_dir(&self, path: &Path, mode: u32) -> Result<(), MachineError> {
        let failed = |source| MachineError::File { doing: "make", path: path.into(), source };
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).map_err(failed)?;
        }
        match DirBuilder::new().mode(mode).create(path) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
            Err(error) => Err(failed(error)),
            // The umask has taken from it.
            Ok(()) => fs::set_permissions(path, Permissions::from_mode(mode)).map_err(failed),
        }
    }

    fn look(&self, path: &Path) -> Result<Option<Look>, MachineError> {
        owners::look(path)
    }

    fn set_owner(&self, path: &Path, user: &str) -> Result<(), MachineError> {
        owners::set_owner(path, user)
    }

    fn set_mode(&self, path: &Path, mode: u32) -> Result<(), MachineError> {
        owners::set_mode(path, mode)
    }

    fn others_in(&self, dir: &Path, user: &str) -> Result<Vec<PathBuf>, MachineError> {
        owners::others_in(dir, user)
    }

    fn give_all_in(&self, dir: &Path, user: &str) -> Result<(), MachineError> {
        owners::give_all_in(dir, user)
    }

    fn remove_dir(&self, path: &Path) -> Result<(), MachineError> {
        match fs::remove_dir_all(path) {
            Err(source) if source.kind() != ErrorKind::NotFound => {
                Err(MachineError::File { doing: "remove", path: path.into(), source })
            }
            _ => Ok(()),
        }
    }

    fn run(&self, program: &str, args: &[&str]) -> Result<String, MachineError> {
        let path = std::env::var("PATH").unwrap_or_default();
        let output = Command::new(program)
            .args(args)
            .env("PATH", format!("{path}:{SBIN}"))
            .stdin(Stdio::null())
            .output()
            .map_err(|source| MachineError::Start { program: program.to_owned(), source })?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        let said = String::from_utf8_lossy(&output.stderr);
        let start = said.ceil_char_boundary(said.len().saturating_sub(SHOWN_BYTES_MAX));
        let command = [&[program], args].concat().join(" ");
        Err(MachineError::Failed { command, said: said[start..].trim().to_owned() })
    }

    fn lacking(&self, wanted: &Certificates) -> Result<Vec<String>, MachineError> {
        Ok(self.pki().lacking(&wanted.control_plane, &wanted.node)?)
    }

    fn issue(&self, wanted: &Certificates) -> Result<(), MachineError> {
        self.pki().init(&wanted.control_plane)?;
        self.pki().issue_all(&wanted.node)?;
        Ok(())
    }

    fn kubeconfig(&self, cluster: &str, server: &str) -> Result<String, MachineError> {
        let pki = self.pki();
        let read = |path: PathBuf| {
            fs::read_to_string(&path).map_err(|source| MachineError::File { doing: "read", path, source })
        };
        let (ca_pem, cert_pem, key_pem) = (read(pki.cert("ca"))?, read(pki.cert("admin"))?, read(pki.key("admin"))?);
        let access = Access {
            cluster,
            server,
            user: "kubernetes-admin",
            ca_pem: &ca_pem,
            cert_pem: &cert_pem,
            key_pem: &key_pem,
        };
        kubeconfig::render(&access).map_err(|error| MachineError::File {
            doing: "render",
            path: "the kubeconfig".into(),
            source: error.into(),
        })
    }

    fn get(&self, path: &str) -> Result<Option<Value>, MachineError> {
        Ok(self.api()?.get(path)?)
    }

    fn patch(&self, path: &str, patch: &Value) -> Result<(), MachineError> {
        Ok(self.api()?.patch(path, patch)?)
    }

    fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    fn pause(&self) {
        std::thread::sleep(PAUSE);
    }
}

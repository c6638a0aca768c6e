//! Where a machine's programs and files are. A lab's nodes share a disk and have them elsewhere.
use std::path::PathBuf;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    /// Our own programs.
    pub bin_dir: PathBuf,
    /// Those of other packages (etcd, containerd); none: they are looked for on PATH.
    pub system_bin_dir: Option<PathBuf>,
    /// Certificates and keys.
    pub pki_dir: PathBuf,
    /// containerd's settings.
    pub containerd_toml: PathBuf,
    pub etcd_data_dir: PathBuf,
    /// The address at which /healthz, /readyz and /metrics are served over plain HTTP.
    pub metrics_host: String,
}

impl Layout {
    /// A machine of its own, with systemd.
    pub fn machine() -> Self {
        Self {
            bin_dir: "/usr/local/bin".into(),
            system_bin_dir: Some("/usr/bin".into()),
            pki_dir: "/etc/corten/pki".into(),
            containerd_toml: "/etc/corten/containerd.toml".into(),
            etcd_data_dir: "/var/lib/etcd/corten".into(),
            metrics_host: "127.0.0.1".into(),
        }
    }
}

//! The programs of a cluster, and what each is called where.

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ProgramName {
    Etcd,
    Apiserver,
    Scheduler,
    Controllers,
    Containerd,
    Kubelet,
    Proxy,
}

impl ProgramName {
    pub const ALL: [Self; 7] =
        [Self::Etcd, Self::Apiserver, Self::Scheduler, Self::Controllers, Self::Containerd, Self::Kubelet, Self::Proxy];

    /// What people call it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Etcd => "etcd",
            Self::Apiserver => "apiserver",
            Self::Scheduler => "scheduler",
            Self::Controllers => "controllers",
            Self::Containerd => "containerd",
            Self::Kubelet => "kubelet",
            Self::Proxy => "proxy",
        }
    }

    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|program| program.as_str() == name)
    }

    /// The file's name, as it shows in /proc.
    pub fn binary(self) -> &'static str {
        match self {
            Self::Etcd => "etcd",
            Self::Apiserver => "corten-apiserver",
            Self::Scheduler => "corten-scheduler",
            Self::Controllers => "corten-controllers",
            Self::Containerd => "containerd",
            Self::Kubelet => "corten-kubelet",
            Self::Proxy => "corten-proxy",
        }
    }

    /// Comes with this project, and not with a package of the distribution.
    pub fn is_ours(self) -> bool {
        !matches!(self, Self::Etcd | Self::Containerd)
    }

    pub fn unit(self) -> String {
        format!("{}.service", self.binary())
    }

    /// The variable of `node.env` that has more arguments for it.
    pub fn extra_args_variable(self) -> String {
        format!("{}_EXTRA_ARGS", self.as_str().to_uppercase())
    }
}

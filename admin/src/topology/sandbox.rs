//! How units confine programs, each setting with its reason. The kubelet has no confinement: it mounts, makes namespaces
//! and starts whatever containers are.
use super::program::Setting;

/// With `TALKS_ONLY`.
pub(super) const POWERLESS: &[Setting] = &[Setting {
    why: "Root without its powers: it only reads keys that root alone may read.",
    lines: &["CapabilityBoundingSet="],
}];

/// With `TALKS_ONLY`.
pub(super) const ANY_PORT: &[Setting] = &[Setting {
    why: "Root without its powers but for one, as its port may be 443: it only reads keys that root alone may read.",
    lines: &["CapabilityBoundingSet=CAP_NET_BIND_SERVICE"],
}];

/// For programs that only talk: to etcd, to the apiservers, to who asks them. Which powers they have stands beside it.
pub(super) const TALKS_ONLY: &[Setting] = &[
    Setting { why: "Nothing in it becomes more than it is.", lines: &["NoNewPrivileges=yes", "RestrictSUIDSGID=yes"] },
    Setting {
        why: "It writes no file: all that it knows is in etcd.",
        lines: &["ProtectSystem=strict", "ProtectHome=yes", "PrivateTmp=yes", "PrivateDevices=yes"],
    },
    Setting {
        why: "The machine's own settings are not its business.",
        lines: &[
            "ProtectKernelTunables=yes",
            "ProtectKernelModules=yes",
            "ProtectKernelLogs=yes",
            "ProtectControlGroups=yes",
            "ProtectHostname=yes",
            "ProtectClock=yes",
        ],
    },
    Setting {
        why: "It speaks TCP, and to systemd, and starts nothing.",
        lines: &["RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX", "RestrictNamespaces=yes", "RestrictRealtime=yes"],
    },
    Setting {
        why: "It runs its own code alone.",
        lines: &["LockPersonality=yes", "MemoryDenyWriteExecute=yes", "SystemCallArchitectures=native"],
    },
];

/// For etcd, which has a user of its own and writes its data alone: what it may write stands with it.
pub(super) const KEEPS_DATA: &[Setting] = &[
    Setting { why: "Nothing in it becomes more than it is.", lines: &["NoNewPrivileges=yes", "RestrictSUIDSGID=yes"] },
    Setting { why: "It is no root, and needs none of root's powers.", lines: &["CapabilityBoundingSet="] },
    Setting {
        why: "All other files are not its business.",
        lines: &["ProtectSystem=strict", "ProtectHome=yes", "PrivateTmp=yes", "PrivateDevices=yes"],
    },
    Setting {
        why: "Nor are the machine's own settings.",
        lines: &[
            "ProtectKernelTunables=yes",
            "ProtectKernelModules=yes",
            "ProtectKernelLogs=yes",
            "ProtectControlGroups=yes",
            "ProtectHostname=yes",
            "ProtectClock=yes",
        ],
    },
    Setting {
        why: "It speaks TCP, and to systemd, and starts nothing.",
        lines: &["RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX", "RestrictNamespaces=yes", "RestrictRealtime=yes"],
    },
];

/// For the proxy, which writes the network's state and nothing else.
pub(super) const NETWORK: &[Setting] = &[
    Setting { why: "Nothing in it becomes more than it is.", lines: &["NoNewPrivileges=yes", "RestrictSUIDSGID=yes"] },
    Setting {
        why: "nftables, routes and the DNS port.",
        lines: &["CapabilityBoundingSet=CAP_NET_ADMIN CAP_NET_BIND_SERVICE CAP_NET_RAW"],
    },
    Setting {
        why: "It writes no file but in /proc/sys/net, which must stay writable.",
        lines: &["ProtectSystem=full", "ProtectHome=yes", "PrivateTmp=yes"],
    },
    Setting {
        why: "The machine's other settings are not its business.",
        lines: &["ProtectKernelModules=yes", "ProtectControlGroups=yes"],
    },
];

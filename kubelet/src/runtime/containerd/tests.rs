//! The runtime on a real containerd.

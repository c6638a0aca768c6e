//! corten-kubelet: starts the node agent, or, when containerd's shim asks for it, a container's logger.

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() {
    // First of all: there is a logger for every container, and it must stay small.
    if let Some(log) = corten_kubelet::logs::logger::log_path_from_args() {
        corten_kubelet::logs::logger::run(&log);
    }
}

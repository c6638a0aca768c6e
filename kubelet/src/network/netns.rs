//! Network namespaces of pods: made on a thread of their own and held open by a bind mount; and doing things inside one.

use std::fs::File;
use std::io;
use std::path::Path;

use nix::mount::{MntFlags, MsFlags};
use nix::sched::{CloneFlags, setns, unshare};

/// Makes a new namespace and holds it open at `path`.
pub fn create(path: &Path) -> io::Result<()> {
    if let Some(dir) = path.parent() {
        std::fs::create_dir_all(dir)?;
    }
    File::create(path)?;
    let held = on_own_thread(|| {
        unshare(CloneFlags::CLONE_NEWNET)?;
        // The thread's own: the process's is the node's.
        nix::mount::mount(Some("/proc/thread-self/ns/net"), path, None::<&str>, MsFlags::MS_BIND, None::<&str>)?;
        Ok(())
    });
    if held.is_err() {
        remove(path)?;
    }
    held
}

/// The namespace ends when nothing runs in it any more. One that is gone is fine.
pub fn remove(path: &Path) -> io::Result<()> {
    use nix::errno::Errno;
    match nix::mount::umount2(path, MntFlags::MNT_DETACH) {
        // Not mounted (we were cut off half-way), or not there.
        Ok(()) | Err(Errno::EINVAL | Errno::ENOENT) => {}
        Err(e) => return Err(e.into()),
    }
    match std::fs::remove_file(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
        _ => Ok(()),
    }
}

/// Is a namespace held at the path, or only an empty file left from before a reboot?
pub(crate) fn is_held(path: &Path) -> bool {
    const NSFS_MAGIC: i64 = 0x6e73_6673;
    nix::sys::statfs::statfs(path).is_ok_and(|stat| stat.filesystem_type().0 == NSFS_MAGIC)
}

/// Does something, such as opening a socket, in the namespace at `path`. What it opens stays in there.
pub fn inside<T: Send>(path: &Path, work: impl FnOnce() -> io::Result<T> + Send) -> io::Result<T> {
    let namespace = File::open(path)?;
    on_own_thread(move || {
        setns(namespace, CloneFlags::CLONE_NEWNET)?;
        work()
    })
}

/// A thread that changed its namespace must never do anything else: it ends here.
pub(crate) fn on_own_thread<T: Send>(work: impl FnOnce() -> io::Result<T> + Send) -> io::Result<T> {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().name("namespace".into()).spawn_scoped(scope, work)?;
        thread.join().unwrap_or_else(|_| Err(io::Error::other("the thread in a namespace of its own died")))
    })
}

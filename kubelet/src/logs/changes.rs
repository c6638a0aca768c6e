//! A file's growth, its renaming and its writer's end, told by the kernel at once, so that a follower need not look often.
#![allow(unsafe_code, reason = "registering a descriptor with the runtime")]

use std::os::fd::OwnedFd;
use std::path::Path;

use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Events of one file are alike, and the kernel joins those that repeat.
const EVENTS_BYTES: usize = 4096;

pub(super) struct Changes {
    inotify: AsyncFd<OwnedFd>,
}

impl Changes {
    /// `None`: the kernel gives no more watches; a follower then only looks from time to time.
    pub(super) fn of(path: &Path) -> Option<Self> {
        let inotify = Inotify::init(InitFlags::IN_NONBLOCK | InitFlags::IN_CLOEXEC).ok()?;
        // That the logger closes it is the end of the container.
        let told = AddWatchFlags::IN_MODIFY | AddWatchFlags::IN_MOVE_SELF | AddWatchFlags::IN_CLOSE_WRITE;
        inotify.add_watch(path, told | AddWatchFlags::IN_DONT_FOLLOW).ok()?;
        // SAFETY: the descriptor is owned by what is registered, and neither is given away nor closed before it.
        let inotify = unsafe { AsyncFd::register_with_interest(inotify.into(), Interest::READABLE) };
        inotify.ok().map(|inotify| Self { inotify })
    }

    /// Something changed since the last call; what, the file itself shows. A watch that fails tells nothing any more.
    pub(super) async fn next(&self) {
        let mut events = [0; EVENTS_BYTES];
        let read = self.inotify.async_io(Interest::READABLE, |fd| Ok(nix::unistd::read(fd, &mut events)?)).await;
        if read.is_err() {
            std::future::pending().await
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[tokio::test]
    async fn writing_renaming_and_the_writers_end_are_changes() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let mut file = std::fs::File::create(&path).unwrap();
        let changes = Changes::of(&path).unwrap();
        file.write_all(b"line").unwrap();
        changes.next().await;
        std::fs::rename(&path, dir.path().join("old")).unwrap();
        changes.next().await;
        drop(file);
        changes.next().await;
        assert!(Changes::of(&path).is_none(), "there is no such file any more");
    }
}

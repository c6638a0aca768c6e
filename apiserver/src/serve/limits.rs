//! How many sockets there may be: what the process's file handles allow, and no more than we want.

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// Sockets that are wanted at most: each of 5,000 nodes has a few connections, and a handshake becomes one.
const SOCKETS_MAX: usize = 32 * 1024;
/// With fewer it says so.
const SOCKETS_FEW: usize = 8192;
/// Of each so many file handles one is kept for all else: etcd, kubelets, certificates, the log.
const KEPT_SHARE: u64 = 4;

/// Takes all file handles that the process may have. Gives how many sockets they are enough for.
pub fn take_files() -> usize {
    let (soft, hard) = match getrlimit(Resource::RLIMIT_NOFILE) {
        Ok(limits) => limits,
        Err(err) => {
            tracing::warn!(%err, "the limit of open files is not known");
            return SOCKETS_MAX;
        }
    };
    let files = match setrlimit(Resource::RLIMIT_NOFILE, hard, hard) {
        Ok(()) => hard,
        Err(err) => {
            tracing::warn!(%err, soft, hard, "the limit of open files cannot be raised");
            soft
        }
    };
    let sockets = sockets(files);
    if sockets < SOCKETS_FEW {
        tracing::warn!(files, sockets, "few files may be open: raise the hard limit (LimitNOFILE=) for more");
    }
    sockets
}

fn sockets(files: u64) -> usize {
    usize::try_from(files - files / KEPT_SHARE).unwrap_or(usize::MAX).clamp(1, SOCKETS_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn some_files_are_kept_for_others() {
        for (files, expected) in [(0, 1), (1024, 768), (10_000, 7500), (65_536, 32_768), (u64::MAX, 32_768)] {
            assert_eq!(sockets(files), expected, "{files}");
        }
    }

    #[test]
    fn the_soft_limit_is_raised_to_the_hard_one() {
        assert!(take_files() > 0);
        let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
        assert_eq!(soft, hard);
    }
}

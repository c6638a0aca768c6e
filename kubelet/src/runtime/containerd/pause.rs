//! The process that holds a pod's namespaces: 200 bytes of machine code, written by us, so that no image is needed.

use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

#[cfg(not(target_arch = "x86_64"))]
compile_error!("write the pause program for this architecture: ignore SIGCHLD, then pause(2) for ever");

/// Where the kernel maps the program.
const BASE: u64 = 0x40_0000;
const HEADERS: u64 = 64 + 56;

/// Ignoring SIGCHLD makes the kernel reap what ends in a shared pid namespace; then it sleeps until it is killed.
const CODE: &[u8] = &[
    0xb8, 0x0d, 0x00, 0x00, 0x00, // mov eax, 13 (rt_sigaction)
    0xbf, 0x11, 0x00, 0x00, 0x00, // mov edi, 17 (SIGCHLD)
    0x48, 0x8d, 0x35, 0x13, 0x00, 0x00, 0x00, // lea rsi, [rip + 0x13] (the struct below)
    0x31, 0xd2, // xor edx, edx
    0x41, 0xba, 0x08, 0x00, 0x00, 0x00, // mov r10d, 8
    0x0f, 0x05, // syscall
    0xb8, 0x22, 0x00, 0x00, 0x00, // mov eax, 34 (pause)
    0x0f, 0x05, // syscall
    0xeb, 0xf7, // jmp to the mov before
    1, 0, 0, 0, 0, 0, 0, 0, // sa_handler = SIG_IGN
    0, 0, 0, 0, 0, 0, 0, 0, // sa_flags
    0, 0, 0, 0, 0, 0, 0, 0, // sa_restorer
    0, 0, 0, 0, 0, 0, 0, 0, // sa_mask
];

/// A static ELF program of one segment.
fn elf() -> Vec<u8> {
    let size = HEADERS + CODE.len() as u64;
    let mut elf = Vec::new();
    elf.extend_from_slice(&[0x7f, b'E', b'L', b'F', 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    elf.extend_from_slice(&[2, 0, 0x3e, 0, 1, 0, 0, 0]); // an executable for x86-64
    elf.extend_from_slice(&(BASE + HEADERS).to_le_bytes()); // entry
    elf.extend_from_slice(&64_u64.to_le_bytes()); // program headers
    elf.extend_from_slice(&0_u64.to_le_bytes()); // no section headers
    elf.extend_from_slice(&[0, 0, 0, 0, 64, 0, 56, 0, 1, 0, 0, 0, 0, 0, 0, 0]);
    elf.extend_from_slice(&[1, 0, 0, 0, 5, 0, 0, 0]); // load, readable and executable
    for word in [0, BASE, BASE, size, size, 0x1000] {
        elf.extend_from_slice(&u64::to_le_bytes(word));
    }
    elf.extend_from_slice(CODE);
    elf
}

/// Writes the root filesystem that all sandboxes share, read-only. The path of the directory.
pub(super) fn install(state_dir: &Path) -> io::Result<PathBuf> {
    let root = state_dir.join("pause");
    for dir in ["proc", "dev", "sys"] {
        std::fs::DirBuilder::new().recursive(true).mode(0o755).create(root.join(dir))?;
    }
    let (path, fresh) = (root.join("pause"), root.join(".pause.new"));
    if std::fs::read(&path).is_ok_and(|have| have == elf()) {
        return Ok(root);
    }
    // By rename: running sandboxes keep the old one open.
    let mut file = std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o755).open(&fresh)?;
    io::Write::write_all(&mut file, &elf())?;
    drop(file);
    std::fs::rename(fresh, path)?;
    Ok(root)
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    #[test]
    fn the_program_runs_and_waits() {
        let dir = tempfile::tempdir().unwrap();
        let root = super::install(dir.path()).unwrap();
        let mut child = Command::new(root.join("pause")).spawn().unwrap();
        // A crash (a wrong jump, a wrong header) would show at once; being alive in pause(2) is what is wanted.
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(5);
        let stat = format!("/proc/{}/syscall", child.id());
        let paused = || std::fs::read_to_string(&stat).is_ok_and(|s| s.starts_with("34 "));
        while !paused() && child.try_wait().unwrap().is_none() && std::time::Instant::now() < deadline {
            std::thread::yield_now();
        }
        let (alive, status) = (paused(), std::fs::read_to_string(format!("/proc/{}/status", child.id())));
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(alive, "the process sleeps in pause(2)");
        let ignored = status.unwrap();
        let mask = ignored.lines().find_map(|l| l.strip_prefix("SigIgn:")).unwrap().trim().to_owned();
        assert_eq!(
            u64::from_str_radix(&mask, 16).unwrap() & (1 << 16),
            1 << 16,
            "SIGCHLD is ignored: children are reaped"
        );
        assert!(super::install(dir.path()).is_ok(), "a second install finds it in place");
    }
}

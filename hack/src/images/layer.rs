//! A directory as an OCI layer: tar and gzip, the same bytes every time.
use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use bytes::Bytes;
use flate2::{Compression, GzBuilder};
use sha2::{Digest, Sha256};
use tar::{Builder, EntryType, Header};

use super::catalog::hex;

/// Permission bits, with set-user-id and sticky.
const MODE_BITS: u32 = 0o7777;

pub(super) struct Layer {
    pub(super) gzip: Bytes,
    /// `sha256:` of the tar before compression.
    pub(super) diff_id: String,
}

pub(super) fn of_directory(root: &Path) -> anyhow::Result<Layer> {
    let mut tar = Builder::new(Vec::new());
    for path in sorted(root)? {
        append(&mut tar, root, &path).with_context(|| format!("cannot pack {}", path.display()))?;
    }
    let tar = tar.into_inner()?;
    let diff_id = format!("sha256:{}", hex(&Sha256::digest(&tar)));
    let mut gzip = GzBuilder::new().mtime(0).write(Vec::new(), Compression::default());
    gzip.write_all(&tar)?;
    Ok(Layer { gzip: gzip.finish()?.into(), diff_id })
}

fn append(tar: &mut Builder<Vec<u8>>, root: &Path, path: &Path) -> anyhow::Result<()> {
    let name = path.strip_prefix(root)?;
    let meta = fs::symlink_metadata(path)?;
    let mut header = Header::new_gnu();
    header.set_mode(meta.permissions().mode() & MODE_BITS);
    header.set_size(0);
    // Owner, group and time are 0: nothing of this machine or this moment is in an image.
    if meta.is_symlink() {
        header.set_entry_type(EntryType::Symlink);
        tar.append_link(&mut header, name, fs::read_link(path)?)?;
    } else if meta.is_dir() {
        header.set_entry_type(EntryType::Directory);
        tar.append_data(&mut header, name, std::io::empty())?;
    } else if meta.is_file() {
        header.set_entry_type(EntryType::Regular);
        header.set_size(meta.len());
        tar.append_data(&mut header, name, fs::File::open(path)?)?;
    } else {
        bail!("neither file, directory nor symlink");
    }
    Ok(())
}

/// Everything below `root`, directories before what is in them.
fn sorted(root: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut dirs = vec![root.to_owned()];
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(&dir)? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                dirs.push(entry.path());
            }
            found.push(entry.path());
        }
    }
    found.sort();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn the_same_files_give_the_same_layer() {
        let make = |name: &str| {
            let dir = std::env::temp_dir().join(format!("corten-layer-{name}-{}", std::process::id()));
            fs::create_dir_all(dir.join("bin")).unwrap();
            fs::write(dir.join("bin/a"), "a").unwrap();
            symlink("/bin/a", dir.join("bin/b")).unwrap();
            let layer = of_directory(&dir).unwrap();
            fs::remove_dir_all(&dir).unwrap();
            layer
        };
        let (one, two) = (make("one"), make("two"));
        assert_eq!(one.diff_id, two.diff_id);
        assert_eq!(one.gzip, two.gzip);
    }
}

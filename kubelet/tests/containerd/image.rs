//! A small image from the host's own programs: no registry is reachable where tests run.

use std::collections::BTreeSet;
use std::io::Write;
use std::path::PathBuf;
use std::process::Command;

use sha2::Digest;

const PROGRAMS: &[&str] = &["sh", "cat", "sleep", "echo", "id", "head", "env", "ls", "tail", "stty"];

pub(crate) struct Image {
    pub(crate) manifest: Vec<u8>,
    pub(crate) index: Vec<u8>,
    /// Config and layers.
    pub(crate) blobs: Vec<Vec<u8>>,
}

pub(crate) fn digest(bytes: &[u8]) -> String {
    let hex: String = sha2::Sha256::digest(bytes).iter().map(|b| format!("{b:02x}")).collect();
    format!("sha256:{hex}")
}

/// Two layers: the programs, and `/etc`.
pub(crate) fn build() -> Image {
    let mut programs = tar::Builder::new(Vec::new());
    for (from, to) in files() {
        programs.append_path_with_name(from, to.strip_prefix("/").unwrap()).unwrap();
    }
    let mut etc = tar::Builder::new(Vec::new());
    add(&mut etc, "etc/passwd", b"root:x:0:0:root:/root:/bin/sh\nweb:x:33:33::/:/bin/sh\n");
    add(&mut etc, "etc/group", b"root:x:0:\nweb:x:33:\nlogs:x:44:web\n");
    let layers = [programs.into_inner().unwrap(), etc.into_inner().unwrap()];
    let diff_ids = layers.each_ref().map(|layer| digest(layer));
    of_layers(&layers, &diff_ids)
}

/// Its config claims the layers of another image, by which unpacked layers are known; what it brings is another first one.
pub(crate) fn lying(about: &Image) -> Image {
    let config: serde_json::Value = serde_json::from_slice(&about.blobs[0]).unwrap();
    let claimed = [0, 1].map(|at| config["rootfs"]["diff_ids"][at].as_str().unwrap().to_owned());
    let mut planted = tar::Builder::new(Vec::new());
    add(&mut planted, "bin/planted", b"not what the other image has");
    let etc = {
        use std::io::Read as _;
        let mut bytes = Vec::new();
        flate2::read::GzDecoder::new(about.blobs[2].as_slice()).read_to_end(&mut bytes).unwrap();
        bytes
    };
    of_layers(&[planted.into_inner().unwrap(), etc], &claimed)
}

fn of_layers(layers: &[Vec<u8>; 2], diff_ids: &[String; 2]) -> Image {
    let packed = layers.each_ref().map(|tar| {
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(tar).unwrap();
        gzip.finish().unwrap()
    });
    let config = serde_json::json!({
        "os": "linux", "architecture": "amd64",
        "config": {"Env": ["PATH=/bin", "FROM_IMAGE=yes"], "Cmd": ["/bin/sleep", "1000"]},
        "rootfs": {"type": "layers", "diff_ids": diff_ids},
    });
    let config = serde_json::to_vec(&config).unwrap();
    let descriptor =
        |kind: &str, bytes: &[u8]| serde_json::json!({"mediaType": kind, "digest": digest(bytes), "size": bytes.len()});
    let gzip = "application/vnd.oci.image.layer.v1.tar+gzip";
    let manifest = serde_json::json!({
        "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": descriptor("application/vnd.oci.image.config.v1+json", &config),
        "layers": packed.each_ref().map(|l| descriptor(gzip, l)),
    });
    let manifest = serde_json::to_vec(&manifest).unwrap();
    let mut entry = descriptor("application/vnd.oci.image.manifest.v1+json", &manifest);
    entry["platform"] = serde_json::json!({"os": "linux", "architecture": "amd64"});
    let index = serde_json::json!({
        "schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": [entry],
    });
    let [first, second] = packed;
    Image { manifest, index: serde_json::to_vec(&index).unwrap(), blobs: vec![config, first, second] }
}

fn add(tar: &mut tar::Builder<Vec<u8>>, path: &str, content: &[u8]) {
    let mut header = tar::Header::new_gnu();
    header.set_size(content.len() as u64);
    header.set_mode(0o644);
    header.set_cksum();
    tar.append_data(&mut header, path, content).unwrap();
}

/// Each program with the libraries it is linked to: (where it is, where it goes).
fn files() -> BTreeSet<(PathBuf, PathBuf)> {
    let mut all = BTreeSet::new();
    for name in PROGRAMS {
        let found = ["/bin", "/usr/bin"].iter().map(|dir| PathBuf::from(dir).join(name)).find(|p| p.exists()).unwrap();
        let libraries = Command::new("ldd").arg(&found).output().unwrap();
        let text = String::from_utf8_lossy(&libraries.stdout).into_owned();
        for library in text.split_whitespace().filter(|word| word.starts_with('/')) {
            all.insert((std::fs::canonicalize(library).unwrap(), library.into()));
        }
        all.insert((std::fs::canonicalize(&found).unwrap(), PathBuf::from("/bin").join(name)));
    }
    all
}

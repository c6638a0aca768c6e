//! The images: names as on docker.io, what is in them, how they start.
use serde_json::json;
use sha2::{Digest, Sha256};

/// One image. Its tags share the layer; each tag has a digest of its own, so that an update from one to another is one.
pub(crate) struct Image {
    pub(crate) name: &'static str,
    pub(crate) what: &'static str,
    /// `repository:tag` on docker.io.
    pub(crate) tags: &'static [&'static str],
    /// Debian packages whose files are in it. Bookworm's names.
    pub(crate) packages: &'static [&'static str],
    /// Files of our own: path, content.
    pub(crate) files: &'static [(&'static str, &'static str)],
    /// Directories that no package brings.
    pub(crate) dirs: &'static [&'static str],
    /// (link, target).
    pub(crate) links: &'static [(&'static str, &'static str)],
    pub(crate) entrypoint: &'static [&'static str],
    pub(crate) command: &'static [&'static str],
    pub(crate) port: Option<&'static str>,
    pub(crate) stop_signal: &'static str,
    /// Our own echo server is in it.
    pub(crate) with_echo: bool,
}

const PASSWD: (&str, &str) = (
    "etc/passwd",
    "root:x:0:0:root:/root:/bin/sh\n\
     www-data:x:33:33:www-data:/var/www:/bin/false\n\
     nobody:x:65534:65534:nobody:/nonexistent:/bin/false\n",
);
const GROUP: (&str, &str) = ("etc/group", "root:x:0:\nwww-data:x:33:\nnogroup:x:65534:\n");
const NSSWITCH: (&str, &str) = ("etc/nsswitch.conf", "passwd: files\ngroup: files\nhosts: files dns\n");

/// The pod's name in a header lets a test see which pod answered.
const NGINX_CONF: &str = "\
user www-data;
worker_processes 1;
pid /run/nginx.pid;
error_log /var/log/nginx/error.log notice;
events { worker_connections 1024; }
http {
    include /etc/nginx/mime.types;
    default_type application/octet-stream;
    access_log /var/log/nginx/access.log;
    sendfile on;
    keepalive_timeout 65;
    server {
        listen 80;
        add_header X-Pod $hostname always;
        location / {
            root /usr/share/nginx/html;
            index index.html;
        }
    }
}
";

pub(crate) fn all() -> [Image; 3] {
    [
        Image {
            name: "busybox",
            what: "BusyBox: sh, wget, nc, nslookup, httpd, …",
            tags: &["library/busybox:latest", "library/busybox:1.35", "library/busybox:1.36"],
            // Not busybox-static: how a static glibc looks names up depends on libraries that its image would lack.
            packages: &["busybox", "libc6"],
            files: &[PASSWD, GROUP, NSSWITCH],
            dirs: &[],
            links: &[],
            entrypoint: &[],
            command: &["sh"],
            port: None,
            stop_signal: "SIGTERM",
            with_echo: false,
        },
        Image {
            name: "nginx",
            what: "Debian's nginx on port 80, with BusyBox for a shell",
            tags: &[
                "library/nginx:latest",
                "library/nginx:stable",
                "library/nginx:alpine",
                "library/nginx:1.22",
                "library/nginx:1.25",
                "library/nginx:1.27",
            ],
            packages: &["busybox", "nginx", "nginx-common", "libc6", "libcrypt1", "libpcre2-8-0", "libssl3", "zlib1g"],
            files: &[PASSWD, GROUP, NSSWITCH, ("etc/nginx/nginx.conf", NGINX_CONF)],
            dirs: &["var/lib/nginx", "var/log/nginx", "var/cache/nginx"],
            links: &[("var/log/nginx/access.log", "/dev/stdout"), ("var/log/nginx/error.log", "/dev/stderr")],
            entrypoint: &["nginx", "-g", "daemon off;"],
            command: &[],
            port: Some("80/tcp"),
            stop_signal: "SIGQUIT",
            with_echo: false,
        },
        Image {
            name: "echo",
            what: "answers TCP and UDP on port 7 with the pod's name, the client's address and what it sent",
            tags: &["corten/echo:latest"],
            packages: &["busybox", "libc6", "libgcc-s1"],
            files: &[PASSWD, GROUP, NSSWITCH],
            dirs: &[],
            links: &[],
            entrypoint: &["/bin/corten-echo"],
            command: &["7"],
            port: Some("7/tcp"),
            stop_signal: "SIGTERM",
            with_echo: true,
        },
    ]
}

impl Image {
    /// The image configuration, <https://github.com/opencontainers/image-spec/blob/main/config.md>.
    pub(crate) fn config_json(&self, tag: &str, diff_id: &str) -> Vec<u8> {
        let version = tag.rsplit(':').next().unwrap_or_default();
        let mut config = json!({
            "Env": [
                "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
                format!("IMAGE_TAG={version}"),
            ],
            "WorkingDir": "/",
            "StopSignal": self.stop_signal,
        });
        if !self.entrypoint.is_empty() {
            config["Entrypoint"] = json!(self.entrypoint);
        }
        if !self.command.is_empty() {
            config["Cmd"] = json!(self.command);
        }
        if let Some(port) = self.port {
            config["ExposedPorts"] = json!({ port: {} });
        }
        let document = json!({
            "architecture": architecture(),
            "os": "linux",
            "config": config,
            "rootfs": {"type": "layers", "diff_ids": [diff_id]},
            "history": [{"created_by": "hack/images"}],
        });
        document.to_string().into_bytes()
    }
}

/// Go's name of this machine's architecture.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

/// Changes when an image would come out different, that is with these sources; not when Debian has a newer package.
pub(crate) fn recipe() -> String {
    let sources = [
        include_str!("catalog.rs"),
        include_str!("rootfs.rs"),
        include_str!("layer.rs"),
        include_str!("../bin/corten-echo.rs"),
    ];
    let hash = sources.iter().fold(Sha256::new(), |hash, source| hash.chain_update(source));
    hex(&hash.finalize())
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_of_an_image_have_configurations_of_their_own() {
        for image in all() {
            let configs: std::collections::BTreeSet<_> =
                image.tags.iter().map(|tag| image.config_json(tag, "sha256:0")).collect();
            assert_eq!(configs.len(), image.tags.len(), "{}", image.name);
        }
    }

    #[test]
    fn a_configuration_says_how_to_start() {
        let [busybox, nginx, _] = all();
        let read = |image: &Image| -> serde_json::Value {
            serde_json::from_slice(&image.config_json(image.tags[0], "sha256:0")).unwrap()
        };
        assert_eq!(read(&busybox)["config"]["Cmd"], json!(["sh"]));
        assert_eq!(read(&busybox)["config"]["Entrypoint"], json!(null));
        assert_eq!(read(&nginx)["config"]["Entrypoint"][2], "daemon off;");
        assert_eq!(read(&nginx)["rootfs"]["diff_ids"][0], "sha256:0");
    }
}

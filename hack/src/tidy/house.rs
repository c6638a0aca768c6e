//! The walls of the house: who may depend on whom, who may name an outside world, and what may lie in the root.
use super::Finding;
use super::lexer::blank_out;

/// Who may use whom of our own crates. Read this before you add a line to a Cargo.toml; change ARCHITECTURE.md with it.
const MAY_USE: &[(&str, &[&str])] = &[
    ("proto", &[]),
    ("fuzz", &[]),
    ("api", &["fuzz"]),
    ("cel", &["api", "fuzz"]),
    ("client", &["api", "proto", "fuzz"]),
    ("apiserver", &["api", "cel", "proto", "fuzz"]),
    ("scheduler", &["client", "api", "proto", "fuzz"]),
    ("controllers", &["client", "api", "proto", "fuzz"]),
    ("kubelet", &["client", "api", "proto", "fuzz"]),
    ("proxy", &["client", "api", "proto", "fuzz"]),
    ("admin", &["api"]),
    // These two see the outside of everything; the lab makes its certificates as an administrator does.
    ("hack", &["admin"]),
    ("e2e", &["fuzz"]),
    // Runs the real programs in one process, in its tests alone.
    ("simulation", &["client", "api", "proto", "apiserver", "scheduler", "controllers"]),
];

/// Rooms within others. `fuzz`: every room may try its own functions with it in tests, and it knows none of them.
const WITHIN: &[(&str, &str)] = &[("fuzz", "hack/fuzz"), ("simulation", "e2e/simulation")];

/// Crates that speak to an outside world, and the only places that name them. Only those places' rooms depend on them.
const PORTS: &[(&str, &[&str])] = &[
    ("etcd-client", &["apiserver/src/storage"]),
    ("containerd-client", &["kubelet/src/runtime"]),
    // What nftables is spoken over; routes and links have ports of their own.
    ("netlink-sys", &["proxy/src/nft"]),
    ("netlink-packet-core", &["proxy/src/routes"]),
    ("netlink-packet-route", &["kubelet/src/network/links.rs", "proxy/src/routes", "proxy/src/dns/link.rs"]),
    // The proxy opens one connection for all of its parts.
    (
        "rtnetlink",
        &[
            "kubelet/src/network/links.rs",
            "proxy/src/routes",
            "proxy/src/dns/link.rs",
            "proxy/src/run.rs",
            "proxy/src/worker.rs",
            "proxy/tests/network.rs",
        ],
    ),
];

/// The only place of a daemon that runs nft.
const NFT_HOME: &str = "proxy/src/nft";

/// Everything that may lie in the root, besides names that start with a dot.
const ROOT_NAMES: [&str; 7] =
    ["Cargo.toml", "Cargo.lock", "clippy.toml", "rustfmt.toml", "README.md", "ARCHITECTURE.md", "LICENSE"];

/// `files` are paths from the root.
pub(super) fn check_root(files: &[&str]) -> Vec<Finding> {
    let mut names: Vec<&str> = files.iter().filter_map(|file| file.split('/').next()).collect();
    names.sort_unstable();
    names.dedup();
    let known = |name: &str| {
        let is_room = WITHIN.iter().all(|(room, _)| *room != name) && MAY_USE.iter().any(|(room, _)| *room == name);
        name.starts_with('.') || ROOT_NAMES.contains(&name) || is_room
    };
    let unknown = names.into_iter().filter(|name| !known(name));
    unknown
        .map(|name| {
            Finding::error(format!("{name}: the names in the root are agreed with the user: put it into a room"))
        })
        .collect()
}

/// A room's Cargo.toml: its dependencies on our crates, on guarded ones, and no versions.
pub(super) fn check_manifest(path: &str, text: &str) -> Vec<Finding> {
    let Some((folder, "Cargo.toml")) = path.rsplit_once('/') else { return Vec::new() };
    let room = WITHIN.iter().find(|(_, place)| *place == folder).map_or(folder, |(room, _)| *room);
    let Some((_, allowed)) = MAY_USE.iter().find(|(name, _)| *name == room) else { return Vec::new() };
    let mut found = Vec::new();
    for (number, name, value) in dependencies(text) {
        let at = format!("{path}:{number}");
        if let Some(used) = room_of(name)
            && !allowed.contains(&used)
        {
            found.push(Finding::error(format!(
                "{at}: {room} must not use {used}; if it has to, change MAY_USE in hack/src/tidy/house.rs and ARCHITECTURE.md in the same commit"
            )));
        }
        let is_home = |place: &&str| place.starts_with(&format!("{room}/"));
        if let Some((_, places)) = PORTS.iter().find(|(port, places)| *port == name && !places.iter().any(is_home)) {
            found.push(Finding::error(format!("{at}: only {} may use {name}", places.join(", "))));
        }
        if value.starts_with('"') || value.contains("version") {
            found.push(Finding::error(format!(
                "{at}: {name}: versions are named in the workspace's table and nowhere else"
            )));
        }
    }
    found
}

/// The room of one of our packages.
fn room_of(package: &str) -> Option<&str> {
    if package == "cortenadm" { Some("admin") } else { package.strip_prefix("corten-") }
}

/// (line number, package, the rest of the line) of each dependency.
fn dependencies(text: &str) -> Vec<(usize, &str, &str)> {
    let mut found = Vec::new();
    let mut inside = false;
    for (number, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.starts_with('[') {
            inside = line.ends_with("dependencies]");
        } else if inside
            && !line.starts_with('#')
            && let Some((name, value)) = line.split_once('=')
        {
            let name = name.trim().trim_end_matches(".workspace");
            found.push((number + 1, name, value.trim()));
        }
    }
    found
}

/// A source file: outside worlds are named in their own place only.
pub(super) fn check_names(path: &str, text: &str) -> Vec<Finding> {
    let mut found = Vec::new();
    let code = blank_out(text);
    for (package, places) in PORTS {
        let name = package.replace('-', "_");
        if !places.iter().any(|place| path.starts_with(place))
            && let Some(number) = code.lines().position(|line| line.contains(&name))
        {
            let places = places.join(", ");
            found.push(Finding::error(format!("{path}:{}: only {places} may name {name}", number + 1)));
        }
    }
    let is_daemon = !path.starts_with("hack/") && !path.starts_with("e2e/");
    if is_daemon
        && !path.starts_with(NFT_HOME)
        && let Some(number) = text.lines().position(|line| line.contains("Command::new(\"nft\""))
    {
        found.push(Finding::error(format!("{path}:{}: only {NFT_HOME} runs nft", number + 1)));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(found: Vec<Finding>) -> Vec<String> {
        found.into_iter().map(|finding| finding.text).collect()
    }

    #[test]
    fn manifests_are_judged() {
        let cases = [
            ("as agreed", "scheduler", "corten-client.workspace = true\ntokio.workspace = true", None),
            ("the apiserver is no client", "apiserver", "corten-client.workspace = true", Some("must not use client")),
            (
                "siblings do not meet",
                "scheduler",
                "corten-kubelet = { path = \"../kubelet\" }",
                Some("must not use kubelet"),
            ),
            ("the lab makes certificates", "hack", "cortenadm = { path = \"../admin\" }", None),
            (
                "etcd has one client",
                "controllers",
                "etcd-client.workspace = true",
                Some("only apiserver/src/storage may use"),
            ),
            ("netlink has its two homes", "proxy", "rtnetlink.workspace = true", None),
            ("and no other", "controllers", "rtnetlink.workspace = true", Some("may use rtnetlink")),
            ("a version", "api", "serde = \"1\"", Some("versions are named")),
            ("a version in a table", "api", "serde = { version = \"1\" }", Some("versions are named")),
            ("features are fine", "api", "serde = { workspace = true, features = [\"derive\"] }", None),
        ];
        for (why, room, line, expected) in cases {
            let text = format!("[package]\nname = \"x\"\nversion.workspace = true\n\n[dependencies]\n{line}\n");
            let found = texts(check_manifest(&format!("{room}/Cargo.toml"), &text));
            match expected {
                None => assert!(found.is_empty(), "{why}: {found:?}"),
                Some(part) => assert!(found.len() == 1 && found[0].contains(part), "{why}: {found:?}"),
            }
        }
    }

    #[test]
    fn outside_worlds_are_named_in_one_place() {
        let cases = [
            ("apiserver/src/storage/etcd.rs", "use etcd_client::Client;", true),
            ("apiserver/src/cache.rs", "use etcd_client::Client;", false),
            ("apiserver/src/cache.rs", "// etcd_client is elsewhere", true),
            ("kubelet/src/runtime.rs", "use containerd_client::x;", true),
            ("kubelet/src/pod.rs", "containerd_client::x()", false),
            ("proxy/src/nft/socket.rs", "use netlink_sys::Socket;", true),
            ("proxy/src/conntrack.rs", "use netlink_sys::Socket;", false),
            ("proxy/src/routes/apply.rs", "use rtnetlink::Handle;", true),
            ("kubelet/src/network/links.rs", "use rtnetlink::Handle;", true),
            ("kubelet/src/network/bridge.rs", "use rtnetlink::Handle;", false),
            ("proxy/src/nft/load.rs", "Command::new(\"nft\")", true),
            ("kubelet/src/net.rs", "Command::new(\"nft\")", false),
            ("e2e/tests/faults.rs", "Command::new(\"nft\")", true),
        ];
        for (path, text, fine) in cases {
            assert_eq!(check_names(path, text).is_empty(), fine, "{path}: {text}");
        }
    }

    #[test]
    fn the_root_holds_what_was_agreed() {
        let found = texts(check_root(&["api/src/lib.rs", "Cargo.toml", ".gitignore", "docs/x.md", "fuzz/Cargo.toml"]));
        assert!(found.len() == 2 && found[0].starts_with("docs") && found[1].starts_with("fuzz"), "{found:?}");
    }
}

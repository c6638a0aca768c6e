//! Generates the Rust of `corten/*.proto`.

fn main() -> std::io::Result<()> {
    tonic_prost_build::configure().bytes(".").compile_protos(&["corten/resources.proto", "corten/node.proto"], &["."])
}

//! `corten-hack schema`: writes the table of built-in types that the apiserver is compiled with.
//!
//! - `document`: what the published OpenAPI document says: fields, types, how lists and maps merge
//! - `structs`: what it does not say and the types' struct tags do: protobuf numbers, what zero values are left out
//! - `render`: both as lines of text
//!
//! Only facts are taken over: names, numbers, types. The table's form is described where it is read, in
//! `apiserver/src/schema/text.rs`.
mod document;
mod render;
mod structs;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use clap::Args;

#[derive(Args)]
pub(crate) struct SchemaArgs {
    /// The published OpenAPI v2 document (`swagger.json`) of the release.
    #[arg(long)]
    document: PathBuf,
    /// Directories with the Go types of the same release; those named `…/GROUP/VERSION` are read.
    #[arg(long, required = true)]
    types: Vec<PathBuf>,
    /// Where the table goes.
    #[arg(long, default_value = "apiserver/src/schema/builtin.txt")]
    to: PathBuf,
}

pub(crate) fn run(args: &SchemaArgs) -> anyhow::Result<ExitCode> {
    let text = fs::read_to_string(&args.document).with_context(|| args.document.display().to_string())?;
    let types = document::types(&serde_json::from_str(&text)?)?;
    let mut structs = structs::Structs::default();
    for root in &args.types {
        read_below(root, &mut structs).with_context(|| root.display().to_string())?;
    }
    let (table, unknown) = render::table(&types, &structs);
    for field in &unknown {
        eprintln!("no struct tag for {field}: it has no protobuf number");
    }
    fs::write(&args.to, table).with_context(|| args.to.display().to_string())?;
    println!("{} types, {} fields without a tag: {}", types.len(), unknown.len(), args.to.display());
    Ok(ExitCode::SUCCESS)
}

/// Reads every package below `root`. Generated files say nothing that the types do not.
fn read_below(root: &Path, structs: &mut structs::Structs) -> anyhow::Result<()> {
    let mut entries: Vec<_> = fs::read_dir(root)?.collect::<Result<_, _>>()?;
    entries.sort_by_key(fs::DirEntry::path);
    let Some(package) = package_of(root) else {
        for dir in entries.into_iter().filter(|e| e.path().is_dir()) {
            read_below(&dir.path(), structs)?;
        }
        return Ok(());
    };
    for entry in entries {
        let name = entry.file_name().to_string_lossy().into_owned();
        let is_source = name.ends_with(".go") && !name.ends_with("_test.go");
        if is_source && !name.starts_with("zz_") && !name.contains("generated") {
            structs.read(&package, &fs::read_to_string(entry.path())?);
        }
    }
    Ok(())
}

/// `…/apps/v1` is `apps.v1`; a directory that is no version has no package.
fn package_of(dir: &Path) -> Option<String> {
    let version = dir.file_name()?.to_str()?;
    let digits = version.strip_prefix('v')?;
    if !digits.starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    let group = dir.parent()?.file_name()?.to_str()?;
    Some(format!("{group}.{version}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_package_is_named_by_its_group_and_version() {
        for (dir, package) in [
            ("api/apps/v1", Some("apps.v1")),
            ("pkg/apis/meta/v1", Some("meta.v1")),
            ("api/resource/v1beta1", Some("resource.v1beta1")),
            ("api/apps", None),
            ("pkg/version", None),
        ] {
            assert_eq!(package_of(Path::new(dir)).as_deref(), package, "{dir}");
        }
    }
}

//! A folder against its lock file: whether certified files are as they were certified, and whether all raw code is declared.
//! Asks no daemon.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use fitment_assembly::{
    Assembly, Drift, Lock, OwnFiles, SarifRun, Source, Tree, TreeEntry, TreeFile, sarif, verify as compare,
};
use fitment_catalog::{Digest, Format, RelativePath};
use fitment_proto::v1;
use sha2::{Digest as _, Sha256};
use walkdir::WalkDir;

use super::verdict;
use crate::cli::laboratory::write_file;
use crate::cli::trust::read_file;
use crate::output::{self, Invalid};

/// Files of a tree at most.
const MAX_FILES: usize = 100_000;
/// Bytes of a file that are read at once.
const PIECE: usize = 64 * 1024;
/// Folders of version control, which are never looked into.
const VERSION_CONTROL: [&str; 3] = [".git", ".hg", ".svn"];

#[derive(Debug, clap::Args)]
pub(super) struct VerifyArguments {
    /// The folder that holds the application. Folders of version control in it are not looked into.
    #[arg(long, value_name = "DIR", default_value = ".")]
    tree: PathBuf,
    /// The lock file; absent: `assembly.lock.yaml` in the folder.
    #[arg(long, value_name = "FILE")]
    lock: Option<PathBuf>,
    /// The document; absent: `assembly.yaml` in the folder, where it is there.
    #[arg(long, value_name = "FILE")]
    assembly: Option<PathBuf>,
    /// Write what was found as SARIF 2.1.0, for code hosts.
    #[arg(long, value_name = "FILE")]
    sarif: Option<PathBuf>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

pub(super) fn verify(arguments: &VerifyArguments) -> anyhow::Result<ExitCode> {
    let VerifyArguments { tree: folder, lock, assembly, sarif: report, json } = arguments;
    let lock_file = lock.clone().unwrap_or_else(|| folder.join("assembly.lock.yaml"));
    let lock = Lock::parse(&lock_file.display().to_string(), &read_file(&lock_file)?, Format::Auto)?;
    let document = match assembly {
        Some(file) => Some(file.clone()),
        None => Some(folder.join("assembly.yaml")).filter(|file| file.exists()),
    };
    let digest = document.as_ref().map(|file| {
        let assembly = Assembly::parse(&file.display().to_string(), &read_file(file)?, Format::Auto)?;
        anyhow::Ok(assembly.digest())
    });
    let digest = digest.transpose()?;
    let own = OwnFiles {
        lock: inside(folder, &lock_file),
        assembly: document.as_ref().and_then(|file| inside(folder, file)).zip(digest),
    };
    // What is unmanaged is no drift wherever no part lies: it need not be read.
    let parts: Vec<String> = lock.parts().iter().filter_map(|part| Some(part.path()?.to_string())).collect();
    let wanted = |path: &str| parts.iter().any(|part| lies_in(path, part)) || !lock.unmanaged().matches(path);
    let drift = compare(&lock, &Tree::new(listed(folder, &wanted)?), &own);
    if let Some(file) = report {
        let place = own.assembly.as_ref().map(|(path, _)| path.clone()).or(own.lock.clone());
        let place = match place {
            Some(place) => place,
            None => "assembly.yaml".parse()?,
        };
        let run = SarifRun { version: env!("CARGO_PKG_VERSION"), document: &place, findings: &[], drift: &drift };
        write_file(file, &sarif(&run))?;
    }
    if *json {
        output::json(&serde_json::json!({ "assembly": lock.name().to_string(), "drift": drift }))?;
        return Ok(verdict(drift.is_empty()));
    }
    for Drift { rule, severity, path, reason, way_out, .. } in &drift {
        output::line(format!("{severity} {rule} at {path}: {reason}\n    {way_out}"))?;
    }
    let parts = lock.parts().len();
    output::line(match drift.len() {
        0 => format!("{}: {parts} parts are as they were locked, and nothing else lies here", lock.name()),
        count => format!("{}: {count} differences from {}", lock.name(), lock_file.display()),
    })?;
    Ok(verdict(drift.is_empty()))
}

/// The files of a tree as they go over the wire. `document`: those of its raw code alone, where it can be read here.
pub(super) fn tree_files(folder: &Path, document: &[u8]) -> anyhow::Result<Vec<v1::TreeFile>> {
    let assembly = Assembly::parse("assembly", document, Format::Auto).ok();
    let raw = assembly.map(|assembly| {
        let raw = assembly.parts().iter().filter_map(|part| match &part.source {
            Source::Raw(raw) => Some(raw.path.to_string()),
            Source::Component(_) | Source::External(_) => None,
        });
        raw.collect::<Vec<String>>()
    });
    let wanted = |path: &str| raw.as_ref().is_none_or(|raw| raw.iter().any(|part| lies_in(path, part)));
    let files = listed(folder, &wanted)?.into_iter().map(|(path, entry)| {
        let known = v1::TreeFile { path, ..Default::default() };
        match entry {
            TreeEntry::File(TreeFile { digest, lines }) => {
                v1::TreeFile { sha256: digest.as_bytes().to_vec(), lines, ..known }
            }
            TreeEntry::Link { target } => v1::TreeFile { link_target: target, ..known },
            TreeEntry::Other { what } => v1::TreeFile { other: what, ..known },
        }
    });
    Ok(files.collect())
}

/// Everything in a folder that is no folder, with its path below it. Links are not followed; what cannot be read is listed as
/// such. `wanted`: which paths are looked at.
///
/// Errors: no folder, or more than 100,000 files that are wanted.
fn listed(folder: &Path, wanted: &dyn Fn(&str) -> bool) -> anyhow::Result<Vec<(String, TreeEntry)>> {
    anyhow::ensure!(folder.is_dir(), Invalid(format!("{} is no folder", folder.display())));
    let mut found = Vec::new();
    // Only the application's own: below it, such a folder is as good a place for code as any other.
    let walk = WalkDir::new(folder).sort_by_file_name().into_iter().filter_entry(|entry| {
        let name = entry.file_name().to_string_lossy();
        !(entry.depth() == 1 && entry.file_type().is_dir() && VERSION_CONTROL.contains(&&*name))
    });
    for entry in walk {
        let (path, is_folder) = match &entry {
            Ok(entry) => (entry.path(), entry.file_type().is_dir()),
            Err(error) => (error.path().unwrap_or(folder), false),
        };
        let below = path.strip_prefix(folder).unwrap_or(path);
        let steps: Vec<_> = below.components().map(|step| step.as_os_str().to_string_lossy()).collect();
        let name = steps.join("/");
        if is_folder || !wanted(&name) {
            continue;
        }
        if found.len() == MAX_FILES {
            let fault = format!(
                "{} holds more than {MAX_FILES} files; name the application's folder, or call unmanaged what is no code",
                folder.display()
            );
            return Err(Invalid(fault).into());
        }
        let what = match &entry {
            Ok(_) if below.to_str().is_none() => TreeEntry::Other { what: "a file whose name is not UTF-8".to_owned() },
            Ok(entry) => entry_of(entry),
            Err(error) => TreeEntry::Other { what: format!("a folder that cannot be read ({error})") },
        };
        found.push((name, what));
    }
    Ok(found)
}

fn entry_of(entry: &walkdir::DirEntry) -> TreeEntry {
    if entry.path_is_symlink() {
        let target = std::fs::read_link(entry.path()).map(|target| target.display().to_string());
        return TreeEntry::Link { target: target.unwrap_or_else(|_error| "(unreadable)".to_owned()) };
    }
    if !entry.file_type().is_file() {
        return TreeEntry::Other { what: "a device, a socket or a pipe".to_owned() };
    }
    match measured(entry.path()) {
        Ok(file) => TreeEntry::File(file),
        Err(error) => TreeEntry::Other { what: format!("a file that cannot be read ({error})") },
    }
}

/// Whether a path is that of a part, or below it, or above it and cannot be looked into.
fn lies_in(path: &str, part: &str) -> bool {
    let below = |inner: &str, outer: &str| inner.strip_prefix(outer).is_some_and(|rest| rest.starts_with('/'));
    path == part || below(path, part) || below(part, path)
}

/// Digest and lines of a file of any size.
fn measured(path: &Path) -> std::io::Result<TreeFile> {
    let mut file = File::open(path)?;
    let (mut hash, mut lines, mut last) = (Sha256::new(), 0u32, b'\n');
    let mut piece = vec![0; PIECE];
    loop {
        let read = file.read(&mut piece)?;
        let Some(&end) = piece[..read].last() else { break };
        hash.update(&piece[..read]);
        let feeds = piece[..read].split(|&byte| byte == b'\n').count() - 1;
        lines = lines.saturating_add(u32::try_from(feeds).unwrap_or(u32::MAX));
        last = end;
    }
    let lines = lines.saturating_add(u32::from(last != b'\n'));
    Ok(TreeFile { digest: Digest::from_bytes(hash.finalize().into()), lines })
}

/// A file's path below a folder, where it lies there.
fn inside(folder: &Path, file: &Path) -> Option<RelativePath> {
    let (folder, file) = (folder.canonicalize().ok()?, file.canonicalize().ok()?);
    let below = file.strip_prefix(&folder).ok()?;
    let steps: Vec<&str> = below.components().map(|step| step.as_os_str().to_str()).collect::<Option<_>>()?;
    steps.join("/").parse().ok()
}

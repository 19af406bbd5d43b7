//! The whole catalogue out into a folder, and a folder compared with it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use fitment_catalog::{Format, Manifest};
use fitment_engine::{FOLDER_RECORDS, STANDING_ENDING};
use fitment_proto::v1;

use super::all_versions;
use super::folder::{Done, Export, is_export, manifests, records};
use crate::cli::common::Common;
use crate::output;

#[derive(Debug, clap::Args)]
pub(super) struct ExportArguments {
    /// The folder; without --update it must be empty or absent.
    folder: PathBuf,
    /// Bring an earlier export up to date: write what changed, remove files of what is gone, leave others' files alone.
    #[arg(long)]
    update: bool,
    /// Write also over files that were edited since the last export.
    #[arg(long, requires = "update")]
    force: bool,
    #[command(flatten)]
    common: Common,
}

pub(super) async fn export(arguments: ExportArguments) -> anyhow::Result<ExitCode> {
    let ExportArguments { folder, update, force, common } = arguments;
    let occupied =
        folder.exists() && std::fs::read_dir(&folder).with_context(|| folder.display().to_string())?.next().is_some();
    anyhow::ensure!(
        update || !occupied,
        "{} is not empty; export into a new folder, or bring it up to date with --update",
        folder.display()
    );
    let mut export = Export::begin(&folder)?;
    let mut versions = 0;
    files(&common, |path, content| {
        versions += usize::from(Path::new(&path).extension().is_some_and(|ending| ending == "yaml"));
        export.add(path, &content)
    })
    .await?;
    let done = export.finish(force)?;
    if common.json {
        output::json(&serde_json::json!({"exported": versions, "folder": folder, "files": done}))?;
    } else {
        let Done { written, unchanged, removed, left_alone } = done;
        output::line(format!(
            "{versions} versions written to {}: {written} files written, {unchanged} unchanged, {removed} removed",
            folder.display()
        ))?;
        if !left_alone.is_empty() {
            output::line(format!("left alone: {}", left_alone.join(", ")))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Every file of the catalogue, of one revision.
async fn files(common: &Common, mut take: impl FnMut(String, Vec<u8>) -> anyhow::Result<()>) -> anyhow::Result<()> {
    // No deadline: a large catalogue takes what it takes.
    let mut pieces = common.server.catalog().await?.export_catalog(v1::ExportCatalogRequest {}).await?.into_inner();
    let mut content = Vec::new();
    while let Some(v1::ExportCatalogResponse { path, data, last }) = pieces.message().await? {
        content.extend_from_slice(&data);
        if last {
            take(path, std::mem::take(&mut content))?;
        }
    }
    Ok(())
}

/// A version on one side: the digest of its manifest and what is said of where it stands.
type Side = BTreeMap<String, (String, Vec<u8>)>;

pub(super) async fn diff(folder: &Path, common: &Common) -> anyhow::Result<ExitCode> {
    let whole = is_export(folder);
    let (mut here, mut there) = (Side::new(), Side::new());
    for file in manifests(folder)? {
        let manifest = Manifest::parse(&file.source, &file.manifest, Format::Auto)?;
        here.insert(manifest.to_string(), (manifest.digest().to_string(), file.standing));
    }
    let mut there_records = BTreeMap::new();
    if whole {
        let mut last = String::new();
        files(common, |path, content| {
            if path.starts_with(FOLDER_RECORDS) {
                there_records.insert(path, content);
            } else if path.ends_with(STANDING_ENDING) {
                // It follows its manifest.
                if let Some((_, standing)) = there.get_mut(&last) {
                    *standing = content;
                }
            } else {
                let manifest = Manifest::parse(&path, &content, Format::Yaml)?;
                last = manifest.to_string();
                there.insert(last.clone(), (manifest.digest().to_string(), Vec::new()));
            }
            Ok(())
        })
        .await?;
    } else {
        // A folder of manifests says nothing of the rest.
        let mut client = common.server.catalog().await?;
        for version in all_versions(&mut client, common, None, v1::ComponentView::Basic).await? {
            there.insert(format!("{}@{}", version.name, version.version), (version.digest, Vec::new()));
        }
        for (_, standing) in here.values_mut() {
            standing.clear();
        }
    }
    let here_records = if whole { records(folder)? } else { BTreeMap::new() };
    let mut added = only(&here, &there);
    let mut missing = only(&there, &here);
    added.extend(only(&here_records, &there_records));
    missing.extend(only(&there_records, &here_records));
    let mut changed = differing(&here, &there, |(one, _), (other, _)| one != other);
    changed.extend(differing(&here_records, &there_records, |one, other| one != other));
    let moved = differing(&here, &there, |(one, here), (other, there)| one == other && here != there);
    if common.json {
        output::json(&serde_json::json!({
            "only_in_folder": added, "only_in_catalog": missing, "changed": changed, "moved": moved,
        }))?;
    } else {
        for (mark, keys) in [("+", &added), ("-", &missing), ("!", &changed), ("~", &moved)] {
            for key in keys {
                output::line(format!("{mark} {key}"))?;
            }
        }
        output::line(format!(
            "{} only in the folder (+), {} only in the catalogue (-), {} with another digest (!), {} that stand elsewhere (~)",
            added.len(),
            missing.len(),
            changed.len(),
            moved.len()
        ))?;
    }
    let same = [added, missing, changed, moved].iter().all(Vec::is_empty);
    Ok(if same { ExitCode::SUCCESS } else { ExitCode::from(output::Exit::Failure as u8) })
}

fn only<T>(one: &BTreeMap<String, T>, other: &BTreeMap<String, T>) -> Vec<String> {
    one.keys().filter(|key| !other.contains_key(*key)).cloned().collect()
}

fn differing<T>(
    one: &BTreeMap<String, T>,
    other: &BTreeMap<String, T>,
    differ: impl Fn(&T, &T) -> bool,
) -> Vec<String> {
    let pairs = one.iter().filter_map(|(key, one)| Some((key, one, other.get(key)?)));
    pairs.filter(|(_, one, other)| differ(one, other)).map(|(key, ..)| key.clone()).collect()
}

//! Reading labelled intents and catalogues from folders.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use fitment_catalog::{BeirFolder, Dataset, File};

use crate::error::EngineError;
use crate::folder::{FOLDER_RECORDS, STANDING_ENDING};

/// Largest file of a data set, in bytes.
const MAX_FILE_BYTES: u64 = 1 << 30;

/// A data set and the name to report it under.
#[derive(Debug)]
pub struct LabelledFiles {
    /// Name of the folder or file.
    pub name: String,
    /// What it holds.
    pub dataset: Dataset,
}

/// Reads a BEIR folder (`corpus.jsonl`, `queries.jsonl`, `qrels/SPLIT.tsv`) or a CSV file.
///
/// Errors: a path that is neither; a file of the folder that is missing; a record that is not of its form.
pub fn read_dataset(path: &Path, split: &str) -> Result<LabelledFiles, EngineError> {
    let name = path.file_name().map_or_else(|| path.display().to_string(), |name| name.to_string_lossy().into_owned());
    if path.is_file() {
        let bytes = read(path)?;
        let dataset = Dataset::from_csv(File { name: &path.display().to_string(), bytes: &bytes })?;
        return Ok(LabelledFiles { name, dataset });
    }
    if !path.is_dir() {
        let fault = format!("{} does not exist; name a BEIR folder or a CSV file", path.display());
        return Err(EngineError::field("dataset", fault));
    }
    let wanted = path.join("qrels").join(format!("{split}.tsv"));
    if split.is_empty() || split.contains(['/', '\\', '.']) || !wanted.is_file() {
        let fault = format!("`{split}` has no judgements: {} does not exist", wanted.display());
        return Err(EngineError::field("split", fault));
    }
    // The other splits' judgements tell their queries from those that nothing answers.
    let judged = qrels(&path.join("qrels"))?;
    let [corpus, queries] = ["corpus.jsonl", "queries.jsonl"].map(|file| path.join(file));
    let bytes = [read(&corpus)?, read(&queries)?];
    let names = [corpus, queries].map(|file| file.display().to_string());
    let dataset = Dataset::from_beir(&BeirFolder {
        corpus: File { name: &names[0], bytes: &bytes[0] },
        queries: File { name: &names[1], bytes: &bytes[1] },
        qrels: judged.iter().map(|(split, (name, bytes))| (split.clone(), File { name, bytes })).collect(),
    })?;
    if dataset.components.is_empty() {
        return Err(EngineError::field("dataset", format!("{} holds no components", names[0])));
    }
    Ok(LabelledFiles { name, dataset })
}

/// Split to the path and bytes of its judgements.
fn qrels(folder: &Path) -> Result<BTreeMap<String, (String, Vec<u8>)>, EngineError> {
    let failed = |source| EngineError::Io { path: folder.to_path_buf(), source };
    let mut judged = BTreeMap::new();
    for entry in std::fs::read_dir(folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if path.extension().is_some_and(|extension| extension == "tsv") && path.is_file() {
            let split = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            judged.insert(split, (path.display().to_string(), read(&path)?));
        }
    }
    Ok(judged)
}

/// A manifest and where it lies.
#[derive(Clone, Debug)]
pub struct CatalogFile {
    /// Its path, or another name for messages.
    pub source: String,
    /// Its bytes.
    pub manifest: Vec<u8>,
    /// What an export of a catalogue wrote beside it of where the version stands; empty: nothing lies there.
    pub standing: Vec<u8>,
}

impl From<(String, Vec<u8>)> for CatalogFile {
    fn from((source, manifest): (String, Vec<u8>)) -> Self {
        Self { source, manifest, standing: Vec::new() }
    }
}

/// A manifest with what lies beside it.
///
/// Errors: a file that cannot be read.
pub fn read_catalog_file(path: &Path) -> Result<CatalogFile, EngineError> {
    let beside = path.with_extension("").as_os_str().to_owned();
    let mut standing = beside;
    standing.push(STANDING_ENDING);
    let standing = PathBuf::from(standing);
    let standing = if standing.is_file() { read(&standing)? } else { Vec::new() };
    Ok(CatalogFile { source: path.display().to_string(), manifest: read(path)?, standing })
}

/// Every manifest (`*.yaml`, `*.yml`, `*.json`) under a folder with its path, in the order of paths. Hidden folders and what
/// an export of a catalogue keeps besides manifests are passed over.
///
/// Errors: a path that is no folder, or holds no manifest.
pub fn read_catalog_folder(folder: &Path) -> Result<Vec<CatalogFile>, EngineError> {
    if !folder.is_dir() {
        let fault = format!("{} is no folder; name one that holds manifests", folder.display());
        return Err(EngineError::field("catalog", fault));
    }
    let mut files = Vec::new();
    collect(folder, 0, &mut files)?;
    files.sort();
    if files.is_empty() {
        let fault = format!("{} holds no .yaml, .yml or .json file", folder.display());
        return Err(EngineError::field("catalog", fault));
    }
    files.iter().map(|file| read_catalog_file(file)).collect()
}

fn collect(folder: &Path, depth: usize, files: &mut Vec<PathBuf>) -> Result<(), EngineError> {
    const MAX_DEPTH: usize = 16;
    if depth > MAX_DEPTH {
        return Err(EngineError::field(
            "catalog",
            format!("{} is nested more than {MAX_DEPTH} folders deep", folder.display()),
        ));
    }
    let failed = |source| EngineError::Io { path: folder.to_path_buf(), source };
    for entry in std::fs::read_dir(folder).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let (path, kind) = (entry.path(), entry.file_type().map_err(failed)?);
        let name = entry.file_name().to_string_lossy().into_owned();
        let passed_over = name.starts_with('.') || (depth == 0 && name == FOLDER_RECORDS);
        if kind.is_dir() && !passed_over {
            collect(&path, depth + 1, files)?;
        } else if kind.is_file()
            && !name.ends_with(STANDING_ENDING)
            && path.extension().is_some_and(|e| e == "yaml" || e == "yml" || e == "json")
        {
            files.push(path);
        }
    }
    Ok(())
}

fn read(path: &Path) -> Result<Vec<u8>, EngineError> {
    let failed = |source: std::io::Error| match source.kind() {
        std::io::ErrorKind::NotFound => EngineError::field("dataset", format!("{} does not exist", path.display())),
        _ => EngineError::Io { path: path.to_path_buf(), source },
    };
    let size = std::fs::metadata(path).map_err(failed)?.len();
    if size > MAX_FILE_BYTES {
        return Err(EngineError::field(
            "dataset",
            format!("{} has {size} bytes, at most {MAX_FILE_BYTES} are read", path.display()),
        ));
    }
    std::fs::read(path).map_err(failed)
}

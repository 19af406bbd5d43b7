//! A folder that holds an export of a catalogue: read for an import, brought up to date by the next export.
//!
//! `_catalog/SHA256SUMS` lists what the last export wrote, so that the next one knows its own files from others' and sees what
//! was edited since. Files are made in a hidden folder inside and take their places by renames.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use fitment_catalog::Digest;
use fitment_engine::evaluate::{CatalogFile, read_catalog_file, read_catalog_folder};
use fitment_engine::{EngineError, FOLDER_RECORDS, STANDING_ENDING};

use crate::output::Invalid;

/// Lists what an export wrote, in the form of `sha256sum`.
const SUMS: &str = "SHA256SUMS";
/// The same of an export that is under way.
const PENDING: &str = ".pending";
/// Where an export's files are made.
const STAGING: &str = ".fitment-export";

/// What an import finds in a folder.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// Manifests, and where their versions stand.
    pub(super) manifests: Vec<CatalogFile>,
    /// Trust roots, by their version.
    pub(super) roots: BTreeMap<u64, PathBuf>,
    /// Accepted revocations.
    pub(super) revocations: Vec<PathBuf>,
    /// Envelopes of certificates.
    pub(super) certificates: Vec<PathBuf>,
    /// Standings that lie beside no manifest.
    pub(super) strays: Vec<PathBuf>,
    records: PathBuf,
}

impl Found {
    /// Reads a folder, or one manifest with what lies beside it.
    ///
    /// Errors: nothing that could be imported; a file that cannot be read.
    pub(super) fn read(path: &Path) -> Result<Self, EngineError> {
        if path.is_file() {
            return Ok(Self { manifests: vec![read_catalog_file(path)?], ..Self::default() });
        }
        let records = path.join(FOLDER_RECORDS);
        let mut found = Self { records: records.clone(), ..Self::default() };
        for file in files_of(&records.join("trust-roots"))? {
            let version = file.file_stem().and_then(|stem| stem.to_str()).and_then(|stem| stem.parse().ok());
            let fault = || EngineError::field("catalog", format!("{} is not named VERSION.json", file.display()));
            found.roots.insert(version.ok_or_else(fault)?, file);
        }
        found.revocations = files_of(&records.join("revocations"))?;
        found.certificates = files_of(&records.join("certificates"))?;
        found.manifests = manifests(path)?;
        let stems: BTreeSet<PathBuf> =
            found.manifests.iter().map(|file| Path::new(&file.source).with_extension("")).collect();
        for file in walk(path)?.into_iter().filter(|file| file.to_string_lossy().ends_with(STANDING_ENDING)) {
            let file = path.join(file);
            if !stems.contains(&file.with_extension("").with_extension("")) {
                found.strays.push(file);
            }
        }
        Ok(found)
    }

    /// Evidence by its digest; `None`: it is not in the folder.
    ///
    /// Errors: a file that is not what its name says.
    pub(super) fn evidence(&self, digest: &Digest) -> Result<Option<Vec<u8>>, EngineError> {
        let file = self.records.join("evidence").join(digest.to_hex());
        let bytes = match std::fs::read(&file) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(EngineError::Io { path: file, source }),
        };
        if Digest::of(&bytes) != *digest {
            return Err(EngineError::field("evidence", format!("{} is not what its name says", file.display())));
        }
        Ok(Some(bytes))
    }
}

/// Manifests of a folder, with where their versions stand; none of an export of a catalogue without versions.
///
/// Errors: a folder that holds none and is no export.
pub(super) fn manifests(folder: &Path) -> Result<Vec<CatalogFile>, EngineError> {
    match read_catalog_folder(folder) {
        Err(EngineError::InvalidField { .. }) if is_export(folder) => Ok(Vec::new()),
        read => read,
    }
}

/// Whether an export wrote this folder: then it holds a whole catalogue.
pub(super) fn is_export(folder: &Path) -> bool {
    folder.join(FOLDER_RECORDS).join(SUMS).is_file()
}

/// What lies under the folder of records, by its path in the export; empty where there is none.
pub(super) fn records(folder: &Path) -> Result<BTreeMap<String, Vec<u8>>, EngineError> {
    let mut found = BTreeMap::new();
    let records = folder.join(FOLDER_RECORDS);
    if records.is_dir() {
        for path in walk(&records)? {
            let (name, file) = (format!("{FOLDER_RECORDS}/{}", slashes(&path)), records.join(&path));
            if path != Path::new(SUMS) {
                found.insert(name, std::fs::read(&file).map_err(failed(&file))?);
            }
        }
    }
    Ok(found)
}

/// Files of one folder, by their names; none where there is no such folder. Hidden ones are passed over.
fn files_of(folder: &Path) -> Result<Vec<PathBuf>, EngineError> {
    if !folder.is_dir() {
        return Ok(Vec::new());
    }
    let inside = walk(folder)?;
    Ok(inside.into_iter().filter(|path| path.components().count() == 1).map(|path| folder.join(path)).collect())
}

/// Every file below a folder, by its path there; hidden files and folders are passed over, links not followed.
fn walk(folder: &Path) -> Result<Vec<PathBuf>, EngineError> {
    let (mut files, mut folders) = (Vec::new(), vec![PathBuf::new()]);
    while let Some(inside) = folders.pop() {
        let place = folder.join(&inside);
        for entry in std::fs::read_dir(&place).map_err(failed(&place))? {
            let entry = entry.map_err(failed(&place))?;
            let kind = entry.file_type().map_err(failed(&place))?;
            let path = inside.join(entry.file_name());
            if entry.file_name().to_string_lossy().starts_with('.') {
                continue;
            }
            if kind.is_dir() { folders.push(path) } else { files.push(path) }
        }
    }
    files.sort_unstable();
    Ok(files)
}

fn slashes(path: &Path) -> String {
    path.components().map(|part| part.as_os_str().to_string_lossy()).collect::<Vec<_>>().join("/")
}

fn failed(path: &Path) -> impl Fn(std::io::Error) -> EngineError {
    let path = path.to_path_buf();
    move |source| EngineError::Io { path: path.clone(), source }
}

/// An export that is being written beside what is there.
#[derive(Debug)]
pub(super) struct Export {
    folder: PathBuf,
    staging: PathBuf,
    /// What is to be there, by its path.
    files: BTreeMap<String, Digest>,
    /// Held until the export has ended: two at a time would take each other's files away.
    _lock: File,
}

/// What an export did to a folder.
#[derive(Debug, Default, serde::Serialize)]
pub(super) struct Done {
    /// Files that are new or were replaced.
    pub(super) written: usize,
    /// Files that were so already.
    pub(super) unchanged: usize,
    /// Files of what is gone.
    pub(super) removed: usize,
    /// What no export wrote and what was left alone, or was edited and is gone from the catalogue.
    pub(super) left_alone: Vec<String>,
}

impl Export {
    /// Takes the folder, which is made where it is not there.
    ///
    /// Errors: another export is writing there; IO.
    pub(super) fn begin(folder: &Path) -> anyhow::Result<Self> {
        std::fs::create_dir_all(folder).map_err(failed(folder))?;
        let lock = File::open(folder).map_err(failed(folder))?;
        if lock.try_lock().is_err() {
            return Err(Invalid(format!("another export is writing to {}; wait for it", folder.display())).into());
        }
        let staging = folder.join(STAGING);
        if staging.exists() {
            // Left by one that was killed.
            std::fs::remove_dir_all(&staging).map_err(failed(&staging))?;
        }
        std::fs::create_dir(&staging).map_err(failed(&staging))?;
        Ok(Self { folder: folder.to_path_buf(), staging, files: BTreeMap::new(), _lock: lock })
    }

    /// Takes a file in.
    ///
    /// Errors: a path that is none of an export's; IO.
    pub(super) fn add(&mut self, path: String, content: &[u8]) -> anyhow::Result<()> {
        let plain = |part: &str| {
            !part.is_empty()
                && !part.starts_with('.')
                && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.@+".contains(&byte))
        };
        anyhow::ensure!(path.split('/').all(plain), "the daemon sent a file named `{}`", path.escape_debug());
        let place = self.staging.join(&path);
        if let Some(parent) = place.parent() {
            std::fs::create_dir_all(parent).map_err(failed(parent))?;
        }
        let mut file = File::create(&place).map_err(failed(&place))?;
        file.write_all(content).map_err(failed(&place))?;
        self.files.insert(path, Digest::of(content));
        Ok(())
    }

    /// Puts everything in its place.
    ///
    /// `force`: also over files that were edited since the last export. Errors: such files, and nothing was changed; IO, and a
    /// further export goes on.
    pub(super) fn finish(self, force: bool) -> anyhow::Result<Done> {
        let Self { folder, staging, files, _lock } = self;
        let records = folder.join(FOLDER_RECORDS);
        let mut known = read_sums(&records.join(SUMS))?;
        for (path, sums) in read_sums(&records.join(PENDING))? {
            known.entry(path).or_default().extend(sums);
        }
        let (mut done, mut to_write, mut to_remove, mut edited) = (Done::default(), Vec::new(), Vec::new(), Vec::new());
        for (path, digest) in &files {
            let there = digest_of(&folder, path)?;
            let ours = there.is_none_or(|there| known.get(path).is_some_and(|sums| sums.contains(&there)));
            if there == Some(*digest) {
                done.unchanged += 1;
            } else if ours || force {
                to_write.push(path.as_str());
            } else {
                edited.push(path.as_str());
            }
        }
        for (path, sums) in &known {
            let there = if files.contains_key(path) { None } else { digest_of(&folder, path)? };
            match there {
                Some(there) if sums.contains(&there) => to_remove.push(path.as_str()),
                _ => {}
            }
        }
        if !edited.is_empty() {
            std::fs::remove_dir_all(&staging).map_err(failed(&staging))?;
            let (count, first) = (edited.len(), edited[..edited.len().min(5)].join(", "));
            return Err(Invalid(format!(
                "{count} files were edited since they were exported, or are somebody else's ({first}); import or move them \
                 away, or say --force to write over them; nothing was changed"
            ))
            .into());
        }
        let sums = files.iter().map(|(path, digest)| [&digest.to_hex(), "  ", path, "\n"].concat()).collect::<String>();
        std::fs::create_dir_all(&records).map_err(failed(&records))?;
        put(&staging, &records.join(PENDING), sums.as_bytes())?;
        let mut folders = BTreeSet::from([folder.clone(), records.clone()]);
        for path in to_write {
            let (from, to) = (staging.join(path), folder.join(path));
            if let Some(parent) = to.parent() {
                std::fs::create_dir_all(parent).map_err(failed(parent))?;
                folders.insert(parent.to_path_buf());
            }
            File::open(&from).and_then(|file| file.sync_all()).map_err(failed(&from))?;
            std::fs::rename(&from, &to).map_err(failed(&to))?;
            done.written += 1;
        }
        for path in to_remove {
            let gone = folder.join(path);
            std::fs::remove_file(&gone).map_err(failed(&gone))?;
            done.removed += 1;
            // Only where nothing else is in it.
            if let Some(parent) = gone.parent().filter(|parent| *parent != folder)
                && std::fs::remove_dir(parent).is_ok()
            {
                folders.remove(parent);
            }
        }
        put(&staging, &records.join(SUMS), sums.as_bytes())?;
        std::fs::remove_file(records.join(PENDING)).map_err(failed(&records))?;
        for folder in folders {
            File::open(&folder).and_then(|file| file.sync_all()).map_err(failed(&folder))?;
        }
        std::fs::remove_dir_all(&staging).map_err(failed(&staging))?;
        done.left_alone = foreign(&folder, &files)?;
        Ok(done)
    }
}

/// Writes a file by a rename.
fn put(staging: &Path, place: &Path, content: &[u8]) -> Result<(), EngineError> {
    let made = staging.join("sums");
    let mut file = File::create(&made).map_err(failed(&made))?;
    file.write_all(content).and_then(|()| file.sync_all()).map_err(failed(&made))?;
    std::fs::rename(&made, place).map_err(failed(place))
}

/// What a list of digests says; nothing where there is none. A line that cannot be read is of nobody's file.
fn read_sums(path: &Path) -> Result<BTreeMap<String, BTreeSet<Digest>>, EngineError> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
        Err(source) => return Err(EngineError::Io { path: path.to_path_buf(), source }),
    };
    let mut sums: BTreeMap<String, BTreeSet<Digest>> = BTreeMap::new();
    for line in text.lines() {
        let Some((hex, path)) = line.split_once("  ") else { continue };
        let safe = Path::new(path).components().all(|part| matches!(part, std::path::Component::Normal(_)));
        if let (Ok(digest), true) = (format!("sha256:{hex}").parse(), safe) {
            sums.entry(path.to_owned()).or_default().insert(digest);
        }
    }
    Ok(sums)
}

/// The digest of a file of the export that is there; `None`: it is not.
///
/// Errors: a link or a folder in its place.
fn digest_of(folder: &Path, path: &str) -> anyhow::Result<Option<Digest>> {
    let mut place = folder.to_path_buf();
    for part in path.split('/') {
        place.push(part);
        match std::fs::symlink_metadata(&place) {
            Ok(found) if found.is_symlink() => {
                return Err(Invalid(format!("{} is a link; an export follows none", place.display())).into());
            }
            Ok(_) => {}
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(EngineError::Io { path: place, source }.into()),
        }
    }
    Ok(Some(Digest::of(&std::fs::read(&place).map_err(failed(&place))?)))
}

/// What is in the folder and no part of the export, by name.
fn foreign(folder: &Path, files: &BTreeMap<String, Digest>) -> Result<Vec<String>, EngineError> {
    let mut left: BTreeSet<String> = walk(folder)?
        .iter()
        .map(|path| slashes(path))
        .filter(|path| !files.contains_key(path) && *path != format!("{FOLDER_RECORDS}/{SUMS}"))
        .collect();
    for entry in std::fs::read_dir(folder).map_err(failed(folder))? {
        let name = entry.map_err(failed(folder))?.file_name().to_string_lossy().into_owned();
        if name.starts_with('.') {
            left.insert(name);
        }
    }
    Ok(left.into_iter().collect())
}

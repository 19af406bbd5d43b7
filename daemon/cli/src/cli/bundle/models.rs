//! What a bundle holds beside a catalogue: models and labelled intents, as files on this machine.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use fitment_catalog::Digest;
use fitment_engine::{BundleEntry, BundleFile, BundleKind, BundleManifest, BundleTaker, EngineError, Work};
use fitment_models::{InstalledModel, ModelCache, ModelError, Scratch};

use super::export::hash_file;

/// The record that a model has which this build does not know by name.
const RECORD: &str = "fitment-model.json";
/// Files of one folder of labelled intents.
const MAX_LABEL_FILES: usize = 100;

fn entry(path: String, kind: BundleKind, bytes: u64, sha256: Digest) -> BundleEntry {
    BundleEntry { path, kind, bytes, sha256, lifecycle: None, may_answer: false }
}

/// A model's files, in the order of their names.
pub(super) fn entries_of_model(model: &InstalledModel) -> Result<Vec<(BundleEntry, PathBuf)>, EngineError> {
    let mut entries = Vec::new();
    for file in &model.files {
        let path = format!("models/{}/{}", model.name, file.path);
        let sha256 = Digest::from_bytes(*file.sha256.as_bytes());
        entries.push((entry(path, BundleKind::Model, file.size, sha256), model.folder.join(&file.path)));
    }
    if !model.known {
        let file = model.folder.join(RECORD);
        let bytes = std::fs::read(&file).map_err(|source| EngineError::Io { path: file.clone(), source })?;
        let path = format!("models/{}/{RECORD}", model.name);
        entries.push((entry(path, BundleKind::Model, bytes.len() as u64, Digest::of(&bytes)), file));
    }
    entries.sort_by(|one, other| one.0.path.cmp(&other.0.path));
    Ok(entries)
}

/// Files of labelled intents: a file by its name, a folder with all that it holds.
pub(super) fn entries_of_labels(paths: &[PathBuf], work: Work<'_>) -> Result<Vec<(BundleEntry, PathBuf)>, EngineError> {
    let mut entries = Vec::new();
    for path in paths {
        let failed = |source| EngineError::Io { path: path.clone(), source };
        let whole = path.canonicalize().map_err(failed)?;
        let name = whole.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let mut files = Vec::new();
        if whole.is_dir() {
            collect(&whole, &name, 0, &mut files)?;
        } else {
            files.push((name, whole));
        }
        for (name, file) in files {
            let (sha256, bytes) = hash_file(&file, work)?;
            entries.push((entry(format!("labels/{name}"), BundleKind::Labels, bytes, sha256), file));
        }
    }
    entries.sort_by(|one, other| one.0.path.cmp(&other.0.path));
    Ok(entries)
}

/// Regular files below a folder of labelled intents; links and hidden files are passed over.
fn collect(folder: &Path, name: &str, depth: usize, files: &mut Vec<(String, PathBuf)>) -> Result<(), EngineError> {
    let failed = |source| EngineError::Io { path: folder.to_path_buf(), source };
    for found in std::fs::read_dir(folder).map_err(failed)? {
        let found = found.map_err(failed)?;
        let kind = found.file_type().map_err(failed)?;
        let inside = found.file_name().to_string_lossy().into_owned();
        if inside.starts_with('.') {
            continue;
        }
        let inside = format!("{name}/{inside}");
        if kind.is_dir() && depth < 2 {
            collect(&found.path(), &inside, depth + 1, files)?;
        } else if kind.is_file() {
            files.push((inside, found.path()));
        }
        if files.len() > MAX_LABEL_FILES {
            let fault = format!("{} holds more than {MAX_LABEL_FILES} files; name one set", folder.display());
            return Err(EngineError::field("labels", fault));
        }
    }
    Ok(())
}

/// How a file of a bundle stands to what is on this machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Created,
    Unchanged,
    Conflict,
}

/// How each model stands to what is installed.
pub(super) fn model_states(manifest: &BundleManifest, cache: &ModelCache) -> Vec<(String, State)> {
    let state = |name: &str| match cache.get(name) {
        Ok(installed) => {
            let same = installed.files.iter().all(|file| {
                let path = format!("models/{name}/{}", file.path);
                let sha256 = Digest::from_bytes(*file.sha256.as_bytes());
                manifest.entries.iter().any(|entry| entry.path == path && entry.sha256 == sha256)
            });
            if same { State::Unchanged } else { State::Conflict }
        }
        // Absent, or damaged and to be put right.
        Err(_) => State::Created,
    };
    manifest.models.iter().map(|model| (model.name.clone(), state(&model.name))).collect()
}

/// How each file of labels stands to the folder that they go to.
pub(super) fn label_states(manifest: &BundleManifest, folder: &Path) -> Result<Vec<(String, State)>, EngineError> {
    let labels = manifest.entries.iter().filter(|entry| entry.kind == BundleKind::Labels);
    labels
        .map(|entry| {
            let path = place_of(folder, entry);
            let state = match std::fs::read(&path) {
                Ok(bytes) if Digest::of(&bytes) == entry.sha256 => State::Unchanged,
                Ok(_) => State::Conflict,
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => State::Created,
                Err(source) => return Err(EngineError::Io { path, source }),
            };
            Ok((entry.path.clone(), state))
        })
        .collect()
}

fn place_of(folder: &Path, entry: &BundleEntry) -> PathBuf {
    folder.join(entry.path.strip_prefix("labels/").unwrap_or(&entry.path))
}

/// Puts models and labels in their places, each by a rename once it is whole. `labels`: where to; `None`: nowhere.
pub(super) fn place(
    bundle: BundleFile,
    cache: &ModelCache,
    models: &[String],
    labels: Option<&Path>,
    work: Work<'_>,
) -> Result<(), EngineError> {
    // Beside the models, so that the last step is a rename; removed again on every way out.
    let scratch = cache.scratch()?;
    let mut placing = Placing { scratch: &scratch, models, labels, open: None };
    bundle.walk(&mut placing, work)?;
    for name in models {
        (work.tell)("installing models", 0, models.len() as u64);
        cache.adopt(&scratch.path().join(name), name).map_err(|error: ModelError| EngineError::Model(error))?;
    }
    Ok(())
}

struct Placing<'a> {
    scratch: &'a Scratch,
    models: &'a [String],
    labels: Option<&'a Path>,
    /// The file under way and where it goes once it is whole.
    open: Option<Open>,
}

/// A file under way, its name for now, and its name once it is whole where that is another.
type Open = (File, PathBuf, Option<PathBuf>);

impl Placing<'_> {
    /// Where an entry's bytes go first, and its last place where that is another; `None`: it is not wanted.
    fn places(&self, entry: &BundleEntry) -> Option<(PathBuf, Option<PathBuf>)> {
        if entry.kind == BundleKind::Model {
            let inside = entry.path.strip_prefix("models/")?;
            let (name, _) = inside.split_once('/')?;
            return self.models.iter().any(|model| model == name).then(|| (self.scratch.path().join(inside), None));
        }
        let target = place_of(self.labels?, entry);
        let mut new = target.as_os_str().to_owned();
        new.push(".new");
        Some((PathBuf::from(new), Some(target)))
    }

    fn file(&mut self, entry: &BundleEntry) -> Result<Option<&mut Open>, EngineError> {
        if self.open.is_none() {
            let Some((first, last)) = self.places(entry) else { return Ok(None) };
            let failed = |source| EngineError::Io { path: first.clone(), source };
            if let Some(folder) = first.parent() {
                std::fs::create_dir_all(folder).map_err(failed)?;
            }
            let file = File::create(&first).map_err(failed)?;
            self.open = Some((file, first, last));
        }
        Ok(self.open.as_mut())
    }
}

impl BundleTaker for Placing<'_> {
    fn whole(&mut self, _entry: &BundleEntry, _bytes: Vec<u8>) -> Result<(), EngineError> {
        Ok(())
    }

    fn piece(&mut self, entry: &BundleEntry, piece: &[u8]) -> Result<(), EngineError> {
        let Some((file, path, _)) = self.file(entry)? else { return Ok(()) };
        file.write_all(piece).map_err(|source| EngineError::Io { path: path.clone(), source })
    }

    fn done(&mut self, entry: &BundleEntry) -> Result<(), EngineError> {
        // An empty file has no piece.
        self.file(entry)?;
        let Some((file, path, last)) = self.open.take() else { return Ok(()) };
        let failed = |source| EngineError::Io { path: path.clone(), source };
        file.sync_all().map_err(failed)?;
        match last {
            Some(last) => std::fs::rename(&path, last).map_err(failed),
            None => Ok(()),
        }
    }
}

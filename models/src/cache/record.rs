//! What is known of an installed model, and the record that says so in its folder.

use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::files::hash_file;
use super::{CheckState, FileCheck};
use crate::cpu::Precision;
use crate::digest::ModelDigest;
use crate::error::ModelError;
use crate::known::{KnownModel, MODEL_FILES, ModelFile};
use crate::load::{CONFIG_LIMIT, check_size, read_limited};
use crate::recipe::{Architecture, Recipe};

/// The record's file name.
pub(crate) const RECORD: &str = "fitment-model.json";

/// The only record format so far.
const FORMAT: u32 = 1;

/// A model in a folder, with what its files must be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InstalledModel {
    /// The name it is installed under.
    pub name: String,
    /// Its folder.
    pub folder: PathBuf,
    /// Whether its bytes are those of the list of known models.
    pub known: bool,
    /// The transformer family.
    pub architecture: Architecture,
    /// How token states become vectors.
    pub recipe: Recipe,
    /// Its files with their digests.
    pub files: Vec<ModelFile>,
    /// An SPDX expression, where known.
    pub license: Option<String>,
}

/// The record as written.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Record {
    format: u32,
    name: String,
    license: Option<String>,
    architecture: Architecture,
    recipe: Recipe,
    files: Vec<ModelFile>,
}

impl InstalledModel {
    /// What equal digests mean: vectors that may be compared. Equal to the loaded model's.
    pub fn digest(&self) -> ModelDigest {
        self.recipe.digest(
            self.architecture,
            Precision::F32,
            self.files.iter().map(|file| (file.path.as_str(), file.sha256)),
        )
    }

    /// Bytes of all files together.
    pub fn size(&self) -> u64 {
        self.files.iter().map(|file| file.size).sum()
    }

    /// The known model as it must lie in `folder`.
    pub(super) fn of_known(known: &KnownModel, folder: &Path) -> Self {
        Self {
            name: known.name.clone(),
            folder: folder.to_path_buf(),
            known: true,
            architecture: known.architecture,
            recipe: known.recipe.clone(),
            files: known.files.clone(),
            license: Some(known.license.clone()),
        }
    }

    /// The model that the record in `folder` describes.
    pub(crate) fn from_folder(folder: &Path) -> Result<Self, ModelError> {
        let path = folder.join(RECORD);
        let bytes = read_limited(folder, RECORD, CONFIG_LIMIT)?
            .ok_or_else(|| ModelError::MissingFile { file: RECORD.to_owned(), place: folder.to_path_buf() })?;
        let refuse = |reason: String| ModelError::BadConfig { path: path.clone(), reason };
        let Record { format, name, license, architecture, recipe, files } =
            serde_json::from_slice(&bytes).map_err(|error| refuse(error.to_string()))?;
        if format != FORMAT {
            return Err(refuse(format!("has format {format}, this build reads {FORMAT}; import the model again")));
        }
        let mut paths: Vec<&str> = files.iter().map(|file| file.path.as_str()).collect();
        paths.sort_unstable();
        if paths != MODEL_FILES {
            return Err(refuse(format!("lists {}, not {}", paths.join(", "), MODEL_FILES.join(", "))));
        }
        Ok(Self { name, folder: folder.to_path_buf(), known: false, architecture, recipe, files, license })
    }

    /// Writes the record into the model's folder.
    pub(super) fn write_record(&self) -> Result<(), ModelError> {
        let Self { name, folder, known: _, architecture, recipe, files, license } = self;
        let record = Record {
            format: FORMAT,
            name: name.clone(),
            license: license.clone(),
            architecture: *architecture,
            recipe: recipe.clone(),
            files: files.clone(),
        };
        let path = folder.join(RECORD);
        let text = serde_json::to_string_pretty(&record).expect("a record is plain data");
        fs::write(&path, text + "\n").map_err(ModelError::io("write", &path))?;
        super::files::sync(&path)
    }

    /// Each file is there and has its size.
    pub(super) fn check_sizes(&self) -> Result<(), ModelError> {
        for ModelFile { path: file, size, sha256: _ } in &self.files {
            let path = self.folder.join(file);
            match fs::metadata(&path) {
                Ok(metadata) => check_size(&path, *size, metadata.len())?,
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                    return Err(ModelError::MissingFile { file: file.clone(), place: self.folder.clone() });
                }
                Err(error) => return Err(ModelError::io("read", &path)(error)),
            }
        }
        Ok(())
    }

    /// Each file's bytes, hashed.
    pub(super) fn check_files(&self) -> Result<Vec<FileCheck>, ModelError> {
        self.files
            .iter()
            .map(|ModelFile { path, size: _, sha256 }| {
                let state = match hash_file(&self.folder.join(path))? {
                    None => CheckState::Missing,
                    Some(actual) if actual == *sha256 => CheckState::Good,
                    Some(actual) => CheckState::WrongDigest(actual),
                };
                Ok(FileCheck { path: path.clone(), expected: *sha256, state })
            })
            .collect()
    }

    /// Whether every file is whole.
    pub(super) fn is_whole(&self) -> Result<bool, ModelError> {
        Ok(self.check_sizes().is_ok() && self.check_files()?.iter().all(|check| check.state == CheckState::Good))
    }
}

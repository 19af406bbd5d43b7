//! Token ids to token states: one implementation a transformer family, behind one trait.
//!
//! candle's side; Fitment's own is [`crate::cpu`]. In f32, the reference, BERT and XLM-R come from candle-transformers. `MPNet`, which it
//! has not, and half precision, in which its masks are no numbers, are written here.

mod bert;
mod candle;
mod transformer;
mod xlm_roberta;

use std::path::Path;

use candle_core::{DType, Device, Tensor};
use candle_nn::VarBuilder;

pub(crate) use candle::CandleEncoder;
pub(crate) use transformer::relative_bias_by_distance;

use crate::error::ModelError;
use crate::load::{TransformerConfig, Weights};
use crate::recipe::Architecture;

/// A transformer's forward pass.
pub(crate) trait Encoder: Send + Sync {
    /// ids: `[texts, tokens]` u32; mask: `[texts, tokens]` u32, 1 for a token and 0 for padding, `None` where nothing
    /// is padded. Returns token states `[texts, tokens, dimension]` in the type that it was built with.
    fn forward(&self, ids: &Tensor, mask: Option<&Tensor>) -> candle_core::Result<Tensor>;
}

/// Builds the encoder that `config` describes from `weights`; `path` is the weights' file, for messages.
pub(crate) fn build(
    config: &TransformerConfig,
    weights: Weights,
    dtype: DType,
    device: &Device,
    path: &Path,
) -> Result<Box<dyn Encoder>, ModelError> {
    let prefix = weights.prefix();
    let builder = VarBuilder::from_tensors(weights.tensors, dtype, device);
    let builder = if prefix.is_empty() { builder } else { builder.pp(prefix) };
    let encoder: candle_core::Result<Box<dyn Encoder>> = match (config.architecture, dtype) {
        (Architecture::Bert, DType::F32) => bert::Bert::load(config, builder).map(|encoder| Box::new(encoder) as _),
        (Architecture::XlmRoberta, DType::F32) => {
            xlm_roberta::XlmRoberta::load(config, builder).map(|encoder| Box::new(encoder) as _)
        }
        _ => transformer::Transformer::load(config, &builder).map(|encoder| Box::new(encoder) as _),
    };
    encoder.map_err(|error| ModelError::BadWeights {
        path: path.to_path_buf(),
        reason: format!("the weights do not fit config.json: {}", first_line(&error.to_string())),
    })
}

/// candle appends a backtrace when one is asked for.
fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default()
}

//! Token ids to token states: one implementation a transformer family, behind one trait.
//!
//! BERT and XLM-R come from candle-transformers; `MPNet` is written here, since candle-transformers has none.

mod bert;
mod mpnet;
mod xlm_roberta;

use std::path::Path;

use candle_core::{Device, Tensor};
use candle_nn::VarBuilder;

use crate::error::ModelError;
use crate::load::{TransformerConfig, Weights};
use crate::recipe::Architecture;

/// A transformer's forward pass.
pub(crate) trait Encoder: Send + Sync {
    /// ids: `[texts, tokens]` u32; mask: `[texts, tokens]` u32, 1 for a token and 0 for padding, `None` where nothing
    /// is padded. Returns token states `[texts, tokens, dimension]` f32.
    fn forward(&self, ids: &Tensor, mask: Option<&Tensor>) -> candle_core::Result<Tensor>;
}

/// Builds the encoder that `config` describes from `weights`; `path` is the weights' file, for messages.
pub(crate) fn build(config: &TransformerConfig, weights: Weights, path: &Path) -> Result<Box<dyn Encoder>, ModelError> {
    let prefix = weights.prefix();
    let builder = VarBuilder::from_tensors(weights.tensors, candle_core::DType::F32, &Device::Cpu);
    let builder = if prefix.is_empty() { builder } else { builder.pp(prefix) };
    let encoder: candle_core::Result<Box<dyn Encoder>> = match config.architecture {
        Architecture::Bert => bert::Bert::load(config, builder).map(|encoder| Box::new(encoder) as _),
        Architecture::XlmRoberta => {
            xlm_roberta::XlmRoberta::load(config, builder).map(|encoder| Box::new(encoder) as _)
        }
        Architecture::Mpnet => mpnet::Mpnet::load(config, &builder).map(|encoder| Box::new(encoder) as _),
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

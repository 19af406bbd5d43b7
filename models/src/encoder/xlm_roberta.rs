//! `RoBERTa` and `XLM-RoBERTa` through candle-transformers.

use candle_core::{Result, Tensor};
use candle_nn::VarBuilder;
use candle_transformers::models::xlm_roberta::{Config, XLMRobertaModel};

use super::Encoder;
use crate::load::{Activation, TransformerConfig};

pub(super) struct XlmRoberta(XLMRobertaModel);

impl XlmRoberta {
    pub(super) fn load(config: &TransformerConfig, weights: VarBuilder<'_>) -> Result<Self> {
        let config = Config {
            hidden_size: config.hidden_size,
            layer_norm_eps: config.layer_norm_eps,
            attention_probs_dropout_prob: 0.0,
            hidden_dropout_prob: 0.0,
            num_attention_heads: config.num_attention_heads,
            position_embedding_type: "absolute".to_owned(),
            intermediate_size: config.intermediate_size,
            hidden_act: match config.activation {
                Activation::Gelu => candle_nn::Activation::Gelu,
                Activation::GeluTanh => candle_nn::Activation::NewGelu,
                Activation::Relu => candle_nn::Activation::Relu,
            },
            num_hidden_layers: config.num_hidden_layers,
            vocab_size: config.vocab_size,
            max_position_embeddings: config.max_position_embeddings,
            type_vocab_size: config.type_vocab_size,
            pad_token_id: config.pad_token_id,
        };
        XLMRobertaModel::new(&config, weights).map(Self)
    }
}

impl Encoder for XlmRoberta {
    fn forward(&self, ids: &Tensor, mask: Option<&Tensor>) -> Result<Tensor> {
        let all;
        let mask = if let Some(mask) = mask {
            mask
        } else {
            all = ids.ones_like()?;
            &all
        };
        self.0.forward(ids, mask, &ids.zeros_like()?, None, None, None)
    }
}

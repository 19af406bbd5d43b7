//! BERT through candle-transformers.

use candle_core::{Result, Tensor};
use candle_nn::VarBuilder;
use candle_transformers::models::bert::{BertModel, Config, HiddenAct, PositionEmbeddingType};

use super::Encoder;
use crate::load::{Activation, TransformerConfig};

pub(super) struct Bert(BertModel);

impl Bert {
    pub(super) fn load(config: &TransformerConfig, weights: VarBuilder<'_>) -> Result<Self> {
        let config = Config {
            vocab_size: config.vocab_size,
            hidden_size: config.hidden_size,
            num_hidden_layers: config.num_hidden_layers,
            num_attention_heads: config.num_attention_heads,
            intermediate_size: config.intermediate_size,
            hidden_act: match config.activation {
                Activation::Gelu => HiddenAct::Gelu,
                Activation::GeluTanh => HiddenAct::GeluApproximate,
                Activation::Relu => HiddenAct::Relu,
            },
            hidden_dropout_prob: 0.0,
            max_position_embeddings: config.max_position_embeddings,
            type_vocab_size: config.type_vocab_size,
            initializer_range: 0.0,
            layer_norm_eps: config.layer_norm_eps,
            pad_token_id: config.pad_token_id as usize,
            position_embedding_type: PositionEmbeddingType::Absolute,
            use_cache: false,
            classifier_dropout: None,
            // The prefix was resolved before; naming a type here would make candle try another one.
            model_type: None,
        };
        BertModel::load(weights, &config).map(Self)
    }
}

impl Encoder for Bert {
    fn forward(&self, ids: &Tensor, mask: Option<&Tensor>) -> Result<Tensor> {
        self.0.forward(ids, &ids.zeros_like()?, mask)
    }
}

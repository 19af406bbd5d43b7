//! A transformer's `config.json`, read into numbers that hold together.

use std::path::Path;

use serde::Deserialize;

use crate::error::ModelError;
use crate::recipe::Architecture;

/// The function between the two halves of a feed-forward block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Activation {
    /// With the exact error function.
    Gelu,
    /// With the tanh approximation.
    GeluTanh,
    /// Negative values become zero.
    Relu,
}

/// What an encoder needs to know of its shape. Every number is positive and heads divide the hidden size.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct TransformerConfig {
    pub(crate) architecture: Architecture,
    pub(crate) vocab_size: usize,
    pub(crate) hidden_size: usize,
    pub(crate) num_hidden_layers: usize,
    pub(crate) num_attention_heads: usize,
    pub(crate) intermediate_size: usize,
    pub(crate) activation: Activation,
    pub(crate) max_position_embeddings: usize,
    pub(crate) type_vocab_size: usize,
    pub(crate) layer_norm_eps: f64,
    pub(crate) pad_token_id: u32,
    pub(crate) relative_attention_num_buckets: usize,
}

/// The file as it is; keys that an encoder does not need are left unread.
#[derive(Deserialize)]
struct RawConfig {
    vocab_size: usize,
    hidden_size: usize,
    num_hidden_layers: usize,
    num_attention_heads: usize,
    intermediate_size: usize,
    hidden_act: Option<String>,
    max_position_embeddings: usize,
    type_vocab_size: Option<usize>,
    layer_norm_eps: Option<f64>,
    pad_token_id: Option<u32>,
    position_embedding_type: Option<String>,
    relative_attention_num_buckets: Option<usize>,
    #[serde(default)]
    is_decoder: bool,
}

/// Only what names the architecture: a foreign family may lack the other keys.
#[derive(Deserialize)]
struct Family {
    model_type: Option<String>,
    #[serde(default)]
    architectures: Vec<String>,
}

/// No supported model comes near; keeps absurd numbers away from multiplications.
const SANE: usize = 1 << 24;

impl TransformerConfig {
    /// Reads a `config.json`; `path` is for messages.
    pub(crate) fn parse(json: &[u8], path: &Path) -> Result<Self, ModelError> {
        let refuse = |reason: String| ModelError::BadConfig { path: path.to_path_buf(), reason };
        let unsupported = |feature: String, supported| ModelError::UnsupportedFeature {
            path: path.to_path_buf(),
            feature,
            supported,
        };

        let family: Family = serde_json::from_slice(json).map_err(|error| refuse(error.to_string()))?;
        let architecture = architecture_of(&family).ok_or_else(|| ModelError::UnsupportedArchitecture {
            path: path.to_path_buf(),
            found: family.architectures.first().or(family.model_type.as_ref()).cloned().unwrap_or("none named".into()),
            supported: Architecture::SUPPORTED,
        })?;
        let RawConfig {
            vocab_size,
            hidden_size,
            num_hidden_layers,
            num_attention_heads,
            intermediate_size,
            hidden_act,
            max_position_embeddings,
            type_vocab_size,
            layer_norm_eps,
            pad_token_id,
            position_embedding_type,
            relative_attention_num_buckets,
            is_decoder,
        } = serde_json::from_slice(json).map_err(|error| refuse(error.to_string()))?;

        if is_decoder {
            return Err(unsupported("a decoder".into(), "only encoders are"));
        }
        if let Some(kind) = position_embedding_type
            && kind != "absolute"
        {
            return Err(unsupported(format!("position_embedding_type `{kind}`"), "only `absolute` is"));
        }
        let activation = match hidden_act.as_deref().unwrap_or("gelu") {
            "gelu" => Activation::Gelu,
            "gelu_new" | "gelu_pytorch_tanh" | "gelu_fast" => Activation::GeluTanh,
            "relu" => Activation::Relu,
            other => {
                return Err(unsupported(format!("hidden_act `{other}`"), "only gelu, gelu_new and relu are"));
            }
        };
        let type_vocab_size = type_vocab_size.unwrap_or(2);
        let buckets = relative_attention_num_buckets.unwrap_or(32);
        for (key, value) in [
            ("vocab_size", vocab_size),
            ("hidden_size", hidden_size),
            ("num_hidden_layers", num_hidden_layers),
            ("num_attention_heads", num_attention_heads),
            ("intermediate_size", intermediate_size),
            ("max_position_embeddings", max_position_embeddings),
            ("type_vocab_size", type_vocab_size),
            ("relative_attention_num_buckets", buckets),
        ] {
            if !(1..=SANE).contains(&value) {
                return Err(refuse(format!("{key} is {value}, not within 1..={SANE}")));
            }
        }
        if hidden_size % num_attention_heads != 0 {
            return Err(refuse(format!("{num_attention_heads} heads do not divide a hidden_size of {hidden_size}")));
        }
        if buckets % 4 != 0 {
            return Err(refuse(format!("relative_attention_num_buckets is {buckets}, not a multiple of 4")));
        }
        let (default_eps, default_pad) = match architecture {
            Architecture::Bert => (1e-12, 0),
            Architecture::XlmRoberta => (1e-5, 1),
            Architecture::Mpnet => (1e-12, 1),
        };
        let layer_norm_eps = layer_norm_eps.unwrap_or(default_eps);
        if !(0.0..=1.0).contains(&layer_norm_eps) {
            return Err(refuse(format!("layer_norm_eps is {layer_norm_eps}, not within 0..=1")));
        }
        let pad_token_id = pad_token_id.unwrap_or(default_pad);
        if pad_token_id as usize >= vocab_size {
            return Err(refuse(format!("pad_token_id is {pad_token_id}, the vocabulary has {vocab_size} tokens")));
        }
        let config = Self {
            architecture,
            vocab_size,
            hidden_size,
            num_hidden_layers,
            num_attention_heads,
            intermediate_size,
            activation,
            max_position_embeddings,
            type_vocab_size,
            layer_norm_eps,
            pad_token_id,
            relative_attention_num_buckets: buckets,
        };
        if config.token_places() == 0 {
            return Err(refuse(format!(
                "max_position_embeddings of {max_position_embeddings} leave no place for a token"
            )));
        }
        Ok(config)
    }

    /// Tokens that the position table has places for.
    pub(crate) fn token_places(&self) -> usize {
        match self.architecture {
            Architecture::Bert => self.max_position_embeddings,
            // Both count places from pad_token_id + 1.
            Architecture::XlmRoberta | Architecture::Mpnet => {
                self.max_position_embeddings.saturating_sub(self.pad_token_id as usize + 1)
            }
        }
    }
}

/// By `model_type`, which names the family whatever the head; by the first architecture where it is absent.
fn architecture_of(family: &Family) -> Option<Architecture> {
    if let Some(model_type) = &family.model_type {
        return match model_type.as_str() {
            "bert" => Some(Architecture::Bert),
            "roberta" | "xlm-roberta" => Some(Architecture::XlmRoberta),
            "mpnet" => Some(Architecture::Mpnet),
            _ => None,
        };
    }
    let first = family.architectures.first()?;
    [
        ("XLMRoberta", Architecture::XlmRoberta),
        ("Roberta", Architecture::XlmRoberta),
        ("MPNet", Architecture::Mpnet),
        ("BertModel", Architecture::Bert),
        ("BertFor", Architecture::Bert),
    ]
    .into_iter()
    .find_map(|(start, architecture)| first.starts_with(start).then_some(architecture))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TINY: &str = r#"{"model_type": "bert", "vocab_size": 10, "hidden_size": 8, "num_hidden_layers": 1,
        "num_attention_heads": 2, "intermediate_size": 16, "max_position_embeddings": 12}"#;

    fn parse(json: &str) -> Result<TransformerConfig, ModelError> {
        TransformerConfig::parse(json.as_bytes(), Path::new("config.json"))
    }

    #[test]
    fn fills_in_the_family_defaults() {
        let bert = parse(TINY).unwrap();
        assert_eq!((bert.architecture, bert.pad_token_id, bert.token_places()), (Architecture::Bert, 0, 12));
        let roberta = parse(&TINY.replace("\"bert\"", "\"xlm-roberta\"")).unwrap();
        assert_eq!(
            (roberta.architecture, roberta.pad_token_id, roberta.token_places()),
            (Architecture::XlmRoberta, 1, 10)
        );
    }

    #[test]
    fn refuses_with_the_reason() {
        let check = |from: &str, to: &str, expect: &str| {
            let error = parse(&TINY.replace(from, to)).unwrap_err().to_string();
            assert!(error.contains(expect), "{error}");
        };
        check("\"bert\"", "\"nomic_bert\"", "architecture `nomic_bert` is not supported; supported: bert");
        check("\"num_attention_heads\": 2", "\"num_attention_heads\": 3", "3 heads do not divide");
        check("\"num_attention_heads\": 2", "\"num_attention_heads\": 0", "num_attention_heads is 0");
        check("\"vocab_size\": 10", "\"vocab_size\": 99999999999", "vocab_size is 99999999999");
        check("\"vocab_size\": 10", "\"vocab_size\": 10, \"hidden_act\": \"silu\"", "hidden_act `silu`");
        check("\"vocab_size\": 10", "\"vocab_size\": 10, \"pad_token_id\": 10", "pad_token_id is 10");
        check(
            "\"vocab_size\": 10",
            "\"vocab_size\": 10, \"position_embedding_type\": \"relative_key\"",
            "`relative_key`",
        );
        check("\"vocab_size\": 10,", "", "missing field `vocab_size`");
        check("{", "", "expected");
    }
}

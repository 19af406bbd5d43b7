//! The sentence-transformers files of a folder, read into a recipe.
//!
//! Absent files have defaults; a file that asks for something this crate does not do is an error, never ignored.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::config::TransformerConfig;
use super::{CONFIG_LIMIT, read_limited};
use crate::error::ModelError;
use crate::known::CONFIG;
use crate::recipe::{Architecture, Normalization, Pooling, Recipe};

const POOLING_SUPPORTED: &str = "mean, cls and max are, one at a time";

#[derive(Deserialize)]
struct Module {
    path: String,
    #[serde(rename = "type")]
    kind: String,
}

#[derive(Deserialize, Default)]
struct SentenceBert {
    max_seq_length: Option<usize>,
    #[serde(default)]
    do_lower_case: bool,
}

#[derive(Deserialize, Default)]
struct SentenceTransformers {
    #[serde(default)]
    prompts: BTreeMap<String, String>,
    default_prompt_name: Option<String>,
}

#[derive(Deserialize, Default)]
struct TokenizerConfig {
    /// Some files hold 1e30 for "no limit".
    model_max_length: Option<f64>,
}

/// What the model in `folder` is, by its own files.
pub(crate) fn recipe_of_folder(folder: &Path) -> Result<(Architecture, Recipe), ModelError> {
    let bytes = read_limited(folder, CONFIG, CONFIG_LIMIT)?
        .ok_or_else(|| ModelError::MissingFile { file: CONFIG.to_owned(), place: folder.to_path_buf() })?;
    let config = TransformerConfig::parse(&bytes, &folder.join(CONFIG))?;

    let modules: Option<Vec<Module>> = read_json(folder, "modules.json")?;
    let pooling = read_pooling(folder, &pooling_folder(folder, modules.as_deref())?)?;
    let SentenceBert { max_seq_length, do_lower_case } =
        read_json(folder, "sentence_bert_config.json")?.unwrap_or_default();
    let SentenceTransformers { prompts, default_prompt_name } =
        read_json(folder, "config_sentence_transformers.json")?.unwrap_or_default();
    let TokenizerConfig { model_max_length } = read_json(folder, "tokenizer_config.json")?.unwrap_or_default();

    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "`as` saturates, and the least wins")]
    let tokenizer_limit = model_max_length.map(|length| length as usize).filter(|&length| length > 0);
    let limit = max_seq_length.or(tokenizer_limit).unwrap_or(usize::MAX);
    let max_tokens = limit.min(config.token_places());
    if max_tokens < 3 {
        return Err(ModelError::BadConfig {
            path: folder.join("sentence_bert_config.json"),
            reason: format!("leaves {max_tokens} tokens a text, at least 3 are needed"),
        });
    }

    let fallback = default_prompt_name.as_ref().and_then(|name| prompts.get(name));
    let prompt =
        |names: &[&str]| names.iter().find_map(|&name| prompts.get(name)).or(fallback).cloned().unwrap_or_default();
    let recipe = Recipe {
        dimension: config.hidden_size,
        max_tokens,
        pooling,
        normalization: Normalization::L2,
        lowercase: do_lower_case,
        query_prefix: prompt(&["query"]),
        document_prefix: prompt(&["document", "passage", "corpus"]),
    };
    Ok((config.architecture, recipe))
}

/// The pooling module's folder, once every module is one that this crate does.
fn pooling_folder(folder: &Path, modules: Option<&[Module]>) -> Result<String, ModelError> {
    let mut found = "1_Pooling".to_owned();
    for Module { path, kind } in modules.unwrap_or_default() {
        let refuse = |feature, supported| {
            Err(ModelError::UnsupportedFeature { path: folder.join("modules.json"), feature, supported })
        };
        match kind.rsplit('.').next().unwrap_or_default() {
            "Transformer" if path.is_empty() || path == "." => {}
            "Transformer" => {
                return refuse(format!("a transformer in `{path}`"), "put its files into the folder itself");
            }
            "Pooling" if is_plain(path) => path.clone_into(&mut found),
            "Pooling" => {
                return refuse(format!("a pooling module in `{path}`"), "it must be a folder beside modules.json");
            }
            "Normalize" => {}
            _ => return refuse(format!("the module `{kind}`"), "only Transformer, Pooling and Normalize are"),
        }
    }
    Ok(found)
}

/// One folder name, so that joining it cannot leave the model's folder.
fn is_plain(path: &str) -> bool {
    !path.is_empty() && path != ".." && !path.contains(['/', '\\', ':'])
}

fn read_pooling(folder: &Path, pooling_folder: &str) -> Result<Pooling, ModelError> {
    let file = format!("{pooling_folder}/config.json");
    let Some(values): Option<BTreeMap<String, Value>> = read_json(folder, &file)? else {
        return Ok(Pooling::Mean);
    };
    let refuse = |feature| {
        Err(ModelError::UnsupportedFeature { path: folder.join(&file), feature, supported: POOLING_SUPPORTED })
    };
    if values.get("include_prompt") == Some(&Value::Bool(false)) {
        return refuse("pooling without the prompt's tokens".to_owned());
    }
    let mut modes: Vec<&str> = values
        .iter()
        .filter(|(key, value)| key.starts_with("pooling_mode_") && **value == Value::Bool(true))
        .map(|(key, _)| &key["pooling_mode_".len()..])
        .collect();
    // Newer files hold one key with a name instead of a switch for each.
    if let Some(Value::String(mode)) = values.get("pooling_mode") {
        modes.push(mode);
    }
    match modes.as_slice() {
        // A sum over the root of the length has the mean's direction.
        [] | ["mean_tokens" | "mean" | "mean_sqrt_len_tokens" | "mean_sqrt_len"] => Ok(Pooling::Mean),
        ["cls_token" | "cls"] => Ok(Pooling::Cls),
        ["max_tokens" | "max"] => Ok(Pooling::Max),
        other => refuse(format!("pooling `{}`", other.join(" + "))),
    }
}

fn read_json<T: DeserializeOwned>(folder: &Path, file: &str) -> Result<Option<T>, ModelError> {
    let path: PathBuf = folder.join(file);
    let Some(bytes) = read_limited(folder, file, CONFIG_LIMIT)? else {
        return Ok(None);
    };
    serde_json::from_slice(&bytes).map(Some).map_err(|error| ModelError::BadConfig { path, reason: error.to_string() })
}

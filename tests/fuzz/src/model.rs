//! A BERT of a few kilobytes as the files that a model's folder holds.

use std::path::Path;

use arbitrary::Unstructured;
use serde_json::{Map, Value, json};

/// Tokens that it knows.
pub const VOCABULARY: u32 = 64;
const HIDDEN: usize = 16;
const INNER: usize = 24;
const PLACES: usize = 40;

/// What lies in a model's folder; `None`: a file that is not there.
#[derive(Clone, Debug)]
pub struct Files {
    /// `config.json`.
    pub config: Vec<u8>,
    /// `tokenizer.json`.
    pub tokenizer: Vec<u8>,
    /// `model.safetensors`.
    pub weights: Vec<u8>,
    /// `sentence_bert_config.json`.
    pub sentence: Option<Vec<u8>>,
    /// `1_Pooling/config.json`, with a `modules.json` that names it.
    pub pooling: Option<Vec<u8>>,
}

impl Files {
    /// A model that loads.
    pub fn sound() -> Self {
        let config = json!({
            "model_type": "bert", "vocab_size": VOCABULARY, "hidden_size": HIDDEN, "num_hidden_layers": 1,
            "num_attention_heads": 4, "intermediate_size": INNER, "hidden_act": "gelu",
            "max_position_embeddings": PLACES, "type_vocab_size": 1, "layer_norm_eps": 1e-5, "pad_token_id": 1,
        });
        Self {
            config: config.to_string().into_bytes(),
            tokenizer: tokenizer().to_string().into_bytes(),
            weights: weights(),
            sentence: None,
            pooling: None,
        }
    }

    /// Puts the files into a folder in place of those that are there.
    pub fn write(&self, folder: &Path) {
        let put = |name: &str, bytes: &[u8]| std::fs::write(folder.join(name), bytes).expect("written");
        put("config.json", &self.config);
        put("tokenizer.json", &self.tokenizer);
        put("model.safetensors", &self.weights);
        let or_remove = |name: &str, bytes: &Option<Vec<u8>>| match bytes {
            Some(bytes) => put(name, bytes),
            // Mostly it is not there.
            None => drop(std::fs::remove_file(folder.join(name))),
        };
        or_remove("sentence_bert_config.json", &self.sentence);
        std::fs::create_dir_all(folder.join("1_Pooling")).expect("a folder");
        or_remove("1_Pooling/config.json", &self.pooling);
        let modules = json!([{ "idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer" },
            { "idx": 1, "name": "1", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling" }]);
        or_remove("modules.json", &self.pooling.as_ref().map(|_| modules.to_string().into_bytes()));
    }

    /// Changes the header of the weights and leaves what follows it.
    pub fn edit_weights(&mut self, u: &mut Unstructured<'_>) {
        let length = usize::try_from(u64::from_le_bytes(self.weights[..8].try_into().expect("eight bytes")));
        let end = 8 + length.expect("a small header");
        let mut header = serde_json::from_slice(&self.weights[8..end]).expect("its own header");
        for _ in 0..u.int_in_range(1..=3).unwrap_or(1) {
            if crate::edit(u, &mut header).is_err() {
                break;
            }
        }
        let header = header.to_string().into_bytes();
        let data = self.weights.split_off(end);
        self.weights = (header.len() as u64).to_le_bytes().to_vec();
        self.weights.extend(header);
        self.weights.extend(data);
    }
}

/// Word pieces of single letters and a few words.
fn tokenizer() -> Value {
    let mut vocabulary = Map::new();
    for word in ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "pay", "card", "with", "##s", "##ing"] {
        vocabulary.insert(word.to_owned(), vocabulary.len().into());
    }
    for letter in 'a'..='z' {
        vocabulary.insert(letter.to_string(), vocabulary.len().into());
        vocabulary.insert(format!("##{letter}"), vocabulary.len().into());
    }
    json!({
        "version": "1.0", "truncation": null, "padding": null,
        "added_tokens": [{ "id": 1, "content": "[UNK]", "special": true, "single_word": false, "lstrip": false,
            "rstrip": false, "normalized": false }],
        "normalizer": { "type": "BertNormalizer", "clean_text": true, "handle_chinese_chars": true,
            "strip_accents": null, "lowercase": true },
        "pre_tokenizer": { "type": "BertPreTokenizer" },
        "post_processor": { "type": "TemplateProcessing",
            "single": [{ "SpecialToken": { "id": "[CLS]", "type_id": 0 } }, { "Sequence": { "id": "A", "type_id": 0 } },
                { "SpecialToken": { "id": "[SEP]", "type_id": 0 } }],
            "pair": [{ "Sequence": { "id": "A", "type_id": 0 } }, { "Sequence": { "id": "B", "type_id": 0 } }],
            "special_tokens": { "[CLS]": { "id": "[CLS]", "ids": [2], "tokens": ["[CLS]"] },
                "[SEP]": { "id": "[SEP]", "ids": [3], "tokens": ["[SEP]"] } } },
        "decoder": null,
        "model": { "type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##",
            "max_input_chars_per_word": 100, "vocab": vocabulary },
    })
}

/// The tensors of one layer, filled with numbers that are neither equal nor large.
fn weights() -> Vec<u8> {
    let mut shapes: Vec<(String, Vec<usize>)> = vec![
        ("embeddings.word_embeddings.weight".into(), vec![VOCABULARY as usize, HIDDEN]),
        ("embeddings.position_embeddings.weight".into(), vec![PLACES, HIDDEN]),
        ("embeddings.token_type_embeddings.weight".into(), vec![1, HIDDEN]),
    ];
    let layer = "encoder.layer.0";
    for (name, outputs, inputs) in [
        ("attention.self.query", HIDDEN, HIDDEN),
        ("attention.self.key", HIDDEN, HIDDEN),
        ("attention.self.value", HIDDEN, HIDDEN),
        ("attention.output.dense", HIDDEN, HIDDEN),
        ("intermediate.dense", INNER, HIDDEN),
        ("output.dense", HIDDEN, INNER),
    ] {
        shapes.push((format!("{layer}.{name}.weight"), vec![outputs, inputs]));
        shapes.push((format!("{layer}.{name}.bias"), vec![outputs]));
    }
    let norms = ["embeddings.LayerNorm".to_owned()]
        .into_iter()
        .chain(["attention.output.LayerNorm", "output.LayerNorm"].map(|norm| format!("{layer}.{norm}")));
    for norm in norms {
        shapes.push((format!("{norm}.weight"), vec![HIDDEN]));
        shapes.push((format!("{norm}.bias"), vec![HIDDEN]));
    }
    let (mut header, mut data) = (Map::new(), Vec::new());
    for (at, (name, shape)) in shapes.iter().enumerate() {
        let start = data.len();
        for number in 0..shape.iter().product::<usize>() {
            let value = ((number * 37 + at * 11) % 29) as f32 / 29.0 - 0.5;
            data.extend(value.to_le_bytes());
        }
        header.insert(name.clone(), json!({ "dtype": "F32", "shape": shape, "data_offsets": [start, data.len()] }));
    }
    let header = Value::Object(header).to_string().into_bytes();
    let mut file = (header.len() as u64).to_le_bytes().to_vec();
    file.extend(header);
    file.extend(data);
    file
}

//! A checkpoint's tensors, checked for their shapes and packed.

use std::collections::HashMap;
use std::path::Path;

use candle_core::Tensor;

use super::kernel::Kernel;
use super::pack::{Column, Matrix, PANEL, Packer};
use crate::encoder::relative_bias_by_distance;
use crate::error::ModelError;
use crate::load::{Activation, TransformerConfig, Weights};
use crate::recipe::Architecture;

/// All that a forward pass reads.
pub(super) struct Parameters {
    pub(super) hidden: usize,
    pub(super) heads: usize,
    /// Values of a head's query, key and value each, padded to a multiple of 16.
    pub(super) head_size: usize,
    /// Width of the feed-forward block, padded to a multiple of 16.
    pub(super) inner: usize,
    pub(super) activation: Activation,
    pub(super) epsilon: f32,
    /// `[vocabulary][hidden]`
    pub(super) words: Vec<f32>,
    /// `[places][hidden]`, the first token type's row added.
    pub(super) places: Vec<f32>,
    pub(super) embedding_norm: NormParameters,
    pub(super) layers: Vec<Layer>,
    pub(super) bias: Option<DistanceBias>,
}

/// Gain and shift: `[hidden]` each.
pub(super) struct NormParameters {
    pub(super) gain: Vec<f32>,
    pub(super) shift: Vec<f32>,
}

/// One transformer layer.
pub(super) struct Layer {
    /// Per head query (scaled by `1 / sqrt(head size)`), key, value: `[heads][3][head_size]` columns.
    pub(super) attention: Matrix,
    pub(super) projection: Matrix,
    pub(super) attention_norm: NormParameters,
    pub(super) expansion: Matrix,
    pub(super) contraction: Matrix,
    pub(super) output_norm: NormParameters,
}

/// What a head adds to a score by how far the key lies after the query.
pub(super) struct DistanceBias {
    /// `[heads][2 reach + 16]`; distance 0 at `reach`.
    pub(super) values: Vec<f32>,
    pub(super) reach: usize,
}

impl DistanceBias {
    /// The place of distance 0 of `head`.
    pub(super) fn zero_of(&self, head: usize) -> usize {
        head * (2 * self.reach + PANEL) + self.reach
    }
}

/// Why a sound model is left to candle.
pub(super) fn unsupported(config: &TransformerConfig) -> Option<String> {
    (!config.hidden_size.is_multiple_of(PANEL))
        .then(|| format!("hidden_size is {}, and rows are packed in panels of {PANEL} columns", config.hidden_size))
}

impl Parameters {
    /// Packs `weights` for `kernel`; returns the bytes that are packed, too. `path` is for messages.
    pub(super) fn pack(
        config: &TransformerConfig,
        weights: &Weights,
        kernel: Kernel,
        path: &Path,
    ) -> Result<(Self, usize), ModelError> {
        let tensors = Tensors { by_name: &weights.tensors, prefix: weights.prefix(), path };
        let (hidden, heads, inner) = (config.hidden_size, config.num_attention_heads, config.intermediate_size);
        let names = Names::of(config.architecture);
        let size = hidden / heads;
        let head_size = size.next_multiple_of(PANEL);
        #[expect(clippy::cast_precision_loss, reason = "a head has far fewer than 2^24 values")]
        let scale = 1.0 / (size as f32).sqrt();

        let mut packer = Packer::new(kernel.precision());
        let mut norms = Vec::new();
        let straight = |width: usize, padded: usize| -> Vec<Option<usize>> {
            (0..padded).map(|k| (k < width).then_some(k)).collect()
        };
        for index in 0..config.num_hidden_layers {
            let name = |part: &str| format!("encoder.layer.{index}.{part}");
            let [mut query, key, value] = [names.query, names.key, names.value]
                .map(|part| tensors.linear(&name(part), hidden, hidden))
                .into_iter()
                .collect::<Result<Vec<_>, _>>()?
                .try_into()
                .unwrap_or_else(|_| unreachable!("three were read"));
            query.weight.iter_mut().chain(&mut query.bias).for_each(|w| *w *= scale);
            let parts = [&query, &key, &value];
            let columns: Vec<Column<'_>> = (0..heads * 3 * head_size)
                .map(|column| {
                    let (head, part, d) = (column / (3 * head_size), column / head_size % 3, column % head_size);
                    (d < size).then(|| parts[part].column(head * size + d))
                })
                .collect();
            packer.add(&columns, &straight(hidden, hidden));

            let projection = tensors.linear(&name(names.projection), hidden, hidden)?;
            let depth: Vec<Option<usize>> = (0..heads * head_size)
                .map(|k| (k % head_size < size).then_some(k / head_size * size + k % head_size))
                .collect();
            packer.add(&projection.columns(), &depth);
            let expansion = tensors.linear(&name("intermediate.dense"), inner, hidden)?;
            packer.add(&expansion.columns(), &straight(hidden, hidden));
            let contraction = tensors.linear(&name("output.dense"), hidden, inner)?;
            packer.add(&contraction.columns(), &straight(inner, inner.next_multiple_of(PANEL)));
            norms.push((
                tensors.norm(&name(names.attention_norm), hidden)?,
                tensors.norm(&name("output.LayerNorm"), hidden)?,
            ));
        }
        let (matrices, bytes) = packer.finish().map_err(ModelError::io("map memory for", path))?;
        let mut matrices = matrices.into_iter();
        let mut next = || matrices.next().expect("four matrices a layer were packed");
        let layers = norms
            .into_iter()
            .map(|(attention_norm, output_norm)| Layer {
                attention: next(),
                projection: next(),
                attention_norm,
                expansion: next(),
                contraction: next(),
                output_norm,
            })
            .collect();

        let bias = match config.architecture {
            Architecture::Mpnet => Some(tensors.distance_bias(config)?),
            Architecture::Bert | Architecture::XlmRoberta => None,
        };
        #[expect(clippy::cast_possible_truncation, reason = "a small constant rounded to f32")]
        let epsilon = config.layer_norm_eps as f32;
        let parameters = Self {
            hidden,
            heads,
            head_size,
            inner: inner.next_multiple_of(PANEL),
            activation: config.activation,
            epsilon,
            words: tensors.read("embeddings.word_embeddings.weight", &[config.vocab_size, hidden])?,
            places: tensors.places(config)?,
            embedding_norm: tensors.norm("embeddings.LayerNorm", hidden)?,
            layers,
            bias,
        };
        Ok((parameters, bytes))
    }

    /// Bytes held besides the packed ones.
    pub(super) fn loose_bytes(&self) -> usize {
        (self.words.len() + self.places.len()) * size_of::<f32>()
    }
}

/// What the families call their parts.
struct Names {
    query: &'static str,
    key: &'static str,
    value: &'static str,
    projection: &'static str,
    attention_norm: &'static str,
}

impl Names {
    fn of(architecture: Architecture) -> Self {
        match architecture {
            Architecture::Bert | Architecture::XlmRoberta => Self {
                query: "attention.self.query",
                key: "attention.self.key",
                value: "attention.self.value",
                projection: "attention.output.dense",
                attention_norm: "attention.output.LayerNorm",
            },
            Architecture::Mpnet => Self {
                query: "attention.attn.q",
                key: "attention.attn.k",
                value: "attention.attn.v",
                projection: "attention.attn.o",
                attention_norm: "attention.LayerNorm",
            },
        }
    }
}

/// A linear layer as it is stored: `weight[outputs][inputs]`.
struct Linear {
    weight: Vec<f32>,
    bias: Vec<f32>,
    inputs: usize,
}

impl Linear {
    /// The weights and the bias of one output.
    fn column(&self, output: usize) -> (&[f32], f32) {
        (&self.weight[output * self.inputs..(output + 1) * self.inputs], self.bias[output])
    }

    fn columns(&self) -> Vec<Column<'_>> {
        (0..self.bias.len()).map(|output| Some(self.column(output))).collect()
    }
}

/// Tensors by name.
struct Tensors<'a> {
    by_name: &'a HashMap<String, Tensor>,
    prefix: &'static str,
    path: &'a Path,
}

impl Tensors<'_> {
    fn read(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>, ModelError> {
        let refuse = |reason: String| ModelError::BadWeights {
            path: self.path.to_path_buf(),
            reason: format!("the weights do not fit config.json: {reason}"),
        };
        let full = if self.prefix.is_empty() { name.to_owned() } else { format!("{}.{name}", self.prefix) };
        let tensor = self.by_name.get(&full).ok_or_else(|| refuse(format!("tensor `{full}` is missing")))?;
        if tensor.dims() != shape {
            return Err(refuse(format!("tensor `{full}` is {:?}, not {shape:?}", tensor.dims())));
        }
        tensor
            .flatten_all()
            .and_then(|flat| flat.to_vec1())
            .map_err(|error| refuse(format!("tensor `{full}`: {error}")))
    }

    fn linear(&self, name: &str, outputs: usize, inputs: usize) -> Result<Linear, ModelError> {
        Ok(Linear {
            weight: self.read(&format!("{name}.weight"), &[outputs, inputs])?,
            bias: self.read(&format!("{name}.bias"), &[outputs])?,
            inputs,
        })
    }

    fn norm(&self, name: &str, width: usize) -> Result<NormParameters, ModelError> {
        Ok(NormParameters {
            gain: self.read(&format!("{name}.weight"), &[width])?,
            shift: self.read(&format!("{name}.bias"), &[width])?,
        })
    }

    /// Position rows from the first that a token takes, the only token type added where the family has types.
    fn places(&self, config: &TransformerConfig) -> Result<Vec<f32>, ModelError> {
        let hidden = config.hidden_size;
        let mut places =
            self.read("embeddings.position_embeddings.weight", &[config.max_position_embeddings, hidden])?;
        places.drain(..(config.max_position_embeddings - config.token_places()) * hidden);
        if config.architecture != Architecture::Mpnet {
            let types = self.read("embeddings.token_type_embeddings.weight", &[config.type_vocab_size, hidden])?;
            for place in places.chunks_exact_mut(hidden) {
                place.iter_mut().zip(&types).for_each(|(place, first)| *place += first);
            }
        }
        Ok(places)
    }

    fn distance_bias(&self, config: &TransformerConfig) -> Result<DistanceBias, ModelError> {
        let (buckets, heads) = (config.relative_attention_num_buckets, config.num_attention_heads);
        let table = self.read("encoder.relative_attention_bias.weight", &[buckets, heads])?;
        let reach = config.token_places();
        let by_distance = relative_bias_by_distance(buckets, reach);
        let mut values = Vec::with_capacity(heads * (2 * reach + PANEL));
        for head in 0..heads {
            let known = by_distance.iter().map(|bucket| table[bucket * heads + head]);
            // Whole registers are read past the last key; what is there is masked.
            values.extend(known.chain(std::iter::repeat(0.0)).take(2 * reach + PANEL));
        }
        Ok(DistanceBias { values, reach })
    }
}

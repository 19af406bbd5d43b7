//! Texts to unit vectors, in batches.

use crate::cpu::{CpuEncoder, Precision};
use crate::digest::ModelDigest;
use crate::encoder::CandleEncoder;
use crate::error::ModelError;
use crate::recipe::{Architecture, Pooling};
use crate::tokenize::TextTokenizer;
use crate::vector::UnitVector;

/// What a text is to a search; some models want a different prefix for each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TextRole {
    /// What is searched for: an intent.
    Query,
    /// What is found: a facet of a component.
    Document,
}

/// What a loaded model is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelInfo {
    /// The name it is installed under, or its folder's name; `+int8` after it when its vectors are int8's.
    pub name: String,
    /// Equal digests give vectors that may be compared.
    pub digest: ModelDigest,
    /// The transformer family.
    pub architecture: Architecture,
    /// Values in a vector.
    pub dimension: usize,
    /// Tokens kept of a text, special ones counted.
    pub max_tokens: usize,
    /// How token states become one vector.
    pub pooling: Pooling,
    /// Put before a query.
    pub query_prefix: String,
    /// Put before a document.
    pub document_prefix: String,
    /// Bytes of the weights in memory.
    pub weight_bytes: u64,
    /// What computes.
    pub compute: Compute,
}

/// What a loaded model computes with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Compute {
    /// Fitment's own kernel by its name, or `candle` and a type.
    pub kernel: String,
    /// The type of weights and products.
    pub precision: Precision,
    /// `cpu`, or `cuda:` and a number.
    pub device: String,
    /// Threads that share one forward pass.
    pub threads: usize,
}

impl Default for Compute {
    fn default() -> Self {
        Self { kernel: "none".into(), precision: Precision::F32, device: "cpu".into(), threads: 1 }
    }
}

/// A text as its model reads it: at least one token id, all within the vocabulary and the limit.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Tokens(Box<[u32]>);

impl Tokens {
    /// The ids, special tokens among them.
    pub fn ids(&self) -> &[u32] {
        &self.0
    }
}

impl AsRef<[u32]> for Tokens {
    fn as_ref(&self) -> &[u32] {
        &self.0
    }
}

/// Turns texts into unit vectors. Calls may come from several threads.
pub trait Embedder: Send + Sync {
    /// What this model is.
    fn info(&self) -> &ModelInfo;

    /// Token ids of `text` without any prefix, special tokens counted, cut to the limit: `[1..=max_tokens]`.
    ///
    /// # Errors
    /// [`ModelError::Tokenize`] and [`ModelError::NoTokens`]; no text is known to give either with a sound tokenizer.
    fn tokenize(&self, text: &str) -> Result<Vec<u32>, ModelError>;

    /// How many tokens [`Embedder::tokenize`] gives.
    ///
    /// # Errors
    /// As [`Embedder::tokenize`].
    fn count_tokens(&self, text: &str) -> Result<usize, ModelError> {
        self.tokenize(text).map(|ids| ids.len())
    }

    /// The text as [`Embedder::embed_tokens`] takes it, the role's prefix before it. Needs no lock and no other thread:
    /// callers read their texts while another batch is on its way.
    ///
    /// # Errors
    /// As [`Embedder::tokenize`].
    fn read(&self, text: &str, role: TextRole) -> Result<Tokens, ModelError> {
        let info = self.info();
        let prefix = match role {
            TextRole::Query => &info.query_prefix,
            TextRole::Document => &info.document_prefix,
        };
        let ids = if prefix.is_empty() { self.tokenize(text) } else { self.tokenize(&format!("{prefix}{text}")) }?;
        Ok(Tokens(ids.into()))
    }

    /// One unit vector a text, in the order of `texts`: `[texts][dimension]`. What else is in the batch changes a
    /// vector by rounding at most (cosine at least 0.99999; not at all with Fitment's own kernels).
    ///
    /// # Errors
    /// [`ModelError::Forward`] and [`ModelError::BadVector`] when the arithmetic fails; [`ModelError::ForeignTokens`]
    /// for what another model has read.
    fn embed_tokens(&self, texts: &[&Tokens]) -> Result<Vec<UnitVector>, ModelError>;

    /// Says that the calling thread is the one that is going to encode: it is pinned, where threads are, and as nice as they.
    ///
    /// # Errors
    /// [`ModelError::Pinning`] when the system refuses.
    fn adopt_caller(&self) -> Result<(), ModelError> {
        Ok(())
    }

    /// Says that a batch is about to come, so that threads that sleep may wake.
    fn expect_batch(&self) {}

    /// Reads and encodes: one unit vector a text, in the order of `texts`. An empty text has a vector too.
    ///
    /// # Errors
    /// As [`Embedder::read`] and [`Embedder::embed_tokens`].
    fn embed(&self, texts: &[&str], role: TextRole) -> Result<Vec<UnitVector>, ModelError> {
        let read = texts.iter().map(|text| self.read(text, role)).collect::<Result<Vec<_>, _>>()?;
        self.embed_tokens(&read.iter().collect::<Vec<_>>())
    }
}

/// What turns token ids into pooled states.
pub(crate) enum Backend {
    Own(CpuEncoder),
    Candle(CandleEncoder),
}

/// A tokenizer and an encoder.
pub(crate) struct SentenceEncoder {
    pub(crate) info: ModelInfo,
    pub(crate) tokenizer: TextTokenizer,
    pub(crate) backend: Backend,
    /// Rows of the embedding table.
    pub(crate) vocabulary: usize,
}

impl Embedder for SentenceEncoder {
    fn info(&self) -> &ModelInfo {
        &self.info
    }

    fn tokenize(&self, text: &str) -> Result<Vec<u32>, ModelError> {
        self.tokenizer.ids(text)
    }

    fn adopt_caller(&self) -> Result<(), ModelError> {
        match &self.backend {
            Backend::Own(encoder) => Ok(encoder.adopt_caller()?),
            Backend::Candle(_) => Ok(()),
        }
    }

    fn expect_batch(&self) {
        if let Backend::Own(encoder) = &self.backend {
            encoder.rouse();
        }
    }

    fn embed_tokens(&self, texts: &[&Tokens]) -> Result<Vec<UnitVector>, ModelError> {
        let foreign = |text: &&Tokens| {
            text.ids().len() > self.info.max_tokens || text.ids().iter().any(|&id| id as usize >= self.vocabulary)
        };
        if texts.iter().any(foreign) {
            return Err(ModelError::ForeignTokens { model: self.info.name.clone() });
        }
        let failed =
            |source: Box<dyn std::error::Error + Send + Sync>| ModelError::Forward { texts: texts.len(), source };
        match &self.backend {
            // Allocates the vectors and nothing else.
            Backend::Own(encoder) => {
                let mut vectors = Vec::with_capacity(texts.len());
                let mut bad = None;
                let take = |state: &[f32]| match UnitVector::new(state) {
                    Ok(vector) => vectors.push(vector),
                    Err(error) => bad = Some(error),
                };
                encoder.encode(texts, take).map_err(|error| failed(error.into()))?;
                bad.map_or(Ok(vectors), Err)
            }
            Backend::Candle(encoder) => {
                let ids: Vec<&[u32]> = texts.iter().map(|text| text.ids()).collect();
                let mut vectors: Vec<Option<Result<UnitVector, ModelError>>> = Vec::with_capacity(texts.len());
                vectors.resize_with(texts.len(), || None);
                encoder
                    .encode(&ids, |text, state| vectors[text] = Some(UnitVector::new(state)))
                    .map_err(|error| failed(error.into()))?;
                vectors.into_iter().map(|vector| vector.expect("each text is in one batch")).collect()
            }
        }
    }
}

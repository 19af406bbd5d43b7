//! How a model's token states become one vector.

use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

use crate::cpu::Precision;
use crate::digest::{FileDigest, ModelDigest};

/// The transformer families that this crate runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Architecture {
    /// BERT with absolute positions: `MiniLM`, bge, e5, gte, arctic.
    Bert,
    /// `RoBERTa` and `XLM-RoBERTa`: bge-m3, multilingual e5.
    XlmRoberta,
    /// `MPNet`: relative attention bias, no token types.
    Mpnet,
}

impl Architecture {
    /// The supported ones, for error messages.
    pub(crate) const SUPPORTED: &'static str =
        "bert (BertModel), roberta and xlm-roberta (RobertaModel, XLMRobertaModel), mpnet (MPNetModel)";

    /// The architecture as written in files and shown to people.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Bert => "bert",
            Self::XlmRoberta => "xlm-roberta",
            Self::Mpnet => "mpnet",
        }
    }
}

/// How token states become one vector.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Pooling {
    /// The mean over all tokens, special ones included.
    Mean,
    /// The first token's state.
    Cls,
    /// The greatest value of each dimension over all tokens.
    Max,
}

impl Pooling {
    /// The pooling as written in files and shown to people.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Mean => "mean",
            Self::Cls => "cls",
            Self::Max => "max",
        }
    }
}

/// How a pooled vector is scaled. Fitment compares by cosine, so it is always scaled to length one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Normalization {
    /// Divided by its Euclidean length.
    L2,
}

/// All that turns a text into a vector besides the files.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recipe {
    /// Values in a vector.
    pub dimension: usize,
    /// Tokens kept of a text, special ones counted.
    pub max_tokens: usize,
    /// How token states become one vector.
    pub pooling: Pooling,
    /// How the pooled vector is scaled.
    pub normalization: Normalization,
    /// Whether a text is lower-cased before the tokenizer sees it.
    pub lowercase: bool,
    /// Put before a text in the role of a query, for instance `query: `.
    pub query_prefix: String,
    /// Put before a text in the role of a document, for instance `passage: `.
    pub document_prefix: String,
}

impl Recipe {
    /// The model digest of this recipe over files `(path, digest)`, in any order.
    ///
    /// f32 and bf16 share a digest: their vectors are equivalent (cosine at least 0.9999, in `MPNet` 0.9995,
    /// held by tests), so that an index made on one processor serves on another. int8's are near, not equivalent, and have a digest of their own.
    pub(crate) fn digest<'a>(
        &self,
        architecture: Architecture,
        precision: Precision,
        files: impl IntoIterator<Item = (&'a str, FileDigest)>,
    ) -> ModelDigest {
        let Self { dimension, max_tokens, pooling, normalization, lowercase, query_prefix, document_prefix } = self;
        let Normalization::L2 = normalization;
        let mut files: Vec<_> = files.into_iter().collect();
        files.sort_unstable();
        // Debug of a str escapes quotes and line ends, so no prefix can imitate another line.
        let mut text = format!(
            "fitment-model/1\narchitecture {}\ndimension {dimension}\nmax_tokens {max_tokens}\npooling {}\n\
             normalization l2\nlowercase {lowercase}\nquery_prefix {query_prefix:?}\ndocument_prefix {document_prefix:?}\n",
            architecture.as_str(),
            pooling.as_str(),
        );
        match precision {
            Precision::F32 | Precision::Bf16 | Precision::F16 => {}
            Precision::Int8 => text.push_str("precision int8\n"),
        }
        for (path, digest) in files {
            writeln!(text, "file {path:?} {digest}").expect("writing to a string does not fail");
        }
        ModelDigest::of(text.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digest_depends_on_every_field_and_not_on_order() {
        let base = Recipe {
            dimension: 4,
            max_tokens: 8,
            pooling: Pooling::Mean,
            normalization: Normalization::L2,
            lowercase: false,
            query_prefix: String::new(),
            document_prefix: String::new(),
        };
        let (a, b) = (("a", FileDigest::of(b"a")), ("b", FileDigest::of(b"b")));
        let of = |recipe: &Recipe| recipe.digest(Architecture::Bert, Precision::F32, [a, b]);
        assert_eq!(of(&base), base.digest(Architecture::Bert, Precision::F32, [b, a]));
        assert_ne!(of(&base), base.digest(Architecture::Mpnet, Precision::F32, [a, b]));
        assert_ne!(of(&base), base.digest(Architecture::Bert, Precision::F32, [a]));
        assert_eq!(of(&base), base.digest(Architecture::Bert, Precision::Bf16, [a, b]), "equivalent");
        assert_ne!(of(&base), base.digest(Architecture::Bert, Precision::Int8, [a, b]));
        for changed in [
            Recipe { dimension: 5, ..base.clone() },
            Recipe { max_tokens: 9, ..base.clone() },
            Recipe { pooling: Pooling::Cls, ..base.clone() },
            Recipe { lowercase: true, ..base.clone() },
            Recipe { query_prefix: "query: ".into(), ..base.clone() },
            Recipe { document_prefix: "passage: ".into(), ..base.clone() },
        ] {
            assert_ne!(of(&base), of(&changed), "{changed:?}");
        }
    }
}

//! Vectors and words to hits.
//!
//! A document is a [`DocId`]. [`DenseIndex`] holds 1..n unit vectors (facets) for each document and answers "which
//! documents are nearest"; [`LexicalIndex`] holds its words, field by field, and answers "which documents share words".
//! Both take the set of documents that may be answered ([`DocSet`]) and apply it inside the search, never after it.
//!
//! Reading order: [`doc_set`](DocSet), [`error`](IndexError), `kernels` and `quantize` (the arithmetic), `dense` (rows,
//! scan, graph, segment file, the index itself), `lexical` (analysis, scoring, the index itself).
//!
//! What this crate does not know: components, tenants, models, clocks. What a document stands for is the caller's matter,
//! and so is the truth: both indexes are caches that carry a `stamp` of what they were built from.

#[cfg(target_endian = "big")]
compile_error!("segment files are little-endian and mapped as they are: big-endian targets are not supported");

mod doc_set;
mod error;

mod kernels;
mod quantize;

mod dense;
mod lexical;

pub use dense::{
    DenseFigures, DenseHit, DenseIndex, DenseOptions, DenseResult, DenseStats, Effort, FacetScorer, Plan, Recall,
    Retired, SealInput, SealReason, SealScope, Segment, step_back,
};
pub use doc_set::{DocId, DocMap, DocSet};
pub use error::{ErrorKind, IndexError};
pub use kernels::{dot, kernel_name};
pub use lexical::{
    FieldSpec, LexicalHit, LexicalIndex, LexicalResult, LexicalSearcher, MAX_QUERY_TERMS, TermContribution,
    analyze as analyze_text, analyze_all as analyze_all_text,
};

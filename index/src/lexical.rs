//! Lexical search: documents of named text fields, best BM25 first.
//!
//! Reading order: `analyze` (text to terms), `score` (terms to documents), `search` (the handle for searches), `index` (the type that
//! owns files and writer).
//!
//! tantivy keeps the postings; scoring is ours, so that the inverse document frequency of a term is one number for all
//! fields, equal documents get equal scores, and a filter is applied before a document takes a place among the best.
//! Query text is only ever cut into terms: there is no query language, hence nothing to inject.

mod analyze;
mod index;
mod score;
mod search;

pub use analyze::{analyze, analyze_all};
pub use index::{FieldSpec, LexicalIndex};
pub use score::{LexicalHit, LexicalResult, MAX_QUERY_TERMS, TermContribution};
pub use search::LexicalSearcher;

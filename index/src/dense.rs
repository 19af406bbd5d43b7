//! Dense search: documents of 1..n unit vectors, nearest first.
//!
//! From the inside out: `rows` (codes of documents' vectors), `live` (which of them still count), `graph` (an
//! HNSW graph and its search), `scan` (exact search), `segment` with `format` and `map` (rows and graph on disk), `build`
//! with `refine` (a segment out of rows, through `hnsw_rs`) and `grow` (out of a segment and more rows), `part` and `index`
//! (the type callers hold), `sealing` (what is built when), `search` (plan, merge, re-score), `probe` (what the graph misses), `figures` (sizes, for who watches).
//!
//! What is absent: `hnsw_rs` is used to build and for nothing else. Its search and its files are never used.

mod build;
mod figures;
mod format;
mod graph;
mod grow;
mod index;
mod live;
mod map;
mod part;
mod probe;
mod refine;
mod rows;
mod scan;
mod sealing;
mod search;
mod segment;

pub use build::{SealInput, step_back};
pub use figures::DenseFigures;
pub use index::{DenseIndex, DenseOptions, FacetScorer};
pub use probe::Recall;
pub use sealing::{Retired, SealReason, SealScope};
pub use search::{DenseHit, DenseResult, DenseStats, Effort, Plan};
pub use segment::Segment;

/// `usize` to the `u32` that rows and slots are numbered with.
fn number(n: usize) -> u32 {
    u32::try_from(n).expect("the index refuses more rows than u32 can number")
}

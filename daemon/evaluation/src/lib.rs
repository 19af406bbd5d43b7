//! How good were the answers? Judged answers in; figures, comparisons, tables, a report page and TREC files out.
//!
//! A [`Run`] holds what one system answered to every intent of a split, with the labels next to the answers. [`evaluate`]
//! turns it into a [`Report`], [`compare`] sets two runs of the same split side by side. Every view ([`table`], [`html`],
//! [`curve`]) draws a finished report and computes no figure of its own.
//!
//! This crate knows no engine, no network, no files and no clock: text goes in and comes out, and every random draw is
//! seeded, so the same run gives the same report everywhere.

pub mod abstention;
mod bootstrap;
pub mod calibration;
pub mod compare;
pub mod confusion;
pub mod curve;
mod error;
pub mod html;
pub mod judgement;
pub mod metrics;
mod plot;
pub mod recalibration;
pub mod report;
pub mod run;
pub mod slices;
pub mod table;
pub mod timing;
pub mod trec;
mod wording;

pub use self::compare::{Comparison, Difference, compare};
pub use self::error::EvaluationError;
pub use self::judgement::Judgement;
pub use self::recalibration::Recalibration;
pub use self::report::{Report, evaluate};
pub use self::run::{Answer, InSample, Promise, Ranked, Run, Signal, Tier};

/// `part / whole`; 0 for an empty whole.
#[expect(clippy::cast_precision_loss, reason = "counts of queries are far below 2^52")]
pub(crate) fn ratio(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

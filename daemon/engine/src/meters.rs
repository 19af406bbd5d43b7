//! What encoders and writes count while they work, by the `metrics` facade: without a recorder nothing is kept.
//!
//! Everything else that can be watched is read from the engine when somebody asks ([`Engine::figures`]).
//!
//! [`Engine::figures`]: crate::Engine::figures

use std::time::Duration;

use metrics::Histogram;

use crate::admission::OverloadCause;

/// Histogram: texts of a batch; labels `encoder` (`first`, `second`) and `work` (`interactive`, `bulk`).
pub const BATCH_TEXTS: &str = "fitment_encoder_batch_texts";
/// Histogram: tokens of a batch, special ones counted; labels as [`BATCH_TEXTS`].
pub const BATCH_TOKENS: &str = "fitment_encoder_batch_tokens";
/// Histogram: seconds that a batch took to encode; labels as [`BATCH_TEXTS`].
pub const BATCH_SECONDS: &str = "fitment_encoder_batch_seconds";

/// Counter: versions that are nearly the same as another component; label `result` (`written`, `refused`).
pub const NEAR_DUPLICATES: &str = "fitment_near_duplicates_total";

/// Counter: work that was refused for want of time or room; labels `queue` and `cause` (`full`, `wait`, `deadline`,
/// `displaced`).
pub const OVERLOAD_REFUSED: &str = "fitment_overload_refused_total";

/// Work was refused.
pub(crate) fn refused(queue: &'static str, cause: OverloadCause) {
    metrics::counter!(OVERLOAD_REFUSED, "queue" => queue, "cause" => cause.label()).increment(1);
}

/// A version that is nearly the same as another component was written, or refused for it.
pub(crate) fn near_duplicate(result: &'static str) {
    metrics::counter!(NEAR_DUPLICATES, "result" => result).increment(1);
}

/// Histograms of the batches of one sort of work.
pub(crate) struct BatchMeters {
    texts: Histogram,
    tokens: Histogram,
    seconds: Histogram,
}

impl BatchMeters {
    /// Looks the recorder up, once: recording needs no lookup.
    pub(crate) fn new(encoder: &'static str, work: &'static str) -> Self {
        let histogram = |name| metrics::histogram!(name, "encoder" => encoder, "work" => work);
        Self { texts: histogram(BATCH_TEXTS), tokens: histogram(BATCH_TOKENS), seconds: histogram(BATCH_SECONDS) }
    }

    /// A batch was encoded.
    #[expect(clippy::cast_precision_loss, reason = "a batch is far below 2^52 tokens")]
    pub(crate) fn encoded(&self, texts: usize, tokens: usize, took: Duration) {
        self.texts.record(texts as f64);
        self.tokens.record(tokens as f64);
        self.seconds.record(took);
    }
}

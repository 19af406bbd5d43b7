//! The gRPC services. Wire types are converted here and go no further inward.
//!
//! `edge` is what every call passes, `status` the one table of errors, `convert` the one place of conversions; the rest
//! is a service a file.

mod assembly;
mod audit;
mod bundle;
mod catalog;
mod certification;
mod context;
mod convert;
mod edge;
mod evaluation;
mod feedback;
mod gaps;
mod info;
mod job;
mod matcher;
mod model;
mod slot;
mod snapshot;
mod status;
mod watch;

use fitment_proto::v1;

pub(crate) use self::assembly::{AssemblyService, MAX_TREE_BYTES};
pub(crate) use self::audit::AuditService;
pub(crate) use self::bundle::BundleService;
pub use self::bundle::result_to as bundle_result;
pub(crate) use self::catalog::CatalogService;
pub(crate) use self::certification::CertificationService;
#[cfg(any(test, feature = "testing"))]
pub(crate) use self::edge::Edge;
pub(crate) use self::edge::EdgeLayer;
pub(crate) use self::evaluation::{EvaluationService, MAX_CSV_BYTES};
pub(crate) use self::feedback::FeedbackService;
pub(crate) use self::gaps::GapService;
pub(crate) use self::info::InfoService;
pub(crate) use self::job::Jobs;
pub(crate) use self::matcher::MatcherService;
pub(crate) use self::model::ModelService;
pub use self::model::put_comparison;
pub(crate) use self::slot::EngineSlot;
pub use self::slot::Tenants;
pub(crate) use self::snapshot::SnapshotService;
pub(crate) use self::status::{denied, limit_exceeded, unauthenticated};

/// Intents of one batch at most.
const MAX_BATCH: usize = 256;
/// Texts of one Embed call at most.
const MAX_EMBED_TEXTS: usize = 128;

/// Limits of the wire.
#[derive(Clone, Copy, Debug)]
pub(crate) struct WireLimits {
    /// Largest request message in bytes.
    pub(crate) max_request_bytes: usize,
    /// Largest answer in bytes.
    pub(crate) max_response_bytes: usize,
}

impl WireLimits {
    fn describe(self, queue_capacity: usize) -> v1::Limits {
        v1::Limits {
            max_request_bytes: self.max_request_bytes as u64,
            max_intent_bytes: fitment_engine::MAX_INTENT_BYTES as u64,
            max_manifest_bytes: fitment_catalog::MAX_MANIFEST_BYTES as u64,
            max_batch: count(MAX_BATCH),
            max_top_k: count(fitment_engine::MAX_TOP_K),
            queue_capacity: count(queue_capacity),
        }
    }
}

/// A count on the wire; what does not fit is the largest.
fn count(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

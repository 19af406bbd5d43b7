//! Fitment's engine: the match pipeline over the store and its indexes, writes, calibration and evaluation.
//!
//! Reading order: [`Engine`] holds the parts; `pipeline` answers an intent; `rank` scores; `writes` changes the
//! catalogue; `store` is the truth; `live` and `view` are what is searched; `calibration` bounds errors; `evaluate`
//! measures; `folder` writes the catalogue out as files; `decisions`, `feedback` and `drift` learn from use; `gaps` keeps what nothing met; `near` finds
//! near-duplicates; `figures` and `meters` are for who watches.
//!
//! What is absent: sockets, wire types, principals, environment variables. Time comes in through a [`Clock`].

mod admission;
mod assemblies;
mod audit;
mod bundle;
mod calibration;
mod certification;
mod clues;
mod decisions;
mod denials;
mod drift;
mod economics;
mod encoder;
mod engine;
mod error;
mod feedback;
mod figures;
mod folder;
mod gaps;
mod gather;
#[cfg(test)]
#[path = "gather/model.rs"]
mod gather_model;
mod lag;
mod language;
mod learning;
mod limits;
mod live;
mod meters;
mod migration;
mod near;
mod normalize;
mod permit;
mod pipeline;
mod rank;
mod rankers;
mod second_stage;
mod signals;
mod standing;
mod store;
mod sync;
#[cfg(test)]
mod testing;
mod vector_cache;
mod view;
mod watch;
mod writes;

pub mod evaluate;

pub use admission::{CallContext, OverloadCause, Patience, TokenBudget, WorkClass};
pub use assemblies::{
    AskedImpact, AssemblyChange, AssemblyListing, AssemblyPlan, AssemblyPolicies, AssemblyReport, AssemblySource,
    AssemblyWatch, BoundConfiguration, CedarText, CheckedAssembly, ConfigurationForm, KeptAssembly, LockedAssembly,
    PackedContext, PartNeed, PlanQuery, PlannedIntent, ProposedUpgrade, REPORT_FILES, SchemaForm, Tokenizer, Touched,
    TouchedAssembly,
};
pub use audit::{AuditHead, AuditRecord, Author, MAX_AUTHOR_CHARS};
pub use bundle::{
    BundleAssembly, BundleChange, BundleContent, BundleCounts, BundleEntry, BundleFile, BundleKind, BundleManifest,
    BundleModel, BundleTaker, CarriedRevocation, ExportHead, Exported, Fate, ImportOptions, ImportedBundle,
    MANIFEST_PATH, MAX_BUNDLE_ENTRIES, MAX_CARRIED_BYTES, MAX_MANIFEST_JSON_BYTES, Reading, SIGNATURE_PATH,
    bundle_signers, interrupted_export, write_bundle,
};
pub use calibration::{Calibration, Evidence, Thresholds, fit};
pub use certification::{CertificateListing, Certified, MAX_EVIDENCE_BYTES, Recorded};
pub use decisions::RecordedDecision;
pub use drift::{BrokenPromise, DriftLevel, Histogram, IntentDrift, MeasuredDrift, PromiseRecord, Reference};
pub use encoder::{Encoded, EncoderLimits};
pub use engine::{Clock, Engine, EngineInfo, EngineOptions, system_clock};
pub use error::{EngineError, ErrorKind, Kept};
pub use feedback::{
    Disposition, DriftReport, ExampleProposal, ExportCursor, FeedbackCounts, FeedbackPolicy, FeedbackSummary, Gate,
    IntentText, Label, LabelListing, LabelPage, LabelState, OutcomeReport, PromiseWatch, RecordedOutcome, Verdict,
};
pub use figures::{CalibrationStanding, EXPIRY_DAYS, EncoderFigures, EngineFigures, GateFigures};
pub use fitment_index::{DenseFigures, Plan, step_back};
pub use fitment_ranking::{Choice, Fingerprints, Ranker, Seen, Signal, Stop, Threshold, Trial};
pub use folder::{ExportedFile, FOLDER_RECORDS, STANDING_ENDING};
pub use gaps::{
    Draft, Gap, GapCounts, GapFigures, GapIntent, GapLink, GapListing, GapPage, GapPolicy, GapReport, GapText,
    NearComponent,
};
pub use language::foreign_language;
pub use learning::{FitOptions, TrainingSet, fit_ranker};
pub use limits::page_size;
pub use live::{IndexRecall, OnProgress};
pub use meters::{BATCH_SECONDS, BATCH_TEXTS, BATCH_TOKENS, NEAR_DUPLICATES, OVERLOAD_REFUSED};
pub use migration::stored_model;
pub use near::{CatalogPolicy, NearDuplicate, NearDuplicates};
pub use normalize::{MAX_INTENT_BYTES, normalize_intent, normalize_text};
pub use permit::{ComponentFacts, Permit, Viewer};
pub use pipeline::{
    Candidate, ComponentSet, DEFAULT_TOP_K, Explanation, MAX_SET_SIZE, MAX_TOP_K, MatchAnswer, MatchQuery, Outcome,
    Timings,
};
pub use rank::{FieldWeights, Method, Ranking, Scored, SecondStageSettings};
pub use rankers::{DEFAULT_RANKER, KeptRanker};
pub use second_stage::{SecondStageInfo, SecondStageUse};
pub use store::{
    Card, CarriedStanding, DEFAULT_CACHE_BYTES as DEFAULT_STORE_CACHE_BYTES, Deletion, FORMAT_VERSION, Facet,
    ImportMark, Move, Pruned, Restored, Revision, SnapshotListing, SnapshotSummary, Standing, Store, StoredCertificate,
    StoredModel, StoredVersion, Work, WrittenSnapshot, list_snapshots, prune_snapshots, restore_snapshot,
    snapshot_file, verify_snapshot,
};
pub use vector_cache::CacheUse;
pub use view::FilterStage;
pub use watch::{CatalogChange, ChangeKind, ChangedVersion, LogPlace};
pub use writes::{Import, Imported, Listing, LookedAt, Looking, Page, VersionSelector};

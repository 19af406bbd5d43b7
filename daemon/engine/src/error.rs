//! What can go wrong in the engine, and of which kind it is.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use fitment_catalog::{CatalogError, Lifecycle, Violation};
use fitment_index::IndexError;
use fitment_models::{ModelError, ModelErrorKind};
use fitment_trust::{TrustError, TrustErrorKind};

use crate::admission::OverloadCause;

/// An engine failure. Abstaining is not one.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// A field of the request breaks a documented limit or form.
    #[error("{field}: {description}")]
    InvalidField {
        /// Path of the field in the request.
        field: String,
        /// What is wrong and the way out.
        description: String,
    },
    /// A manifest, a filter, a name or a labelled data set was refused.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    /// An assembly, or policies for assemblies, cannot be read.
    #[error(transparent)]
    Assembly(#[from] fitment_assembly::AssemblyError),
    /// A requirement cannot be planned.
    #[error(transparent)]
    Plan(#[from] fitment_assembly::PlanError),
    /// No such assembly is kept.
    #[error("assembly `{name}` not found; `fitment assembly list` shows what is kept")]
    AssemblyUnknown {
        /// What was looked for.
        name: String,
    },
    /// A version that takes no configuration.
    #[error("{what} takes no configuration: its manifest has no config_schema")]
    NoConfiguration {
        /// `namespace/name@version`.
        what: String,
    },
    /// A form that cannot say a configuration schema.
    #[error("the configuration schema of {what} cannot be written in this form: {fault}")]
    FormUnsayable {
        /// `namespace/name@version`.
        what: String,
        /// Why not.
        fault: String,
    },
    /// As many assemblies are kept as are.
    #[error("{most} assemblies are kept, and no more; forget some with `fitment assembly delete`")]
    TooManyAssemblies {
        /// How many.
        most: usize,
    },
    /// The manifest's digest is not the one that the caller stated.
    #[error("expected_digest: the manifest has digest {actual}, not {expected}; send the manifest that was certified")]
    DigestMismatch {
        /// What the caller stated.
        expected: String,
        /// What the manifest has.
        actual: String,
    },
    /// No such version.
    #[error("{what} not found; `fitment catalog list` shows what is stored")]
    NotFound {
        /// What was looked for.
        what: String,
    },
    /// A version that is to be brought back and is not deleted.
    #[error("{what} is not deleted; there is nothing to bring back")]
    NotDeleted {
        /// `namespace/name@version`.
        what: String,
    },
    /// A step that the life of a version does not have.
    #[error("{what} is {from}; from there it cannot become {to}{}", ways_on(*.from))]
    MoveForbidden {
        /// `namespace/name@version`.
        what: String,
        /// Where it stands.
        from: Lifecycle,
        /// Where it was to go.
        to: Lifecycle,
    },
    /// A version went another way here than where an imported record of it comes from.
    #[error(
        "{what} is {here} here and came another way than the record that tells of {there}; `fitment catalog history` shows its way; nothing was changed"
    )]
    StandingDiffers {
        /// `namespace/name@version`.
        what: String,
        /// Where it stands here.
        here: Lifecycle,
        /// Where the record ends.
        there: Lifecycle,
    },
    /// Certification without anybody who is believed.
    #[error("no trust root is installed, so nobody's signature is believed; install one with `fitment trust install`")]
    NoTrustRoot,
    /// A certificate, a revocation or a trust root was refused.
    #[error(transparent)]
    Trust(#[from] TrustError),
    /// The audit chain does not hold together.
    #[error("the audit chain is broken at record {sequence}: {detail}; what follows it cannot be trusted")]
    AuditBroken {
        /// The first record that does not follow.
        sequence: u64,
        /// What was found.
        detail: String,
    },
    /// A decision that cannot be given an outcome.
    #[error(
        "decision {id} is not remembered: this daemon keeps the last {kept} answers of Match, BatchMatch and StreamMatch \
         (feedback.decisions); Explain leaves none"
    )]
    DecisionUnknown {
        /// Its id.
        id: String,
        /// Decisions that are kept.
        kept: u64,
    },
    /// No such labelled intent.
    #[error("labelled intent `{id}` not found; `fitment feedback list` shows them")]
    LabelUnknown {
        /// What was looked for.
        id: String,
    },
    /// The name and version are taken by another manifest.
    #[error(
        "{name}@{version} exists with digest {existing} and versions are immutable; give the changed manifest a new version"
    )]
    VersionTaken {
        /// `namespace/name`.
        name: String,
        /// Semantic version.
        version: String,
        /// Digest of what is, or was, stored there.
        existing: String,
    },
    /// A near-duplicate of another component, where the policy refuses them.
    #[error(
        "{version} is nearly the same as {near}; extend that component, or say that both are wanted with --allow-near-duplicate \
         (allow_near_duplicate)"
    )]
    NearDuplicate {
        /// `namespace/name@version`.
        version: String,
        /// What it is nearly the same as, with the cosines.
        near: String,
    },
    /// No such gap.
    #[error("gap `{id}` not found; `fitment gaps list` shows them")]
    GapUnknown {
        /// What was looked for.
        id: String,
    },
    /// A manifest cannot be drafted from intents of which no text is kept, or none that it may hold.
    #[error(
        "no text of the intents of gap `{id}` is kept (gaps.text), or none that a manifest may hold: nothing can be drafted from them"
    )]
    GapWithoutText {
        /// The gap.
        id: String,
    },
    /// The etag is of another state.
    #[error("etag: {what} has etag {actual}, not {expected}; read it again and decide again")]
    EtagMismatch {
        /// `namespace/name@version`, or what else was to be changed.
        what: String,
        /// What the caller sent.
        expected: String,
        /// What is stored.
        actual: String,
    },
    /// A `request_id` was used before for a different request.
    #[error("request_id: `{request_id}` was used for a different request; choose a new id")]
    RequestIdReused {
        /// The id.
        request_id: String,
    },
    /// The catalogue has not reached the revision that the caller must see.
    #[error(
        "min_revision: the catalogue is at revision {current}, not yet at {wanted}; ask the daemon that took the write"
    )]
    RevisionNotReached {
        /// What the caller asked for.
        wanted: u64,
        /// Where the catalogue stands.
        current: u64,
    },
    /// There is more work than can be done in time.
    #[error("overloaded: the {queue} queue {cause}; retry after {retry_after:?}")]
    Overloaded {
        /// Which queue.
        queue: &'static str,
        /// Why this was refused.
        cause: OverloadCause,
        /// When to try again.
        retry_after: Duration,
    },
    /// The caller asks for more than it is allowed.
    #[error(
        "more {what} a second than this caller is allowed; retry after {retry_after:?}, or ask the operator for a higher limit"
    )]
    RateLimited {
        /// What is counted.
        what: &'static str,
        /// When to try again.
        retry_after: Duration,
    },
    /// A ranker that is not kept.
    #[error("ranker `{id}` not found; `fitment ranker list` shows what is kept")]
    RankerUnknown {
        /// Its id.
        id: String,
    },
    /// Another long job runs.
    #[error("{running} is running, and one job runs at a time; retry when it has ended, or end it by leaving its call")]
    JobRunning {
        /// Which one.
        running: &'static str,
    },
    /// A write outside of what the caller may touch.
    #[error("the caller's grants do not cover {what}; ask for a grant of its namespace and tags")]
    Forbidden {
        /// `namespace/name@version`.
        what: String,
    },
    /// Certifying by somebody who may write and not certify.
    #[error(
        "the caller's grants do not allow to certify {what}; write it as a draft or candidate, and have a certifier move it"
    )]
    CertifyingForbidden {
        /// `namespace/name@version`.
        what: String,
    },
    /// Work whose caller left, or an engine that is stopping.
    #[error("the engine is stopping; connect to another daemon or retry later")]
    Stopping,
    /// Going back to a model where none served before.
    #[error("no other model served this catalogue before; `fitment model migrate NAME --switch` changes it")]
    NoModelBefore,
    /// The catalogue was embedded by another model.
    #[error(
        "the catalogue at {path} was embedded by model {stored_name} ({stored}), not by {wanted_name} ({wanted}); \
         leave `model` out, or name that model and its precision (`encoder.precision`); to change it, serve it so and use \
         `fitment model migrate` or `fitment model rollback`"
    )]
    ModelMismatch {
        /// The store.
        path: PathBuf,
        /// Name of the model that embedded it.
        stored_name: String,
        /// Digest of the model that embedded it.
        stored: String,
        /// Name of the model that was asked for.
        wanted_name: String,
        /// Digest of the model that was asked for.
        wanted: String,
    },
    /// Another process has the store open.
    #[error("the store at {path} is in use by another process; stop that one or choose another `--data-dir`")]
    StoreInUse {
        /// The store.
        path: PathBuf,
    },
    /// The store is damaged.
    #[error(
        "the store at {path} is damaged: {detail}; restore it from a copy, or move it away and import the catalogue again"
    )]
    StoreDamaged {
        /// The store.
        path: PathBuf,
        /// What was found.
        detail: String,
    },
    /// No room for what is to be written.
    #[error(
        "no room for the store at {path}: {detail}; {kept}; make room on the disk (or raise the quota or \
         `ulimit -f`) and send it again; what is stored is still read and matched"
    )]
    StoreFull {
        /// The store.
        path: PathBuf,
        /// The operating system's word.
        detail: String,
        /// What became of the change.
        kept: Kept,
    },
    /// The store's file takes no writes.
    #[error(
        "the store at {path} cannot be written: {detail}; {kept}; mount its disk writable and send it again; \
         what is stored is still read and matched"
    )]
    StoreReadOnly {
        /// The store.
        path: PathBuf,
        /// The operating system's word.
        detail: String,
        /// What became of the change.
        kept: Kept,
    },
    /// The disk answered a write of the store with an error.
    #[error(
        "the disk failed under the store at {path}: {detail}; {kept}; send it again, and when that goes on look at the \
         disk, then restart the daemon, which checks the whole file; what is stored is still read and matched as far as it can be"
    )]
    StoreUnwritable {
        /// The store.
        path: PathBuf,
        /// The operating system's word.
        detail: String,
        /// What became of the change.
        kept: Kept,
    },
    /// The store was written by a newer or older format.
    #[error(
        "the store at {path} has format version {found}, this daemon reads {supported}; use the daemon that wrote it"
    )]
    StoreFormat {
        /// The store.
        path: PathBuf,
        /// What was found.
        found: String,
        /// What is read.
        supported: u32,
    },
    /// A snapshot does not hold what it says.
    #[error("the snapshot at {path} is damaged: {detail}; use another snapshot; nothing was changed")]
    SnapshotDamaged {
        /// The file of it that is wrong.
        path: PathBuf,
        /// What was found.
        detail: String,
    },
    /// No such snapshot.
    #[error("snapshot `{name}` not found; `fitment snapshot list` shows them")]
    SnapshotUnknown {
        /// Its name.
        name: String,
    },
    /// A snapshot of another build's form.
    #[error(
        "the snapshot at {path} holds {found}, which this build does not read; restore it with the build that wrote it"
    )]
    SnapshotFormat {
        /// The snapshot.
        path: PathBuf,
        /// What was found.
        found: String,
    },
    /// A restore onto a folder that has a store.
    #[error(
        "{path} exists; restore into another --data-dir, or replace it with --force (it is then kept beside as catalog.redb.before-restore)"
    )]
    StoreExists {
        /// The store.
        path: PathBuf,
    },
    /// A bundle's bytes are not what they must be.
    #[error("the bundle {path} cannot be taken: {detail}; nothing was changed")]
    BundleDamaged {
        /// The file.
        path: PathBuf,
        /// What was found, and where.
        detail: String,
    },
    /// A bundle that is whole and is not taken here.
    #[error("the bundle is refused: {detail}")]
    BundleRefused {
        /// Why, and the way out.
        detail: String,
    },
    /// The disk failed under the store while something else was being done with it.
    #[error(
        "the disk failed under the store while this was being done; nothing of it was kept; send it again: what the disk said is in the \
         next answer, if it goes on, and in the log"
    )]
    StoreInterrupted,
    /// The store could not be read or written.
    #[error("the store failed: {0}")]
    Store(#[from] Box<redb::Error>),
    /// A file could not be read or written.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// The operating system's word.
        #[source]
        source: std::io::Error,
    },
    /// What is stored could not be indexed.
    #[error(
        "the index at {path} could not follow the store to revision {revision}: {detail}; what is stored is safe, and is found as soon \
         as the index has caught up: with the next write once there is room, or at the next start"
    )]
    IndexBehind {
        /// The index.
        path: PathBuf,
        /// The store's revision.
        revision: u64,
        /// What failed, and why.
        detail: String,
    },
    /// The index failed.
    #[error(transparent)]
    Index(#[from] IndexError),
    /// The model failed.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// A calibration could not be made or read.
    #[error("calibration: {0}")]
    Calibration(String),
    /// Nothing could be learnt, or what was learnt does not fit here.
    #[error("learning: {0}")]
    Learning(String),
    /// An invariant of the engine does not hold.
    #[error("internal error: {0}; please report it")]
    Internal(String),
}

/// How a caller should take an error. One table in the server maps it to a gRPC code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// The request is wrong whatever the state.
    InvalidArgument,
    /// The caller may not.
    PermissionDenied,
    /// What was named is not there.
    NotFound,
    /// What was to be created is there.
    AlreadyExists,
    /// The system is not in the state that the request needs.
    FailedPrecondition,
    /// A concurrent change won.
    Aborted,
    /// A limit is reached; try again later.
    ResourceExhausted,
    /// Not serving now.
    Unavailable,
    /// Stored data is damaged.
    DataLoss,
    /// A fault of ours.
    Internal,
}

impl EngineError {
    /// A fault in one field of a request.
    pub fn field(field: impl Into<String>, description: impl Into<String>) -> Self {
        Self::InvalidField { field: field.into(), description: description.into() }
    }

    /// A version that the policy refuses for what it is nearly the same as.
    pub(crate) fn near_duplicate(manifest: &fitment_catalog::Manifest, near: &[crate::near::NearDuplicate]) -> Self {
        let near = near.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        Self::NearDuplicate { version: manifest.to_string(), near }
    }

    /// The kind and the stable machine-readable reason.
    pub fn classify(&self) -> (ErrorKind, &'static str) {
        match self {
            Self::InvalidField { .. } => (ErrorKind::InvalidArgument, "INVALID_FIELD"),
            Self::Catalog(error) => (ErrorKind::InvalidArgument, catalog_reason(error)),
            Self::Assembly(_) => (ErrorKind::InvalidArgument, "ASSEMBLY_INVALID"),
            Self::Plan(_) => (ErrorKind::InvalidArgument, "PLAN_INVALID"),
            Self::AssemblyUnknown { .. } => (ErrorKind::NotFound, "ASSEMBLY_UNKNOWN"),
            Self::NoConfiguration { .. } => (ErrorKind::FailedPrecondition, "NO_CONFIGURATION"),
            Self::FormUnsayable { .. } => (ErrorKind::FailedPrecondition, "FORM_UNSAYABLE"),
            Self::TooManyAssemblies { .. } => (ErrorKind::ResourceExhausted, "TOO_MANY_ASSEMBLIES"),
            Self::DigestMismatch { .. } => (ErrorKind::InvalidArgument, "DIGEST_MISMATCH"),
            Self::NotFound { .. } => (ErrorKind::NotFound, "NOT_FOUND"),
            Self::NotDeleted { .. } => (ErrorKind::FailedPrecondition, "NOT_DELETED"),
            Self::MoveForbidden { .. } => (ErrorKind::FailedPrecondition, "MOVE_FORBIDDEN"),
            Self::StandingDiffers { .. } => (ErrorKind::FailedPrecondition, "STANDING_DIFFERS"),
            Self::NoTrustRoot => (ErrorKind::FailedPrecondition, "NO_TRUST_ROOT"),
            Self::Trust(error) => match error.kind() {
                TrustErrorKind::InvalidInput => (ErrorKind::InvalidArgument, "CERTIFICATION_INVALID"),
                TrustErrorKind::Precondition => (ErrorKind::FailedPrecondition, "CERTIFICATION_REFUSED"),
            },
            Self::AuditBroken { .. } => (ErrorKind::DataLoss, "AUDIT_BROKEN"),
            Self::DecisionUnknown { .. } => (ErrorKind::NotFound, "DECISION_UNKNOWN"),
            Self::LabelUnknown { .. } => (ErrorKind::NotFound, "LABEL_UNKNOWN"),
            Self::VersionTaken { .. } => (ErrorKind::AlreadyExists, "VERSION_TAKEN"),
            Self::NearDuplicate { .. } => (ErrorKind::AlreadyExists, "NEAR_DUPLICATE"),
            Self::GapUnknown { .. } => (ErrorKind::NotFound, "GAP_UNKNOWN"),
            Self::GapWithoutText { .. } => (ErrorKind::FailedPrecondition, "GAP_WITHOUT_TEXT"),
            Self::EtagMismatch { .. } => (ErrorKind::Aborted, "ETAG_MISMATCH"),
            Self::RequestIdReused { .. } => (ErrorKind::InvalidArgument, "REQUEST_ID_REUSED"),
            Self::RevisionNotReached { .. } => (ErrorKind::FailedPrecondition, "REVISION_NOT_REACHED"),
            Self::Overloaded { .. } => (ErrorKind::ResourceExhausted, "OVERLOADED"),
            Self::RateLimited { .. } => (ErrorKind::ResourceExhausted, "RATE_LIMITED"),
            Self::RankerUnknown { .. } => (ErrorKind::NotFound, "RANKER_UNKNOWN"),
            Self::JobRunning { .. } => (ErrorKind::ResourceExhausted, "JOB_RUNNING"),
            Self::Forbidden { .. } => (ErrorKind::PermissionDenied, "FORBIDDEN"),
            Self::CertifyingForbidden { .. } => (ErrorKind::PermissionDenied, "CERTIFYING_FORBIDDEN"),
            Self::Stopping => (ErrorKind::Unavailable, "STOPPING"),
            Self::NoModelBefore => (ErrorKind::FailedPrecondition, "NO_MODEL_BEFORE"),
            Self::ModelMismatch { .. } => (ErrorKind::FailedPrecondition, "MODEL_MISMATCH"),
            Self::StoreInUse { .. } => (ErrorKind::FailedPrecondition, "STORE_IN_USE"),
            Self::StoreDamaged { .. } => (ErrorKind::DataLoss, "STORE_DAMAGED"),
            Self::StoreFull { .. } => (ErrorKind::ResourceExhausted, "STORE_FULL"),
            Self::StoreReadOnly { .. } => (ErrorKind::FailedPrecondition, "STORE_READ_ONLY"),
            Self::StoreUnwritable { .. } | Self::StoreInterrupted => (ErrorKind::Unavailable, "STORE_UNWRITABLE"),
            Self::StoreFormat { .. } => (ErrorKind::FailedPrecondition, "STORE_FORMAT"),
            Self::SnapshotDamaged { .. } => (ErrorKind::DataLoss, "SNAPSHOT_DAMAGED"),
            Self::SnapshotUnknown { .. } => (ErrorKind::NotFound, "SNAPSHOT_UNKNOWN"),
            Self::SnapshotFormat { .. } => (ErrorKind::FailedPrecondition, "SNAPSHOT_FORMAT"),
            Self::StoreExists { .. } => (ErrorKind::FailedPrecondition, "STORE_EXISTS"),
            Self::BundleDamaged { .. } => (ErrorKind::DataLoss, "BUNDLE_DAMAGED"),
            Self::BundleRefused { .. } => (ErrorKind::FailedPrecondition, "BUNDLE_REFUSED"),
            Self::Store(error) => match **error {
                redb::Error::Io(_) => (ErrorKind::Unavailable, "STORE_UNWRITABLE"),
                redb::Error::Corrupted(_) => (ErrorKind::DataLoss, "STORE_DAMAGED"),
                _ => (ErrorKind::Internal, "STORE_FAILED"),
            },
            Self::Io { .. } => (ErrorKind::Internal, "IO_FAILED"),
            Self::IndexBehind { .. } => (ErrorKind::Unavailable, "INDEX_BEHIND"),
            Self::Index(_) => (ErrorKind::Internal, "INDEX_FAILED"),
            Self::Model(error) => match error.kind() {
                ModelErrorKind::NotFound => (ErrorKind::NotFound, "MODEL_NOT_INSTALLED"),
                ModelErrorKind::Corrupt => (ErrorKind::DataLoss, "MODEL_DAMAGED"),
                ModelErrorKind::Unsupported => (ErrorKind::FailedPrecondition, "MODEL_UNSUPPORTED"),
                ModelErrorKind::InvalidInput | ModelErrorKind::Unavailable | ModelErrorKind::Internal => {
                    (ErrorKind::Internal, "MODEL_FAILED")
                }
            },
            Self::Calibration(_) => (ErrorKind::InvalidArgument, "CALIBRATION_INVALID"),
            Self::Learning(_) => (ErrorKind::InvalidArgument, "LEARNING_INVALID"),
            Self::Internal(_) => (ErrorKind::Internal, "INTERNAL"),
        }
    }

    /// Field violations, where the fault lies in the request.
    pub fn violations(&self) -> Vec<Violation> {
        match self {
            Self::InvalidField { field, description } => vec![violation(field, description.clone())],
            Self::Catalog(CatalogError::InvalidManifest { violations, .. }) => violations.clone(),
            Self::Catalog(CatalogError::InvalidFilter { .. }) => vec![violation("filter", self.to_string())],
            Self::Catalog(
                CatalogError::TooLarge { .. } | CatalogError::NotUtf8 { .. } | CatalogError::Syntax { .. },
            ) => vec![violation("manifest", self.to_string())],
            Self::DigestMismatch { .. } => vec![violation("expected_digest", self.to_string())],
            Self::RequestIdReused { .. } => vec![violation("request_id", self.to_string())],
            _ => Vec::new(),
        }
    }
}

/// The steps that a version may take from where it stands, as the end of a message.
fn ways_on(from: Lifecycle) -> String {
    let ways: Vec<&str> = Lifecycle::ALL.iter().filter(|to| from.may_become(**to)).map(|to| to.as_str()).collect();
    if ways.is_empty() { "; that is final".into() } else { format!("; it can become {}", ways.join(" or ")) }
}

fn violation(field: &str, description: String) -> Violation {
    Violation { field: field.to_owned(), line: None, column: None, description }
}

fn catalog_reason(error: &CatalogError) -> &'static str {
    match error {
        CatalogError::InvalidFilter { .. } => "FILTER_INVALID",
        CatalogError::InvalidRecord { .. } => "DATASET_INVALID",
        CatalogError::InvalidValue { .. } => "INVALID_FIELD",
        _ => "MANIFEST_INVALID",
    }
}

/// What became of a change that a disk refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kept {
    /// It is not done, and never will be unless it is asked for again.
    Nothing,
    /// It is not seen, and is undone as soon as the disk takes writes again; should the daemon end before that, it may be found
    /// done afterwards.
    Perhaps,
}

impl Kept {
    /// A stable word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Nothing => "nothing",
            Self::Perhaps => "perhaps",
        }
    }
}

impl fmt::Display for Kept {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Nothing => "nothing of this was kept",
            Self::Perhaps => {
                "this is not done, and may yet be found done if the daemon ends before the disk takes writes again"
            }
        })
    }
}

impl EngineError {
    /// What became of the change, where a disk refused it.
    pub fn kept(&self) -> Option<Kept> {
        match self {
            Self::StoreFull { kept, .. } | Self::StoreReadOnly { kept, .. } | Self::StoreUnwritable { kept, .. } => {
                Some(*kept)
            }
            Self::StoreInterrupted => Some(Kept::Nothing),
            _ => None,
        }
    }
}

impl From<redb::Error> for EngineError {
    fn from(error: redb::Error) -> Self {
        match error {
            redb::Error::PreviousIo | redb::Error::DatabaseClosed => Self::StoreInterrupted,
            error => Self::Store(Box::new(error)),
        }
    }
}

macro_rules! from_redb {
    ($($error:ty),*) => {$(
        impl From<$error> for EngineError {
            fn from(error: $error) -> Self {
                redb::Error::from(error).into()
            }
        }
    )*};
}

from_redb!(redb::TransactionError, redb::TableError, redb::StorageError, redb::CommitError);

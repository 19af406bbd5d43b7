//! What can go wrong in an index, as one type.

use std::path::PathBuf;

use crate::doc_set::DocId;

/// A failure of an index. Nothing is changed by a call that fails.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IndexError {
    /// A vector has another length than the index.
    #[error(
        "vector has {actual} dimensions, the index holds {expected}; embed with the model that the index was built for"
    )]
    Dimension {
        /// Dimensions of the index.
        expected: usize,
        /// Dimensions of the vector.
        actual: usize,
    },
    /// A vector holds NaN or an infinity.
    #[error("vector holds {value} at position {position}; only finite numbers can be compared")]
    NotFinite {
        /// Where, from 0.
        position: usize,
        /// What stands there.
        value: f32,
    },
    /// A vector is not of length 1 within 1e-3; the zero vector is one of these.
    #[error("vector has length {norm}, not 1; normalise it to unit length")]
    NotUnit {
        /// Its Euclidean length.
        norm: f32,
    },
    /// A document was given no vector, or more than can be numbered.
    #[error("document {doc:?} has {count} facets; give 1 to 65535")]
    FacetCount {
        /// The document.
        doc: DocId,
        /// How many were given.
        count: usize,
    },
    /// More rows than the segment format can number.
    #[error("index would hold {rows} rows; at most {limit} fit, split the catalogue")]
    Full {
        /// Rows it would hold.
        rows: usize,
        /// The limit.
        limit: usize,
    },
    /// An option is outside its range.
    #[error("option `{name}` is {value}; it must be {range}")]
    Option {
        /// The option's name.
        name: &'static str,
        /// The value given.
        value: String,
        /// What is allowed.
        range: &'static str,
    },
    /// A file or folder of the index does not hold what was written. The cache must be rebuilt from the store.
    #[error("index file `{}` is damaged ({what}); delete it and rebuild it from the store", path.display())]
    Damaged {
        /// The file or folder.
        path: PathBuf,
        /// What was found.
        what: String,
    },
    /// A file is sound but was made for something else (format version, dimension, fields). It must be rebuilt.
    #[error("index file `{}` has {what} {found}, this program needs {expected}; rebuild it from the store", path.display())]
    Mismatch {
        /// The file or folder.
        path: PathBuf,
        /// Which property differs.
        what: &'static str,
        /// What the program needs.
        expected: String,
        /// What the file has.
        found: String,
    },
    /// A stamp longer than the header has room for.
    #[error("stamp has {length} bytes; at most {limit} fit")]
    StampTooLong {
        /// Its length in bytes.
        length: usize,
        /// The limit in bytes.
        limit: usize,
    },
    /// A segment that was built from a state which is no longer the one to replace.
    #[error("segment was built from an older sealing input; take a new one and build again")]
    StaleSegment,
    /// A build that its caller stopped.
    #[error("build was cancelled after {rows_done} of {rows} rows; nothing changed")]
    Cancelled {
        /// Rows inserted when it stopped.
        rows_done: usize,
        /// Rows in all.
        rows: usize,
    },
    /// A field that the lexical index was not opened with.
    #[error("lexical index has no field `{name}`; its fields are {known}")]
    UnknownField {
        /// The name given.
        name: String,
        /// The names it has, separated by commas.
        known: String,
    },
    /// Reading or writing failed.
    #[error("cannot use index file `{}`; check the folder's rights and free space", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The lexical engine refused an operation.
    #[error("lexical index cannot {action}; rebuild it from the store if this repeats")]
    Lexical {
        /// What was tried.
        action: &'static str,
        /// Why not.
        #[source]
        source: tantivy::TantivyError,
    },
    /// Threads for a build could not be started.
    #[error("cannot start {threads} build threads; lower the number of threads")]
    Threads {
        /// How many were asked for.
        threads: usize,
        /// Why not.
        #[source]
        source: rayon::ThreadPoolBuildError,
    },
}

/// What an [`IndexError`] means to a caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// The caller's value is wrong; another value would do.
    InvalidInput,
    /// The cache on disk must be thrown away and rebuilt.
    Rebuild,
    /// The work was stopped or overtaken; it may be started again.
    Aborted,
    /// The machine refused (disk, memory, threads).
    System,
}

impl IndexError {
    /// What the error means to a caller.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Dimension { .. }
            | Self::NotFinite { .. }
            | Self::NotUnit { .. }
            | Self::FacetCount { .. }
            | Self::Full { .. }
            | Self::Option { .. }
            | Self::StampTooLong { .. }
            | Self::UnknownField { .. } => ErrorKind::InvalidInput,
            Self::Damaged { .. } | Self::Mismatch { .. } => ErrorKind::Rebuild,
            Self::StaleSegment | Self::Cancelled { .. } => ErrorKind::Aborted,
            Self::Io { .. } | Self::Lexical { .. } | Self::Threads { .. } => ErrorKind::System,
        }
    }

    pub(crate) fn damaged(path: &std::path::Path, what: impl Into<String>) -> Self {
        Self::Damaged { path: path.to_owned(), what: what.into() }
    }

    pub(crate) fn io(path: &std::path::Path) -> impl FnOnce(std::io::Error) -> Self + '_ {
        move |source| Self::Io { path: path.to_owned(), source }
    }
}

//! Maps by hashed term: a term is a good hash already and is not hashed at length once more.

/// By hashed term.
pub(crate) type TermMap<V> = rustc_hash::FxHashMap<u32, V>;

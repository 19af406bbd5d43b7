//! Limits of one caller.

use serde::{Deserialize, Serialize};

/// What one principal may ask for; 0: as much as it likes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Requests a second on average; each intent of a batch or a stream is one.
    pub requests_per_second: u32,
    /// Requests that may come at once; 0: as many as a second has.
    pub burst: u32,
    /// Calls that may be open at once, streams included.
    pub concurrent: u32,
    /// Tokens a second that may be encoded on average; those of remembered intents cost nothing.
    pub tokens_per_second: u32,
}

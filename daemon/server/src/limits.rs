//! What each principal may ask for: requests a second, tokens a second, and calls at once.
//!
//! `account` counts for one principal; `layer` finds the principal of a call and refuses what is too much before anything
//! else is done for it. A call without a principal counts for its peer's address. This is apart from overload, which is about
//! what the machine can do: a principal within its limits may still be refused by the queue, and the other way round.

mod account;
mod book;
mod layer;

use serde::{Deserialize, Serialize};

pub(crate) use self::account::{Account, Exceeded};
pub(crate) use self::book::Book;
#[cfg(any(test, feature = "testing"))]
pub(crate) use self::layer::Limit;
pub(crate) use self::layer::{Counted, LimitLayer};

/// More of anything a second than any machine that runs this can do.
const MOST: u32 = 10_000_000;

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

impl Limits {
    /// What is wrong with them, and the way out.
    pub fn fault(&self) -> Option<String> {
        let &Self { requests_per_second, burst, concurrent, tokens_per_second } = self;
        for (key, value) in [
            ("requests_per_second", requests_per_second),
            ("burst", burst),
            ("concurrent", concurrent),
            ("tokens_per_second", tokens_per_second),
        ] {
            if value > MOST {
                return Some(format!("limits.{key}: {value} is out of range 0..={MOST}; 0 is no limit"));
            }
        }
        let nothing_bursts = burst > 0 && requests_per_second == 0;
        nothing_bursts.then(|| {
            format!("limits.burst: {burst} has no rate to go with; set limits.requests_per_second, or leave it out")
        })
    }
}

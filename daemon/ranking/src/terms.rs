//! Maps by hashed term: a term is a good hash already and is not hashed at length once more.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

/// By hashed term.
pub(crate) type TermMap<V> = HashMap<u32, V, BuildHasherDefault<Spread>>;

/// Spreads a term's bits to the upper ones, which a map looks at too.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Spread(u64);

impl Hasher for Spread {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.write_u32(u32::from(byte));
        }
    }

    fn write_u32(&mut self, number: u32) {
        // The fraction of the golden ratio: Knuth, The Art of Computer Programming 3, sec. 6.4.
        self.0 = (self.0 ^ u64::from(number)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
}

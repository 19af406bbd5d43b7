//! Keys and values of the store's tables as bytes of a snapshot: a form of our own, so that a snapshot outlives redb's.
//!
//! Integers are little-endian, text and bytes have their length before them as a u32, a pair is one after the other.

use redb::{Key, Value};

/// Consecutive integer keys of one chunk.
const RANGE: u64 = 1024;

/// A key or a value that a snapshot can hold.
pub(super) trait Column: Value + 'static {
    /// Appends a value.
    fn put(value: &Self::SelfType<'_>, out: &mut Vec<u8>);

    /// Takes a value from the front; `None`: the bytes are none.
    fn take<'a>(bytes: &mut &'a [u8]) -> Option<Self::SelfType<'a>>;
}

/// A key, which also says where a table is cut into chunks.
pub(super) trait RowKey: Column + Key {
    /// Writes what all keys of one chunk share; false: they share nothing and the table is cut by their hashes.
    fn range(key: &Self::SelfType<'_>, shared: &mut Vec<u8>) -> bool;
}

macro_rules! integers {
    ($($integer:ty),*) => {$(
        impl Column for $integer {
            fn put(value: &Self::SelfType<'_>, out: &mut Vec<u8>) {
                out.extend_from_slice(&value.to_le_bytes());
            }

            fn take<'a>(bytes: &mut &'a [u8]) -> Option<Self::SelfType<'a>> {
                let (value, rest) = bytes.split_first_chunk()?;
                *bytes = rest;
                Some(<$integer>::from_le_bytes(*value))
            }
        }
    )*};
}

integers!(u8, u32, u64, u128);

impl Column for &'static [u8] {
    fn put(value: &Self::SelfType<'_>, out: &mut Vec<u8>) {
        let length = u32::try_from(value.len()).expect("redb holds no value of 4 GiB");
        out.extend_from_slice(&length.to_le_bytes());
        out.extend_from_slice(value);
    }

    fn take<'a>(bytes: &mut &'a [u8]) -> Option<Self::SelfType<'a>> {
        let length = usize::try_from(u32::take(bytes)?).ok()?;
        let (value, rest) = bytes.split_at_checked(length)?;
        *bytes = rest;
        Some(value)
    }
}

impl Column for &'static str {
    fn put(value: &Self::SelfType<'_>, out: &mut Vec<u8>) {
        <&[u8]>::put(&value.as_bytes(), out);
    }

    fn take<'a>(bytes: &mut &'a [u8]) -> Option<Self::SelfType<'a>> {
        std::str::from_utf8(<&[u8]>::take(bytes)?).ok()
    }
}

impl<A: Column, B: Column> Column for (A, B) {
    fn put(value: &Self::SelfType<'_>, out: &mut Vec<u8>) {
        A::put(&value.0, out);
        B::put(&value.1, out);
    }

    fn take<'a>(bytes: &mut &'a [u8]) -> Option<Self::SelfType<'a>> {
        Some((A::take(bytes)?, B::take(bytes)?))
    }
}

fn integer_range(key: u64, shared: &mut Vec<u8>) -> bool {
    shared.extend_from_slice(&(key / RANGE).to_le_bytes());
    true
}

macro_rules! ranges {
    ($($key:ty: |$value:ident, $shared:ident| $range:expr;)*) => {$(
        impl RowKey for $key {
            fn range($value: &Self::SelfType<'_>, $shared: &mut Vec<u8>) -> bool {
                $range
            }
        }
    )*};
}

ranges! {
    u32: |key, shared| integer_range(u64::from(*key), shared);
    u64: |key, shared| integer_range(*key, shared);
    (u32, &'static str): |key, shared| integer_range(u64::from(key.0), shared);
    (u64, u32): |key, shared| integer_range(key.0, shared);
    (&'static str, u32): |key, shared| {
        shared.extend_from_slice(key.0.as_bytes());
        integer_range(u64::from(key.1), shared)
    };
    u128: |_key, _shared| false;
    &'static str: |_key, _shared| false;
    &'static [u8]: |_key, _shared| false;
    (&'static str, &'static str): |_key, _shared| false;
}

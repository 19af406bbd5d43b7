//! Arrays of numbers as base64 text of little-endian bytes, so that an artefact is one JSON file of bearable size.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serializer};

macro_rules! packed {
    ($module:ident, $number:ty) => {
        pub(crate) mod $module {
            use super::*;

            pub(crate) fn serialize<S: Serializer>(numbers: &[$number], serializer: S) -> Result<S::Ok, S::Error> {
                let bytes: Vec<u8> = numbers.iter().flat_map(|number| number.to_le_bytes()).collect();
                serializer.serialize_str(&STANDARD.encode(bytes))
            }

            pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<$number>, D::Error> {
                const WIDTH: usize = size_of::<$number>();
                let text = String::deserialize(deserializer)?;
                let bytes = STANDARD.decode(text).map_err(D::Error::custom)?;
                let (numbers, rest) = bytes.as_chunks::<WIDTH>();
                if !rest.is_empty() {
                    return Err(D::Error::custom(format!("{} bytes are no whole number of values", bytes.len())));
                }
                Ok(numbers.iter().map(|bytes| <$number>::from_le_bytes(*bytes)).collect())
            }
        }
    };
}

packed!(floats, f32);
packed!(words, u32);
packed!(longs, u64);

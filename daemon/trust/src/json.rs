//! JSON that reads the same everywhere: no repeated keys, nothing after the end, bounded depth.
//!
//! RFC 8259 leaves open what a repeated key means. A signer and a verifier that choose differently would agree on the
//! signature and not on what was signed.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

use crate::TrustError;
use crate::error::shorten;

/// Deepest nesting of objects and arrays that is read in envelopes and statements.
pub const MAX_JSON_DEPTH: usize = 32;

/// Reads one JSON document. `what` names it in messages.
pub(crate) fn read(what: &'static str, bytes: &[u8]) -> Result<Value, TrustError> {
    let wrong = |error: serde_json::Error| TrustError::Json { what, description: error.to_string() };
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let value = Strict { levels_left: MAX_JSON_DEPTH }.deserialize(&mut deserializer).map_err(wrong)?;
    deserializer.end().map_err(wrong)?;
    Ok(value)
}

/// Compact JSON, keys in the order in which they were put in.
pub(crate) fn write(value: &Value) -> Vec<u8> {
    value.to_string().into_bytes()
}

#[derive(Clone, Copy)]
struct Strict {
    levels_left: usize,
}

impl Strict {
    fn inside<E: Error>(self) -> Result<Self, E> {
        match self.levels_left.checked_sub(1) {
            Some(levels_left) => Ok(Self { levels_left }),
            None => Err(E::custom(format!("nested deeper than {MAX_JSON_DEPTH} levels; flatten the document"))),
        }
    }
}

impl<'de> DeserializeSeed<'de> for Strict {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        Number::from_f64(value).map(Value::Number).ok_or_else(|| E::custom("not a finite number"))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Value, A::Error> {
        let inside = self.inside()?;
        let mut items = Vec::new();
        while let Some(item) = sequence.next_element_seed(inside)? {
            items.push(item);
        }
        Ok(Value::Array(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut mapping: A) -> Result<Value, A::Error> {
        let inside = self.inside()?;
        let mut entries = Map::new();
        while let Some(key) = mapping.next_key::<String>()? {
            if entries.contains_key(&key) {
                return Err(A::Error::custom(format!("duplicate key `{}`; keep one", shorten(&key))));
            }
            let value = mapping.next_value_seed(inside)?;
            entries.insert(key, value);
        }
        Ok(Value::Object(entries))
    }
}

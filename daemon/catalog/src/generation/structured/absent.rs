//! Takes the nulls that stand for properties left out of what was generated.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::binding::MAX_CONFIGURATION_DEPTH;
use crate::config_schema::{ConfigSchema, SchemaFault, deeper_than};
use crate::generation::outline::{List, Member, Outline, PlaceId, Way};

/// Largest generated text that is read: nulls take more room than a configuration has.
const MAX_GENERATED_BYTES: usize = 256 * 1024;

impl ConfigSchema {
    /// Takes out of what a model generated under [`ConfigSchema::structured_output`] the nulls that stand for properties
    /// left out. What the form does not know stays, for [`crate::bind`] to judge.
    ///
    /// # Errors
    /// As [`ConfigSchema::structured_output`]; also for what nests deeper than 32 levels or has more than 256 KiB.
    pub fn from_structured(&self, generated: &Value) -> Result<Value, SchemaFault> {
        if deeper_than(generated, MAX_CONFIGURATION_DEPTH) || generated.to_string().len() > MAX_GENERATED_BYTES {
            let description = format!(
                "what was generated nests deeper than {MAX_CONFIGURATION_DEPTH} levels or has more than {MAX_GENERATED_BYTES} bytes"
            );
            return Err(SchemaFault { pointer: String::new(), description });
        }
        let outline = Outline::of(self.as_value())?;
        Ok(without_absent(&outline, &BTreeSet::from([0]), generated))
    }
}

fn without_absent(outline: &Outline<'_>, places: &BTreeSet<PlaceId>, value: &Value) -> Value {
    let ways = places.iter().flat_map(|place| &outline.places[*place].ways);
    match value {
        Value::Object(entries) => {
            // By name: the places of the property, and whether it may be left out.
            let mut members: BTreeMap<&str, (BTreeSet<PlaceId>, bool)> = BTreeMap::new();
            for way in ways {
                let Way::Object(listed) = way else { continue };
                for Member { name, place, required } in listed {
                    let (places, optional) = members.entry(name).or_default();
                    places.insert(*place);
                    *optional |= !required;
                }
            }
            let unknown = (BTreeSet::new(), false);
            let kept = entries.iter().filter_map(|(name, value)| {
                let (places, optional) = members.get(name.as_str()).unwrap_or(&unknown);
                let absent = value.is_null() && *optional && !places.iter().any(|place| takes_null(outline, *place));
                (!absent).then(|| (name.clone(), without_absent(outline, places, value)))
            });
            Value::Object(kept.collect())
        }
        Value::Array(items) => {
            let mut places: BTreeSet<PlaceId> = BTreeSet::new();
            for way in ways {
                if let Way::List(List { first, rest, .. }) = way {
                    places.extend(first.iter().chain(rest));
                }
            }
            items.iter().map(|item| without_absent(outline, &places, item)).collect()
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value.clone(),
    }
}

fn takes_null(outline: &Outline<'_>, place: PlaceId) -> bool {
    outline.places[place].ways.iter().any(|way| match way {
        Way::Null => true,
        Way::Literals(values) => values.iter().any(|value| value.is_null()),
        Way::Boolean | Way::Number(_) | Way::Text(_) | Way::List(_) | Way::Object(_) => false,
    })
}

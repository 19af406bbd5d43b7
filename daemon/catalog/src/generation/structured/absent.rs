//! Takes the nulls that stand for properties left out of what was generated.

use serde_json::Value;

use crate::config_schema::{ConfigSchema, SchemaFault};
use crate::generation::outline::{List, Member, Outline, PlaceId, Way};

impl ConfigSchema {
    /// Takes out of what a model generated under [`ConfigSchema::structured_output`] the nulls that stand for properties
    /// left out. What the form does not know stays, for [`crate::bind`] to judge.
    ///
    /// # Errors
    /// As [`ConfigSchema::structured_output`].
    pub fn from_structured(&self, generated: &Value) -> Result<Value, SchemaFault> {
        let outline = Outline::of(self.as_value())?;
        Ok(without_absent(&outline, &[0], generated))
    }
}

fn without_absent(outline: &Outline<'_>, places: &[PlaceId], value: &Value) -> Value {
    let ways = places.iter().flat_map(|place| &outline.places[*place].ways);
    match value {
        Value::Object(entries) => {
            let members: Vec<&Member<'_>> = ways
                .filter_map(|way| if let Way::Object(members) = way { Some(members) } else { None })
                .flatten()
                .collect();
            let kept = entries.iter().filter_map(|(name, value)| {
                let named = members.iter().filter(|member| member.name == name);
                let mut places: Vec<PlaceId> = named.clone().map(|member| member.place).collect();
                places.dedup();
                let optional = named.clone().any(|member| !member.required);
                if value.is_null() && optional && !places.iter().any(|place| takes_null(outline, *place)) {
                    return None;
                }
                Some((name.clone(), without_absent(outline, &places, value)))
            });
            Value::Object(kept.collect())
        }
        Value::Array(items) => {
            let mut places: Vec<PlaceId> = Vec::new();
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

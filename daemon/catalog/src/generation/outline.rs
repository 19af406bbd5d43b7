//! A schema as a grammar sees it: for each place the ways in which a value may look.
//!
//! References are followed, `allOf` is put together, `anyOf` and `oneOf` become ways of their own. What cannot be said
//! of one value by itself (`not`, `if`, `uniqueItems`, …) is left out and named. Places are shared, so a definition that
//! refers to itself is a place that leads back to itself.

mod facts;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use serde_json::{Map, Value};

use super::Uncovered;
use crate::config_schema::{SchemaFault, escape, target};
use facts::{Fact, admits, greatest, least, list, literals, note, numbers, properties, texts, type_names};

/// Most places of an outline, and most ways of one place.
const MAX_PLACES: usize = 4_000;
const MAX_WAYS: usize = 64;
/// Most steps in telling a place's alternatives apart, and most properties of all objects together.
const MAX_STEPS: usize = 1_000;
const MAX_MEMBERS: usize = 20_000;

/// A place by its number in [`Outline::places`].
pub(super) type PlaceId = usize;

pub(super) struct Outline<'s> {
    /// The root first.
    pub(super) places: Vec<Place<'s>>,
    /// Whether a finite value exists for the place.
    pub(super) possible: Vec<bool>,
}

/// Where a value may stand.
#[derive(Default)]
pub(super) struct Place<'s> {
    /// JSON pointer of the first subschema that judges the value.
    pub(super) pointer: String,
    pub(super) description: Option<&'s str>,
    pub(super) default: Option<&'s Value>,
    /// In which a value may look; none means that no value is accepted.
    pub(super) ways: Vec<Way<'s>>,
    /// Keywords that the ways do not hold, with what they say.
    pub(super) unsaid: BTreeMap<Uncovered, &'s Value>,
}

pub(super) enum Way<'s> {
    /// One of these values.
    Literals(Vec<&'s Value>),
    Null,
    Boolean,
    Number(Numbers),
    Text(Texts<'s>),
    List(List),
    Object(Vec<Member<'s>>),
}

/// Bounds as written, with the subschemas that state them; none of them is NaN.
pub(super) struct Numbers {
    pub(super) integer: bool,
    pub(super) least: Option<(String, f64)>,
    pub(super) greatest: Option<(String, f64)>,
    /// Whether the bounds themselves are left out.
    pub(super) above_least: bool,
    pub(super) below_greatest: bool,
}

pub(super) struct Texts<'s> {
    pub(super) patterns: Vec<(String, &'s str)>,
    pub(super) format: Option<&'s str>,
    /// Bounds in characters, with the subschemas that state them.
    pub(super) shortest: Option<(String, u64)>,
    pub(super) longest: Option<(String, u64)>,
    /// The subschema that says so, where a reference to a secret is wanted.
    pub(super) secret: Option<String>,
}

pub(super) struct List {
    /// The first items, each by itself.
    pub(super) first: Vec<PlaceId>,
    /// All items after them; `None` when there are none.
    pub(super) rest: Option<PlaceId>,
    pub(super) fewest: Option<(String, u64)>,
    pub(super) most: Option<(String, u64)>,
}

pub(super) struct Member<'s> {
    pub(super) name: &'s str,
    pub(super) place: PlaceId,
    /// Whether it must be written: it is required, and no default stands in for it.
    pub(super) required: bool,
}

impl<'s> Outline<'s> {
    /// # Errors
    /// A schema with too many places or ways.
    pub(super) fn of(schema: &'s Value) -> Result<Self, SchemaFault> {
        let mut reader = Reader {
            root: schema,
            places: Vec::new(),
            known: HashMap::new(),
            waiting: Vec::new(),
            steps_left: 0,
            members: 0,
        };
        reader.place(vec![String::new()], true);
        while let Some((place, pointers, filled)) = reader.waiting.pop() {
            if reader.places.len() > MAX_PLACES {
                return Err(fault(&pointers, format!("describes more than {MAX_PLACES} places; simplify it")));
            }
            reader.places[place] = reader.read(&pointers, filled)?;
        }
        let possible = possible(&reader.places);
        Ok(Self { places: reader.places, possible })
    }

    /// Whether a way can be gone to its end.
    pub(super) fn is_possible(&self, way: &Way<'_>) -> bool {
        way_is_possible(way, &self.possible)
    }
}

/// Which places have finite values: the least set that holds all whose needs are in it.
fn possible(places: &[Place<'_>]) -> Vec<bool> {
    let mut possible = vec![false; places.len()];
    loop {
        let mut changed = false;
        // Later places mostly lie within earlier ones.
        for (i, place) in places.iter().enumerate().rev() {
            if !possible[i] && place.ways.iter().any(|way| way_is_possible(way, &possible)) {
                (possible[i], changed) = (true, true);
            }
        }
        if !changed {
            return possible;
        }
    }
}

fn way_is_possible(way: &Way<'_>, possible: &[bool]) -> bool {
    match way {
        Way::Literals(values) => !values.is_empty(),
        Way::Null | Way::Boolean | Way::Number(_) | Way::Text(_) => true,
        Way::List(List { first, rest, fewest, most }) => {
            let fewest = fewest.as_ref().map_or(0, |(_, fewest)| *fewest);
            let room = most.as_ref().is_none_or(|(_, most)| *most >= fewest);
            let open = first.iter().take_while(|place| possible[**place]).count();
            let endless = open == first.len() && rest.is_some_and(|rest| possible[rest]);
            room && (endless || open as u64 >= fewest)
        }
        Way::Object(members) => members.iter().all(|member| !member.required || possible[member.place]),
    }
}

struct Reader<'s> {
    root: &'s Value,
    places: Vec<Place<'s>>,
    known: HashMap<(Vec<String>, bool), PlaceId>,
    waiting: Vec<(PlaceId, Vec<String>, bool)>,
    /// Combinations of alternatives that may still be looked at for the place at hand, and properties found so far.
    steps_left: usize,
    members: usize,
}

impl<'s> Reader<'s> {
    /// The place that all of these subschemas judge; `filled` when defaults are filled in there.
    fn place(&mut self, mut pointers: Vec<String>, filled: bool) -> PlaceId {
        pointers.dedup();
        let key = (pointers, filled);
        if let Some(&known) = self.known.get(&key) {
            return known;
        }
        let place = self.places.len();
        self.places.push(Place::default());
        self.waiting.push((place, key.0.clone(), filled));
        self.known.insert(key, place);
        place
    }

    fn read(&mut self, pointers: &[String], filled: bool) -> Result<Place<'s>, SchemaFault> {
        let mut place = Place { pointer: pointers.first().cloned().unwrap_or_default(), ..Place::default() };
        let mut facts = Vec::new();
        let mut possible = true;
        for pointer in pointers {
            possible &= self.gather(pointer, true, &mut facts);
        }
        for Fact { pointer, keywords, .. } in &facts {
            place.description = place.description.or_else(|| keywords.get("description").and_then(Value::as_str));
            place.default = place.default.or_else(|| keywords.get("default"));
            note(pointer, keywords, &mut place.unsaid);
        }
        self.steps_left = MAX_STEPS;
        if possible {
            self.ways(&facts, &BTreeSet::new(), filled, &mut place)?;
        }
        // Binding takes no other text where one of the alternatives wants a reference to a secret.
        let secret = |way: &Way<'_>| matches!(way, Way::Text(texts) if texts.secret.is_some());
        if place.ways.iter().any(secret) {
            place.ways.retain(|way| secret(way) || !matches!(way, Way::Text(_)));
        }
        Ok(place)
    }

    /// Collects a subschema and what it stands for; false when nothing holds it.
    fn gather(&self, pointer: &str, certain: bool, facts: &mut Vec<Fact<'s>>) -> bool {
        let Some(schema) = self.root.pointer(pointer) else { return false };
        let Value::Object(keywords) = schema else { return schema != &Value::Bool(false) };
        if facts.iter().any(|fact| fact.pointer == pointer) {
            return true;
        }
        facts.push(Fact { pointer: pointer.to_owned(), keywords, certain });
        let mut possible = true;
        if let Some((to, _)) = target(self.root, keywords) {
            possible &= self.gather(to, certain, facts);
        }
        for i in 0..list(keywords, "allOf").len() {
            possible &= self.gather(&format!("{pointer}/allOf/{i}"), certain, facts);
        }
        possible
    }

    /// Splits alternatives until none is left, then reads each way.
    fn ways(
        &mut self,
        facts: &[Fact<'s>],
        decided: &BTreeSet<String>,
        filled: bool,
        place: &mut Place<'s>,
    ) -> Result<(), SchemaFault> {
        self.steps_left = self.steps_left.checked_sub(1).ok_or_else(|| SchemaFault {
            pointer: place.pointer.clone(),
            description: "combines too many alternatives; simplify it".to_owned(),
        })?;
        let undecided = facts.iter().find_map(|fact| {
            ["anyOf", "oneOf"].into_iter().find_map(|keyword| {
                let pointer = format!("{}/{keyword}", fact.pointer);
                let members = list(fact.keywords, keyword).len();
                (members > 0 && !decided.contains(&pointer)).then_some((
                    pointer,
                    keyword,
                    members,
                    fact.pointer.clone(),
                ))
            })
        });
        let Some((pointer, keyword, members, holder)) = undecided else {
            self.leaf(facts, filled, place);
            if place.ways.len() > MAX_WAYS || self.members > MAX_MEMBERS {
                return Err(SchemaFault {
                    pointer: place.pointer.clone(),
                    description: format!(
                        "has more than {MAX_WAYS} alternatives or {MAX_MEMBERS} properties; simplify it"
                    ),
                });
            }
            return Ok(());
        };
        if keyword == "oneOf"
            && members > 1
            && let Some(stated) = self.root.pointer(&pointer)
        {
            place.unsaid.insert(Uncovered { pointer: holder, keyword: keyword.to_owned() }, stated);
        }
        let mut decided = decided.clone();
        decided.insert(pointer.clone());
        for i in 0..members {
            let mut facts = facts.to_vec();
            let known = facts.len();
            if self.gather(&format!("{pointer}/{i}"), false, &mut facts) {
                for Fact { pointer, keywords, .. } in &facts[known..] {
                    note(pointer, keywords, &mut place.unsaid);
                }
                self.ways(&facts, &decided, filled, place)?;
            }
        }
        Ok(())
    }

    /// Reads facts that all hold, without alternatives among them.
    fn leaf(&mut self, facts: &[Fact<'s>], filled: bool, place: &mut Place<'s>) {
        let admits = |kind: &str| facts.iter().all(|fact| admits(fact.keywords, kind));
        if let Some(values) = literals(facts) {
            let values = values.into_iter().filter(|value| type_names(value).iter().any(|kind| admits(kind)));
            place.ways.push(Way::Literals(values.collect()));
            return;
        }
        if admits("null") {
            place.ways.push(Way::Null);
        }
        if admits("boolean") {
            place.ways.push(Way::Boolean);
        }
        if admits("number") {
            place.ways.push(Way::Number(numbers(facts, false)));
        } else if admits("integer") {
            place.ways.push(Way::Number(numbers(facts, true)));
        }
        if admits("string") {
            place.ways.push(Way::Text(texts(facts)));
        }
        if admits("array") {
            let list = self.list(facts, filled);
            place.ways.push(Way::List(list));
        }
        if admits("object") {
            place.ways.extend(self.members(facts, filled).map(Way::Object));
        }
    }

    fn list(&mut self, facts: &[Fact<'s>], filled: bool) -> List {
        let stated = facts.iter().filter(|fact| admits(fact.keywords, "array"));
        let longest = stated.map(|fact| list(fact.keywords, "prefixItems").len()).max().unwrap_or_default();
        let after = |fact: &Fact<'s>, position: usize| {
            let keyword = if list(fact.keywords, "prefixItems").len() > position {
                return Some(format!("{}/prefixItems/{position}", fact.pointer));
            } else if fact.keywords.contains_key("items") {
                "items"
            } else if fact.keywords.contains_key("unevaluatedItems") {
                "unevaluatedItems"
            } else {
                return None;
            };
            Some(format!("{}/{keyword}", fact.pointer))
        };
        let judged = |position: usize| facts.iter().filter_map(|fact| after(fact, position)).collect::<Vec<_>>();
        // Defaults are filled in within `items` that one subschema describes, no alternative, and within no other list.
        let first = (0..longest).map(|position| self.place(judged(position), false)).collect();
        let rest = judged(longest);
        let certain = facts.iter().any(|fact| fact.certain && fact.keywords.contains_key("items"));
        let filled = filled && certain && longest == 0 && rest.len() == 1 && rest[0].ends_with("/items");
        let rest = (!rest.is_empty()).then(|| self.place(rest, filled));
        List { first, rest, fewest: greatest(facts, "minItems"), most: least(facts, "maxItems") }
    }

    /// The properties in the order of the schema; `None` when a required one cannot be there.
    fn members(&mut self, facts: &[Fact<'s>], filled: bool) -> Option<Vec<Member<'s>>> {
        let mut known = HashSet::new();
        let stated = facts.iter().filter_map(|fact| properties(fact.keywords)).flat_map(Map::keys);
        let names: Vec<&'s str> = stated.map(String::as_str).filter(|name| known.insert(*name)).collect();
        self.members += names.len();
        if self.members > MAX_MEMBERS {
            return None;
        }
        let required: HashSet<&'s str> =
            facts.iter().flat_map(|fact| list(fact.keywords, "required")).filter_map(Value::as_str).collect();
        let states_object =
            facts.iter().any(|fact| fact.certain && fact.keywords.get("type") == Some(&"object".into()));
        let mut members = Vec::new();
        for name in names {
            let mut judging = Vec::new();
            let mut closed = false;
            // Where the filling looks for a default.
            let mut first = None;
            for fact in facts {
                let listed = properties(fact.keywords).is_some_and(|properties| properties.contains_key(name));
                if listed {
                    let pointer = format!("{}/properties/{}", fact.pointer, escape(name));
                    first = first.or_else(|| fact.certain.then(|| pointer.clone()));
                    judging.push(pointer);
                } else if let Some(rest) = fact.keywords.get("additionalProperties")
                    && !fact.keywords.contains_key("patternProperties")
                {
                    closed |= rest == &Value::Bool(false);
                    judging.push(format!("{}/additionalProperties", fact.pointer));
                }
            }
            if closed {
                if required.contains(name) {
                    return None;
                }
                continue;
            }
            let reached = first.filter(|_| filled && states_object);
            let stands_in = reached.as_ref().is_some_and(|first| self.has_default(first));
            let required = required.contains(name) && !stands_in;
            members.push(Member { name, place: self.place(judging, reached.is_some()), required });
        }
        (required.iter().all(|name| known.contains(name))).then_some(members)
    }

    /// Whether the filling finds a value for a property that nobody set.
    fn has_default(&self, pointer: &str) -> bool {
        let mut facts = Vec::new();
        self.gather(pointer, true, &mut facts);
        facts.iter().any(|fact| fact.keywords.contains_key("default") || fact.keywords.contains_key("const"))
    }
}

fn fault(pointers: &[String], description: String) -> SchemaFault {
    SchemaFault { pointer: pointers.first().cloned().unwrap_or_default(), description }
}

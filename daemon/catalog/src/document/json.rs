//! JSON with places. `serde_json` reads the values and refuses what is not JSON; a second, much simpler pass over the
//! then known-good text finds where each token starts.

use serde::de::{Deserialize, Deserializer};

use super::{Key, Node, Place, Tree, TreeVisitor, syntax};
use crate::CatalogError;

pub(super) fn read(file: &str, text: &str) -> Result<Node, CatalogError> {
    let mut node = serde_json::from_str::<PlainNode>(text)
        .map_err(|error| {
            let message = error.to_string();
            if message.starts_with("recursion limit exceeded") {
                let place = Place { line: error.line(), column: error.column() };
                return super::too_deep(file, Some(place));
            }
            // The place is carried apart from the message.
            let description =
                message.rsplit_once(" at line ").map_or(message.as_str(), |(before, _)| before).to_owned();
            syntax(file, Some(Place { line: error.line(), column: error.column() }), description)
        })?
        .0;
    set_places(&mut node, &mut token_places(text).into_iter());
    Ok(node)
}

struct PlainNode(Node);
struct PlainKey(Key);

impl<'de> Deserialize<'de> for PlainNode {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let tree = deserializer.deserialize_any(TreeVisitor::<PlainKey, PlainNode>::new())?;
        Ok(Self(Node { place: None, tree }))
    }
}

impl<'de> Deserialize<'de> for PlainKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(|text| Self(Key { text, place: None }))
    }
}

impl From<PlainNode> for Node {
    fn from(node: PlainNode) -> Self {
        node.0
    }
}

impl From<PlainKey> for Key {
    fn from(key: PlainKey) -> Self {
        key.0
    }
}

/// Where each key and each value starts, in the order of the text. `text` is valid JSON.
fn token_places(text: &str) -> Vec<Place> {
    let mut places = Vec::new();
    let (mut line, mut column) = (1, 0);
    let (mut in_string, mut escaped, mut in_word) = (false, false, false);
    for c in text.chars() {
        if c == '\n' {
            (line, column, in_word) = (line + 1, 0, false);
            continue;
        }
        column += 1;
        if in_string {
            (in_string, escaped) = (c != '"' || escaped, c == '\\' && !escaped);
            continue;
        }
        match c {
            '"' | '{' | '[' => {
                places.push(Place { line, column });
                in_string = c == '"';
                in_word = false;
            }
            ' ' | '\t' | '\r' | ',' | ':' | '}' | ']' => in_word = false,
            // A number, true, false or null: one token up to the next delimiter.
            _ => {
                if !in_word {
                    places.push(Place { line, column });
                }
                in_word = true;
            }
        }
    }
    places
}

fn set_places(node: &mut Node, places: &mut impl Iterator<Item = Place>) {
    node.place = places.next();
    match &mut node.tree {
        Tree::Sequence(items) => items.iter_mut().for_each(|item| set_places(item, places)),
        Tree::Mapping(entries) => {
            for (key, value) in entries {
                key.place = places.next();
                set_places(value, places);
            }
        }
        Tree::Null | Tree::Bool(_) | Tree::Number(_) | Tree::Text(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    #[test]
    fn each_token_has_its_place() {
        let text = "{\n  \"a\\\"}\": [1, -2.5e3,\n true],\"b\":{}\n}";
        let node = read("t.json", text).expect("valid");
        let Tree::Mapping(entries) = &node.tree else { panic!("a mapping") };
        let at = |place: Option<Place>| place.map(|place| (place.line, place.column));
        assert_eq!(at(node.place), Some((1, 1)));
        assert_eq!(at(entries[0].0.place), Some((2, 3)));
        assert_eq!(at(entries[0].1.place), Some((2, 11)));
        let Tree::Sequence(items) = &entries[0].1.tree else { panic!("a sequence") };
        assert_eq!(
            items.iter().map(|item| at(item.place)).collect::<Vec<_>>(),
            [Some((2, 12)), Some((2, 15)), Some((3, 2))]
        );
        assert_eq!(at(entries[1].0.place), Some((3, 8)));
        assert_eq!(at(entries[1].1.place), Some((3, 12)));
    }

    fn json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            (-1e300..1e300_f64).prop_map(Value::from),
            "\\PC{0,8}[\"\\\\,:{}\\[\\] \n]{0,4}".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 40, 5, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
                proptest::collection::btree_map("\\PC{0,4}[\"\\\\ ]{0,2}", inner, 0..5)
                    .prop_map(|entries| entries.into_iter().collect::<serde_json::Map<_, _>>().into()),
            ]
        })
    }

    /// Every key and every value gets a place, and there the text reads on as it should.
    fn check_places(node: &Node, lines: &[Vec<char>]) {
        let at = |place: Option<Place>| place.map(|place| lines[place.line - 1][place.column - 1]);
        let first = at(node.place).expect("a place");
        match &node.tree {
            Tree::Null => assert_eq!(first, 'n'),
            Tree::Bool(value) => assert_eq!(first, if *value { 't' } else { 'f' }),
            Tree::Number(_) => assert!(first == '-' || first.is_ascii_digit()),
            Tree::Text(_) => assert_eq!(first, '"'),
            Tree::Sequence(items) => {
                assert_eq!(first, '[');
                for item in items {
                    check_places(item, lines);
                }
            }
            Tree::Mapping(entries) => {
                assert_eq!(first, '{');
                for (key, value) in entries {
                    assert_eq!(at(key.place), Some('"'));
                    check_places(value, lines);
                }
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(128) })]

        #[test]
        fn places_point_at_what_was_read(value in json(), pretty in any::<bool>()) {
            let text = if pretty { serde_json::to_string_pretty(&value) } else { serde_json::to_string(&value) }.expect("text");
            let lines: Vec<Vec<char>> = text.split('\n').map(|line| line.chars().collect()).collect();
            check_places(&read("any.json", &text).expect("valid"), &lines);
        }
    }
}

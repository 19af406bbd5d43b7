//! The grammar of a schema's configurations in GBNF, the notation of llama.cpp.
//!
//! The texts of the grammar are JSON on one line: properties in one order (those that must be written, then the others,
//! both as in the schema), at most one space after each comma and colon, numbers without exponents, characters without
//! `\u` escapes. Nothing that the schema closes off can be written.

mod pattern;
mod range;
mod text;

use std::collections::{HashMap, HashSet};
use std::fmt::Write as _;

use super::Uncovered;
use super::outline::{List, Member, Outline, PlaceId, Texts, Way};
use crate::config_schema::{ConfigSchema, SchemaFault};
use text::{in_string, terminal};

/// Most repetitions written out; llama.cpp refuses more than 2,000.
const MAX_REPETITIONS: u64 = 1_000;
/// Most rules, and largest grammar in bytes.
const MAX_RULES: usize = 8_000;
const MAX_BYTES: usize = 1024 * 1024;
/// Longest name of a rule before it is numbered.
const MAX_NAME: usize = 40;

/// The pattern of references to secrets, in most schemas: then the grammar writes the form that binding takes.
const SECRET_PATTERN: &str = "^secret://";

/// A schema as a grammar.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grammar {
    /// The rules, `root` first, one a line.
    pub text: String,
    /// What the grammar does not hold, ordered; [`crate::bind`] judges it.
    pub uncovered: Vec<Uncovered>,
}

impl ConfigSchema {
    /// The schema as a GBNF grammar. A property that has a default may be left out.
    ///
    /// # Errors
    /// A schema without any finite configuration, or one that needs more than 8,000 rules or 1 MiB.
    pub fn grammar(&self) -> Result<Grammar, SchemaFault> {
        let outline = Outline::of(self.as_value())?;
        if !outline.possible[0] {
            let description = "has no finite configuration".to_owned();
            return Err(SchemaFault { pointer: String::new(), description });
        }
        let mut writer = Writer {
            outline: &outline,
            rules: Vec::new(),
            names: HashMap::new(),
            taken: HashSet::new(),
            waiting: Vec::new(),
            uncovered: Vec::new(),
        };
        writer.name(0, "root");
        // The last named is written first; the rules are put in order of their numbers below.
        while let Some(place) = writer.waiting.pop() {
            writer.write(place);
            let bytes: usize = writer.rules.iter().map(|(_, rule)| rule.len()).sum();
            if writer.rules.len() > MAX_RULES || bytes > MAX_BYTES {
                let description =
                    format!("needs a grammar of more than {MAX_RULES} rules or {MAX_BYTES} bytes; simplify it");
                return Err(SchemaFault { pointer: String::new(), description });
            }
        }
        let mut text = String::new();
        for (name, rule) in &writer.rules {
            // Writing to a String cannot fail.
            let _ = writeln!(text, "{name} ::= {rule}");
        }
        for (name, rule) in [("ws", "\" \"?"), ("char", text::CHAR), ("ref", "[0-9A-Za-z._~/#\\x2D]")] {
            let _ = writeln!(text, "{name} ::= {rule}");
        }
        writer.uncovered.sort();
        writer.uncovered.dedup();
        Ok(Grammar { text, uncovered: writer.uncovered })
    }
}

struct Writer<'o, 's> {
    outline: &'o Outline<'s>,
    /// Rules by name, in the order of writing.
    rules: Vec<(String, String)>,
    /// Rules of places that have one.
    names: HashMap<PlaceId, String>,
    taken: HashSet<String>,
    /// Named places that are not written yet.
    waiting: Vec<PlaceId>,
    uncovered: Vec<Uncovered>,
}

impl<'s> Writer<'_, 's> {
    /// The name of a place's rule; the place is written later when it had none.
    fn name(&mut self, place: PlaceId, wanted: &str) -> String {
        if let Some(name) = self.names.get(&place) {
            return name.clone();
        }
        let name = self.free(wanted);
        self.names.insert(place, name.clone());
        self.waiting.push(place);
        name
    }

    /// A name that no rule has: letters, digits and hyphens of the wanted one, numbered where needed.
    fn free(&mut self, wanted: &str) -> String {
        let plain: String = wanted.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
        let mut base: String = plain.trim_matches('-').chars().take(MAX_NAME).collect();
        if base.is_empty() || ["ws", "char", "ref"].contains(&base.as_str()) {
            base.push_str("-value");
        }
        let mut name = base.trim_matches('-').to_owned();
        let mut number = 2;
        while !self.taken.insert(name.clone()) {
            name = format!("{base}-{number}");
            number += 1;
        }
        name
    }

    fn write(&mut self, id: PlaceId) {
        let name = self.names.get(&id).cloned().unwrap_or_default();
        let slot = self.rules.len();
        self.rules.push((name.clone(), String::new()));
        let outline = self.outline;
        let place = &outline.places[id];
        self.uncovered.extend(place.unsaid.keys().cloned());
        let ways: Vec<String> =
            place.ways.iter().filter(|way| outline.is_possible(way)).map(|way| self.way(way, &name)).collect();
        self.rules[slot].1 = ways.join(" | ");
    }

    /// What a property or an item looks like: the name of its rule.
    fn value(&mut self, place: PlaceId, parent: &str, name: &str) -> String {
        let wanted = if parent == "root" { name.to_owned() } else { format!("{parent}-{name}") };
        self.name(place, &wanted)
    }

    fn way(&mut self, way: &Way<'s>, name: &str) -> String {
        match way {
            Way::Literals(values) => {
                values.iter().map(|value| terminal(&value.to_string())).collect::<Vec<_>>().join(" | ")
            }
            Way::Null => "\"null\"".to_owned(),
            Way::Boolean => "\"true\" | \"false\"".to_owned(),
            Way::Number(numbers) => {
                let (expression, holds) = range::expression(numbers);
                let from = if numbers.above_least { "exclusiveMinimum" } else { "minimum" };
                let to = if numbers.below_greatest { "exclusiveMaximum" } else { "maximum" };
                for (bound, keyword) in [(&numbers.least, from), (&numbers.greatest, to)] {
                    if let (false, Some((pointer, _))) = (holds, bound) {
                        self.leave(pointer, keyword);
                    }
                }
                expression
            }
            Way::Text(texts) => sequence(&["\"\\\"\"", &self.text(texts), "\"\\\"\""]),
            Way::List(list) => self.list(list, name),
            Way::Object(members) => self.object(members, name),
        }
    }

    /// The inside of a string.
    fn text(&mut self, texts: &Texts<'s>) -> String {
        let Texts { patterns, format: _, shortest, longest, secret } = texts;
        let (fewest, most) = (shortest.as_ref().map_or(0, |(_, n)| *n), longest.as_ref().map(|(_, n)| *n));
        let reference = patterns.first().is_some_and(|(_, pattern)| *pattern == SECRET_PATTERN);
        if secret.is_some() && reference && shortest.is_none() && longest.is_none() {
            self.leave_patterns(&patterns[1..]);
            return "\"secret://\" ref{1,200}".to_owned();
        }
        if let Some(pointer) = secret {
            self.leave(pointer, "x-secret");
        }
        let mut holds = (true, true);
        let mut expression = None;
        if let Some((pointer, pattern)) = patterns.first() {
            match pattern::translate(pattern, fewest, most) {
                Some(translated) => {
                    holds = (translated.holds_shortest, translated.holds_longest);
                    expression = Some(translated.expression);
                }
                None => self.leave(pointer, "pattern"),
            }
            self.leave_patterns(&patterns[1..]);
        }
        let expression = expression.unwrap_or_else(|| {
            let (expression, kept) = repeated("char", fewest, most);
            holds = kept;
            expression
        });
        if let (false, Some((pointer, _))) = (holds.0, shortest) {
            self.leave(pointer, "minLength");
        }
        if let (false, Some((pointer, _))) = (holds.1, longest) {
            self.leave(pointer, "maxLength");
        }
        expression
    }

    fn list(&mut self, list: &List, name: &str) -> String {
        let List { first, rest, fewest, most } = list;
        let outline = self.outline;
        let possible = &outline.possible;
        let open = first.iter().take_while(|place| possible[**place]).count();
        let rest = rest.filter(|rest| open == first.len() && possible[*rest]);
        let (at_least, at_most) = (fewest.as_ref().map_or(0, |(_, n)| *n), most.as_ref().map(|(_, n)| *n));
        let room = at_most.map_or(open, |most| usize::try_from(most).unwrap_or(usize::MAX).min(open));
        let first: Vec<String> = first[..room].iter().map(|id| self.value(*id, name, "item")).collect();
        let rest = rest.map(|rest| self.value(rest, name, "item"));

        // Built from the end: each position holds its item and, in brackets when they may be missing, the later ones.
        let count = first.len() as u64;
        let mut tail = String::new();
        if let Some(item) = &rest
            && at_most.is_none_or(|most| most > count)
        {
            let (fewest_rest, most_rest) = (at_least.saturating_sub(count), at_most.map(|most| most - count));
            let kept;
            (tail, kept) = if count == 0 {
                let (more, kept) = repeated(
                    &format!("(\",\" ws {item})"),
                    fewest_rest.saturating_sub(1),
                    most_rest.map(|most| most - 1),
                );
                let items = sequence(&[item, &more]);
                (if fewest_rest == 0 { format!("({items})?") } else { items }, kept)
            } else {
                repeated(&format!("(\",\" ws {item})"), fewest_rest, most_rest)
            };
            for (kept, bound, keyword) in [(kept.0, fewest, "minItems"), (kept.1, most, "maxItems")] {
                if let (false, Some((pointer, _))) = (kept, bound) {
                    self.leave(pointer, keyword);
                }
            }
        }
        for (i, item) in first.iter().enumerate().rev() {
            let comma = if i == 0 { "" } else { "\",\" ws" };
            let with_tail = sequence(&[comma, item, &tail]);
            tail = if (i as u64) < at_least { with_tail } else { format!("({with_tail})?") };
        }
        sequence(&["\"[\"", &tail, "\"]\""])
    }

    fn object(&mut self, members: &[Member<'s>], name: &str) -> String {
        let outline = self.outline;
        let mut required = Vec::new();
        let mut optional = Vec::new();
        for member in members.iter().filter(|member| outline.possible[member.place]) {
            let value = self.value(member.place, name, member.name);
            let key = terminal(&format!("\"{}\":", in_string(member.name)));
            let pair = format!("{key} ws {value}");
            if member.required { required.push(pair) } else { optional.push(pair) }
        }
        let start = required.join(" \",\" ws ");
        if optional.is_empty() {
            return sequence(&["\"{\"", &start, "\"}\""]);
        }
        if !required.is_empty() {
            let rest: Vec<String> = optional.iter().map(|pair| format!("(\",\" ws {pair})?")).collect();
            return format!("\"{{\" {start} {} \"}}\"", rest.join(" "));
        }
        // Whichever comes first has no comma before it; what may follow it is a rule of its own.
        let mut ways = Vec::new();
        let mut after = String::new();
        for (i, pair) in optional.iter().enumerate().rev() {
            ways.push(sequence(&[pair, &after]));
            if i > 0 {
                let rule = sequence(&[&format!("(\",\" ws {pair})?"), &after]);
                after = self.free(&format!("{name}-after-{i}"));
                self.rules.push((after.clone(), rule));
            }
        }
        ways.reverse();
        format!("\"{{\" ({})? \"}}\"", ways.join(" | "))
    }

    fn leave_patterns(&mut self, patterns: &[(String, &str)]) {
        for (pointer, _) in patterns {
            self.leave(pointer, "pattern");
        }
    }

    fn leave(&mut self, pointer: &str, keyword: &str) {
        self.uncovered.push(Uncovered { pointer: pointer.to_owned(), keyword: keyword.to_owned() });
    }
}

/// Symbols one after the other; empty ones are left out.
fn sequence(parts: &[&str]) -> String {
    let parts: Vec<&str> = parts.iter().filter(|part| !part.is_empty()).copied().collect();
    parts.join(" ")
}

/// A symbol between two counts, and whether the lower and the upper are kept.
fn repeated(symbol: &str, fewest: u64, most: Option<u64>) -> (String, (bool, bool)) {
    let from = fewest.min(MAX_REPETITIONS);
    let kept = (from == fewest, most.is_none_or(|most| most <= MAX_REPETITIONS && most >= from));
    let expression = match most.filter(|_| kept.1) {
        Some(0) => String::new(),
        Some(most) => format!("{symbol}{{{from},{most}}}"),
        None if from == 0 => format!("{symbol}*"),
        None => format!("{symbol}{{{from},}}"),
    };
    (expression, kept)
}

//! A small reader of GBNF: it refuses what llama.cpp refuses, says whether a grammar holds a text, and writes texts of a
//! grammar by chance.

use std::collections::{BTreeMap, BTreeSet};

/// Largest count of a repetition in llama.cpp.
const MAX_REPETITION: usize = 2_000;

pub(crate) struct Gbnf {
    rules: BTreeMap<String, Vec<Vec<Item>>>,
}

/// A symbol and how often it stands.
struct Item {
    symbol: Symbol,
    min: usize,
    max: Option<usize>,
}

enum Symbol {
    Text(Vec<char>),
    Class { ranges: Vec<(char, char)>, negated: bool },
    Rule(String),
    Group(Vec<Vec<Item>>),
}

impl Gbnf {
    /// Reads a grammar of one rule a line.
    pub(crate) fn read(text: &str) -> Self {
        let mut rules = BTreeMap::new();
        for line in text.lines() {
            let (name, rule) = line.split_once(" ::= ").unwrap_or_else(|| panic!("no rule: {line}"));
            assert!(!name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-'), "{name}");
            let mut parser = Parser { left: rule.chars().collect(), at: 0, line };
            let alternatives = parser.alternatives();
            assert_eq!(parser.at, parser.left.len(), "read to the end: {line}");
            assert!(rules.insert(name.to_owned(), alternatives).is_none(), "`{name}` is there twice");
        }
        let grammar = Self { rules };
        assert!(grammar.rules.contains_key("root"));
        for alternatives in grammar.rules.values() {
            grammar.check(alternatives);
        }
        grammar
    }

    /// Rules that are referred to exist, and nothing that may be empty is repeated without end.
    fn check(&self, alternatives: &[Vec<Item>]) {
        for item in alternatives.iter().flatten() {
            match &item.symbol {
                Symbol::Rule(name) => assert!(self.rules.contains_key(name), "no rule `{name}`"),
                Symbol::Group(inner) => self.check(inner),
                Symbol::Text(_) | Symbol::Class { .. } => {}
            }
            assert!(item.max.is_some() || !self.ends(&item.symbol, &[], 0).contains(&0), "an empty symbol is repeated");
        }
    }

    pub(crate) fn holds(&self, text: &str) -> bool {
        let text: Vec<char> = text.chars().collect();
        self.any_of(&self.rules["root"], &text, 0).contains(&text.len())
    }

    /// Where the texts of a symbol end that start at a place.
    fn ends(&self, symbol: &Symbol, text: &[char], at: usize) -> BTreeSet<usize> {
        match symbol {
            Symbol::Text(wanted) if text[at..].starts_with(wanted) => BTreeSet::from([at + wanted.len()]),
            Symbol::Text(_) => BTreeSet::new(),
            Symbol::Class { ranges, negated } => match text.get(at) {
                Some(c) if ranges.iter().any(|(low, high)| (low..=high).contains(&c)) != *negated => {
                    BTreeSet::from([at + 1])
                }
                _ => BTreeSet::new(),
            },
            Symbol::Rule(name) => self.any_of(&self.rules[name], text, at),
            Symbol::Group(alternatives) => self.any_of(alternatives, text, at),
        }
    }

    fn any_of(&self, alternatives: &[Vec<Item>], text: &[char], at: usize) -> BTreeSet<usize> {
        let mut ends = BTreeSet::new();
        for items in alternatives {
            let mut places = BTreeSet::from([at]);
            for item in items {
                places = self.repeated(item, text, &places);
                if places.is_empty() {
                    break;
                }
            }
            ends.extend(places);
        }
        ends
    }

    fn repeated(&self, item: &Item, text: &[char], from: &BTreeSet<usize>) -> BTreeSet<usize> {
        let mut found = if item.min == 0 { from.clone() } else { BTreeSet::new() };
        let mut places = from.clone();
        for count in 1..=item.max.unwrap_or(text.len() + 1) {
            places = places.iter().flat_map(|at| self.ends(&item.symbol, text, *at)).collect();
            if count >= item.min {
                // What was reached before leads nowhere new.
                places.retain(|at| item.min > 1 || !found.contains(at));
                found.extend(&places);
            }
            if places.is_empty() {
                break;
            }
        }
        found
    }

    /// A text of the grammar. `next` gives numbers by chance; the deeper, the shorter it gets.
    pub(crate) fn sample(&self, next: &mut dyn FnMut() -> usize) -> String {
        let mut text = String::new();
        self.write(&self.rules["root"], next, 0, &mut text);
        text
    }

    fn write(&self, alternatives: &[Vec<Item>], next: &mut dyn FnMut() -> usize, depth: usize, text: &mut String) {
        for item in &alternatives[next() % alternatives.len()] {
            let room = if depth > 12 { 0 } else { 4 };
            let most = item.max.map_or(item.min + room, |max| max.min(item.min + room));
            let count = item.min + next() % (most - item.min + 1);
            for _ in 0..count {
                match &item.symbol {
                    Symbol::Text(wanted) => text.extend(wanted),
                    Symbol::Class { ranges, negated } => text.push(chosen(ranges, *negated, next)),
                    Symbol::Rule(name) => self.write(&self.rules[name], next, depth + 1, text),
                    Symbol::Group(inner) => self.write(inner, next, depth + 1, text),
                }
            }
        }
    }
}

/// A character of a class, by chance.
fn chosen(ranges: &[(char, char)], negated: bool, next: &mut dyn FnMut() -> usize) -> char {
    let inside = |c: char| ranges.iter().any(|(low, high)| (*low..=*high).contains(&c)) != negated;
    if negated {
        let candidates = ['a', 'Z', '0', ' ', '/', '-', ':', 'ä', '\u{1f600}', '\u{2028}', '\u{7f}', '.'];
        let start = next();
        return (0..candidates.len())
            .map(|i| candidates[(start + i) % candidates.len()])
            .find(|c| inside(*c))
            .expect("a candidate outside the class");
    }
    let (low, high) = ranges[next() % ranges.len()];
    let width = u32::from(high) - u32::from(low) + 1;
    let picked = u32::from(low) + u32::try_from(next() % 1_000_000).expect("small") % width;
    char::from_u32(picked).unwrap_or(low)
}

struct Parser<'l> {
    left: Vec<char>,
    at: usize,
    line: &'l str,
}

impl Parser<'_> {
    fn peek(&self) -> Option<char> {
        self.left.get(self.at).copied()
    }

    fn take(&mut self) -> char {
        let c = self.peek().unwrap_or_else(|| panic!("ends early: {}", self.line));
        self.at += 1;
        c
    }

    fn space(&mut self) {
        while self.peek() == Some(' ') {
            self.at += 1;
        }
    }

    fn alternatives(&mut self) -> Vec<Vec<Item>> {
        let mut alternatives = vec![self.sequence()];
        while self.peek() == Some('|') {
            self.at += 1;
            alternatives.push(self.sequence());
        }
        alternatives
    }

    fn sequence(&mut self) -> Vec<Item> {
        let mut items: Vec<Item> = Vec::new();
        loop {
            self.space();
            let symbol = match self.peek() {
                None | Some('|' | ')') => return items,
                Some('"') => self.text(),
                Some('[') => self.class(),
                Some('(') => {
                    self.at += 1;
                    let inner = self.alternatives();
                    assert_eq!(self.take(), ')', "{}", self.line);
                    Symbol::Group(inner)
                }
                Some(c) if c.is_ascii_alphanumeric() => self.name(),
                Some(c) => panic!("unexpected `{c}`: {}", self.line),
            };
            let (min, max) = self.count();
            let empty = matches!(&symbol, Symbol::Text(text) if text.is_empty());
            assert!(!empty || (min, max) == (1, Some(1)), "nothing is repeated: {}", self.line);
            // A repetition is of a text's last character only.
            if let Symbol::Text(text) = &symbol
                && text.len() > 1
                && (min, max) != (1, Some(1))
            {
                panic!("a longer text is repeated without a group: {}", self.line);
            }
            items.push(Item { symbol, min, max });
        }
    }

    fn count(&mut self) -> (usize, Option<usize>) {
        let simple = match self.peek() {
            Some('*') => (0, None),
            Some('+') => (1, None),
            Some('?') => (0, Some(1)),
            Some('{') => {
                self.at += 1;
                let min = self.number();
                let max = match self.take() {
                    '}' => return (min, Some(min)),
                    ',' if self.peek() == Some('}') => None,
                    _ => Some(self.number()),
                };
                assert_eq!(self.take(), '}', "{}", self.line);
                assert!(max.is_none_or(|max| max >= min), "{}", self.line);
                return (min, max);
            }
            _ => return (1, Some(1)),
        };
        self.at += 1;
        simple
    }

    fn number(&mut self) -> usize {
        let mut digits = String::new();
        while self.peek().is_some_and(|c| c.is_ascii_digit()) {
            digits.push(self.take());
        }
        let number = digits.parse().unwrap_or_else(|_| panic!("no number: {}", self.line));
        assert!(number <= MAX_REPETITION, "{}", self.line);
        number
    }

    fn name(&mut self) -> Symbol {
        let mut name = String::new();
        while self.peek().is_some_and(|c| c.is_ascii_alphanumeric() || c == '-') {
            name.push(self.take());
        }
        Symbol::Rule(name)
    }

    fn text(&mut self) -> Symbol {
        self.at += 1;
        let mut text = Vec::new();
        while self.peek() != Some('"') {
            text.push(self.character());
        }
        self.at += 1;
        Symbol::Text(text)
    }

    fn class(&mut self) -> Symbol {
        self.at += 1;
        let negated = self.peek() == Some('^');
        self.at += usize::from(negated);
        let mut ranges = Vec::new();
        while self.peek() != Some(']') {
            let low = self.character();
            let high = if self.peek() == Some('-') && self.left.get(self.at + 1) != Some(&']') {
                self.at += 1;
                self.character()
            } else {
                low
            };
            assert!(low <= high, "{}", self.line);
            ranges.push((low, high));
        }
        self.at += 1;
        Symbol::Class { ranges, negated }
    }

    fn character(&mut self) -> char {
        let c = self.take();
        if c != '\\' {
            return c;
        }
        let digits = match self.take() {
            'x' => 2,
            'u' => 4,
            'U' => 8,
            't' => return '\t',
            'r' => return '\r',
            'n' => return '\n',
            c @ ('\\' | '"' | '[' | ']' | '-') => return c,
            c => panic!("unknown escape `{c}`: {}", self.line),
        };
        let code: String = (0..digits).map(|_| self.take()).collect();
        let code = u32::from_str_radix(&code, 16).unwrap_or_else(|_| panic!("no code: {}", self.line));
        char::from_u32(code).unwrap_or_else(|| panic!("no character: {}", self.line))
    }
}

#[test]
fn the_reader_knows_the_notation() {
    let grammar = Gbnf::read("root ::= \"a\\\"\" [^b-d\\x2D] x{2,3} (\"e\" | \"\")? [A-C]+\nx ::= \"y\" | \"z\"");
    for (text, holds) in [
        ("a\"eyzA", true),
        ("a\"eyzyeABC", true),
        ("a\"byzA", false),
        ("a\"-yzA", false),
        ("a\"eyA", false),
        ("a\"eyzyyA", false),
    ] {
        assert_eq!(grammar.holds(text), holds, "{text}");
    }
}

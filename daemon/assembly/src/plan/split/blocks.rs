//! Lines to blocks: paragraphs, items and rows, each on one line, with where their characters stand in the source.

use super::words;

/// A stretch of text that no line break ends.
pub(super) struct Block {
    /// Its lines, joined by single spaces.
    pub(super) text: String,
    /// Where its lines begin: in `text` and in the source.
    pub(super) pieces: Vec<(usize, usize)>,
    /// What a fragment in it belongs to.
    pub(super) context: Option<String>,
}

/// The byte of the source at which a byte of a block's text stands.
pub(super) fn place(pieces: &[(usize, usize)], at: usize) -> usize {
    let piece = pieces.iter().rev().find(|(from, _)| *from <= at).or(pieces.first());
    piece.map_or(0, |(from, source)| source + at.saturating_sub(*from))
}

/// What a line, or several, are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Heading {
        level: usize,
    },
    Text,
    Item {
        indent: usize,
    },
    Row,
    /// A step of a scenario, by its first word.
    Step(Step),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    /// `Given`, `When`.
    Before,
    /// `Then`.
    After,
    /// `And`, `But`: as the step before.
    Same,
}

struct Unit {
    kind: Kind,
    /// Ranges of the source, one for each line.
    lines: Vec<(usize, usize)>,
    /// Whether a line that follows at once belongs to it.
    open: bool,
}

pub(super) fn blocks(text: &str) -> Vec<Block> {
    let units = scenarios(units(text));
    let mut blocks: Vec<Block> = Vec::new();
    // Headings' text, and the items around: indent, text, whether it is told by itself, position of its block.
    let mut heading: Option<String> = None;
    let mut parents: Vec<Parent> = Vec::new();
    let mut dropped = Vec::new();
    for unit in units {
        for unit in separated(text, unit) {
            let (words, pieces) = joined(text, &unit.lines);
            if words.is_empty() {
                continue;
            }
            let indent = match unit.kind {
                Kind::Heading { level } => {
                    heading =
                        (level > 1).then(|| words::noun(&words)).flatten().filter(|words| !words::is_general(words));
                    parents.clear();
                    continue;
                }
                Kind::Text | Kind::Row | Kind::Step(_) => None,
                Kind::Item { indent } => Some(indent),
            };
            parents.retain(|parent| parent.indent.is_none_or(|around| indent.is_some_and(|own| around < own)));
            if indent.is_none() {
                parents.clear();
            }
            let context = parents.last().map_or_else(
                || heading.clone().filter(|_| indent.is_some() && words::is_fragment_line(&words)),
                |parent| parent.context_of(&words),
            );
            if let Some(parent) = parents.last()
                && (context.is_some() || parent.leads)
            {
                dropped.push(parent.block);
            }
            let leads = words.trim_end().ends_with(':');
            parents.push(Parent { indent, words: words.clone(), leads, block: blocks.len() });
            blocks.push(Block { text: words, pieces, context });
        }
    }
    let mut position = 0..;
    blocks.retain(|_| position.next().is_none_or(|position| !dropped.contains(&position)));
    blocks
}

/// What stands above items: an item of a lower indent, or a paragraph.
struct Parent {
    indent: Option<usize>,
    words: String,
    /// Whether it ends in a colon, which leads to what follows.
    leads: bool,
    block: usize,
}

impl Parent {
    /// What it adds to a child that says too little by itself.
    fn context_of(&self, child: &str) -> Option<String> {
        if !words::is_fragment_line(child) || !(self.leads || self.indent.is_some()) {
            return None;
        }
        let own = words::cleaned(&self.words)?;
        (words::is_fragment(&own) || words::starts_with_preposition(child)).then_some(own)
    }
}

/// Reads lines; what is no text (code, rules, addresses alone) is left out.
fn units(text: &str) -> Vec<Unit> {
    let mut units: Vec<Unit> = Vec::new();
    let mut fence: Option<String> = None;
    let mut at = 0;
    for line in text.split_inclusive('\n') {
        let (from, whole) = (at, line);
        at += line.len();
        let line = unquoted(whole.trim_end());
        let from = from + (whole.trim_end().len() - line.len());
        let words = line.trim_start();
        let start = from + (line.len() - words.len());
        let end = start + words.len();
        if let Some(mark) = &fence {
            if words.starts_with(mark.as_str()) {
                fence = None;
            }
            continue;
        }
        if let Some(mark) = ["```", "~~~"].into_iter().find(|mark| words.starts_with(mark)) {
            fence = Some(mark.to_owned());
            close(&mut units);
            continue;
        }
        if words.is_empty() || (words.starts_with("<!--") && words.ends_with("-->")) {
            close(&mut units);
            continue;
        }
        if words.bytes().all(|b| b"-=*_~+|: \t".contains(&b)) {
            underlined(&mut units, words);
            continue;
        }
        if words::is_address(words) {
            close(&mut units);
            continue;
        }
        let indent: usize = line.chars().take_while(|c| c.is_whitespace()).map(|c| if c == '\t' { 4 } else { 1 }).sum();
        let unit = |kind, skip: usize, open| Unit { kind, lines: vec![(start + skip, end)], open };
        let hashes = words.bytes().take_while(|b| *b == b'#').count();
        if (1..=6).contains(&hashes) && words[hashes..].starts_with([' ', '\t']) {
            units.push(unit(Kind::Heading { level: hashes }, hashes, false));
        } else if let Some(level) = words::scenario_heading(words) {
            units.push(unit(Kind::Heading { level }, 0, false));
        } else if let Some(skip) = words::marker(words) {
            units.push(unit(Kind::Item { indent }, skip, true));
        } else if words.starts_with('|') {
            units.push(unit(Kind::Row, 0, false));
        } else if let Some(step) = step(words) {
            units.push(unit(Kind::Step(step), 0, true));
        } else if let Some(last) = units.last_mut().filter(|unit| unit.open) {
            last.lines.push((start, end));
        } else {
            units.push(unit(Kind::Text, 0, true));
        }
    }
    units
}

/// A line without the marks of a quotation.
fn unquoted(line: &str) -> &str {
    let mut rest = line;
    while let Some(inner) = rest.trim_start().strip_prefix('>') {
        rest = inner;
    }
    rest
}

fn close(units: &mut [Unit]) {
    if let Some(last) = units.last_mut() {
        last.open = false;
    }
}

/// A rule ends what is before it; under a single line it makes that a heading, under a table's first row it tells that
/// the row holds the names of the columns.
fn underlined(units: &mut Vec<Unit>, rule: &str) {
    let Some(last) = units.last_mut() else { return };
    let underline = rule.bytes().all(|b| b == b'=') || rule.bytes().all(|b| b == b'-');
    match last.kind {
        Kind::Row if rule.contains('|') => {
            units.pop();
        }
        Kind::Text if last.open && last.lines.len() == 1 && underline && rule.len() > 2 => {
            last.kind = Kind::Heading { level: if rule.starts_with('=') { 1 } else { 2 } };
            last.open = false;
        }
        _ => last.open = false,
    }
}

fn step(words: &str) -> Option<Step> {
    match words.split_once(' ')?.0 {
        "Given" | "When" => Some(Step::Before),
        "Then" => Some(Step::After),
        "And" | "But" => Some(Step::Same),
        _ => None,
    }
}

/// Keeps what a scenario's steps say comes out, where they say so; otherwise steps are text.
fn scenarios(units: Vec<Unit>) -> Vec<Unit> {
    let mut kept: Vec<Unit> = Vec::new();
    let mut rest = units.into_iter().peekable();
    while let Some(unit) = rest.next() {
        if !matches!(unit.kind, Kind::Step(_)) {
            kept.push(unit);
            continue;
        }
        let mut steps = vec![unit];
        while let Some(step) = rest.next_if(|next| matches!(next.kind, Kind::Step(_))) {
            steps.push(step);
        }
        if !steps.iter().any(|unit| unit.kind == Kind::Step(Step::After)) {
            kept.extend(steps.into_iter().map(|unit| Unit { kind: Kind::Text, ..unit }));
            continue;
        }
        let mut after = false;
        for unit in steps {
            after = match unit.kind {
                Kind::Step(Step::Before) => false,
                Kind::Step(Step::After) => true,
                _ => after,
            };
            if after {
                kept.push(unit);
            }
        }
    }
    kept
}

/// A paragraph whose lines each begin anew is a list without marks.
fn separated(text: &str, unit: Unit) -> Vec<Unit> {
    const WRAPPED: usize = 60;
    let lines: Vec<&str> = unit.lines.iter().map(|(start, end)| &text[*start..*end]).collect();
    let begins = |line: &&str| line.starts_with(|c: char| c.is_uppercase() || c.is_ascii_digit());
    let (Some((_, before)), Kind::Text) = (lines.split_last(), unit.kind) else { return vec![unit] };
    let ends = |line: &&str| line.ends_with(['.', '!', '?', ';', ':']) || line.chars().count() < WRAPPED;
    let goes_on = |line: &&str| line.ends_with(',') || words::goes_on(line);
    if lines.len() < 2 || !lines.iter().all(begins) || !before.iter().all(ends) || before.iter().any(goes_on) {
        return vec![unit];
    }
    unit.lines.into_iter().map(|line| Unit { kind: Kind::Text, lines: vec![line], open: false }).collect()
}

fn joined(text: &str, lines: &[(usize, usize)]) -> (String, Vec<(usize, usize)>) {
    let (mut words, mut pieces) = (String::new(), Vec::new());
    for (start, end) in lines {
        if !words.is_empty() {
            words.push(' ');
        }
        pieces.push((words.len(), *start));
        words.push_str(&text[*start..*end]);
    }
    (words, pieces)
}
